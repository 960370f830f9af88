# The secret on its way to the nodes: sealed with munge.
noinst_LTLIBRARIES += node_helper/seal/libseal.la
node_helper_seal_libseal_la_SOURCES = node_helper/seal/seal.c node_helper/seal/seal.h
node_helper_seal_libseal_la_CFLAGS = $(AM_CFLAGS) $(OPENSSL_CFLAGS)
node_helper_seal_libseal_la_LIBADD = $(OPENSSL_LIBS)

check_PROGRAMS += tests/unit/test_seal
TESTS += tests/unit/test_seal
tests_unit_test_seal_SOURCES = tests/unit/test_seal.c
tests_unit_test_seal_CFLAGS = $(AM_CFLAGS) $(CMOCKA_CFLAGS)
tests_unit_test_seal_LDADD = node_helper/seal/libseal.la $(OPENSSL_LIBS) $(CMOCKA_LIBS)
