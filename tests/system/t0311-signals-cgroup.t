#!/bin/bash
# What is sent to a job and its step reaches the ranks once and ends what it should, and nothing of it is a loss; under
# proctrack/cgroup, where Slurm signals the tasks only, and kills the helper with the step.
. "$(dirname "$0")/lib.sh"
. "$top/tests/system/job.sh"
. "$top/tests/system/signals.sh"

lab_start 3 --proctrack cgroup
signals_reach_ranks
signals_reach_a_taken_spare
scancel_of_the_step
batch_signal
uncaught_signal
ctrl_c
kill_on_bad_exit_and_wait
done_clean
