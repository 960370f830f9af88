#!/bin/bash
# What a slot gives to its program it gives again to the one that is started after it: CPUs, memory policy, limits, umask,
# directory, nice, devices, what the prologs export. On a spare they are the spare's.
. "$(dirname "$0")/lib.sh"
. "$top/tests/system/job.sh"

for i in 0 1 2 3; do
    mknod gpu$i c 1 3
done
cat >prolog <<'SH'
#!/bin/sh
echo "export FROM_PROLOG=yes"
echo "print prolog of task $SLURM_PROCID"
SH
cat >task-prolog <<SH
#!/bin/sh
echo "export FROM_TASK_PROLOG=yes"
echo "\$(hostname)" >>$work/task-prologs
SH
cat >epilog <<SH
#!/bin/sh
echo "\$(hostname)" >>$work/epilogs
SH
# What it says of itself goes to NAME.RANK.HOST.N, N being how often the rank has been started there.
cat >slot <<'SH'
#!/bin/bash
n=1
while ! mkdir "$1.$RANK.$(hostname).$n.dir" 2>/dev/null; do n=$((n + 1)); done
{
    echo "cpus $(sed -n 's/^Cpus_allowed_list:\s*//p' /proc/self/status) mems $(sed -n 's/^Mems_allowed_list:\s*//p' /proc/self/status)"
    echo "policy $(awk '/\[stack\]|stack/ { print $2; exit }' /proc/$$/numa_maps)"
    echo "limits $(ulimit -n) $(ulimit -u) $(ulimit -s) $(ulimit -c) $(ulimit -l)"
    echo "umask $(umask) directory $PWD nice $(awk '{ print $19 }' /proc/$$/stat)"
    echo "devices $CUDA_VISIBLE_DEVICES $SLURM_STEP_GPUS $GPU_DEVICE_ORDINAL $ROCR_VISIBLE_DEVICES"
    echo "prologs $FROM_PROLOG $FROM_TASK_PROLOG TMPDIR $TMPDIR"
    echo "user $(id -u) $(id -g) groups $(id -G) blocked $(sed -n 's/^SigBlk:\s*//p' /proc/self/status) ignored $(sed -n 's/^SigIgn:\s*//p' /proc/self/status)"
} >"$1.new.$RANK.$$"
mv "$1.new.$RANK.$$" "$1.$RANK.$(hostname).$n"
while [ ! -e end ]; do sleep 0.05; done
SH
chmod +x prolog task-prolog epilog slot
chmod 777 .
lab_start 4 --conf TaskPlugin=task/affinity --conf GresTypes=gpu --conf 'NodeName=ALL Gres=gpu:4' \
    --conf "gres.conf:Name=gpu File=$work/gpu[0-3]" --conf TaskProlog="$work/prolog" --conf TaskEpilog="$work/epilog" --conf PropagatePrioProcess=1

program_name=slot
# GPUs 0 and 1 of n2 are taken by somebody else.
srun -w n2 --gres=gpu:2 -n1 sleep 300 >other.out 2>&1 &
other=$!
other_runs() {
    [ "$(squeue -h -o %T)" = RUNNING ]
}
ok "another job has two GPUs of n2" wait_for 20 other_runs

umask 027
ulimit -n 777
ulimit -s 4096
out=$work/slot.out
: >task-prologs
: >epilogs
TMPDIR=$work nice -n 3 srun -N3 -n3 -c1 --gres=gpu:2 --cpu-bind=cores --mem-bind=local --task-prolog="$work/task-prolog" \
    --ckptless=spares=1 ./slot first >"$out" 2>&1 &
step=$!
umask 022
ok "three ranks run" wait_for 20 test -e first.0.n1.1 -a -e first.1.n2.1 -a -e first.2.n3.1
like "$(cat first.1.n2.1)" "limits 777 .*umask 0027 directory $work nice $(($(nice) + 3)).*devices 2,3 .*prologs yes yes" \
    "rank 1 has the limits, the umask and the nice of srun, GPUs 2 and 3, and the prologs' variables"
like "$(cat first.1.n2.1)" "^cpus [0-9]+ mems" "and one CPU"
like "$(cat first.1.n2.1)" "policy (bind|prefer|local)" "and a memory policy"
kill -KILL "$(pids_of 2 slot | head -n 1)"
ok "it is killed, and starts again in place" wait_for 20 test -e first.1.n2.2
is "$(cat first.1.n2.2)" "$(cat first.1.n2.1)" "with all of that again"
wait_for 20 test -e first.0.n1.2 -a -e first.2.n3.2
is "$(cat first.0.n1.2 first.2.n3.2)" "$(cat first.0.n1.1 first.2.n3.1)" "and so do those that start again with it"
is "$(sort task-prologs | tr '\n' ' ')" "n1 n1 n2 n2 n3 n3 " "--task-prolog has run again at each start"
is "$(grep -c '^prolog of task' "$out")" 6 "and TaskProlog too"

# The helper's CPUs are not those of one rank.
helper=$(pids_of 2 ckptlessd)
is "$(sed -n 's/^Cpus_allowed_list:\s*//p' "/proc/$helper/status")" "$(sed -n 's/^Cpus_allowed_list:\s*//p' /proc/self/status)" \
    "the helper may run on every CPU, whatever the rank beside it is bound to"
ok "the helper's score for want of memory is below the rank's" \
    [ "$(cat "/proc/$helper/oom_score_adj")" -lt "$(cat "/proc/$(pids_of 2 slot | head -n 1)/oom_score_adj")" ]

"$top/lab/kill-node" 2
ok "n2 loses its power, and rank 1 starts on the spare" wait_for 20 test -e first.1.n4.1
is "$(sed -E '/^(cpus|devices)/d' first.1.n4.1)" "$(sed -E '/^(cpus|devices)/d' first.1.n2.1)" \
    "with the same limits, umask, directory and nice"
like "$(cat first.1.n4.1)" "^cpus [0-9]+ mems" "and one CPU of the spare's"
like "$(cat first.1.n4.1)" "devices 0,1 " "but with the spare's GPUs, 0 and 1"
touch end
wait_for 20 bash -c "! kill -0 $step" || scancel "$(squeue -h -o %i)"
wait $step
is $? 0 "the step ends with 0"
is "$(sort epilogs | tr '\n' ' ')" "n1 n3 n4 " "TaskEpilog has run once a task, where the node is up"
scancel "$(squeue -h -o %i)" 2>/dev/null
wait $other
ok "n2 is back" all_back

done_clean
