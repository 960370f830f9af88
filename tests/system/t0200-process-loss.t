#!/bin/bash
# Killed processes: the survivors stay, the lost ranks start again in place, and nothing differs in the end.
. "$(dirname "$0")/lib.sh"
. "$top/tests/system/job.sh"

lab_start 5
reference $step_ms
is "$(grep -c '^ckptless: lost' "$out")" 0 "nothing is lost in it"
is "$(sed -n 1p "$out")" "ckptless: step $job.0: 4 nodes, 4 ranks, 1 spare (n5)" "its first line says what there is"
is "$(jq -c 'select(.event == "start") | [.hosts, .spares, .ranks]' "$timeline")" '[["n1","n2","n3","n4"],["n5"],4]' \
    "and so does the timeline"

# after_one_loss WHAT NODE: what is said after the loss of NODE's only rank.
lines_after_one_loss() {
    local what=$1 node=$2 rank=$(($2 - 1)) number='[0-9]+\.[0-9]'
    is "$(grep '^ckptless: lost' "$out")" \
        "ckptless: lost rank $rank on n$node: killed by signal 9 (Killed); rank $rank -> n$node" "$what: one line names it"
    like "$(grep '^ckptless: resumed' "$out")" \
        "^ckptless: resumed at step [0-9]+, epoch 2, [0-9]+ ms after the loss \(detect $number, agree $number, start $number, pull $number, connect $number\)$" \
        "$what: one line says when training went on"
    is "$(jq -c 'select(.event == "loss") | [.epoch, .ranks, .host, .node_lost, .target_hosts]' "$timeline")" \
        "[2,[$rank],\"n$node\",false,[\"n$node\"]]" "$what: the timeline has the loss"
    is "$(events resume '[.epoch, .step_resumed] | join(" ")') " \
        "$(sed -nE 's/^ckptless: resumed at step ([0-9]+), epoch ([0-9]+),.*/\2 \1/p' "$out") " \
        "$what: and the resume, with the line's numbers"
    is "$(events resume '.ms | keys | join(" ")')" "agree connect detect pull start total" "$what: and its phases"
    is "$(jq -r .event "$timeline" | grep -v spare | tr '\n' ' ')" "start loss epoch resume end " \
        "$what: and nothing else"
}

node=$(random_node 2 3 4)
train one-rank
reached 30
survivors=$(for i in 1 2 3 4; do [ $i -eq "$node" ] || pids_of $i; done)
hit "$node"
ok "n$node's process is killed, and the job resumes" resumed 1
is "$(for i in 1 2 3 4; do [ $i -eq "$node" ] || pids_of $i; done)" "$survivors" "the survivors are the same processes"
has_survived "a rank killed"
lines_after_one_loss "a rank killed" "$node"

train rank-0
reached 30
hit 1
ok "rank 0's process is killed, and the job resumes" resumed 1
has_survived "rank 0 killed"
lines_after_one_loss "rank 0 killed" 1

train two-ranks
reached 30
first=$(random_node 1 2 3 4)
second=$((first % 4 + 1))
hit $first $second
ok "the processes of n$first and n$second are killed at once, and the job resumes" resumed 1
has_survived "two ranks killed"
is "$(events loss '.ranks[]' | sort | tr '\n' ' ')" "$(printf '%s\n' $((first - 1)) $((second - 1)) | sort | tr '\n' ' ')" \
    "two ranks killed: both losses are told, each once"

# Before there is any state to be had, and as soon as there is some: helpers may still be opening their fabric.
with_helper_logs
watch 3 'slot 0: request 1,' 9 charlm@3
train in-init
ok "rank 2 is killed in ckptless_init, at the first start" seen
has_survived "killed in init"
is "$(events loss '.ranks | join(",")' | tr '\n' ' ')" "2 " "killed in init: nobody else is lost"

with_helper_logs
watch 5 '<- 3 COMMITTED' 9 charlm@3
train first-commit
ok "rank 2 is killed at its first commit" seen
has_survived "killed at the first commit"
is "$(events loss '.ranks | join(",")' | tr '\n' ' ')" "2 " "killed at the first commit: nobody else is lost, and it once"

done_clean
