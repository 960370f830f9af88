# The only code that calls PMIx, which is loaded at run time. Client and server share the table of its functions.
noinst_LTLIBRARIES += pmix_glue/libglue.la pmix_glue/client/libpmixcli.la pmix_glue/server/libpmixsrv.la
pmix_glue_libglue_la_SOURCES = pmix_glue/glue_table.c pmix_glue/glue_table.h
pmix_glue_libglue_la_CFLAGS = $(AM_CFLAGS) $(PMIX_CFLAGS)
pmix_glue_client_libpmixcli_la_SOURCES = pmix_glue/client/pmixcli.c pmix_glue/client/pmixcli.h
pmix_glue_client_libpmixcli_la_CFLAGS = $(AM_CFLAGS) $(PMIX_CFLAGS)
pmix_glue_client_libpmixcli_la_LIBADD = pmix_glue/libglue.la
pmix_glue_server_libpmixsrv_la_SOURCES = \
	pmix_glue/server/pmixsrv.c \
	pmix_glue/server/pmixsrv.h \
	pmix_glue/server/pmixsrv_answer.c \
	pmix_glue/server/pmixsrv_client.c \
	pmix_glue/server/pmixsrv_private.h \
	pmix_glue/server/pmixsrv_upcall.c \
	pmix_glue/server/pmixsrv_world.c
pmix_glue_server_libpmixsrv_la_CFLAGS = $(AM_CFLAGS) $(PMIX_CFLAGS)
pmix_glue_server_libpmixsrv_la_LIBADD = pmix_glue/libglue.la
