#!/bin/bash
# Another user on the nodes of a running step, and another machine on their network, with all ports, sockets and processes
# in reach: they neither get in, nor read, stop or slow it.
. "$(dirname "$0")/lib.sh"
. "$top/tests/system/job.sh"
. "$top/tests/system/strangers.sh"

steps=4000
lab_start 5
. "$lab_dir/lab.env"
chown -R $user "$work"
reference
train attacked
reached 20

# The helpers' connections and memory are all there when the first copies of the state have been told.
pace before 100
before=$(costs)
on 0 scan $(for i in 1 2 3 4 5; do node_address $i; done) >scanned
on 2 scan 127.0.0.1 >scanned.lo
# srun's own ports, and slurmd's, are Slurm's.
mapfile -t ports < <(own_ports 1 2 3 4 5 | grep -v '^127\.')
mapfile -t inner < <(own_ports 2 | grep '^127\.')
ok "a scan of all ports finds the ${#ports[@]} of the helpers and the launcher" [ ${#ports[@]} -eq 11 ]
ok "all of them" has_found scanned "${ports[@]}" || note "$(cat scanned)"
ok "and the one of n2's loopback" has_found scanned.lo "${inner[@]}"

# attack WHAT NODE COMMAND...: while it goes on, training goes on, at its pace.
attack() {
    local what=$1 node=$2
    shift 2
    begin_stranger "$node" "$@"
    pace "$what" 60
    end_stranger
    ok "$what: training keeps its pace ($(pace_of "$what") ms a step, $(pace_of before) before)" keeps_pace "$what"
}

attack "silent connections" 2 crowd silent 400 400 "${ports[@]}"
attack "slow handshakes" 2 crowd slow 300 300 "${ports[@]}"
attack "garbage" 2 crowd garbage 20 200 "${ports[@]}"
attack "handshakes without an end" 2 crowd cut 100 200 "${ports[@]}"
attack "lengths above all bounds" 2 crowd oversize 20 200 "${ports[@]}"
attack "another secret" 2 knock "${ports[@]}"
like "$(cat stranger.out)" "knock: [1-9][0-9]* tried, [1-9][0-9]* refused for the secret, 0 let in" "another secret: it is refused each time"
attack "all of it from another machine" 0 crowd garbage 20 200 "${ports[@]}"

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

# ---- afterwards
ok "the helpers' descriptors and memory are what they were" wait_for 20 costs_are_back || note "before: $before, now: $(costs)"
is "$(grep -cE '^ckptless: (lost|resumed|warning)' "$out")" 0 "nothing was lost, and nothing resumed"
reached $steps
has_survived "attacked"
is "$(jq -r .event "$timeline" | grep -v spare | tr '\n' ' ')" "start end " "the timeline knows of nothing"
done_clean
