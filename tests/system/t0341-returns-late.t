#!/bin/bash
# Lost nodes that come back after slurmctld has missed them. One of them was lost after the first: without slurmdbd, Slurm
# 22.05 lets nodes leave a job only once, and a line says what follows. Until the end of the job: t0343.
. "$(dirname "$0")/lib.sh"
. "$top/tests/system/job.sh"

lab_start 6 --slurmd-timeout 3 --conf MessageTimeout=7 --conf TCPTimeout=1
spares=2
reference_until_enough

train_until_enough late
reached 30
"$top/lab/kill-node" 2
ok "n2 loses its power, and the job resumes" resumed 1
ok "n2 leaves the job at once" wait_for 2 job_has 'n[1,3-6]' 5
"$top/lab/kill-node" 3
ok "n3 loses its power, and the job resumes" resumed 2
ok "a line says that n3 cannot leave the job, and what follows" wait_for 10 said '^ckptless: warning: n3 cannot leave the job \(without slurmdbd, Slurm lets nodes leave a job only once\): a return before slurmctld finds it down \(SlurmdTimeout\) ends the step, and the job.s end waits for that$' ||
    show_job
is "$(job_had)" 'n[1,3-6] 5' "it is counted still"
ok "slurmctld finds n2 down" wait_for 40 node_state_is n2 'down*'
ok "and n3" wait_for 40 node_state_is n3 'down*'
ok "and takes it out of the job" wait_for 2 job_has 'n[1,4-6]' 4
"$top/lab/revive-node" 2
"$top/lab/revive-node" 3
ok "both come back, and are idle" wait_for 30 node_state_is n2,n3 idle
enough "late"
has_survived "late"
is "$(job_had)" "n[1,4-6] 4" "late: Slurm says so of the ended job, too"
is "$(grep -cE '^ckptless: (lost|resumed|warning)' "$out")" 5 "late: of the losses there are five lines in all"
done_clean
