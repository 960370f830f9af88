#!/bin/bash
# A program without the library, here a loop of the shell: when one rank is lost, all of them are killed and started
# again in place, with the world as it is then; what they exit with is passed on.
. "$(dirname "$0")/lib.sh"
. "$top/tests/system/job.sh"

# Each start of a rank leaves a line "RANK WORLD_SIZE HOST PID" in starts; the program ends when the file end is there,
# with the code that stands in it.
cat >loop <<'SH'
#!/bin/sh
echo "$RANK $WORLD_SIZE $SLURM_NODEID $(hostname)" >>starts
while [ ! -e end ]; do
    sleep 0.05
done
exit "$(cat end)"
SH
chmod +x loop

# begin OPTIONS: a step of four ranks; sets step, out.
begin() {
    wait_for 20 all_idle
    rm -f starts end
    out=$work/out
    srun -N4 --ckptless="$1" ./loop >"$out" 2>&1 &
    step=$!
    wait_for 20 started 4 || bail "the ranks start"
}

started() {
    [ "$(wc -l <starts)" -ge "$1" ]
}

# The starts number FROM to TO, by rank.
starts_from_to() {
    sed -n "$1,$2p" starts | sort
}

end_with() {
    echo "$1" >end.new
    mv end.new end
    wait_for 20 bash -c "! kill -0 $step" || scancel "$(squeue -h -o %i)"
    wait $step
}

in_place=$'0 4 0 n1\n1 4 1 n2\n2 4 2 n3\n3 4 3 n4'
lab_start 5

begin spares=1
is "$(starts_from_to 1 4)" "$in_place" "four ranks start, the spare does not"
first=$(for i in 1 2 3 4; do pids_of $i loop; done)
kill -KILL "$(pids_of 3 loop)"
ok "the process of rank 2 is killed: all ranks start again" wait_for 10 started 8
is "$(starts_from_to 5 8)" "$in_place" "in place, with the same world"
is "$(for i in 1 2 3 4; do pids_of $i loop; done | wc -l)" 4 "one process a rank"
is "$(for i in 1 2 3 4; do pids_of $i loop; done | grep -cxF "$first")" 0 "and none of the old ones is left"
like "$(cat "$out")" 'lost rank 2 on n3: killed by signal 9 \(Killed\); rank 2 -> n3' "one line names the loss"
end_with 0
is $? 0 "the program ends with 0, and so does srun"

begin spares=1
"$top/lab/kill-node" 2
ok "n2 loses its power: all ranks start again" wait_for 10 started 8
is "$(starts_from_to 5 8)" $'0 4 0 n1\n1 4 1 n5\n2 4 2 n3\n3 4 3 n4' "rank 1 on the spare, the others in place"
like "$(cat "$out")" 'lost n2: no heartbeat for [0-9]+ ms; rank 1 -> n5' "one line names the loss"
end_with 0
is $? 0 "the program ends with 0, and so does srun"
"$top/lab/revive-node" 2
ok "n2 comes back" wait_for 40 all_idle

begin spares=1
kill -KILL "$(pids_of 4 ckptlessd)"
ok "the helper of n4 is killed: all ranks start again" wait_for 10 started 8
is "$(starts_from_to 5 8 | cut -d' ' -f1,2)" $'0 4\n1 4\n2 4\n3 4' "each once"
is "$(for i in 1 2 3 4 5; do pids_of $i loop; done | wc -l)" 4 "one process a rank"
end_with 0
is $? 0 "and it ends with 0"

begin spares=1
end_with 3
is $? 3 "a program that ends with 3 in its first start: srun ends with 3"
is "$(wc -l <starts)" 4 "and nobody is started again"

# PROTOCOL 8: later a code other than 0 is a loss.
begin spares=0,restarts=2
kill -KILL "$(pids_of 3 loop)"
wait_for 10 started 8
end_with 3
is $? 93 "a program that ends with 3 again and again after a restart is given up: 93"
is "$(grep -c '^ckptless: ended with exit code 93: no progress' "$out")" 1 "and one line says why"

# A tree of processes is one rank.
cat >tree <<'SH'
#!/bin/sh
echo "$RANK" >>starts
sh -c 'exec sleep 1000' &
sh -c 'setsid sleep 1000 & wait' &
while [ ! -e end ]; do
    sleep 0.05
done
exit 0
SH
chmod +x tree
wait_for 20 all_idle
rm -f starts end
out=$work/tree.out
srun -N2 --ckptless=spares=1 ./tree >"$out" 2>&1 &
step=$!
sleepers() {
    for i in 1 2 3; do
        for pid in $(pids_of $i sleep); do
            grep -qz 1000 "/proc/$pid/cmdline" && echo "$pid"
        done
    done
}
sleepers_are() {
    [ "$(sleepers | wc -l)" -eq "$1" ]
}
ok "two ranks with two processes more each start" wait_for 10 sleepers_are 4
first=$(sleepers)
kill -KILL "$(pids_of 2 tree | head -n 1)"
ok "one is killed: both start again" wait_for 10 started 4
ok "with their processes" wait_for 10 sleepers_are 4
is "$(sleepers | grep -cxF "$first")" 0 "and the old ones are gone, daemons too"
end_with 0
is $? 0 "it ends with 0"
ok "and nothing of its trees is left" wait_for 5 sleepers_are 0

done_clean
