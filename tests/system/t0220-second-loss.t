#!/bin/bash
# A further process is lost in the middle of a recovery, in each of its phases and at random moments: a new epoch begins,
# and nothing differs in the end. Nodes: t0221.
. "$(dirname "$0")/lib.sh"
. "$top/tests/system/job.sh"

[ -x "$CKPTLESS_BUILD/tests/programs/onsight" ] || bail "tests/programs is built (make system-programs)"
seed=${CKPTLESS_TEST_SEED:-$RANDOM}
RANDOM=$seed
note "CKPTLESS_TEST_SEED=$seed"
steps=600 step_ms=10
losses=0

# begin: the next case; events of its own from here.
begin() {
    events_before=$(wc -l <"$timeline")
    losses=$(($(grep -c '"event":"loss"' "$timeline") + 2))
}

# goes_on CASE: both losses are told, and one recovery is made of them.
goes_on() {
    ok "$1: training goes on" wait_for 20 settled $losses || show_job
    is "$(tail -n +$((events_before + 1)) "$timeline" | jq -r .event | grep -c resume)" 1 "$1: it was one recovery"
}

lab_start 5
reference
with_helper_logs
train phases
reached 30

begin
survivor=$(pids_of 4)
kill -STOP "$survivor"
hit 2
ok "gathering: while the leader waits for a survivor" wait_for 5 phase_is gather
hit 3
kill -CONT "$survivor"
goes_on "a survivor killed while ranks are gathered"

begin
survivor=$(pids_of 4)
kill -STOP "$survivor"
hit 2
ok "gathering: there is a new process" wait_for 5 has_newcomer 2
ok "and the leader waits" phase_is gather
hit 2
kill -CONT "$survivor"
goes_on "the newcomer killed right after its start"

begin
watch 2 'slot 0: request 1,' 9 charlm@2
hit 2
ok "gathering: the newcomer is killed on its first word" seen
goes_on "the newcomer killed in ckptless_init"

begin
watch 2 'pulls step' 9 charlm@2
hit 2
ok "pulling: the newcomer is killed when its pull begins" seen
goes_on "the newcomer killed while it pulls"

for source in 1 3 4; do
    begin
    watch 2 'pulls step' 9 "$(pids_of $source)"
    hit 2
    ok "pulling: n$source's rank, which may be the source, is killed when the pull begins" seen
    goes_on "n$source's rank killed during a pull"
done

begin
watch 2 '-> 0 READY' 9 "$(pids_of 3)"
hit 2
ok "ready: a survivor is killed when the newcomer holds the state" seen
goes_on "a survivor killed between READY and GO"

begin
watch 2 '-> 0 READY' 9 charlm@2
hit 2
ok "ready: the newcomer is killed when it holds the state" seen
goes_on "the newcomer killed between READY and GO"

begin
watch 2 '<- 0 GO' 9 charlm@2
hit 2
ok "go: the newcomer is killed on GO" seen
goes_on "the newcomer killed on GO"

begin
survivor=$(pids_of 4)
watch 4 '-> 0 ARRIVED' 19 "$survivor"
hit 2
ok "first commit: a survivor is stopped in recover" seen
ok "the others are let go" wait_for 5 phase_is commit
hit 3
kill -CONT "$survivor"
goes_on "a rank killed before all have committed again"

begin
survivor=$(pids_of 4)
watch 4 '-> 0 ARRIVED' 19 "$survivor"
hit 2
ok "first commit: a survivor is stopped in recover" seen
ok "the others are let go" wait_for 5 phase_is commit
kill -KILL "$survivor"
goes_on "the stopped survivor itself killed then"

has_survived "phases"

# Random moments: the second loss comes 0 to 60 ms after the first, in another rank or in the newcomer.
steps=700
reference
with_helper_logs
train random
reached 30
losses=0
twice() {
    local k delay_ms node pid
    for ((k = 1; k <= 10; k++)); do
        node=$((RANDOM % 4 + 1)) delay_ms=$((RANDOM % 61))
        hit $((RANDOM % 4 + 1))
        sleep "$(printf '0.%03d' $delay_ms)"
        losses=$((losses + 1))
        # Where the first was hit, the newcomer may not have been started yet: then this is one loss.
        pid=$(newcomer $node)
        if [ -n "$pid" ] && kill -KILL "$pid" 2>/dev/null; then
            losses=$((losses + 1))
        fi
        wait_for 20 settled $losses || {
            echo "round $k: n$node after $delay_ms ms: $losses losses are not settled"
            return 1
        }
    done
}
# Not in a subshell: it counts.
if twice >twice.out; then
    pass "ten times two losses at random moments: training goes on"
else
    fail "ten times two losses at random moments: training goes on"
    note "$(cat twice.out)"
    show_job
fi
has_survived "random moments"
done_clean
