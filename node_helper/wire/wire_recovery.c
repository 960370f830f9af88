/*
 * Payloads of a recovery: what was lost, who lives where in the new epoch, what each rank holds, what is resumed and
 * pulled, and that a rank is ready, has committed or has finished. Encode and decode stand next to each other.
 */
#include "node_helper/wire/wire_codec.h"

#define SEAT_BYTES 16u /* on the wire */
#define ARRIVED_BYTES 34u

void wire_loss_encode(struct wire_writer *writer, const struct wire_message *message) {
    const struct wire_loss *loss = &message->loss;

    wire_write_u32(writer, loss->rank);
    wire_write_u32(writer, loss->incarnation);
    wire_write_u8(writer, loss->cause);
    wire_write_u32(writer, loss->detail);
    wire_encode_bool(writer, loss->attached);
    wire_encode_text(writer, loss->text, sizeof(loss->text));
    if (loss->cause >= WIRE_CAUSE_COUNT) {
        writer->failed = true;
    }
}

void wire_loss_decode(struct wire_decoder *decoder, struct wire_message *ret_message) {
    struct wire_reader *reader = &decoder->reader;
    struct wire_loss *loss = &ret_message->loss;

    loss->rank = wire_read_u32(reader);
    loss->incarnation = wire_read_u32(reader);
    loss->cause = wire_read_u8(reader);
    loss->detail = wire_read_u32(reader);
    loss->attached = wire_decode_bool(reader);
    wire_read_string(reader, loss->text, sizeof(loss->text));
    if (loss->cause >= WIRE_CAUSE_COUNT) {
        reader->failed = true;
    }
}

void wire_stop_encode(struct wire_writer *writer, const struct wire_message *message) {
    const struct wire_stop *stop = &message->stop;

    wire_write_u32(writer, stop->ordinal);
    wire_write_u32(writer, stop->generation);
    if (!wire_encode_count(writer, stop->rank_count, WIRE_RANKS_MAX) ||
        !wire_encode_count(writer, stop->changed_count, stop->rank_count) ||
        !wire_encode_count(writer, stop->member_count, WIRE_NODES_MAX)) {
        return;
    }
    wire_write_u64(writer, stop->base);
    wire_encode_ascending(writer, stop->changed, stop->changed_count);
    for (uint32_t i = 0; i < stop->changed_count; i++) {
        wire_write_u32(writer, stop->seats[i].helper);
        wire_write_u32(writer, stop->seats[i].slot);
        wire_write_u32(writer, stop->seats[i].incarnation);
        wire_write_u32(writer, stop->seats[i].starts);
    }
    wire_encode_ascending(writer, stop->members, stop->member_count);
    wire_encode_bool(writer, stop->committed_once);
    wire_write_u32(writer, stop->restarts);
}

void wire_stop_decode(struct wire_decoder *decoder, struct wire_message *ret_message) {
    struct wire_reader *reader = &decoder->reader;
    struct wire_stop *stop = &ret_message->stop;

    stop->ordinal = wire_read_u32(reader);
    stop->generation = wire_read_u32(reader);
    stop->rank_count = wire_read_count(reader, WIRE_RANKS_MAX);
    stop->changed_count = wire_decode_count(reader, stop->rank_count, sizeof(uint32_t) + SEAT_BYTES);
    stop->member_count = wire_decode_count(reader, WIRE_NODES_MAX, sizeof(uint32_t));
    stop->base = wire_read_u64(reader);
    if (!wire_arena_reserve(decoder, wire_arena_need(stop->changed_count, sizeof(uint32_t)) +
                                         wire_arena_need(stop->changed_count, sizeof(struct wire_seat)) +
                                         wire_arena_need(stop->member_count, sizeof(uint32_t)))) {
        return;
    }
    stop->changed = wire_decode_ascending(decoder, stop->changed_count);
    if (stop->changed_count > 0 && !reader->failed && stop->changed[stop->changed_count - 1] >= stop->rank_count) {
        reader->failed = true;
    }
    struct wire_seat *seats = wire_arena_take(decoder, stop->changed_count, sizeof(*seats));
    for (uint32_t i = 0; i < stop->changed_count && !reader->failed; i++) {
        seats[i].helper = wire_read_u32(reader);
        seats[i].slot = wire_read_u32(reader);
        seats[i].incarnation = wire_read_u32(reader);
        seats[i].starts = wire_read_u32(reader);
    }
    stop->seats = seats;
    stop->members = wire_decode_ascending(decoder, stop->member_count);
    stop->committed_once = wire_decode_bool(reader);
    stop->restarts = wire_read_u32(reader);
}

