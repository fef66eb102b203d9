load helper

# The real compile worker and the real machine: what a user without a GPU has.
need_compiler() {
    unset EVO_COMPILE
    [ -x "$EVO_BIN/evo-compile" ] || skip "there is no NVRTC here"
}

# refused WORDS COMMAND...: it ends with 2, and says the words.
refused() {
    words=$1
    shift
    run evo "$@"
    echo "$output"
    [ "$status" -eq 2 ] && [[ "$output" == *"$words"* ]]
}

@test "smoke runs to its end without a GPU and has a verified best" {
    need_compiler
    evo start --seed "$EVO_SOURCE/seeds/smoke.yaml" --budget 5 --foreground # the sanitized machine is slow
    evo status --json > status.json
    [ "$(field status.json '$.evaluated')" = 5 ]
    [ "$(field status.json '$.backend')" = emu ]
    [ "$(field status.json '$.device')" = "emulated H200" ]
    [ "$(field status.json '$.passed')" -ge 3 ]
    [ "$(field status.json '$.verdicts.racy')" = 0 ]
    evo status > status.txt
    grep -q "^judged on *1x1x41/70x64, 1x2x128x64; times are modelled" status.txt
    evo show best > show.txt
    grep -q "1x1x41/70x64" show.txt
    grep -q "emu_warp_ops" show.txt
    grep -q "^what limits it" show.txt
    grep -q "^1x2x128x64: .* (modelled)" show.txt # the largest shape
    grep -q "TFLOP/s, .* % of the roof at" show.txt
    evo show best --json > show.json
    [ "$(field show.json '$.limits[0].modelled')" = 1 ]
    jq -e '.limits[0].used["special functions"] > 0 and .limits[0].used["tensor cores"] >= 0' show.json
    evo export best -o best.cu
    evo agree n0 --device emu --device emu --shape 1x1x20/33x64 --key 0123456789abcdef > agree.txt
    grep -q "^1 of 1 kernels compute the same on emulated H200 and emulated H200; inputs of key 0123456789abcdef$" agree.txt
    evo agree n0 --device emu --device emu:H200 --shape 1x1x20/33x64 --json > agree.json
    jq -e '.kernels | length == 1 and .[0].agree and .[0].outputs == 8 and
           .[0].elements == 8 * 20 * 64 and .[0].identical == .[0].elements and .[0].share == 0' agree.json
    refused "one device agrees with itself" agree --device emu
    refused "no kernel of this run was built for '1x1x20x128'" agree n0 --device emu --device emu --shape 1x1x20x128
    refused "the output of '1x8x4096x64' is too large to be told" agree n0 --device emu --device emu --shape 1x8x4096x64
    refused "'--key' is 16 hexadecimal digits" agree n0 --device emu --device emu --key 12
    evo emulate best.cu --profile > emulate.txt
    grep -q "^pass on emulated H200" emulate.txt
    grep -q "modelled" emulate.txt
    evo emulate best.cu --profile --unchecked --shape 1x2x2048x64 > large.txt
    grep -q "^emulated H200, 1x2x2048x64: not run whole, and its output not looked at$" large.txt
    grep -q "modelled" large.txt
    refused "'--unchecked' goes with '--profile'" emulate best.cu --unchecked
    evo verify best.cu --device emu > verify.txt
    grep -q "pass *on emulated H200" verify.txt
    grep -q "race .*1/1, the same bits under 9 jitters" verify.txt
    evo verify best.cu --device emu --json > verify.json
    # every family three times; the first case of all is on the rung before
    jq -e '[.rungs[] | select(.rung == "promote")] | length > 0 and
           all(.passed == 23 and .total == 23)' verify.json
}

@test "on one worker or several the lineage is the same" {
    need_compiler
    sed 's/evaluations: 24/evaluations: 3/' "$EVO_SOURCE/seeds/smoke.yaml" > seed.yaml
    sed "s|device: emu|compile: 1\n  judges: \"'$EVO_BIN/evo-judge-emu' --device H200/1\"|" seed.yaml > one.yaml
    evo start --seed seed.yaml --foreground --db a.db
    evo start --seed one.yaml --foreground --db b.db
    diff <(evo dump --db a.db) <(evo dump --db b.db)
}

