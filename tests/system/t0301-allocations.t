#!/bin/bash
# Spares in jobs of every kind: which nodes are active, what the batch script and its steps see, steps one after the
# other and side by side.
. "$(dirname "$0")/lib.sh"
. "$top/tests/system/job.sh"

lab_start 6

say='echo rank $RANK of $WORLD_SIZE on $SLURMD_NODENAME'
printf '#!/bin/bash\n%s\n' "$say" >say
chmod +x say

# world RANKS PER-NODE: what ./say prints when rank r is on node r / PER-NODE + 1.
world() {
    local r
    for ((r = 0; r < $1; r++)); do
        echo "rank $r of $1 on n$((r / $2 + 1))"
    done
}

# by COMMAND...: what its ranks say, in their order; then the step lines.
by() {
    run "$@"
    grep '^rank' run.out | sort -k2n
    sed -n 's/^ckptless: step [0-9]*\.[0-9]*: //p' run.out
    [ $code -eq 0 ] || echo "code $code: $lines"
}

# batch SCRIPT-TEXT SBATCH-OPTION...: the same of a batch job.
batch() {
    local text=$1
    shift
    printf '#!/bin/bash\n%s\n' "$text" >batch.sh
    wait_for 20 all_idle
    rm -f batch.out
    job=$(sbatch --parsable -o batch.out "$@" batch.sh)
    wait_for 20 job_is_gone || scancel "$job"
    grep '^rank' batch.out | sort -k2n
    sed -n 's/^ckptless: step [0-9]*\.[0-9]*: //p' batch.out
    [ "$(job_fact ExitCode)" = 0:0 ] || cat batch.out
}
four="$(world 4 1)"$'\n'"4 nodes, 4 ranks, 1 spare (n5)"
eight="$(world 8 2)"$'\n'"4 nodes, 8 ranks, 1 spare (n5)"

# ---- srun by hand
is "$(by srun -N4 --exclusive --ckptless=spares=1 ./say)" "$four" "srun --exclusive"
is "$(by srun -N4 --export=NONE --ckptless=spares=1 "$work/say")" "$four" "srun --export=NONE"
is "$(by srun -N4 -n8 --distribution=cyclic --ckptless=spares=1 ./say)" "$eight" \
    "srun -n8 --distribution=cyclic: ranks are numbered by node"
is "$(by srun -N4 --ntasks-per-node=2 --distribution=block:cyclic --ckptless=spares=1 ./say)" "$eight" \
    "srun --ntasks-per-node=2 --distribution=block:cyclic"
is "$(by srun -N5 --ckptless=reserve=1 ./say)" "$four" "srun -N5 reserve=1: four active nodes, and one that was asked for waits"
is "$(by srun -N5 -n10 --distribution=cyclic --ckptless=reserve=1 ./say)" "$eight" \
    "srun -N5 -n10 reserve=1: -n counts the reserved node's tasks too"
is "$(by srun -N5 --ckptless=reserve=1,spares=1 ./say)" "$(world 4 1)"$'\n4 nodes, 4 ranks, 2 spares (n5,n6)' \
    "srun -N5 reserve=1,spares=1: both wait"

# ---- a reserved node takes a lost rank
steps_program=$CKPTLESS_BUILD/tests/programs/steps
[ -x "$steps_program" ] || bail "tests/programs is built (make system-programs)"
wait_for 20 all_idle
srun -N4 --ckptless=reserve=1 "$steps_program" --steps 300 --print-every 50 >taken.out 2>&1 &
step=$!
wait_for 20 grep -q '^step 50$' taken.out
kill -KILL "$(pids_of 2 ckptlessd)"
wait $step
is "$? $(grep -c ^final taken.out)" "0 1" "a node's helper is killed in a step with reserve=1: the step goes on to its end"
like "$(grep '^ckptless: lost' taken.out)" 'rank 1 -> n4( |$)' "on the reserved node" || note "$(cat taken.out)"

