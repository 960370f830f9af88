#!/bin/bash
# Many steps of `true`, several at once, each second one cancelled at a random moment: nothing is left, and slurmctld is as
# well as after the same without the option. slurmd 22.05 itself crashes once in about a thousand such steps, also without
# the plugin: its threads share a context of libmunge. It is started again then, and the steps of that moment do not count.
# CKPTLESS_TEST_STEPS: how many (24). CKPTLESS_TEST_SEED: repeats the choices.
. "$(dirname "$0")/lib.sh"
. "$top/tests/system/job.sh"

steps=${CKPTLESS_TEST_STEPS:-24}
seed=${CKPTLESS_TEST_SEED:-$RANDOM}
RANDOM=$seed
at_once=4
note "$steps steps, CKPTLESS_TEST_SEED=$seed"
lab_start 4 --cpus 8

# What slurmctld complains of, each kind once, without its numbers, names and times.
complaints() {
    grep -E ' (error|fatal):' "$lab_dir/log/slurmctld.log" | sed -E 's/^\[[^]]*\] //; s/n\[?[0-9,-]+\]?/N/g; s/[0-9]+/9/g' | sort -u
}

step_of() {
    squeue -s -h -j "$job" -o '%i %j' | awk -v name="$1" '$2 == name { print $1 }'
}

# The moment is random, so there is nothing to wait for: from before the step exists to after its end. srun that has no step
# yet is ended itself.
cancel() {
    local name=$1 pid=$2 us=$3 step
    sleep "$(printf '0.%06d' "$us")"
    step=$(step_of "$name")
    if [ -n "$step" ]; then
        scancel "$step" 2>/dev/null
    elif grep -qzx -- "$name" "/proc/$pid/cmdline" 2>/dev/null; then # the pid may be another's by now: a slurmd's
        kill -TERM "$pid" 2>/dev/null
    fi
}

no_steps() {
    [ -z "$(squeue -s -h -j "$job" -o %i | grep -vE 'batch|extern')" ]
}

# Starts every slurmd again that has crashed; false: none had.
mend_slurmds() {
    local i any=1
    for i in 1 2 3 4; do
        [ -z "$(pids_of $i slurmd)" ] || continue
        echo "slurmd of n$i" >>crashes
        "$top/lab/exec" $i slurmd -N n$i -f "$SLURM_CONF"
        any=0
    done
    [ $any -ne 0 ] || wait_for 60 no_steps
    return $any
}

# many STEPS PREFIX SRUN-OPTION...: so many steps; prints what went wrong.
many() {
    local steps=$1 prefix=$2 i k name pid sruns cancels wrong
    shift 2
    for ((i = 0; i < steps; i += at_once)); do
        sruns=() cancels=() wrong=''
        for ((k = i; k < i + at_once && k < steps; k++)); do
            name=$prefix$k
            timeout -k 5 60 srun --jobid="$job" --overlap --mem=0 -N2 -n2 -J "$name" "$@" true >"$name.out" 2>&1 &
            pid=$!
            sruns+=($pid)
            [ $((k % 2)) -eq 0 ] || { cancel "$name" $pid $((RANDOM * 20)) & cancels+=($!); }
        done
        for ((k = 0; k < ${#sruns[@]}; k++)); do
            wait "${sruns[k]}"
            code=$?
            name=$prefix$((i + k))
            [ $code -ne 124 ] && [ $code -ne 137 -o $((k % 2)) -eq 1 ] || wrong+=$name$': srun hung\n'
            [ $((k % 2)) -eq 1 ] || [ $code -eq 0 ] || wrong+="$name: code $code: $(head -c 400 "$name.out")"$'\n'
            wrong+=$(grep -HE 'ckptless: (lost|resumed|warning)|helper|leader' "$name.out")
            rm -f "$name.out" ckptless-"$job".*.jsonl
        done
        wait "${cancels[@]}"
        mend_slurmds || printf '%s' "$wrong"
    done
}

job=$(sbatch --parsable -N4 --ntasks-per-node=8 --no-kill -o /dev/null --wrap 'sleep 100000')
wait_for 20 eval '[ "$(job_fact JobState)" = RUNNING ]' || bail "the job that has the steps begins"
many $((steps < 100 ? steps : 100)) plain >plain.wrong
before=$(complaints)
is "$(many "$steps" step --ckptless=spares=1)" "" "$steps steps, half of them cancelled: none hangs, the others end with 0, and nothing is called lost"
ok "no step is left" wait_for 30 no_steps
ok "slurmd has crashed no more often than without the plugin" [ "$(cat crashes 2>/dev/null | wc -l)" -le $((1 + steps / 300)) ]
is "$(comm -13 <(echo "$before") <(complaints))" "" "slurmctld complains of nothing that it does not complain of without the option"
out=$work/none timeline=$work/none
[ "$tap_failures" -eq 0 ] || show_job
scancel "$job"
ok "slurmctld answers, and the nodes are free" wait_for 30 all_idle
done_clean
