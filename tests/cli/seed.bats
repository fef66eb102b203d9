load helper

# What evo says of a broken seed, without what changes with this repository's place and families.
told() {
    local rc=0
    (cd "$EVO_SOURCE/tests/golden/seeds/broken" && evo check "$1") > out.txt 2> err.txt || rc=$?
    [ ! -s out.txt ] || return 1
    sed -e "s|$EVO_SOURCE/||g" -e 's/^\(evo: the families are\) .*/\1 .../' err.txt
    echo "exit $rc"
}

@test "each of the broken seeds is told where, what, and what to do" {
    count=0
    for seed in "$EVO_SOURCE"/tests/golden/seeds/broken/*.yaml; do
        name=$(basename "$seed" .yaml)
        told "$name.yaml" > "$name.txt"
        same_as_golden "$name.txt" "$EVO_SOURCE/tests/golden/seeds/broken/$name.txt"
        count=$((count + 1))
    done
    [ "$count" -ge 60 ]
}

@test "no message of a broken seed is without a place" {
    cd "$EVO_SOURCE/tests/golden/seeds/broken"
    # What lies outside the seed is named by its path instead.
    ls *.txt | grep -v -e device-recording-missing -e templates-missing |
        xargs grep -L -E '^evo: [^ ]+:[0-9]+:[0-9]+: ' > "$folder/without.txt" || true
    cat "$folder/without.txt"
    [ ! -s "$folder/without.txt" ]
}

@test "the seeds that come with evo are ok" {
    for name in phaseD phase1 phase4 phase5; do
        run --separate-stderr evo check "$EVO_SOURCE/seeds/$name.yaml"
        [ "$status" -eq 0 ]
        [[ "$output" == "seed ok: "* ]]
        [ -z "$stderr" ]
    done
}

@test "a seed is found beside the templates when it is not in this folder" {
    run evo check seeds/phaseD.yaml
    [ "$status" -eq 0 ]
}

@test "check counts what is feasible on the device asked for" {
    fake_seed 10 > seed.yaml
    run evo check seed.yaml
    [[ "${lines[0]}" == "seed ok: 1 family, 24 feasible genomes" ]]
    run evo check seed.yaml --for sm_89
    [[ "${lines[0]}" == "seed ok: 1 family, 18 feasible genomes" ]]
    run evo check seed.yaml --for sm_12
    [ "$status" -eq 2 ]
    [[ "$output" == *"unknown architecture 'sm_12'"* ]]
}

@test "a family that no device of the kind can run is left out, with its arithmetic" {
    fake_seed 3 | sed 's/\[toy\]/[other, toy]/' > seed.yaml
    evo check seed.yaml > check.txt
    grep -q "^seed ok: 1 family, 24 feasible genomes$" check.txt
    grep -q "^family 'other' is left out: the tile must fit in shared memory: 16 \* 65536 <= 232448 is false" check.txt
    evo check seed.yaml --json > check.json
    [ "$(field check.json '$.left_out[0].family')" = other ]
    # A search says so too, and it is that of the seed without the family.
    evo start --seed seed.yaml --db both.db --foreground 2> log.txt
    grep -q "family 'other' is left out: no genome of it is feasible on sm_90: the tile must" log.txt
    fake_seed 3 > one.yaml
    evo start --seed one.yaml --db one.db
    diff <(evo dump --db both.db) <(evo dump --db one.db)
    evo show n0 --db both.db --source > n0.cu
}

@test "check explains a founder that does not fit with its arithmetic" {
    fake_seed 10 | sed 's/ROWS=16/ROWS=128/' > seed.yaml
    run evo check seed.yaml
    [ "$status" -eq 0 ]
    run evo check seed.yaml --for sm_86
    [ "$status" -eq 2 ]
    [[ "$output" == *"seed.yaml:4:12: founder 'toy ROWS=128' is infeasible"* ]]
    [[ "$output" == *"131072 <= 101376 is false"* ]]
}

@test "check prints JSON" {
    fake_seed 10 > seed.yaml
    evo check seed.yaml --json > check.json
    is_json check.json
    [ "$(field check.json '$.families[0].feasible')" = 24 ]
    [ "$(field check.json '$.problems[0]')" = 1x8x512x64 ]
}

@test "genes lists what may vary, as text and as JSON" {
    run evo genes toy --templates "$EVO_SOURCE/tests/golden/seeds/templates"
    [ "$status" -eq 0 ]
    [[ "$output" == *"toy: a small family"* ]]
    [[ "$output" == *"ROWS   16 32 64 128 256"* ]]
    [[ "$output" == *"SMEM_BYTES <= DEVICE_SMEM_MAX"* ]]
    evo genes toy --templates "$EVO_SOURCE/tests/golden/seeds/templates" --json > genes.json
    is_json genes.json
    [ "$(field genes.json '$.genes[2].values[1]')" = backwards ]
    run evo genes no_such_family
    [ "$status" -eq 2 ]
    [[ "$output" == *"the families are"* ]]
}

@test "every seed that comes with evo is right, here and on a Hopper GPU" {
    for seed in "$EVO_SOURCE"/seeds/*.yaml; do
        evo check "$seed" | grep -q "^seed ok"
        evo check "$seed" --for sm_90 | grep -q "feasible"
    done
}
