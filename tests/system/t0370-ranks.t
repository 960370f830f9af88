#!/bin/bash
# Several ranks in a task (ranks=K): to programs they are tasks, to Slurm the task is one; each is lost and started alone.
. "$(dirname "$0")/lib.sh"
. "$top/tests/system/job.sh"

# ---- signals, where Slurm signals the tasks only (cgroup) and where it signals every process (linuxproc)
cat >wait <<'SH'
#!/bin/sh
trap 'echo "usr1 $RANK" >>signals' USR1
trap 'echo "term $RANK" >>signals; exit 5' TERM
touch going.$RANK
while :; do
    sleep 0.05
done
SH
chmod +x wait

lines_in() {
    [ "$(wc -l <"$1")" -ge "$2" ]
}

# waiting OPTION...: four ranks of ./wait; sets step.
waiting() {
    local i
    wait_for 20 all_idle
    rm -f going.* signals
    : >signals
    srun -N2 "$@" ./wait >wait.out 2>&1 &
    step=$!
    for i in 0 1 2 3; do
        wait_for 10 test -e going.$i
    done
}

# signalled OPTION...: four ranks get USR1, then TERM; prints srun's code, and who had which signal how often.
signalled() {
    waiting "$@"
    scancel -s USR1 "$(squeue -h -o %i).0"
    wait_for 10 lines_in signals 4
    scancel -s TERM "$(squeue -h -o %i).0"
    wait_for 10 bash -c "! kill -0 $step" || scancel "$(squeue -h -o %i)"
    wait $step
    echo "code $?"
    sort signals | uniq -c
}

signals_reach_ranks() {
    local each
    each=$(printf '      1 %s\n' "term 0" "term 1" "term 2" "term 3" "usr1 0" "usr1 1" "usr1 2" "usr1 3")
    is "$(signalled --ckptless=ranks=2)" "code 5"$'\n'"$each" "$1: a signal to the step reaches each rank once, and it ends as it says"
    ok "$1: and nothing is left of it" wait_for 5 has_no_step_leftovers
    waiting --ckptless=ranks=2
    scancel -s KILL "$(squeue -h -o %i).0"
    ok "$1: SIGKILL to the step ends it" wait_for 10 bash -c "! kill -0 $step" || scancel "$(squeue -h -o %i)"
    wait $step
    is $? 137 "$1: and srun's code says so"
    ok "$1: and nothing is left of it either" wait_for 5 has_no_step_leftovers
}

if [ -e /sys/fs/cgroup/freezer/cgroup.procs ]; then
    lab_start 2 --proctrack cgroup
    signals_reach_ranks proctrack/cgroup
    lab_stop
else
    skip "proctrack/cgroup: a signal to the step reaches each rank once" "no freezer of cgroup v1"
fi
lab_start 5 --cpus 8
signals_reach_ranks proctrack/linuxproc

# ---- the world
cat >see <<'SH'
#!/bin/sh
mkdir -p "$1"
env | grep -E '^(SLURM_(NTASKS|NPROCS|PROCID|NODEID|LOCALID|NNODES|JOB_NUM_NODES|STEP_NUM_NODES|STEP_NUM_TASKS|NODELIST|JOB_NODELIST|STEP_NODELIST|TASKS_PER_NODE|STEP_TASKS_PER_NODE|GTIDS|NTASKS_PER_NODE)|RANK|WORLD_SIZE|LOCAL_RANK|LOCAL_WORLD_SIZE|NODE_RANK|GROUP_RANK|MASTER_ADDR|SLURMD_NODENAME)=' |
    sort >"$1/$RANK"
SH
chmod +x see
run srun -N2 --ntasks-per-node=6 --ckptless=spares=1 ./see tasks
run srun -N2 --ntasks-per-node=2 --ckptless=spares=1,ranks=3 ./see ranks
is "$(wc -l ranks/* | awk 'END { print $1 }') $(diff -r tasks ranks)" "288 " \
    "2 nodes with 2 tasks of 3 ranks: each rank's variables are those of 2 nodes with 6 tasks"
like "$lines" ': 2 nodes, 12 ranks, 1 spare \(n3\)' "and the first line counts ranks"

run srun -N2 --ckptless=ranks=3 sh -c 'exit $RANK'
is $code 5 "the highest exit code of all ranks is srun's"
run srun -N2 --ntasks-per-node=2 --ckptless=ranks=513 true
is "$code $(grep -c '^ckptless: n[12]: 2 tasks with ranks=513 are more than the 1024 ranks that a node can hold' <<<"$lines")" "93 2" \
    "more ranks than a node can hold: one line a node, and the step ends"
