# Jobs that train charlm, for the system tests that disturb them: start, watch, hit, and compare with a run that nobody
# disturbed. Sourced after lib.sh. The shell's lab has 4 active nodes, n1 to n4; spares come after them.
#
#   reference            trains undisturbed and keeps what was printed
#   train NAME           submits the same training; sets job, out, timeline
#   reached STEP         waits until rank 0 has printed that step
#   hit NODE...          SIGKILL for the training process of each node, all at the same moment
#   has_survived WHAT    waits for the job's end, and checks all that must hold after it

charlm=$CKPTLESS_PREFIX/lib/ckptless/examples/charlm
words=/usr/share/dict/words
program_name=charlm
spares=1
steps=150
step_ms=20

# submit NAME COMMAND...: a batch job of four active nodes and the spares, whose only step is COMMAND.
submit() {
    local name=$1
    shift
    out=$work/$name.out
    job=$(sbatch --parsable --job-name="$name" --output="$out" --chdir="$work" --nodes=4 --ntasks-per-node=1 \
        --ckptless="spares=$spares" --wrap "exec srun $*") || bail "sbatch takes the job"
    timeline=$work/ckptless-$job.0.jsonl
}

train() {
    submit "$1" "$charlm --steps $steps --step-ms $step_ms --print-every 10 --data $words"
}

# What charlm printed, each fact once: a step that was done again must have had the same loss.
trained() {
    grep -E '^(step|final) ' "$out" | sort -u
}

# The weights depend on the number of ranks and steps, not on how long a step takes.
reference() {
    local step_ms=${1:-0}
    train reference
    wait_for $((60 + steps / 50)) said '^final' || show_job
    wait_for 20 job_is_gone || show_job
    wanted=$(trained)
    like "$wanted" "final step $steps .*[0-9a-f]{16}" "an undisturbed run ends with its weights"
}

# said EXTENDED-REGEX [TIMES]: the job has printed at least so many such lines.
said() {
    [ "$(grep -cE "$1" "$out" 2>/dev/null)" -ge "${2:-1}" ]
}

reached() {
    wait_for 30 said "^step $1( |$)" || {
        show_job
        bail "training reaches step $1"
    }
}

# resumed TIMES: waits until so many recoveries are over.
resumed() {
    wait_for "${2:-20}" said '^ckptless: resumed at step' "$1"
}

job_is_gone() {
    [ -z "$(squeue -h -j "$job" -o %T 2>/dev/null)" ]
}

all_idle() {
    [ "$(sinfo -h -N -o %T | sort -u)" = idle ]
}

# Nodes that were switched off are on again, and all are idle.
all_back() {
    local i
    # shellcheck disable=SC1091
    . "$lab_dir/lab.env"
    for ((i = 1; i <= lab_count; i++)); do
        [ -e "$lab_dir/run/n$i.init" ] || "$top/lab/revive-node" $i
    done
    wait_for 40 all_idle || {
        sinfo -N -o '%N %T %E'
        return 1
    }
}

# One value of scontrol's: job_fact JobState
job_fact() {
    scontrol -o show job "$job" | tr ' ' '\n' | sed -n "s/^$1=//p"
}

# The processes NAME (default: the training program) of node I, as pids of the machine.
pids_of() {
    local pid name=${2:-$program_name}
    # shellcheck disable=SC1091
    . "$lab_dir/lab.env"
    for pid in $(pgrep -x "$name"); do
        [ ! "/run/netns/ckl${lab_number}n$1" -ef "/proc/$pid/ns/net" ] || echo "$pid"
    done
}

