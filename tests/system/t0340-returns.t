#!/bin/bash
# Lost nodes that come back before slurmctld has missed them, one of them to be lost a second time. The job goes on without
# them, and what Slurm says of it in the end is right. Later returns: t0341; with slurmdbd: t0342.
. "$(dirname "$0")/lib.sh"
. "$top/tests/system/job.sh"

lab_start 6
spares=2
reference_until_enough

train_until_enough early
reached 30
depend_on_it
"$top/lab/kill-node" 2
ok "n2 loses its power, and the job resumes" resumed 1
ok "early return: it leaves the job at once" wait_for 2 job_has 'n[1,3-6]' 5
is "$(squeue -h -j "$job" -o %C) $(job_fact NumCPUs)" "5 5" "early return: with its CPU"
ok "early return: it comes back" "$top/lab/revive-node" 2
ok "early return: and is idle" wait_for 30 node_state_is n2 idle
is "$(srun -N1 -w n2 --immediate=5 hostname)" n2 "early return: it runs a step of another job"
wait_for 30 node_state_is n2 idle
ok "early return: it loses its power again" "$top/lab/kill-node" 2
ok "early return: and comes back again" "$top/lab/revive-node" 2
ok "early return: and is idle again" wait_for 30 node_state_is n2 idle
is "$(given_up)" 0 "early return: slurmctld has missed nothing"
enough "early return"
has_survived "early return"
is "$(grep -cE '^ckptless: (lost|resumed|warning)' "$out")" 2 "early return: two lines, of the loss and of the recovery"
is "$(job_had)" "n[1,3-6] 5" "early return: Slurm says so of the ended job, too"
ok "early return: the job that waited for its success runs" wait_for 20 dependent_ran ||
    note "$(scontrol show job "$dependent")"

train_until_enough both
reached 30
"$top/lab/kill-node" 3 &
"$top/lab/kill-node" 4
wait $!
ok "n3 and n4 lose their power at once, and the job resumes" resumed 1
ok "two at once: both leave the job" wait_for 3 job_has 'n[1-2,5-6]' 4
"$top/lab/revive-node" 3
"$top/lab/revive-node" 4
ok "two at once: both come back before slurmctld has missed them" wait_for 30 node_state_is n3,n4 idle
is "$(given_up)" 0 "two at once: it has missed nothing"
enough "two at once"
has_survived "two at once"
is "$(grep -c '^ckptless: warning' "$out")" 0 "two at once: there is nothing to warn of"
is "$(job_had)" "n[1-2,5-6] 4" "two at once: Slurm says so of the ended job, too"
done_clean
