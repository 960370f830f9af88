#!/bin/bash
# lab/up --accounting: slurmdbd and a database of the lab's own; what a job was can be read with sacct.
. "$(dirname "$0")/lib.sh"

command -v mariadbd slurmdbd >/dev/null || bail "mariadbd and slurmdbd are installed (scripts/install-deps)"
sacct_is() {
    [ "$(sacct -nPX -o JobName,State,ExitCode,NNodes,NodeList)" = "$1" ]
}

lab_start 2 --accounting
# Once more: the first lab of a fresh checkout makes the tables, and each later one copies them.
lab_stop
started=${EPOCHREALTIME/./}
lab_start 2 --accounting
took_ms=$(((${EPOCHREALTIME/./} - started) / 1000))
ok "a lab with accounting is up in less than 10 s ($took_ms ms)" [ $took_ms -lt 10000 ]
is "$(sacct -nPX)" "" "its accounting is empty"
is "$(srun -N2 -J both hostname | sort | tr '\n' ' ')" "n1 n2 " "a step runs"
ok "sacct tells what it was" wait_for 20 sacct_is "both|COMPLETED|0:0|2|n[1-2]" || note "$(sacct -nPX)"
# shellcheck disable=SC1091
. "$lab_dir/lab.env"
is "$(ss -Htlnp | grep -cE 'mariadbd|slurmdbd')" 0 "neither slurmdbd nor the database has a port on the machine"
is "$(ip netns exec "ckl${lab_number}n0" ss -Htln | awk '{ print $4 }')" "0.0.0.0:6819" \
    "and the node they live on has slurmdbd's only"
done_clean
