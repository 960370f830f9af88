#!/bin/bash
# A library under the helpers that never ends: the step is over in time all the same, and no helper stays behind.
. "$(dirname "$0")/lib.sh"
. "$top/tests/system/job.sh"

provider=$CKPTLESS_BUILD/tests/programs/.libs/stuck_provider.so
[ -e "$provider" ] || bail "tests/programs is built (make system-programs)"
mkdir -m 755 providers
cp "$provider" providers/libstuck-fi.so
export FI_PROVIDER_PATH=$work/providers FI_STUCK_MARK=$work/marks
lab_start 3

run srun -N2 --ckptless=spares=1 "$charlm" --steps 60 --step-ms 20 --data $words
is "$code $(grep -c ^final run.out)" "0 1" "the program ends, and its code is srun's"
is "$(grep -c ^loaded marks)" 3 "every helper has loaded the provider"
ok "the helpers' ends begin" wait_for 5 bash -c "[ \$(grep -c ^ends $work/marks) -eq 3 ]"
ok "no helper outlives its end for more than its 3 s" wait_for 5 bash -c "! pgrep -x ckptlessd"
wait_for 20 all_idle
is "$(sinfo -h -o %T | sort -u)" idle "the nodes are free again"

done_clean
