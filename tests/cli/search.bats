load helper

evaluated() { evo status --json > status.json && field status.json '$.evaluated'; }
more_than() { [ "$(evaluated)" -gt "$1" ]; }

@test "a search runs to its budget, exactly, and says what it found" {
    fake_seed 17 > seed.yaml
    run --separate-stderr evo start --seed seed.yaml
    [ "$status" -eq 0 ]
    [ -z "$output" ]
    [[ "$stderr" == *"17 evaluated"* ]]
    [[ "$stderr" == *"the search has ended: "* ]]
    [ "$(evaluated)" = 17 ]
    [ "$(evo dump | wc -l)" = 17 ]
    run ! grep -q queued <(evo dump)
}

@test "--foreground runs the search in the process itself" {
    fake_seed 5 > seed.yaml
    evo start --seed seed.yaml --foreground
    [ "$(evaluated)" = 5 ]
}

@test "--detach answers at once with pid and log, and stop ends it" {
    fake_seed 1000000 --latency-ms 20 | sed 's/ROWS=16/ROWS=16 WARPS=2/' > seed.yaml
    run --separate-stderr evo start --seed seed.yaml --detach
    [ "$status" -eq 0 ]
    [[ "${lines[0]}" =~ ^pid\ [0-9]+$ ]]
    [ "${lines[1]}" = "log evo.db.log" ]
    pid=${lines[0]#pid }
    kill -0 "$pid"
    evo status | grep -q "running (pid $pid)"
    run evo stop
    [ "$status" -eq 0 ]
    [[ "$output" == *"(pid $pid) has ended"* ]]
    evo status | head -1 | grep 'stopped'
    evo stop 2>&1 | grep "no search runs"
}

@test "a second start is refused, naming the first process" {
    fake_seed 1000000 --latency-ms 20 > seed.yaml
    run evo start --seed seed.yaml --detach
    pid=$(sed -n 's/^pid //p' <<< "$output")
    run --separate-stderr evo start --seed seed.yaml --detach
    [ "$status" -eq 2 ]
    [[ "$stderr" == *"$pid"* ]]
    kill -0 "$pid"
}

@test "stop says so when nothing runs, and that is no failure" {
    run --separate-stderr evo stop
    [ "$status" -eq 0 ]
    [ -z "$output" ]
    [[ "$stderr" == *"no search runs on 'evo.db'"* ]]
    run evo watch
    [ "$status" -eq 4 ]
}

@test "Ctrl-C while following leaves the search running" {
    fake_seed 1000000 --latency-ms 50 > seed.yaml
    evo start --seed seed.yaml 2> follow.txt &
    follower=$!
    await 20 grep -q "the search runs as process" follow.txt
    sleep 0.3
    kill -INT "$follower"
    wait "$follower"
    grep -q "the search goes on (pid" follow.txt
    grep -q "'evo stop' ends it" follow.txt
    evo status | grep -q "running (pid"
}

@test "a stopped search goes on, and its lineage is as if it had not been" {
    fake_seed 24 --latency-ms 30 > seed.yaml
    evo start --seed seed.yaml --db whole.db
    evo start --seed seed.yaml --detach
    await 20 more_than 2
    evo stop
    [ "$(evaluated)" -lt 24 ]
    evo start
    diff <(evo dump --db whole.db) <(evo dump)
    # What the judge did with its time adds up to that of both starts.
    sqlite3 evo.db "SELECT * FROM judge_time"
    [ "$(sqlite3 evo.db "SELECT abs(sum(ms) - (SELECT elapsed_ms FROM run)) < 500
                         FROM judge_time WHERE part_of = ''")" = 1 ]
    [ "$(sqlite3 evo.db "SELECT ms > 24 * 30 / 2 FROM judge_time WHERE what = 'judging'")" = 1 ]
    evo status --json > status.json
    evo status | grep -E '^judges +(judging|promoting|starting) [0-9]+ %'
    [ "$(field status.json '$.judges[0].part_of')" = "" ]
}

@test "a search killed by SIGKILL goes on, and its lineage is as if it had not been" {
    fake_seed 24 --latency-ms 30 > seed.yaml
    evo start --seed seed.yaml --db whole.db
    evo start --seed seed.yaml --detach > started.txt
    await 20 more_than 4
    kill -KILL "$(sed -n 's/^pid //p' started.txt)"
    evo start --seed seed.yaml
    diff <(evo dump --db whole.db) <(evo dump)
}

@test "--budget overrules the seed, in evaluations and in time" {
    fake_seed 20 > seed.yaml
    evo start --seed seed.yaml --budget 7 --db a.db
    [ "$(evo dump --db a.db | wc -l)" = 7 ]
    fake_seed 1000000 --latency-ms 100 > slow.yaml
    evo start --seed slow.yaml --budget 1s --db b.db
    [ "$(evo dump --db b.db | wc -l)" -lt 100 ]
    for budget in 0 ten 5x 10m, -5; do
        run evo start --seed seed.yaml --budget "$budget" --db c.db
        [ "$status" -eq 2 ]
        [[ "$output" == *"is not a budget"* ]]
        [ ! -e c.db ]
    done
}

@test "--new begins another run beside the first, and --run looks back" {
    fake_seed 6 > seed.yaml
    evo start --seed seed.yaml
    evo start --seed seed.yaml --new --strategy random
    evo status | grep -q "run 2"
    evo status --run 1 | grep -q "strategy evo"
    evo status --run 2 | grep -q "strategy random"
    run evo status --run 3
    [ "$status" -eq 2 ]
    [ "$(evo dump --run 1 | wc -l)" = 6 ]
}

@test "a start that cannot be says why before anything is made" {
    run --separate-stderr evo start
    [ "$status" -eq 2 ]
    [[ "$stderr" == *"no seed and no database"* ]]
    run --separate-stderr evo start --seed nowhere.yaml
    [ "$status" -eq 2 ]
    [[ "$stderr" == *"there is no seed 'nowhere.yaml'"* ]]
    fake_seed 5 | sed 's/ROWS=16/ROWS=17/' > seed.yaml
    run --separate-stderr evo start --seed seed.yaml
    [ "$status" -eq 2 ]
    [[ "$stderr" == *"seed.yaml:4:12: "* ]]
    [ ! -e evo.db ]
}

@test "a search that fails once it is detached is told by start, with its exit code" {
    fake_seed 5 --garbage-hello > seed.yaml
    run --separate-stderr evo start --seed seed.yaml
    [ "$status" -ne 0 ]
    [[ "$stderr" == *"evo: "* ]]
    [ -s evo.db.log ]
}

@test "EVO_DB and --db name the database" {
    fake_seed 4 > seed.yaml
    EVO_DB=other.db evo start --seed seed.yaml
    [ -e other.db ]
    [ ! -e evo.db ]
    [ "$(evo dump --db other.db | wc -l)" = 4 ]
    run --separate-stderr evo status
    [ "$status" -eq 2 ]
    [[ "$stderr" == *"there is no database 'evo.db'"* ]]
}

@test "a recorded space is searched without compiling anything" {
    cat > replay.yaml <<END
workload: [1x8x512x64]
families: [replay]
workers: {device: "replay:$EVO_SOURCE/tests/data/space_gemm.csv"}
END
    EVO_COMPILE=/bin/false evo start --seed replay.yaml
    [ "$(evo dump | wc -l)" -ge 5 ]
    evo dump | grep -q ' replayed'
    evo best | grep -q '31.20 us'
}

@test "a search ends by itself when nothing more is to be expected, and says so" {
    awk 'BEGIN {
        print "# space bowl"; print "# device test"
        print "# param A 1 2 4 8 16 32 64 128"; print "# param B 1 2 3 4 5 6 7 8 9 10"; print "# param C 0 1 2 3 4 5 6 7"
        print "A,B,C,status,time_ms"
        for (a = 0; a < 8; a++) for (b = 1; b <= 10; b++) for (c = 0; c < 8; c++)
            printf "%d,%d,%d,ok,%.4f\n", 2 ^ a, b, c, 1 + (a - 3) ^ 2 / 5 + (b - 4) ^ 2 / 9 + (c - 2) ^ 2 / 3
    }' > bowl.csv
    cat > seed.yaml <<END
workload: [1x8x512x64]
families: [replay]
workers: {device: "replay:bowl.csv"}
search: {lag: 8}
budget: {evaluations: 500}
END
    evo start --seed seed.yaml 2> log
    grep -q "ended: no further gain is expected that could be measured" log
    evo best | grep -q 'A=8 B=4 C=2'
    count=$(evo dump | wc -l)
    [ "$count" -gt 80 ]
    [ "$count" -lt 400 ]
    sed 's/lag: 8/lag: 8, end: budget/' seed.yaml > whole.yaml
    evo start --seed whole.yaml --db whole.db
    [ "$(evo dump --db whole.db | wc -l)" = 500 ]
    cmp <(evo dump) <(evo dump --db whole.db | head -n "$count") # to there it is the same search
    # A long run has arms, and says what it is worth beside them.
    sqlite3 whole.db "SELECT count(*), min(place) >= 200 FROM candidate WHERE operator IN ('draw', 'climb')" > arms
    grep -Eq '^(1[5-9]|[234][0-9])\|1$' arms
    sqlite3 whole.db "SELECT text FROM event WHERE kind = 'contrast'" > contrasts
    grep -Eq "^after [0-9]+ evaluations each evo had [0-9.]+ us, its arm 'draw' [0-9.]+ us: (evo|draw) [0-9.]+ times as fast$" contrasts
    grep -q "its arm 'climb'" contrasts
    evo status --db whole.db | grep -Eq "^evo .*x the speed of 'draw' after [0-9]+ each"
    evo status --db whole.db --json > status.json
    [ "$(jq '[.arms[].evaluations] | add' status.json)|1" = "$(cat arms)" ]
}

