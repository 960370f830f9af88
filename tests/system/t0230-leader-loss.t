#!/bin/bash
# The loss of the step's first node, or of its helper, cannot be survived in this version: the step ends at once, with
# exit code 93 and one line that says so, and nothing stays behind on the other nodes.
. "$(dirname "$0")/lib.sh"
. "$top/tests/system/job.sh"

# srun runs on the machine, outside the nodes: it sees the end. begin NAME: sets step, out, job.
begin() {
    wait_for 20 all_idle
    out=$work/$1.out
    srun -N4 --ckptless=spares=1 "$charlm" --steps 100000 --step-ms 10 --print-every 10 --data $words >"$out" 2>&1 &
    step=$!
    job=
    reached 20
    job=$(squeue -h -o %i)
    timeline=$work/ckptless-$job.0.jsonl
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

# ends_with_93 WHAT NODE...: NODEs are those that are left.
ends_with_93() {
    local what=$1
    shift
    ok "$what: srun ends within 10 s" wait_for 10 srun_is_gone || {
        show_job
        scancel "$job"
    }
    wait $step
    is $? 93 "$what: with exit code 93"
    is "$(grep '^ckptless: ' "$out" | grep -c 93)" 1 "$what: one line says so"
    like "$(grep '^ckptless: ' "$out" | grep 93)" "^ckptless: step $job\.0: .*\(n1\).*93" "$what: it names the node"
    is "$(grep -c '^ckptless: \(lost\|resumed\)' "$out")" 0 "$what: no recovery is tried"
    ok "$what: the programs, keepers and helpers of the other nodes end within 40 s" wait_for 40 no_processes "$@"
    is "$(job_fact ExitCode)" 93:0 "$what: the job too has ended with 93"
}

lab_start 5 --slurmd-timeout 5
begin first-node
"$top/lab/kill-node" 1
ends_with_93 "first node" 2 3 4 5
ok "first node: it comes back" all_back

begin cut-node
"$top/lab/cut" 1
ends_with_93 "first node cut off" 2 3 4 5
"$top/lab/heal" 1
ok "first node cut off: when it comes back, its processes end too" wait_for 40 no_processes 1
ok "first node cut off: the nodes are idle again" all_back

begin first-helper
kill -KILL "$(pids_of 1 ckptlessd)"
ends_with_93 "helper of the first node" 1 2 3 4 5

done_clean
