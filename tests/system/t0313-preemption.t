#!/bin/bash
# A job that has to make room, or is requeued by hand: ends as Slurm says, loses nothing on the way, and a requeued one runs
# with its spares again.
. "$(dirname "$0")/lib.sh"
. "$top/tests/system/job.sh"
. "$top/tests/system/signals.sh"

# Slurm lets a requeued job wait for 120 s, and for as long as its credential lives.
begins_again() {
    rm -f "$1".[0-9] "$1".spare
    scontrol update "JobId=$job" StartTime=now
    wait_for 30 all_up "$1.0" "$1.1" "$1.spare"
}

runs_with_its_spares() {
    is "$(job_fact Restarts) $(job_fact NumNodes) $(grep -c '2 nodes, 2 ranks, 1 spare' "$out")" "1 3 1" \
        "$1: it has been requeued once, and has its spare again"
}

# The other job's nodes are taken from the running one.
urgent() {
    sbatch --parsable -p high -N3 --exclusive -o /dev/null --wrap "${1:-true}"
}

lab_start 3 --conf PreemptType=preempt/partition_prio --conf PreemptMode=REQUEUE \
    --conf "AuthInfo=socket=${TMPDIR:-/tmp}/ckptless-lab-$CKPTLESS_TEST_TAG-1/munge/socket,cred_expire=5" \
    --conf 'PartitionName=low Nodes=ALL PriorityTier=1 PreemptMode=REQUEUE' \
    --conf 'PartitionName=graced Nodes=ALL PriorityTier=1 PreemptMode=CANCEL GraceTime=30' \
    --conf 'PartitionName=high Nodes=ALL PriorityTier=10 PreemptMode=OFF'

# ---- requeue, by hand and by preemption
running again -- "$signals" --library --ends TERM again
scontrol requeue "$job"
ok "scontrol requeue: the job is pending again" wait_for 20 eval '[ "$(job_fact JobState)" = PENDING ]'
nothing_lost "scontrol requeue"
ok "and it begins again" begins_again again
runs_with_its_spares "scontrol requeue"
scancel "$job"
wait_for 10 job_is_gone

running low -p low -- "$signals" --library --ends TERM low
urgent >/dev/null
ok "preempted with REQUEUE: the job is pending again" wait_for 20 eval '[ "$(job_fact JobState)" = PENDING ]'
nothing_lost "preempted with REQUEUE"
wait_for 20 eval '[ "$(squeue -h -p high -o %i | wc -l)" -eq 0 ]'
ok "and it begins again" begins_again low
runs_with_its_spares "preempted with REQUEUE"
scancel "$job"
wait_for 10 job_is_gone

# ---- cancelled, with time to come to an end
running graced -p graced -- "$signals" --library --ends USR1 graced
urgent >/dev/null
ok "preempted with CANCEL: each rank gets SIGTERM" wait_for 20 eval 'has_got graced.0 TERM && has_got graced.1 TERM'
# Where a rank has ended by it before it is everywhere, scancel says an error, or sends it once more.
scancel -s USR1 "$job.0" 2>scancel.err
is_done() {
    [[ "$(got graced.0)/$(got graced.1)" =~ ^TERM( USR1)+/TERM( USR1)+$ ]]
}
ok "and goes on in its GraceTime, until it is done" wait_for 10 is_done ||
    { note "$(got graced.0)/$(got graced.1) $(cat scancel.err)"; show_job; }
ok "the job ends before its GraceTime does" wait_for 10 job_is_gone
is "$(got graced.spare)$(grep -c 'signals: ' "$out")" 0 "the spare has got none of it, and ckptless_finish has answered OK"
nothing_lost "preempted with CANCEL"
done_clean