@test "a race is found, and named with its line in the file" {
    need_compiler
    evo start --seed "$EVO_SOURCE/seeds/smoke.yaml" --budget 1 --foreground
    evo export best -o right.cu
    # Without the barrier between the copy of a tile and its use.
    awk '/^EVO_GIVEN/ && !done { print "template <> __device__ inline void evo_barrier<0>() {}"; done = 1 }
         { print }' right.cu > racy.cu
    ! cmp -s right.cu racy.cu
    run evo emulate racy.cu
    [ "$status" -eq 4 ]
    [[ "$output" == *"race at racy.cu:"* ]]
    [[ "$output" == *"racy on emulated H200, 1x2x128x64"* ]]
    line=$(sed -n 's/.*race at racy.cu:\([0-9]*\): ld.shared.*/\1/p' <<< "$output" | head -1)
    sed -n "${line}p" racy.cu | grep '\['
    # Under each finding its lines and their callers, up to the kernel's own line.
    code=$(sed -n "${line}s/^ *//p" racy.cu)
    [[ "$output" == *"racy.cu:$line "*"$code"*"from racy.cu:"*"copy_tile<"* ]]
    run evo emulate racy.cu --json
    [ "$status" -eq 4 ]
    echo "$output" > racy.json
    is_json racy.json
    [ "$(field racy.json '$.verdict')" = racy ]
    [ "$(field racy.json '$.findings_total')" -gt 0 ]
    [ "$(field racy.json '$.findings[0].kind')" = race ]
    [ "$(field racy.json '$.findings[0].at[0].file')" = racy.cu ]
    run evo verify racy.cu --device emu
    [ "$status" -eq 4 ]
    [[ "$output" == *"racy"* ]]
    run evo emulate right.cu --shape 1x1x40/90x64 --sanitize races,initialised
    [ "$status" -eq 0 ]
    [[ "$output" == *"pass on emulated H200, 1x1x40/90x64"* ]]
}

@test "what emulate cannot do it says" {
    need_compiler
    evo start --seed "$EVO_SOURCE/seeds/smoke.yaml" --budget 1 --foreground
    run evo emulate best --sanitize everything
    [ "$status" -eq 2 ]
    [[ "$output" == *"unknown sanitizer 'everything'"* ]]
    run evo emulate best --shape 1x1x40x128
    [ "$status" -eq 2 ]
    [[ "$output" == *"no kernel of this run was built for '1x1x40x128'"* ]]
    evo export best -o best.cu
    run evo emulate best.cu --shape 1x1x40x128
    [ "$status" -eq 2 ]
    [[ "$output" == *"head dimension, type, causal and lse must be those of '1x2x128x64'"* ]]
    run evo emulate best --chip H20000
    [ "$status" -eq 2 ]
    [[ "$output" == *"the chips are: H200"* ]]
    run evo emulate nowhere.cu
    [ "$status" -ne 0 ]
}

@test "a family that loads and stores through tensor maps is judged, exported and verified" {
    need_compiler
    cat > seed.yaml <<END
name: maps
workload: [1x2x33x64, "1x4/2x40/50x64:causal:bf16:bshd"]
families: [attention_map]
founders:
  - attention_map ROWS=32 KEYS=24 SWIZZLE=128 Out=maps
  - attention_map ROWS=64 KEYS=8 SWIZZLE=0 Out=pointers
templates: $EVO_SOURCE/tests/data/templates
search: {lag: 2}
budget: {evaluations: 2}
workers: {device: emu, compile: 1}
END
    evo genes attention_map --templates "$EVO_SOURCE/tests/data/templates" > genes.txt
    grep -q '^k_map of K, boxes of (COLUMNS, KEYS), swizzle SWIZZLE: tiles of K$' genes.txt
    evo start --seed seed.yaml --foreground
    [ "$(evo dump | grep -c ' pass ')" = 2 ]
    for id in n0 n1; do
        for shape in 1x2x33x64 1x4/2x40/50x64:causal:bf16:bshd; do
            evo export $id --shape $shape -o map.cu
            evo verify map.cu --device emu > verify.txt
            grep -q "pass *on emulated H200" verify.txt
        done
    done
    evo export n0 --shape 1x2x33x64 --format json -o map.json
    is_json map.json
    [ "$(field map.json '$.maps[2].tensor')" = O ]
    [ "$(field map.json '$.maps[0].box[1]')" = KEYS ]
    nvcc=${CUDA_HOME:-/usr/local/cuda}/bin/nvcc
    [ -x "$nvcc" ] || return 0
    "$nvcc" -O3 -std=c++17 -gencode arch=compute_90a,code=sm_90a -Xcompiler -Wall -DEVO_MAIN map.cu -o try > nvcc.txt 2>&1
    cat nvcc.txt
    [ ! -s nvcc.txt ]
    run ! grep -q 'libcuda\.so' <(ldd try)
}

