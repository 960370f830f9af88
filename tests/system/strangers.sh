# Another user, on a node or beside the nodes, for the tests of strangers. Sourced after job.sh. The job's user is an
# ordinary one, too.
#
#   on NODE COMMAND...              stranger COMMAND on that node (0: the machine's own side of the network), as nobody
#   begin_stranger NODE COMMAND...  the same, in the background, until end_stranger; what it says is in stranger.out
#   attack WHAT NODE COMMAND...     begin, some steps at their pace, end
#   unharmed                        what must hold of an attacked step afterwards
#   pace NAME STEPS                 waits for so many steps; pace_of NAME: ms that one took, in the median of ten each

user=games
stranger=$CKPTLESS_BUILD/tests/programs/stranger
[ -x "$stranger" ] || bail "tests/programs is built (make system-programs)"
under=() # what a stranger runs under
declare -A paces

# Not exported: job.sh calls it.
sbatch() {
    command sbatch --uid=$user "$@"
}

on() {
    local node=$1
    shift
    local nobody=(setpriv --reuid nobody --regid nogroup --clear-groups nice "${under[@]}" "$stranger")
    if [ "$node" -eq 0 ]; then
        "${nobody[@]}" "$@"
    else
        "$top/lab/exec" "$node" "${nobody[@]}" "$@"
    fi
}

begin_stranger() {
    on "$@" >stranger.out 2>&1 &
    stranger_pid=$!
    wait_for 10 grep -q ready stranger.out || bail "a stranger begins: $(cat stranger.out)"
}

# nsenter forks: the signal goes to the stranger itself.
end_stranger() {
    local pid
    for pid in $(pgrep -x stranger); do
        kill -TERM "$pid"
    done
    wait "$stranger_pid"
}

node_address() {
    echo "10.77.$lab_number.$((10 + $1))"
}

# own_ports NODE...: what the processes of ours listen on there, as "ADDRESS:PORT"; a port of all addresses is named by the
# node's own.
own_ports() {
    local i
    for i in "$@"; do
        "$top/lab/exec" "$i" ss -ltnpH | awk -v own="$(node_address "$i")" '
            /"ckptless/ { sub(/^\*|^\[::\]|^0\.0\.0\.0/, own, $4); print $4 }'
    done
}

# has_found FILE PORT...: a scan, whose words are in FILE, has found them.
has_found() {
    [ -z "$(comm -13 <(sort -u "$1") <(printf '%s\n' "${@:2}" | sort -u))" ]
}

last_step() {
    local step
    step=$(grep -oE '^step [0-9]+' "$out" | tail -n 1)
    echo "${step#step }"
}

has_step() {
    [ "$(last_step)" -ge "$1" ]
}

# The median over tens of steps: charlm prints each tenth.
pace() {
    local name=$1 from now began took=()
    from=$(last_step)
    wait_for 30 has_step $((from + 10)) || bail "$name: training goes on"
    for ((now = $(last_step); now < from + $2; now = $(last_step))); do
        began=${EPOCHREALTIME/./}
        wait_for 30 has_step $((now + 10)) || bail "$name: training goes on"
        took+=($(((${EPOCHREALTIME/./} - began) / ($(last_step) - now))))
    done
    paces[$name]=$(printf '%s\n' "${took[@]}" | sort -n | sed -n "$(((${#took[@]} + 1) / 2))p")
}

pace_of() {
    echo "$((paces[$1] / 1000)).$((paces[$1] / 100 % 10))"
}

# Twice as long is what a busy machine of two cores may do to it.
keeps_pace() {
    [ "${paces[$1]}" -le $((2 * paces[before])) ]
}

# What each helper holds: descriptors, and memory in MiB.
costs() {
    local pid
    for pid in $(pgrep -x ckptlessd); do
        echo "$pid $(find "/proc/$pid/fd" -mindepth 1 | wc -l) $(($(sed -n 's/^VmRSS:\s*\([0-9]*\).*/\1/p' "/proc/$pid/status") / 1024))"
    done
}

# 8 MiB: what a heap keeps for later.
costs_are_back() {
    join <(sort <<<"$before") <(costs | sort) | awk '$4 > $2 || $5 > $3 + 8 { worse++ } END { exit worse > 0 || NR != 5 }'
}

# attack WHAT NODE COMMAND...: while it goes on, training goes on, at its pace.
attack() {
    local what=$1 node=$2
    shift 2
    begin_stranger "$node" "$@"
    pace "$what" 50
    end_stranger
    ok "$what: training keeps its pace ($(pace_of "$what") ms a step, $(pace_of before) before)" keeps_pace "$what"
}

# End of a test in which one step was attacked: needs `before` of costs.
unharmed() {
    ok "the helpers' descriptors and memory are what they were" wait_for 20 costs_are_back || note "before: $before, now: $(costs)"
    is "$(grep -cE '^ckptless: (lost|resumed|warning)' "$out")" 0 "nothing was lost, and nothing resumed"
    has_survived "attacked" 90
    is "$(jq -r .event "$timeline" | grep -v spare | tr '\n' ' ')" "start end " "the timeline knows of nothing"
}
