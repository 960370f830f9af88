#!/bin/bash
# The loss of the node whose helper leads, or of that helper: another helper leads, and the job goes on, bit for bit. Who has
# lost nothing else, since a spare led, is not even interrupted. Where nobody can take over, in a step of two nodes, it ends
# at once with one line that says so.
. "$(dirname "$0")/lib.sh"
. "$top/tests/system/job.sh"

# srun runs on the machine, outside the nodes. begin NAME: sets step, out, job, timeline.
begin() {
    wait_for 20 all_idle
    out=$work/$1.out
    srun "${srun_options[@]}" "$charlm" --steps $steps --step-ms $step_ms --print-every 10 --data $words >"$out" 2>&1 &
    step=$!
    job=
    wait_for 20 one_job || bail "the job runs"
    job=$(squeue -h -o %i)
    timeline=$work/ckptless-$job.0.jsonl
}

one_job() {
    [ "$(squeue -h -o %i | wc -l)" -eq 1 ]
}

no_processes() {
    local i
    for i in "$@"; do
        [ -z "$(pids_of $i)$(pids_of $i ckptlessd)$(pids_of $i ckptless-keep)" ] || return 1
    done
}

srun_is_gone() {
    ! kill -0 $step
}

# ends_well WHAT LEADER...: the lines say who has led one after the other.
ends_well() {
    local what=$1
    shift
    ok "$what: srun ends" wait_for 30 srun_is_gone || {
        show_job
        scancel "$job"
    }
    wait $step
    is $? 0 "$what: with 0"
    trained_as_wanted "$what"
    is "$(grep -oP '^ckptless: \K[^ ]+(?= leads now)' "$out" | xargs)" "$*" "$what: a line says who leads, each time"
    is "$(jq -r .event "$timeline" | sed '1p;$!d' | tr '\n' ' ')" "start end " "$what: the timeline is whole" ||
        note "$(cat "$timeline")"
    is "$(job_fact JobState) $(job_fact ExitCode)" "COMPLETED 0:0" "$what: the job is completed"
}

# A spare led. not_interrupted WHAT CAUSE
not_interrupted() {
    is "$(grep -c "^ckptless: spare n5: spare lost: $2$" "$out")" 1 "$1: one line says that a spare is lost" ||
        note "$(grep ckptless "$out")"
    is "$(grep -cE '^ckptless: (lost|resumed)' "$out")" 0 "$1: no rank is lost, and nobody interrupted" ||
        note "$(grep ckptless "$out")"
}

# One loss and one recovery. one_loss WHAT LINE
one_loss() {
    is "$(grep -c "^ckptless: lost $2" "$out")" 1 "$1: one line names the loss" || note "$(grep ckptless "$out")"
    is "$(grep -c '^ckptless: resumed at step' "$out")" 1 "$1: and one the recovery"
}

lab_start 5 --slurmd-timeout 5
srun_options=(-N4 --ckptless=spares=1)
begin undisturbed
wait_for 40 srun_is_gone
wanted=$(trained)
like "$wanted" "final step $steps .*[0-9a-f]{16}" "an undisturbed run ends with its weights"

begin first-node
reached 50
"$top/lab/kill-node" 1
ends_well "first node"
one_loss "first node" 'n1: no heartbeat for [0-9]* ms; rank 0 -> n5 (task 4)'
ok "first node: nothing of the step is left on the others" wait_for 10 no_processes 2 3 4 5
ok "first node: it comes back" all_back

begin leader-node
reached 50
"$top/lab/kill-node" 5
ends_well "leader's node" n1
not_interrupted "leader's node" silent
ok "leader's node: nothing of the step is left on the others" wait_for 10 no_processes 1 2 3 4
ok "leader's node: it comes back" all_back

begin cut-node
reached 50
"$top/lab/cut" 5
ends_well "leader cut off" n1
not_interrupted "leader cut off" silent
"$top/lab/heal" 5
ok "leader cut off: when it comes back, its processes end" wait_for 40 no_processes 5
ok "leader cut off: the nodes are idle again" all_back

begin leaders-helper
reached 50
kill -KILL "$(pids_of 5 ckptlessd)"
ends_well "leader's helper" n1
not_interrupted "leader's helper" "helper died"
is "$(grep -c '^ckptless: spare n5: a new helper has joined' "$out")" 1 "leader's helper: its successor is a spare"
ok "leader's helper: the nodes are idle again" all_back

# Now a rank lives where the leader does.
begin busy-leader
reached 50
kill -KILL "$(pids_of 5 ckptlessd)"
ok "leader with a rank: the helper of n1 leads, and n5 is a spare" \
    wait_for 20 said '^ckptless: spare n5: a new helper has joined'
"$top/lab/kill-node" 1
ends_well "leader with a rank" n1 n2
one_loss "leader with a rank" 'n1: no heartbeat for [0-9]* ms; rank 0 -> n5'
ok "leader with a rank: n1 comes back" all_back

srun_options=(-N1 --ckptless=spares=1)
steps=100000 begin of-two
reached 20
"$top/lab/kill-node" "$(node=$(squeue -h -o %N | sed 's/n\[\?\([0-9]\).*/\1/') && echo "$node")"
ok "first of two nodes: srun ends within 10 s" wait_for 10 srun_is_gone || scancel "$job"
wait $step
is $? 93 "first of two nodes: with exit code 93"
is "$(grep '^ckptless: ' "$out" | grep -c '(n[0-9]).*93')" 1 "first of two nodes: one line names the node, and says so" || note "$(cat "$out")"
ok "first of two nodes: the nodes are idle again" all_back
ok "first of two nodes: what was left ends" wait_for 40 no_processes 1 2 3 4 5

done_clean
