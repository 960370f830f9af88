#!/bin/bash
# How a program ends reaches srun, the job's state, `afterok` and sacct as it does without the option: the same programs, with
# and without it. And an exit that a silent node has caused is not taken for the program's own, whichever is known first.
. "$(dirname "$0")/lib.sh"
. "$top/tests/system/job.sh"
. "$top/tests/system/exits.sh"

lab_start 5 --accounting
all_ends

# After commits, the survivors' errors arrive long before the silent node is known; and the other way round.
steps_program=$CKPTLESS_BUILD/tests/programs/steps
wait_for 20 all_idle
srun -N3 --ckptless=spares=1 "$steps_program" --steps 300 --print-every 50 >silent.out 2>&1 &
step=$!
wait_for 20 grep -q 'spare is warm' silent.out && wait_for 20 grep -q '^step 50$' silent.out
"$top/lab/kill-node" 3
kill -TERM "$(pids_of 2 steps)"
wait $step
is "$? $(grep -c '^final' silent.out)" "0 1" "a node goes silent while a rank of another one dies: both are lost, and the program's code is srun's"
done_clean
