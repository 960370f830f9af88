/*
 * Region tables: order does not matter, everything else does, and a difference is named.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "node_helper/shell/table.h"

static const struct wire_rpc_region weights = { .name = "weights", .bytes = 100, .address = 0x1000 };
static const struct wire_rpc_region shard_1 = { .name = "weights", .shard = 1, .bytes = 100, .address = 0x2000 };
static const struct wire_rpc_region rng = { .name = "rng", .bytes = 16, .address = 0x3000 };
static const struct wire_rpc_region longer = { .name = "weights", .bytes = 200, .address = 0x1000 };

static void order_and_addresses_do_not_matter(void **state) {
    const struct wire_rpc_region one[] = { weights, rng, shard_1 };
    struct wire_rpc_region two[] = { shard_1, weights, rng };
    struct table a = { 0 }, b = { 0 };
    uint64_t layout_a[2], layout_b[2];
    char line[200];
    (void)state;
    two[1].address = 0x999000;
    assert_true(table_set_rpc(&a, one, 3));
    assert_true(table_set_rpc(&b, two, 3));
    assert_true(table_equal(&a, &b));
    table_layout(&a, layout_a);
    table_layout(&b, layout_b);
    assert_memory_equal(layout_a, layout_b, sizeof(layout_a));
    assert_false(table_diff(&a, 0, &b, 1, line, sizeof(line)));
    assert_int_equal(table_find(&b, "weights", 0)->address, 0x999000);
    assert_null(table_find(&b, "weight", 0));
    table_fini(&a);
    table_fini(&b);
}

static void differences_are_named(void **state) {
    const struct {
        struct wire_rpc_region a[3], b[3];
        uint32_t a_count, b_count;
        const char *line;
    } rows[] = {
        { { rng, weights },
          { rng, longer },
          2,
          2,
          "region 'weights' (shard 0) has 100 bytes on rank 4 but 200 on rank 7" },
        { { rng, weights },
          { weights },
          2,
          1,
          "region 'rng' (shard 0) has 16 bytes on rank 4 but is not registered on rank 7" },
        { { weights },
          { weights, shard_1 },
          1,
          2,
          "region 'weights' (shard 1) has 100 bytes on rank 7 but is not registered on rank 4" },
        { { { .name = "" } },
          { rng },
          0,
          1,
          "region 'rng' (shard 0) has 16 bytes on rank 7 but is not registered on rank 4" },
    };
    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct table a = { 0 }, b = { 0 };
        uint64_t layout_a[2], layout_b[2];
        char line[200];
        assert_true(table_set_rpc(&a, rows[i].a, rows[i].a_count));
        assert_true(table_set_rpc(&b, rows[i].b, rows[i].b_count));
        table_layout(&a, layout_a);
        table_layout(&b, layout_b);
        assert_memory_not_equal(layout_a, layout_b, sizeof(layout_a));
        assert_false(table_equal(&a, &b));
        assert_true(table_diff(&a, 4, &b, 7, line, sizeof(line)));
        assert_string_equal(line, rows[i].line);
        table_fini(&a);
        table_fini(&b);
    }
}

static void a_table_survives_the_wire(void **state) {
    const struct wire_rpc_region one[] = { weights, rng, shard_1 };
    struct table a = { 0 }, b = { 0 };
    (void)state;
    assert_true(table_set_rpc(&a, one, 3));
    struct wire_region *regions = table_wire(&a);
    assert_non_null(regions);
    assert_true(table_set_wire(&b, regions, a.count));
    assert_true(table_equal(&a, &b));
    free(regions);
    table_fini(&a);
    table_fini(&b);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(order_and_addresses_do_not_matter),
        cmocka_unit_test(differences_are_named),
        cmocka_unit_test(a_table_survives_the_wire),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