@test "a template is judged like a file, a kernel of it at a time" {
    need_compiler
    cheat="$EVO_SOURCE/fitness/cheats"
    run evo verify "$cheat/drop_tail.cu" --device emu
    [ "$status" -eq 4 ]
    [[ "$output" == *"wrong"*"where"*"is allowed"* ]]
    run evo verify "$cheat/honest.cu" --genes Kind=in_wmma --device emu
    [ "$status" -eq 0 ]
    [[ "$output" == *"1x2x71x64"* ]]
    run evo verify "$cheat/honest.cu" --genes Kind=in_haste --device emu
    [ "$status" -eq 2 ]
    [[ "$output" == *"in_haste"*"in_scalar"* ]]
    run evo emulate "$cheat/no_wait.cu" --genes Kind=in_wmma --shape 1x2x71x64
    [ "$status" -eq 4 ]
    [[ "$output" == *"race at"* ]]
}

@test "blocks that fetch their work are all run for the profile, others are sampled" {
    need_compiler
    wgmma="$EVO_SOURCE/templates/attention_wgmma.cu"
    genes="BLOCK_M=64 BLOCK_N=64 STAGES=1"
    for schedule in once dynamic; do # 140 tiles for 132 multiprocessors
        evo emulate "$wgmma" --genes "$genes Schedule=schedule_$schedule" --shape 1x5x1792/64x64 \
            --sanitize none --profile --json > "$schedule.json"
    done
    jq -e '.kernels[0] | .sampled_blocks == 8 and .blocks == 140' once.json
    jq -e '.kernels[0] | .sampled_blocks == 132 and .blocks == 132' dynamic.json
    # the first block to run takes all that is left, nine tiles; on a chip they share
    jq -e -s '.[1].kernels[0].modelled_us < 2 * .[0].kernels[0].modelled_us' once.json dynamic.json
}

@test "any kernel can be looked at, launched as its file or the command line says" {
    need_compiler
    cat > scan.cu <<'CU'
// evo: launch scan<<<4, 256>>>(in f32 x[1024], out f32 y[1024])
#include "own.cuh"
__device__ int calls;
extern "C" __global__ void scan(const float *x, float *y)
{
    __shared__ float tile[256];
    const int i = blockIdx.x * 256 + threadIdx.x;
    tile[threadIdx.x] = x[i];
    for (int step = 1; step < 256; step *= 2) {
        __syncthreads();
        const float sum = tile[threadIdx.x] + before(tile, step);
        MEET;
        tile[threadIdx.x] = sum;
    }
    y[i] = tile[threadIdx.x];
    atomicAdd(&calls, 1);
}
CU
    echo '#define MEET __syncthreads()
__device__ inline float before(const float *tile, int step)
{
    return threadIdx.x >= step ? tile[threadIdx.x - step] : 0;
}' > own.cuh
    evo emulate scan.cu --profile > right.txt
    grep -q "^nothing found on emulated H200, scan<<<4, 256>>>" right.txt
    grep -q "^scan: 4 of 4 blocks profiled" right.txt
    sed -i 's/MEET __syncthreads()/MEET/' own.cuh
    run evo emulate scan.cu
    [ "$status" -eq 4 ]
    [[ "$output" == *"race at "*"at tile+"*"from scan.cu:11 "*"before(tile, step)"* ]]
    run evo emulate scan.cu --launch 'scan<<<1, 256>>>(in f32 x[256], out f32 y[255])' --sanitize none
    [ "$status" -eq 4 ]
    [[ "$output" == *"right behind the end of y (1020 bytes)"* ]]
    run evo emulate scan.cu --launch 'scan<<<1, 256>>>(in f32 x[256], out f32 y[255)'
    [ "$status" -eq 2 ]
    [[ "$output" == *"scan.cu"*"']' is missing here"* ]]
    echo 'int x = ;' > bad.cu
    run evo emulate bad.cu
    [ "$status" -eq 2 ]
    [[ "$output" == *"does not say how it is launched"*"--launch"* ]]
    run evo emulate bad.cu --launch 'k<<<1, 1>>>()'
    [ "$status" -eq 2 ]
    [[ "$output" == *"'bad.cu' does not compile"* ]]
}

