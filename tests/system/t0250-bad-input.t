#!/bin/bash
# What users, programs and machines do wrong: one clear line for each, nobody hangs, and what cannot run is not begun.
. "$(dirname "$0")/lib.sh"
. "$top/tests/system/job.sh"

steps_program=$CKPTLESS_BUILD/tests/programs/steps
[ -x "$steps_program" ] || bail "tests/programs is built (make system-programs)"
program_name=steps
lab_start 5

# ---- the option's value
# check_value VALUE LINE
check_value() {
    run sbatch -N2 --ckptless="$1" --wrap true
    ok "--ckptless=$1: sbatch refuses" [ $code -ne 0 ]
    is "$ours" "ckptless: $2" "--ckptless=$1: one line says what would be right" || note "$lines"
}
check_value spares=x "spares=x: must be a number of nodes from 0 to 8191"
check_value spares=-1 "spares=-1: must be a number of nodes from 0 to 8191"
check_value spares=9000 "spares=9000: must be a number of nodes from 0 to 8191"
check_value spares= "spares: needs a value: a number of nodes from 0 to 8191"
check_value spares=1,spares=2 "spares: given twice"
check_value spars=1 "spars: no such key; did you mean spares?"
check_value spares=1,,park=cold "empty item: write key=value,key=value"
check_value park=hot "park=hot: must be auto, cold or warm"
check_value heartbeat=100 "heartbeat=100: a duration needs a unit: ms, s, m or h, such as 100ms"
check_value heartbeat=1ms "heartbeat=1ms: must be a duration from 10ms to 1m"
check_value dead-after=150ms "heartbeat=100ms does not fit dead-after=150ms: dead-after must be at least twice the heartbeat"
check_value grace=fast "grace=fast: must be a duration from 100ms to 1h"
check_value off,spares=1 "off: must stand alone"
check_value standby=fork "standby=fork: not in this version yet, which has standby=off only"
check_value "log-dir=$(printf 'x%.0s' $(seq 1100))" "log-dir=$(printf 'x%.0s' $(seq 200)): must be a path of 1 to 1023 characters"
for command in srun salloc; do
    run $command -N2 --ckptless=spares=x true
    is "$code $ours" "255 ckptless: spares=x: must be a number of nodes from 0 to 8191" "$command refuses alike"
done
is "$(squeue -h)" "" "nothing was queued"

# ---- a request that does not fit
# check_request LINE COMMAND...: refused, with one line of ours, and nothing runs.
check_request() {
    local line=$1
    shift
    run "$@"
    ok "$*: is refused" [ $code -ne 0 ]
    is "$ours" "ckptless: $line" "$*: one line says why" || note "$lines"
    is "$(grep -c '^ckptless: step\|^ran' run.out)" 0 "$*: nothing is begun"
}
echo '* echo ran' >programs
range="spares need one number of nodes, not a range: give -N as one number"
check_request "$range" sbatch -N2-4 --ckptless=spares=1 --wrap "echo ran"
check_request "$range" salloc -N2-4 --ckptless=spares=1 echo ran
check_request "$range" srun -N2-4 --ckptless=spares=1 echo ran
uneven="4 tasks cannot be spread evenly over 3 nodes, as spares need"
check_request "$uneven" sbatch -N3 -n4 --ckptless=spares=1 --wrap "echo ran"
check_request "$uneven" srun -N3 -n4 --ckptless=spares=1 echo ran
check_request "spares need the number of active nodes: give -N" srun -n2 --ckptless=spares=1 echo ran
check_request "spares cannot be had with --multi-prog" srun -N2 -n2 --multi-prog --ckptless=spares=1 programs
check_request "2 nodes and 1 spare do not fit into the job's 2 nodes" \
    salloc -Q -N2 bash -c 'srun -N2 --ckptless=spares=1 echo ran'
check_request "1 node and 1 spare do not fit into the job's 1 node" \
    salloc -Q -N1 bash -c 'srun --ckptless=spares=1 echo ran'
check_request "1 node and 2 spares do not fit into the job's 2 nodes" \
    salloc -Q -N1 --ckptless=spares=1 bash -c 'srun --ckptless=spares=2 echo ran'
check_request "spares cannot be had in a heterogeneous job" srun -N1 --ckptless=spares=1 echo ran : -N1 echo ran

# ---- programs that contradict each other
run srun -N3 --ckptless=spares=1 "$steps_program" --odd-rank 1 --odd-bytes 8192
is $code 1 "a region with different sizes on two ranks: each gets an error, and the program's code is srun's"
is "$(grep -c "warning: region 'state' (shard 0) has 4096 bytes on rank 0 but 8192 on rank 1" run.out)" 1 \
    "one line names the region, the ranks and the sizes"
