#!/bin/bash
# The ways into a ckptless step, what the program sees of its world, how srun ends, how spares wait; and that a step
# without the option is what it was.
. "$(dirname "$0")/lib.sh"
. "$top/tests/system/job.sh"

steps_program=$CKPTLESS_BUILD/tests/programs/steps
[ -x "$steps_program" ] || bail "tests/programs is built (make system-programs)"
lab_start 6

# Each rank leaves its environment in $1/RANK and says where it is.
cat >see <<'SH'
#!/bin/sh
mkdir -p "$1"
env >"$1/${SLURM_PROCID:-none}.new"
mv "$1/${SLURM_PROCID:-none}.new" "$1/${SLURM_PROCID:-none}"
echo "rank ${RANK:-none} of ${WORLD_SIZE:-none} on $(hostname)"
SH
chmod +x see
four=$'rank 0 of 4 on n1\nrank 1 of 4 on n2\nrank 2 of 4 on n3\nrank 3 of 4 on n4'
eight=$(printf 'rank %d of 8 on n%d\n' 0 1 1 1 2 2 3 2 4 3 5 3 6 4 7 4)

# seen NAME OPTION...: one step of ./see, on nodes from n1 on; its errors are in NAME.err.
seen() {
    local name=$1
    shift
    wait_for 20 all_idle
    srun "$@" ./see "$name" 2>"$name.err" | sort
}

# value RANK-FILE NAME
value() {
    sed -n "s/^$2=//p" "$1"
}

# ---- the ways in
cat >by-line.sh <<'SH'
#!/bin/bash
#SBATCH --nodes=4 --ntasks-per-node=1
#SBATCH --ckptless=spares=1
scontrol show job "$SLURM_JOB_ID" | grep -oE 'NumNodes=[0-9]+'
srun ./see by-line
SH
wait_for 20 all_idle
sbatch -W -o by-line.out by-line.sh >/dev/null
is "$(grep ^rank by-line.out | sort)" "$four" "#SBATCH --ckptless: four ranks on four nodes, the parked spare prints nothing"
is "$(grep ^NumNodes by-line.out)" "NumNodes=5" "and the job has five nodes"
is "$(grep ^ckptless: by-line.out | cut -d' ' -f4-)" "4 nodes, 4 ranks, 1 spare (n5)" "and one line says so"

wait_for 20 all_idle
sbatch -W -N4 --ckptless=spares=2 -o by-option.out \
    --wrap 'scontrol show job $SLURM_JOB_ID | grep -oE "NumNodes=[0-9]+"; srun ./see by-option' >/dev/null
is "$(grep -E '^(rank|NumNodes)' by-option.out | sort)" "NumNodes=6"$'\n'"$four" \
    "sbatch -N4 --ckptless=spares=2: six nodes, four of them active"

is "$(seen by-srun -N4 --ckptless=spares=1)" "$four" "srun by hand: the same"
is "$(cut -d' ' -f1,4- by-srun.err)" "ckptless: 4 nodes, 4 ranks, 1 spare (n5)" "and nothing else on stderr"
is "$(seen by-number -N4 --ckptless=1)" "$four" "a bare number counts spares"
is "$(seen by-name -N4 --ckptless)" "$four" "--ckptless alone: no spare"
is "$(cut -d' ' -f4- by-name.err)" "4 nodes, 4 ranks, 0 spares" "and the line says so"

wait_for 20 all_idle
salloc -N4 --ckptless=spares=1 bash -c 'srun ./see by-salloc | sort; echo "code $?"; srun -N2 -n2 ./see by-salloc-2 | sort' \
    >by-salloc.out 2>by-salloc.err
is "$(cat by-salloc.out)" "$four"$'\ncode 0\nrank 0 of 2 on n1\nrank 1 of 2 on n2' \
    "salloc, then srun: its steps have the option; -N counts active nodes there too"
like "$(cat by-salloc.err)" '4 nodes, 4 ranks, 1 spare \(n5\).*2 nodes, 2 ranks, 1 spare \(n3\)' "with spares each"

is "$(seen two-each -N4 --ntasks-per-node=2 --ckptless=spares=1)" "$eight" \
    "--ntasks-per-node=2: eight ranks"
is "$(seen n8 -N4 -n8 --ckptless=spares=1)" "$eight" "-N4 -n8: eight ranks"
wait_for 20 all_idle
sbatch -W -N4 -n8 --ckptless=spares=1 -o n8.out --wrap 'srun ./see n8b' >/dev/null
is "$(grep ^rank n8.out | sort)" "$eight" "sbatch -N4 -n8: eight ranks"
is "$(seen cyclic -N4 --ntasks-per-node=2 --distribution=cyclic --ckptless=spares=1)" "$eight" \
    "--distribution=cyclic: the spare's tasks are no ranks, and ranks are numbered by node"

# ---- the world of a rank
world=(SLURM_NTASKS=8 SLURM_NPROCS=8 SLURM_STEP_NUM_TASKS=8 SLURM_NNODES=4 SLURM_JOB_NUM_NODES=4 SLURM_STEP_NUM_NODES=4
    WORLD_SIZE=8 LOCAL_WORLD_SIZE=2 MASTER_ADDR=n1 'SLURM_TASKS_PER_NODE=2(x4)' 'SLURM_STEP_TASKS_PER_NODE=2(x4)')
