#!/bin/bash
# Input and output: what srun's options for them say holds in a ckptless step too, spares print nothing and stop nobody's
# input, and while ranks die no line is lost or comes twice.
. "$(dirname "$0")/lib.sh"
. "$top/tests/system/job.sh"

steps_program=$CKPTLESS_BUILD/tests/programs/steps
[ -x "$steps_program" ] || bail "tests/programs is built (make system-programs)"
program_name=steps
lab_start 4

cat >talk <<'SH'
#!/bin/sh
echo "out $RANK"
echo "err $RANK" >&2
sed "s/^/got $RANK: /"
SH
chmod +x talk

# talked OPTION...: what three ranks and a spare say with the input of the file input.
talked() {
    wait_for 20 all_idle
    timeout 30 srun -N3 --ckptless=spares=1 "$@" ./talk <input 2>&1 | grep -v '^ckptless: step' | sort
}
printf 'a\nb\n' >input
said_0=$'err 0\nout 0' said_1=$'err 1\nout 1' said_2=$'err 2\nout 2'
got() {
    printf "got $1: %s\n" a b
}

# ---- input
is "$(talked)" "$(sort <<<"$said_0"$'\n'"$said_1"$'\n'"$said_2"$'\n'"$(got 0; got 1; got 2)")" \
    "without an option the input goes to every rank, and the spare says nothing"
is "$(talked -i all)" "$(talked)" "-i all: the same"
is "$(talked -i 1)" "$(sort <<<"$said_0"$'\n'"$said_1"$'\n'"$said_2"$'\n'"$(got 1)")" "-i 1: to rank 1 only"
is "$(talked -i none)" "$(sort <<<"$said_0"$'\n'"$said_1"$'\n'"$said_2")" "-i none: to nobody"
is "$(talked -i "$work/input")" "$(talked)" "-i FILE: the file, to every rank"

# A task of Slurm's that does not read stops the input of all after a megabyte.
head -c 6000000 /dev/zero >large
counted() {
    wait_for 20 all_idle
    timeout 20 srun -N3 --ckptless=spares=1 "$@" 2>&1 <large | grep -v '^ckptless: step' | sort
}
is "$(counted wc -c)" $'6000000\n6000000\n6000000' "6 MB of input reach every rank, though the spare reads none"
is "$(counted sh -c 'if [ $RANK -eq 1 ]; then wc -c; fi')" 6000000 "and rank 1, when the others have ended without reading"

# The input goes on where the lost process had stopped; one that starts on a spare has none.
cat >ask <<'SH'
#!/bin/sh
while read -r line; do
    echo "$RANK on $(hostname) reads $line"
done
echo "$RANK on $(hostname) reads no more"
[ -e end ] || while [ ! -e end ]; do sleep 0.05; done
SH
chmod +x ask
program_name=ask
mkfifo questions
wait_for 20 all_idle
out=$work/ask.out
srun -N3 --ckptless=spares=1 ./ask <questions >"$out" 2>&1 &
step=$!
exec 8>questions
echo one >&8
ok "each rank reads the first line" wait_for 20 said 'reads one$' 3
kill -KILL "$(pids_of 2 ask)"
ok "a rank is killed" wait_for 20 said '^ckptless: lost rank 1 on n2'
restarted() {
    for i in 1 2 3; do
        [ "$(pids_of $i ask | wc -l)" -eq 1 ] || return 1
    done
}
wait_for 10 restarted
echo two >&8
ok "and those that are started again read the next one" wait_for 20 said 'reads two$' 3
is "$(grep -c 'reads one$' "$out")" 3 "nothing is read twice"
"$top/lab/kill-node" 3
ok "a rank that moves to the spare has no input" wait_for 20 said '2 on n4 reads no more'
like "$(grep 'lost n3' "$out")" '; rank 2 -> n4 \(task 3\)$' "the loss line says which task has the rank's output from then on"
exec 8>&-
touch end
wait_for 20 bash -c "! kill -0 $step" || scancel "$(squeue -h -o %i)"
wait $step
is $? 0 "and the step ends with 0"
ok "n3 is back" all_back

# ---- labels and files
is "$(talked -l -i none)" $'0: err 0\n0: out 0\n1: err 1\n1: out 1\n2: err 2\n2: out 2' "-l: each line has its rank's label"
is "$(talked -u -i none)" "$(talked -i none)" "-u: the same lines"
talked -i none -o out.%t -e err.%t >nothing
is "$(cat nothing)$(head out.* err.*)" "$(
    for i in 0 1 2 3; do printf '%s' "$([ $i -lt 3 ] && echo "out $i")" >wanted.out.$i; done
    printf '==> out.0 <==\nout 0\n\n==> out.1 <==\nout 1\n\n==> out.2 <==\nout 2\n\n==> out.3 <==\n\n'
    printf '==> err.0 <==\nerr 0\n\n==> err.1 <==\nerr 1\n\n==> err.2 <==\nerr 2\n\n==> err.3 <==\n'
)" "-o out.%t -e err.%t: a file a task, the spare's is empty"
talked -i none -o node.%N >nothing
is "$(head node.* | grep -v '^$' | tr '\n' ' ')" \
    "==> node.n1 <== out 0 err 0 ==> node.n2 <== out 1 err 1 ==> node.n3 <== out 2 err 2 ==> node.n4 <== " \
    "-o node.%N: a file a node"
