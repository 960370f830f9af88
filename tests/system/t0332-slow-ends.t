#!/bin/bash
# Processes that take long to die: one that writes a large core, and one with much memory. The loss is told at once all the
# same, and the successor waits for what it has to wait for.
. "$(dirname "$0")/lib.sh"
. "$top/tests/system/job.sh"

steps_program=$CKPTLESS_BUILD/tests/programs/steps
[ -x "$steps_program" ] || bail "tests/programs is built (make system-programs)"
program_name=steps
lab_start 4
wanted=$(srun -N3 "$steps_program" --steps 200 2>/dev/null | sort -u)

# slow BYTES OPTION...: a step of three ranks and a spare, whose rank 1 has so much memory.
slow() {
    local bytes=$1
    shift
    wait_for 20 all_idle
    out=$work/slow.out
    rm -f "$out" ckptless-*.jsonl
    timeout 60 srun -N3 --ckptless=spares=1 "$@" "$steps_program" --steps 200 --step-ms 10 --print-every 10 --listen 4711 \
        --odd-rank 1 --odd-memory "$bytes" >"$out" 2>&1 &
    step=$!
    wait_for 30 said '^step 20$' || bail "training reaches step 20"
    timeline=$(ls ckptless-*.jsonl)
    victim=$(pids_of 2)
}
is_dumping() {
    grep -q '^CoreDumping:.*1$' "/proc/$victim/status"
}
has_ended() {
    wait_for 30 bash -c "! kill -0 $step" || scancel "$(squeue -h -o %i)"
    wait $step
    is "$? $(grep ^final "$out")" "0 $wanted" "$1: the step ends with 0 and the right state" || note "$(tail -n 20 "$out")"
    is "$(grep -c '^ckptless: resumed' "$out") $(grep -c 'listen' "$out")" "1 0" \
        "$1: one recovery, and the successor does not meet its predecessor"
}
detect_ms() {
    events resume '.ms.detect | floor'
}

# ---- a core of 2 GiB
ulimit -c unlimited
core_pattern=$(cat /proc/sys/kernel/core_pattern)
if [[ $core_pattern == core* ]]; then
    slow 2147483648 --propagate=CORE --ckptless=spares=1,grace=40s
    kill -SEGV "$victim"
    ok "a rank of 2 GiB crashes: the loss is told" wait_for 10 said '^ckptless: lost'
    ok "while its core is still being written" is_dumping
    is "$(grep '^ckptless: lost' "$out")" \
        "ckptless: lost rank 1 on n2: killed by signal 11 (Segmentation fault); rank 1 -> n2" "with the signal"
    has_ended "a core of 2 GiB"
    ok "it is told within 100 ms ($(detect_ms) ms)" [ "$(detect_ms)" -lt 100 ]
    ok "and the core is whole" [ "$(stat -c %s core* | sort -n | tail -n 1)" -gt 2147483648 ]
    rm -f core*

    slow 536870912 --propagate=CORE --ckptless=spares=1,grace=100ms
    kill -SEGV "$victim"
    ok "grace=100ms: the step resumes" resumed 1
    has_ended "grace=100ms"
    ok "and what there was of the core after that time is all that there is" \
        [ "$(stat -c %b core* | sort -n | tail -n 1)" -lt 1048576 ]
    rm -f core*
else
    skip "a core of 2 GiB" "cores go to $core_pattern"
fi

# ---- 4 GiB of memory
ulimit -c 0
slow 4294967296
kill -KILL "$victim"
ok "a rank of 4 GiB is killed: the loss is told" wait_for 10 said '^ckptless: lost'
has_ended "4 GiB of memory"
ok "it is told within 50 ms ($(detect_ms) ms)" [ "$(detect_ms)" -lt 50 ]
note "start: $(events resume '.ms.start') ms"
is "$(grep '^ckptless: lost' "$out")" "ckptless: lost rank 1 on n2: killed by signal 9 (Killed); rank 1 -> n2" "with the signal"

done_clean
