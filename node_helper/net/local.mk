# Authenticated connections: TLS 1.3 with the step secret, on libevent.
noinst_LTLIBRARIES += node_helper/net/libnet.la
node_helper_net_libnet_la_SOURCES = \
	node_helper/net/net.c \
	node_helper/net/net.h \
	node_helper/net/net_internal.h \
	node_helper/net/net_listen.c \
	node_helper/net/net_peer.c \
	node_helper/net/net_tls.c
node_helper_net_libnet_la_CFLAGS = $(AM_CFLAGS) $(EVENT_CFLAGS) $(OPENSSL_CFLAGS)
node_helper_net_libnet_la_LIBADD = $(EVENT_LIBS) $(OPENSSL_LIBS)

check_PROGRAMS += tests/unit/test_net
TESTS += tests/unit/test_net
tests_unit_test_net_SOURCES = tests/unit/test_net.c tests/unit/test_net_bench.c tests/unit/test_net_bench.h
tests_unit_test_net_CFLAGS = $(AM_CFLAGS) $(EVENT_CFLAGS) $(OPENSSL_CFLAGS) $(CMOCKA_CFLAGS)
tests_unit_test_net_LDADD = node_helper/net/libnet.la $(EVENT_LIBS) $(OPENSSL_LIBS) $(CMOCKA_LIBS)
