load helper

# The judge is the emulated device: what comes out is what its table of the chip says.
need_compiler() {
    unset EVO_COMPILE
    [ -x "$EVO_BIN/evo-compile" ] || skip "there is no NVRTC here"
    export EVO_CACHE_DIR="$folder/cache"
}

# value NAME LOW HIGH: of measured.json, between.
between() {
    awk -v x="$(field measured.json "\$.ceilings[$1].$2")" -v low="$3" -v high="$4" \
        'BEGIN { exit !(x >= low && x <= high) }'
}

@test "microbench finds what the emulated chip was given" {
    need_compiler
    evo microbench --device emu --json --only alu --only exp2 --only shared \
        --only mma_latency --only shuffle_latency --only l2_latency > measured.json
    is_json measured.json
    [ "$(field measured.json '$.device')" = "emulated H200" ]
    [ "$(field measured.json '$.modelled')" = 1 ]
    between 0 per_clock 1.9 2       # alu: 2 warp instructions a clock
    between 1 per_clock 0.48 0.5    # exp2: half of one
    between 2 per_clock 104 128     # shared: 128 bytes, less what warps that end first leave idle
    between 3 value 26 28           # mma_latency: 27 cycles
    between 4 value 285 295         # l2_latency: 278, and the address
    between 5 value 25 27           # shuffle_latency: 26
}

@test "a part of it is not kept, and what nobody knows is a mistake" {
    need_compiler
    evo microbench --device emu --only alu > /dev/null
    run evo microbench --kept 'emulated H200'
    [ "$status" -eq 2 ]
    [[ "$output" == *"nothing is kept for the device 'emulated H200'"* ]]
    run evo microbench --only alou
    [ "$status" -eq 2 ]
    [[ "$output" == *"nothing is called 'alou'"* ]]
}

@test "a probe whose work was taken away is told, and has no value" {
    need_compiler
    cp -r "$EVO_SOURCE/fitness/probes" probes
    sed -i 's/sums\[c\].step(one);/;/' probes/tensor.cu
    export EVO_PROBES="$folder/probes"
    evo microbench --device emu --json --only mma_latency > measured.json
    [ "$(field measured.json '$.ceilings[0].value')" = "" ]
    [[ "$(field measured.json '$.ceilings[0].trouble')" == "wrong: thread 0 has another result"* ]]
}
