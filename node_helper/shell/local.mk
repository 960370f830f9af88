# ckptlessd, one per node and step.
pkglibexec_PROGRAMS += ckptlessd
ckptlessd_SOURCES = \
	node_helper/shell/act.c \
	node_helper/shell/bell.c \
	node_helper/shell/bell.h \
	node_helper/shell/blocks.c \
	node_helper/shell/blocks.h \
	node_helper/shell/exchange.c \
	node_helper/shell/farewell.c \
	node_helper/shell/fence.c \
	node_helper/shell/gate.c \
	node_helper/shell/gate.h \
	node_helper/shell/gather.c \
	node_helper/shell/join.c \
	node_helper/shell/keepers.c \
	node_helper/shell/log.c \
	node_helper/shell/memory.c \
	node_helper/shell/memory.h \
	node_helper/shell/log.h \
	node_helper/shell/main.c \
	node_helper/shell/orphan.c \
	node_helper/shell/page.c \
	node_helper/shell/page.h \
	node_helper/shell/peers.c \
	node_helper/shell/process.c \
	node_helper/shell/process.h \
	node_helper/shell/pulls.c \
	node_helper/shell/report.c \
	node_helper/shell/report.h \
	node_helper/shell/result.c \
	node_helper/shell/rollcall.c \
	node_helper/shell/rpc.c \
	node_helper/shell/shell.h \
	node_helper/shell/shrink.c \
	node_helper/shell/slots.c \
	node_helper/shell/stays.c \
	node_helper/shell/step.c \
	node_helper/shell/table.c \
	node_helper/shell/table.h \
	node_helper/shell/tables.c \
	node_helper/shell/unsaid.c \
	node_helper/shell/usage.c \
	node_helper/shell/verdict.c \
	node_helper/shell/visits.c \
	node_helper/shell/world.c \
	node_helper/shell/world.h
ckptlessd_CFLAGS = $(AM_CFLAGS) $(EVENT_CFLAGS) $(JANSSON_CFLAGS) $(XXHASH_CFLAGS)
# The libraries that it loads find its accept(2).
ckptlessd_LDFLAGS = -Wl,--export-dynamic-symbol=accept
ckptlessd_LDADD = \
	node_helper/core/libcore.la \
	node_helper/net/libnet.la \
	node_helper/seal/libseal.la \
	pmix_glue/server/libpmixsrv.la \
	slurm_client/libslurmrun.la \
	step_launcher/libtimeline.la \
	state_plane/libplane.la \
	node_helper/wire/libwire.la \
	$(EVENT_LIBS) $(JANSSON_LIBS) $(XXHASH_LIBS)

shell_tests = \
	tests/unit/test_bell \
	tests/unit/test_gate \
	tests/unit/test_gather \
	tests/unit/test_report \
	tests/unit/test_memory \
	tests/unit/test_process \
	tests/unit/test_table \
	tests/unit/test_world
check_PROGRAMS += $(shell_tests)
TESTS += $(shell_tests)

tests_unit_test_bell_SOURCES = tests/unit/test_bell.c node_helper/shell/bell.c node_helper/shell/page.c \
	node_helper/shell/process.c
tests_unit_test_bell_CFLAGS = $(AM_CFLAGS) $(CMOCKA_CFLAGS)
tests_unit_test_bell_LDADD = $(CMOCKA_LIBS)
tests_unit_test_gate_SOURCES = tests/unit/test_gate.c node_helper/shell/gate.c
tests_unit_test_gate_CFLAGS = $(AM_CFLAGS) $(CMOCKA_CFLAGS)
tests_unit_test_gate_LDADD = $(CMOCKA_LIBS)
# Alone: what it asks of the other parts is the test's.
tests_unit_test_gather_SOURCES = tests/unit/test_gather.c node_helper/shell/gather.c
tests_unit_test_gather_CFLAGS = $(AM_CFLAGS) $(CMOCKA_CFLAGS) $(EVENT_CFLAGS)
tests_unit_test_gather_LDADD = $(CMOCKA_LIBS)
tests_unit_test_report_SOURCES = tests/unit/test_report.c node_helper/shell/report.c
tests_unit_test_report_CFLAGS = $(AM_CFLAGS) $(CMOCKA_CFLAGS) $(JANSSON_CFLAGS)
tests_unit_test_report_LDADD = node_helper/wire/libwire.la $(CMOCKA_LIBS) $(JANSSON_LIBS)
tests_unit_test_memory_SOURCES = tests/unit/test_memory.c node_helper/shell/memory.c
tests_unit_test_memory_CFLAGS = $(AM_CFLAGS) $(CMOCKA_CFLAGS)
tests_unit_test_memory_LDADD = $(CMOCKA_LIBS)
tests_unit_test_process_SOURCES = tests/unit/test_process.c node_helper/shell/process.c
tests_unit_test_process_CFLAGS = $(AM_CFLAGS) $(CMOCKA_CFLAGS)
tests_unit_test_process_LDADD = $(CMOCKA_LIBS)
tests_unit_test_table_SOURCES = tests/unit/test_table.c node_helper/shell/table.c
tests_unit_test_table_CFLAGS = $(AM_CFLAGS) $(CMOCKA_CFLAGS) $(XXHASH_CFLAGS)
tests_unit_test_table_LDADD = $(CMOCKA_LIBS) $(XXHASH_LIBS)
tests_unit_test_world_SOURCES = tests/unit/test_world.c node_helper/shell/world.c
tests_unit_test_world_CFLAGS = $(AM_CFLAGS) $(CMOCKA_CFLAGS)
tests_unit_test_world_LDADD = $(CMOCKA_LIBS)
