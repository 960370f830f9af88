/*
 * Any bytes as a request of the library (first byte even) or as its answer (odd): what is accepted must encode to the
 * same bytes again.
 */
#include <stdlib.h>
#include <string.h>

#include "node_helper/wire/wire_rpc.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_request(const uint8_t *data, size_t size) {
    static struct wire_arena arena;
    struct wire_rpc_request request;

    if (wire_rpc_request_decode(data, size, &arena, &request)) {
        uint8_t *again = malloc(wire_rpc_request_bound(&request) + 1);
        if (again == NULL || wire_rpc_request_encode(&request, again, size) != size || memcmp(again, data, size) != 0) {
            abort();
        }
        free(again);
    }
}

static void check_answer(const uint8_t *data, size_t size) {
    struct wire_rpc_answer answer;

    if (wire_rpc_answer_decode(data, size, &answer)) {
        uint8_t *again = malloc(wire_rpc_answer_bound(&answer) + 1);
        if (again == NULL || wire_rpc_answer_encode(&answer, again, size) != size || memcmp(again, data, size) != 0) {
            abort();
        }
        free(again);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    if (size > 0 && data[0] % 2 == 0) {
        check_request(data + 1, size - 1);
    } else if (size > 0) {
        check_answer(data + 1, size - 1);
    }
    return 0;
}