is "$(grep -c '^ckptless: \(lost\|resumed\)' run.out)" 0 "nothing is started again"
ok "in less than 10 s ($took_ms ms)" [ $took_ms -lt 10000 ]

run srun -N3 --ckptless=spares=1 "$steps_program" --odd-rank 1 --odd-step 7
is $code 1 "ckptless_reloaded with different steps: each gets an error, and the program's code is srun's"
is "$(grep -c 'rank 0 has loaded step 0 but rank 1 step 7; load the same checkpoint on every rank' run.out)" 1 \
    "one line names the ranks and the steps"
is "$(grep -c '^ckptless: \(lost\|resumed\)' run.out)" 0 "nothing is started again"
ok "in less than 10 s ($took_ms ms)" [ $took_ms -lt 10000 ]

# ---- programs that close what is not theirs
wanted=$(srun -N3 "$steps_program" --steps 20 2>/dev/null | sort -u)
run srun -N3 --ckptless=spares=1 "$steps_program" --odd-rank 1 --odd-close init
is "$code $(grep ^final run.out)" "0 $wanted" "all descriptors closed before ckptless_init: the program runs, with the same state"

run srun -N3 --ckptless=spares=1 "$steps_program" --odd-rank 1 --odd-close step
is "$code $(grep ^final run.out)" "0 $wanted" "closed between two steps, once: the rank is started again, with the same state"
is "$(grep '^ckptless: lost' run.out)" "ckptless: lost rank 1 on n2: closed the descriptors of the library; rank 1 -> n2" \
    "one line says what it did"

run srun -N3 --ckptless=spares=1,restarts=2 "$steps_program" --odd-rank 1 --odd-close recover
is $code 93 "closed before ckptless_recover, at each start: given up with 93"
is "$(grep '^ckptless: lost' run.out | sort -u)" \
    "ckptless: lost rank 1 on n2: closed the descriptors of the library; rank 1 -> n2" "each line says what it did"
is "$(grep -c '^ckptless: ended with exit code 93: no progress' run.out)" 1 "and one why the step ends"

# ---- the timeline
mkdir full
mount -t tmpfs -o size=8k tmpfs full
run srun -N3 --ckptless=spares=1,log-dir="$work/full" "$steps_program" --steps 200
is "$code $(grep -c ^final run.out)" "0 1" "a disk that is too small for the timeline: the step runs"
is "$(grep -c 'events are missing' run.out)" 0 "and has no word to say while all fits"
dd if=/dev/zero of=full/filler bs=4k >/dev/null 2>&1
run srun -N3 --ckptless=spares=1,log-dir="$work/full" "$steps_program"
is "$code $(grep -c ^final run.out)" "0 1" "a full disk: the step runs"
like "$ours" "^ckptless: events are missing in $work/full/ckptless-[0-9]+\.0\.jsonl: No space left on device$" "one line says so"
umount full
run srun -N3 --ckptless=spares=1,log-dir=/no/such/directory "$steps_program"
is "$code $(grep -c ^final run.out)" "0 1" "a log-dir that is not there: the step runs"
like "$ours" "^ckptless: events are missing in /no/such/directory/ckptless-[0-9]+\.0\.jsonl: No such file or directory$" \
    "one line says so"
mkdir linked
id=$(srun -N1 printenv SLURM_JOB_ID)
ln -s "$work/elsewhere" "linked/ckptless-$((id + 1)).0.jsonl"
run srun -N3 --ckptless=spares=1,log-dir="$work/linked" "$steps_program"
like "$ours" "events are missing in .*: it is a symbolic link$" "a symbolic link in its place: one line says so"
ok "and nobody writes where it leads" test ! -e elsewhere

# ---- what an earlier job has left
wait_for 20 all_idle
srun -N3 --ckptless=spares=1 "$steps_program" --steps 100000 --print-every 10 >earlier.out 2>&1 &
step=$!
out=$work/earlier.out
reached 20
"$top/lab/kill-node" 3
"$top/lab/kill-node" 2
scancel "$(squeue -h -o %i)"
wait $step
ok "two nodes lose their power in a job, and come back" all_back
run srun -N3 --ckptless=spares=1 "$steps_program"
is "$code $(grep ^final run.out)" "0 $wanted" "the next job on these nodes runs"
is "$ours" "" "and has nothing to say"

done_clean
