# ckptless-shrink, run by the leader's helper when a node is lost.
pkglibexec_PROGRAMS += node_helper/shrink/ckptless-shrink
node_helper_shrink_ckptless_shrink_SOURCES = node_helper/shrink/main.c
node_helper_shrink_ckptless_shrink_CPPFLAGS = $(AM_CPPFLAGS) $(SLURM_CFLAGS)
node_helper_shrink_ckptless_shrink_LDADD = $(SLURM_LIBS)
