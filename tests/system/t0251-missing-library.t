#!/bin/bash
# Nodes on which PMIx or libfabric cannot be loaded: one line says which node lacks what, and nobody hangs.
. "$(dirname "$0")/lib.sh"
. "$top/tests/system/job.sh"

steps_program=$CKPTLESS_BUILD/tests/programs/steps
[ -x "$steps_program" ] || bail "tests/programs is built (make system-programs)"
program_name=steps
lab_start 5
wanted=$(srun -N3 "$steps_program" 2>/dev/null | sort -u)

# without LIBRARY NODE...: on these nodes the file is empty, until with is called.
without() {
    local file node
    file=$(ldconfig -p | awk -v name="$1" '$1 == name { print $NF; exit }')
    hidden=$(realpath "$file")
    shift
    hidden_on=("$@")
    for node in "$@"; do
        "$top/lab/exec" "$node" mount --bind /dev/null "$hidden"
    done
}
with() {
    local node
    for node in "${hidden_on[@]}"; do
        "$top/lab/exec" "$node" umount "$hidden"
    done
}
for node in 1 2; do
    without libpmix.so.2 $node
    run srun -N3 --ckptless=spares=1 "$steps_program"
    with
    is "$code $(grep ^final run.out)" "0 $wanted" "no libpmix on n$node: the spare takes its rank"
    is "$(grep -c "n$node.*PMIx\|PMIx.*n$node" run.out)" 1 "no libpmix on n$node: one line names the node and what it lacks" ||
        note "$lines"
    ok "no libpmix on n$node: in less than 40 s ($took_ms ms)" [ $took_ms -lt 40000 ]
done
without libpmix.so.2 4
run srun -N3 --ckptless=spares=1 "$steps_program"
with
is "$code $(grep ^final run.out)" "0 $wanted" "no libpmix on the spare: the program runs, and its code is srun's"
is "$(grep -c 'n4.*PMIx\|PMIx.*n4' run.out)" 1 "no libpmix on the spare: one line names it and what it lacks" || note "$lines"
ok "no libpmix on the spare: in less than 40 s ($took_ms ms)" [ $took_ms -lt 40000 ]

without libfabric.so.1 2
wait_for 20 all_idle
out=$work/fabric.out job=0
program_name=charlm
srun -N3 --ckptless=spares=1 "$charlm" --steps 300 --step-ms 10 --print-every 10 --data $words >"$out" 2>&1 &
step=$!
reached 120
hit 3
ok "no libfabric on n2: a rank elsewhere is killed, and the job resumes" resumed 1
# A loss between two ranks' commits leaves the others a step behind, n2's rank perhaps: then it is on the spare already.
[ -z "$(pids_of 2)" ] || hit 2
moved_to_spare() {
    said 'lost rank 1 on n2: could not get its state from any holder; rank 1 -> n4' && [ -z "$(pids_of 2)" ] && goes_on
}
goes_on() {
    grep '^ckptless: \(lost\|resumed\)' "$out" | tail -n 1 | grep -q resumed
}
ok "no libfabric on n2: its own rank is killed, and the spare takes it" wait_for 20 moved_to_spare ||
    note "$(grep ckptless "$out")"
is "$(grep -c 'could not get its state' "$out")" 1 "no libfabric on n2: and that at once"
wait_for 30 bash -c "! kill -0 $step" || scancel "$(squeue -h -o %i)"
wait $step
is $? 0 "no libfabric on n2: the step ends with 0"
is "$(grep -c 'n2.*fabric' "$out")" 1 "no libfabric on n2: one line names the node and what it lacks" || note "$(grep ckptless "$out")"
with

done_clean
