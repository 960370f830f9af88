/*
 * What a program finds in its environment, in worlds as they come: full, after a spare took over, and with a master
 * that has gone.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "node_helper/shell/world.h"

static const char *const hosts[] = { "n1", "n2", "n3" };
static const char *const addresses[] = { "10.0.0.1", "10.0.0.2", "10.0.0.3" };

static struct world_facts facts_of(const uint32_t *rank_nodes, uint32_t rank_count, const bool *live) {
    return (struct world_facts){ .job = 12,
                                 .step = 3,
                                 .ordinal = 1,
                                 .node_count = 3,
                                 .rank_count = rank_count,
                                 .rank_nodes = rank_nodes,
                                 .hosts = hosts,
                                 .addresses = addresses,
                                 .node_is_live = live,
                                 .user_master_addr = "",
                                 .user_master_port = "" };
}

static const char *find(const char *block, size_t bytes, const char *name) {
    size_t length = strlen(name);
    for (const char *text = block; text < block + bytes; text += strlen(text) + 1) {
        if (strncmp(text, name, length) == 0 && text[length] == '=') {
            return text + length + 1;
        }
    }
    return "(unset)";
}

static void a_rank_finds_its_place(void **state) {
    static const uint32_t rank_nodes[] = { 0, 0, 1, 1 };
    static const bool live[] = { true, true, true };
    static const struct {
        const char *name, *value;
    } rows[] = {
        { "RANK", "3" },
        { "WORLD_SIZE", "4" },
        { "LOCAL_RANK", "1" },
        { "LOCAL_WORLD_SIZE", "2" },
        { "NODE_RANK", "1" },
        { "SLURM_PROCID", "3" },
        { "SLURM_NTASKS", "4" },
        { "SLURM_NNODES", "2" },
        { "SLURM_NODEID", "1" },
        { "SLURM_LOCALID", "1" },
        { "SLURM_JOB_NODELIST", "n1,n2" },
        { "SLURM_TASKS_PER_NODE", "2(x2)" },
        { "SLURM_GTIDS", "2,3" },
        { "MASTER_ADDR", "n1" },
    };
    struct world_facts facts = facts_of(rank_nodes, 4, live);
    struct world world;
    char *block = NULL;
    (void)state;
    assert_true(world_init(&world, &facts));
    size_t bytes = world_environment(&world, 3, &block);
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        assert_string_equal(find(block, bytes, rows[i].name), rows[i].value);
    }
    free(block);
    world_fini(&world);
}

/* Rank 0's node is lost and the spare n3 has its rank: n3 is node 0 now, and the master. */
static void a_spare_is_numbered_like_the_node_it_replaces(void **state) {
    static const uint32_t rank_nodes[] = { 2, 1 };
    static const bool live[] = { false, true, true };
    struct world_facts facts = facts_of(rank_nodes, 2, live);
    struct world world;
    char *block = NULL;
    (void)state;
    facts.ordinal = 2;
    assert_true(world_init(&world, &facts));
    size_t bytes = world_environment(&world, 0, &block);
    assert_string_equal(find(block, bytes, "SLURM_NODEID"), "0");
    assert_string_equal(find(block, bytes, "SLURM_NODELIST"), "n3,n2");
    assert_string_equal(find(block, bytes, "MASTER_ADDR"), "n3");
    assert_false(world.master_replaced);
    free(block);
    world_fini(&world);
}

static void the_users_master_stays_as_long_as_it_lives(void **state) {
    static const uint32_t rank_nodes[] = { 0, 1 }, moved[] = { 0, 2 };
    static const bool live[] = { true, true, true }, lost[] = { true, false, true };
    static const struct {
        const char *wish, *before, *after;
    } rows[] = {
        { "n2", "n2", "n1" },
        { "10.0.0.2", "10.0.0.2", "n1" },
        { "elsewhere", "elsewhere", "elsewhere" },
        { "n1", "n1", "n1" },
    };
    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct world_facts facts = facts_of(rank_nodes, 2, live);
        struct world world;
        facts.user_master_addr = rows[i].wish;
        facts.user_master_port = "4711";
        assert_true(world_init(&world, &facts));
        assert_string_equal(world.master_addr, rows[i].before);
        assert_int_equal(world.master_port, 4711);
        world_fini(&world);
        facts.rank_nodes = moved;
        facts.node_is_live = lost;
        assert_true(world_init(&world, &facts));
        assert_string_equal(world.master_addr, rows[i].after);
        assert_int_equal(world.master_replaced, strcmp(rows[i].before, rows[i].after) != 0);
        world_fini(&world);
    }
}

static void ports_differ_between_epochs(void **state) {
    static const uint32_t rank_nodes[] = { 0 };
    static const bool live[] = { true, true, true };
    struct world_facts facts = facts_of(rank_nodes, 1, live);
    struct world first, second;
    (void)state;
    assert_true(world_init(&first, &facts));
    facts.ordinal = 2;
    assert_true(world_init(&second, &facts));
    assert_in_range(first.master_port, 20000, 29999);
    assert_int_not_equal(first.master_port, second.master_port);
    world_fini(&first);
    world_fini(&second);
}

/* Whatever a rank gets, a parked program must not have. */
static void a_parked_program_has_none_of_it(void **state) {
    static const uint32_t rank_nodes[] = { 0 };
    static const bool live[] = { true, true, true };
    struct world_facts facts = facts_of(rank_nodes, 1, live);
    struct world world;
    char *block = NULL, *parked = NULL;
    (void)state;
    assert_true(world_init(&world, &facts));
    size_t bytes = world_environment(&world, 0, &block), parked_bytes = world_environment_parked(&parked);
    for (const char *text = block; text < block + bytes; text += strlen(text) + 1) {
        bool unset = false;
        for (const char *name = parked; name < parked + parked_bytes; name += strlen(name) + 1) {
            unset = unset || (strncmp(text, name, strlen(name)) == 0 && text[strlen(name)] == '=');
        }
        if (!unset) {
            fail_msg("%s would stay", text);
        }
    }
    free(block);
    free(parked);
    world_fini(&world);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_rank_finds_its_place),
        cmocka_unit_test(a_spare_is_numbered_like_the_node_it_replaces),
        cmocka_unit_test(the_users_master_stays_as_long_as_it_lives),
        cmocka_unit_test(ports_differ_between_epochs),
        cmocka_unit_test(a_parked_program_has_none_of_it),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
