#!/bin/bash
# Nodes that fall silent, are cut off and come back, lose their helper; spares that die unused. Each time the job goes
# on, ends by itself, and the weights are those of the undisturbed run.
. "$(dirname "$0")/lib.sh"
. "$top/tests/system/job.sh"

number='[0-9]+\.[0-9]'
resumed_line="^ckptless: resumed at step [0-9]+, epoch [0-9]+, [0-9]+ ms after the loss \(detect $number, agree $number, start $number, pull $number, connect $number\)$"

# lost_nodes: what the timeline tells of lost nodes: "n3:2>n5 ..."
lost_nodes() {
    jq -r 'select(.event == "loss" and .node_lost) | "\(.host):\(.ranks | join(","))>\(.target_hosts | join(","))"' "$timeline" |
        sort | tr '\n' ' '
}

lab_start 6
reference

node=$(random_node 2 3 4)
train silent-node
reached 30
"$top/lab/kill-node" "$node"
ok "n$node loses its power, and the job resumes" resumed 1
has_survived "silent node"
like "$(grep '^ckptless: lost' "$out")" \
    "^ckptless: lost n$node: no heartbeat for [0-9]+ ms; rank $((node - 1)) -> n5 \\(task 4\\)$" "silent node: one line names it"
like "$(grep '^ckptless: resumed' "$out")" "$resumed_line" "silent node: one line says when training went on"
is "$(lost_nodes)" "n$node:$((node - 1))>n5 " "silent node: the timeline says which node, and where its rank went"
ok "silent node: found within a second" \
    test "$(events resume '.ms.detect + 0.5 | floor')" -lt 1000
ok "all nodes come back" all_back

node=$(random_node 2 3 4)
train cut-node
reached 20
"$top/lab/cut" "$node"
ok "n$node is cut off, and the job resumes" resumed 1
reached 60
"$top/lab/heal" "$node"
no_program() {
    [ -z "$(pids_of "$node")$(pids_of "$node" ckptlessd)" ]
}
ok "cut node: when it comes back, its program and helper end" wait_for 10 no_program
has_survived "cut node"
is "$(lost_nodes)" "n$node:$((node - 1))>n5 " "cut node: it is lost once"
is "$(grep -c '^ckptless: resumed' "$out")" 1 "cut node: its return interrupts nobody"
# Slurm itself ends the step on a node that comes back, and srun may hear of it before its own end.
is "$(grep -E '^(srun|slurmstepd)' "$out" | grep -vE "^srun: (error: n$node: task $((node - 1)): Killed|Force Terminated)")" "" \
    "cut node: Slurm says no more than that the fenced task was killed"
ok "all nodes come back" all_back

spares=2
train two-nodes
reached 30
"$top/lab/kill-node" 2 &
"$top/lab/kill-node" 4
wait $!
ok "n2 and n4 lose their power at once, and the job resumes" resumed 1
has_survived "two nodes"
is "$(lost_nodes | sed 's/>[^ ]*//g')" "n2:1 n4:3 " "two nodes: both are told, each once"
is "$(events loss '.target_hosts[]' | sort | tr '\n' ' ')" "n5 n6 " "two nodes: each rank has a spare of its own"
ok "all nodes come back" all_back
spares=1

node=$(random_node 2 3 4)
train helper
reached 30
kill -KILL "$(pids_of "$node" ckptlessd)"
ok "the helper of n$node is killed, and the job resumes" resumed 1
has_survived "helper killed"
is "$(events loss '.ranks[]')" "$((node - 1))" "helper killed: its node's rank is lost, once"
ok "all nodes come back" all_back

train unused-spare
reached 20
"$top/lab/kill-node" 5
ok "the spare n5 loses its power unused: a line says so" wait_for 10 said '^ckptless: spare n5: spare lost: silent$'
has_survived "unused spare"
is "$(grep -cE '^ckptless: (lost|resumed)' "$out")" 0 "unused spare: nobody was interrupted"
ok "all nodes come back" all_back

done_clean
