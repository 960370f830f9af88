#!/bin/bash
# A node is lost while slurmctld is away: training goes on, a line says that the node cannot leave the job yet, and it leaves when
# slurmctld is back.
. "$(dirname "$0")/lib.sh"
. "$top/tests/system/job.sh"

no_slurmctld() {
    ! ps -C slurmctld -o stat= | grep -qv '^Z'
}

lab_start 5
reference_until_enough

train_until_enough away
reached 30
kill -TERM "$(cat "$lab_dir/run/slurmctld.pid")"
ok "slurmctld ends" wait_for 10 no_slurmctld
"$top/lab/kill-node" 2
ok "n2 loses its power, and the job resumes" resumed 1
ok "a line says that n2 cannot leave the job, and why" wait_for 40 said \
    '^ckptless: warning: n2 cannot leave the job \(.*Unable to contact slurm controller' || show_job
(exec setsid slurmctld -f "$lab_dir/slurm.conf")
ok "slurmctld is back, and n2 leaves the job" wait_for 40 job_has 'n[1,3-5]' 4
ok "a line says so" wait_for 5 said '^ckptless: warning: n2 has left the job now$'
ok "n2 comes back" "$top/lab/revive-node" 2
is "$(given_up)" 0 "slurmctld has not missed it"
enough "slurmctld away"
has_survived "slurmctld away"
done_clean
