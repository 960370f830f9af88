# ckptless-launch, beside srun: where the helpers of a step meet.
pkglibexec_PROGRAMS += step_launcher/ckptless-launch
step_launcher_ckptless_launch_SOURCES = \
	step_launcher/hostlist.c \
	step_launcher/hostlist.h \
	step_launcher/launcher.c \
	step_launcher/launcher.h \
	step_launcher/leader.c \
	step_launcher/leader.h \
	step_launcher/main.c \
	step_launcher/output.c \
	step_launcher/output.h \
	step_launcher/request.c \
	step_launcher/request.h \
	step_launcher/rollcall.c \
	step_launcher/rollcall.h
step_launcher_ckptless_launch_CFLAGS = $(AM_CFLAGS) $(EVENT_CFLAGS) $(OPENSSL_CFLAGS)
step_launcher_ckptless_launch_LDADD = \
	step_launcher/libtimeline.la \
	node_helper/net/libnet.la \
	node_helper/seal/libseal.la \
	node_helper/wire/libwire.la \
	slurm_client/libslurmrun.la \
	$(EVENT_LIBS) \
	$(OPENSSL_LIBS)

# Its file is the leader's when srun is gone.
noinst_LTLIBRARIES += step_launcher/libtimeline.la
step_launcher_libtimeline_la_SOURCES = \
	step_launcher/timeline.c \
	step_launcher/timeline.h

# Starts the program itself.
launcher_tests = tests/unit/test_launcher tests/unit/test_launcher_output
check_PROGRAMS += $(launcher_tests)
TESTS += $(launcher_tests)
launcher_bench = tests/unit/test_launcher_bench.c tests/unit/test_launcher_bench.h
tests_unit_test_launcher_SOURCES = tests/unit/test_launcher.c $(launcher_bench)
tests_unit_test_launcher_CFLAGS = $(AM_CFLAGS) $(EVENT_CFLAGS) $(OPENSSL_CFLAGS) $(CMOCKA_CFLAGS)
tests_unit_test_launcher_LDADD = $(launcher_libraries)
tests_unit_test_launcher_output_SOURCES = tests/unit/test_launcher_output.c $(launcher_bench)
tests_unit_test_launcher_output_CFLAGS = $(AM_CFLAGS) $(EVENT_CFLAGS) $(OPENSSL_CFLAGS) $(CMOCKA_CFLAGS)
tests_unit_test_launcher_output_LDADD = $(launcher_libraries)
launcher_libraries = \
	node_helper/net/libnet.la \
	node_helper/wire/libwire.la \
	$(EVENT_LIBS) \
	$(OPENSSL_LIBS) \
	$(CMOCKA_LIBS)

check_PROGRAMS += tests/unit/test_launcher_hostlist
TESTS += tests/unit/test_launcher_hostlist
tests_unit_test_launcher_hostlist_SOURCES = \
	step_launcher/hostlist.c \
	tests/unit/test_launcher_hostlist.c
tests_unit_test_launcher_hostlist_CFLAGS = $(AM_CFLAGS) $(CMOCKA_CFLAGS)
tests_unit_test_launcher_hostlist_LDADD = $(CMOCKA_LIBS)
