#!/bin/bash
# As t0220, with nodes: a node is lost in the middle of a recovery, or a process while a node is being lost.
. "$(dirname "$0")/lib.sh"
. "$top/tests/system/job.sh"

[ -x "$CKPTLESS_BUILD/tests/programs/onsight" ] || bail "tests/programs is built (make system-programs)"
seed=${CKPTLESS_TEST_SEED:-$RANDOM}
RANDOM=$seed
note "CKPTLESS_TEST_SEED=$seed"

# A large region, so that a pull lasts long enough for a node to be switched off in it.
charlm=$CKPTLESS_BUILD/tests/programs/steps
program_name=steps
steps=120
train() {
    submit "$1" "$charlm --steps $steps --step-ms $step_ms --print-every 10 --bytes 268435456"
}

# begin CASE: a job of its own, because Slurm 22.05 without slurmdbd lets a job be shrunk only once: what is lost after that
# goes when slurmctld finds it down.
begin() {
    with_helper_logs
    train "${1// /-}"
    reached 30
    wait_for 20 said 'spare is warm' $spares
}

# goes_on CASE: the two losses are told, one recovery is made of them, and the job ends as it should.
goes_on() {
    ok "$1: training goes on" wait_for 20 settled 2 || show_job
    is "$(events resume | wc -l)" 1 "$1: it was one recovery"
    has_survived "$1"
    ok "$1: all nodes come back" all_back || done_testing
}

lab_start 6 --slurmd-timeout 5
spares=2
reference

begin "a node lost while ranks are gathered"
survivor=$(pids_of 4)
kill -STOP "$survivor"
hit 2
ok "gathering: the leader waits for a survivor" wait_for 5 phase_is gather
"$top/lab/kill-node" 3
ok "n3 loses its power" wait_for 5 said '^ckptless: lost n3: no heartbeat'
is "$(phase)" gather "gathering still"
kill -CONT "$survivor"
goes_on "a node lost while ranks are gathered"

begin "a spare lost that is being taken"
survivor=$(pids_of 4)
kill -STOP "$survivor"
"$top/lab/kill-node" 2
ok "n2 loses its power" wait_for 5 said '^ckptless: lost n2: no heartbeat'
target=$(events loss '.target_hosts[]')
"$top/lab/kill-node" "${target#n}"
ok "and $target, where its rank is about to go, too" wait_for 5 said "^ckptless: lost $target: no heartbeat"
kill -CONT "$survivor"
goes_on "a spare lost that is being taken"

begin "a node lost during a pull"
watch 4 'pulls step'
hit 4
seen
"$top/lab/kill-node" 2
is "$(phase)" pull "pulling: n2 loses its power while n4's new process pulls"
ok "it is found" wait_for 5 said '^ckptless: lost n2: no heartbeat'
goes_on "a node lost during a pull"

begin "a node lost before all have committed again"
survivor=$(pids_of 4)
watch 4 '-> 0 ARRIVED' 19 "$survivor"
hit 1
ok "first commit: a survivor is stopped in recover" seen
ok "the others are let go" wait_for 5 phase_is commit
"$top/lab/kill-node" 2
ok "n2 loses its power" wait_for 5 said '^ckptless: lost n2: no heartbeat'
kill -CONT "$survivor"
goes_on "a node lost before all have committed again"

# Random moments: 0 to 60 ms between a process and a node, either way round, or between two nodes.
for order in process-node node-process node-node; do
    delay=$(printf '0.%03d' $((RANDOM % 61)))
    begin "$order"
    case $order in
    process-node) hit 3 ;;
    *) "$top/lab/kill-node" 2 ;;
    esac
    sleep "$delay"
    case $order in
    process-node) "$top/lab/kill-node" 2 ;;
    node-process) hit 3 ;;
    node-node) "$top/lab/kill-node" 4 ;;
    esac
    ok "$order, $delay s between: both are found, and training goes on" wait_for 20 settled 2
    has_survived "$order"
    ok "$order: all nodes come back" all_back || done_testing
done
done_clean
