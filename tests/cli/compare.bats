load helper

# Times of the emulated device are a model's: two runs of one kernel are equal to the bit.
need_compiler() {
    unset EVO_COMPILE
    [ -x "$EVO_BIN/evo-compile" ] || skip "there is no NVRTC here"
}
scalar=$EVO_SOURCE/templates/attention_scalar.cu
tiled=$EVO_SOURCE/templates/attention_tiled.cu

@test "a kernel compared with itself is a tie" {
    need_compiler
    evo compare "$scalar" "$scalar" --shape 1x1x32x64 --device emu > out.txt
    grep -q "^1x1x32x64 .* tie \[1.000, 1.000\] *tie" out.txt
    grep -q "times are modelled" out.txt
}

@test "of two kernels the faster is named, each way round alike" {
    need_compiler
    evo compare "$scalar" "$tiled" --shape 1x1x32x64 --shape 1x1x64x64 --device emu --json > ab.json
    evo compare "$tiled" "$scalar" --shape 1x1x32x64 --device emu --json > ba.json
    [ "$(field ab.json '$.rows[0].sides[0].verdict')" = pass ]
    [ "$(field ab.json '$.rows[1].problem')" = 1x1x64x64 ]
    a=$(field ab.json '$.rows[0].speedup_graph.value')
    b=$(field ba.json '$.rows[0].speedup_graph.value')
    awk -v a="$a" -v b="$b" 'BEGIN { exit !(a != 1 && a * b > 0.999999 && a * b < 1.000001) }'
}

@test "the gate opens for what is surely fast enough, and for nothing else" {
    need_compiler
    run evo gate "$scalar" --rival "$tiled" --at-least 1.1 --shape 1x1x32x64 --device emu --junit ok.xml
    [ "$status" = 0 ]
    grep -q 'failures="0"' ok.xml
    run evo gate "$scalar" --rival "$tiled" --at-least 100 --shape 1x1x32x64 --device emu --junit no.xml
    [ "$status" = 4 ]
    [[ "$output" == *"is not at least 100x as fast"* ]]
    grep -q '<failure message=".*at least 100x was asked for' no.xml
    run evo gate "$tiled" --rival "$tiled" --shape 1x1x32x64 --device emu --mean --clock span
    [ "$status" = 0 ] # exactly as fast, and sure of it
}

@test "a library that this device cannot run fails the gate, aloud" {
    need_compiler
    run evo gate "$scalar" --rival cudnn --shape 1x1x32x64 --device emu --json
    [ "$status" = 4 ]
    [[ "$output" == *"libraries need a real one"* ]]
}

@test "a wrong kernel is not compared" {
    need_compiler
    run evo compare "$EVO_SOURCE/fitness/cheats/drop_last_tile.cu" "$scalar" --shape 1x1x100x64 --device emu
    [ "$status" = 4 ]
    [[ "$output" == *"wrong: "* ]]
}

@test "what cannot be compared is told before anything runs" {
    run evo compare cudnn cublas
    [ "$status" = 2 ]
    [[ "$output" == *"--shape 1x8x512x64"* ]]
    run evo compare nothing.cu other.cu
    [ "$status" != 0 ]
    [[ "$output" == *"nothing.cu"* ]]
    run evo gate "$scalar" --shape 1x1x32x64
    [ "$status" = 2 ]
    [[ "$output" == *"--rival cudnn"* ]]
    run evo gate "$scalar" --rival cudnn --at-least fast
    [ "$status" = 2 ]
    run evo gate "$scalar" --rival cudnn --clock sun
    [ "$status" = 2 ]
}
