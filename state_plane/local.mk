# Moves regions between processes and nodes: the only fi_* calls, and libfabric is loaded at run time.
noinst_LTLIBRARIES += state_plane/libplane.la
state_plane_libplane_la_SOURCES = \
	state_plane/fabric.c \
	state_plane/fabric.h \
	state_plane/fabric_choice.c \
	state_plane/fabric_choice.h \
	state_plane/interface.c \
	state_plane/interface.h \
	state_plane/memory.c \
	state_plane/memory.h \
	state_plane/plane.c \
	state_plane/plane.h \
	state_plane/plane_private.h \
	state_plane/plane_pull.c \
	state_plane/plane_serve.c \
	state_plane/request.c \
	state_plane/request.h
state_plane_libplane_la_CFLAGS = $(AM_CFLAGS) $(FABRIC_CFLAGS) $(XXHASH_CFLAGS) -pthread
state_plane_libplane_la_LIBADD = node_helper/wire/libwire.la $(XXHASH_LIBS) -ldl -lpthread

check_PROGRAMS += tests/unit/test_plane_request
TESTS += tests/unit/test_plane_request
tests_unit_test_plane_request_SOURCES = tests/unit/test_plane_request.c tests/unit/test_seed.h state_plane/request.c
tests_unit_test_plane_request_CFLAGS = $(AM_CFLAGS) $(CMOCKA_CFLAGS) $(XXHASH_CFLAGS)
tests_unit_test_plane_request_LDADD = node_helper/wire/libwire.la $(XXHASH_LIBS) $(CMOCKA_LIBS)

# Over the real libfabric, on loopback.
check_PROGRAMS += tests/unit/test_plane
TESTS += tests/unit/test_plane
tests_unit_test_plane_SOURCES = tests/unit/test_plane.c
tests_unit_test_plane_CFLAGS = $(AM_CFLAGS) $(CMOCKA_CFLAGS) -pthread
tests_unit_test_plane_LDADD = state_plane/libplane.la $(CMOCKA_LIBS)

# The same, where something is late. pthread_create is this test's to refuse.
check_PROGRAMS += tests/unit/test_plane_late
TESTS += tests/unit/test_plane_late
tests_unit_test_plane_late_SOURCES = tests/unit/test_plane_late.c
tests_unit_test_plane_late_CFLAGS = $(AM_CFLAGS) $(CMOCKA_CFLAGS) -pthread
tests_unit_test_plane_late_LDFLAGS = -Wl,--wrap=pthread_create
tests_unit_test_plane_late_LDADD = state_plane/libplane.la $(CMOCKA_LIBS)
