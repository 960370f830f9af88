#!/bin/bash
# A rank that needs more memory than its step has: the kernel kills it, the loss line says so, the step survives it, and srun's
# exit code is the program's, though Slurm counts the task as out of memory.
. "$(dirname "$0")/lib.sh"
. "$top/tests/system/job.sh"

steps_program=$CKPTLESS_BUILD/tests/programs/steps
[ -x "$steps_program" ] || bail "tests/programs is built (make system-programs)"
[ -e /sys/fs/cgroup/memory/memory.oom_control ] || {
    skip "out of memory" "needs the memory controller of cgroup v1"
    done_testing
}
lab_start 4 --proctrack cgroup --conf TaskPlugin=task/cgroup --conf SelectTypeParameters=CR_Core_Memory \
    --conf cgroup.conf:ConstrainRAMSpace=yes
wanted=$(srun -N3 "$steps_program" --steps 60 2>/dev/null | sort -u)

# The rank needs 1 GiB, at its first start only, and 300 MiB are there.
rm -rf greedy
run env RANK=1 srun -N1 --mem=300 "$steps_program" --steps 60 --odd-rank 1 --odd-memory 1073741824
is "$(grep -c 'Out Of Memory' run.out) $((code != 0))" "1 1" "without ckptless the step ends with an error" || note "$lines"

oom='killed by signal 9 \(Killed\), out of memory'
greedy="$steps_program --steps 60 --odd-rank 1 --odd-once greedy --odd-memory 1073741824"
run srun -N3 --mem=300 --ckptless=spares=1 $greedy
like "$(grep '^ckptless: lost' run.out)" "^ckptless: lost rank 1 on n2: $oom; rank 1 -> n2$" "a rank is out of memory: one line says so"
is "$code $(grep ^final run.out)" "0 $wanted" "it is started again, and srun ends with 0" || note "$lines"
is "$(grep -c 'Out Of Memory' run.out)" 1 "though Slurm says of the task what it always says"

cat >shell <<SH
#!/bin/sh
if [ \$RANK -eq 1 ] && mkdir again 2>/dev/null; then
    exec $steps_program --odd-rank 1 --odd-memory 1073741824
fi
while [ ! -e again ]; do sleep 0.05; done
SH
chmod +x shell
run srun -N3 --mem=300 --ckptless=spares=1 ./shell
like "$(grep '^ckptless: lost rank 1' run.out)" "$oom" "a rank of a program without the library: the line says why"
is $code 0 "and srun ends with the program's 0" || note "$lines"

run srun -N3 --mem=300 --ckptless=spares=0,restarts=2 "$steps_program" --odd-rank 1 --odd-memory 1073741824
is $code 93 "out of memory at each start: given up with 93" || note "$lines"
is "$(grep '^ckptless: lost' run.out | grep -cvE "$oom")" 0 "each line says why"

rm -rf greedy
wait_for 20 all_idle
job=$(sbatch --parsable -N3 --ntasks-per-node=1 --mem=300 --ckptless=spares=1 -o batch.out \
    --wrap "srun $greedy; echo code \$?; exit 0")
wait_for 30 job_is_gone
is "$(grep -E '^(code|final)' batch.out)" "$wanted"$'\ncode 0' "in a batch job too" || note "$(cat batch.out)"
is "$(job_fact JobState) $(job_fact ExitCode)" "COMPLETED 0:0" "and Slurm counts the job as completed"

# Many processes that are each smaller than the helper, and together too large.
cat >swarm <<'SH'
#!/bin/bash
if [ $RANK -eq 1 ] && mkdir swarmed 2>/dev/null; then
    for i in $(seq 100); do
        sh -c 'x=$(head -c 3000000 /dev/zero | tr "\0" x); sleep 100; : $x' &
    done
    # For the first one that is killed; others may end because they get no memory for a fork.
    while wait -n; [ $? -ne 137 ] && [ -n "$(jobs -r)" ]; do :; done
    kill -KILL $$
fi
[ $RANK -ne 1 ] || touch swarm-is-over
while [ ! -e swarm-is-over ]; do sleep 0.05; done
SH
chmod +x swarm
run srun -N3 --mem=300 --ckptless=spares=1 ./swarm
is "$(grep -c 'its helper died' run.out)" 0 "small processes, together too large: the helper is not among the killed" || note "$lines"
is "$(grep -cE "^ckptless: lost rank 1 on n2: $oom" run.out)" 1 "and some of them are" || note "$lines"
is $code 0 "and srun ends with 0"

program_name=steps
wait_for 20 all_idle
out=$work/killed.out
srun -N3 --mem=300 --ckptless=spares=1 "$steps_program" --steps 100 --print-every 10 >"$out" 2>&1 &
step=$!
reached 20
hit 2
wait $step
is "$(grep '^ckptless: lost' "$out")" "ckptless: lost rank 1 on n2: killed by signal 9 (Killed); rank 1 -> n2" \
    "a rank that somebody kills is not out of memory"

done_clean