@test "a small space is offered to be exhausted, and is when asked for" {
    cat > seed.yaml <<END
workload: [1x8x512x64]
families: [replay]
workers: {device: "replay:$EVO_SOURCE/tests/data/space_gemm.csv"}
budget: {evaluations: 3}
END
    evo start --seed seed.yaml
    grep -q "the space has 8 feasible genomes, few enough to try them all: 'evo start --exhaustive' does" evo.db.log
    [ "$(evo dump | wc -l)" = 3 ]
    evo start --seed seed.yaml --exhaustive --db all.db
    grep -q "ended: every feasible genome was tried" all.db.log
    [ "$(grep -c exhaustive all.db.log)" = 0 ]
    [ "$(evo dump --db all.db | wc -l)" = 8 ]
    evo start --seed seed.yaml --exhaustive --budget 5 --db five.db
    [ "$(evo dump --db five.db | wc -l)" = 5 ]
    run evo start --seed seed.yaml --exhaustive --strategy random --db none.db
    [ "$status" -eq 2 ]
    [[ "$output" == *"'--exhaustive' is a strategy of its own"* ]]
}

@test "a run that ends says how it fared beside other strategies" {
    for strategy in random hill evo; do
        fake_seed 40 > seed.yaml
        evo start --new --no-memory --seed seed.yaml --strategy $strategy
    done
    sqlite3 evo.db "SELECT text FROM event WHERE kind = 'contrast' AND run = 3" > contrasts
    [ "$(wc -l < contrasts)" = 2 ]
    grep -Eq '^after [0-9]+ evaluations each evo had [0-9.]+ us, run 1 by random [0-9.]+ us: (evo|random) [0-9.]+ times as fast$' contrasts
    grep -q 'run 2 by hill' contrasts
    [ "$(sqlite3 evo.db "SELECT count(*) FROM event WHERE kind = 'contrast' AND run = 1")" = 0 ]
    sed 's/512x64/256x64/' seed.yaml > other.yaml # another workload is compared with nothing
    evo start --new --seed other.yaml --strategy ga
    [ "$(sqlite3 evo.db "SELECT count(*) FROM event WHERE kind = 'contrast' AND run = 4")" = 0 ]
}

