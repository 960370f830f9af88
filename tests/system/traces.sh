# What a test may not leave behind: on the nodes after its steps, in slurmctld's log, on the machine after its labs. Sourced by
# lib.sh; a test ends with done_clean.

# ---- on the machine

# Everything that one of our programs or labs may forget, one a line: processes by name, shared memory, files, network
# namespaces and links, abstract sockets, mounts, lines of /etc/hosts.
leftovers() {
    # Zombies have ended; a parent that does not reap them is not ours. Keepers are named after what they keep.
    ps -eo stat=,comm= | awk '$1 !~ /^Z/ && $2 ~ /^(ckptless|slurmd|slurmctld|slurmstepd|slurmscriptd|munged|slurmdbd|mariadbd)/ { print "process " $2 }'
    find /dev/shm "${TMPDIR:-/tmp}" -maxdepth 1 \( -path '/dev/shm/*' -o -name 'ckptless*' -o -name 'pmix*' \) -printf 'file %p\n'
    ip netns list | awk '/^ckl/ { print "netns " $1 }'
    ip -o link show | awk -F'[ :@]+' '$2 ~ /^ckl/ { print "link " $2 }'
    awk '$NF ~ /^@.*ckptless/ { print "socket " $NF }' /proc/net/unix
    awk '$2 ~ /ckptless/ { print "mount " $2 }' /proc/mounts
    grep -H ckptless /etc/hosts || :
    ls -d /sys/fs/cgroup/{freezer,memory}/"ckl$(stat -L -c %i /proc/self/ns/net)"-* 2>/dev/null || :
}

# no_leftovers TITLE: what leftovers prints is what it printed when the test began, 5 s from now at the latest.
no_leftovers() {
    local now
    if wait_for 5 leftovers_are_as_before; then
        pass "$1"
        return
    fi
    fail "$1"
    now=$(comm -13 <(echo "$leftovers_before") <(leftovers | sort))
    note "left behind: $now"
    return 1
}

leftovers_are_as_before() {
    [ -z "$(comm -13 <(echo "$leftovers_before") <(leftovers | sort))" ]
}

# ---- on the nodes, and in slurmctld's log

# What steps have forgotten on nodes that are up: processes other than the node's own, shared memory, sockets, files,
# mounts, cgroups of steps.
step_leftovers() {
    local i pid comm init
    # shellcheck disable=SC1091
    . "$lab_dir/lab.env"
    for ((i = 1; i <= lab_count; i++)); do
        init=$(cat "$lab_dir/run/n$i.init" 2>/dev/null)
        for pid in $(ip netns pids "ckl${lab_number}n$i"); do
            [[ $(sed -n 's/^State:\t//p' "/proc/$pid/status" 2>/dev/null) != Z* ]] || continue
            read -r comm 2>/dev/null <"/proc/$pid/comm" || continue
            case $comm in slurmd | unshare) ;; *) [ "$pid" = "$init" ] || echo "n$i: process $comm" ;; esac
        done
        [ -n "$init" ] || continue
        # shellcheck disable=SC2016
        "$top/lab/exec" "$i" bash -c '
            find /dev/shm -mindepth 1 -printf "$1: %p\n"
            awk -v n="$1" '\''$NF ~ /^@/ { print n ": socket " $NF }'\'' /proc/net/unix
            awk -v n="$1" '\''$2 ~ /ckptless|pmix/ { print n ": mount " $2 }'\'' /proc/mounts' bash "n$i" 2>/dev/null
        while read -r _ cgroup; do
            find "$cgroup" -type d -name 'step_*' -printf "n$i: cgroup %p\n"
        done 2>/dev/null <"$lab_dir/run/n$i.cgroups"
    done
    find "${TMPDIR:-/tmp}" -maxdepth 1 \( -name 'pmix*' -o -name 'ckptless*' \) ! -name 'ckptless-lab-*' -printf 'file %p\n'
}

has_no_step_leftovers() {
    [ -z "$(step_leftovers)" ]
}

# Errors that slurmctld logs in tests without the plugin, too.
stock_errors=(
    # A cluster that starts for the first time has saved nothing yet.
    'Could not open [a-z]+ state file '
    'NOTE: Trying backup state save file'
    'No fed_mgr state file '
    # A machine under load.
    'High latency for 1000 calls to gettimeofday'
    # A client that has ended without waiting for its answer: srun, also where the plugin ends it in place of Slurm.
    'slurm_msg_sendto: address:port=\S+ msg_type=8001: Unexpected missing socket error'
    'slurm_receive_msg \[\S+\]: Zero Bytes were transmitted or received'
    # srun has given its allocation back, and is gone before slurmctld has told it that the job is over.
    'slurm_msg_sendto: address:port=\S+ msg_type=7004: Unexpected missing socket error'
    # Nodes that fall silent, and are in jobs.
    'Nodes \S+ not responding, setting DOWN'
    'Removing failed node \S+ from JobId='
)

controller_errors() {
    grep -E '\] (error|fatal): ' "$lab_dir/log/slurmctld.log" | grep -vE "$(IFS='|' && echo "${stock_errors[*]}")"
}

# What the shell's lab, which is about to go, has to show.
keep_traces() {
    [ -e "$lab_dir/lab.env" ] || return 0
    wait_for 5 has_no_step_leftovers
    step_leftovers >>"$work/step-leftovers"
    controller_errors >>"$work/controller-errors"
}

# The end of each test.
done_clean() {
    lab_stop
    is "$(cat "$work/step-leftovers")" "" "nothing of the steps is left on the nodes"
    is "$(cat "$work/controller-errors")" "" "slurmctld has logged no error that it does not log without the plugin"
    no_leftovers "nothing is left behind"
    done_testing
}
