#!/bin/bash
# How a program ends reaches srun, the job's state, `afterok` and sacct under proctrack/cgroup, too.
. "$(dirname "$0")/lib.sh"
. "$top/tests/system/job.sh"
. "$top/tests/system/exits.sh"

lab_start 5 --proctrack cgroup --accounting
all_ends
done_clean
