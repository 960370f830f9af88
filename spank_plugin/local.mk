# The Slurm plugin. Links libc, the symbols of whoever loads it, and node_helper/wire.
pkglib_LTLIBRARIES += spank_plugin/ckptless.la
spank_plugin_ckptless_la_SOURCES = \
	spank_plugin/allocator.c \
	spank_plugin/batch_side.c \
	spank_plugin/descriptors.c \
	spank_plugin/descriptors.h \
	spank_plugin/helper_start.c \
	spank_plugin/helper_start.h \
	spank_plugin/job_note.c \
	spank_plugin/job_note.h \
	spank_plugin/keeper.c \
	spank_plugin/keeper.h \
	spank_plugin/keeper_group.c \
	spank_plugin/keeper_link.c \
	spank_plugin/keeper_private.h \
	spank_plugin/keeper_program.c \
	spank_plugin/keeper_input.c \
	spank_plugin/keeper_lease.c \
	spank_plugin/keeper_signal.c \
	spank_plugin/keeper_tree.c \
	spank_plugin/keeper_tree.h \
	spank_plugin/option.c \
	spank_plugin/plugin.c \
	spank_plugin/plugin.h \
	spank_plugin/srun_side.c \
	spank_plugin/stepd_side.c
spank_plugin_ckptless_la_CPPFLAGS = $(AM_CPPFLAGS) $(SLURM_CFLAGS) -DCKPTLESS_LIBEXECDIR='"$(pkglibexecdir)"'
spank_plugin_ckptless_la_CFLAGS = $(PLAIN_CFLAGS)
spank_plugin_ckptless_la_LIBADD = $(WIRE_PLUGIN)
# nodelete: a thread of srun's side may still be in the code while srun unloads its plugins at exit.
spank_plugin_ckptless_la_LDFLAGS = -module -avoid-version -shared -Wl,-z,nodelete \
	-export-symbols-regex '^(plugin_name|plugin_type|plugin_version|spank_plugin_version|slurm_spank_[a-z_]+)$$'

EXTRA_DIST += slurm_conf_examples/plugstack.conf

keeper_tests = tests/unit/test_keeper tests/unit/test_keeper_group tests/unit/test_keeper_tree
check_PROGRAMS += $(keeper_tests)
TESTS += $(keeper_tests)
keeper_bench = tests/unit/test_keeper_bench.c tests/unit/test_keeper_bench.h
keeper_sources = \
	spank_plugin/descriptors.c \
	spank_plugin/helper_start.c \
	spank_plugin/keeper.c \
	spank_plugin/keeper_group.c \
	spank_plugin/keeper_link.c \
	spank_plugin/keeper_program.c \
	spank_plugin/keeper_input.c \
	spank_plugin/keeper_lease.c \
	spank_plugin/keeper_signal.c \
	spank_plugin/keeper_tree.c
tests_unit_test_keeper_SOURCES = $(keeper_sources) tests/unit/test_keeper.c $(keeper_bench)
tests_unit_test_keeper_CPPFLAGS = $(AM_CPPFLAGS)
tests_unit_test_keeper_CFLAGS = $(AM_CFLAGS) $(CMOCKA_CFLAGS)
tests_unit_test_keeper_LDADD = node_helper/wire/libwire.la $(CMOCKA_LIBS)
tests_unit_test_keeper_group_SOURCES = $(keeper_sources) tests/unit/test_keeper_group.c $(keeper_bench)
tests_unit_test_keeper_group_CPPFLAGS = $(AM_CPPFLAGS)
tests_unit_test_keeper_group_CFLAGS = $(AM_CFLAGS) $(CMOCKA_CFLAGS)
tests_unit_test_keeper_group_LDADD = node_helper/wire/libwire.la $(CMOCKA_LIBS)
tests_unit_test_keeper_tree_SOURCES = tests/unit/test_keeper_tree.c spank_plugin/keeper_tree.c
tests_unit_test_keeper_tree_CPPFLAGS = $(AM_CPPFLAGS)
tests_unit_test_keeper_tree_CFLAGS = $(AM_CFLAGS) $(CMOCKA_CFLAGS)
tests_unit_test_keeper_tree_LDADD = $(CMOCKA_LIBS)

check_PROGRAMS += tests/unit/test_job_note
TESTS += tests/unit/test_job_note
tests_unit_test_job_note_SOURCES = spank_plugin/job_note.c tests/unit/test_job_note.c
tests_unit_test_job_note_CFLAGS = $(AM_CFLAGS) $(CMOCKA_CFLAGS)
tests_unit_test_job_note_LDADD = $(CMOCKA_LIBS)
