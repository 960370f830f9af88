#!/bin/bash
# The option: every key is taken with the value that it has by default, which option counts when there are several, and
# what is refused before anything is queued, by sbatch, salloc and srun alike.
. "$(dirname "$0")/lib.sh"
. "$top/tests/system/job.sh"

lab_start 5

# The line of the step, without its number.
step_line() {
    sed -n 's/^ckptless: step [0-9]*\.[0-9]*: //p' run.out
}

# ---- values
all=respawn=3,restarts=10,heartbeat=100ms,dead-after=500ms,grace=10s,launch-timeout=1m,park=auto,standby=off,hang=off
all+=,redundancy=replica,verify-every=0,health-check=off,metrics=off,on-exhausted=fail,batch-lost=fail
run srun -N2 --ckptless="spares=0,reserve=0,$all,log-dir=$work,interface=eth0" true
is "$code $(step_line)" "0 2 nodes, 2 ranks, 0 spares" "every key with its default: the step runs"
# refused VALUE LINE: by each command, and the program does not begin.
refused() {
    local command wrong=
    for command in srun salloc sbatch; do
        if [ $command = sbatch ]; then
            run sbatch -N2 --ckptless="$1" --wrap "echo ran"
        else
            run $command -N2 --ckptless="$1" echo ran
        fi
        [ $code -ne 0 ] && [ "$ours" = "ckptless: $2" ] && ! grep -qE '^ran|Submitted|Granted' run.out ||
            wrong+="$command: code $code: $lines"$'\n'
    done
    is "$wrong" "" "--ckptless=$1: refused, with the line: $2"
}
for other in standby=fork hang=auto hang=30s redundancy=mirror redundancy=rs:4+2 verify-every=9 health-check=/bin/true \
    metrics=on on-exhausted=wait on-exhausted=shrink; do
    key=${other%%=*}
    default=$(grep -oE "\b$key=[a-z0-9]+" <<<"$all")
    refused $other "$other: not in this version yet, which has $default only"
done
refused reserve=1,reserve=1 "reserve: given twice"
refused spares=1,park=warm,spares=1 "spares: given twice"
refused spares=8000,reserve=192 "spares=8000 and reserve=192: together at most 8191"
refused reserve=-1 "reserve=-1: must be a number of nodes from 0 to 8191"

# ---- which one counts
run srun -N2 --ckptless=spares=2,park=cold --ckptless=spares=1 true
is "$code $(step_line)" "0 2 nodes, 2 ranks, 1 spare (n3)" "given twice on the command line: the last counts"
run srun -N2 --ckptless=spares=1 --ckptless=off true
is "$code $ours$(step_line)" "0 " "the last one is off: an ordinary step"
cat >by-line.sh <<'SH'
#!/bin/bash
#SBATCH --nodes=2
#SBATCH --ckptless=spares=1
scontrol show job "$SLURM_JOB_ID" | grep -oE 'NumNodes=[0-9]+'
srun true
srun --ckptless=off true
srun --ckptless=restarts=5 true
SH
# by_line OPTION...: what the batch script prints.
by_line() {
    wait_for 20 all_idle
    timeout 30 sbatch -W -o by-line.out "$@" by-line.sh >/dev/null
    # srun says so when a step comes before Slurm has cleared the last one away.
    sed '/^srun: \(Job\|Step\) /d; s/^ckptless: step [0-9]*\.//' by-line.out
}
is "$(by_line)" $'NumNodes=3\n0: 2 nodes, 2 ranks, 1 spare (n3)\n2: 2 nodes, 2 ranks, 0 spares' \
    "a step inherits the job's option, is without it by off, or has its own, and nothing of the job's"
is "$(by_line --ckptless=spares=2)" $'NumNodes=4\n0: 2 nodes, 2 ranks, 2 spares (n3,n4)\n2: 2 nodes, 2 ranks, 0 spares' \
    "the command line counts, not the line in the script"
is "$(by_line --ckptless=off)" $'NumNodes=2\n2: 2 nodes, 2 ranks, 0 spares' "also when it says off"

# ---- what does not fit is refused before anything is queued
# no_fit LINE [SRUN-OPTION...] -- ARGUMENTS: by each command.
no_fit() {
    local line=$1 command wrong=
    shift
    for command in srun salloc sbatch; do
        if [ $command = sbatch ]; then
            run sbatch "$@" --wrap "echo ran"
        else
            run $command "$@" echo ran
        fi
        [ $code -ne 0 ] && [ "$ours" = "ckptless: $line" ] && ! grep -qE '^ran|Submitted|Granted|queued' run.out ||
            wrong+="$command: code $code: $lines"$'\n'
    done
    is "$wrong" "" "$*: refused, with the line: $line"
}
range="spares need one number of nodes, not a range: give -N as one number"
no_fit "$range" -N2-4 --ckptless=spares=1
no_fit "$range" -N2-4 --ckptless=reserve=1
no_fit "3 tasks cannot be spread evenly over 2 nodes, as spares need" -N2 -n3 --ckptless=spares=1
no_fit "4 tasks cannot be spread evenly over 3 nodes, as spares need" -N3 -n4 --ckptless=reserve=1
no_fit "spares need the number of active nodes: give -N" -n2 --ckptless=reserve=1
no_fit "reserve=3 of 3 nodes leaves none for the program" -N3 --ckptless=reserve=3
no_fit "reserve=4 of 3 nodes leaves none for the program" -N3 --ckptless=spares=2,reserve=4
# spare_line LINE COMMAND...: refused, and nothing begins or waits in the queue.
spare_line() {
    local line=$1
    shift
    run "$@"
    ok "$*: refused" [ $code -ne 0 ]
    is "$ours" "ckptless: $line" "with one line" || note "$lines"
    is "$(grep -cE '^ran|^[01] ran|Submitted|queued' run.out)" 0 "and nothing begins or is queued"
}
echo '* echo ran' >programs
for kind in spares reserve; do
    spare_line "spares cannot be had with --multi-prog" srun -N3 -n3 --multi-prog --ckptless=$kind=1 programs
    het="spares cannot be had in a heterogeneous job"
    spare_line "$het" srun -N2 --ckptless=$kind=1 echo ran : -N1 echo ran
    spare_line "$het" srun -N1 echo ran : -N2 --ckptless=$kind=1 echo ran
    spare_line "$het" salloc -N2 --ckptless=$kind=1 : -N1 echo ran
    spare_line "$het" salloc -N1 : -N2 --ckptless=$kind=1 echo ran
    printf '#!/bin/bash\n#SBATCH -N2 --ckptless=%s=1\n#SBATCH hetjob\n#SBATCH -N1\necho ran\n' $kind >first.sh
    printf '#!/bin/bash\n#SBATCH -N1\n#SBATCH hetjob\n#SBATCH -N2 --ckptless=%s=1\necho ran\n' $kind >second.sh
    spare_line "$het" sbatch first.sh
    spare_line "$het" sbatch second.sh
done
spare_line "one step over several components of a job cannot be had: give --ckptless=off, or one srun for each component" \
    srun -N1 --ckptless echo ran : -N1 echo ran
is "$(squeue -h)" "" "nothing is in the queue"
run srun -N2 -n2 --multi-prog --ckptless programs
is "$code $(grep -c ^ran run.out)" "0 2" "--multi-prog without spares runs"
done_clean
