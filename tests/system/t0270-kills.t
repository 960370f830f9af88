#!/bin/bash
# Many kills in one job, of random ranks at random moments: as many recoveries, and the same weights in the end.
# CKPTLESS_TEST_KILLS: how many (20). CKPTLESS_TEST_SEED: repeats the choice of ranks and moments.
. "$(dirname "$0")/lib.sh"
. "$top/tests/system/job.sh"

kills=${CKPTLESS_TEST_KILLS:-20}
seed=${CKPTLESS_TEST_SEED:-$RANDOM}
RANDOM=$seed
note "$kills kills, CKPTLESS_TEST_SEED=$seed"

# Enough steps for all kills: each costs less than these, most of the time much less.
step_ms=10
steps=$((kills * 30 + 200))
lab_start 5
reference

# Waits up to 200 ms: the moment is random, so there is nothing to wait for.
random_moment() {
    local us=$((RANDOM % 200000))
    sleep "$(printf '0.%06d' $us)"
}

kill_them() {
    local k
    for ((k = 1; k <= kills; k++)); do
        random_moment
        hit $((RANDOM % 4 + 1)) || return 1
        resumed $k 10 || {
            echo "kill $k: no recovery"
            return 1
        }
        ! said '^final' || {
            echo "the training was over before kill $k"
            return 1
        }
    done
}

train kills
reached 10
ok "$kills processes are killed one after the other, and each time the job resumes" kill_them || show_job
has_survived "$kills kills" 120
is "$(events resume | wc -l)" "$kills" "as many recoveries"
is "$(events loss '[.node_lost, (.ranks | length)] | join(" ")' | sort | uniq -c | awk '{ $1 = $1; print }')" \
    "$kills false 1" "each loss is one rank"
note "recovery, ms: $(events resume '.ms.total | floor' | sort -n | awk '{ a[NR] = $1 } END { print "min", a[1], "median", a[int((NR + 1) / 2)], "max", a[NR] }')"
done_clean
