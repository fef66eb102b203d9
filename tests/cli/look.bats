load helper

# One search for all the tests of this file.
setup_file() {
    cd "$BATS_FILE_TMPDIR"
    PATH="$EVO_BIN:$PATH"
    source "$EVO_SOURCE/tests/cli/helper.bash"
    environment
    fake_seed 20 > seed.yaml
    evo start --seed seed.yaml 2> start.txt
}

setup() {
    folder="$BATS_TEST_TMPDIR"
    cd "$folder"
    environment
    cp "$BATS_FILE_TMPDIR"/evo.db* .
}

teardown() { :; }

@test "best lists the fastest first, with interval and gain" {
    run --separate-stderr evo best -n 3
    [ "$status" -eq 0 ]
    [ -z "$stderr" ]
    [ "${#lines[@]}" -eq 4 ]
    [[ "${lines[0]}" == *"id"*"family"*"time"*"95 % interval"*"TFLOP/s"*"gain"*"genes"* ]]
    [[ "${lines[1]}" =~ ^n[0-9]+\ +toy\ +[0-9.]+\ us\ +\[[0-9.]+,\ [0-9.]+\] ]]
    [[ "${lines[1]}" == *"x "*"fake device"*"ROWS="* ]]
    evo best --json > best.json
    is_json best.json
    [ "$(field best.json '$[0].score.us <= 0')" != 1 ]
    [ "$(sqlite3 :memory: "SELECT json_extract(t, '\$[0].score.us') < json_extract(t, '\$[1].score.us')
        FROM (SELECT CAST(readfile('best.json') AS TEXT) t)")" = 1 ]
}

@test "best is filtered by family, shape and numerics" {
    run evo best --family toy --shape 1x8x512x64 -n 1
    [ "$status" -eq 0 ]
    [ "${#lines[@]}" -eq 2 ]
    run --separate-stderr evo best --family other
    [ "$status" -eq 4 ]
    [ -z "$output" ]
    run evo best --numerics fp16
    [ "$status" -eq 4 ]
    run evo best --numerics fp8
    [ "$status" -eq 2 ]
    run evo best --shape 8x8
    [ "$status" -eq 2 ]
}

@test "status tells one screen, and JSON" {
    run --separate-stderr evo status
    [ "$status" -eq 0 ]
    [ "${#lines[@]}" -le 16 ]
    [[ "$output" == *"20 of 20 proposed"* ]]
    evo status --json > status.json
    is_json status.json
    [ "$(field status.json '$.state')" = ended ]
    [ "$(field status.json '$.evaluated')" = 20 ]
    [ "$(field status.json '$.verdicts.pass')" = "$(field status.json '$.passed')" ]
}

@test "lineage goes back to where a kernel began" {
    evo lineage n19 > lineage.txt
    tail -1 lineage.txt | grep -q '^n19 '
    sed -n 2p lineage.txt | grep -q -E '(founder|immigrant)'
    evo lineage n19 --json > lineage.json
    is_json lineage.json
    evo lineage n19 --dot > lineage.dot
    grep -q '^digraph' lineage.dot
    grep -q 'n19 \[label=' lineage.dot
}

@test "show tells everything, and renders the source again" {
    run --separate-stderr evo show n0
    [ "$status" -eq 0 ]
    [[ "$output" == *"by founder"* ]]
    [[ "$output" == *"machine code"* ]]
    [[ "$output" == *"the gate"* ]]
    evo show n0 --json > show.json
    is_json show.json
    [ "$(field show.json '$.operator')" = founder ]
    [ "$(field show.json '$.builds[0].kernels[0].name')" = toy ]
    evo show n0 --source > n0.cu
    grep -q '^#define EVO_VALUE_ROWS 16$' n0.cu
    grep -q '^EVO_LAUNCH(toy' n0.cu
}

