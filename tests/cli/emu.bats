load helper

# The real compile worker and the real machine: what a user without a GPU has.
need_compiler() {
    unset EVO_COMPILE
    [ -x "$EVO_BIN/evo-compile" ] || skip "there is no NVRTC here"
}

@test "smoke runs to its end without a GPU and has a verified best" {
    need_compiler
    evo start --seed "$EVO_SOURCE/seeds/smoke.yaml" --foreground
    evo status --json > status.json
    [ "$(field status.json '$.evaluated')" = 24 ]
    [ "$(field status.json '$.backend')" = emu ]
    [ "$(field status.json '$.device')" = "emulated H200" ]
    [ "$(field status.json '$.passed')" -gt 12 ]
    [ "$(field status.json '$.verdicts.racy')" = 0 ]
    evo status > status.txt
    grep -q "^judged on *1x1x41/70x64, 1x2x128x64; times are modelled" status.txt
    evo show best > show.txt
    grep -q "1x1x41/70x64" show.txt
    grep -q "emu_warp_ops" show.txt
    evo export best -o best.cu
    evo emulate best.cu --profile > emulate.txt
    grep -q "^pass on emulated H200" emulate.txt
    grep -q "modelled" emulate.txt
    evo verify best.cu --device emu | grep -q "pass *on emulated H200"
}

@test "on one worker or several the lineage is the same" {
    need_compiler
    sed 's/evaluations: 24/evaluations: 10/' "$EVO_SOURCE/seeds/smoke.yaml" > seed.yaml
    sed 's/device: emu/compile: 1\n  judges: "'"${EVO_BIN//\//\\/}"'\/evo-judge-emu --device H200\/1"/' seed.yaml > one.yaml
    evo start --seed seed.yaml --foreground --db a.db
    evo start --seed one.yaml --foreground --db b.db
    diff <(evo dump --db a.db) <(evo dump --db b.db)
}

@test "a race is found, and named with its line" {
    need_compiler
    evo start --seed "$EVO_SOURCE/seeds/smoke.yaml" --budget 1 --foreground
    evo export best -o right.cu
    # Without the barrier between scores and softmax; the emulator has no luck to rely on.
    awk '/EVO_GIVEN/ && !done { print "template <> __device__ inline void evo_barrier<1>() {}"; done = 1 } { print }' right.cu > racy.cu
    ! cmp -s right.cu racy.cu
    run evo emulate racy.cu
    [ "$status" -eq 4 ]
    [[ "$output" == *"race at "*".cuh:"* ]]
    [[ "$output" == *"racy on emulated H200"* ]]
    run evo emulate racy.cu --sanitize none --json
    is_json <(echo "$output") || true
    run evo emulate right.cu
    [ "$status" -eq 0 ]
    run evo emulate right.cu --sanitize everything
    [ "$status" -eq 2 ]
    [[ "$output" == *"unknown sanitizer 'everything'"* ]]
}
