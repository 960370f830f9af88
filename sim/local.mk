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
nodist_sim_sim_SOURCES = sim/tree.h
sim_sim_CFLAGS = $(AM_CFLAGS) $(OPENSSL_CFLAGS)
sim_sim_LDADD = node_helper/core/libcore.la node_helper/wire/libwire.la $(OPENSSL_LIBS)

# The tree that it is built from: a seed replays with no other.
sim/sim-main.$(OBJEXT): sim/tree.h
sim/tree.h: sim-tree
sim-tree:
	@$(MKDIR_P) sim
	@tree=`git -C $(srcdir) describe --always --dirty --abbrev=12 2>/dev/null || echo $(PACKAGE_VERSION)`; \
	echo "#define SIM_TREE \"$$tree\"" >sim/tree.h.new; \
	if cmp -s sim/tree.h.new sim/tree.h; then rm sim/tree.h.new; else mv sim/tree.h.new sim/tree.h; fi
.PHONY: sim-tree
CLEANFILES += sim/tree.h

# Every state of a small world.
check_PROGRAMS += sim/explore
TESTS += sim/explore
sim_explore_SOURCES = \
	sim/explore.c \
	sim/explore.h \
	sim/explore_memory.c \
	sim/explore_world.c
sim_explore_CFLAGS = $(AM_CFLAGS) $(XXHASH_CFLAGS)
sim_explore_LDADD = node_helper/core/libcore.la node_helper/wire/libwire.la $(XXHASH_LIBS)
sim_explore_LDFLAGS = -Wl,--wrap=calloc -Wl,--wrap=free
