# A job that is suspended, by scontrol and by gang scheduling; sourced after signals.sh by the tests that do it under each
# proctrack.

state_is() {
    [ "$(job_fact JobState)" = "$1" ]
}

# Letters of the states of both ranks' processes.
process_states() {
    local i
    for i in 1 2; do
        sed -n 's/^State:\t\(.\).*/\1/p' "/proc/$(pids_of $i)/status"
    done | sort -u | tr -d '\n'
}

# cgroup's frozen ones are in D.
stand_still() {
    [[ $(process_states) =~ ^[TD]+$ ]]
}

# goes_on NAME PIDS: resumed, all is as it was.
goes_on() {
    local name=$1 pids=$2
    ok "$name: it runs again" wait_for 10 state_is RUNNING
    wait_for 10 scancel -s USR1 "$job.0" # slurmctld says RUNNING before the step does
    ok "$name: the ranks go on" wait_for 10 eval "has_got $name.0 USR1 && has_got $name.1 USR1"
    is "$(pids_of 1) $(pids_of 2)" "$pids" "$name: they are the same processes"
    nothing_lost "$name"
}

suspended() {
    local name=$1 pids
    running "$name" -- "$signals" --library --ends TERM "$name"
    pids="$(pids_of 1) $(pids_of 2)"
    scontrol suspend "$job"
    ok "$name: suspended, the ranks stand still" wait_for 10 stand_still
    # This is the time in which a loss would be found, and no waiting for anything.
    sleep 1.5
    scontrol resume "$job"
    goes_on "$name" "$pids"
    scancel "$job"
    wait_for 10 job_is_gone
}

# An srun outside of the nodes stands still with none of them. Longer than ckptless-launch has patience with its leader.
suspended_from_outside() {
    local name=$1 pids step
    wait_for 20 all_idle
    out=$work/$name.out
    srun -N2 --ckptless=spares=1 "$signals" --library --ends TERM "$name" >"$out" 2>&1 &
    step=$!
    wait_for 20 all_up "$name.0" "$name.1" && wait_for 20 said 'spare is warm' || bail "$name: the program runs on all nodes"
    job=$(squeue -h -o %i)
    timeline=$work/ckptless-$job.0.jsonl
    pids="$(pids_of 1) $(pids_of 2)"
    scontrol suspend "$job"
    ok "$name: suspended, the ranks stand still" wait_for 10 stand_still
    sleep 5
    scontrol resume "$job"
    goes_on "$name" "$pids"
    scancel "$job"
    wait $step
    wait_for 10 job_is_gone
}

# A job of a better partition takes the nodes, and gives them back.
gang() {
    local name=$1 pids first
    running "$name" -p low -- "$signals" --library --ends TERM "$name"
    first=$job
    pids="$(pids_of 1) $(pids_of 2)"
    sbatch -p high -N3 --exclusive -o /dev/null --wrap 'sleep 1' >/dev/null
    ok "$name: preempted with SUSPEND, it stands still" wait_for 20 stand_still
    job=$first
    wait_for 20 eval '[ "$(squeue -h -o %i | wc -l)" -eq 1 ]'
    goes_on "$name" "$pids"
    scancel "$job"
    wait_for 10 job_is_gone
}

preempt=(--conf PreemptType=preempt/partition_prio --conf PreemptMode=SUSPEND,GANG --conf SchedulerTimeSlice=5
    --conf 'PartitionName=low Nodes=ALL PriorityTier=1 OverSubscribe=FORCE:1 PreemptMode=SUSPEND'
    --conf 'PartitionName=high Nodes=ALL PriorityTier=10 OverSubscribe=FORCE:1 PreemptMode=OFF')
