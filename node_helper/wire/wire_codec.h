/*
 * Inside the codec: what the files of node_helper/wire share with each other. One encode and one decode per payload,
 * next to each other in the file of its message kind; wire_message.c dispatches by a table. Not for other directories.
 */
#ifndef CKPTLESS_WIRE_CODEC_H
#define CKPTLESS_WIRE_CODEC_H

#include "node_helper/wire/wire_cursor.h"
#include "node_helper/wire/wire_message.h"

/* One decode under way. A decode function reserves room for all of its arrays at once, then takes them. */
struct wire_decoder {
    struct wire_reader reader;
    struct wire_arena *arena;
    size_t taken; /* bytes of the arena given out */
};

typedef void wire_encode_fn(struct wire_writer *writer, const struct wire_message *message);
typedef void wire_decode_fn(struct wire_decoder *decoder, struct wire_message *ret_message);

/* Bytes of the arena that `count` elements of `bytes` bytes need, alignment included. */
size_t wire_arena_need(size_t count, size_t bytes);
/* Makes room for `bytes`; fails the reader when memory is short. Once per decode, before the first take. */
bool wire_arena_reserve(struct wire_decoder *decoder, size_t bytes);
/* An aligned array inside the reserved room; NULL for count 0 or after a failure. */
void *wire_arena_take(struct wire_decoder *decoder, size_t count, size_t bytes);
/* A count that is <= bound and for which at least item_bytes_min bytes each are left; else 0 and the reader fails. */
uint32_t wire_decode_count(struct wire_reader *reader, uint32_t bound, size_t item_bytes_min);

/* Writes a count that must be <= bound. False: the writer has failed. */
bool wire_encode_count(struct wire_writer *writer, uint32_t count, uint32_t bound);
/* A string in a fixed array: fails when it has no NUL within capacity. */
void wire_encode_text(struct wire_writer *writer, const char *text, size_t capacity);
void wire_encode_bool(struct wire_writer *writer, bool value);
/* Fails on anything but 0 and 1. */
bool wire_decode_bool(struct wire_reader *reader);
/* `count` numbers that must be strictly ascending (ranks, helper ids). */
void wire_encode_ascending(struct wire_writer *writer, const uint32_t *values, uint32_t count);
const uint32_t *wire_decode_ascending(struct wire_decoder *decoder, uint32_t count);
/* The same, as runs of numbers that follow each other: u32 run count, then u32 first and u32 count of each. */
void wire_encode_runs(struct wire_writer *writer, const uint32_t *values, uint32_t count);
/* `count` numbers below bound, in runs; room for them must have been reserved. */
bool wire_skip_runs(struct wire_reader *reader, uint32_t count); /* false: they are not so many */
const uint32_t *wire_decode_runs(struct wire_decoder *decoder, uint32_t count, uint32_t bound);
/* True for a run of strings "NAME=value" or "NAME", each ended by a NUL, each NAME not empty. */
bool wire_environment_valid(const uint8_t *bytes, size_t count);

/* wire_rollcall.c */
wire_encode_fn wire_hello_encode, wire_roster_encode, wire_report_encode, wire_usage_encode, wire_heartbeat_encode,
    wire_end_encode;
wire_decode_fn wire_hello_decode, wire_roster_decode, wire_report_decode, wire_usage_decode, wire_heartbeat_decode,
    wire_end_decode;
/* wire_recovery.c */
wire_encode_fn wire_loss_encode, wire_stop_encode, wire_arrivals_encode, wire_plan_encode, wire_commits_encode,
    wire_rank_step_encode, wire_reload_result_encode;
wire_decode_fn wire_loss_decode, wire_stop_decode, wire_arrivals_decode, wire_plan_decode, wire_commits_decode,
    wire_rank_step_decode, wire_reload_result_decode;
/* wire_view.c */
wire_encode_fn wire_view_encode, wire_slot_encode;
wire_decode_fn wire_view_decode, wire_slot_decode;
/* wire_bulk.c */
wire_encode_fn wire_table_encode, wire_region_query_encode, wire_address_encode, wire_gather_encode;
wire_decode_fn wire_table_decode, wire_region_query_decode, wire_address_decode, wire_gather_decode;

#endif
