/*
 * The table of regions: what counts as state, late and moved regions, and copies of those that change between updates.
 */
#include "tests/unit/test_lib.h"

#include "libckptless/regions.h"

static const struct regions_options before_world = { .in_world = false, .keep_copies = true };
static const struct regions_options in_world = { .in_world = true, .keep_copies = true };

static enum ckptless_result put(struct regions *regions, const char *name, void *data, size_t bytes, bool changes,
                                struct regions_options options) {
    struct ckptless_region region = CKPTLESS_REGION_INIT;
    region.name = name;
    region.data = data;
    region.bytes = bytes;
    region.changes_between_updates = changes;
    return regions_put(regions, &region, options);
}

/* The table's entry of a name; bytes 0: it has none. */
static struct wire_rpc_region entry(const struct regions *regions, const char *name) {
    struct wire_rpc_region found = { .bytes = 0 };
    uint32_t count = 0;
    struct wire_rpc_region *table = regions_table(regions, &count);
    for (uint32_t i = 0; i < count; i++) {
        if (strcmp(table[i].name, name) == 0) {
            found = table[i];
        }
    }
    free(table);
    return found;
}

static uint64_t served(const struct regions *regions, const char *name) {
    return *(const uint64_t *)(uintptr_t)entry(regions, name).address;
}

static void a_plain_region_is_served_in_place(void **state) {
    struct regions regions = { 0 };
    uint64_t a = 1;
    (void)state;
    assert_int_equal(put(&regions, "a", &a, sizeof(a), false, before_world), CKPTLESS_OK);
    assert_int_equal(entry(&regions, "a").address, (uintptr_t)&a);
    assert_int_equal(entry(&regions, "a").bytes, sizeof(a));
    assert_true(regions_remove(&regions, "a", 0));
    assert_false(regions_remove(&regions, "a", 0));
    assert_int_equal(entry(&regions, "a").bytes, 0);
    regions_fini(&regions);
}

static void a_late_region_counts_from_the_next_commit_on(void **state) {
    struct regions regions = { 0 };
    uint64_t a = 1, late = 2, moved = 3;
    (void)state;
    assert_int_equal(put(&regions, "a", &a, sizeof(a), false, before_world), CKPTLESS_OK);
    assert_int_equal(put(&regions, "late", &late, sizeof(late), true, in_world), CKPTLESS_OK);
    assert_int_equal(entry(&regions, "late").bytes, 0);
    late = 9;
    regions_restore(&regions); /* nothing to put back */
    assert_int_equal(late, 9);
    assert_int_equal(put(&regions, "late", &moved, sizeof(moved), true, before_world), CKPTLESS_OK);
    assert_int_equal(entry(&regions, "late").bytes, 0); /* moved between two worlds: as late as before */
    regions_commit(&regions);
    assert_int_equal(served(&regions, "late"), 3);
    regions_fini(&regions);
}

static void a_copy_is_of_the_last_commit(void **state) {
    struct regions regions = { 0 };
    uint64_t draws = 1;
    (void)state;
    assert_int_equal(put(&regions, "draws", &draws, sizeof(draws), true, before_world), CKPTLESS_OK);
    for (uint64_t step = 1; step <= 5; step++) {
        draws = step * 10;
        regions_commit(&regions);
        draws = step * 10 + 7; /* drawn for the next step */
        assert_int_equal(served(&regions, "draws"), step * 10);
    }
    regions_restore(&regions);
    assert_int_equal(draws, 50);
    regions_fini(&regions);
}

/* A peer that has the table of a commit reads that commit's content until the one after the next. */
static void a_commit_leaves_the_served_copy_whole(void **state) {
    struct regions regions = { 0 };
    uint64_t draws = 1;
    (void)state;
    assert_int_equal(put(&regions, "draws", &draws, sizeof(draws), true, before_world), CKPTLESS_OK);
    regions_commit(&regions);
    const uint64_t *old = (const uint64_t *)(uintptr_t)entry(&regions, "draws").address;
    draws = 2;
    regions_commit(&regions);
    assert_int_equal(*old, 1);
    assert_int_equal(served(&regions, "draws"), 2);
    assert_true((uintptr_t)old != entry(&regions, "draws").address);
    regions_fini(&regions);
}

