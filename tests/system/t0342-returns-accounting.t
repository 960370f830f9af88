#!/bin/bash
# With slurmdbd each lost node leaves the job, and what sacct says of the ended job is right: its state, exit code and nodes.
# While slurmdbd is down: 
. "$(dirname "$0")/lib.sh"
. "$top/tests/system/job.sh"

# sacct_says TEXT: of the job as it was in the end; each change of its nodes has made a record of its own.
sacct_says() {
    [ "$(sacct -nPXD -j "$job" -o State,ExitCode,NNodes,AllocNodes,NodeList | tail -n 1)" = "$1" ]
}

accounted() {
    ok "$2: sacct says $1" wait_for 20 sacct_says "$1" ||
        note "$(sacct -PD -j "$job" -o JobID,State,ExitCode,NNodes,AllocNodes,NodeList)"
}

lab_start 6 --accounting
spares=2
reference_until_enough

train_until_enough both
reached 30
depend_on_it
"$top/lab/kill-node" 2
ok "n2 loses its power, and the job resumes" resumed 1
ok "it leaves the job" wait_for 2 job_has 'n[1,3-6]' 5
"$top/lab/kill-node" 3
ok "n3 loses its power, and the job resumes" resumed 2
ok "it leaves the job, too" wait_for 3 job_has 'n[1,4-6]' 4
"$top/lab/revive-node" 2
"$top/lab/revive-node" 3
ok "both come back before slurmctld has missed them" wait_for 30 node_state_is n2,n3 idle
is "$(given_up)" 0 "it has missed nothing"
enough "two losses"
has_survived "two losses"
is "$(grep -c '^ckptless: warning' "$out")" 0 "two losses: there is nothing to warn of"
accounted 'COMPLETED|0:0|4|4|n[1,4-6]' "two losses"
ok "two losses: the job that waited for its success runs" wait_for 20 dependent_ran

# An allocation of srun's own: nobody but the plugin can tell Slurm the exit code.
rm -f enough
wait_for 10 all_idle
out=$work/own.out
srun -N4 --ckptless=spares=2 bash -c \
    "$CKPTLESS_BUILD/tests/programs/steps --steps 6000 --step-ms 20 --print-every 10 --until $work/enough; exit 7" >"$out" 2>&1 &
step=$!
reached 30
job=$(squeue -h -o %i)
timeline=$work/ckptless-$job.0.jsonl
"$top/lab/kill-node" 4
ok "srun's own job: n4 loses its power, and it resumes" resumed 1
ok "srun's own job: n4 leaves the job" wait_for 2 job_has 'n[1-3,5-6]' 5
"$top/lab/revive-node" 4
touch enough
wait $step
is $? 7 "srun's own job: srun ends with the program's exit code" || note "$(grep -v '^step' "$out")"
ok "srun's own job: and so does the job" wait_for 10 job_is_gone
accounted 'FAILED|7:0|5|5|n[1-3,5-6]' "srun's own job"
done_clean
