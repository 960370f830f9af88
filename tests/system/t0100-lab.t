#!/bin/bash
# The lab itself: a cluster that is up when lab/up returns, nodes that lose and regain their power, nothing left behind.
. "$(dirname "$0")/lib.sh"

names_in_pids() {
    # Each node sees its own processes only: one slurmd.
    "$top/lab/exec" "$1" ps -eo comm= | grep -c '^slurmd$'
}

started=${EPOCHREALTIME/./}
lab_start 3 --slurmd-timeout 5
took_ms=$(((${EPOCHREALTIME/./} - started) / 1000))
ok "three nodes are up in less than 2 s ($took_ms ms)" [ $took_ms -lt 2000 ]
is "$(sinfo -h -N -o '%N %T' | sort)" $'n1 idle\nn2 idle\nn3 idle' "all are idle when lab/up returns"
is "$(srun -N3 hostname | sort | tr '\n' ' ')" "n1 n2 n3 " "a step runs on all nodes, each with its own name"
is "$(srun -N3 -w n1,n2,n3 getent hosts n3 | awk '{ print $1 }' | sort -u | wc -l)" 1 "nodes know each other by name"
is "$(names_in_pids 2)" 1 "a node sees its own processes only"

mkdir -m 777 user
(cd user && runuser -u nobody -- sbatch -W -N2 -o out --wrap 'id -un; srun -N2 hostname' >/dev/null)
is "$(sort <user/out | tr '\n' ' ')" "n1 n2 nobody " "an ordinary user's batch job runs, and its steps"

"$top/lab/exec" 3 touch /dev/shm/mark
srun -N1 -w n3 --no-kill sleep 600 2>/dev/null &
step=$!
wait_for 10 "$top/lab/exec" 3 pgrep -x sleep
ok "a node is switched off" "$top/lab/kill-node" 3
is "$(ip netns pids "$(ip netns list | awk -v n="ckl${lab_number:-}" '$1 ~ n".*n3$" { print $1; exit }')" | wc -l)" 0 \
    "none of its processes is left"
ok "slurmctld finds it down" wait_for 30 node_state_is n3 'down*'
is "$(srun -N2 -w n1,n2 hostname | sort | tr '\n' ' ')" "n1 n2 " "the others go on"
ok "it is switched on again" "$top/lab/revive-node" 3
ok "and idle again" wait_for 30 node_state_is n3 idle
is "$(srun -w n3 hostname)" n3 "and runs a step"
ok "its /dev/shm was lost with the power" "$top/lab/exec" 3 test ! -e /dev/shm/mark
kill -KILL $step 2>/dev/null
wait $step 2>/dev/null

ok "a cable is pulled" "$top/lab/cut" 2
ok "nothing gets through" bash -c "! '$top/lab/exec' 1 bash -c 'timeout 0.3 bash -c \"</dev/tcp/n2/6818\"' 2>/dev/null"
ok "and plugged in again" "$top/lab/heal" 2
ok "traffic flows" wait_for 10 "$top/lab/exec" 1 bash -c '</dev/tcp/n2/6818'

first=$CKPTLESS_LAB
lab_start 2 --conf killwait=9 --conf 'PartitionName=main Nodes=n1 Default=YES' --conf 'PartitionName=both Nodes=ALL' \
    --conf GresTypes=gpu --conf 'NodeName=ALL Gres=gpu:2' --conf 'NodeName=n2 Weight=7' \
    --conf 'gres.conf:Name=gpu File=/dev/zero,/dev/full'
is "$(scontrol show config | sed -n 's/^KillWait *= //p')" "9 sec" "lab/up --conf replaces a line of slurm.conf"
is "$(sinfo -h -o '%P %N' | sort | tr '\n' ' ')" "both n[1-2] main* n1 " "and a partition's, and adds partitions"
is "$(sinfo -h -p both -N -o '%N %G %w' | tr '\n' ' ')" "n1 gpu:2 1 n2 gpu:2 7 " "and what nodes have, each or one"
is "$(srun -p both -w n2 --gres=gpu:1 printenv CUDA_VISIBLE_DEVICES)" 0 "and lines of other files"
is "$("$top/lab/up" 1 --name "$CKPTLESS_TEST_TAG-no" --conf KillWait 2>&1)" \
    "lab: --conf 'KillWait' is neither KEY=VALUE nor FILE.conf:LINE" "what is no line is refused"
is "$(srun -p both -N2 hostname | sort | tr '\n' ' ')" "n1 n2 " "a second lab runs beside the first"
ok "the second goes" lab_stop
lab_use_name "$first"
is "$(srun -N3 hostname | sort | tr '\n' ' ')" "n1 n2 n3 " "without harm to the first"
ok "the first goes" lab_stop
ok "going twice is no error" lab_stop
no_leftovers "nothing is left behind"
done_testing
