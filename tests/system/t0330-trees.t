#!/bin/bash
# A rank is a whole tree of processes, whatever it does to get away: when it is lost all of it goes before its successor
# starts, and at the end of the step too. Losses of wrapped programs are seen as what they are.
. "$(dirname "$0")/lib.sh"
. "$top/tests/system/job.sh"

steps_program=$CKPTLESS_BUILD/tests/programs/steps
[ -x "$steps_program" ] || bail "tests/programs is built (make system-programs)"
program_name=steps
lab_start 4
# reference STEPS: how long the steps from now on train.
reference() {
    steps=$1
    wanted=$(srun -N3 "$steps_program" --steps "$steps" --step-ms 0 2>/dev/null | sort -u)
}

# Workers that hold the pipes and ignore SIGTERM, daemons of every kind, and then the program itself.
cat >family <<'SH'
#!/bin/bash
for i in 1 2 3 4 5 6 7 8; do
    (trap '' TERM HUP INT; exec sleep 1000) &
done
setsid sleep 1000 &                              # a session of its own
(setsid sleep 1000 &)                            # forked twice
(setsid sh -c 'sleep 1000 & sleep 1000' &)       # and with a child
sh -c 'exec sleep 1000 <&- >&- 2>&-' &           # without descriptors
env -i "$(command -v sleep)" 1000 &              # without an environment
exec "$@"
SH
chmod +x family
family_size=14

begin() {
    wait_for 20 all_idle
    out=$work/out
    rm -f "$out" ckptless-*.jsonl
    : >"$out"
    timeout 60 srun -N3 --ckptless=spares=1 "$@" --steps "$steps" --step-ms 10 --print-every 10 --listen 4711 >"$out" 2>&1 &
    step=$!
    wait_for 20 said '^step 20$' || bail "training reaches step 20"
    timeline=$(ls ckptless-*.jsonl)
}
ends_well() {
    wait_for 20 bash -c "! kill -0 $step" || scancel "$(squeue -h -o %i)"
    wait $step
    is "$? $(grep ^final "$out")" "0 $wanted" "$1: the step ends with 0 and the right state" || note "$(tail -n 15 "$out")"
    is "$(for i in 1 2 3 4; do pids_of $i sleep; done)" "" "$1: and nothing of its trees is left"
}
workers_are() {
    [ "$(pids_of "$1" sleep | wc -l)" -eq "$2" ]
}

parent_of() {
    sed -n 's/^PPid:\t//p' "/proc/$(pids_of "$1")/status"
}
has_another_parent() {
    local now
    now=$(parent_of "$1")
    [ -n "$now" ] && [ "$now" != "$2" ]
}

# ---- workers and daemons
reference 600 # so that it goes on while they are looked at
begin ./family "$steps_program"
ok "each rank has $family_size more processes" wait_for 5 workers_are 2 $family_size
first=$(pids_of 2 sleep)
others=$(pids_of 1 sleep; pids_of 3 sleep)
hit 2
ok "one rank's process is killed: the step resumes" resumed 1
is "$(pids_of 2 sleep | grep -cxF "$first")" 0 "none of its workers and daemons is left then"
is "$(pids_of 1 sleep; pids_of 3 sleep)" "$others" "those of the others have not been touched"
ok "the new one has its own" wait_for 5 workers_are 2 $family_size
ended=${EPOCHREALTIME/./}
wait_for 30 said '^final' && ended=${EPOCHREALTIME/./}
ends_well "workers and daemons"
ended=$(((${EPOCHREALTIME/./} - ended) / 1000))
ok "and srun does not wait for who holds its pipes ($ended ms)" [ $ended -lt 5000 ]

begin ./family "$steps_program"
step_id=$(squeue -h -o %i).0
scancel "$step_id"
wait_for 10 bash -c "! kill -0 $step"
wait $step
wait_for 5 workers_are 2 0
is "$(for i in 1 2 3 4; do pids_of $i sleep; done)" "" "a cancelled step: nothing of its trees is left"

# ---- a worker dies
wait_for 20 all_idle
reference 300
begin ./family "$steps_program"
kill -KILL "$(pids_of 2 sleep | head -n 1)"
ends_well "a worker killed"
is "$(grep -c '^ckptless: lost' "$out")" 0 "a worker killed: its rank is not lost for that"

# ---- the rank is a grandchild
begin bash -lc "$steps_program"' "$@" || sleep 30' bash
wrapper=$(parent_of 2)
hit 2
ok "bash -lc 'program || sleep 30', and the program is killed: the step resumes" resumed 1 10
# The shell may have taken its status away before anybody could look.
like "$(grep '^ckptless: lost' "$out")" \
    "^ckptless: lost rank 1 on n2: (killed by signal 9 \(Killed\)|its process is gone); rank 1 -> n2$" "one line says so"
ok "seen at once ($(events resume .ms.detect) ms)" [ "$(events resume '.ms.detect | floor')" -lt 200 ]
ok "and its shell is another one" has_another_parent 2 "$wrapper"
ends_well "a wrapped rank killed"

begin bash -lc "$steps_program"' "$@"; true' bash
hit 2
ok "bash -lc 'program; true', which ends with 0: the step resumes" resumed 1
ends_well "a wrapper that hides the end"

begin bash -lc "$steps_program"' "$@"; true' bash
kill -KILL "$(parent_of 2)"
ok "the shell is killed instead: the step resumes" resumed 1
ends_well "the wrapper killed"

# ---- a wrapper with other rights: a parent's death is not told across it
if setpriv --reuid=nobody --regid=nogroup --clear-groups test -x "$steps_program"; then
    cp "$(command -v setpriv)" suid
    chmod 4755 suid
    chmod 1777 .
    as_nobody() {
        setpriv --reuid=nobody --regid=nogroup --clear-groups "$@"
    }
    wait_for 20 all_idle
    out=$work/suid.out
    : >"$out"
    HOME=$work as_nobody srun -N3 --ckptless=spares=1 ./suid --reuid=nobody --regid=nogroup --clear-groups "$steps_program" \
        --steps "$steps" --step-ms 10 --print-every 10 >"$out" 2>&1 &
    step=$!
    wait_for 20 said '^step 20$'
    is "$(ps -o uname= -p "$(pids_of 2)")" nobody "a setuid wrapper of an ordinary user: the program is the user's"
    hit 2
    ok "it is killed: the step resumes" resumed 1
    kill -KILL "$(pids_of 3 ckptless-keep)"
    ok "its keeper is killed: the step resumes" resumed 2
    is "$(pids_of 3)" "" "and the keeper's program is gone"
    ends_well "a setuid wrapper"
else
    skip "a setuid wrapper" "an ordinary user cannot reach $steps_program"
fi

done_clean
