#!/bin/bash
# The node of the batch script loses its power, and script and srun with it: training goes on, its output too, and the job does
# not stay RUNNING for ever.
. "$(dirname "$0")/lib.sh"
. "$top/tests/system/job.sh"

# accounted TEXT: what sacct says of the job in the end.
sacct_says() {
    [ "$(sacct -nPX -j "$job" -o State,ExitCode)" = "$1" ]
}

# What was trained, by both files, srun's and the one that goes on after it; the last lines of srun's may be in both.
trained_in_all() {
    cat "$out" "$work/ckptless-$job.0.out" 2>/dev/null | grep -E '^(step|final) ' | sort -u
}

# train_with NAME OPTION: as train, with another option and output.
train_with() {
    out=$work/$1.out
    job=$(sbatch --parsable --job-name="$1" --output="$out" --chdir="$work" --nodes=4 --ntasks-per-node=1 --ckptless="$2" \
        --wrap "srun $charlm --steps $steps --step-ms $step_ms --print-every 10 --data $words; exit 3") || bail "sbatch takes the job"
    timeline=$work/ckptless-$job.0.jsonl
}

# survived WHAT STATE CODE
survived() {
    ok "$1: training reaches its end" wait_for 60 grep -q ^final "ckptless-$job.0.out" || show_orphan
    ok "$1: and the job ends" wait_for 60 job_is_gone || show_orphan
    is "$(trained_in_all | grep ^final)" "$(grep ^final <<<"$wanted")" "$1: with the weights of the undisturbed run, bit by bit"
    is "$(comm -13 <(trained_in_all) <(echo "$wanted"))$(comm -23 <(trained_in_all) <(echo "$wanted"))" "" "$1: no line is missing, none differs"
    is "$(job_fact JobState) $(job_fact ExitCode)" "$2 $3" "$1: the job is $2"
    like "$(job_fact Comment) $(scontrol -o show job "$job" | grep -oE 'Comment=.*ended with [0-9]+')" 'step [0-9]+\.0 of start 0 ended with 0' \
        "$1: the step's code stands in the job's comment"
    is "$(grep -c '^ckptless: .*srun is lost with n1; output goes on in ' "ckptless-$job.0.out")" 1 "$1: one line says what happened"
    is "$(jq -r .event "$timeline" | sed '1p;$!d' | tr '\n' ' ') $(events end .exit_code)" "start end  0" \
        "$1: the timeline goes from start to end"
}

show_orphan() {
    show_job
    note "$(tail -n 20 "ckptless-$job.0.out")"
}

# How long the job is COMPLETING is up to slurmctld, which must give n1 up first.
lab_start 5 --accounting --slurmd-timeout 5 --conf MessageTimeout=3
reference

train_with fails spares=1
reached 30
"$top/lab/kill-node" 1
survived "batch host lost" FAILED 93:0
ok "batch host lost: sacct says so" wait_for 20 sacct_says 'FAILED|93:0'
ok "all nodes come back" all_back

# Its helper alone stands still, longer than a leader waits for srun: srun and script are there, and stay in charge.
train_with helper spares=1
reached 30
helper=$(pids_of 1 ckptlessd)
kill -STOP "$helper"
ok "the helper of srun's node stands still: the job resumes" resumed 1
ok "its helper stands still: training reaches its end in srun's output" wait_for 60 said '^final'
ok "its helper stands still: and the job ends" wait_for 20 job_is_gone || show_job
kill -CONT "$helper" 2>/dev/null
is "$(trained)" "$wanted" "its helper stands still: with the weights of the undisturbed run, each line in srun's output"
is "$(job_fact JobState) $(job_fact ExitCode)" "FAILED 3:0" "its helper stands still: the script has the last word"
ok "its helper stands still: nothing was written beside it" [ ! -e "ckptless-$job.0.out" ]

train_with completes spares=1,batch-lost=complete
reached 30
hit 3
"$top/lab/kill-node" 1
survived "lost in a recovery, batch-lost=complete" COMPLETED 0:0
ok "all nodes come back" all_back
done_clean
