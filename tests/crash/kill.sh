#!/bin/bash
# kill.sh -- a run that is killed, anywhere, must end as if it had not been.
#
#     kill.sh BIN faults    SIGKILL at every named crash point, at several of its passages
#     kill.sh BIN random    SIGKILL at EVO_KILLS random moments (40), daemon and workers in turn
#     kill.sh BIN workers   1 worker, 8 workers, jittered answers, workers that die: the same lineage
#
# BIN is the folder of a build's programs. Each ends by comparing `evo dump`, and what was promoted and
# is ranked, with those of a run that nobody disturbed, byte for byte. EVO_SEED makes the random moments
# repeatable.
set -euo pipefail

bin=$1 mode=$2
tests=$(cd "$(dirname "$0")/.." && pwd)
work=$(mktemp -d "${TMPDIR:-/tmp}/evo-crash.XXXXXX")
RANDOM=${EVO_SEED:-$$}
export ASAN_OPTIONS=detect_leaks=0${ASAN_OPTIONS:+:$ASAN_OPTIONS}

finish() {
    status=$?
    pkill -KILL -f "$work/" 2>/dev/null || true
    if [ $status -eq 0 ]; then rm -rf "$work"; else echo "kept for a look: $work" >&2; fi
}
trap finish EXIT

fail() { echo "FAILED: $*" >&2; exit 1; }

# A recorded space with 1,280 rows, a twelfth of them failures, and one optimum.
awk 'BEGIN {
    print "# space crash"; print "# device crash test";
    print "# param A 1 2 4 8 16 32 64 128"; print "# param B 1 2 3 4 5 6 7 8"
    print "# param C 1 2 3 4 5"; print "# param D 0 1 2 3"
    print "A,B,C,D,status,time_ms,sd_ms,compile_ms,verify_ms,bench_ms"
    for (a = 0; a < 8; a++) for (b = 1; b <= 8; b++) for (c = 1; c <= 5; c++) for (d = 0; d < 4; d++) {
        n = (a * 7919 + b * 104729 + c * 1299709 + d * 15485863) % 997
        if (n % 12 == 0) { printf "%d,%d,%d,%d,%s,,,1,1,1\n", 2 ^ a, b, c, d, n % 24 ? "compile" : "runtime"; continue }
        t = 1 + (a - 5) ^ 2 / 8 + (b - 3) ^ 2 / 16 + (c - 2) ^ 2 / 4 + (d - 1) ^ 2 / 3 + n / 4000
        printf "%d,%d,%d,%d,ok,%.5f,0,1,1,1\n", 2 ^ a, b, c, d, t
    } }' >"$work/space.csv"

cat >"$work/seed.yaml" <<EOF
name: crash
workload: [1x8x512x64]
families: [replay]
population: {islands: 2, elites: 8}
search: {lag: 16, end: budget}
budget: {evaluations: 300}
workers: {device: "replay:space.csv"}
EOF

# evo DB ARGUMENT...: one start in the foreground, its log beside the database.
start() {
    local db=$1; shift
    "$bin/evo" start --foreground --db "$work/$db.db" "$@" >>"$work/$db.log" 2>&1
}
dump() {
    "$bin/evo" dump --db "$work/$1.db" >"$work/$1.dump"
    echo "--- by rank" >>"$work/$1.dump"
    "$bin/evo" best --count 1000 --db "$work/$1.db" | sed 's/^n/rank: n/' >>"$work/$1.dump"
}
# Both runs end: their dumps must be equal, and hold as many places as the budget names.
compare() {
    dump "$2"
    cmp "$work/$1.dump" "$work/$2.dump" || fail "$3: the lineage differs"
    [ "$(grep -c '^n[0-9]' "$work/$2.dump")" -eq "$4" ] || fail "$3: not $4 places"
}

reference() {
    start reference --seed "$work/seed.yaml" || fail "the reference run: $(tail -3 "$work/reference.log")"
    dump reference
}

