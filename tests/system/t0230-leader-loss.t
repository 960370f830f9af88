#!/bin/bash
# The loss of the step's first node, whose helper leads, or of that helper: another helper leads, and the job goes on,
# bit for bit. Where nobody can take over, in a step of two nodes, it ends at once with one line that says so.
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

# goes_on WHAT LOSS-LINE: after one loss; the leader that follows is n2.
goes_on() {
    local what=$1
    ok "$what: srun ends" wait_for 30 srun_is_gone || {
        show_job
        scancel "$job"
    }
    wait $step
    is $? 0 "$what: with 0"
    trained_as_wanted "$what"
    is "$(grep -c '^ckptless: n2 leads now' "$out")" 1 "$what: one line says who leads"
    is "$(grep -c "^ckptless: lost $2" "$out")" 1 "$what: one line names the loss" || note "$(grep ckptless "$out")"
    is "$(grep -c '^ckptless: resumed at step' "$out")" 1 "$what: and one the recovery"
    is "$(grep -c '"event":"\(start\|loss\|resume\|end\)"' <(tr -d ' ' <"$timeline"))" 4 "$what: the timeline is whole" ||
        note "$(cat "$timeline")"
    is "$(job_fact JobState) $(job_fact ExitCode)" "COMPLETED 0:0" "$what: the job is completed"
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
goes_on "first node" 'n1: no heartbeat for [0-9]* ms; rank 0 -> n5'
ok "first node: nothing of the step is left on the others" wait_for 10 no_processes 2 3 4 5
ok "first node: it comes back" all_back

begin cut-node
reached 50
"$top/lab/cut" 1
goes_on "first node cut off" 'n1: no heartbeat for [0-9]* ms; rank 0 -> n5'
"$top/lab/heal" 1
ok "first node cut off: when it comes back, its processes end" wait_for 40 no_processes 1
ok "first node cut off: the nodes are idle again" all_back

begin first-helper
reached 50
kill -KILL "$(pids_of 1 ckptlessd)"
goes_on "helper of the first node" 'n1: its helper died; rank 0 -> n5'
is "$(grep -c '^ckptless: spare n1: a new helper has joined' "$out")" 1 "helper of the first node: its successor is a spare"
ok "helper of the first node: the nodes are idle again" all_back

# The new leader's node too; a quorum of each view is left.
begin twice
reached 50
kill -KILL "$(pids_of 1 ckptlessd)"
ok "two leaders: the first helper is killed, and the job resumes" resumed 1
ok "two leaders: its successor is a spare" wait_for 20 said '^ckptless: spare n1: a new helper has joined'
"$top/lab/kill-node" 2
ok "two leaders: then the second node goes, and the job resumes" resumed 2 || note "$(grep ckptless "$out")"
ok "two leaders: srun ends" wait_for 30 srun_is_gone || scancel "$job"
wait $step
is $? 0 "two leaders: with 0"
trained_as_wanted "two leaders"
is "$(grep -c '^ckptless: n[23] leads now' "$out")" 2 "two leaders: two lines say who leads"
ok "two leaders: n2 comes back" all_back

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
