/*
 * Programs that use nothing but PMIx, and have said that they survive the loss of others: they hear of each loss and of
 * each replacement as PMIx events. Who was lost is the difference between the seats of one epoch and the next.
 */
#include <stdlib.h>

#include "node_helper/shell/shell.h"

/* Of a rank. */
struct place {
    uint32_t helper, incarnation;
    bool is_missing; /* lost, and its replacement has not been told of yet */
};

struct stays {
    bool is_known; /* there was an epoch */
    uint32_t generation;
    struct place *places; /* by rank */
};

bool stays_init(struct shell *shell) {
    struct stays *stays = calloc(1, sizeof(*stays));
    shell->stays = stays;
    if (stays == NULL) {
        return false;
    }
    stays->places = calloc(core_rank_count(shell->core) + 1u, sizeof(*stays->places));
    return stays->places != NULL;
}

void stays_fini(struct shell *shell) {
    if (shell->stays != NULL) {
        free(shell->stays->places);
        free(shell->stays);
        shell->stays = NULL;
    }
}

/* The same for everyone who knows the same seats, whichever epochs without a loss came between: epochs that begin for a
 * broken connection are nobody's business here. */
uint32_t stays_world(const struct shell *shell) {
    uint32_t number = 1;
    for (uint32_t rank = 0; rank < core_rank_count(shell->core); rank++) {
        number += core_seat(shell->core, rank).starts;
    }
    return number;
}

/* To those of this node that live in this epoch, but not to whom it is about; only: NULL for all. */
static void tell(struct shell *shell, const struct slot *only, uint32_t rank, bool is_back) {
    const struct pmixsrv_change change = { .is_back = is_back,
                                           .rank = rank,
                                           .world = stays_world(shell),
                                           .host = shell->hosts[core_seat(shell->core, rank).node] };
    for (uint32_t i = 0; i < shell->slot_count; i++) {
        const struct slot *slot = &shell->slots[i];
        uint32_t own = slot->stays && !slot->ended ? core_slot_rank(shell->core, i) : WIRE_NONE;
        if (own != WIRE_NONE && own != rank && core_seat(shell->core, own).incarnation == slot->serial &&
            (only == NULL || only == slot)) {
            pmixsrv_tell(shell->pmix, slot->pmix_rank, &change);
        }
    }
}

/* A newcomer hears who else is missing. */
static void tell_missing(struct shell *shell, const struct slot *slot) {
    for (uint32_t rank = 0; rank < core_rank_count(shell->core); rank++) {
        if (shell->stays->places[rank].is_missing) {
            tell(shell, slot, rank, false);
        }
    }
}

void stays_on_said(struct shell *shell, struct slot *slot, void *reply) {
    uint32_t index = slot ? slots_index(shell, slot) : 0, rank = slot ? core_slot_rank(shell->core, index) : WIRE_NONE;
    pmixsrv_reply_stays(shell->pmix, reply, stays_world(shell),
                        rank != WIRE_NONE ? core_seat(shell->core, rank).starts : 0);
    if (slot != NULL) {
        log_line("slot %u: stays", index);
        slot->stays = true;
        tell_missing(shell, slot);
        shell_event(shell,
                    &(struct core_event){ .type = CORE_EVENT_STAYS, .slot = index, .incarnation = slot->serial });
    }
}

void stays_enter_epoch(struct shell *shell) {
    struct stays *stays = shell->stays;
    bool goes_on = stays->is_known && stays->generation == core_generation(shell->core);
    stays->is_known = true;
    stays->generation = core_generation(shell->core);
    for (uint32_t rank = 0; rank < core_rank_count(shell->core); rank++) {
        struct core_seat_info seat = core_seat(shell->core, rank);
        struct place *place = &stays->places[rank];
        bool moved = place->helper != seat.helper || place->incarnation != seat.incarnation;
        *place = (struct place){ .helper = seat.helper,
                                 .incarnation = seat.incarnation,
                                 .is_missing = goes_on && (moved || place->is_missing) };
        if (goes_on && moved) {
            tell(shell, NULL, rank, false);
        }
    }
}

void stays_on_present(struct shell *shell, uint32_t rank, uint32_t incarnation) {
    struct place *place = &shell->stays->places[rank];
    if (place->is_missing && place->incarnation == incarnation) {
        place->is_missing = false;
        tell(shell, NULL, rank, true);
    }
}
