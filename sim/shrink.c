/* The fewest faults by which a run still fails: parts of its list are left out, large ones first, as long as it fails
 * with the rest. Without a fault all delays fall out otherwise, so each part is tried with a few seeds for these. */
#include <stdio.h>
#include <string.h>

#include "sim/sim.h"

#define CHANCES 12u

struct shrunk {
    struct sim_plan plan;
    uint32_t indices[SIM_FAULTS_MAX]; /* in the seed's own list */
    const char *failure;
};

/* Without `count` faults from `first` on. */
static bool still_fails(const struct shrunk *from, uint32_t first, uint32_t count, struct shrunk *ret_less) {
    struct shrunk less = *from;
    uint32_t behind = from->plan.fault_count - first - count;
    memmove(&less.plan.faults[first], &from->plan.faults[first + count], behind * sizeof less.plan.faults[0]);
    memmove(&less.indices[first], &from->indices[first + count], behind * sizeof less.indices[0]);
    less.plan.fault_count -= count;
    for (uint64_t chance = 0; chance < CHANCES; chance++) {
        less.plan.chance = chance == 0 ? from->plan.chance : from->plan.seed + chance;
        if (sim_judge(&less.plan, false, &less.failure) == SIM_FAILED) {
            *ret_less = less;
            return true;
        }
    }
    return false;
}

int shrink_seed(const struct sim_plan *plan) {
    struct shrunk shrunk = { .plan = *plan };
    for (uint32_t i = 0; i < plan->fault_count; i++) {
        shrunk.indices[i] = i;
    }
    if (sim_judge(plan, false, &shrunk.failure) != SIM_FAILED) {
        printf("# seed %llu does not fail\n", (unsigned long long)plan->seed);
        return 1;
    }
    for (uint32_t part = (plan->fault_count + 1) / 2; part > 0; part = part > 1 ? (part + 1) / 2 : 0) {
        for (uint32_t first = 0; first < shrunk.plan.fault_count;) {
            uint32_t left = shrunk.plan.fault_count - first, count = part < left ? part : left;
            if (!still_fails(&shrunk, first, count, &shrunk)) {
                first += count;
            }
        }
    }
    printf("# %s\n# %u of %u faults are left:\n", shrunk.failure, shrunk.plan.fault_count, plan->fault_count);
    for (uint32_t i = 0; i < shrunk.plan.fault_count; i++) {
        fault_print(&shrunk.plan.faults[i], shrunk.indices[i]);
    }
    printf("sim -v %llu --chance %llu --only ", (unsigned long long)plan->seed, (unsigned long long)shrunk.plan.chance);
    for (uint32_t i = 0; i < shrunk.plan.fault_count; i++) {
        printf("%s%u", i > 0 ? "," : "", shrunk.indices[i]);
    }
    printf(shrunk.plan.fault_count > 0 ? "\n" : "none\n");
    return 0;
}
