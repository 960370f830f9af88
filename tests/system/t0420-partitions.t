#!/bin/bash
# Links that work one way only, lose packets or flap; a helper and a rank that stand still. Who is cut off stops before another
# takes its place, who is merely slow is not lost, and the weights are those of the undisturbed run.
. "$(dirname "$0")/lib.sh"
. "$top/tests/system/job.sh"

# Letters of the states of node I's programs.
states_of() {
    local pid
    for pid in $(pids_of "$1"); do
        sed -n 's/^State:\t\(.\).*/\1/p' "/proc/$pid/status"
    done | tr -d '\n'
}

# lost_line I: node I is lost, and its rank starts elsewhere.
lost_line() {
    said "^ckptless: lost n$1: "
}

no_program() {
    [ -z "$(pids_of "$1")$(pids_of "$1" ckptlessd)" ]
}

# fenced I WHAT: when node I is called lost, its rank stands still already; the job resumes.
fenced() {
    ok "$2: n$1 is called lost" wait_for 10 lost_line "$1"
    like "$(states_of "$1")" '^T*$' "$2: by then its rank stands still"
    ok "$2: the job resumes" resumed 1
}

# nothing_lost WHAT
nothing_lost() {
    has_survived "$1"
    is "$(grep -cE '^ckptless: (lost|resumed)' "$out")" 0 "$1: nobody is lost, and nobody was interrupted" ||
        note "$(grep ^ckptless "$out")"
}

lab_start 5
steps=200
reference

for way in in out; do
    node=$(random_node 2 3 4)
    what="n$node, packets $way are lost"
    train "way-$way"
    reached 30
    "$top/lab/loss" "$node" 100 $way
    fenced "$node" "$what"
    reached 100
    "$top/lab/heal" "$node"
    ok "$what: when all arrive again, its program and helper end" wait_for 10 no_program "$node"
    has_survived "$what"
    is "$(grep -c '^ckptless: resumed' "$out")" 1 "$what: its return interrupts nobody"
    ok "$what: all nodes come back" all_back
done

node=$(random_node 2 3 4)
train flapping
reached 20
for ((i = 0; i < 4; i++)); do # how long the link is down is what this is about
    "$top/lab/loss" "$node" 100
    sleep 0.1
    "$top/lab/heal" "$node"
    reached $((40 + 20 * i))
done
nothing_lost "a link that flaps"

train lossy
reached 20
"$top/lab/loss" "$node" 3
reached 160
"$top/lab/heal" "$node"
nothing_lost "three packets of a hundred are lost"

node=$(random_node 2 3 4)
train frozen-helper
reached 30
helper=$(pids_of "$node" ckptlessd)
kill -STOP "$helper"
fenced "$node" "a helper stands still"
kill -CONT "$helper"
ok "a helper stands still: when it goes on, it ends, and its program" wait_for 10 no_program "$node"
has_survived "a helper stands still"
is "$(grep -c '^ckptless: resumed' "$out")" 1 "a helper stands still: its return interrupts nobody"
ok "all nodes come back" all_back

train frozen-rank
reached 30
rank=$(pids_of "$node")
kill -STOP "$rank"
sleep 1.5 # the time in which it would be lost
kill -CONT "$rank"
nothing_lost "a rank stands still"
done_clean
