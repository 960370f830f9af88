#!/bin/bash
# Another user on the nodes of a running step, and another machine on their network, with all ports, sockets and processes
# in reach: they neither get in, nor read, stop or slow it.
. "$(dirname "$0")/lib.sh"
. "$top/tests/system/job.sh"
. "$top/tests/system/strangers.sh"

steps=1300
lab_start 5
. "$lab_dir/lab.env"
chown -R $user "$work"
reference
train attacked
reached 20

pace before 100
before=$(costs)
on 0 scan "$(node_address 5)" >scanned
mapfile -t of_five < <(own_ports 5 | grep -v '^127\.')
# srun's own ports, and slurmd's, are Slurm's.
mapfile -t ports < <(own_ports 1 2 3 4 5 | grep -v '^127\.')
is "${#ports[@]} ${#of_five[@]}" "11 2" "each helper listens on two, and the launcher on one"
ok "a scan of n5 finds its two" has_found scanned "${of_five[@]}" || note "$(cat scanned)"

attack "silent connections" 2 crowd silent 400 400 "${ports[@]}"
attack "slow handshakes" 2 crowd slow 300 300 "${ports[@]}"
attack "garbage" 2 crowd garbage 20 200 "${ports[@]}"
attack "handshakes without an end" 2 crowd cut 100 200 "${ports[@]}"
attack "lengths above all bounds" 2 crowd oversize 20 200 "${ports[@]}"
attack "another secret" 2 knock "${ports[@]}"
like "$(cat stranger.out)" "knock: [1-9][0-9]* tried, [1-9][0-9]* refused for the secret, 0 let in" "another secret: it is refused each time"
attack "all of it from another machine" 0 crowd garbage 20 200 "${ports[@]}"

unharmed
done_clean