wrong=
for rank in 0 1 2 3 4 5 6 7; do
    node=$((rank / 2)) local=$((rank % 2))
    for variable in "${world[@]}" SLURM_PROCID=$rank RANK=$rank SLURM_NODEID=$node NODE_RANK=$node GROUP_RANK=$node \
        SLURM_LOCALID=$local LOCAL_RANK=$local SLURM_GTIDS=$((node * 2)),$((node * 2 + 1)) SLURMD_NODENAME=n$((node + 1)); do
        grep -qxF "$variable" two-each/$rank || wrong+="rank $rank: not $variable but $(value two-each/$rank "${variable%%=*}")"$'\n'
    done
    for name in SLURM_NODELIST SLURM_JOB_NODELIST SLURM_STEP_NODELIST; do
        hosts=$(scontrol show hostnames "$(value two-each/$rank $name)" | tr '\n' ' ')
        [ "$hosts" = "n1 n2 n3 n4 " ] || wrong+="rank $rank: $name has $hosts"$'\n'
    done
done
is "$wrong" "" "every variable of the world names the active ranks and nodes only"
is "$(for rank in 0 1 2 3 4 5 6 7; do value two-each/$rank MASTER_PORT; done | sort -u | grep -cE '^[0-9]+$')" 1 \
    "MASTER_PORT is the same number on all ranks"
is "$(ls two-each | sort | tr '\n' ' ')" "0 1 2 3 4 5 6 7 " "no program ran on the spare"
wait_for 20 all_idle
MASTER_ADDR=mine MASTER_PORT=4711 srun -N2 --ckptless=spares=1 ./see user-master >/dev/null 2>user-master.err
is "$(value user-master/1 MASTER_ADDR):$(value user-master/1 MASTER_PORT)" mine:4711 \
    "MASTER_ADDR and MASTER_PORT of the user are kept"

# ---- the world of a spare that has taken a rank
wait_for 20 all_idle
srun -N4 --ckptless=spares=1 "$steps_program" --steps 100000 --print-every 50 --environment "$work/promoted" >promoted.out 2>&1 &
step=$!
ok "four ranks train" wait_for 20 grep -q '^step 100$' promoted.out
ok "the spare is warm" wait_for 20 grep -q 'spare is warm' promoted.out
"$top/lab/kill-node" 2
ok "n2 is lost, its rank goes on on the spare" wait_for 20 test -e promoted.2.1
wrong=
for variable in RANK=1 SLURM_PROCID=1 WORLD_SIZE=4 SLURM_NTASKS=4 SLURM_NODEID=1 LOCAL_RANK=0 MASTER_ADDR=n1 SLURMD_NODENAME=n5; do
    grep -qxF "$variable" promoted.2.1 || wrong+="not $variable but $(value promoted.2.1 "${variable%%=*}")"$'\n'
done
is "$wrong" "" "the promoted program has the rank's variables"
for rank in 0 1 3; do
    scontrol show hostnames "$(value promoted.2.$rank SLURM_JOB_NODELIST)" | tr '\n' ' '
    echo
done >hosts
is "$(sort -u hosts)" "n1 n5 n3 n4 " "and all ranks see n5 in the place of n2"
scancel "$(squeue -h -o %i)"
wait $step
"$top/lab/revive-node" 2
ok "n2 comes back" wait_for 40 all_idle

# ---- exit codes
code_of() {
    wait_for 20 all_idle
    "$@" >code.out 2>code.err
    echo $?
}
is "$(code_of srun -N2 --ckptless=spares=1 true)" 0 "srun ends with 0 when the program does"
is "$(code_of srun -N2 --ckptless=spares=1 sh -c 'exit 3')" 3 "and with 3"
is "$(code_of srun -N2 --ckptless=spares=1 sh -c '[ $RANK -eq 0 ] || exit 4')" 4 "and with the highest of all ranks"
is "$(code_of srun -N2 --ckptless=spares=1 /no/such/program)" 2 "a program that is not there: Slurm's code for that"
is "$(grep -c 'No such file or directory' code.err)" 2 "and each rank says why"
is "$(code_of srun -N2 --ckptless=spares=1,respawn=1,restarts=2 sh -c 'kill -KILL $$')" 93 \
    "a program that always dies by a signal: 93"
is "$(grep -c '^ckptless: ended with exit code 93: no progress' code.err)" 1 "and one line says why"
wait_for 20 all_idle
salloc -N2 --ckptless=spares=1 bash -c 'srun sh -c "exit 5"; echo $?' >code.out 2>/dev/null
is "$(cat code.out)" 5 "within salloc too"
wait_for 20 all_idle
sbatch -W -N2 --ckptless=spares=1 -o /dev/null --wrap 'srun sh -c "exit 6"' >/dev/null
is $? 6 "and in a batch job"

