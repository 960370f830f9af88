/*
 * The option's value, --ckptless[=key=value,...]: one table of keys with defaults, bounds and units; the plugin parses
 * it before the job is queued, the helper parses the same text again on the node. Pure; fuzzed; linked into the plugin.
 */
#ifndef CKPTLESS_WIRE_SETTINGS_H
#define CKPTLESS_WIRE_SETTINGS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum wire_park { WIRE_PARK_AUTO = 0, WIRE_PARK_COLD, WIRE_PARK_WARM };
enum wire_rank_output { WIRE_RANK_OUTPUT_TASK = 0, WIRE_RANK_OUTPUT_FILE };
enum wire_batch_lost { WIRE_BATCH_LOST_FAIL = 0, WIRE_BATCH_LOST_COMPLETE };

struct wire_settings {
    bool off;
    uint32_t spares;                   /* nodes on top of -N; default 0 */
    uint32_t ranks;                    /* in each task, each with a keeper of its own; default 1 */
    enum wire_rank_output rank_output; /* default task */
    enum wire_batch_lost batch_lost;   /* default fail */
    uint32_t reserve;                  /* nodes of -N that are set aside as spares; default 0 */
    enum wire_park park;               /* default auto */
    uint32_t respawn;           /* starts in place without a commit in between before a spare is taken; default 3 */
    uint32_t restarts;          /* recoveries without progress before giving up with exit code 93; default 10 */
    uint64_t heartbeat_ms;      /* default 100 */
    uint64_t dead_after_ms;     /* default 500; at least 2 * heartbeat */
    uint64_t grace_ms;          /* a survivor must come to recover within it; default 10000 */
    uint64_t launch_timeout_ms; /* every node must report in within it; default 60000 */
    char log_dir[1024];         /* of the JSON lines file; default "": the submit directory */
    char interface[64];         /* network interface of the state plane; "": the provider's choice */
};

/* text: what stands after "--ckptless=", or "" or NULL. False: ret_error has one line that says which key, which value,
 * and what would be right. A bare number is taken as spares ("--ckptless=1"). */
bool wire_settings_parse(const char *text, struct wire_settings *ret_settings, char *ret_error, size_t error_capacity);

/* How many of the step's nodes wait: spares and reserve together. */
uint32_t wire_settings_spare_nodes(const struct wire_settings *settings);

/* One line per key "key  default  unit  bounds  who sets it  meaning", for the manual page and --help. NULL at the end
 * of the table. */
const char *wire_settings_help(uint32_t index);

#endif
