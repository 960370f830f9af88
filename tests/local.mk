# Tests that the build does not compile need no list: dist-hook takes tests/ along whole. Unit tests are listed beside what
# they test.

# What the system tests run; `make system-programs` builds it, without the unit tests. Not installed, and no script of
# libtool's in between: the tests look for processes by these names.
system_programs = tests/programs/fence tests/programs/onsight tests/programs/signals tests/programs/steps \
	tests/programs/stranger tests/programs/survivor
check_PROGRAMS += $(system_programs)
tests_programs_fence_SOURCES = tests/programs/fence.c
tests_programs_fence_CFLAGS = $(AM_CFLAGS) $(PMIX_CFLAGS)
tests_programs_fence_LDADD = $(PMIX_LIBS)
tests_programs_survivor_SOURCES = tests/programs/survivor.c
tests_programs_survivor_CFLAGS = $(AM_CFLAGS) $(PMIX_CFLAGS)
tests_programs_survivor_LDADD = $(PMIX_LIBS)
tests_programs_stranger_SOURCES = \
	tests/programs/stranger.c \
	tests/programs/stranger.h \
	tests/programs/stranger_crowd.c \
	tests/programs/stranger_knock.c \
	tests/programs/stranger_listen.c \
	tests/programs/stranger_node.c \
	tests/programs/stranger_search.c
tests_programs_stranger_CFLAGS = $(AM_CFLAGS) $(EVENT_CFLAGS) $(OPENSSL_CFLAGS)
tests_programs_stranger_LDADD = node_helper/net/libnet.la node_helper/wire/libwire.la $(EVENT_LIBS) $(OPENSSL_LIBS)
tests_programs_stranger_LDFLAGS = -no-install
tests_programs_onsight_SOURCES = tests/programs/onsight.c
tests_programs_signals_SOURCES = tests/programs/signals.c
tests_programs_signals_LDADD = libckptless.la
tests_programs_signals_LDFLAGS = -no-install
tests_programs_steps_SOURCES = tests/programs/steps.c
tests_programs_steps_LDADD = libckptless.la
tests_programs_steps_LDFLAGS = -no-install

# A module for libfabric to load, a library for srun's LD_PRELOAD; -rpath makes libtool build them shared.
check_LTLIBRARIES = tests/programs/known_secret.la tests/programs/stuck_provider.la
tests_programs_known_secret_la_SOURCES = tests/programs/known_secret.c
tests_programs_known_secret_la_LDFLAGS = -module -avoid-version -rpath $(abs_builddir)/tests/programs
tests_programs_stuck_provider_la_SOURCES = tests/programs/stuck_provider.c
tests_programs_stuck_provider_la_LDFLAGS = -module -avoid-version -rpath $(abs_builddir)/tests/programs

system-programs: $(system_programs) $(check_LTLIBRARIES)

# For ./check: the names of all test programs.
print-tests:
	@echo $(TESTS)
.PHONY: print-tests system-programs
