#!/bin/bash
# What a program without the library finds about its world, at its first start and after losses; and kinds of programs.
. "$(dirname "$0")/lib.sh"
. "$top/tests/system/job.sh"

out=$work/out
names=(SLURM_NTASKS SLURM_NPROCS SLURM_PROCID SLURM_NODEID SLURM_LOCALID SLURM_NNODES SLURM_JOB_NUM_NODES
    SLURM_STEP_NUM_NODES SLURM_STEP_NUM_TASKS SLURM_NODELIST SLURM_JOB_NODELIST SLURM_STEP_NODELIST SLURM_TASKS_PER_NODE
    SLURM_STEP_TASKS_PER_NODE SLURM_GTIDS RANK WORLD_SIZE LOCAL_RANK LOCAL_WORLD_SIZE NODE_RANK GROUP_RANK MASTER_ADDR
    MASTER_PORT)

# Each start of a rank leaves its variables in vars.RANK.START, from 1 on; the program ends when the file end is there.
cat >loop <<SH
#!/bin/bash
start=1
while [ -e vars.\$RANK.\$start ]; do
    start=\$((start + 1))
done
for name in ${names[*]}; do
    echo "\$name=\${!name-unset}"
done >new.\$RANK
mv new.\$RANK vars.\$RANK.\$start
while [ ! -e end ]; do
    sleep 0.05
done
SH
chmod +x loop

# begin SRUN-OPTION... COMMAND: a step that goes on until the file end is there; sets step.
begin() {
    wait_for 20 all_idle
    rm -f end vars.* "$out"
    srun "$@" >"$out" 2>&1 &
    step=$!
}

# started TIMES RANKS
started() {
    [ "$(find . -name "vars.*.$1" | wc -l)" -eq "$2" ]
}

end() {
    touch end
    wait_for 20 bash -c "! kill -0 $step" || scancel "$(squeue -h -o %i)"
    wait $step
}

value() {
    sed -n "s/^$3=//p" "vars.$1.$2"
}

# wanted RANK NODES MASTER PORT: two ranks on each of three nodes.
wanted() {
    local node=$(($1 / 2)) local=$(($1 % 2)) name
    for name in SLURM_NTASKS SLURM_NPROCS; do echo "$name=6"; done
    echo "SLURM_PROCID=$1"
    echo "SLURM_NODEID=$node"
    echo "SLURM_LOCALID=$local"
    for name in SLURM_NNODES SLURM_JOB_NUM_NODES SLURM_STEP_NUM_NODES; do echo "$name=3"; done
    echo "SLURM_STEP_NUM_TASKS=6"
    for name in SLURM_NODELIST SLURM_JOB_NODELIST SLURM_STEP_NODELIST; do echo "$name=$2"; done
    for name in SLURM_TASKS_PER_NODE SLURM_STEP_TASKS_PER_NODE; do echo "$name=2(x3)"; done
    echo "SLURM_GTIDS=$((node * 2)),$((node * 2 + 1))"
    echo "RANK=$1"
    echo "WORLD_SIZE=6"
    echo "LOCAL_RANK=$local"
    echo "LOCAL_WORLD_SIZE=2"
    for name in NODE_RANK GROUP_RANK; do echo "$name=$node"; done
    echo "MASTER_ADDR=$3"
    echo "MASTER_PORT=$4"
}

# all_have START NODES MASTER PORT TITLE
all_have() {
    local rank
    for rank in 0 1 2 3 4 5; do
        diff <(wanted $rank "$2" "$3" "$4") "vars.$rank.$1"
    done >differences
    is "$(cat differences)" "" "$5"
}

lab_start 5

begin -N3 --ntasks-per-node=2 --ckptless=spares=1 ./loop
wait_for 20 started 1 6 || bail "six ranks start"
port=$(value 0 1 MASTER_PORT)
all_have 1 n1,n2,n3 n1 "$port" "each variable of each rank is that of the active nodes, not of the spare"
ok "the port lies between 20000 and 29999" test "$port" -ge 20000 -a "$port" -lt 30000
"$top/lab/kill-node" 2
ok "n2 loses its power: all ranks start again" wait_for 20 started 2 6
port_2=$(value 0 2 MASTER_PORT)
all_have 2 n1,n4,n3 n1 "$port_2" "each variable of each rank names the spare in the place of n2"
is "$(scontrol show hostnames "$(value 3 2 SLURM_NODELIST)" | sed -n "$(($(value 3 2 SLURM_NODEID) + 1))p")" n4 \
    "Slurm reads the list, and a node is at its number in it"