@test "a kernel whose matrix instructions ptxas serialises is not judged, and says why" {
    need_compiler
    mkdir templates
    cat > templates/serial.cu <<'END'
/*
 * serial -- a matrix instruction behind a call, which loses the pipeline.
 */
#include "include/evo.cuh"
#include "include/attention.cuh"
EVO_GENE(INLINED, flag, "1: the call is inlined")
EVO_LAUNCH(serial, (heads), 128, 0, (O))
#define D4(i) "+f"(d[i]), "+f"(d[i + 1]), "+f"(d[i + 2]), "+f"(d[i + 3])
__device__ __forceinline__ void multiply(float (&d)[4])
{
    asm volatile("wgmma.mma_async.sync.aligned.m64n8k16.f32.f16.f16 {%0, %1, %2, %3}, %4, %4, 1, 1, 1, 0, 0;"
                 : D4(0) : "l"(0x4000000000000000ull));
}
__device__ __noinline__ void call(float (&d)[4]) { multiply(d); }
extern "C" __global__ void __launch_bounds__(128, 1) serial(evo_half *O)
{
    float d[4] = {};
    asm volatile("wgmma.fence.sync.aligned;" ::: "memory");
    if constexpr (INLINED)
        multiply(d);
    else
        call(d);
    asm volatile("wgmma.commit_group.sync.aligned;\n wgmma.wait_group.sync.aligned 0;" : D4(0) :: "memory");
    O[threadIdx.x] = d[0] + d[1] + d[2] + d[3] > 0;
}
END
    cat > seed.yaml <<END
workload: [1x1x32x64]
families: [serial]
founders: [serial INLINED=0, serial INLINED=1]
templates: templates
search: {lag: 1}
budget: {evaluations: 2}
workers: {device: emu, compile: 1}
END
    evo start --seed seed.yaml --foreground
    evo dump > dump.txt
    grep -q '^n0 .* no_compile$' dump.txt
    run ! grep -q '^n1 .* no_compile$' dump.txt # wrong, of course
    evo show n0 > show.txt
    grep -q 'not as written: ptxas: (C7510) .*wgmma.mma_async instructions are serialized' show.txt
    grep -q '^image 0: .*(C7510)' show.txt
}

# A family whose FAULT gene damages it: 1 drops the last key, 2 writes a row past its own, 3 is only
# wrong on longer sequences than the workload has, 4 does not compile. With KEYS=2 the third is the
# fastest, so that it is promoted.
faulty_family() {
    mkdir mine
    cp -r "$EVO_SOURCE/templates/include" mine/
    sed -e 's/^EVO_GENE(WARPS/EVO_GENE(FAULT, range(0, 4, 1), "what is wrong")\n&/' \
        -e 's/const int visible = evo_visible<CAUSAL>(problem, row);/const int visible = evo_visible<CAUSAL>(problem, row) - (FAULT == 1 || (FAULT == 3 \&\& problem.kv_len > 500));/' \
        -e 's/store_floats<Type, VEC>(head.o + row \*/store_floats<Type, VEC>(head.o + (row + (FAULT == 2)) */' \
        -e 's/^using Type/static_assert(FAULT != 4, "as the test asked");\n&/' \
        "$EVO_SOURCE/templates/attention_scalar.cu" > mine/faulty.cu
    cat > faulty.yaml <<END
name: faulty
workload: [1x1x41/70x64]
families: [faulty]
templates: mine
founders: [faulty FAULT=3 KEYS=2, faulty FAULT=0, faulty FAULT=1, faulty FAULT=2, faulty FAULT=4]
budget: {evaluations: 5}
workers: {device: emu}
END
}

