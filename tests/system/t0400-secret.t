#!/bin/bash
# The step secret: who has it, where it can be read, and what somebody who hears or reads all of Slurm's messages learns.
. "$(dirname "$0")/lib.sh"
. "$top/tests/system/job.sh"

stranger=$CKPTLESS_BUILD/tests/programs/stranger
steps_program=$CKPTLESS_BUILD/tests/programs/steps
known=$CKPTLESS_BUILD/tests/programs/.libs/known_secret.so
[ -x "$stranger" ] && [ -e "$known" ] || bail "tests/programs is built (make system-programs)"
user=games
as() {
    setpriv --reuid "$1" --regid "$(id -g "$1")" --init-groups "${@:2}"
}

printf '#!/bin/sh\nenv >>%s/task-prolog.$SLURMD_NODENAME\n' "$work" >task-prolog
chmod 755 task-prolog
lab_start 3 --conf SlurmctldDebug=debug5 --conf SlurmdDebug=debug5 --conf "TaskProlog=$work/task-prolog"
. "$lab_dir/lab.env"
chown -R $user "$work"
mkdir recorded

# What known_secret.so makes the secret be.
for ((i = 0; i < 32; i++)); do
    printf "\\x$(printf %x $((33 + 7 * i)))"
done >secret
secret=$(cat secret)
secret_hex=$(od -An -v -tx1 secret | tr -d ' \n')

# Every process of the step's and of Slurm's, on its nodes and where srun is. Not munged, which has the cluster's key.
step_processes() {
    local i
    for ((i = 1; i <= lab_count; i++)); do
        ip netns pids "ckl${lab_number}n$i"
    done
    pgrep -x 'srun|ckptless-launch|slurmctld'
}

# Those that have the secret in their memory, or would have it in a core: names, with how many there are.
holders() {
    # shellcheck disable=SC2046
    "$stranger" search secret $(step_processes) | cut -d' ' -f2 | sort | uniq -c | xargs
}

# Files that have it, among all that the step, its logs and the network have left.
files_with_it() {
    LC_ALL=C grep -rlaF -e "$secret" -e "$secret_hex" "$lab_dir" "$work" /dev/shm /tmp 2>/dev/null | grep -vx "$work/secret" | sort -u
}

# ---- a step of an ordinary user, with all debug logs on, and somebody who hears everything that n2 says and is told
"$stranger" listen "ckl${lab_number}v2" recorded >listen.out 2>&1 &
listener=$!
wait_for 10 grep -q ready listen.out || bail "the network can be listened to: $(cat listen.out)"
mkdir -m 777 logs
# shellcheck disable=SC2024
as $user env LD_PRELOAD="$known" CKPTLESS_DEBUG=1 CKPTLESS_DEBUG_DIR="$work/logs" HOME=/ \
    srun -N2 --ckptless=spares=1 bash -c "env >$work/program.\$SLURM_PROCID; exec $steps_program --steps 6000 --step-ms 20 --print-every 10 --until $work/enough" \
    >step.out 2>&1 &
step=$!
out=$work/step.out timeline=$work/none
reached 20
is "$(holders)" "1 ckptless-launch 3 ckptlessd" "the helpers and ckptless-launch have the secret in their memory, and nobody else"
for name in ckptlessd ckptless-launch; do
    is "$(for pid in $(pgrep -x $name); do stat -c %U "/proc/$pid/environ"; done | sort -u)" root \
        "$name: not even the user's own processes read its memory or environment, and it writes no core"
done

# ---- a helper's successor opens it again
kill -KILL "$(pids_of 2 ckptlessd)"
ok "n2's helper is killed, and the step resumes" resumed 1
wait_for 10 eval '[ "$(holders)" = "1 ckptless-launch 3 ckptlessd" ]'
is "$(holders)" "1 ckptless-launch 3 ckptlessd" "its successor has the secret, and still nobody else"

# ---- the network
kill "$listener"
wait "$listener" 2>/dev/null
credential=$(grep -rhaoE 'SLURM_CKPTLESS_SECRET=[^[:cntrl:]]*' recorded | sort -u)
like "$credential" '^SLURM_CKPTLESS_SECRET=MUNGE:[A-Za-z0-9+/=]+:$' "what goes over the network in the environment is a munge credential"
printf '%s' "${credential#*=}" >credential
as nobody unmunge --socket="$lab_dir/munge/socket" <credential >opened 2>&1
is "$? $(grep -c 'Unauthorized' opened) $(LC_ALL=C grep -caF "$secret" opened)" "18 1 0" \
    "another user who has heard it cannot have it opened" || note "$(cat -v opened)"
as $user unmunge --socket="$lab_dir/munge/socket" <credential >opened 2>&1
is "$(LC_ALL=C grep -caF "$secret" opened)" 1 "the user can, though it has been opened before" || note "$(cat -v opened)"
rm -f opened

# ---- files
ok "the environment of the task prolog is seen" grep -q SLURM_JOB_ID task-prolog.n1
is "$(cat program.* task-prolog.n* | grep -c '^SLURM_CKPTLESS')" 0 "neither the program nor the task prolog has it, sealed or not"
ok "the helpers' logs are there" grep -q 'trace:' logs/ckptlessd.n3.log
is "$(files_with_it)" "" "it is in no log, spool or output, and not in what was heard on the network"
is "$( (scontrol -o show job; scontrol -o show step; squeue -o %all) 2>&1 | grep -cE "MUNGE|$secret_hex")" 0 \
    "Slurm, asked about job and step, does not tell it"

touch enough
wait $step
is "$?" 0 "the step ends as if nobody had looked"
done_clean
