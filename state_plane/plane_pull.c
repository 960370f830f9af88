/*
 * The receiver's side: regions of one rank, chunk by chunk, from the first source that gives them; what a source has
 * not given when it is given up is asked of the next. On this node the chunk is copied from process to process; from
 * another it comes with a digest, which is checked before anything is written.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "state_plane/memory.h"
#include "state_plane/plane_private.h"

struct piece {
    uint32_t region;
    uint32_t length;
    uint64_t offset;
};

/* One request and its reply. Its memory belongs to the fabric until both operations have completed. */
struct chunk {
    struct fabric_op send, receive;
    struct plane *plane;
    struct pull *pull;  /* NULL: abandoned */
    struct chunk *next; /* abandoned: of the plane's */
    struct piece piece;
    uint64_t tag;
    bool receive_posted, receive_done, send_posted, send_done;
    size_t request_bytes, received;
    const char *error;
    uint8_t request[REQUEST_BYTES_MAX];
    uint8_t *bytes; /* length + trailer */
};

struct source {
    struct plane_source given; /* its pointers are ours */
    uint64_t peer;
    bool has_peer;
};

struct pull {
    struct pull *next;
    uint32_t id;
    uint8_t token[REQUEST_TOKEN_BYTES];
    uint32_t pid;
    struct plane_region *regions;
    uint32_t region_count;
    struct source *sources;
    uint32_t source_count, source;
    uint64_t stall_ns, began_ns, progress_ns;
    uint32_t cursor_region;
    uint64_t cursor_offset;
    struct piece again[PLANE_CHUNKS_MAX]; /* pieces that a source did not give */
    uint32_t again_count;
    struct chunk *chunks[PLANE_CHUNKS_MAX];
    uint64_t bytes;
    char why[256]; /* the last source was given up */
};

/* ---- pieces */

static bool next_piece(struct pull *pull, struct piece *ret_piece) {
    if (pull->again_count > 0) {
        *ret_piece = pull->again[--pull->again_count];
        return true;
    }
    while (pull->cursor_region < pull->region_count) {
        uint64_t left = pull->regions[pull->cursor_region].bytes - pull->cursor_offset;
        if (left == 0) {
            pull->cursor_region++;
            pull->cursor_offset = 0;
            continue;
        }
        *ret_piece =
            (struct piece){ .region = pull->cursor_region,
                            .offset = pull->cursor_offset,
                            .length = left < REQUEST_CHUNK_BYTES_MAX ? (uint32_t)left : REQUEST_CHUNK_BYTES_MAX };
        pull->cursor_offset += ret_piece->length;
        return true;
    }
    return false;
}

static bool write_piece(struct pull *pull, const struct piece *piece, const uint8_t *bytes, uint64_t now_ns,
                        bool *ret_target_failed) {
    enum memory_result result =
        memory_write(pull->pid, pull->regions[piece->region].address + piece->offset, bytes, piece->length);
    if (result != MEMORY_OK) {
        snprintf(pull->why, sizeof(pull->why), "region '%s': the receiving process %s",
                 pull->regions[piece->region].name, memory_describe(result));
        *ret_target_failed = true;
        return false;
    }
    pull->bytes += piece->length;
    pull->progress_ns = now_ns;
    return true;
}

/* ---- chunks */

static void free_chunk(struct chunk *chunk) {
    free(chunk->bytes);
    free(chunk);
}

static bool is_free(const struct chunk *chunk) {
    return (!chunk->send_posted || chunk->send_done) && (!chunk->receive_posted || chunk->receive_done);
}

/* Of an abandoned one. */
static void free_if_done(struct chunk *chunk) {
    if (chunk->pull != NULL || !is_free(chunk)) {
        return;
    }
    struct chunk **link = &chunk->plane->abandoned;
    while (*link != chunk) {
        link = &(*link)->next;
    }
    *link = chunk->next;
    free_chunk(chunk);
}

static void on_sent(struct fabric_op *op, size_t bytes, const char *error) {
    struct chunk *chunk = op->owner;
    (void)bytes;
    chunk->send_done = true;
    chunk->plane->sends_under_way--;
    chunk->error = chunk->error ? chunk->error : error;
    free_if_done(chunk);
}

static void on_received(struct fabric_op *op, size_t bytes, const char *error) {
    struct chunk *chunk = op->owner;
    chunk->receive_done = true;
    chunk->received = bytes;
    chunk->error = chunk->error ? chunk->error : error;
    free_if_done(chunk);
}

/* The fabric may hold on to it as long as it is open. */
static void abandon(struct chunk *chunk) {
    chunk->pull = NULL;
    chunk->next = chunk->plane->abandoned;
    chunk->plane->abandoned = chunk;
    free_if_done(chunk);
}