run bash -c 'printf "a\nb\n" | srun -N1 --ckptless=ranks=3 sh -c "sed s/^/\$RANK:/"'
is "$(grep -v ^ckptless <<<"$lines" | tr '\n' ' ')" "0:a 0:b " "standard input is the first rank's, the others see its end"

# ---- losses; six ranks always, so the weights are always the same. Each rank has a daemon that nobody knows.
cat >rank <<'SH'
#!/bin/sh
(setsid sleep 1000 &)
exec "$@"
SH
chmod +x rank

# begin OPTION...: six ranks of charlm, until they train; sets step, out.
begin() {
    wait_for 20 all_idle || bail "the nodes are idle: $(sinfo -h -N -o '%N %T %E')"
    out=$work/out
    rm -f "$out"
    srun "$@" ./rank "$charlm" --batch 2 --steps 250 --step-ms 10 --print-every 10 --data $words >"$out" 2>&1 &
    step=$!
    wait_for 20 said '^step 20 ' || bail "six ranks train: $(cat "$out")"
}

# of_ranks NAME RANK...: the processes NAME of these ranks, in this order; ours by a mark in their environment.
export RANKS_TEST=$CKPTLESS_TEST_TAG
of_ranks() {
    local pid environment rank found=()
    for pid in $(pgrep -x "$1"); do
        mapfile -d '' -t environment 2>/dev/null <"/proc/$pid/environ" || continue
        [[ " ${environment[*]} " == *" RANKS_TEST=$RANKS_TEST "* && " ${environment[*]} " =~ " RANK="([0-9]+)" " ]] || continue
        found[BASH_REMATCH[1]]+="$pid "
    done
    for rank in "${@:2}"; do
        printf '%s\n' ${found[rank]:-}
    done
}

ends_well() {
    ok "$1: the step ends" wait_for 30 bash -c "! kill -0 $step" || scancel "$(squeue -h -o %i)"
    wait $step
    is $? 0 "$1: with 0"
    is "$(grep ^final "$out")" "$wanted" "$1: with the weights of six undisturbed tasks, bit by bit"
    is "$(grep -c '^ckptless: resumed' "$out")" "$2" "$1: after $2 recoveries"
    ok "$1: and nothing is left of it" wait_for 5 has_no_step_leftovers || note "$(step_leftovers)"
}

begin -N3 --ntasks-per-node=2 --ckptless
wait $step
wanted=$(grep ^final "$out")
like "$wanted" "final step 250 .*[0-9a-f]{16}" "six tasks train undisturbed"

begin -N3 --ckptless=spares=1,ranks=2
others=$(of_ranks charlm 0 1 3 4 5)
keepers=$(pids_of 2 ckptless-keep)
daemons=$(of_ranks sleep 0 1 3 4 5)
daemon=$(of_ranks sleep 2)
kill -KILL "$(of_ranks charlm 2)"
ok "one rank of a task is killed, and the step resumes" wait_for 10 resumed 1
is "$(of_ranks charlm 0 1 3 4 5)" "$others" "one rank killed: the other ranks are the same processes, that of its task too"
is "$(pids_of 2 ckptless-keep)" "$keepers" "one rank killed: and so are the keepers"
is "$(of_ranks sleep 0 1 3 4 5)" "$daemons" "one rank killed: and the others' daemons"
is "$(of_ranks sleep 2 | grep -cx "$daemon") $(of_ranks sleep 2 | wc -l)" "0 1" "one rank killed: its own daemon is gone, its successor has one"
is "$(grep '^ckptless: lost' "$out")" "ckptless: lost rank 2 on n2: killed by signal 9 (Killed); rank 2 -> n2" \
    "one rank killed: one line names it"
others=$(of_ranks charlm 0 1 2 3)
# shellcheck disable=SC2046
kill -KILL $(of_ranks charlm 4 5)
ok "both ranks of a task are killed at once, and the step resumes" wait_for 10 resumed 2
is "$(of_ranks charlm 0 1 2 3)" "$others" "both killed: the others are the same processes"
others=$(of_ranks charlm 0 2 3 4 5)
kill -KILL "$(ps -o ppid= -p "$(of_ranks charlm 1)" | tr -d ' ')"
ok "the keeper of one rank is killed, and the step resumes" wait_for 10 resumed 3
is "$(of_ranks charlm 0 2 3 4 5)" "$others" "keeper killed: the others are the same processes, that of its task too"
is "$(of_ranks charlm 1)$(of_ranks sleep 1)" "" "keeper killed: nothing of its rank is left"
is "$(grep '^ckptless: lost' "$out" | tail -n 1)" "ckptless: lost rank 1 on n1: its keeper died; rank 1 -> n4 (task 3)" \
    "keeper killed: the rank goes to the spare"
