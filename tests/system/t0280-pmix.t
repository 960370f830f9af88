#!/bin/bash
# Plain PMIx programs, without libckptless: publish, fence and read across nodes.
. "$(dirname "$0")/lib.sh"
. "$top/tests/system/job.sh"

fence=$CKPTLESS_BUILD/tests/programs/fence
lab_start 5

# rounds SRUN-OPTION... -- ROUNDS: what rank 0 has read, and srun's exit code.
rounds() {
    local options=()
    while [ "$1" != -- ]; do
        options+=("$1")
        shift
    done
    timeout 60 srun "${options[@]}" "$fence" "$2" 2>err
    echo "exit $?"
}

is "$(rounds -N4 --ckptless=spares=1 -- 3)" "round 0 of 4 ranks: 0.0 1.0 2.0 3.0
round 1 of 4 ranks: 0.1 1.1 2.1 3.1
round 2 of 4 ranks: 0.2 1.2 2.2 3.2
exit 0" "four nodes: each value reaches everyone, in each round"
is "$(rounds -N3 --ntasks-per-node=2 --ckptless=spares=1 -- 2)" "round 0 of 6 ranks: 0.0 1.0 2.0 3.0 4.0 5.0
round 1 of 6 ranks: 0.1 1.1 2.1 3.1 4.1 5.1
exit 0" "two ranks on each of three nodes"
is "$(rounds -N1 -n3 --ckptless -- 1)" "round 0 of 3 ranks: 0.0 1.0 2.0
exit 0" "three ranks on one node"
is "$(rounds -N1 -n1 --ckptless -- 1)" "round 0 of 1 ranks: 0.0
exit 0" "one rank alone"
is "$(grep -v '^ckptless: step' err)" "" "and no line but the first"

# Whoever fences cannot know that it is another world: all start again, from the first round on.
program_name=fence
out=$work/out
rounds=60
wait_for 20 all_idle
srun -N3 --ntasks-per-node=2 --ckptless=spares=1 "$fence" $rounds 20 >"$out" 2>err &
step=$!
said_times() {
    [ "$(grep -c "$1" "$out")" -ge "$2" ]
}
all_fence() {
    [ "$(grep -c 'is about to fence' err)" -eq 6 ]
}
wait_for 20 said_times '^round 3 ' 1
kill -KILL "$(pids_of 2 fence | head -n 1)"
ok "a process is killed among fences: the program begins anew" wait_for 20 said_times '^round 3 ' 2
"$top/lab/kill-node" 3
ok "n3 loses its power: it begins anew" wait_for 20 said_times '^round 3 ' 3
wait_for 20 bash -c "! kill -0 $step" || scancel "$(squeue -h -o %i)"
wait $step
is "$? $(tail -n 1 "$out")" "0 round 59 of 6 ranks: 0.59 1.59 2.59 3.59 4.59 5.59" "and each value reaches everyone, to the last round"

"$top/lab/revive-node" 3
wait_for 40 all_idle || bail "n3 comes back"
srun -N2 --ntasks-per-node=3 --ckptless=spares=1 "$fence" 2 0 again >"$out" 2>err &
step=$!
wait_for 20 all_fence || bail "all ranks come to the first fence"
touch again
kill -KILL "$(pids_of 1 fence | tail -n 1)"
wait_for 20 bash -c "! kill -0 $step" || scancel "$(squeue -h -o %i)"
wait $step
is "$? $(tail -n 1 "$out")" "0 round 1 of 6 ranks: 0.1 1.1 2.1 3.1 4.1 5.1" \
    "a fence that a rank had entered does not reach into the next start"

done_clean
