load helper

setup() {
    cd "$BATS_TEST_TMPDIR"
    PATH="$EVO_BIN:$PATH"
    environment
}

# A space of 640 configurations with one optimum, a sixteenth of which fail.
space() {
    awk 'BEGIN {
        print "# space bowl"; print "# device test"
        print "# param A 1 2 4 8 16 32 64 128"; print "# param B 1 2 3 4 5 6 7 8 9 10"; print "# param C 0 1 2 3 4 5 6 7"
        print "A,B,C,status,time_ms,sd_ms,compile_ms,verify_ms,bench_ms"
        for (a = 0; a < 8; a++) for (b = 1; b <= 10; b++) for (c = 0; c < 8; c++)
            if (a == 7 && c > 3) printf "%d,%d,%d,compile,,,1,1,1\n", 2 ^ a, b, c
            else printf "%d,%d,%d,ok,%.4f,0.001,1,1,1\n", 2 ^ a, b, c, 1 + (a - 3) ^ 2 / 5 + (b - 4) ^ 2 / 9 + (c - 2) ^ 2 / 3
    }' > bowl.csv
}

@test "bench-search finds the optimum of a bowl in fewer evaluations than random search" {
    space
    evo bench-search --spaces bowl.csv --strategy evo --strategy random --evals 60 --repeats 4 --json > out.json
    jq -e 'length == 2 and .[0].strategy == "evo" and .[1].strategy == "random"' out.json
    jq -e '.[0].best_rel["50"] == 1 and .[0].solved["1"] == 1 and .[0].best_rel["100"] == null' out.json
    jq -e '.[0].evals_to["1"] < .[1].evals_to["1"] and .[0].score > .[1].score' out.json
}

@test "bench-search gives the same with any number of processes" {
    space
    for jobs in 1 3; do
        evo bench-search --spaces bowl.csv --evals 40 --repeats 3 --lag 8 --noise --jobs $jobs --csv |
            cut -d, -f1-19 > out.$jobs
    done
    cmp out.1 out.3
    [ "$(wc -l < out.1)" -eq 2 ]
}

@test "a search that remembers another space of the same parameters finds its optimum at once" {
    space
    sed 's/space bowl/space cup/' bowl.csv > cup.csv
    evo bench-search --spaces bowl.csv --spaces cup.csv --evals 60 --repeats 4 --json > cold.json
    evo bench-search --spaces bowl.csv --spaces cup.csv --evals 60 --repeats 4 --memory --json > warm.json
    jq -e '[.[].evals_to["1"]] | max <= 4' warm.json
    jq -e '[.[].evals_to["1"]] | min > 4' cold.json
}

@test "bench-search says what is wrong" {
    run evo bench-search
    [ "$status" -eq 2 ]
    [[ "$output" == *"no recorded space"* ]]
    space
    run evo bench-search --spaces bowl.csv --strategy anneal
    [ "$status" -eq 2 ]
    [[ "$output" == *"unknown strategy 'anneal'"* ]]
    mkdir empty
    run evo bench-search --spaces empty
    [ "$status" -eq 2 ]
    [[ "$output" == *"holds no recorded space"* ]]
}