# ---- the batch script and its steps
facts='for name in SLURM_NNODES SLURM_JOB_NUM_NODES SLURM_NODELIST SLURM_JOB_NODELIST SLURM_NTASKS SLURM_NPROCS \
    SLURM_TASKS_PER_NODE SLURM_JOB_CPUS_PER_NODE; do echo "fact ${!name}"; done
scontrol show hostnames | tr "\n" " "; echo
scontrol show job $SLURM_JOB_ID | grep -oE "NumNodes=[0-9]+"'
# facts_are TASKS CPUS: eight facts of four nodes.
facts_are() {
    printf 'fact %s\n' 4 4 'n[1-4]' 'n[1-4]' $((4 * $1)) $((4 * $1)) "$1(x4)" "$2(x4)"
    printf '%s\n' "n1 n2 n3 n4 " NumNodes=5
}
script="$facts
srun ./say"
for options in "-N4 -n8" "-N4 --ntasks-per-node=2" "-N4 -n8 --distribution=cyclic"; do
    is "$(batch "$script" $options --ckptless=spares=1)" "$eight" "sbatch $options: eight ranks on four nodes"
    is "$(grep -vE '^(rank|ckptless)' batch.out)" "$(facts_are 2 2)" "and the script reads the active nodes and tasks"
done
is "$(batch "$script" -N4 --exclusive --ckptless=spares=1)" "$four" "sbatch --exclusive: four ranks on four nodes"
is "$(grep -vE '^(rank|ckptless)' batch.out)" "$(facts_are 1 4)" "and the script reads the active nodes and tasks"
is "$(batch "export PATH; $script" -N4 --export=NONE --ckptless=spares=1)" "$four" "sbatch --export=NONE: the same"
is "$(grep -vE '^(rank|ckptless)' batch.out)" "$(facts_are 1 1)" "and the script reads the active nodes and tasks"
is "$(batch "$script" -N5 --ckptless=reserve=1)" "$four" "sbatch -N5 reserve=1: four ranks, and a node that was asked for waits"
is "$(grep -vE '^(rank|ckptless)' batch.out)" "$(facts_are 1 1)" "and the script reads the active nodes and tasks"
script='echo $SLURM_NNODES $SLURM_JOB_NODELIST; srun ./say'
is "$(batch "$script" -N4 --ckptless)" "$(world 4 1)"$'\n4 nodes, 4 ranks, 0 spares' "sbatch without spares: four ranks"
is "$(head -n 1 batch.out)" "4 n[1-4]" "and the script reads its job as ever"

# ---- steps one after the other
batch 'srun ./say >first; srun -N2 -n2 ./say >second; srun -N $SLURM_NNODES -n $SLURM_NTASKS ./say >third
srun --ckptless=off ./say >off; srun --ckptless=off -N6 -n6 ./say >all; srun --ckptless=spares=1 ./say >one
srun --ckptless=reserve=2 ./say >reserve' -N4 --ckptless=spares=2 >steps
sorted() {
    sort -k2n "$1"
}
is "$(cat steps)" "4 nodes, 4 ranks, 2 spares (n5,n6)
2 nodes, 2 ranks, 2 spares (n3,n4)
4 nodes, 4 ranks, 2 spares (n5,n6)
4 nodes, 4 ranks, 1 spare (n5)
4 nodes, 4 ranks, 2 spares (n5,n6)" "steps one after the other: each has its own spares"
is "$(sorted first)" "$(world 4 1)" "a step has the job's active nodes"
is "$(sorted second)" "$(world 2 1)" "-N counts active nodes"
is "$(sorted third)" "$(world 4 1)" "also when the number is the one that the script reads"
is "$(sort off | tr '\n' ' ')" "$(printf 'rank of on n%d ' 1 2 3 4)" "off: an ordinary step on the active nodes" || note "$(cat off)"
is "$(wc -l <all)" 6 "or on all, when it is told so"
is "$(sorted one)" "$(world 4 1)" "a step with fewer spares than the job: the same active nodes"
is "$(sorted reserve)" "$(world 4 1)" "reserve in a job with spares: the same active nodes"

