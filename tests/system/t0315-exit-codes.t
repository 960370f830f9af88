#!/bin/bash
# How a program ends reaches srun, the job's state and `afterok` as it does without the option: the same programs, with and
# without it. And an exit that a silent node has caused is not taken for the program's own, whichever is known first.
. "$(dirname "$0")/lib.sh"
. "$top/tests/system/job.sh"

lab_start 4
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

# facts OPTION WHO HOW: srun's code, the job's state and code, and what became of the job after it.
facts() {
    local options=() job next
    [ -z "$1" ] || options=("$1")
    job=$(sbatch --parsable -N2 --ntasks-per-node=1 "${options[@]}" -o "facts.out" --wrap "srun ./end.sh $2 $3; code=\$?; echo srun \$code; exit \$code")
    next=$(sbatch --parsable -N1 -d "afterok:$job" --kill-on-invalid-dep=yes -o /dev/null --wrap true)
    wait_for 30 eval '[ -z "$(squeue -h -o %i)" ]'
    for id in "$job" "$next"; do
        scontrol -o show job "$id" | grep -oE '(JobState|ExitCode)=\S+' | cut -d= -f2 | tr '\n' ' '
    done
    grep '^srun [0-9]' facts.out
}

for row in 'all 0' '0 3' '1 3' 'all 3' 'all 255'; do
    # shellcheck disable=SC2086
    is "$(facts --ckptless=spares=1 $row)" "$(facts '' $row)" "rank, code: $row: srun, the job and its afterok end as without the option"
done
# A signal is a loss by what DESIGN says: the rank is started again, and one that always dies is given up.
for row in '1 SEGV' '0 KILL' 'all TERM'; do
    # shellcheck disable=SC2086
    like "$(facts --ckptless=spares=1,restarts=2 $row)" '^FAILED 93:0 CANCELLED [0-9:]+ srun 93$' \
        "rank, signal: $row, again and again: given up with 93, and afterok does not run"
done

# After commits, the survivors' errors arrive long before the silent node is known; and the other way round.
steps_program=$CKPTLESS_BUILD/tests/programs/steps
wait_for 20 all_idle
srun -N3 --ckptless=spares=1 "$steps_program" --steps 300 --print-every 50 >silent.out 2>&1 &
step=$!
wait_for 20 grep -q 'spare is warm' silent.out && wait_for 20 grep -q '^step 50$' silent.out
"$top/lab/kill-node" 3
kill -TERM "$(pids_of 2 steps)"
wait $step
is "$? $(grep -c '^final' silent.out)" "0 1" "a node goes silent while a rank of another one dies: both are lost, and the program's code is srun's"
done_clean
