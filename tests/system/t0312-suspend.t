#!/bin/bash
# A job that is suspended goes on when it is resumed as if nothing had been: by scontrol and by gang scheduling, under
# proctrack/linuxproc, which stops the ranks and their keepers, but no helper.
. "$(dirname "$0")/lib.sh"
. "$top/tests/system/job.sh"
. "$top/tests/system/signals.sh"
. "$top/tests/system/suspend.sh"

lab_start 3 "${preempt[@]}"
suspended held
gang gang
done_clean
