# Random faults against real cores; a seed that finds a bug becomes a scenario (tests/scenario/*.txt).
check_PROGRAMS += sim/sim
TESTS += sim/sim
sim_sim_SOURCES = \
	sim/check.c \
	sim/cost.c \
	sim/fault.c \
	sim/helper.c \
	sim/main.c \
	sim/net.c \
	sim/plan.c \
	sim/program.c \
	sim/queue.c \
	sim/record.c \
	sim/run.c \
	sim/shrink.c \
	sim/sim.h
sim_sim_CPPFLAGS = $(AM_CPPFLAGS) -DSIM_TREE=\"$(PACKAGE_VERSION)\"
sim_sim_CFLAGS = $(AM_CFLAGS) $(OPENSSL_CFLAGS)
sim_sim_LDADD = node_helper/core/libcore.la node_helper/wire/libwire.la $(OPENSSL_LIBS)