static void what_is_pulled_into_a_copy_is_put_back(void **state) {
    struct regions regions = { 0 };
    uint64_t draws = 1, plain = 5;
    (void)state;
    assert_int_equal(put(&regions, "draws", &draws, sizeof(draws), true, before_world), CKPTLESS_OK);
    assert_int_equal(put(&regions, "plain", &plain, sizeof(plain), false, before_world), CKPTLESS_OK);
    *(uint64_t *)(uintptr_t)entry(&regions, "draws").address = 42;
    regions_restore(&regions);
    assert_int_equal(draws, 42);
    assert_int_equal(plain, 5);
    regions_fini(&regions);
}

static void a_moved_region_keeps_its_copy_unless_its_size_changes(void **state) {
    struct regions regions = { 0 };
    uint64_t first = 1, second = 2, larger[2] = { 3, 4 };
    (void)state;
    assert_int_equal(put(&regions, "draws", &first, sizeof(first), true, before_world), CKPTLESS_OK);
    regions_commit(&regions);
    assert_int_equal(put(&regions, "draws", &second, sizeof(second), true, in_world), CKPTLESS_OK);
    assert_int_equal(served(&regions, "draws"), 1);
    regions_restore(&regions);
    assert_int_equal(second, 1);
    assert_int_equal(put(&regions, "draws", larger, sizeof(larger), true, in_world), CKPTLESS_OK);
    assert_int_equal(entry(&regions, "draws").bytes, sizeof(larger));
    assert_int_equal(served(&regions, "draws"), 3);
    assert_int_equal(put(&regions, "draws", larger, sizeof(larger), false, in_world), CKPTLESS_OK);
    assert_int_equal(entry(&regions, "draws").address, (uintptr_t)larger);
    assert_int_equal(regions.count, 1);
    assert_int_equal(regions.copy_count, 0);
    regions_fini(&regions);
}

static void the_table_is_bounded(void **state) {
    struct regions regions = { 0 };
    static uint8_t bytes[WIRE_REGIONS_MAX + 1];
    char name[16];
    (void)state;
    for (uint32_t i = 0; i <= WIRE_REGIONS_MAX; i++) {
        snprintf(name, sizeof(name), "r%u", i);
        enum ckptless_result result = put(&regions, name, &bytes[i], 1, false, before_world);
        assert_int_equal(result, i < WIRE_REGIONS_MAX ? CKPTLESS_OK : CKPTLESS_ERR_INVALID);
    }
    assert_int_equal(put(&regions, "r7", bytes, 1, false, before_world), CKPTLESS_OK); /* moving needs no room */
    regions_fini(&regions);
}

static void names_and_places_are_found(void **state) {
    struct regions regions = { 0 };
    uint64_t data[4];
    (void)state;
    assert_false(regions_name_ok(NULL));
    assert_false(regions_name_ok(""));
    assert_true(regions_name_ok("x"));
    assert_int_equal(put(&regions, "a", &data[1], 2 * sizeof(data[0]), false, before_world), CKPTLESS_OK);
    assert_non_null(regions_inside(&regions, &data[2], 1));
    assert_non_null(regions_inside(&regions, data, sizeof(data)));
    assert_null(regions_inside(&regions, data, sizeof(data[0])));
    assert_null(regions_inside(&regions, &data[3], sizeof(data[0])));
    regions_fini(&regions);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_plain_region_is_served_in_place),
        cmocka_unit_test(a_late_region_counts_from_the_next_commit_on),
        cmocka_unit_test(a_copy_is_of_the_last_commit),
        cmocka_unit_test(a_commit_leaves_the_served_copy_whole),
        cmocka_unit_test(what_is_pulled_into_a_copy_is_put_back),
        cmocka_unit_test(a_moved_region_keeps_its_copy_unless_its_size_changes),
        cmocka_unit_test(the_table_is_bounded),
        cmocka_unit_test(names_and_places_are_found),
    };
    return cmocka_run_group_tests_name("lib_regions", tests, NULL, NULL);
}
