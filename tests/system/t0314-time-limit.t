#!/bin/bash
# Warned with --signal, to the ranks or (B:) to the script, and ended at the time limit: each job gets what it asked for, and
# nothing counts as a loss. slurmctld looks at the limits every 30 s, so all of them wait for it together.
. "$(dirname "$0")/lib.sh"
. "$top/tests/system/job.sh"
. "$top/tests/system/signals.sh"

lab_start 3 --cpus 8

# Like `running`, but many at once.
begin() {
    local name=$1
    shift
    job_of[$name]=$(sbatch --parsable -N2 --ntasks-per-node=1 --ckptless=spares=1 -o "$work/$name.out" "$@")
}

# of NAME: sets what the other functions look at.
of() {
    out=$work/$1.out
    job=${job_of[$1]}
    timeline=$work/ckptless-$job.0.jsonl
}

declare -A job_of
cat >script.sh <<SH
#!/bin/bash
trap 'echo script got USR1' USR1
srun $signals --library --ends TERM script &
while ! wait; do :; done
SH
begin ranks --time=1 --signal=USR1@60 --wrap "srun $signals --library --ends USR1 --code 5 ranks"
begin script --time=1 --signal=B:USR1@60 script.sh
begin limit --time=1 --wrap "srun $signals --library --ends TERM limit"
ok "three jobs run" wait_for 20 all_up ranks.0 ranks.1 ranks.spare script.0 script.1 script.spare limit.0 limit.1 limit.spare
of limit
scontrol update "JobId=$job" EndTime=now+5

of ranks
ok "--signal=USR1@60: each rank gets it" wait_for 40 eval 'has_got ranks.0 USR1 && has_got ranks.1 USR1'
ok "the ranks end by it, and the job" wait_for 10 job_is_gone
is "$(job_fact JobState) $(job_fact ExitCode)" "FAILED 5:0" "with the program's code"
is "$(got ranks.spare)" "" "the spare has not got it"
nothing_lost "--signal"
of script
ok "--signal=B:USR1@60: the script gets it" wait_for 10 said 'script got USR1'
is "$(got script.0)$(got script.1)$(got script.spare)" "" "and no rank"
nothing_lost "--signal=B:"
of limit
ok "at its time limit a job ends" wait_for 40 job_is_gone
# Slurm's own srun in the script has got SIGTERM as well, and may pass it on to the step before that is over.
like "$(got limit.0)/$(got limit.1)/$(got limit.spare) $(job_fact JobState)" '^TERM( TERM)?/TERM( TERM)?/ TIMEOUT$' \
    "each rank gets SIGTERM, the spare none"
is "$(grep -c 'signals: ' "$out")" 0 "ckptless_finish has answered OK"
nothing_lost "the time limit"
of script
scancel "$job"
wait_for 10 job_is_gone
done_clean
