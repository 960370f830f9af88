/*
 * Requests to the helper: encode, send through PMIx, decode, and turn what went wrong into one line. Knows nothing of
 * what the requests mean.
 */
#include <stdatomic.h>
#include <stdlib.h>

#include "libckptless/context.h"
#include "libckptless/rpc.h"
#include "libckptless/say.h"

/* Several threads may find the helper gone; one line is enough. */
static atomic_flag gone_said = ATOMIC_FLAG_INIT;

static void say_gone(const struct ckptless *ctx) {
    if (!atomic_flag_test_and_set(&gone_said)) {
        say_line(ctx, "the node's ckptlessd is gone; this process will be ended and the rank started elsewhere");
    }
}

static enum ckptless_result send_request(const struct ckptless *ctx, const char *call,
                                         const struct wire_rpc_request *request, struct rpc_reply *reply,
                                         size_t *ret_count) {
    struct wire_rpc_request stamped = *request;
    stamped.incarnation = ctx->page->incarnation;
    size_t bound = wire_rpc_request_bound(&stamped);
    uint8_t *bytes = malloc(bound);
    size_t count = bytes ? wire_rpc_request_encode(&stamped, bytes, bound) : 0;
    enum pmixcli_result sent =
        count ? pmixcli_call(ctx->client, bytes, count, &reply->bytes, ret_count) : PMIXCLI_ERR_NO_MEMORY;
    free(bytes);
    if (sent == PMIXCLI_OK) {
        return CKPTLESS_OK;
    }
    if (sent == PMIXCLI_ERR_NO_MEMORY) {
        say_line(ctx, "%s: no memory for a request to ckptlessd", call);
        return CKPTLESS_ERR_NO_MEMORY;
    }
    say_gone(ctx);
    return CKPTLESS_ERR_HELPER;
}

static void say_answer(const struct ckptless *ctx, const char *call, const struct wire_rpc_answer *answer) {
    if (answer->text[0]) {
        say_line(ctx, "%s", answer->text);
    } else {
        say_line(ctx, "%s: %s", call, ckptless_strerror((enum ckptless_result)answer->result));
    }
}

enum ckptless_result rpc_call(const struct ckptless *ctx, const char *call, const struct wire_rpc_request *request,
                              struct rpc_reply *ret_reply) {
    size_t count = 0;
    ret_reply->bytes = NULL;
    enum ckptless_result result = send_request(ctx, call, request, ret_reply, &count);
    if (result != CKPTLESS_OK) {
        return result;
    }
    if (count == 0) {
        say_line(ctx, "%s: ckptlessd gave no answer: it has no memory left", call);
        return CKPTLESS_ERR_HELPER;
    }
    if (!wire_rpc_answer_decode(ret_reply->bytes, count, &ret_reply->answer) ||
        ret_reply->answer.result > CKPTLESS_ERR_UNSUPPORTED) {
        say_line(ctx, "%s: the answer of ckptlessd is not understood; install the same ckptless on all nodes", call);
        return CKPTLESS_ERR_VERSION;
    }
    result = (enum ckptless_result)ret_reply->answer.result;
    if (result > CKPTLESS_RELOAD && result != CKPTLESS_ERR_NOT_FOUND) {
        say_answer(ctx, call, &ret_reply->answer);
    }
    return result;
}

void rpc_reply_fini(struct rpc_reply *reply) {
    free(reply->bytes);
    reply->bytes = NULL;
}

enum ckptless_result rpc_simple(const struct ckptless *ctx, const char *call, const struct wire_rpc_request *request) {
    struct rpc_reply reply;
    enum ckptless_result result = rpc_call(ctx, call, request, &reply);
    rpc_reply_fini(&reply);
    return result;
}
