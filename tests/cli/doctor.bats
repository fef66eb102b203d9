load helper

# The judge under test is the emulated device, with the real compiler.
need_compiler() {
    unset EVO_COMPILE
    [ -x "$EVO_BIN/evo-compile" ] || skip "there is no NVRTC here"
}

# planted NAME VERDICT...: a folder of one honest kernel, of which something else is expected.
planted() {
    local name=$1
    shift
    mkdir -p cheats/include
    cp "$EVO_SOURCE/fitness/cheats/include/honest.cuh" cheats/include/
    sed "s/^ \* expect: .*/ * expect: $*/" \
        "$EVO_SOURCE/fitness/cheats/honest.cu" > "cheats/$name.cu"
    export EVO_CHEATS="$folder/cheats" EVO_CACHE_DIR="$folder/cache"
}

tiny_seed() {
    sed 's/evaluations: 24/evaluations: 2/' "$EVO_SOURCE/seeds/smoke.yaml" > seed.yaml
}

@test "doctor looks at the machine and judges the planted kernels" {
    need_compiler
    planted control any pass
    run evo doctor --device emu
    [ "$status" -eq 0 ]
    [[ "$output" == *"compiler  nvrtc"* ]]
    [[ "$output" == *"free for the database"* ]]
    [[ "$output" == *"control Kind=in_wmma"*"pass"* ]]
    [[ "$output" == *"3 of 3 as expected"* ]]
    evo doctor --device emu --quick --json > doctor.json
    is_json doctor.json
    [ "$(field doctor.json '$.well')" = 1 ]
    [ "$(field doctor.json '$.selftests[0].count')" = 1 ]
    [ "$(field doctor.json '$.selftests[0].kernels[0].verdict')" = pass ]
}

@test "a judge that passes a cheat is told of, and no search begins with it" {
    need_compiler
    planted fooled any wrong at correct
    run evo doctor --device emu --quick
    [ "$status" -eq 4 ]
    [[ "$output" == *"fooled Kind=in_scalar: it got pass at time, not wrong at correct"* ]]
    tiny_seed
    run evo start --seed seed.yaml --foreground
    [ "$status" -eq 3 ]
    [[ "$output" == *"emulated H200 fails its self-test on 1 of 1 planted kernels; 'fooled'"* ]]
    [[ "$output" == *"evo doctor"* ]]
    evo status --json > status.json
    [ "$(field status.json '$.evaluated')" = 0 ]
}

@test "a judge that fails a control is told of as well" {
    need_compiler
    planted control any pass
    sed -i 's/Kind::attend<honest>(Q, K, V/Kind::attend<honest>(Q, V, K/' cheats/control.cu
    tiny_seed
    run evo start --seed seed.yaml --foreground
    [ "$status" -eq 3 ]
    [[ "$output" == *"it got wrong at correct, not pass"* ]]
}

@test "what is refused for another reason is told, and the search begins" {
    need_compiler
    planted control any racy at race
    sed -i 's/Kind::attend<honest>(Q, K, V/Kind::attend<honest>(Q, V, K/; s/^ \* control: .*/ * fault: swapped/' cheats/control.cu
    tiny_seed
    run evo start --seed seed.yaml --foreground
    [ "$status" -eq 0 ]
    [[ "$output" == *"'control' Kind=in_scalar was refused, but otherwise than it should be: it got wrong at correct, not racy at race"* ]]
    run evo doctor --device emu --quick
    [ "$status" -eq 4 ]
}

@test "the self-test is done once for a judge, and again when the corpus changes" {
    need_compiler
    planted control any pass
    tiny_seed
    run evo start --seed seed.yaml --foreground
    [ "$status" -eq 0 ]
    [[ "$output" == *"selftest: 1 planted kernels judged right"* ]]
    run evo start --seed seed.yaml --new --foreground
    [ "$status" -eq 0 ]
    [[ "$output" != *"selftest"* ]]
    planted control any pass or wrong
    run evo start --seed seed.yaml --new --foreground
    [[ "$output" == *"selftest: 1 planted kernels judged right"* ]]
}

@test "a time that is not as declared is a failure" {
    need_compiler
    planted honest any pass
    sed 's/^ \* expect: .*/ * expect: any pass, 40 us slower than honest/' cheats/honest.cu > cheats/late.cu
    run evo doctor --device emu --quick
    [ "$status" -eq 4 ]
    [[ "$output" == *"late Kind=in_scalar: it took "*"which should be 40 us less"* ]]
}

@test "a mistake in a planted kernel's head is told with its line" {
    need_compiler
    planted control any perfect
    run evo doctor --device emu
    [ "$status" -ne 0 ]
    [[ "$output" == *"control.cu:8:4: 'perfect' is not a verdict"* ]]
}