# A signal to the whole step is the user's word, not a loss.
signalled() {
    local signal=$1 option=$2
    wait_for 20 all_idle
    rm -f going.*
    srun -N2 $option sh -c 'touch going.$SLURM_PROCID; exec sleep 60' >signal.out 2>&1 &
    step=$!
    wait_for 10 test -e going.1 && wait_for 10 test -e going.0
    scancel -s "$signal" "$(squeue -h -o %i).0"
    wait_for 10 bash -c "! kill -0 $step" || scancel "$(squeue -h -o %i)"
    wait $step
    echo $?
}
for signal in TERM INT KILL; do
    is "$(signalled $signal --ckptless=spares=1)" "$(signalled $signal '')" \
        "scancel -s $signal ends the step with the code it has without the option"
done

# ---- how spares wait
parked() {
    pids_of 5 steps | wc -l
}
parked_is() {
    [ "$(parked)" -eq "$1" ]
}
for park in cold warm auto; do
    wait_for 20 all_idle
    srun -N4 --ckptless=spares=1,park=$park "$steps_program" --steps 300 --print-every 50 >$park.out 2>&1 &
    step=$!
    wait_for 20 grep -q '^step 50$' $park.out
    case $park in
    cold) is "$(parked)" 0 "park=cold: nothing runs on the spare" ;;
    warm) ok "park=warm: the program waits on the spare" wait_for 5 parked_is 1 ;;
    auto) ok "park=auto: the program waits there once the ranks use the library" wait_for 5 parked_is 1 ;;
    esac
    kill -KILL "$(pids_of 4 ckptlessd)"
    ok "park=$park: n4's helper is killed, and the step resumes" wait_for 20 grep -q '^ckptless: resumed' $park.out
    wait $step
    is $? 0 "park=$park: the step ends with 0"
    is "$(grep -c ^final $park.out)" 1 "park=$park: and rank 0 says so"
    is "$(grep -vE '^(ckptless: (step|spare|lost|resumed|rank 3:) |step |final )' $park.out)" "" \
        "park=$park: nobody else says anything"
done
is "$(grep '^ckptless: lost' cold.out)" "$(grep '^ckptless: lost' warm.out)" "cold and warm spares take the rank alike"
ok "park=auto, a program without the library: nothing runs on the spare" bash -c \
    "srun -N4 --ckptless=spares=1 ./see auto-plain >/dev/null 2>&1; [ \$(ls auto-plain | wc -l) -eq 4 ]"

# ---- what the program must not see
wait_for 20 all_idle
srun -N4 --ckptless=spares=1 "$steps_program" --steps 100000 --environment "$work/secret" >secret.out 2>&1 &
step=$!
wait_for 20 test -e secret.1.3
wait_for 20 grep -q 'spare is warm' secret.out
secrets() {
    local i
    for i in 1 2 3 4 5; do
        "$top/lab/exec" $i sh -c 'cat /proc/[0-9]*/environ 2>/dev/null | tr "\0" "\n" | grep -E "^SLURM_CKPTLESS_(SECRET|TOKEN|PORT)"'
    done
    grep -hE '^SLURM_CKPTLESS_|SECRET' secret.1.*
}
is "$(secrets)" "" "the step's secret is in no environment on the nodes"
is "$(for i in 1 2 3 4 5; do "$top/lab/exec" $i sh -c 'cat /proc/[0-9]*/cmdline | tr "\0" "\n"'; done | grep -cE '^[0-9a-f]{64}$')" 0 \
    "and in no command line"
helpers() {
    local i
    for i in 1 2 3 4 5 6; do
        pids_of $i ckptlessd
    done | wc -l
}
is "$(helpers)" 5 "one helper a node"
scancel "$(squeue -h -o %i)"
wait $step

# ---- without the option
wait_for 20 all_idle
timelines=$(ls ckptless-*.jsonl)
srun -N2 bash -c './see plain; sleep 1' >plain.out 2>plain.err &
step=$!
wait_for 10 test -e plain/1 && wait_for 10 test -e plain/0
is "$(helpers) $(pids_of 1 ckptless-keep)$(pids_of 2 ckptless-keep)" "0 " "a step without the option has no helper and no keeper"
wait $step
# Ours by name, but of the test itself.
of_the_test='^CKPTLESS_(LAB|PREFIX|BUILD|TEST_[A-Z]*)$'
is "$(cut -d= -f1 plain/0 | grep -iE 'ckptless|pmix' | grep -vE "$of_the_test")" "" "and no variable of ours"
is "$(cat plain.err)" "" "and no line"
is "$(sort plain.out)" $'rank none of none on n1\nrank none of none on n2' "and no RANK"
is "$(ls ckptless-*.jsonl)" "$timelines" "and no timeline"
wait_for 20 all_idle
salloc -N2 --ckptless=spares=1 bash -c 'srun --ckptless=off ./see off' >off.out 2>/dev/null
is "$(sort off.out)" $'rank none of none on n1\nrank none of none on n2' \
    "--ckptless=off within a job that has it: an ordinary step on the active nodes"
is "$(cut -d= -f1 off/0 | grep -iE 'ckptless|pmix' | grep -vE "$of_the_test|^SLURM_SPANK_")" "" \
    "without a variable of ours but Slurm's own record of the option"
done_clean
