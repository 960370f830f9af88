#!/bin/bash
# Strangers who are there first: at the port where a step's helpers are about to meet, with what was recorded of them, and
# in all places of a port to which honest helpers have to come just then.
. "$(dirname "$0")/lib.sh"
. "$top/tests/system/job.sh"
. "$top/tests/system/strangers.sh"

steps_program=$CKPTLESS_BUILD/tests/programs/steps
lab_start 5 --conf SrunPortRange=30000-59999
. "$lab_dir/lab.env"
chown -R $user "$work"

# ---- the launch: ckptless-launch takes the lowest free port, srun some of thirty thousand
# launches HOW ARGUMENT...: with a stranger who is already coming to the lowest ports, again and again.
launches() {
    local how="${*:1:2}" meeting=10.77.$lab_number.1 i good=0 longest=0
    begin_stranger 2 "$@" "$meeting:30000" "$meeting:30001" "$meeting:30002"
    for i in 1 2 3; do
        run srun -N4 --ckptless=spares=1 "$steps_program" --steps 20
        [ "$code $(grep -c ^final run.out) $ours" = "0 1 " ] && good=$((good + 1)) || note "$lines"
        [ $took_ms -le $longest ] || longest=$took_ms
    done
    end_stranger
    is $good 3 "$how at the meeting port: each step begins, and has nothing to say"
    ok "$how: in less than 4 s ($longest ms)" [ $longest -lt 4000 ]
    like "$(cat stranger.out)" " [1-9][0-9]* (connections|tried)" "$how: it was there"
}
launches crowd silent 400 1000
launches crowd slow 200 500
launches crowd garbage 50 500
launches knock

# ---- what was said before, said again
steps=1500
reference
mkdir recorded
"$stranger" listen "ckl${lab_number}v2" recorded >listen.out 2>&1 &
listener=$!
wait_for 10 grep -q ready listen.out || bail "the network can be listened to: $(cat listen.out)"
train replayed
reached 20
kill "$listener"
wait "$listener"
replayed=0
for port in $(own_ports 1 5 | grep -v '^127\.'); do
    for stream in recorded/"$(node_address 2)".*-"${port/:/.}"; do
        [ -e "$stream" ] || continue
        begin_stranger 3 replay "$stream" 20 100 "$port"
        pace replayed 40
        end_stranger
        like "$(cat stranger.out)" "replay: [1-9][0-9]* connections, [1-9][0-9]* closed by the other end" \
            "what n2 has said to port ${port#*:} is said again, and closed"
        replayed=$((replayed + 1))
    done
done
ok "what n2 has said to $replayed ports was recorded" [ $replayed -ge 2 ]
is "$(grep -cE '^ckptless: (lost|resumed|warning)' "$out")" 0 "nobody is taken for n2"

# ---- all places taken, while the leader's helper, and then a rank, is lost
mapfile -t ports < <(own_ports 1 2 3 4 5)
on 5 keepers >squatter.out 2>&1 &
wait_for 10 grep -q ready squatter.out
begin_stranger 3 crowd silent 400 2000 "${ports[@]}"
former=$(pids_of 5 ckptlessd)
kill -KILL "$former"
pace crowded 40
hit 2
ok "silent strangers in all places: the leader's helper and a rank are lost, and the step resumes" resumed 1
like "$(events resume .ms.total | head -n 1)" '^[0-9]{1,3}(\.|$)' "within a second ($(events resume .ms.total | xargs) ms)"
successor=$(pids_of 5 ckptlessd)
end_stranger
wait_for 10 grep -q keepers: squatter.out
like "$(cat squatter.out)" "[1-9][0-9]* connections, [1-9][0-9]* names taken" "the dead helper's name is a stranger's"
is "$(wc -w <<<"$successor") $(grep -cx "$former" <<<"$successor")" "1 0" "and its successor has another one"
has_survived "crowded"
done_clean
