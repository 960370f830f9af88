# Tests that the build does not compile need no list: dist-hook takes tests/ along whole. Unit tests are listed beside what
# they test.

# What the system tests run; `make system-programs` builds it, without the unit tests. Not installed, and no script of
# libtool's in between: the tests look for processes by these names.
system_programs = tests/programs/fence tests/programs/onsight tests/programs/signals tests/programs/steps \
	tests/programs/survivor
check_PROGRAMS += $(system_programs)
tests_programs_fence_SOURCES = tests/programs/fence.c
tests_programs_fence_CFLAGS = $(AM_CFLAGS) $(PMIX_CFLAGS)
tests_programs_fence_LDADD = $(PMIX_LIBS)
tests_programs_survivor_SOURCES = tests/programs/survivor.c
tests_programs_survivor_CFLAGS = $(AM_CFLAGS) $(PMIX_CFLAGS)
tests_programs_survivor_LDADD = $(PMIX_LIBS)
tests_programs_onsight_SOURCES = tests/programs/onsight.c
tests_programs_signals_SOURCES = tests/programs/signals.c
tests_programs_signals_LDADD = libckptless.la
tests_programs_signals_LDFLAGS = -no-install
tests_programs_steps_SOURCES = tests/programs/steps.c
tests_programs_steps_LDADD = libckptless.la
tests_programs_steps_LDFLAGS = -no-install

# A module for libfabric to load; -rpath makes libtool build it shared.
check_LTLIBRARIES = tests/programs/stuck_provider.la
tests_programs_stuck_provider_la_SOURCES = tests/programs/stuck_provider.c
tests_programs_stuck_provider_la_LDFLAGS = -module -avoid-version -rpath $(abs_builddir)/tests/programs

system-programs: $(system_programs) $(check_LTLIBRARIES)

# For ./check: the names of all test programs.
print-tests:
	@echo $(TESTS)
.PHONY: print-tests system-programs