# again ID: the command line that `evo show` gives is run, and must find the same.
again() {
    evo show "$1" > show.txt
    cat show.txt
    command=$(sed -n 's/^to see it again: //p' show.txt)
    [ -n "$command" ]
    run bash -c "$command"
    echo "$output"
    [ "$status" -eq "$2" ] && [[ "$output" == *"$3"* ]]
}

@test "show tells why each candidate failed, and its command line shows that again" {
    need_compiler
    faulty_family
    evo start --seed faulty.yaml --foreground
    # Passed by the search, refuted by its promotion on a shape that the search never saw.
    again n0 4 "wrong on emulated H200: 1x1x"
    grep -q -E '^wrong: at its promotion, at rung (correct|promote) on 1x1x[0-9]+/[0-9]+x64 with inputs [a-z_]+: .*, [0-9.]+ times as much as it may be$' show.txt
    grep -q -E '^promoted in vain: judged again by a fresh judge after 1 candidates; the search saw [0-9.]+ us$' show.txt
    grep -q -E '^search +measure +- +[0-9.]+ us$' show.txt
    evo show n1 > show.txt
    grep -q -E '^promotion +measure +- +[0-9.]+ us$' show.txt
    grep -q -E '^promotion +promote +([0-9]+)/\1 ' show.txt
    run ! grep -q 'again:' show.txt
    again n2 4 "wrong on emulated H200: 1x1x41/70x64 on "
    grep -q -E '^wrong: at rung correct on 1x1x41/70x64 with inputs [a-z_]+: the output is off by .* at batch 0, head 0, row [0-9]+, column [0-9]+ \(expected [-0-9.e]+, got [-0-9.e]+\), where .* is allowed, [0-9.]+ times as much as it may be$' show.txt
    # The very same element: the inputs are those of the case.
    element=$(grep -o 'at batch.*got [-0-9.e]*' show.txt | head -1)
    [[ "$output" == *"$element"* ]]
    evo show n2 --json > show.json
    is_json show.json
    [ "$(field show.json '$.failure.case.rung')" = correct ]
    [ "$(field show.json '$.failure.times_allowed > 1')" != 0 ]
    again n3 4 "write"
    grep -q -E '^out_of_bounds: at rung ' show.txt
    again n4 0 "as the test asked"
    grep -q -E '^no_compile: .*static' show.txt
    # A database elsewhere is named.
    mkdir elsewhere
    mv evo.db* elsewhere/
    evo show n2 --db elsewhere/evo.db | grep -q "^to see it again: evo emulate n2 --db 'elsewhere/evo.db' --shape"
}

@test "a grid that is no multiple of its clusters is refused with both numbers" {
    need_compiler
    cat > seed.yaml <<END
workload: [1x1x40x64]
families: [attention_cluster]
founders: [attention_cluster CLUSTER=4 STAGES=2 MOVE=1]
templates: $EVO_SOURCE/tests/data/templates
search: {lag: 1}
budget: {evaluations: 1}
workers: {device: emu, compile: 1}
END
    evo start --seed seed.yaml --foreground
    evo export n0 -o cluster.cu
    sed 's/^\(.. evo: kernel attention_cluster | [^|]*\) |/\1 + 1 |/' cluster.cu > uneven.cu
    ! cmp -s cluster.cu uneven.cu
    run evo verify uneven.cu --device emu
    [ "$status" -eq 4 ]
    [[ "$output" == *"kernel 'attention_cluster' has 5 blocks along x in its grid, no multiple of the 4 in its clusters"* ]]
    # Nor is there a device of another kind for it.
    run evo check seed.yaml --for sm_100
    [ "$status" -eq 2 ]
    [[ "$output" == *"clusters and setmaxnreg as used here are the architecture 90's: 100 == 90 is false"* ]]
}
