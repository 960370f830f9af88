#!/bin/bash
# An ordinary Open MPI program, which knows nothing of us: it finds its world through the helper's PMIx server; when a
# process or a node is lost all of it starts again in place, and finds its new world.
. "$(dirname "$0")/lib.sh"
. "$top/tests/system/job.sh"

program_name=mpi
mpicc -O1 -o mpi "$top/tests/programs/mpi.c" || bail "mpicc compiles an MPI program"
lab_start 5

# once SRUN-OPTION...: sums, and passes a token around the ring, ten times.
once() {
    wait_for 20 all_idle
    timeout 60 srun "$@" ./mpi 10 2>&1 | grep -v '^ckptless: step'
    echo "exit ${PIPESTATUS[0]}"
}

is "$(once -N1 --ckptless)" $'started: n1\ndone: 1 ranks\nexit 0' "one rank alone"
is "$(once -N1 -n3 --ckptless)" $'started: n1 n1 n1\ndone: 3 ranks\nexit 0' "three ranks on one node"
is "$(once -N2 --ntasks-per-node=2 --ckptless=spares=1)" $'started: n1 n1 n2 n2\ndone: 4 ranks\nexit 0' \
    "two ranks on each of two nodes"
is "$(once -N2 --ckptless=spares=1,ranks=3)" $'started: n1 n1 n1 n2 n2 n2\ndone: 6 ranks\nexit 0' \
    "three ranks in a task on each of two nodes"
is "$(once -N5 --ckptless)" $'started: n1 n2 n3 n4 n5\ndone: 5 ranks\nexit 0' "a rank on each of five nodes"

# MPI_Abort while the others wait for it: they do not wait for ever.
wait_for 20 all_idle
ABORT=2 timeout 60 srun -N2 --ntasks-per-node=2 --ckptless=spares=1 ./mpi 1000000 >aborted 2>&1
is "$?" 7 "a rank calls MPI_Abort: srun ends with its code"
is "$(grep '^ckptless: [el]' aborted)" "ckptless: ended with exit code 7: the program has aborted" "and one line says why"

# begin OPTIONS...: a step that goes on until the file end is there; sets step, out.
begin() {
    wait_for 20 all_idle
    out=$work/out
    rm -f end "$out"
    srun "$@" ./mpi 1 "$work/end" >"$out" 2>&1 &
    step=$!
    wait_for 20 started 1 || bail "the program starts"
}

started() {
    [ "$(grep -c '^started' "$out")" -ge "$1" ]
}

end() {
    touch end
    wait_for 20 bash -c "! kill -0 $step" || scancel "$(squeue -h -o %i)"
    wait $step
}

begin -N3 --ntasks-per-node=2 --ckptless=spares=1
kill -KILL "$(pids_of 2 mpi | head -n 1)"
ok "a process is killed: the program starts again" wait_for 20 started 2
is "$(grep '^started' "$out" | tail -n 1)" "started: n1 n1 n2 n2 n3 n3" "in place"
kill -KILL $(pids_of 1 mpi) $(pids_of 3 mpi | tail -n 1)
ok "three of six processes are killed, rank 0 among them: it starts again" wait_for 20 started 3
kill -KILL "$(pids_of 3 ckptlessd)"
ok "the helper of n3 is killed, and its PMIx server with it: it starts again" wait_for 20 started 4
is "$(grep '^started' "$out" | tail -n 1)" "started: n1 n1 n2 n2 n4 n4" "ranks 4 and 5 on the spare, the others in place"
"$top/lab/kill-node" 2
ok "n2 loses its power: it starts again" wait_for 20 started 5
is "$(grep '^started' "$out" | tail -n 1)" "started: n1 n1 n3 n3 n4 n4" "ranks 2 and 3 on n3, which has a new helper"
end
is $? 0 "and reaches its end: srun ends with 0"
is "$(grep "^done" "$out")" "done: 6 ranks" "all ranks have agreed on it"
is "$(squeue -h -o %i)" "" "the job has ended"
# What lay on the disk of n2, which is this machine's; and what the programs had asked the killed helper to remove.
"$top/lab/exec" 3 find /dev/shm -name 'vader_segment.n3.*' -delete
rm -rf "${TMPDIR:-/tmp}"/ckptless.*.1

done_clean
