#!/bin/bash
# A job that is suspended goes on when it is resumed as if nothing had been: by scontrol and by gang scheduling, under
# proctrack/cgroup, which freezes the helpers too.
. "$(dirname "$0")/lib.sh"
. "$top/tests/system/job.sh"
. "$top/tests/system/signals.sh"
. "$top/tests/system/suspend.sh"

lab_start 3 --proctrack cgroup "${preempt[@]}"
suspended held
suspended_from_outside outside
gang gang
done_clean