@test "show --source is the run's own source, whatever became of the templates" {
    evo show n0 --source > before.cu
    EVO_TEMPLATES="$EVO_SOURCE/templates" evo show n0 --source > after.cu
    diff before.cu after.cu
    sqlite3 evo.db "UPDATE template SET text = text || '// edited' WHERE name = 'toy.cu'"
    run evo show n0 --source
    [ "$status" -eq 1 ]
    [[ "$output" == *"no longer what was compiled"* ]]
}

@test "diff shows the genes and the lines that differ" {
    run evo diff n0 n0
    [ "$status" -eq 0 ]
    [[ "$output" == *"the sources are equal"* ]]
    evo diff n0 n1 > diff.txt
    grep -q '^--- n0$' diff.txt
    grep -q '^+++ n1$' diff.txt
    # The sources differ as diff(1) says.
    evo show n0 --source > n0.cu
    evo show n1 --source > n1.cu
    diff -u n0.cu n1.cu | sed -n '3,$p' > expected.txt || true
    sed -n '/^@@/,$p' diff.txt > got.txt
    diff expected.txt got.txt
    evo diff n0 n1 --json > diff.json
    is_json diff.json
}

@test "dump has a line for each place, and nothing of time or machine" {
    evo dump > dump.txt
    [ "$(wc -l < dump.txt)" = 20 ]
    grep -q -E '^n0 i0 founder <> toy ROWS=16 WARPS=1 Order=forwards src=[0-9a-f]{12} code=[0-9a-f]{12} plan=[0-9a-f]{12} pass [0-9]+\.[0-9]{3}$' dump.txt
    evo dump --json > dump.json
    is_json dump.json
    (cd "$BATS_FILE_TMPDIR" && sed 's/compile: 2/compile: 5/' seed.yaml > five.yaml &&
        evo start --seed five.yaml --db five.db 2>/dev/null)
    diff dump.txt <(evo dump --db "$BATS_FILE_TMPDIR/five.db")
}

@test "a candidate that is not there is the asker's mistake" {
    for id in n999 r7.n0 nonsense; do
        run --separate-stderr evo show "$id"
        [ "$status" -eq 2 ]
        [ -z "$output" ]
        [[ "$stderr" == *"$id"* ]]
    done
}

@test "a best that there is not yet is told as such" {
    fake_seed 3 --fail-on . > seed.yaml
    evo start --seed seed.yaml --db none.db
    run --separate-stderr evo lineage best --db none.db
    [ "$status" -eq 2 ]
    [[ "$stderr" == *"no kernel of 'none.db' has passed yet"* ]]
}

@test "a file that is no database is refused" {
    echo "not a database" > text.db
    run --separate-stderr evo best --db text.db
    [ "$status" -ne 0 ]
    [[ "$stderr" == *"text.db"* ]]
}

@test "rescore works without a GPU, and changes nothing that is right" {
    evo dump > before.txt
    run --separate-stderr evo rescore
    [ "$status" -eq 0 ]
    diff before.txt <(evo dump)
}

@test "colours are for terminals only, and NO_COLOR is heeded" {
    run evo best
    [[ "$output" != *$'\033'* ]]
    TERM=xterm script -qec "evo best" /dev/null > terminal.txt
    grep -q $'\033\[' terminal.txt
    NO_COLOR=1 TERM=xterm script -qec "evo best" /dev/null > plain.txt
    run ! grep -q $'\033\[' plain.txt
}

@test "the examples of the commands that look work as pasted" {
    for command in status best lineage show diff check genes dump rescore help stop; do
        example=$(evo help "$command" | sed -n '/^example$/,$p' | sed -n '2,$s/^  //p')
        echo "$example"
        bash -c "$example" > /dev/null
    done
}

@test "a full disk under stdout is a failure, not silence" {
    [ -w /dev/full ] || skip "no /dev/full"
    run bash -c 'evo dump > /dev/full'
    [ "$status" -eq 1 ]
    [[ "$output" == *"standard output"* ]]
}
