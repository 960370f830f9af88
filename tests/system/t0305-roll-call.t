#!/bin/bash
# Nodes that cannot take part in a step: which ones and why is said, the step ends, and the program begins nowhere.
. "$(dirname "$0")/lib.sh"
. "$top/tests/system/job.sh"

lab_start 4 --conf SrunPortRange=30000-59999
. "$lab_dir/lab.env"
echo 'echo ran; touch "$1.$SLURM_PROCID"' >program
libexec=$CKPTLESS_PREFIX/libexec/ckptless
conf=$lab_dir/plugstack.conf
: >empty
chmod 644 empty

# hide NODE WITH FILE: on that node FILE is WITH, until show.
hide() {
    hidden_on=$1 hidden=$3
    "$top/lab/exec" "$1" mount --bind "$2" "$3"
}
show() {
    "$top/lab/exec" "$hidden_on" umount "$hidden"
}
silent='^ckptless: 1 of 3 nodes \(n2\) has not reported within launch-timeout=1s; if no other line says why: is ckptless\.so in plugstack\.conf there, and can port [0-9]+ of this host be reached\?$'

# fails WHAT SECONDS: a step of n1 to n3, which has a node that cannot take part. What was said, line by line, is in ours.
fails() {
    rm -f begun.*
    run srun -N3 -n3 -w n1,n2,n3 --ckptless=launch-timeout=1s bash program begun
    is "$code $(ls begun.* 2>/dev/null | wc -l) $(grep -c ^ran run.out)" "93 0 0" \
        "$1: the step ends with 93, and the program has begun on no node" || note "$lines"
    ok "$1: within $2 s ($took_ms ms)" [ $took_ms -lt $(($2 * 1000)) ]
}

# says REGEX TITLE: one line of the node, one of ckptless-launch, no other.
says() {
    is "$(grep -cE "^$1\$" <<<"$ours") $(grep -cE "$silent" <<<"$ours") $(wc -l <<<"$ours")" "1 1 2" "$2" || note "$ours"
}

# ---- the plugin
hide 2 "$work/empty" "$conf"
fails "the plugin is not loaded on n2" 3
is "$(grep -cE "$silent" <<<"$ours") $(wc -l <<<"$ours")" "1 1" "and one line names the node and says what to look at"
show
run srun -N3 --ckptless bash -c 'ulimit -Sv; env | grep -E "^SLURM_(CKPTLESS|RLIMIT)"'
is "$(grep -c . <(grep -v '^ckptless\|^srun' run.out)) $(grep -c '^unlimited$' run.out)" "3 3" \
    "where it is loaded the program has its limits, and no trace of how it is held back elsewhere" || note "$lines"
(
    ulimit -Sv 8000000
    srun -N2 --ckptless bash -c 'ulimit -Sv' 2>/dev/null
) >limits
is "$(sort -u limits)" 8000000 "and those of who calls srun"
unshare --mount bash -c "mount --bind empty $conf
    srun -N2 --ckptless=spares=1 echo ran; echo code \$?
    srun -N2 bash -c 'env | grep -c ^SLURM_CKPTLESS'" >without.out 2>&1
is "$(grep -E '^(ran|code)|--ckptless' without.out | tr '\n' ' ')" "srun: unrecognized option '--ckptless=spares=1' code 255 " \
    "the plugin is not loaded at srun: srun does not know the option" || note "$(cat without.out)"
is "$(grep -c '^0$' without.out)" 2 "and a step without it is an ordinary one"
# The job has the option; its step's srun is without the plugin, as on a node whose plugstack.conf lacks it.
wait_for 20 all_idle
cat >batch.sh <<SH
#!/bin/bash
srun bash -c 'echo rank \${RANK:-none}; env | grep ^SLURM_CKPTLESS'
SH
hide 1 "$work/empty" "$conf"
job=$(sbatch --parsable -o batch.out -N2 --ckptless=spares=1 batch.sh)
wait_for 20 job_is_gone || scancel "$job"
is "$(grep -c '^rank none' batch.out) $(grep -c '^ckptless:' batch.out)" "3 0" \
    "not loaded where the batch script runs: its srun is an ordinary one, on all nodes of the job" || note "$(cat batch.out)"
show

# ---- the helper
hide 2 "$work/empty" "$libexec/ckptlessd"
fails "the helper on n2 cannot be executed" 3
says "ckptless: n2: the helper is missing: $libexec/ckptlessd: Permission denied" "and one line names the node and the file"
show
printf '#!/no/such/interpreter\n' >bad
chmod 755 bad
hide 2 "$work/bad" "$libexec/ckptlessd"
fails "the helper on n2 cannot be started" 3
says 'ckptless: n2: the helper of this node cannot be started: No such file or directory' "and one line names the node and the error"
show
version=$(sed -n 's/^PACKAGE_VERSION *= *//p' "$CKPTLESS_BUILD/Makefile")
other=9.${version#*.}
# The compiler may have made a number of its first four characters.
LC_ALL=C sed "s/${version:0:1}\\.${version:2:1}\\./9.${version:2:1}./g" "$libexec/ckptlessd" >other
chmod 755 other
hide 2 "$work/other" "$libexec/ckptlessd"
fails "the helper on n2 is of another version" 2
is "$ours" "ckptless: n2 has ckptless $other, the host of srun $version: all need the same" "one line says which version is where"
show

# ---- the network
# ckptless-launch takes the lowest free port, srun some of thirty thousand. On n2 there is no way to the lowest.
# blocked HOW: as a firewall that answers (unreachable), or one that does not (silent: a router that is not there).
network=ckl${lab_number}n2
ip -n "$network" route add default via "10.77.$lab_number.250" table 77
blocked() {
    local action=unreachable
    [ "$1" = unreachable ] || action="lookup 77"
    # shellcheck disable=SC2086
    ip -n "$network" rule add ipproto tcp dport 30000-30002 $action
    fails "$2" 3
    # shellcheck disable=SC2086
    ip -n "$network" rule del ipproto tcp dport 30000-30002 $action
}
reach='ckptless: n2: the helper cannot reach the host of srun, 10\.77\.[0-9]+\.1 port 3000[0-2]:'
ask='; is the port blocked \(SrunPortRange\)\?'
blocked unreachable "the port of srun's host is closed for n2"
says "$reach [^;]+$ask" "and one line names the node, the port and what came back"
blocked silent "what n2 sends to the port of srun's host is lost"
says "$reach no answer$ask" "and one line names the node, the port, and that nothing came back"

# ---- and when all is well again
run srun -N3 -n3 -w n1,n2,n3 --ckptless=launch-timeout=1s bash program begun
is "$code $(grep -c ^ran run.out) $ours" "0 3 " "the same step, with nothing in its way, runs"
done_clean
