# What Slurm and its users send to a job; sourced after job.sh by the tests that ask it under each proctrack, in a lab of
# three nodes: two active ones and a spare. tests/programs/signals says what reached it.

signals=$CKPTLESS_BUILD/tests/programs/signals
[ -x "$signals" ] || bail "tests/programs is built (make system-programs)"
program_name=signals

all_up() {
    local file
    for file in "$@"; do
        [ -s "$file" ] || return 1
    done
}

# running NAME [SBATCH-OPTION...] -- PROGRAM...: a job of two ranks and a spare, whose step is PROGRAM; its files are NAME.0,
# NAME.1 and NAME.spare, and the spare is warm.
running() {
    local name=$1 options=()
    shift
    while [ "$1" != -- ]; do
        options+=("$1")
        shift
    done
    shift
    wait_for 20 all_idle
    out=$work/$name.out
    job=$(sbatch --parsable -N2 --ntasks-per-node=1 --ckptless=spares=1 -o "$out" "${options[@]}" \
        --wrap "srun $*; echo srun ended with \$?") || bail "sbatch takes the job"
    timeline=$work/ckptless-$job.0.jsonl
    wait_for 20 all_up "$name.0" "$name.1" && wait_for 20 said 'spare is warm' || {
        show_job
        bail "$name: the program runs on all nodes"
    }
}

# got FILE: the signals that reached this process, in a line; without CONT, which comes with those that end something.
got() {
    sed -n '2,$p' "$1" | grep -v CONT | tr '\n' ' ' | sed 's/ $//'
}

has_got() {
    [ "$(got "$1")" = "$2" ]
}

# No loss was told, no epoch begun, nothing came back.
nothing_lost() {
    is "$(jq -r .event "$timeline" | grep -vE '^(start|spare|end)$')$(grep -E '^ckptless: (lost|resumed|warning)' "$out")" "" \
        "$1: nothing counts as a loss, no recovery begins"
}

# Program, keepers and helpers on all nodes. How long Slurm then takes for its own part is not ours.
step_is_gone() {
    local i
    for i in 1 2 3; do
        [ -z "$(pids_of $i)$(pids_of $i ckptless-keep)$(pids_of $i ckptlessd)" ] || return 1
    done
}

# since EPOCHREALTIME: ms.
since() {
    echo $(((${EPOCHREALTIME/./} - ${1/./}) / 1000))
}

# within MS EPOCHREALTIME TITLE
within() {
    local ms
    ms=$(since "$2")
    ok "$3 within $1 ms" test "$ms" -le "$1" || note "it took $ms ms"
}

signals_reach_ranks() {
    local began
    running usr -- "$signals" --library --ends TERM usr
    scancel -s USR1 "$job.0"
    ok "scancel --signal to the step: both ranks get it" wait_for 2 eval 'has_got usr.0 USR1 && has_got usr.1 USR1'
    scancel -s USR2 "$job"
    ok "scancel --signal to the job: each rank gets it, and has had the one before once" \
        wait_for 2 eval 'has_got usr.0 "USR1 USR2" && has_got usr.1 "USR1 USR2"'
    began=$EPOCHREALTIME
    scancel "$job"
    wait_for 5 step_is_gone
    within 2000 "$began" "scancel of the job, programs that end at SIGTERM with ckptless_finish: all processes of the step are gone"
    ok "the job ends" wait_for 5 job_is_gone
    is "$(got usr.0)/$(got usr.1)" "USR1 USR2 TERM/USR1 USR2 TERM" "SIGTERM reaches each rank once"
    is "$(got usr.spare)" "" "the parked spare has got none of them, and has outlived them"
    is "$(job_fact JobState)" CANCELLED "the job is cancelled"
    is "$(grep -c 'signals: ' "$out")" 0 "ckptless_finish has answered OK"
    is "$(grep -c 'ckptless-launch has ended' "$out")" 0 "ckptless-launch goes with srun, not before it"
    nothing_lost "signals and scancel"
}

# A spare that takes a rank gets from then on what is sent, and nothing of what was sent before.
signals_reach_a_taken_spare() {
    running taken -- "$signals" --library --ends TERM taken
    scancel -s USR1 "$job.0"
    wait_for 2 eval 'has_got taken.0 USR1 && has_got taken.1 USR1'
    mv taken.1 taken.1.before
    "$top/lab/exec" 2 pkill -KILL -x ckptlessd
    ok "a spare takes a rank" wait_for 10 eval 'said "^ckptless: resumed" && all_up taken.1'
    scancel -s USR2 "$job.0"
    ok "it gets what is sent to the ranks from then on, and not what was sent before" \
        wait_for 2 eval 'has_got taken.0 "USR1 USR2" && has_got taken.1 USR2'
    scancel "$job"
    wait_for 5 job_is_gone
    is "$(got taken.spare)$(grep -c '"loss"' "$timeline")" 1 "and the only loss told is that of the helper's node"
}

scancel_of_the_step() {
    local began
    running step -- "$signals" --library step
    began=$EPOCHREALTIME
    scancel "$job.0"
    ok "scancel of the step ends it" wait_for 5 job_is_gone
    within 2000 "$began" "the step is gone, and srun"
    is "$(grep '^srun ended' "$out")" "srun ended with 137" "with the code that it has without the option"
    nothing_lost "scancel of the step"
}

