/* What the program is asked to do. */
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>

#include "sim/sim.h"
#include "sim/tree.h"

#define STRETCHES 20u

static const char usage[] =
    "usage: sim [--seeds COUNT] [--from FIRST] [--nodes N] [--slots K]   a batch of random runs, as TAP\n"
    "       sim -v SEED [--only FAULT,...] [--chance C]                  one of them, told line by line\n"
    "       sim --shrink SEED                                            the fewest faults by which it still fails\n"
    "       sim --nodes N [--slots K], N above 64                        what one recovery of N nodes costs\n"
    "COUNT: 1000; FIRST: 1; N and K: as each seed wants it. --only: of the seed's faults, by number; --chance: "
    "another\n"
    "seed for delays. What a run does depends on these and on the program alone, whose tree is %s.\n";

struct request {
    uint64_t count, first, seed, chance;
    bool tells, shrinks, has_chance;
    const char *only;
    struct sim_sizes sizes;
};

static uint32_t run_stretch(const struct request *request, uint64_t first, uint64_t end, uint64_t *outcomes) {
    uint32_t bad = 0;
    for (uint64_t seed = first; seed < end; seed++) {
        struct sim_plan plan = sim_plan_of(seed, request->sizes);
        const char *failure = NULL;
        outcomes[sim_judge(&plan, false, &failure)]++;
        if (failure != NULL) {
            bad++;
            printf("# seed %llu: %s\n", (unsigned long long)seed, failure);
        }
    }
    return bad;
}

static int run_batch(const struct request *request) {
    uint64_t stretches = request->count < STRETCHES ? request->count : STRETCHES, outcomes[SIM_OUTCOME_COUNT] = { 0 };
    printf("# tree %s\n1..%llu\n", SIM_TREE, (unsigned long long)stretches);
    for (uint64_t i = 0; i < stretches; i++) {
        uint64_t first = request->first + i * request->count / stretches;
        uint64_t end = request->first + (i + 1) * request->count / stretches;
        uint32_t bad = run_stretch(request, first, end, outcomes);
        printf("%s %llu - seeds %llu to %llu\n", bad > 0 ? "not ok" : "ok", (unsigned long long)i + 1,
               (unsigned long long)first, (unsigned long long)end - 1);
        fflush(stdout);
    }
    printf("# ended %llu, gave up %llu, quorum lost %llu, failed %llu\n", (unsigned long long)outcomes[SIM_ENDED],
           (unsigned long long)outcomes[SIM_GAVE_UP], (unsigned long long)outcomes[SIM_NO_QUORUM],
           (unsigned long long)outcomes[SIM_FAILED]);
    return outcomes[SIM_FAILED] > 0;
}

static void keep_only(struct sim_plan *plan, const char *only) {
    uint32_t kept = 0;
    while (*only != '\0') {
        char *end = NULL;
        uint64_t index = strtoull(only, &end, 10);
        if (end == only) {
            break;
        }
        only = *end == ',' ? end + 1 : end;
        if (index < plan->fault_count && index >= kept) { /* ascending: nothing is overwritten that is to come */
            plan->faults[kept++] = plan->faults[index];
        }
    }
    plan->fault_count = kept;
}

static int tell(const struct request *request) {
    struct sim_plan plan = sim_plan_of(request->seed, request->sizes);
    const char *failure = NULL;
    if (request->only != NULL) {
        keep_only(&plan, request->only);
    }
    plan.chance = request->has_chance ? request->chance : plan.chance;
    printf("# tree %s, seed %llu: %u active nodes, %u spares, %u slots, goal %llu, healed at %.3f ms\n", SIM_TREE,
           (unsigned long long)plan.seed, plan.active_count, plan.node_count - plan.active_count, plan.slot_count,
           (unsigned long long)plan.goal, (double)plan.heal_ns / 1e6);
    for (uint32_t i = 0; i < plan.fault_count; i++) {
        fault_print(&plan.faults[i], i);
    }
    (void)sim_judge(&plan, true, &failure);
    printf("# %s\n", failure != NULL ? failure : "well");
    return failure != NULL;
}

static bool parse(int argc, char **argv, struct request *request) {
    static const struct option options[] = {
        { "seeds", required_argument, NULL, 's' },  { "from", required_argument, NULL, 'f' },
        { "nodes", required_argument, NULL, 'n' },  { "slots", required_argument, NULL, 'k' },
        { "shrink", required_argument, NULL, 'x' }, { "only", required_argument, NULL, 'o' },
        { "chance", required_argument, NULL, 'c' }, { NULL, 0, NULL, 0 }
    };
    int option;
    while ((option = getopt_long(argc, argv, "v:", options, NULL)) != -1) {
        uint64_t value = optarg != NULL ? strtoull(optarg, NULL, 10) : 0;
        switch (option) {
        case 's':
            request->count = value;
            break;
        case 'f':
            request->first = value;
            break;
        case 'n':
            request->sizes.node_count = (uint32_t)value;
            break;
        case 'k':
            request->sizes.slot_count = (uint32_t)value;
            break;
        case 'v':
        case 'x':
            request->seed = value;
            request->tells = option == 'v';
            request->shrinks = option == 'x';
            break;
        case 'o':
            request->only = optarg;
            break;
        case 'c':
            request->chance = value;
            request->has_chance = true;
            break;
        default:
            return false;
        }
    }
    return optind == argc && request->sizes.node_count <= WIRE_NODES_MAX && request->sizes.slot_count <= 64;
}

int main(int argc, char **argv) {
    struct request request = { .count = 1000, .first = 1 };
    if (!parse(argc, argv, &request)) {
        fprintf(stderr, usage, SIM_TREE);
        return 2;
    }
    if (request.sizes.node_count > SIM_NODES_MAX) {
        return cost_report(request.sizes);
    }
    if (request.tells) {
        return tell(&request);
    }
    if (request.shrinks) {
        struct sim_plan plan = sim_plan_of(request.seed, request.sizes);
        return shrink_seed(&plan);
    }
    return run_batch(&request);
}