ends_well "ranks killed" 3

begin -N3 --ckptless=spares=1,ranks=2
others=$(of_ranks charlm 0 1 4 5)
kill -KILL "$(pids_of 2 ckptlessd)"
ok "the helper of n2 is killed, and the step resumes" wait_for 10 resumed 1
like "$(grep '^ckptless: lost' "$out")" '^ckptless: lost n2: [^;]*; ranks 2,3 -> n4 \(task 3\)$' "helper killed: its ranks go to the spare"
ok "and n2 is a spare" wait_for 10 said '^ckptless: spare n2: a new helper has joined$'
kill -KILL "$(pids_of 4 ckptlessd)"
ok "that of n4, which leads, is killed too, and the step resumes" wait_for 10 resumed 2
like "$(grep '^ckptless: lost n4' "$out")" '; ranks 2,3 -> n2 \(task 1\)$' "helper killed: its ranks go back to n2"
is "$(of_ranks charlm 0 1 4 5)" "$others" "helper killed: the others are the same processes"
ends_well "helpers killed" 2

# ---- a program without the library; each rank with a file for what it writes
cat >loop <<'SH'
#!/bin/sh
echo "rank $RANK"
echo "error $RANK" >&2
echo "$RANK $WORLD_SIZE $LOCAL_RANK $(hostname)" >>starts
while [ ! -e end ]; do
    sleep 0.05
done
SH
chmod +x loop
wait_for 20 all_idle
: >starts
mkdir logs
srun -N2 --ckptless=spares=1,ranks=2,rank-output=file,log-dir=logs ./loop >loop.out 2>&1 &
step=$!
wait_for 20 lines_in starts 4
first=$(for i in 1 2; do pids_of $i loop; done)
kill -KILL "$(of_ranks loop 3)"
ok "a rank without the library is killed: all start again" wait_for 10 lines_in starts 8
is "$(tail -n 4 starts | sort)" $'0 4 0 n1\n1 4 1 n1\n2 4 0 n2\n3 4 1 n2' "with the same world"
is "$(for i in 1 2; do pids_of $i loop; done | wc -l) $(for i in 1 2; do pids_of $i loop; done | grep -cxF "$first")" "4 0" \
    "one process a rank, and none of the old ones"
touch end
wait $step
is $? 0 "and it ends with 0"
is "$(cd logs && for file in ckptless-*.out; do echo "${file#ckptless-*.*.}: $(tr '\n' ' ' <"$file")"; done)" \
    "$(printf '%s: rank %d error %d rank %d error %d \n' n1.0.out 0 0 0 0 n1.1.out 1 1 1 1 n2.0.out 2 2 2 2 n2.1.out 3 3 3 3)" \
    "rank-output=file: each rank's output, of both its starts, is in a file of its own"
is "$(grep -cE '^(rank|error)' loop.out)" 0 "and not in srun's"
run srun -N1 --ckptless=ranks=2,rank-output=file,log-dir=/no/such sh -c 'echo rank $RANK'
is "$code $(grep -E '^rank ' <<<"$lines" | sort | tr '\n' ' ')" "0 rank 0 rank 1 " "where no file can be made, srun has the output"
is "$(grep -oE 'rank-output=file: /no/such/ckptless-.*' <<<"$lines" | sort | sed -E 's/ckptless-[0-9]+/ckptless-J/')" \
    "$(printf 'rank-output=file: /no/such/ckptless-J.0.n1.%d.out: No such file or directory; the task'"'"'s output has it\n' 0 1)" \
    "and a line says why"

# ---- a node
begin -N2 --ckptless=spares=1,ranks=3
others=$(of_ranks charlm 0 1 2)
"$top/lab/kill-node" 2
ok "n2 loses its power, and the step resumes" wait_for 10 resumed 1
like "$(grep '^ckptless: lost' "$out")" '^ckptless: lost n2: no heartbeat for [0-9]+ ms; ranks 3,4,5 -> n3 \(task 2\)$' \
    "node lost: its three ranks go to the spare"
is "$(of_ranks charlm 0 1 2)" "$others" "node lost: the others are the same processes"
ends_well "node lost" 1

done_clean
