#!/bin/bash
# The helper that leads, a spare's, is killed while ranks wait in a collective call that goes through it: they are interrupted,
# for what the leader knew of it is gone, and meet again. With no rank in such a call nobody is interrupted.
. "$(dirname "$0")/lib.sh"
. "$top/tests/system/job.sh"

steps_program=$CKPTLESS_BUILD/tests/programs/steps
[ -x "$steps_program" ] || bail "tests/programs is built (make system-programs)"
program_name=steps
with_helper_logs
lab_start 4

begin() {
    wait_for 20 all_idle
    out=$work/$1.out
    rm -f enough logs/*
    srun -N3 --ckptless=spares=1 "$steps_program" --steps 3000 --step-ms 10 --print-every 10 --until "$work/enough" "${@:2}" \
        >"$out" 2>&1 &
    step=$!
    reached 30
    wait_for 20 said 'spare is warm'
}

ends() {
    touch enough
    ok "$1: srun ends" wait_for 60 bash -c "! kill -0 $step" || scancel "$(squeue -h -o %i)"
    wait $step
    is "$? $(grep ^final "$out")" "0 $wanted" "$1: with 0 and the right state" || note "$(grep ckptless "$out")"
    is "$(grep -c '^ckptless: spare n4: spare lost: helper died$' "$out")" 1 "$1: one line says that a spare is lost"
}

wanted=$("$steps_program" --steps 3000 --step-ms 0 | grep ^final)

# Two ranks wait for the third. Their helpers have nothing to say until it comes, but that they wait.
begin exchange --exchange
still=$(pids_of 1)
kill -STOP "$still"
waits() {
    [ "$(grep -h ' slot 0: request ' "$(helper_log "$1")" | tail -n 1 | grep -c 'request 4,')" -eq 1 ]
}
ok "exchange: ranks 1 and 2 wait in it" wait_for 10 eval 'waits 2 && waits 3'
kill -KILL "$(pids_of 4 ckptlessd)"
ok "exchange: the leader is lost, another one leads" wait_for 10 said '^ckptless: n1 leads now'
kill -CONT "$still"
ok "exchange: the ranks that waited are interrupted, and all go on" resumed 1
is "$(grep -c '^ckptless: lost' "$out")" 0 "exchange: no rank is lost"
ends exchange

begin none
kill -KILL "$(pids_of 4 ckptlessd)"
ok "no call: the leader is lost, another one leads" wait_for 10 said '^ckptless: n1 leads now'
ends "no call"
is "$(grep -cE '^ckptless: (lost|resumed)' "$out")" 0 "no call: no rank is lost, and nobody interrupted"

# At the very end: who takes the dead helper's place comes when the others are gone, or about to go.
ended=0
for ((i = 0; i < 6; i++)); do
    begin last
    kill -KILL "$(pids_of 4 ckptlessd)"
    touch enough
    wait_for 20 bash -c "! kill -0 $step" || break
    wait $step && ended=$((ended + 1))
done
is $ended 6 "the leader is lost at the step's very end: srun ends with 0, six times of six" || scancel "$(squeue -h -o %i)"

done_clean
