load helper

# A folder of somebody's own templates, with mistakes: each is told where it is before anything runs.

setup() {
    folder="$BATS_TEST_TMPDIR"
    cd "$folder"
    environment
    mkdir mine
    cat > seed.yaml <<END
workload: [1x8x512x64]
families: [own]
templates: mine
budget: {evaluations: 1}
workers: {judges: "'$EVO_BIN/evo-worker-fake'", compile: 1}
END
    cat > own.cu <<'END'
/*
 * own -- somebody's own family.
 */
#include "include/evo.cuh"
#include "include/attention.cuh"

EVO_GIVEN(HEAD_DIM, "columns")
EVO_GENE(ROWS, pow2(16, 256), "rows in a block")
struct forwards {};
struct backwards {};
EVO_CHOICE(Order, (forwards, backwards), "which way")
EVO_LET(BYTES, 2 * ROWS * HEAD_DIM, "one tile")
EVO_REQUIRE(BYTES <= 65536, "a tile must fit")
EVO_LAUNCH(own, (ceil_div(q_len, ROWS), heads, batch), ROWS, 0, (Q, K, V, O, problem))

extern "C" __global__ void own(const evo_half *Q, const evo_half *K, const evo_half *V, evo_half *O,
                               evo_problem problem)
{
    O[0] = Q[ROWS] + EVO_IS(Order, forwards);
}
END
}

teardown() { :; }

# wrong 'LINE:COLUMN' TEXT SED...: the template, edited, is refused there with these words.
wrong() {
    local place=$1 text=$2
    shift 2
    sed "$@" own.cu > mine/own.cu
    run --separate-stderr evo check seed.yaml
    echo "$stderr"
    [ "$status" -eq 2 ] && [ -z "$output" ] && [[ "$stderr" == "evo: "*"mine/own.cu:$place: "*"$text"* ]]
}

@test "a template without mistakes is ok" {
    cp own.cu mine/
    run evo check seed.yaml
    [ "$status" -eq 0 ]
    [[ "${lines[0]}" == "seed ok: 1 family, 10 feasible genomes" ]]
}

@test "mistakes in words are told by file, line and column" {
    wrong 12:20 "unknown name 'ROW'" 's/2 \* ROWS/2 * ROW/'
    wrong 8:21 "17 is not a power of two" 's/pow2(16, 256)/pow2(17, 256)/'
    wrong 8:16 "the domain is empty" 's/pow2(16, 256)/set()/'
    wrong 8:10 "'HEAD_DIM' is declared twice" 's/EVO_GENE(ROWS/EVO_GENE(HEAD_DIM/'
    wrong 7:11 "nothing gives 'HEAD_DIMS'" 's/EVO_GIVEN(HEAD_DIM/EVO_GIVEN(HEAD_DIMS/'
    wrong 11:30 "'forwards' is declared twice" 's/(forwards, backwards)/(forwards, forwards)/'
    wrong 13:21 "expected a value" 's/<= 65536,/<= ,/'
    wrong 14:12 "there is no kernel 'other'" 's/EVO_LAUNCH(own/EVO_LAUNCH(other/'
    wrong 14:75 "unknown argument 'P'" 's/(Q, K, V, O, problem))/(Q, K, V, P, problem))/'
    wrong 8:1 "unknown word 'EVO_GENES'" 's/EVO_GENE(/EVO_GENES(/'
    wrong 8:9 "EVO_GENE is not closed" 's/"rows in a block")/"rows in a block"/'
    wrong 5:19 "there is no include/attentions.cuh" 's/attention.cuh/attentions.cuh/'
}

@test "a file that is no template is told, and never a crash" {
    head -c 60000 /dev/urandom > mine/own.cu
    run evo check seed.yaml
    [ "$status" -eq 2 ]
    [[ "$output" == *"mine/own.cu:"* ]]
    head -c 300000 /dev/zero | tr '\0' x > mine/own.cu
    run evo check seed.yaml
    [ "$status" -eq 2 ]
    [[ "$output" == *"mine/own.cu' is larger than 262144 bytes"* ]]
    : > mine/own.cu
    run evo check seed.yaml
    [ "$status" -eq 2 ]
    [[ "$output" == *"mine/own.cu:1:1: the template has no EVO_LAUNCH"* ]]
    rm mine/own.cu
    run evo check seed.yaml
    [ "$status" -eq 2 ]
    [[ "$output" == *"/mine' holds no templates"* ]]
    cp own.cu mine/another.cu
    run evo check seed.yaml
    [ "$status" -eq 2 ]
    [[ "$output" == *"seed.yaml:2:12: unknown family 'own'"*"the families are"*"another"* ]]
}

@test "what only the compiler can see is told by the template's own line" {
    [ -x "$EVO_BIN/evo-compile" ] || skip "there is no evo-compile"
    sed 's/^struct backwards/struct upwards/' own.cu > mine/own.cu
    export EVO_COMPILE="'$EVO_BIN/evo-compile'" EVO_CACHE_DIR="$folder/cache"
    evo start --seed seed.yaml
    run evo show n0
    [[ "$output" == *"no_compile"*"own.cu(11): error: identifier \"backwards\" is undefined"* ]]
}

@test "a gene that does nothing is found out and told, once, in a run that is killed too" {
    [ -x "$EVO_BIN/evo-compile" ] || skip "there is no evo-compile"
    sed 's/^EVO_LET/EVO_GENE(IDLE, set(1, 2, 3), "of nothing")\n&/' own.cu > mine/own.cu
    sed -e 's/evaluations: 1/evaluations: 24/' -e "s|fake'|fake' --latency-ms 800|" seed.yaml > slow.yaml
    export EVO_COMPILE="'$EVO_BIN/evo-compile'" EVO_CACHE_DIR="$folder/cache"
    evo start --seed slow.yaml --detach > started.txt
    await 60 eval '[ "$(sqlite3 evo.db "SELECT count(*) FROM gene_audit")" -ge 1 ]'
    kill -KILL "$(sed -n 's/^pid //p' started.txt)"
    evo start --seed slow.yaml
    sqlite3 evo.db "SELECT gene || ' ' || state || ' ' || by || ' ' || pairs FROM gene_audit ORDER BY gene" > audit.txt
    diff - audit.txt <<END
IDLE dead  8
Order alive code 0
ROWS alive plan 0
END
    grep -q "gene IDLE of own is dead: no value of it changed launch or machine code, 8 times out of 8" evo.db.log
    [ "$(sqlite3 evo.db "SELECT count(*) FROM event WHERE kind = 'audit'")" = 1 ]
    evo status | grep -q '^genes *2 of 3 looked at change launch or code; dead: IDLE of own$'
    evo status --json > status.json
    [ "$(field status.json '$.genes[0].state')" = dead ]
    # It is why so many of its candidates are aliases.
    [ "$(field status.json '$.aliases')" -ge 8 ]
}
