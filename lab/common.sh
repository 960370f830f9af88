# Shared by the programs of lab/: names, places and waiting. Sourced, never run.
#
# A lab is a real Slurm cluster on one machine. Each node is a network, pid, mount, UTS and IPC namespace of its own:
# own address, own processes, own host name, own /dev/shm, own /etc/hosts. The file system is shared, like a
# cluster's. All of a lab lives in one directory and under one number K: bridge cklK, subnet 10.77.K.0/24, port
# 20000 + K, network namespaces cklKn1, cklKn2, ... "Node" 0 is where slurmdbd and its database live.

set -euo pipefail
PATH=$PATH:/usr/sbin:/sbin
lab_here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)

die() {
    echo "lab: $*" >&2
    exit 1
}

# The lab's name and with it all that is derived: lab_name, lab_dir.
lab_use() {
    lab_name=$1
    [[ $lab_name =~ ^[A-Za-z0-9][A-Za-z0-9_-]{0,39}$ ]] || die "a lab's name is made of letters, digits, - and _: $lab_name"
    lab_dir=${TMPDIR:-/tmp}/ckptless-lab-$lab_name
}

# Reads "[--name NAME] [ARGUMENT...]" for the programs that know no other option; leaves the rest in lab_args.
lab_parse() {
    local name=${CKPTLESS_LAB:-lab}
    lab_args=()
    while [ $# -gt 0 ]; do
        case $1 in
        --name)
            name=${2:?--name needs a name}
            shift
            ;;
        --help | -h) usage 0 ;;
        *)
            lab_args=("$@")
            break
            ;;
        esac
        shift
    done
    lab_use "$name"
}

# The lab must be up; sets lab_number (K) and lab_count (its nodes).
lab_load() {
    [ -r "$lab_dir/lab.env" ] || die "no lab '$lab_name' is up (looked for $lab_dir)"
    # shellcheck disable=SC1091
    . "$lab_dir/lab.env"
}

# Controllers of cgroup v1 of which each node has a part of its own.
lab_controllers=(freezer memory)

# Where the names of the lab's cgroups of a controller begin. Cgroups know no namespaces here: of two labs that have the
# same number, each in a network namespace of its own, one would take the other's away.
lab_cgroup() {
    echo "/sys/fs/cgroup/$1/ckl$(stat -L -c %i /proc/self/ns/net)-${lab_number}"
}

need_root() {
    [ "$(id -u)" -eq 0 ] || die "needs root: it makes network namespaces"
}

# Node I of the lab: sets node, node_ns, node_link, node_address.
node_use() {
    [[ ${1:-} =~ ^[0-9]+$ ]] && [ "$1" -ge 1 ] && [ "$1" -le "$lab_count" ] || die "no node '${1:-}': 1 to $lab_count"
    node_names "$1"
}

node_names() {
    node=n$1
    node_ns=ckl${lab_number}n$1
    node_link=ckl${lab_number}v$1
    node_address=10.77.$lab_number.$((10 + $1))
}

# node_lose PERCENT in|out|both: of node_use's node; what it says to itself is not lost.
node_lose() {
    local hook which="numgen random mod 100 < $1"
    [ "$1" -lt 100 ] || which=
    nsenter --net="/run/netns/$node_ns" nft delete table inet loss 2>/dev/null || :
    [ "$1" -gt 0 ] || return 0
    {
        echo 'table inet loss {'
        for hook in input output; do
            [[ $hook == "$2"* || $2 == both ]] || continue
            echo "chain $hook { type filter hook $hook priority 0; ${hook:0:1}ifname lo accept; $which drop; }"
        done
        echo '}'
    } | nsenter --net="/run/netns/$node_ns" nft -f -
}

# wait_until SECONDS COMMAND...: true as soon as the command is, false when the time is over.
wait_until() {
    local deadline=$((${EPOCHREALTIME/./} + $1 * 1000000))
    shift
    until "$@"; do
        [ "${EPOCHREALTIME/./}" -lt $deadline ] || return 1
        sleep 0.02
    done
}

# True when a process has ended; whoever inherited it may still have to reap it.
process_gone() {
    local line
    read -r line 2>/dev/null <"/proc/$1/stat" || return 0
    [[ $line =~ \)\ [ZX]\  ]]
}

# Becomes a daemon's command that holds none of our descriptors, so that nobody's pipe stays open because of it. Called in
# a subshell or in the background: it does not return.
become() {
    local fd
    for fd in /proc/self/fd/*; do
        fd=${fd##*/}
        [ "$fd" -le 2 ] || eval "exec $fd>&-"
    done
    exec "$@" </dev/null
}

# End of every process in a network namespace. SIGKILL to the pid namespace's first process takes all of them at once.
ns_kill() {
    local pids
    pids=$(ip netns pids "$1" 2>/dev/null) || return 0
    # shellcheck disable=SC2086
    [ -z "$pids" ] || kill -KILL $pids 2>/dev/null || true
    [ -z "$pids" ]
}

# Power for node_use's node: namespaces, slurmd. Needs the network namespace.
node_start() {
    rm -f "$lab_dir/run/$node.pid" "$lab_dir/run/$node.init"
    local controller
    if [ -e "$lab_dir/cgroup.conf" ]; then
        for controller in "${lab_controllers[@]}"; do
            [ -d "/sys/fs/cgroup/$controller" ] || continue
            mkdir -p "$(lab_cgroup "$controller")$node"
            echo "$controller $(lab_cgroup "$controller")$node"
        done >"$lab_dir/run/$node.cgroups"
    fi
    become setsid nsenter --net="/run/netns/$node_ns" unshare --uts --ipc --mount --pid --fork \
        bash "$lab_here/node-init" "$lab_dir" "$node" "$@" >>"$lab_dir/log/$node.init" 2>&1 &
}

# The host's pid of the node's first process in ret_init; false: the node is off.
node_init_pid() {
    ret_init=
    [ -r "$lab_dir/run/$node.init" ] && ret_init=$(<"$lab_dir/run/$node.init")
    # A pid may have been given to someone else since: it is the node's when it lives in the node's network.
    [ -n "$ret_init" ] && [ "/run/netns/$node_ns" -ef "/proc/$ret_init/ns/net" ]
}
