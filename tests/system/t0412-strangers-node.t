#!/bin/bash
# Another user on a node of a running step, with all that is in reach there and not over the network: PMIx's port on
# loopback, the keepers' socket, processes and shared memory.
. "$(dirname "$0")/lib.sh"
. "$top/tests/system/job.sh"
. "$top/tests/system/strangers.sh"

steps=1400
lab_start 5
. "$lab_dir/lab.env"
chown -R $user "$work"
reference
train attacked
reached 20
pace before 100
before=$(costs)
on 2 scan 127.0.0.1 >scanned
mapfile -t inner < <(own_ports 2 | grep '^127\.')
ok "a scan of n2's loopback finds PMIx's port" has_found scanned "${inner[@]}"
is ${#inner[@]} 1 "it is the only one"

# PMIx's own port, which trusts what a connection says of itself.
attack "silent connections over loopback" 2 crowd silent 50 200 "${inner[@]}"
like "$(cat stranger.out)" "silent: [1-9][0-9]* connections, [1-9][0-9]* closed by the other end, 0 bytes" "each is closed at once"
under=(unshare --user --map-user="$(id -u $user)")
attack "and from a namespace where he has the user's number" 2 crowd garbage 50 200 "${inner[@]}"
like "$(cat stranger.out)" "garbage: [1-9][0-9]* connections, [1-9][0-9]* closed by the other end, 0 bytes" "each is closed at once"
under=()

attack "a keeper's words to the helper's socket" 2 keepers
like "$(cat stranger.out)" "keepers: [1-9][0-9]* connections" "the socket was found"

is "$(on 2 snoop | grep -E ' (ckptlessd|ckptless-.*|charlm|slurmstepd|slurmd)$' | head -n 5)" "" \
    "no process of the step can be read, traced, stopped or slowed, and none of its shared memory opened"

unharmed
done_clean