signal_to_the_batch_script() {
    wait_for 20 all_idle
    out=$work/batch.out
    cat >batch.sh <<SH
#!/bin/bash
trap 'echo script got USR1' USR1
srun $signals --library --ends TERM batch &
while ! wait; do :; done
SH
    job=$(sbatch --parsable -N2 --ntasks-per-node=1 --ckptless=spares=1 -o "$out" "$@" batch.sh)
    timeline=$work/ckptless-$job.0.jsonl
    wait_for 20 all_up batch.0 batch.1 && wait_for 20 said 'spare is warm'
}

batch_signal() {
    signal_to_the_batch_script
    scancel -b -s USR1 "$job"
    ok "scancel --batch --signal reaches the script" wait_for 2 said 'script got USR1'
    scancel -s USR2 "$job.0"
    wait_for 2 eval 'has_got batch.0 USR2 && has_got batch.1 USR2'
    is "$(got batch.0)/$(got batch.1)/$(got batch.spare)" "USR2/USR2/" "and no rank"
    scancel "$job"
    wait_for 5 job_is_gone
    nothing_lost "a signal to the script"
}

# A signal that the programs do not catch ends them, as it would without the option.
uncaught_signal() {
    local option codes=() step began
    for option in '' --ckptless=spares=1; do
        wait_for 20 all_idle
        rm -f going.*
        # shellcheck disable=SC2086
        srun -N2 $option sh -c 'touch going.$SLURM_PROCID; exec sleep 60' >uncaught.out 2>&1 &
        step=$!
        wait_for 10 all_exist going.0 going.1
        began=$EPOCHREALTIME
        scancel -s USR1 "$(squeue -h -o %i).0"
        wait_for 10 process_ended $step || scancel "$(squeue -h -o %i)"
        wait $step
        codes+=($?)
    done
    within 2000 "$began" "a signal that no rank catches ends the step"
    is "${codes[1]} $(grep -c 'lost' uncaught.out)" "${codes[0]} 0" "with the code that it has without the option, and no loss"
    wait_for 20 all_idle
    srun -N2 --ckptless=spares=1 "$CKPTLESS_BUILD/tests/programs/steps" --steps 100000 --print-every 20 >uncaught.out 2>&1 &
    step=$!
    ok "the same after commits" wait_for 20 grep -q '^step 20$' uncaught.out
    scancel -s USR1 "$(squeue -h -o %i).0"
    wait_for 10 process_ended $step || scancel "$(squeue -h -o %i)"
    wait $step
    is "$? $(grep -c 'lost' uncaught.out)" "${codes[0]} 0" "the same code, and no loss"
}

all_exist() {
    local file
    for file in "$@"; do
        [ -e "$file" ] || return 1
    done
}

process_ended() {
    ! kill -0 "$1" 2>/dev/null
}

# Ctrl-C in a terminal: script(1) makes one, what is written into the pipe is typed. $1: the option; leaves code and took_ms.
typed_ctrl_c() {
    local name=$1 option=$2 step began
    wait_for 20 all_idle
    rm -f "$name".* "$name-keys"
    mkfifo "$name-keys"
    script -qefc "srun -N2 $option $signals --library --ends INT --code 7 $name" "$name.out" <"$name-keys" >/dev/null 2>&1 &
    step=$!
    exec 8>"$name-keys"
    wait_for 20 all_up "$name.0" "$name.1"
    [ -z "$option" ] || wait_for 20 grep -q 'spare is warm' "$name.out"
    printf '\003' >&8
    ok "Ctrl-C once ($name): srun tells of its tasks" wait_for 5 grep -q 'one more within 1 sec' "$name.out"
    is "$(got "$name.0")$(got "$name.1")" "" "and no rank gets it"
    began=$EPOCHREALTIME
    printf '\003' >&8
    wait_for 10 process_ended $step || scancel "$(squeue -h -o %i)"
    took_ms=$(since "$began")
    exec 8>&-
    wait $step
    code=$?
}

ctrl_c() {
    local plain
    typed_ctrl_c plain-c ''
    plain=$code
    typed_ctrl_c c --ckptless=spares=1
    # At the second one srun sends SIGINT and, without waiting, SIGKILL: a task that takes some milliseconds to end gets both.
    like "$code" "^($plain|137)$" "Ctrl-C twice: srun ends with the code of the program, or that of the SIGKILL which it sends next"
    ok "within 2000 ms" test "$took_ms" -le 2000 || note "it took $took_ms ms"
    is "$(got c.0)/$(got c.1)/$(got c.spare)" "INT/INT/" "each rank gets SIGINT once, the spare none"
    is "$(grep -cE 'lost|resumed' c.out)" 0 "and nothing counts as a loss"
}

# What the user wants to follow from a task's end.
kill_on_bad_exit_and_wait() {
    local one='[ $SLURM_PROCID -eq 1 ] || exec sleep 60; exit'
    run srun -N2 -K --ckptless=spares=1 sh -c "$one 3"
    is "$code" 3 "--kill-on-bad-exit: one rank's code is the step's"
    ok "and ends it within 2000 ms" test "$took_ms" -le 2000 || note "it took $took_ms ms"
    run srun -N2 --wait=1 --ckptless=spares=1 sh -c "$one 0"
    is "$code" 137 "--wait=1: the ranks that do not end are killed, and that is the code"
    ok "a second after the first rank's end, and 2000 ms" test "$took_ms" -le 3000 || note "it took $took_ms ms"
    is "$(grep -c 'within --wait' run.out)" 1 "and one line says so"
}
