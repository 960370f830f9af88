#!/bin/bash
# Without slurmdbd, the job ends before slurmctld has missed a node that cannot leave it: it waits until then, and no longer.
. "$(dirname "$0")/lib.sh"
. "$top/tests/system/job.sh"

is_completing() {
    [ "$(squeue -h -j "$job" -o %t)" = CG ]
}

lab_start 6 --slurmd-timeout 3 --conf MessageTimeout=7 --conf TCPTimeout=1
spares=2
reference_until_enough

train_until_enough completing
reached 30
depend_on_it
"$top/lab/kill-node" 2
ok "n2 loses its power, and the job resumes" resumed 1
ok "it leaves the job" wait_for 2 job_has 'n[1,3-6]' 5
"$top/lab/kill-node" 3
ok "n3 loses its power, and the job resumes" resumed 2
enough "completing"
ok "training is over, and the job waits for n3" wait_for 10 is_completing
ok "a line has said so" said \
    '^ckptless: warning: n3 cannot leave the job \(without slurmdbd, .*, and the job.s end waits for that$'
ok "it ends when slurmctld finds n3 down" wait_for 60 job_is_gone
ok "which it has" node_state_is n3 'down*'
has_survived "completing"
is "$(job_had)" "n[1,3-6] 5" "the ended job had n3 until its end"
ok "the job that waited for its success runs" wait_for 30 dependent_ran || note "$(scontrol show job "$dependent")"
ok "n2 and n3 come back" all_back
done_clean