static struct chunk *make_chunk(struct plane *plane, struct pull *pull, const struct piece *piece) {
    const struct plane_region *region = &pull->regions[piece->region];
    struct chunk *chunk = calloc(1, sizeof(*chunk));
    uint8_t *bytes = malloc(piece->length + REQUEST_TRAILER_BYTES);
    if (chunk == NULL || bytes == NULL) {
        free(chunk);
        free(bytes);
        return NULL;
    }
    *chunk = (struct chunk){ .plane = plane, .pull = pull, .piece = *piece, .bytes = bytes };
    do {
        chunk->tag = ++plane->next_tag & fabric_tag_mask(plane->fabric);
    } while (chunk->tag <= PLANE_REQUEST_TAG);
    chunk->send = (struct fabric_op){ .on_done = on_sent, .owner = chunk };
    chunk->receive = (struct fabric_op){ .on_done = on_received, .owner = chunk };
    struct request request = { .rank = pull->sources[pull->source].given.rank,
                               .shard = region->shard,
                               .region_bytes = region->bytes,
                               .offset = piece->offset,
                               .length = piece->length,
                               .tag = chunk->tag,
                               .address_bytes = (uint32_t)plane->address_bytes };
    memcpy(request.token, pull->token, sizeof(request.token));
    memcpy(request.name, region->name, sizeof(request.name));
    memcpy(request.address, plane->address, plane->address_bytes);
    chunk->request_bytes = request_encode(&request, chunk->request, sizeof(chunk->request));
    return chunk;
}

/* The receive is posted before the request leaves. False: the source cannot be asked. */
static bool post_chunk(struct plane *plane, struct pull *pull, struct chunk *chunk, bool *ret_soon) {
    enum fabric_result result = FABRIC_OK;
    if (chunk->send_posted) {
        return true;
    }
    if (!chunk->receive_posted) {
        result = fabric_receive(plane->fabric, chunk->tag, chunk->bytes, chunk->piece.length + REQUEST_TRAILER_BYTES,
                                &chunk->receive);
        chunk->receive_posted = result == FABRIC_OK;
    }
    if (result == FABRIC_OK) {
        result = fabric_send(plane->fabric, pull->sources[pull->source].peer, PLANE_REQUEST_TAG, chunk->request,
                             chunk->request_bytes, &chunk->send);
        chunk->send_posted = result == FABRIC_OK;
        plane->sends_under_way += chunk->send_posted;
    }
    *ret_soon = *ret_soon || result == FABRIC_AGAIN;
    return result != FABRIC_ERROR;
}

/* ---- a remote source */

enum outcome { GOES_ON, SOURCE_FAILED, TARGET_FAILED, COMPLETE };

/* What has come for one chunk. */
static enum outcome take_chunk(struct pull *pull, struct chunk **link, uint64_t now_ns) {
    struct chunk *chunk = *link;
    uint32_t status = REQUEST_OK, rank = pull->sources[pull->source].given.rank;
    const char *name = pull->regions[chunk->piece.region].name;
    bool target_failed = false;
    if (chunk->error != NULL) {
        snprintf(pull->why, sizeof(pull->why), "region '%s' from rank %" PRIu32 ": %s", name, rank, chunk->error);
        return SOURCE_FAILED;
    }
    switch (request_check_reply(chunk->bytes, chunk->received, chunk->piece.offset, chunk->piece.length, &status)) {
    case REQUEST_GOOD:
        if (!write_piece(pull, &chunk->piece, chunk->bytes, now_ns, &target_failed)) {
            return TARGET_FAILED;
        }
        abandon(chunk);
        *link = NULL;
        return GOES_ON;
    case REQUEST_NOT_SENT:
        if (status == REQUEST_BUSY) {
            pull->again[pull->again_count++] = chunk->piece;
            abandon(chunk);
            *link = NULL;
            return GOES_ON;
        }
        snprintf(pull->why, sizeof(pull->why), "region '%s': rank %" PRIu32 " %s", name, rank,
                 request_status_describe(status));
        break;
    case REQUEST_GARBLED:
        snprintf(pull->why, sizeof(pull->why), "region '%s' from rank %" PRIu32 ": the reply is not understood", name,
                 rank);
        break;
    case REQUEST_MISMATCH:
        snprintf(pull->why, sizeof(pull->why), "region '%s' from rank %" PRIu32 ": the digest is wrong", name, rank);
        break;
    }
    return SOURCE_FAILED;
}

static bool reach_source(struct plane *plane, struct pull *pull, struct source *source) {
    if (plane->fabric_state != FABRIC_OPEN) {
        snprintf(pull->why, sizeof(pull->why), "rank %" PRIu32 ": %.180s", source->given.rank, plane->fabric_text);
        return false;
    }
    if (!source->has_peer) {
        source->has_peer =
            fabric_peer(plane->fabric, source->given.address, source->given.address_bytes, &source->peer) == FABRIC_OK;
    }
    if (!source->has_peer) {
        snprintf(pull->why, sizeof(pull->why), "rank %" PRIu32 ": its fabric address is of another kind",
                 source->given.rank);
    }
    return source->has_peer;
}

