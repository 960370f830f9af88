noinst_LTLIBRARIES += node_helper/core/libcore.la
node_helper_core_libcore_la_SOURCES = \
	node_helper/core/core.c \
	node_helper/core/core.h \
	node_helper/core/core_internal.h \
	node_helper/core/emit.c \
	node_helper/core/ending.c \
	node_helper/core/joining.c \
	node_helper/core/judge.c \
	node_helper/core/late.c \
	node_helper/core/leader.c \
	node_helper/core/lease.c \
	node_helper/core/member.c \
	node_helper/core/member_program.c \
	node_helper/core/plan.c \
	node_helper/core/quorum.c \
	node_helper/core/reload.c \
	node_helper/core/report.c \
	node_helper/core/seating.c \
	node_helper/core/succession.c \
	node_helper/core/takeover.c \
	node_helper/core/view.c \
	node_helper/core/view.h

# Agreement on views alone, over random schedules.
check_PROGRAMS += tests/unit/test_view
TESTS += tests/unit/test_view
tests_unit_test_view_SOURCES = tests/unit/test_view.c tests/unit/test_seed.h
tests_unit_test_view_CFLAGS = $(AM_CFLAGS) $(CMOCKA_CFLAGS)
tests_unit_test_view_LDADD = node_helper/core/libcore.la node_helper/wire/libwire.la $(CMOCKA_LIBS)

# Every scenario: commands and the transcript that they must give.
check_PROGRAMS += tests/scenario/run
TESTS += tests/scenario/run
tests_scenario_run_SOURCES = \
	tests/scenario/run.c \
	tests/scenario/script.h \
	tests/scenario/script_act.c \
	tests/scenario/script_world.c
tests_scenario_run_LDADD = node_helper/core/libcore.la node_helper/wire/libwire.la