ok "the port is another one: who held the old one may still be dying" test "$port_2" -ne "$port"
end
is $? 0 "it ends with 0"
"$top/lab/revive-node" 2
wait_for 40 all_idle || bail "n2 comes back"

# The user's own.
MASTER_ADDR=n2 MASTER_PORT=4321 begin -N3 --ntasks-per-node=2 --ckptless=spares=2 ./loop
wait_for 20 started 1 6
all_have 1 n1,n2,n3 n2 4321 "MASTER_ADDR and MASTER_PORT that the user has set are kept"
"$top/lab/kill-node" 2
ok "the node of that name loses its power: all start again" wait_for 20 started 2 6
all_have 2 n1,n4,n3 n1 4321 "MASTER_ADDR is that of rank 0, the port is the user's"
kill -KILL "$(pids_of 3 loop | head -n 1)"
ok "then a process is killed: all start again" wait_for 20 started 3 6
all_have 3 n1,n4,n3 n1 4321 "and find the same"
is "$(grep -c MASTER_ADDR "$out") $(grep MASTER_ADDR "$out")" "1 ckptless: warning: MASTER_ADDR=n2 is gone: the programs get n1" \
    "one line says it, once"
end
"$top/lab/revive-node" 2
wait_for 40 all_idle || bail "n2 comes back"

MASTER_ADDR=elsewhere.example MASTER_PORT=4321 begin -N3 --ntasks-per-node=2 --ckptless=spares=1 ./loop
wait_for 20 started 1 6
kill -KILL "$(pids_of 2 loop | head -n 1)"
wait_for 20 started 2 6
all_have 2 n1,n2,n3 elsewhere.example 4321 "a MASTER_ADDR that is none of the step's nodes is the user's business"
is "$(grep -c MASTER_ADDR "$out")" 0 "and no line is about it"
end

# ---- kinds of programs: each leaves a line "RANK HOST" at each start, in starts, and ends when end is there

# restarts TITLE PROCESS COMMAND...: the process PROCESS of rank 1 is killed; all start again, and end with 0.
restarts() {
    local title=$1 process=$2
    shift 2
    rm -f starts
    begin -N2 --ckptless=spares=1 "$@"
    wait_for 20 lines 2 || bail "$title: two ranks start"
    kill -KILL "$(pids_of 2 "$process" | tail -n 1)"
    ok "$title: all ranks start again" wait_for 20 lines 4
    end
    is "$? $(sort starts | tr '\n' ' ')" "0 0 n1 0 n1 1 n2 1 n2 " "$title: in place, and they end with 0"
}

lines() {
    [ "$(cat starts 2>/dev/null | wc -l)" -ge "$1" ]
}

cat >sleeper.py <<'PY'
import os, socket, time
with open("starts", "a") as starts:
    starts.write("%s %s\n" % (os.environ["RANK"], socket.gethostname()))
while not os.path.exists("end"):
    time.sleep(0.05)
PY
cat >sleeper <<'SH'
#!/bin/sh
echo "$RANK $(hostname)" >>starts
while [ ! -e end ]; do
    sleep 0.05
done
SH
chmod +x sleeper
# shellcheck disable=SC2016
restarts "bash -c" bash bash -c 'echo "$RANK $(hostname)" >>starts; while [ ! -e end ]; do sleep 0.05; done'
restarts "a Python program" python3 python3 sleeper.py
restarts "a program that a login shell starts" sleeper bash -lc ./sleeper
restarts "the login shell that waits for a program" bash bash -lc './sleeper; true'

# In a batch script.
wait_for 20 all_idle
rm -f starts end
cat >script <<'SH'
#!/bin/bash
#SBATCH --nodes=2 --ntasks-per-node=1 --ckptless=spares=1
srun ./sleeper
echo "srun has ended with $?"
srun hostname
SH
job=$(sbatch --parsable --output="$out" --chdir="$work" script)
wait_for 20 lines 2 || show_job
kill -KILL "$(pids_of 2 sleeper)"
ok "in a batch script: all ranks of a step start again" wait_for 20 lines 4
touch end
wait_for 20 job_is_gone || show_job
is "$(grep -v '^ckptless' "$out" | sort)" $'n1\nn2\nsrun has ended with 0' "and the script goes on"
is "$(job_fact JobState) $(job_fact Restarts)" "COMPLETED 0" "within the same job: it was not requeued"

done_clean
