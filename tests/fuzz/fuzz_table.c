/*
 * Any bytes as a request of the library, whose regions become the rank's table: what the leader makes of it, by way of
 * a message, is the same table, and has the same layout.
 */
#include <stdlib.h>
#include <string.h>

#include "node_helper/shell/table.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(const struct table *table) {
    struct table again = { 0 };
    uint64_t layout[2], layout_again[2];
    char line[512];
    struct wire_region *regions = table_wire(table);

    if (regions == NULL) {
        return;
    }
    if (!table_set_wire(&again, regions, table->count)) {
        abort();
    }
    table_layout(table, layout);
    table_layout(&again, layout_again);
    if (!table_equal(table, &again) || memcmp(layout, layout_again, sizeof(layout)) != 0 ||
        table_diff(table, 0, &again, 1, line, sizeof(line))) {
        abort();
    }
    for (uint32_t i = 0; i < table->count; i++) {
        if (table_find(table, regions[i].name, regions[i].shard) == NULL) {
            abort();
        }
    }
    table_fini(&again);
    free(regions);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static struct wire_arena arena;
    struct wire_rpc_request request;
    struct table table = { 0 };

    if (wire_rpc_request_decode(data, size, &arena, &request) &&
        table_set_rpc(&table, request.regions, request.region_count)) {
        check(&table);
        table_fini(&table);
    }
    return 0;
}