# The pids that were hit are in hit_pids: for a moment they are still to be seen.
hit() {
    local node pids=()
    for node in "$@"; do
        # shellcheck disable=SC2207
        pids+=($(pids_of "$node"))
    done
    [ ${#pids[@]} -eq $# ] || note "hit $*: ${#pids[@]} processes"
    hit_pids=("${pids[@]}")
    kill -KILL "${pids[@]}"
}

# newcomer I: the process of node I's rank, when it is another than those that were hit last.
newcomer() {
    local pid
    for pid in $(pids_of "$1"); do
        [[ " ${hit_pids[*]} " == *" $pid "* ]] || echo "$pid"
    done
}

has_newcomer() {
    [ -n "$(newcomer "$1")" ]
}

# random_node NODE...: one of them.
random_node() {
    local nodes=("$@")
    echo "${nodes[RANDOM % ${#nodes[@]}]}"
}

# What there is to see of the job; CKPTLESS_TEST_KEEP: a directory to which all of it goes, helpers' logs too.
show_job() {
    [ -z "${CKPTLESS_TEST_KEEP:-}" ] || cp -a "$work" "$lab_dir/log" "$CKPTLESS_TEST_KEEP"
    note "--- $out"
    note "$(tail -n 25 "$out" 2>&1)"
    note "--- $timeline"
    note "$(tail -n 12 "$timeline" 2>&1)"
    note "--- scontrol: $(scontrol -o show job "$job" 2>&1 | grep -oE '(JobState|Reason|Restarts|ExitCode|NodeList|NumNodes)=\S+' | tr '\n' ' ')"
}

events() {
    jq -r "select(.event == \"$1\") | ${2:-.event}" "$timeline"
}

# trained_as_wanted WHAT: a step that rank 0 has got from a peer, instead of doing it, has no line: lines may be missing,
# none may differ.
trained_as_wanted() {
    is "$(trained | grep ^final)" "$(grep ^final <<<"$wanted")" \
        "$1: the weights are those of the undisturbed run, bit by bit"
    is "$(comm -23 <(trained) <(echo "$wanted"))" "" "$1: and so is each step's loss"
}

# has_survived WHAT [SECONDS]: the end of the job and of the training, and that nothing shows but lines. SECONDS: until
# the training is over.
has_survived() {
    local what=$1 good=0 failures_before=$tap_failures
    ok "$what: training reaches its end" wait_for "${2:-60}" said '^final'
    ok "$what: and 20 s later at most the job has ended" wait_for 20 job_is_gone || scancel "$job"
    trained_as_wanted "$what"
    is "$(job_fact JobState) $(job_fact ExitCode) $(job_fact Restarts)" "COMPLETED 0:0 0" \
        "$what: Slurm counts it as completed, exit code 0, no requeue"
    ok "$what: each line of the timeline is a JSON object" jq -e 'type == "object"' "$timeline"
    is "$(jq -r .event "$timeline" | sed '1p;$!d' | tr '\n' ' ') $(events end .exit_code)" "start end  0" \
        "$what: from start to end, with exit code 0"
    [ "$tap_failures" -eq "$failures_before" ] && good=1
    [ $good -eq 1 ] || show_job
    [ $good -eq 1 ]
}

# ---- one command

# run COMMAND...: its exit code in code, what it printed in lines, what we said in ours, ms in took_ms; 124: it hung.
run() {
    local began
    wait_for 20 all_idle
    began=${EPOCHREALTIME/./}
    timeout 40 "$@" >run.out 2>&1
    code=$?
    took_ms=$(((${EPOCHREALTIME/./} - began) / 1000))
    lines=$(cat run.out)
    ours=$(grep -oE 'ckptless: .*' run.out | grep -vE 'ckptless: (step [0-9]+\.[0-9]+: |spare n[0-9]+: spare is warm)')
}

# ---- nodes that come back

# train_until_enough NAME: trains the program steps until enough is said, and at full speed from then on. Needs steps=6000.
train_until_enough() {
    program_name=steps
    rm -f enough
    submit "$1" "$CKPTLESS_BUILD/tests/programs/steps --steps $steps --step-ms 20 --print-every 10 --until $work/enough"
}

enough() {
    if said '^final'; then
        fail "$1: training was going on all the time"
    else
        pass "$1: training was going on all the time"
    fi
    touch enough
}

reference_until_enough() {
    steps=6000
    train_until_enough reference
    enough "reference"
    wait_for 60 said '^final' && wait_for 20 job_is_gone || show_job
    wanted=$(trained)
}

# job_has NODES COUNT: what squeue and scontrol say the running job has.
job_has() {
    [ "$(squeue -h -j "$job" -o '%N %D') $(job_had)" = "$1 $2 $1 $2" ]
}

# What scontrol says the job has, or had when it ended.
job_had() {
    echo "$(job_fact NodeList | tail -n 1) $(job_fact NumNodes)"
}

# A job that waits for the success of this one.
depend_on_it() {
    rm -f dependent.out
    dependent=$(sbatch --parsable -N1 --dependency="afterok:$job" --output="$work/dependent.out" --wrap 'echo ran')
}

dependent_ran() {
    [ "$(cat "$work/dependent.out")" = ran ] && [ -z "$(squeue -h -j "$dependent")" ]
}

# How often slurmctld has given a node up.
given_up() {
    grep -cE 'Nodes? \S+ not responding, setting DOWN' "$lab_dir/log/slurmctld.log"
}

# ---- hitting a recovery in the middle

# Helpers' debug logs: helper_log I is that of node I's helper, in jobs that are submitted from now on.
with_helper_logs() {
    mkdir -p -m 777 "$work/logs"
    rm -f "$work"/logs/*
    export CKPTLESS_DEBUG=1 CKPTLESS_DEBUG_DIR=$work/logs
}

helper_log() {
    echo "$work/logs/ckptlessd.n$1.log"
}

# watch I TEXT [SIGNAL WHOM...]: from now on; the first new line with TEXT in node I's helper's log sends the signal. WHOM
# is a pid, or NAME@I: the processes NAME of node I as they are then. seen waits for it.
watch() {
    local log whom targets=() line
    log=$(helper_log "$1")
    # shellcheck disable=SC1091
    . "$lab_dir/lab.env"
    for whom in "${@:4}"; do
        [[ $whom != *@* ]] || whom=${whom%@*}@/run/netns/ckl${lab_number}n${whom#*@}
        targets+=("$whom")
    done
    exec 9< <(exec "$CKPTLESS_BUILD/tests/programs/onsight" "$log" "$2" 10 ${3:+"$3"} "${targets[@]}")
    read -r -u 9 line
}

seen() {
    local line
    read -r -t 12 -u 9 line
}

# Where the leader, the last spare's helper, is, by its log: running, gather, pull, commit (from GO to the last first commit).
phase() {
    awk '/-> [0-9]+ STOP/ { phase = "gather" }
        /-> [0-9]+ PLAN/ { phase = "pull" }
        /-> [0-9]+ GO/ { phase = "commit" }
        /trace: resumed/ { phase = "running" }
        END { print phase }' "$(helper_log $((4 + spares)))"
}

phase_is() {
    [ "$(phase)" = "$1" ]
}

# settled LOSSES: so many losses have been told in all, and the last word is that training goes on.
settled() {
    [ "$(grep -c '"event":"loss"' "$timeline")" -ge "$1" ] && [[ $(tail -n 1 "$timeline") == *'"event":"resume"'* ]]
}
