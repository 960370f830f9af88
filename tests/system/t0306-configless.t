#!/bin/bash
# Nodes without a file of Slurm's: slurmd gets them from slurmctld, plugstack.conf too, and with it the plugin.
. "$(dirname "$0")/lib.sh"
. "$top/tests/system/job.sh"

lab_start 4 --configless
cached=$lab_dir/spool/n2/conf-cache/plugstack.conf
is "$("$top/lab/exec" 2 cat "$cached")" "$(cat "$lab_dir/plugstack.conf")" "slurmd of n2 has the plugin's line from slurmctld"
: >empty
chmod 644 empty
for node in 1 2 3 4; do
    "$top/lab/exec" $node mount --bind "$work/empty" "$lab_dir/plugstack.conf"
done
say='echo rank $RANK of $WORLD_SIZE on $(hostname)'
three=$(printf 'rank %d of 3 on n%d\n' 0 1 1 2 2 3)
run srun -N3 --ckptless=spares=1 bash -c "$say"
is "$code $(grep ^rank run.out | sort)" "0 $three" "a step by srun on a host that has the file: three ranks and a spare" || note "$lines"
wait_for 20 all_idle
job=$(sbatch --parsable -o batch.out -N3 --ckptless=spares=1 --wrap "unset SLURM_CONF
echo \$SLURM_NNODES \$SLURM_JOB_NODELIST
srun bash -c '$say'")
wait_for 20 job_is_gone || scancel "$job"
is "$(grep ^rank batch.out | sort)" "$three" "a batch job, whose srun has the file from slurmd" || note "$(cat batch.out)"
is "$(head -n 1 batch.out)" "3 n[1-3]" "and whose script reads the active nodes"
like "$(cat batch.out)" 'ckptless: step [0-9]+\.0: 3 nodes, 3 ranks, 1 spare \(n4\)' "with a spare"

"$top/lab/exec" 2 mount --bind "$work/empty" "$cached"
run srun -N3 -w n1,n2,n3 --ckptless=launch-timeout=1s bash -c "$say"
is "$code $(grep -c ^rank run.out)" "93 0" "without the line on n2 the step ends with 93, and begins nowhere" || note "$lines"
like "$ours" '^ckptless: 1 of 3 nodes \(n2\) has not reported' "and n2 is named"
"$top/lab/exec" 2 umount "$cached"
for node in 1 2 3 4; do
    "$top/lab/exec" $node umount "$lab_dir/plugstack.conf"
done
done_clean
