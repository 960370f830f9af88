# How a program ends, and what Slurm makes of it, with and without the option; sourced after job.sh by the tests that ask it
# under each proctrack, in a lab of five nodes with accounting.

cat >end.sh <<'SH'
#!/bin/bash
# end.sh WHO HOW: rank WHO (or all) ends so; the others with 0.
[ "$1" = all ] || [ "$1" = "$SLURM_PROCID" ] || exit 0
case $2 in
[0-9]*) exit "$2" ;;
*) kill -s "$2" $$ ;;
esac
SH
chmod +x end.sh

# submit_end NAME OPTION WHO HOW: a job whose step ends so, and one that waits for its success.
submit_end() {
    local name=$1 options=()
    [ -z "$2" ] || options=("$2")
    job=$(sbatch --parsable -N2 --ntasks-per-node=1 "${options[@]}" -o "$name.out" --wrap "srun ./end.sh $3 $4; code=\$?; echo srun \$code; exit \$code")
    next=$(sbatch --parsable -N1 -d "afterok:$job" --kill-on-invalid-dep=yes -o /dev/null --wrap true)
    echo "$job $next" >"$name.jobs"
}

is_accounted() {
    [ "$(sacct -nPX -j "$1,$2" -o State | grep -cE 'COMPLETED|FAILED|CANCELLED|OUT_OF_MEMORY')" -eq 2 ] &&
        [ -n "$(sacct -nP -j "$1.0" -o End | grep -v Unknown)" ]
}

# facts NAME: srun's code; state and code of the job and of the one after it; what sacct says of the job, its script and
# its step.
facts() {
    local job next id
    read -r job next <"$1.jobs"
    grep '^srun [0-9]' "$1.out"
    for id in "$job" "$next"; do
        scontrol -o show job "$id" | grep -oE '(JobState|ExitCode)=\S+' | cut -d= -f2 | tr '\n' ' '
    done
    echo
    wait_for 20 is_accounted "$job" "$next"
    sacct -nP -j "$job" -o JobID,State,ExitCode | sed "s/^$job//"
}

ends_as_without() {
    submit_end with --ckptless=spares=1 "$1" "$2"
    submit_end without '' "$1" "$2"
    wait_for 30 eval '[ -z "$(squeue -h -o %i)" ]'
    is "$(facts with)" "$(facts without)" \
        "rank, code: $1 $2: srun, the job, its afterok and sacct say the same as without the option"
}

# A signal is a loss by what DESIGN says: the rank is started again, and one that always dies is given up.
is_given_up() {
    submit_end with --ckptless=spares=1,restarts=2 "$1" "$2"
    wait_for 30 eval '[ -z "$(squeue -h -o %i)" ]'
    like "$(facts with | tr '\n' ' ')" '^srun 93 FAILED 93:0 CANCELLED [0-9:]+ +\|FAILED\|93:0 .batch\|FAILED\|93:0 .0\|FAILED\|93:0 $' \
        "rank, signal: $1 $2, again and again: given up with 93, which sacct says too, and afterok does not run"
}

all_ends() {
    local row
    for row in 'all 0' '0 3' '1 3' 'all 3' 'all 255'; do
        # shellcheck disable=SC2086
        ends_as_without $row
    done
    for row in '1 SEGV' '0 KILL' 'all TERM'; do
        # shellcheck disable=SC2086
        is_given_up $row
    done
}
