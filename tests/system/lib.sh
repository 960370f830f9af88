# Shared by the system tests: TAP, labs, waiting, and the look for what was left behind. Sourced by tests/system/t*.t.
#
# A test runs from anywhere: alone (bash tests/system/t0100-lab.t) or under ./check, which says where the build to be
# tested is installed: CKPTLESS_PREFIX, CKPTLESS_BUILD. Nothing sleeps: wait_for waits for the thing, with a deadline.

set -uo pipefail
top=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
test_name=$(basename "$0" .t)
CKPTLESS_TEST_TAG=${CKPTLESS_TEST_TAG:-$test_name-$$}
CKPTLESS_PREFIX=${CKPTLESS_PREFIX:-$top/.build/check/inst}
CKPTLESS_BUILD=${CKPTLESS_BUILD:-${CKPTLESS_PREFIX%/inst}}
plugin=$CKPTLESS_PREFIX/lib/ckptless/ckptless.so
PATH=$CKPTLESS_PREFIX/bin:$PATH:/usr/sbin:/sbin
unset CKPTLESS_LAB CKPTLESS_PLUGIN CKPTLESS_PLUGIN_ARGS

tap_count=0
tap_failures=0
tap_is_done=false
labs=()

note() {
    printf '%s\n' "$*" | sed 's/^/# /'
}

pass() {
    tap_count=$((tap_count + 1))
    echo "ok $tap_count - $*"
}

fail() {
    tap_count=$((tap_count + 1))
    tap_failures=$((tap_failures + 1))
    echo "not ok $tap_count - $*"
}

# ok TITLE COMMAND...: the command must succeed; what it prints is shown when it does not.
ok() {
    local title=$1 output
    shift
    if output=$("$@" 2>&1); then
        pass "$title"
    else
        fail "$title"
        note "failed: $*"
        [ -z "$output" ] || note "$output"
        return 1
    fi
}

# is GOT WANTED TITLE
is() {
    if [ "$1" = "$2" ]; then
        pass "$3"
    else
        fail "$3"
        note "got:    $1"
        note "wanted: $2"
        return 1
    fi
}

# like GOT EXTENDED-REGEX TITLE
like() {
    if [[ $1 =~ $2 ]]; then
        pass "$3"
    else
        fail "$3"
        note "got:         $1"
        note "not matched: $2"
        return 1
    fi
}

skip() {
    tap_count=$((tap_count + 1))
    echo "ok $tap_count - $1 # SKIP ${2:-}"
}

bail() {
    fail "$*"
    done_testing
}

# wait_for SECONDS COMMAND...: true as soon as the command is, false when the time is over.
wait_for() {
    local deadline=$((${EPOCHREALTIME/./} + $1 * 1000000))
    shift
    until "$@" >/dev/null 2>&1; do
        [ "${EPOCHREALTIME/./}" -lt $deadline ] || return 1
        sleep 0.02
    done
}

# lab_start N [OPTION OF lab/up...]: a lab of the test's own, with the plugin when it has been built; the shell is set to
# it (SLURM_CONF, CKPTLESS_LAB) and lab_dir is its directory. Taken down at the test's end. Bails out when it fails.
lab_start() {
    local name=$CKPTLESS_TEST_TAG-$((${#labs[@]} + 1)) plugin_option=()
    [ ! -e "$plugin" ] || plugin_option=(--plugin "$plugin")
    labs+=("$name")
    "$top/lab/up" --name "$name" "${plugin_option[@]}" "$@" || bail "a lab of $1 nodes comes up"
    lab_use_name "$name"
}

# Sets the shell to one of several labs.
lab_use_name() {
    eval "$("$top/lab/env" --name "$1")"
    lab_dir=${SLURM_CONF%/slurm.conf}
}

# lab_stop [NAME]: takes the shell's lab (or the named one) down before the test ends. Its traces are kept for done_clean.
lab_stop() {
    [ -n "${1:-}" ] || keep_traces
    "$top/lab/down" --name "${1:-$CKPTLESS_LAB}"
}

node_state() {
    sinfo -h -n "$1" -o %T
}

node_state_is() {
    [ "$(node_state "$1")" = "$2" ]
}

done_testing() {
    tap_is_done=true
    echo "1..$tap_count"
    exit $((tap_failures > 0))
}

cleanup() {
    local code=$? name
    trap '' INT TERM
    cd /
    for name in ${labs[@]+"${labs[@]}"}; do
        "$top/lab/down" --name "$name" >&2
    done
    rm -rf "$work"
    $tap_is_done || echo "# the test did not reach its end (code $code)"
}

# shellcheck source=tests/system/traces.sh
. "$top/tests/system/traces.sh"

[ "$(id -u)" -eq 0 ] || {
    echo "1..0 # SKIP needs root"
    exit 0
}
leftovers_before=$(leftovers | sort)
# The test's own directory, for job scripts and outputs; others may read it, for jobs of ordinary users.
work=$(mktemp -d "${TMPDIR:-/tmp}/test-$test_name-XXXXXX")
chmod 755 "$work"
trap cleanup EXIT
trap 'exit 130' INT
trap 'exit 143' TERM
cd "$work"