talked -i none -o both >nothing
talked -i none -o both --open-mode=append >nothing
is "$(sort both | uniq -c | awk '{ print $1, $2, $3 }' | tr '\n' ' ')" "2 err 0 2 err 1 2 err 2 2 out 0 2 out 1 2 out 2 " \
    "--open-mode=append: twice the lines in one file"
talked -i none -o both --open-mode=truncate >nothing
is "$(sort both | uniq -c | awk '{ print $1, $2, $3 }' | tr '\n' ' ')" "1 err 0 1 err 1 1 err 2 1 out 0 1 out 1 1 out 2 " \
    "--open-mode=truncate: once"

# ---- a terminal
cat >terminal <<'SH'
#!/bin/sh
echo "$RANK: $(tty)"
[ "$RANK" -ne 0 ] || while [ ! -e end ]; do sleep 0.05; done
SH
chmod +x terminal
program_name=terminal
rm -f end
wait_for 20 all_idle
script -qfec "srun -N2 --ckptless=spares=1 --pty ./terminal" /dev/null </dev/null >pty.out 2>&1 &
step=$!
out=$work/pty.out
ok "--pty: rank 0 has a terminal" wait_for 20 said '^0: /dev/pts/[0-9]+'
kill -KILL "$(pids_of 1 terminal)"
ok "and again when it has been killed and started again" wait_for 20 said '^0: /dev/pts/[0-9]+' 2
touch end
wait_for 20 bash -c "! kill -0 $step" || scancel "$(squeue -h -o %i)"
wait $step
is $? 0 "and the step ends with 0"

# ---- much output, and losses
program_name=steps
# judge FILE: what is wrong with the lines in it: each process's are numbered from 0 on without a gap.
judge() {
    awk '!/^line [0-9]+ [0-9]+ [0-9]+ x+$/ || length($0) != 99 { print "broken: " $0; next }
        { key = $2 " " $3
          if ($4 != next_of[key] + 0) { print "rank " $2 ", pid " $3 ": line " $4 " after " next_of[key] - 1 }
          next_of[key] = $4 + 1
          rank[$2] = 1 }
        END { for (key in next_of) { total += next_of[key] }
              for (r in rank) { ranks++ }
              if (ranks != 3 || total < 2 * 60 * 1000) { print "only " total " lines of " ranks " ranks" } }' "$1" | head -n 5
}
loud() {
    wait_for 20 all_idle
    rm -f loud.*
    timeout 60 srun -N3 --ckptless=spares=1 "$@" "$steps_program" --steps 60 --step-ms 20 --print-every 10 --lines 1000 \
        >"$out" 2>loud.err &
    step=$!
}
out=$work/loud
loud -l
wait_for 20 grep -q '^0: step 10$' "$out"
hit 2
wait_for 20 grep -qE '^ckptless: resumed' loud.err
hit 1 3
wait $step
is $? 0 "3 ranks print 5 MB/s each and are killed, one and then two at once: the step ends with 0"
is "$(grep -c '^ckptless: resumed' loud.err)" 2 "after two recoveries"
sed -nE 's/^[0-9]+: (line .*)/\1/p' "$out" >loud.lines
is "$(grep -vcE '^[012]: (line|step|final) ' "$out")" 0 "srun -l labels each line"
is "$(judge loud.lines)" "" "no line is lost, broken, or there twice"

loud -o loud.%t
wait_for 20 grep -q '^step 10$' loud.0
hit 2
wait_for 20 grep -qE '^ckptless: resumed' loud.err
"$top/lab/kill-node" 3
wait $step
is $? 0 "with a file a task, a rank killed and a node lost: the step ends with 0"
grep -h '^line' loud.0 loud.1 loud.2 loud.3 >lines
is "$(judge lines)" "" "no line is lost, broken, or there twice"
like "$(grep '^ckptless: lost n3' loud.err)" '; rank 2 -> n4 \(task 3\)$' "the loss line names task 3 for rank 2"
is "$(grep -h ^line loud.3 | cut -d' ' -f2 | sort -u)" 2 "and its output goes on in loud.3"
ok "all nodes are back" all_back

done_clean