void wire_arrivals_encode(struct wire_writer *writer, const struct wire_message *message) {
    if (!wire_encode_count(writer, message->arrivals.count, WIRE_SLOTS_PER_NODE_MAX)) {
        return;
    }
    for (uint32_t i = 0; i < message->arrivals.count; i++) {
        const struct wire_arrived *arrived = &message->arrivals.list[i];
        wire_write_u32(writer, arrived->rank);
        wire_write_u32(writer, arrived->incarnation);
        wire_encode_bool(writer, arrived->has_state);
        wire_encode_bool(writer, arrived->is_out_of_reach);
        wire_write_u64(writer, arrived->step);
        wire_write_u64(writer, arrived->layout[0]);
        wire_write_u64(writer, arrived->layout[1]);
    }
}

void wire_arrivals_decode(struct wire_decoder *decoder, struct wire_message *ret_message) {
    struct wire_reader *reader = &decoder->reader;
    uint32_t count = wire_decode_count(reader, WIRE_SLOTS_PER_NODE_MAX, ARRIVED_BYTES);

    if (!wire_arena_reserve(decoder, wire_arena_need(count, sizeof(struct wire_arrived)))) {
        return;
    }
    struct wire_arrived *list = wire_arena_take(decoder, count, sizeof(*list));
    for (uint32_t i = 0; i < count && !reader->failed; i++) {
        list[i].rank = wire_read_u32(reader);
        list[i].incarnation = wire_read_u32(reader);
        list[i].has_state = wire_decode_bool(reader);
        list[i].is_out_of_reach = wire_decode_bool(reader);
        list[i].step = wire_read_u64(reader);
        list[i].layout[0] = wire_read_u64(reader);
        list[i].layout[1] = wire_read_u64(reader);
    }
    ret_message->arrivals = (struct wire_arrivals){ .count = count, .list = list };
}

void wire_plan_encode(struct wire_writer *writer, const struct wire_message *message) {
    const struct wire_plan *plan = &message->plan;

    if (plan->kind < WIRE_PLAN_RESUME || plan->kind > WIRE_PLAN_REGION_MISMATCH) {
        writer->failed = true;
    }
    wire_write_u8(writer, plan->kind);
    wire_write_u64(writer, plan->step);
    wire_write_bytes(writer, plan->token, sizeof(plan->token));
    wire_write_u32(writer, plan->rank_a);
    wire_write_u32(writer, plan->rank_b);
    if (!wire_encode_count(writer, plan->source_count, WIRE_RANKS_MAX) ||
        !wire_encode_count(writer, plan->puller_count, WIRE_RANKS_MAX)) {
        return;
    }
    wire_encode_runs(writer, plan->sources, plan->source_count);
    wire_encode_runs(writer, plan->pullers, plan->puller_count);
}