@test "a run begins with what earlier runs of the database found" {
    fake_seed 30 > seed.yaml
    evo start --seed seed.yaml
    sed 's/512x64/1024x64/' seed.yaml > other.yaml
    sqlite3 evo.db ".backup four.db"
    evo start --new --seed other.yaml
    sed 's/compile: 2/compile: 1/' other.yaml > slow.yaml
    evo start --new --seed slow.yaml --db four.db
    grep -Eq 'begins with [0-9]+ kernels of earlier runs \(run 1 of this database\)' evo.db.log
    diff <(evo dump --run 2) <(evo dump --run 2 --db four.db)
    best=$(sqlite3 evo.db "SELECT genes FROM best_kernel WHERE run = 1 AND numerics = 'fp32'")
    [ "$(sqlite3 evo.db "SELECT genes FROM lesson WHERE run = 2 AND idx = 0")" = "$best" ]
    [ "$(sqlite3 evo.db "SELECT count(*) FROM candidate WHERE run = 2 AND operator = 'recall'")" -gt 0 ]
    evo start --new --no-memory --seed other.yaml
    evo start --new --strategy random --seed other.yaml
    [ "$(sqlite3 evo.db "SELECT group_concat(DISTINCT run) FROM lesson")" = 2 ]
    evo start --new --seed other.yaml
    sqlite3 evo.db "SELECT text FROM event WHERE kind = 'contrast' AND run = 5" > contrasts
    grep -q 'run 4 by random .* times as fast; it began with what earlier runs had found' contrasts
}