static enum outcome advance_remote(struct plane *plane, struct pull *pull, uint64_t now_ns, bool *ret_soon) {
    bool any = false;
    if (plane->fabric_state == FABRIC_CLOSED || plane->fabric_state == FABRIC_OPENING) {
        pull->progress_ns = now_ns;
        if (now_ns < pull->began_ns + plane->opening_ns_max) {
            return GOES_ON;
        }
        snprintf(pull->why, sizeof(pull->why), "libfabric has not opened within %" PRIu64 " ms",
                 plane->opening_ns_max / 1000000u);
        return SOURCE_FAILED;
    }
    if (!reach_source(plane, pull, &pull->sources[pull->source])) {
        return SOURCE_FAILED;
    }
    for (uint32_t i = 0; i < PLANE_CHUNKS_MAX; i++) {
        struct chunk **link = &pull->chunks[i];
        struct piece piece;
        if (*link && ((*link)->receive_done || (*link)->error)) {
            enum outcome outcome = take_chunk(pull, link, now_ns);
            if (outcome != GOES_ON) {
                return outcome;
            }
        }
        if (*link == NULL && next_piece(pull, &piece)) {
            *link = make_chunk(plane, pull, &piece);
            if (*link == NULL) {
                pull->again[pull->again_count++] = piece;
            }
        }
        if (*link && !post_chunk(plane, pull, *link, ret_soon)) {
            snprintf(pull->why, sizeof(pull->why), "rank %" PRIu32 " cannot be asked",
                     pull->sources[pull->source].given.rank);
            return SOURCE_FAILED;
        }
        any = any || *link != NULL;
    }
    return any ? GOES_ON : COMPLETE;
}

/* ---- a source on this node */

static const struct plane_region *find_local(const struct plane_source *source, const struct plane_region *region) {
    for (uint32_t i = 0; i < source->region_count; i++) {
        const struct plane_region *other = &source->regions[i];
        if (other->shard == region->shard && other->bytes == region->bytes &&
            strncmp(other->name, region->name, sizeof(other->name)) == 0) {
            return other;
        }
    }
    return NULL;
}

static enum outcome advance_local(struct pull *pull, uint64_t now_ns) {
    static uint8_t bounce[REQUEST_CHUNK_BYTES_MAX]; /* one thread */
    const struct plane_source *source = &pull->sources[pull->source].given;
    struct piece piece;
    bool target_failed = false;
    if (!next_piece(pull, &piece)) {
        return COMPLETE;
    }
    const struct plane_region *region = find_local(source, &pull->regions[piece.region]);
    enum memory_result result =
        region ? memory_read(source->pid, region->address + piece.offset, bounce, piece.length) : MEMORY_OK;
    if (region == NULL || result != MEMORY_OK) {
        pull->again[pull->again_count++] = piece;
        snprintf(pull->why, sizeof(pull->why), "region '%s': rank %" PRIu32 " %s", pull->regions[piece.region].name,
                 source->rank, region ? memory_describe(result) : request_status_describe(REQUEST_NO_REGION));
        return SOURCE_FAILED;
    }
    return write_piece(pull, &piece, bounce, now_ns, &target_failed) ? GOES_ON : TARGET_FAILED;
}

/* ---- a pull */

static void drop_chunks(struct pull *pull) {
    for (uint32_t i = 0; i < PLANE_CHUNKS_MAX; i++) {
        if (pull->chunks[i]) {
            pull->again[pull->again_count++] = pull->chunks[i]->piece;
            abandon(pull->chunks[i]);
            pull->chunks[i] = NULL;
        }
    }
}

static void free_pull(struct pull *pull) {
    pull->again_count = 0;
    drop_chunks(pull);
    for (uint32_t i = 0; pull->sources && i < pull->source_count; i++) {
        free((void *)(uintptr_t)pull->sources[i].given.regions);
        free((void *)(uintptr_t)pull->sources[i].given.address);
    }
    free(pull->sources);
    free(pull->regions);
    free(pull);
}

static void end_pull(struct plane *plane, struct pull **link, enum plane_event_type type, uint64_t now_ns) {
    struct pull *pull = *link;
    struct plane_event event = {
        .type = type, .pull_id = pull->id, .bytes = pull->bytes, .ns = now_ns - pull->began_ns
    };
    if (type == PLANE_EVENT_PULL_FAILED) {
        snprintf(event.text, sizeof(event.text), "%s", pull->why[0] ? pull->why : "there is no source");
    }
    plane_queue_event(plane, &event);
    *link = pull->next;
    free_pull(pull);
}

