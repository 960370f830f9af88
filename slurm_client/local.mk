# ckptless-slurm, run by helpers and ckptless-launch, and the part that runs it.
pkglibexec_PROGRAMS += slurm_client/ckptless-slurm
slurm_client_ckptless_slurm_SOURCES = \
	slurm_client/client.h \
	slurm_client/complete.c \
	slurm_client/main.c \
	slurm_client/shrink.c \
	slurm_client/state.c
slurm_client_ckptless_slurm_CPPFLAGS = $(AM_CPPFLAGS) $(SLURM_CFLAGS)
slurm_client_ckptless_slurm_LDADD = $(SLURM_LIBS)

noinst_LTLIBRARIES += slurm_client/libslurmrun.la
slurm_client_libslurmrun_la_SOURCES = \
	slurm_client/slurm_run.c \
	slurm_client/slurm_run.h
slurm_client_libslurmrun_la_CFLAGS = $(AM_CFLAGS) $(EVENT_CFLAGS)
slurm_client_libslurmrun_la_LIBADD = $(EVENT_LIBS)
