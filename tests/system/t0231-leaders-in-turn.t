#!/bin/bash
# The helper that leads is killed, again and again: the spare's first, then each node's, and then the spare's successor. The
# job goes on each time, bit for bit.
. "$(dirname "$0")/lib.sh"
. "$top/tests/system/job.sh"

steps=600 step_ms=10 job=
lab_start 3

train_here() {
    wait_for 20 all_idle
    out=$work/$1.out
    srun -N2 --ckptless=spares=1,restarts=100 "$charlm" --steps $steps --step-ms $step_ms --print-every 10 --data $words \
        >"$out" 2>&1 &
    step=$!
}

srun_is_gone() {
    ! kill -0 $step
}

# joined TIMES: so many successors have come, and with each there is a spare again.
joined() {
    wait_for 20 said '^ckptless: spare n[1-3]: a new helper has joined' "$1"
}

train_here undisturbed
wait_for 60 srun_is_gone
wanted=$(trained)
like "$wanted" "final step $steps .*[0-9a-f]{16}" "an undisturbed run ends with its weights"

train_here in-turn
reached 30
leads=()
for turn in 1 2 3 4; do
    node=$(((turn + 1) % 3 + 1))
    kill -KILL "$(pids_of $node ckptlessd)"
    ok "turn $turn: the helper of n$node is killed, and another one leads" wait_for 20 said 'leads now' $turn
    ok "turn $turn: the job resumes, where a rank was lost" resumed $((turn - 1)) || note "$(grep ckptless "$out")"
    ok "turn $turn: its successor joins" joined $turn || note "$(grep ckptless "$out")"
    leads+=("n$(((turn - 1) % 3 + 1))")
done
ok "srun ends" wait_for 60 srun_is_gone || scancel "$(squeue -h -o %i)"
wait $step
is $? 0 "with 0"
trained_as_wanted "in turn"
is "$(grep -oP '^ckptless: \K[^ ]+(?= leads now)' "$out" | xargs)" "${leads[*]}" "one after the other has led, a successor last"

done_clean