@test "a dispatch table names the best kernel of each shape, and what a single one costs" {
    cat > seed.yaml <<END
workload: [1x8x512x64, 1x8x2048x64, 2x4x256x64]
families: [toy]
templates: $EVO_SOURCE/tests/golden/seeds/templates
budget: {evaluations: 30}
workers: {judges: "'$EVO_BIN/evo-worker-fake'", compile: 2}
END
    run evo export --table
    [ "$status" -eq 2 ]
    evo start --seed seed.yaml
    evo export --table > table.csv
    grep -q '^# n[0-9]* for all shapes takes [0-9.]* % longer than the best of each' table.csv
    [ "$(grep -c '^[12]x[48]x[0-9]*x64,n' table.csv)" = 3 ]
    for shape in 1x8x512x64 1x8x2048x64 2x4x256x64; do # what 'best' says of one shape
        [ "$(evo best --shape $shape -n 1 --json | jq -r '"n" + (.[0].place | tostring)')" = \
            "$(grep "^$shape," table.csv | cut -d, -f2)" ]
    done
    evo export --table --format json -o table.json
    jq -e '.shapes | length == 3 and all(.regret >= 0)' table.json
    jq -e '.regret <= .regret_worst and .regret_worst == ([.shapes[].regret] | max)' table.json
    [ "n$(jq .single.place table.json)" = "$(sed -n 3p table.csv | cut -d, -f6)" ]
    run evo export --table best
    [ "$status" -eq 2 ]
    [[ "$output" == *"takes no ID"* ]]
    run evo export --table --format ptx
    [ "$status" -eq 2 ]
}

@test "a worker that could not do its job is no fault of the candidate's" {
    mkdir once
    fake_seed 16 > whole.yaml
    evo start --seed whole.yaml --db whole.db
    fake_seed 16 --sicken-on ROWS=32.WARPS=2 --once once > seed.yaml
    export EVO_COMPILE="'$EVO_BIN/evo-worker-fake' --role compile --sicken-on EVO_VALUE_WARPS.4 --once once"
    evo start --seed seed.yaml
    [ "$(sqlite3 evo.db "SELECT count(DISTINCT role) FROM attempt WHERE outcome = 'failed'")" = 2 ]
    diff <(evo dump --db whole.db) <(evo dump)
}

@test "three failures in a row end the search, in the worker's words" {
    fake_seed 16 --sicken-on . > seed.yaml
    run --separate-stderr evo start --seed seed.yaml --foreground
    [ "$status" -eq 3 ]
    [[ "$stderr" == *"3 workers failed in a row; the last, 'judge:0': the device is lost"* ]]
    [[ "$stderr" == *"ask for something else"* ]]
    [ "$(sqlite3 evo.db "SELECT count(*) FROM candidate WHERE verdict = 'crash'")" = 0 ]
}

@test "sampling stops above a bound, but not where times are a function of the program" {
    for kind in "" --fickle; do
        fake_seed 60 $kind | sed 's/^search:.*/&\npopulation: {islands: 1, elites: 4}/' > seed.yaml
        evo start --seed seed.yaml --db "fake$kind.db"
    done
    [ "$(sqlite3 fake.db "SELECT sum(quick) FROM timing")" = 0 ]
    [ "$(sqlite3 fake.db "SELECT count(*) > 10 FROM candidate WHERE bound_us > 0")" = 1 ]
    [ "$(sqlite3 fake--fickle.db "SELECT sum(quick) > 5 FROM timing")" = 1 ]
    # What is promoted is timed in full.
    [ "$(sqlite3 fake--fickle.db "SELECT sum(t.quick) FROM timing t JOIN promotion p ON p.judgement = t.judgement")" = 0 ]
}

@test "other users of a device are said, once" {
    fake_seed 8 --company 2 > seed.yaml
    evo start --seed seed.yaml
    [ "$(grep -c "the device of judge:0 has other users (2): what they run is timed along" evo.db.log)" = 1 ]
    [ "$(sqlite3 evo.db "SELECT count(*) FROM event WHERE kind = 'company'")" = 1 ]
    fake_seed 8 > quiet.yaml
    evo start --seed quiet.yaml --db quiet.db
    [ "$(sqlite3 quiet.db "SELECT count(*) FROM event WHERE kind = 'company'")" = 0 ]
}