# ---- and side by side: two programs that wait for each other
cat >meet <<'SH'
#!/bin/bash
echo "$1 rank $RANK of $WORLD_SIZE on $SLURMD_NODENAME" >"$1.$RANK"
until [ -e A.1 ] && [ -e B.0 ]; do sleep 0.02; done
SH
chmod +x meet
# nodes_of FILE...: which nodes say so, and the spares of the step lines.
nodes_of() {
    { sed 's/.* on //' A.? B.? && grep -oE '\(n[0-9]\)' batch.out | tr -d '()'; } | sort | tr '\n' ' '
}
side='srun -N2 -n2 ./meet A & srun -N1 -n1 ./meet B & wait'
for options in "" --exclusive; do
    rm -f A.? B.?
    batch "${side//srun/srun --ckptless=spares=1}" -N4 $options --ckptless=spares=2 >side.out
    is "$(sed 's/(n[1-6])/(nX)/' side.out | sort)" $'1 node, 1 rank, 1 spare (nX)\n2 nodes, 2 ranks, 1 spare (nX)' \
        "two steps side by side${options:+, $options}: each has its own spare"
    is "$(nodes_of | tr ' ' '\n' | sort -u | wc -l)" 5 "no node is in both" || note "$(nodes_of)"
done

# ---- arrays
wait_for 20 all_idle
printf '#!/bin/bash\nsrun ./say\n' >array.sh
job=$(sbatch --parsable --array=7,9 -o array.%a -N2 --ckptless=spares=1 array.sh)
wait_for 20 job_is_gone || scancel "$job"
for task in 7 9; do
    is "$(grep '^rank' array.$task | sed 's/ on .*//' | sort)" $'rank 0 of 2\nrank 1 of 2' "a job array: task $task has two ranks" ||
        note "$(cat array.$task)"
    like "$(grep '^ckptless: step' array.$task)" '^ckptless: step [0-9]+\.0: 2 nodes, 2 ranks, 1 spare \(n[1-6]\)$' "and a spare"
    id=$(sed -n 's/^ckptless: step \([0-9]*\)\.0: .*/\1/p' array.$task)
    is "$(jq -r 'select(.event == "end") | .exit_code' "ckptless-$id.0.jsonl")" 0 "and a timeline of its own"
done

# ---- a job that has no spares
cat >inside.sh <<'SH'
srun --ckptless=reserve=1 ./say >reserve 2>reserve.err
srun -N3 -n3 --ckptless=spares=2 ./say >spares 2>spares.err
srun -N4 -n4 --ckptless=spares=2 ./say >many 2>many.err
SH
run salloc -Q -N5 bash inside.sh
is "$(sorted reserve)" "$(world 4 1)" "srun --ckptless=reserve=1 in an allocation without spares: one of its nodes waits"
is "$(sorted spares)" "$(world 3 1)" "srun -N3 --ckptless=spares=2 there: -N counts active nodes"
is "$(sed -n 's/.*ckptless: /ckptless: /p' many.err)$(cat many)" \
    "ckptless: 4 nodes and 2 spares do not fit into the job's 5 nodes" "what does not fit is refused, with one line"
run salloc -Q -N4 -n8 --ckptless=spares=1 bash -c 'srun ./say'
is "$(grep ^rank run.out | sort -k2n)" "$(world 8 2)" "salloc -N4 -n8: eight ranks on four nodes"
run salloc -Q -N5 -n10 --ckptless=reserve=1 bash -c 'srun ./say'
is "$(grep ^rank run.out | sort -k2n)" "$(world 8 2)" "salloc -N5 -n10 reserve=1: eight ranks on four nodes"
done_clean
