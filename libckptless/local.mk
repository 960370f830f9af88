# What a program links. The sources are in a library of their own, so that tests reach what libckptless.so hides.
noinst_LTLIBRARIES += libckptless/libinner.la
libckptless_libinner_la_SOURCES = \
	include/ckptless.h \
	libckptless/bell.c \
	libckptless/bell.h \
	libckptless/context.c \
	libckptless/context.h \
	libckptless/crash.c \
	libckptless/crash.h \
	libckptless/environment.c \
	libckptless/environment.h \
	libckptless/exchange.c \
	libckptless/interrupt.c \
	libckptless/interrupt.h \
	libckptless/leave.c \
	libckptless/leave.h \
	libckptless/memory.c \
	libckptless/memory.h \
	libckptless/ordinary.c \
	libckptless/page.c \
	libckptless/page.h \
	libckptless/progress.c \
	libckptless/recover.c \
	libckptless/regions.c \
	libckptless/regions.h \
	libckptless/register.c \
	libckptless/rpc.c \
	libckptless/rpc.h \
	libckptless/say.h \
	libckptless/signals.c \
	libckptless/signals.h \
	libckptless/strerror.c \
	libckptless/update.c \
	libckptless/update.h \
	libckptless/watch.c \
	libckptless/world.c \
	libckptless/world.h
libckptless_libinner_la_CFLAGS = $(AM_CFLAGS) -pthread

lib_LTLIBRARIES += libckptless.la
include_HEADERS += include/ckptless.h
libckptless_la_SOURCES =
libckptless_la_LIBADD = libckptless/libinner.la pmix_glue/client/libpmixcli.la node_helper/wire/libwire.la
libckptless_la_LDFLAGS = -version-info 0:0:0 -no-undefined -export-symbols-regex '^ckptless_' -pthread

# What programs see.
lib_tests = tests/unit/test_lib_ordinary
# The parts, without a helper; test_lib_recover has its answers from the test itself.
lib_inner_tests = \
	tests/unit/test_lib_crash \
	tests/unit/test_lib_interrupt \
	tests/unit/test_lib_page \
	tests/unit/test_lib_recover \
	tests/unit/test_lib_regions \
	tests/unit/test_lib_signals \
	tests/unit/test_lib_update
check_PROGRAMS += $(lib_tests) $(lib_inner_tests)
TESTS += $(lib_tests) $(lib_inner_tests)
lib_inner = libckptless/libinner.la node_helper/wire/libwire.la

tests_unit_test_lib_ordinary_SOURCES = tests/unit/test_lib_ordinary.c
tests_unit_test_lib_ordinary_CFLAGS = $(AM_CFLAGS) $(CMOCKA_CFLAGS) -pthread
tests_unit_test_lib_ordinary_LDADD = libckptless.la $(CMOCKA_LIBS)
tests_unit_test_lib_crash_SOURCES = tests/unit/test_lib_crash.c
tests_unit_test_lib_crash_CFLAGS = $(AM_CFLAGS) $(CMOCKA_CFLAGS)
tests_unit_test_lib_crash_LDADD = $(lib_inner) $(CMOCKA_LIBS)
tests_unit_test_lib_interrupt_SOURCES = tests/unit/test_lib_interrupt.c
tests_unit_test_lib_interrupt_CFLAGS = $(AM_CFLAGS) $(CMOCKA_CFLAGS) -pthread
tests_unit_test_lib_interrupt_LDADD = $(lib_inner) $(CMOCKA_LIBS)
tests_unit_test_lib_page_SOURCES = tests/unit/test_lib_page.c
tests_unit_test_lib_page_CFLAGS = $(AM_CFLAGS) $(CMOCKA_CFLAGS) -pthread
tests_unit_test_lib_page_LDADD = $(lib_inner) $(CMOCKA_LIBS)
tests_unit_test_lib_recover_SOURCES = tests/unit/test_lib_recover.c
tests_unit_test_lib_recover_CFLAGS = $(AM_CFLAGS) $(CMOCKA_CFLAGS) -pthread
tests_unit_test_lib_recover_LDADD = $(lib_inner) $(CMOCKA_LIBS)
tests_unit_test_lib_regions_SOURCES = tests/unit/test_lib_regions.c
tests_unit_test_lib_regions_CFLAGS = $(AM_CFLAGS) $(CMOCKA_CFLAGS) -pthread
tests_unit_test_lib_regions_LDADD = $(lib_inner) $(CMOCKA_LIBS)
tests_unit_test_lib_signals_SOURCES = tests/unit/test_lib_signals.c
tests_unit_test_lib_signals_CFLAGS = $(AM_CFLAGS) $(CMOCKA_CFLAGS) -pthread
tests_unit_test_lib_signals_LDADD = $(lib_inner) $(CMOCKA_LIBS)
tests_unit_test_lib_update_SOURCES = tests/unit/test_lib_update.c
tests_unit_test_lib_update_CFLAGS = $(AM_CFLAGS) $(CMOCKA_CFLAGS) -pthread
tests_unit_test_lib_update_LDADD = libckptless/libinner.la pmix_glue/client/libpmixcli.la node_helper/wire/libwire.la \
	$(CMOCKA_LIBS)

# Against a PMIx server in the test's own process.
check_PROGRAMS += tests/unit/test_lib_pmix
TESTS += tests/unit/test_lib_pmix
tests_unit_test_lib_pmix_SOURCES = tests/unit/test_lib_pmix.c tests/unit/test_lib.h
tests_unit_test_lib_pmix_CFLAGS = $(AM_CFLAGS) $(CMOCKA_CFLAGS) -pthread
tests_unit_test_lib_pmix_LDADD = libckptless/libinner.la pmix_glue/client/libpmixcli.la \
	pmix_glue/server/libpmixsrv.la node_helper/wire/libwire.la $(CMOCKA_LIBS)

# What a step costs inside the library: run by hand.
noinst_PROGRAMS += bench/update_cost
bench_update_cost_SOURCES = bench/update_cost.c
bench_update_cost_CFLAGS = $(AM_CFLAGS) -pthread
bench_update_cost_LDADD = libckptless/libinner.la pmix_glue/client/libpmixcli.la node_helper/wire/libwire.la