case $mode in
faults)
    EVO_FAULT_LIST=1 start reference --seed "$work/seed.yaml" || fail "the reference run: $(tail -3 "$work/reference.log")"
    dump reference
    points=$(sed -n 's/^fault-point //p' "$work/reference.log" | sort -u)
    [ -n "$points" ] || fail "this build has no crash points"
    for point in $points; do
        for passage in ${EVO_PASSAGES:-1 9}; do
            db=$point.$passage
            if EVO_FAULT=$point:$passage start "$db" --seed "$work/seed.yaml" 2>/dev/null; then
                [ "$passage" -gt 1 ] || fail "$db: was not killed"
                continue # fewer passages than that in the whole run
            fi
            start "$db" --seed "$work/seed.yaml" || fail "$db: did not go on: $(tail -3 "$work/$db.log")"
            compare reference "$db" "$db" 300
            echo "killed at $point, passage $passage: the same lineage"
        done
    done
    ;;
random)
    reference
    kills=${EVO_KILLS:-40} done_kills=0 runs=0
    while [ "$done_kills" -lt "$kills" ]; do
        runs=$((runs + 1)) db=random$runs ended=
        while [ -z "$ended" ]; do
            "$bin/evo" start --foreground --db "$work/$db.db" --seed "$work/seed.yaml" \
                >>"$work/$db.log" 2>&1 & # not the function: the shell would be killed in its place
            pid=$!
            sleep "$(printf '0.%03d' $((20 + RANDOM % 400)))"
            victim=$pid
            if [ $((RANDOM % 3)) -eq 0 ]; then # a worker instead of the daemon
                worker=$(pgrep -P "$pid" evo-judge | head -1 || true)
                [ -z "$worker" ] || kill -KILL "$worker" 2>/dev/null || true
                sleep 0.05
            fi
            if [ "$done_kills" -lt "$kills" ] && kill -KILL "$victim" 2>/dev/null; then
                done_kills=$((done_kills + 1))
                { wait "$pid" || true; } 2>/dev/null
            else
                wait "$pid" || fail "$db: $(tail -3 "$work/$db.log")"
                ended=1
            fi
            # A finished run says so and ends with success when started again.
            if grep -q 'budget of evaluations is spent' "$work/$db.log"; then ended=1; fi
        done
        compare reference "$db" "$db" 300
    done
    echo "killed at $done_kills random moments of $runs runs: the same lineage"
    ;;
workers)
    fake="'$bin/evo-worker-fake'"
    cat >"$work/workers.yaml" <<EOF
name: workers
workload: [1x8x512x64]
families: [attention_scalar]
population: {islands: 3, elites: 8}
search: {lag: 24, end: budget}
budget: {evaluations: 200}
workers:
  compile: COMPILERS
  judges: [JUDGES]
EOF
    staffed() { # NAME COMPILERS JUDGES COMPILE-OPTIONS JUDGE-OPTIONS
        local judges="" i
        for ((i = 0; i < $3; i++)); do
            judges="$judges${judges:+, }\"$fake --role judge --alias-mod 5 $5\""
        done
        sed "s|COMPILERS|$2|; s|JUDGES|$judges|" "$work/workers.yaml" >"$work/$1.yaml"
        EVO_COMPILE="$fake --role compile --alias-mod 5 $4" start "$1" --seed "$work/$1.yaml" ||
            fail "$1: $(tail -3 "$work/$1.log")"
        dump "$1"
    }
    staffed one 1 1 "" ""
    [ "$(grep -c '^n[0-9]' "$work/one.dump")" -eq 200 ] || fail "one: not 200 places"
    grep -q '\[alias n' "$work/one.dump" || fail "one: the fake compiler made no alias"
    staffed eight 8 8 "" ""
    cmp "$work/one.dump" "$work/eight.dump" || fail "8 workers: the lineage differs from 1 worker's"
    staffed jitter 4 3 "--latency-ms 8 --jitter 7" "--latency-ms 5 --jitter 9"
    cmp "$work/one.dump" "$work/jitter.dump" || fail "jittered workers: the lineage differs"
    staffed mortal 4 3 "--exit-after 17" "--exit-after 23"
    cmp "$work/one.dump" "$work/mortal.dump" || fail "workers that end now and then: the lineage differs"
    echo "1 worker, 8 workers, jitter, mortal workers: the same lineage"
    ;;
*)
    fail "unknown mode '$mode'"
    ;;
esac
