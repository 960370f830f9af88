#!/bin/bash
# The processes between Slurm and a rank are killed: its keeper, the helper, slurmstepd. The step goes on elsewhere, and what
# they have left on the node does not.
. "$(dirname "$0")/lib.sh"
. "$top/tests/system/job.sh"

steps_program=$CKPTLESS_BUILD/tests/programs/steps
[ -x "$steps_program" ] || bail "tests/programs is built (make system-programs)"
program_name=steps
lab_start 4
wanted=$(srun -N3 "$steps_program" --steps 300 --step-ms 0 2>/dev/null | sort -u)
cat >family <<'SH'
#!/bin/bash
sleep 1000 &
(setsid sleep 1000 &)
exec "$@"
SH
chmod +x family

listen='--listen 4711' # not by two ranks of a node
begin() {
    wait_for 20 all_idle
    out=$work/out
    rm -f "$out"
    : >"$out"
    timeout 60 srun -N3 --ckptless=spares=1 "$@" --steps 300 --step-ms 10 --print-every 10 $listen >"$out" 2>&1 &
    step=$!
    wait_for 20 said '^step 20$' || bail "training reaches step 20"
}
nothing_runs_on() {
    [ -z "$(pids_of "$1"; pids_of "$1" sleep)" ]
}
ends_well() {
    wait_for 30 bash -c "! kill -0 $step" || scancel "$(squeue -h -o %i)"
    wait $step
    is "$? $(grep ^final "$out")" "0 $wanted" "$1: the step ends with 0 and the right state" || note "$(tail -n 15 "$out")"
    ok "$1: all nodes are free again" wait_for 20 all_idle
}

begin ./family "$steps_program"
kill -KILL "$(pids_of 2 ckptless-keep)"
ok "a keeper is killed: nothing of its rank's tree is left within 3 s" wait_for 3 nothing_runs_on 2
ok "and the step resumes" resumed 1
like "$(grep '^ckptless: lost' "$out")" '^ckptless: lost .*; rank 1 -> n4 \(task 3\)$' "on the spare"
ends_well "a keeper"

listen='' begin --ntasks-per-node=2 "$steps_program"
kill -KILL "$(pids_of 2 ckptless-keep | head -n 1)"
ok "one of two keepers of a node is killed: the step resumes" resumed 1
like "$(grep '^ckptless: lost' "$out")" '^ckptless: lost rank [23] on n2: its keeper died; rank [23] -> n4 \(task [67]\)$' \
    "its rank goes to the spare at once: nothing can be started where it was"
wait_for 30 bash -c "! kill -0 $step" || scancel "$(squeue -h -o %i)"
wait $step
is "$? $(grep -c ^final "$out")" "0 1" "one of two keepers: the step ends with 0, whatever became of the task" || note "$(tail -n 15 "$out")"
ok "one of two keepers: all nodes are free again" wait_for 20 all_idle

begin bash -c "$steps_program"' "$@"; true' bash
kill -KILL "$(pids_of 2 ckptless-keep)"
ok "a keeper of a wrapped program is killed: nothing is left within 3 s" wait_for 3 nothing_runs_on 2
ok "and the step resumes" resumed 1
ends_well "a wrapped program's keeper"

begin ./family "$steps_program"
before=$(pids_of 2; pids_of 2 sleep)
kill -KILL "$(pids_of 2 ckptlessd)"
ok "a helper is killed: the step resumes" resumed 1
like "$(grep '^ckptless: lost' "$out")" "^ckptless: lost n2: its helper died; rank 1 -> n4 \(task 3\)$" "on the spare, and the line says why"
is "$(pids_of 2; pids_of 2 sleep)" "" "nothing of the old tree is left" || note "$before"
ok "and the node is a spare again" wait_for 10 said '^ckptless: spare n2: a new helper has joined$'
ends_well "a helper"

begin ./family "$steps_program"
kill -KILL "$(pids_of 2 slurmstepd)"
ok "slurmstepd is killed: nothing of the rank's tree is left within 3 s" wait_for 3 nothing_runs_on 2
ok "and the step resumes" resumed 1
ends_well "slurmstepd"

begin ./family "$steps_program"
kill -KILL $(pids_of 1 slurmstepd)
ok "slurmstepd of the first node: nothing is left there" wait_for 5 nothing_runs_on 1
ok "and the step resumes" resumed 1
ends_well "slurmstepd of the first node"
ok "all nodes are free again" wait_for 20 all_idle

done_clean