static void next_source(struct plane *plane, struct pull *pull, uint64_t now_ns) {
    struct plane_event event = { .type = PLANE_EVENT_WARNING, .pull_id = pull->id };
    drop_chunks(pull);
    pull->source++;
    pull->progress_ns = now_ns;
    if (pull->source < pull->source_count) {
        snprintf(event.text, sizeof(event.text), "%s; the next source is rank %" PRIu32, pull->why,
                 pull->sources[pull->source].given.rank);
        plane_queue_event(plane, &event);
    }
}

static enum outcome advance_source(struct plane *plane, struct pull *pull, uint64_t now_ns, bool *ret_soon) {
    if (pull->sources[pull->source].given.pid) {
        return advance_local(pull, now_ns);
    }
    enum outcome outcome = advance_remote(plane, pull, now_ns, ret_soon);
    if (outcome == GOES_ON && now_ns > pull->progress_ns + pull->stall_ns) {
        snprintf(pull->why, sizeof(pull->why), "rank %" PRIu32 " has sent nothing for %" PRIu64 " ms",
                 pull->sources[pull->source].given.rank, pull->stall_ns / 1000000u);
        return SOURCE_FAILED;
    }
    return outcome;
}

bool pull_advance(struct plane *plane, uint64_t now_ns, bool *ret_soon) {
    bool more = false;
    for (struct pull **link = &plane->pulls; *link;) {
        struct pull *pull = *link;
        enum outcome outcome =
            pull->source < pull->source_count ? advance_source(plane, pull, now_ns, ret_soon) : TARGET_FAILED;
        if (outcome == COMPLETE || outcome == TARGET_FAILED) {
            end_pull(plane, link, outcome == COMPLETE ? PLANE_EVENT_PULLED : PLANE_EVENT_PULL_FAILED, now_ns);
            continue;
        }
        if (outcome == SOURCE_FAILED) {
            next_source(plane, pull, now_ns);
            more = true;
        }
        more = more || (pull->source < pull->source_count && pull->sources[pull->source].given.pid);
        link = &pull->next;
    }
    return more;
}

void pull_fini(struct plane *plane, bool is_closed) {
    while (plane->pulls) {
        struct pull *pull = plane->pulls;
        plane->pulls = pull->next;
        free_pull(pull);
    }
    while (is_closed && plane->abandoned) {
        struct chunk *chunk = plane->abandoned;
        plane->abandoned = chunk->next;
        free_chunk(chunk);
    }
}

static bool copy_source(struct source *source, const struct plane_source *given) {
    uint8_t *address = malloc(given->address_bytes + 1);
    struct plane_region *regions = plane_copy_regions(given->regions, given->region_count);
    source->given = *given;
    source->given.address = address;
    source->given.regions = regions;
    if (address && given->address_bytes > 0) {
        memcpy(address, given->address, given->address_bytes);
    }
    return address && regions;
}

enum plane_result plane_pull(struct plane *plane, const struct plane_pull *given) {
    struct pull *pull = calloc(1, sizeof(*pull));
    bool copied = pull != NULL;
    if (pull == NULL) {
        return PLANE_ERR_NO_MEMORY;
    }
    pull->id = given->pull_id;
    pull->pid = given->pid;
    pull->stall_ns = given->stall_ms * 1000000u;
    pull->began_ns = pull->progress_ns = plane_now_ns();
    memcpy(pull->token, given->token, sizeof(pull->token));
    pull->regions = plane_copy_regions(given->regions, given->region_count);
    pull->region_count = given->region_count;
    pull->sources = calloc(given->source_count + 1u, sizeof(*pull->sources));
    copied = pull->regions && pull->sources;
    for (uint32_t i = 0; copied && i < given->source_count; i++) {
        pull->source_count++;
        copied = copy_source(&pull->sources[i], &given->sources[i]);
    }
    if (!copied) {
        free_pull(pull);
        return PLANE_ERR_NO_MEMORY;
    }
    plane_enter(plane);
    pull->next = plane->pulls;
    plane->pulls = pull;
    plane_leave(plane);
    plane_wake(plane);
    return PLANE_OK;
}

void plane_cancel(struct plane *plane, uint32_t pull_id) {
    plane_enter(plane);
    for (struct pull **link = &plane->pulls; *link; link = &(*link)->next) {
        struct pull *pull = *link;
        if (pull->id == pull_id) {
            *link = pull->next;
            free_pull(pull);
            break;
        }
    }
    for (struct queued_event *queued = plane->first_event; queued; queued = queued->next) {
        if (queued->event.pull_id == pull_id) {
            queued->event.type = PLANE_EVENT_WARNING; /* it ended just before */
            queued->event.pull_id = 0;
        }
    }
    plane_leave(plane);
}
