#!/bin/bash
# Plain PMIx programs that say that they survive the loss of their peers: they are not touched, hear as PMIx events who is lost
# and when the replacement is there, and can fence with it.
. "$(dirname "$0")/lib.sh"
. "$top/tests/system/job.sh"

survivor=$CKPTLESS_BUILD/tests/programs/survivor
program_name=survivor
out=$work/out
lab_start 5

# begin SRUN-OPTION...: a step that goes on until the file end is there; sets step.
begin() {
    wait_for 20 all_idle
    rm -f end "$out"
    srun "$@" "$survivor" "$work/end" >"$out" 2>&1 &
    step=$!
}

end() {
    touch end
    wait_for 20 bash -c "! kill -0 $step" || scancel "$(squeue -h -o %i)"
    wait $step
}

# told WORLD WHAT TIMES: so many ranks have been told that of the world.
told() {
    [ "$(grep -cE "^rank [0-9]+ is told: world $1, $2" "$out")" -eq "$3" ]
}

# met TIMES: so often all four have fenced, and have read what each had put for that world.
met() {
    wait_for 20 said '^world ([0-9]+): 0@\1 1@\1 2@\1 3@\1$' "$1"
}

begin -N4 --ckptless=spares=1
ok "four ranks fence" met 1
others=$(for i in 1 2 4; do pids_of $i; done)
kill -KILL "$(pids_of 3)"
ok "rank 2 is killed: the four fence again" met 2
is "$(for i in 1 2 4; do pids_of $i; done)" "$others" "the processes of the other ranks are the same"
ok "each of the others was told of the loss" told 2 "rank 2 is lost, starts on n3" 3
ok "and that the replacement is there" told 2 "rank 2 is back on n3" 3
ok "which was told in which world it is, and that it is a replacement" said '^rank 2 stays: world 2, 1 starts before$'
others=$(for i in 1 3 4; do pids_of $i; done)
"$top/lab/kill-node" 2
ok "n2 loses its power: the four fence again" met 3
is "$(for i in 1 3 4; do pids_of $i; done)" "$others" "the processes of the other ranks are the same"
ok "who were told of the loss" told 3 "rank 1 is lost, starts on n5" 3
ok "and of the replacement" told 3 "rank 1 is back on n5" 3
is "$(grep -c '^ckptless: lost' "$out")" 2 "two lines name the losses"
end
is $? 0 "and they end with 0"
"$top/lab/revive-node" 2

begin -N2 --ntasks-per-node=2 --ckptless=spares=1
met 1
# shellcheck disable=SC2046
kill -KILL $(pids_of 1 | tail -n 1) $(pids_of 2 | tail -n 1)
ok "one of two ranks is killed on each of two nodes: the four fence again" met 2
kill -KILL "$(pids_of 2 | head -n 1)"
ok "and once more" met 3
end
is $? 0 "and they end with 0"

# Who says nothing is started again with the lost one.
export SILENT=1
begin -N3 --ckptless=spares=1
wait_for 20 said '^rank [02] stays' 2
first=$(pids_of 1)
kill -KILL "$(pids_of 3)"
ok "a rank says nothing: it starts again when another is lost" wait_for 20 said '^rank 1 is silent' 2
is "$(pids_of 1)" "$first" "and only the one that said so goes on"
end
is $? 0 "and they end with 0"

done_clean
