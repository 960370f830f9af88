# The codecs: pure, libc only; linked into the Slurm plugin too.
noinst_LTLIBRARIES += node_helper/wire/libwire.la
node_helper_wire_libwire_la_SOURCES = \
	node_helper/wire/wire_bulk.c \
	node_helper/wire/wire_codec.h \
	node_helper/wire/wire_cursor.c \
	node_helper/wire/wire_cursor.h \
	node_helper/wire/wire_describe.c \
	node_helper/wire/wire_keeper.c \
	node_helper/wire/wire_keeper.h \
	node_helper/wire/wire_launch.c \
	node_helper/wire/wire_launch.h \
	node_helper/wire/wire_message.c \
	node_helper/wire/wire_helper.h \
	node_helper/wire/wire_message.h \
	node_helper/wire/wire_page.h \
	node_helper/wire/wire_recovery.c \
	node_helper/wire/wire_rollcall.c \
	node_helper/wire/wire_rpc.c \
	node_helper/wire/wire_rpc.h \
	node_helper/wire/wire_settings.c \
	node_helper/wire/wire_settings.h \
	node_helper/wire/wire_view.c

wire_tests = \
	tests/unit/test_wire_cursor \
	tests/unit/test_wire_message \
	tests/unit/test_wire_keeper \
	tests/unit/test_wire_launch \
	tests/unit/test_wire_settings \
	tests/unit/test_wire_rpc
check_PROGRAMS += $(wire_tests)
TESTS += $(wire_tests)

tests_unit_test_wire_cursor_SOURCES = tests/unit/test_wire_cursor.c
tests_unit_test_wire_cursor_CFLAGS = $(AM_CFLAGS) $(CMOCKA_CFLAGS)
tests_unit_test_wire_cursor_LDADD = node_helper/wire/libwire.la $(CMOCKA_LIBS)
tests_unit_test_wire_message_SOURCES = tests/unit/test_wire_message.c
tests_unit_test_wire_message_CFLAGS = $(AM_CFLAGS) $(CMOCKA_CFLAGS)
tests_unit_test_wire_message_LDADD = node_helper/wire/libwire.la $(CMOCKA_LIBS)
tests_unit_test_wire_keeper_SOURCES = tests/unit/test_wire_keeper.c
tests_unit_test_wire_keeper_CFLAGS = $(AM_CFLAGS) $(CMOCKA_CFLAGS)
tests_unit_test_wire_keeper_LDADD = node_helper/wire/libwire.la $(CMOCKA_LIBS)
tests_unit_test_wire_launch_SOURCES = tests/unit/test_wire_launch.c
tests_unit_test_wire_launch_CFLAGS = $(AM_CFLAGS) $(CMOCKA_CFLAGS)
tests_unit_test_wire_launch_LDADD = node_helper/wire/libwire.la $(CMOCKA_LIBS)
tests_unit_test_wire_settings_SOURCES = tests/unit/test_wire_settings.c
tests_unit_test_wire_settings_CFLAGS = $(AM_CFLAGS) $(CMOCKA_CFLAGS)
tests_unit_test_wire_settings_LDADD = node_helper/wire/libwire.la $(CMOCKA_LIBS)
tests_unit_test_wire_rpc_SOURCES = tests/unit/test_wire_rpc.c
tests_unit_test_wire_rpc_CFLAGS = $(AM_CFLAGS) $(CMOCKA_CFLAGS)
tests_unit_test_wire_rpc_LDADD = node_helper/wire/libwire.la $(CMOCKA_LIBS)
