#!/bin/bash
# Plain PMIx programs, without libckptless: publish, fence and read across nodes.
. "$(dirname "$0")/lib.sh"

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
lab_stop
no_leftovers "nothing is left behind"
done_testing