void wire_plan_decode(struct wire_decoder *decoder, struct wire_message *ret_message) {
    struct wire_reader *reader = &decoder->reader;
    struct wire_plan *plan = &ret_message->plan;

    plan->kind = wire_read_u8(reader);
    plan->step = wire_read_u64(reader);
    wire_read_bytes(reader, plan->token, sizeof(plan->token));
    plan->rank_a = wire_read_u32(reader);
    plan->rank_b = wire_read_u32(reader);
    plan->source_count = wire_read_count(reader, WIRE_RANKS_MAX);
    plan->puller_count = wire_read_count(reader, WIRE_RANKS_MAX);
    struct wire_reader ahead = *reader; /* the arena is made for no more than there is */
    if (plan->kind < WIRE_PLAN_RESUME || plan->kind > WIRE_PLAN_REGION_MISMATCH ||
        !wire_skip_runs(&ahead, plan->source_count) || !wire_skip_runs(&ahead, plan->puller_count)) {
        reader->failed = true;
    }
    if (!wire_arena_reserve(decoder, wire_arena_need(plan->source_count, sizeof(uint32_t)) +
                                         wire_arena_need(plan->puller_count, sizeof(uint32_t)))) {
        return;
    }
    plan->sources = wire_decode_runs(decoder, plan->source_count, WIRE_RANKS_MAX);
    plan->pullers = wire_decode_runs(decoder, plan->puller_count, WIRE_RANKS_MAX);
}

void wire_commits_encode(struct wire_writer *writer, const struct wire_message *message) {
    if (!wire_encode_count(writer, message->commits.count, WIRE_SLOTS_PER_NODE_MAX)) {
        return;
    }
    for (uint32_t i = 0; i < message->commits.count; i++) {
        wire_write_u32(writer, message->commits.list[i].rank);
        wire_write_u32(writer, message->commits.list[i].incarnation);
    }
}

void wire_commits_decode(struct wire_decoder *decoder, struct wire_message *ret_message) {
    struct wire_reader *reader = &decoder->reader;
    uint32_t count = wire_decode_count(reader, WIRE_SLOTS_PER_NODE_MAX, 2 * sizeof(uint32_t));

    if (!wire_arena_reserve(decoder, wire_arena_need(count, sizeof(struct wire_commit)))) {
        return;
    }
    struct wire_commit *list = wire_arena_take(decoder, count, sizeof(*list));
    for (uint32_t i = 0; i < count && !reader->failed; i++) {
        list[i].rank = wire_read_u32(reader);
        list[i].incarnation = wire_read_u32(reader);
    }
    ret_message->commits = (struct wire_commits){ .count = count, .list = list };
}

void wire_rank_step_encode(struct wire_writer *writer, const struct wire_message *message) {
    wire_write_u32(writer, message->rank_step.rank);
    wire_write_u32(writer, message->rank_step.incarnation);
    wire_write_u64(writer, message->rank_step.step);
    wire_write_u64(writer, message->rank_step.bytes);
    wire_write_u32(writer, message->rank_step.slot);
}

void wire_rank_step_decode(struct wire_decoder *decoder, struct wire_message *ret_message) {
    ret_message->rank_step.rank = wire_read_u32(&decoder->reader);
    ret_message->rank_step.incarnation = wire_read_u32(&decoder->reader);
    ret_message->rank_step.step = wire_read_u64(&decoder->reader);
    ret_message->rank_step.bytes = wire_read_u64(&decoder->reader);
    ret_message->rank_step.slot = wire_read_u32(&decoder->reader);
}

void wire_reload_result_encode(struct wire_writer *writer, const struct wire_message *message) {
    const struct wire_reload_result *result = &message->reload_result;

    wire_encode_bool(writer, result->ok);
    wire_write_u64(writer, result->step);
    wire_write_u32(writer, result->rank_a);
    wire_write_u32(writer, result->rank_b);
    wire_write_u64(writer, result->step_a);
    wire_write_u64(writer, result->step_b);
}

void wire_reload_result_decode(struct wire_decoder *decoder, struct wire_message *ret_message) {
    struct wire_reader *reader = &decoder->reader;
    struct wire_reload_result *result = &ret_message->reload_result;

    result->ok = wire_decode_bool(reader);
    result->step = wire_read_u64(reader);
    result->rank_a = wire_read_u32(reader);
    result->rank_b = wire_read_u32(reader);
    result->step_a = wire_read_u64(reader);
    result->step_b = wire_read_u64(reader);
}
