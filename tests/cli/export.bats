load helper

# Kernels leave evo: real sources and machine code, judged by a fake device. The compiler is evo's own
# (EVO_REAL_COMPILE), and where nvcc is to be found it is asked as well.

EVO_REAL_COMPILE="$EVO_BIN/evo-compile"
SHAPES="1x8x512x64 1x8x512x64:causal 1x8x512x64:lse 2x8/2x100/300x128:causal:bf16:lse:bshd"
NVCC=${CUDA_HOME:-/usr/local/cuda}/bin/nvcc

# One search for all the tests: a founder of each family is n0, n1, n2; n3 is a child of one.
setup_file() {
    [ -x "$EVO_REAL_COMPILE" ] || return 0
    cd "$BATS_FILE_TMPDIR"
    source "$EVO_SOURCE/tests/cli/helper.bash"
    environment
    export EVO_COMPILE="'$EVO_REAL_COMPILE'" EVO_CACHE_DIR="$EVO_BIN/../cli/export.cache"
    cat > seed.yaml <<END
name: leaving
workload: [${SHAPES// /, }]
families: [attention_scalar, attention_tiled, attention_wmma]
founders:
  - attention_scalar WARPS=4 KEYS=2 VEC=4
  - attention_tiled BLOCK_M=32 BLOCK_N=64 WARPS=4 BARRIERS=6
  - attention_wmma BLOCK_M=64 BLOCK_N=64 WARPS=4 Rows=rows_private WMMA_QK=1 WMMA_PV=1 TILE_D=8
population: {islands: 1}
operators: {step: 1, multi: 0, crossover: 0, immigrant: 0, jump: 0}
search: {lag: 3, strategy: ga}
budget: {evaluations: 4}
workers: {judges: "'$EVO_BIN/evo-worker-fake'", compile: 2}
END
    evo start --seed seed.yaml 2> start.txt || { cat start.txt; return 1; }
}

setup() {
    [ -x "$EVO_REAL_COMPILE" ] || skip "there is no evo-compile"
    folder="$BATS_TEST_TMPDIR"
    cd "$folder"
    environment
    export EVO_COMPILE="'$EVO_REAL_COMPILE'" EVO_CACHE_DIR="$EVO_BIN/../cli/export.cache"
    cp "$BATS_FILE_TMPDIR"/evo.db* .
}

teardown() { :; }

need_nvcc() { [ -x "$NVCC" ] || skip "there is no nvcc"; }

# nvcc OPTION...: without a single warning.
nvcc_clean() {
    "$NVCC" -O3 -std=c++17 -gencode arch=compute_90a,code=sm_90a -Xcompiler -Wall "$@" > nvcc.txt 2>&1 || { cat nvcc.txt; return 1; }
    cat nvcc.txt
    [ ! -s nvcc.txt ]
}

# told LINE:COLUMN|"" TEXT: of d.cu, before anything is compiled.
told() {
    run --separate-stderr evo verify d.cu
    echo "$stderr"
    [ "$status" -eq 2 ] && [ -z "$output" ] && [[ "$stderr" == "evo: d.cu:${1:+$1:} "*"$2"* ]]
}

line() { grep -n -F -m 1 "$1" kernel.cu | cut -d: -f1; }

@test "an exported file says what it is, how fast, and where it came from" {
    evo export n3 -o kernel.cu
    sed '/evo:program-begin/,$d' kernel.cu > head.txt
    cat head.txt
    grep -q -E '^// attention_(scalar|tiled|wmma) n3, found by evo$' head.txt
    grep -q -E '^// genes      [A-Z_]+=' head.txt
    grep -q -E '^// run        leaving, place n3, operator step, generation 1$' head.txt
    grep -q -E '^// parent     n[0-2]$' head.txt
    grep -q '^// device     fake device$' head.txt
    for shape in $SHAPES; do
        grep -q -E "^// time       $shape: [0-9.]+ us, 95 % interval \[[0-9.]+, [0-9.]+\]$" head.txt
    done
    grep -q '^// numerics   fp32 accumulation$' head.txt
    # Its hashes are those by which evo knows it.
    hashes=$(sed -n 's/^\/\/ hashes     //p' head.txt)
    [[ "$hashes" =~ ^source\ [0-9a-f]{12},\ code\ [0-9a-f]{12},\ plan\ [0-9a-f]{12}$ ]]
    evo show n3 | grep -q -x "$hashes"
    run ! grep -q '^#line' kernel.cu
}

@test "export takes the best when none is named, and says which build of several" {
    run --separate-stderr evo export
    [ "$status" -eq 0 ]
    [[ "$stderr" == *"4 builds"*"--shape"* ]]
    best=$(evo best -n 1 | sed -n '2s/ .*//p')
    grep -q " $best, found by evo" <<< "$output"
    run evo export n0 --shape 1x8x512x32
    [ "$status" -eq 2 ]
    [[ "$output" == *"no kernel of this run was built for '1x8x512x32'"* ]]
    run evo export n0 --format elf
    [ "$status" -eq 2 ]
    [[ "$output" == *"must be cu, cubin, ptx, json or torch"* ]]
}

@test "cubin, ptx and json are what was judged" {
    for id in n0 n1 n2; do
        evo export $id --shape 1x8x512x64 --format cubin -o $id.cubin
        [ "$(head -c 4 $id.cubin | od -An -tx1 | tr -d ' ')" = 7f454c46 ]
        evo export $id --shape 1x8x512x64 --format ptx > $id.ptx
        grep -q '^\.target sm_90a' $id.ptx
        grep -q 'entry attention' $id.ptx
        run ! grep -q -E '^\.(visible )?(global|const) ' $id.ptx
        evo export $id --shape 1x8x512x64 --format json -o $id.json
        is_json $id.json
        [ "$(field $id.json '$.kernels[0].name')" = attention ]
        [ "$(field $id.json '$.kernels[0].args[3]')" = O ]
        [ "$(field $id.json '$.constants.HEAD_DIM')" = 64 ]
        field $id.json '$.source' | grep -q '__global__'
        if command -v ptxas > /dev/null; then
            ptxas -arch=sm_90a $id.ptx -o /dev/null
        fi
    done
}

@test "nvcc compiles what is exported without a warning, for every family and problem" {
    need_nvcc
    for id in n0 n1 n2; do
        evo export $id --shape 1x8x512x64 -o $id.cu
        nvcc_clean -c $id.cu -o $id.o
        for shape in $SHAPES; do
            evo export $id --shape $shape -o $id.cu
            nvcc_clean -DEVO_MAIN -c $id.cu -o $id.o
        done
    done
}

@test "nvcc compiles what 'evo show --source' prints, as it is" {
    need_nvcc
    for id in n0 n1 n2; do
        evo show $id --source > $id.cu
        nvcc_clean -c $id.cu -o $id.o
        cuobjdump=$(dirname "$NVCC")/cuobjdump
        [ ! -x "$cuobjdump" ] || "$cuobjdump" -elf $id.o | grep -q '\.text\.attention'
    done
}

@test "C and C++ programs include the file, link it and are refused what is no shape" {
    need_nvcc
    command -v cc > /dev/null && command -v c++ > /dev/null || skip "there is no cc or c++"
    evo export n0 --shape 1x8x512x64 -o kernel.cu
    nvcc_clean -c kernel.cu -o kernel.o
    cat > call.c <<'END'
#include "kernel.cu"
#include <stdio.h>
int main(void)
{
    printf("%d bytes, %d, %d\n", (int)evo_workspace_bytes(1, 8, 8, 512, 512),
           evo_attention(0, 0, 0, 0, 0, 1, 8, 3, 512, 512, 0, 0),
           evo_attention(0, 0, 0, 0, 0, 0, 8, 8, 512, 512, 0, 0));
    return 0;
}
END
    cp call.c call.cc
    libraries="-L$(dirname "$NVCC")/../lib64 -lcudart -lstdc++"
    cc -std=c99 -pedantic -Wall -Wextra -Werror call.c kernel.o $libraries -o from_c
    c++ -std=c++11 -pedantic -Wall -Wextra -Werror call.cc kernel.o $libraries -o from_cc
    export LD_LIBRARY_PATH="$(dirname "$NVCC")/../lib64"
    [ "$(./from_c)" = "0 bytes, -1, -1" ]
    [ "$(./from_cc)" = "0 bytes, -1, -1" ]
}

@test "the exported main says how it is called, and what is missing without a GPU" {
    need_nvcc
    evo export n0 --shape 1x8x512x64:lse -o kernel.cu
    nvcc_clean -DEVO_MAIN kernel.cu -o try
    run ./try 1 2 3
    [ "$status" -eq 2 ]
    [[ "$output" == *"usage: "*"batch heads kv_heads q_len kv_len"* ]]
    run ./try 1 8 3 512 512
    [ "$status" -eq 2 ]
    [ ! -e /dev/nvidiactl ] || skip "there is a GPU"
    run ./try
    [ "$status" -eq 1 ]
    [[ "$output" == *"cudaMalloc"* ]]
}

@test "launcher and main agree with attention computed by a third hand" {
    need_nvcc
    command -v cc > /dev/null || skip "there is no cc"
    cc -std=c11 -O2 -Wall -Wextra -Werror -c "$EVO_SOURCE/tests/cudart_fake.c" -o fake.o
    made() { # SHAPE: ./try, with a runtime that computes on the CPU
        evo export n0 --shape "$1" -o kernel.cu
        nvcc_clean -cudart none -DEVO_MAIN kernel.cu fake.o -o try
    }
    right() { run ./try "$@"; echo "$output"; [ "$status" -eq 0 ] && [[ "$output" == *": ok; "* ]]; }
    wrong() { run ./try "$@"; echo "$output"; [ "$status" -eq 1 ] && [[ "$output" == *": WRONG; "* ]]; }
    made 1x8x512x64
    FAKE= right
    FAKE= right 2 4 2 33 65
    FAKE=bad_row wrong 1 1 1 16 64
    FAKE=nan wrong 1 1 1 16 64
    FAKE=causal wrong 1 1 1 16 64
    made 2x8/2x100/300x128:causal:bf16:lse:bshd
    FAKE=causal,bf16,lse right 2 4 2 33 65
    FAKE=causal,bf16,lse right 2 4 1 65 33
    FAKE=causal,bf16,lse right 1 2 2 1 7
    FAKE=causal,bf16,lse,bad_lse wrong 2 4 2 33 65
    FAKE=causal,bf16,lse,bad_row wrong 2 4 2 33 65
    FAKE=bf16,lse wrong 2 4 2 33 65
}

# called MODULE SHAPE...: by Python, on host memory, by the fake driver.
called() {
    LD_LIBRARY_PATH=$PWD PYTHONPATH=$EVO_SOURCE/tests/torch_fake PYTHONDONTWRITEBYTECODE=1 python3 "$EVO_SOURCE/tests/torch_fake/call.py" "$@"
}
need_python() {
    command -v cc > /dev/null || skip "there is no cc"
    python3 -c 'import ctypes' || skip "there is no python3"
    cc -std=c11 -O2 -Wall -Wextra -Werror -shared -fPIC "$EVO_SOURCE/tests/cudart_fake.c" -o libcuda.so.1 -lm
}

@test "a Python module launches what was judged, with right arguments, and refuses what it cannot do" {
    need_python
    evo export n0 --shape 1x8x512x64 --format torch -o kernel.py
    evo export n0 --shape 1x8x512x64 --format cubin -o kernel.cubin
    python3 -c 'import ast, base64, sys; tree = ast.parse(open("kernel.py").read())
image = [n.value.args[0].value for n in tree.body if isinstance(n, ast.Assign) and getattr(n.targets[0], "id", "") == "_IMAGE"][0]
sys.exit(base64.b64decode(image) != open("kernel.cubin", "rb").read())'
    FAKE= called kernel.py 1 2 2 16 32
    FAKE= called kernel.py 2 4 2 17 9
    FAKE=causal run called kernel.py 1 1 1 16 32
    [ "$status" -eq 1 ]
    FAKE_CAPABILITY=8.0 run called kernel.py 1 1 1 16 32
    [[ "$output" == *"machine code for sm_90a; the GPU is an sm_80"* ]]
    evo export n1 --shape 2x8/2x100/300x128:causal:bf16:lse:bshd --format torch -o kernel.py
    FAKE=causal,bf16,lse called kernel.py 2 4 2 9 17
    FAKE=causal,bf16,lse called kernel.py 1 2 1 17 9
}

@test "the maps that a launcher makes are those of its tensors" {
    need_nvcc
    command -v cc > /dev/null || skip "there is no cc"
    cc -std=c11 -O2 -Wall -Wextra -Werror -c "$EVO_SOURCE/tests/cudart_fake.c" -o fake.o
    mkdir templates
    cat > templates/mapped.cu <<'END'
/*
 * mapped -- every tensor through a map.
 */
#include "include/evo.cuh"
#include "include/attention.cuh"

EVO_GIVEN(HEAD_DIM, "columns")
EVO_GENE(ROWS, pow2(32, 64), "rows in a block")
EVO_TENSOR_MAP(q_map, Q, (64, ROWS), 128, "rows of Q")
EVO_TENSOR_MAP(k_map, K, (32, 2 * ROWS), 64, "tiles of K")
EVO_TENSOR_MAP(v_map, V, (HEAD_DIM, min(8, ROWS)), 0, "tiles of V")
EVO_TENSOR_MAP(o_map, O, (16, ROWS), 32, "rows of O")
EVO_LAUNCH(mapped, (ceil_div(q_len, ROWS), heads, batch), ROWS, 0, (q_map, k_map, v_map, o_map, LSE, problem))

extern "C" __global__ void mapped(const __grid_constant__ evo_tensor_map q_map, const __grid_constant__ evo_tensor_map k_map,
                                  const __grid_constant__ evo_tensor_map v_map, const __grid_constant__ evo_tensor_map o_map,
                                  float *LSE, evo_problem problem)
{
    if (problem.q_len < 0)
        LSE[0] = (float)(q_map.opaque[0] + k_map.opaque[0] + v_map.opaque[0] + o_map.opaque[0]);
}
END
    cat > seed.yaml <<END
workload: [1x8x512x64, "2x8/2x100/300x128:causal:bf16:lse:bshd"]
families: [mapped]
templates: templates
budget: {evaluations: 1}
workers: {judges: "$EVO_BIN/evo-worker-fake", compile: 1}
END
    evo start --seed seed.yaml --db maps.db
    right() { run ./try "$@"; echo "$output"; [ "$status" -eq 0 ] && [[ "$output" == *": ok; "* ]]; }
    evo export n0 --db maps.db --shape 1x8x512x64 -o kernel.cu
    nvcc_clean -cudart none -DEVO_MAIN kernel.cu fake.o -o try
    FAKE=maps right
    FAKE=maps right 2 4 2 33 65
    FAKE=maps,bf16 run ./try 1 1 1 16 16 # halves are mapped as halves
    [[ "$output" == *"error 1"* ]]
    evo export n0 --db maps.db --shape 2x8/2x100/300x128:causal:bf16:lse:bshd -o kernel.cu
    nvcc_clean -cudart none -DEVO_MAIN kernel.cu fake.o -o try
    FAKE=maps,causal,bf16,lse right
    FAKE=maps,causal,bf16,lse right 3 6 2 65 33
    need_python
    evo export n0 --db maps.db --shape 2x8/2x100/300x128:causal:bf16:lse:bshd --format torch -o kernel.py
    FAKE=maps,causal,bf16,lse called kernel.py 2 4 2 17 9
    evo export n0 --db maps.db --shape 1x8x512x64 --format torch -o kernel.py
    FAKE=maps called kernel.py 1 2 2 9 17
}

@test "several kernels, workspaces and refused shapes leave with their launcher" {
    mkdir templates
    cat > templates/split.cu <<'END'
/*
 * split -- two kernels in a row, with what they borrow.
 */
#include "include/evo.cuh"
#include "include/attention.cuh"

EVO_GIVEN(HEAD_DIM, "columns")
EVO_GIVEN(CAUSAL, "mask")
EVO_GIVEN(BF16, "type")
EVO_GIVEN(LSE, "sums")
EVO_GENE(ROWS, pow2(32, 128), "rows in a block")
EVO_LET(WIDE, ROWS > 64 ? 2 : 1, "a derived value")
EVO_SUPPORTS(LSE == 0 && CAUSAL == 0, "plain attention alone")
EVO_SUPPORTS(q_len % ROWS == 0 || q_len < min(ROWS, 16), "whole blocks, or hardly one")
EVO_WORKSPACE(sums, 4 * batch * heads * q_len, poison, "a float a row")
EVO_WORKSPACE(count, 4 * max(1, sms / WIDE), zero_call, "counters")
EVO_LAUNCH(first, (ceil_div(q_len, ROWS), heads, batch), ROWS, 0, (Q, K, sums, count, problem))
EVO_LAUNCH(second, (ceil_div(q_len, ROWS), heads * batch), ROWS, pow2(log2(ROWS)) * 4, (V, O, sums, problem))

extern "C" __global__ void first(const evo_half *Q, const evo_half *K, float *sums, int *count, evo_problem problem)
{
    const int row = blockIdx.x * ROWS + threadIdx.x;
    if (row < problem.q_len)
        sums[row] = as_input<BF16>::get(Q[row]) * as_input<BF16>::get(K[0]) + count[0];
}

extern "C" __global__ void second(const evo_half *V, evo_half *O, const float *sums, evo_problem problem)
{
    const int row = blockIdx.x * ROWS + threadIdx.x;
    if (row < problem.q_len)
        O[row * HEAD_DIM] = as_input<BF16>::put(sums[row] * as_input<BF16>::get(V[0]));
}
END
    cat > seed.yaml <<END
workload: [1x8x512x64]
families: [split]
templates: templates
budget: {evaluations: 2}
workers: {judges: "'$EVO_BIN/evo-worker-fake'", compile: 1}
END
    evo start --seed seed.yaml --db split.db
    evo export n0 --db split.db -o kernel.cu
    grep -q '^// evo: kernel second | ' kernel.cu
    evo export n0 --db split.db --format json > kernel.json
    [ "$(field kernel.json '$.kernels[1].args[2]')" = sums ]
    evo export n0 --db split.db --format torch -o kernel.py
    PYTHONPATH=$EVO_SOURCE/tests/torch_fake PYTHONDONTWRITEBYTECODE=1 python3 -c 'import kernel
assert kernel.supports(1, 2, 2, 128, 64) and kernel.supports(1, 2, 2, 3, 64) and not kernel.supports(1, 2, 2, 100, 64)
rows = kernel.CONSTANTS["ROWS"]
assert [kernel._evaluate(size, kernel._names((1, 2, 2, 128, 64), 7)) for _, size, _ in kernel.WORKSPACES] == [4 * 2 * 128, 4 * (7 if rows <= 64 else 3)]
assert kernel._evaluate(kernel.KERNELS[1][3], {"ROWS": 96}) == 256'
    need_nvcc
    nvcc_clean -c kernel.cu -o kernel.o
    nvcc_clean -DEVO_MAIN -c kernel.cu -o kernel.o
    cat > ask.cu <<'END'
#include "kernel.cu"
#include <cstdio>
int main()
{
    printf("%d %d %d %d %d\n", (int)evo_workspace_bytes(1, 8, 8, 512, 512), (int)evo_workspace_bytes(1, 1, 1, 1, 1),
           evo_host::supports(evo_problem_of(1, 8, 8, 512, 512), 1), evo_host::supports(evo_problem_of(1, 8, 8, 513, 512), 1),
           evo_host::supports(evo_problem_of(1, 8, 8, 15, 512), 1));
}
END
    nvcc_clean ask.cu -o ask
    [ -e /dev/nvidiactl ] || [ "$(./ask)" = "16640 512 1 0 1" ]
}

@test "verify builds an exported file, and says so when there is no device to judge it" {
    evo export n1 --shape 1x8x512x64 -o kernel.cu
    run --separate-stderr evo verify kernel.cu --device cuda:99
    [ "$status" -eq 3 ]
    [ -z "$output" ]
    [[ "$stderr" == "evo: "* ]]
    run evo verify kernel.cu --device nowhere
    [ "$status" -eq 2 ]
    [[ "$output" == *"'nowhere'"* ]]
}

@test "the compiler's complaint about an edited file names its line" {
    evo export n1 --shape 1x8x512x64 -o kernel.cu
    sed 's/^extern "C" __global__/oops &/' kernel.cu > d.cu
    run evo verify d.cu
    [ "$status" -eq 4 ]
    [[ "$output" == *"d.cu($(grep -n '^oops ' d.cu | cut -d: -f1)): error"* ]]
}

@test "a damaged file is told by its line, and what is no export by what it lacks" {
    evo export n1 --shape 1x8x512x64 -o kernel.cu
    sed 's/^\(.. evo: define BLOCK_M\).*/\1 x/' kernel.cu > d.cu
    told "$(line 'evo: define BLOCK_M'):9" "'define BLOCK_M x'"
    sed 's/^\(.. evo: kernel attention\)/\1 |/' kernel.cu > d.cu
    told "" "launch of 'attention': grid x: "
    sed 's/^\(.. evo: problem\).*/\1 1x8x512y64/' kernel.cu > d.cu
    told "$(line 'evo: problem'):9" "'1x8x512y64' is not a problem"
    sed 's/^\(.. evo: problem\).*/\1 1x8x512x128/' kernel.cu > d.cu
    told "$(line 'evo: program'):1" "HEAD_DIM 128, its program 64"
    sed 's/^\(.. evo: arch\).*/\1 -o=x/' kernel.cu > d.cu
    told "$(line 'evo: arch'):9" "no architecture"
    sed 's/^.. evo: define CAUSAL.*/something else/' kernel.cu > d.cu
    told "$(line 'evo: define CAUSAL'):1" "a line here begins with"
    sed 's/^\(.. evo: \)define CAUSAL.*/\1body source 7/' kernel.cu > d.cu
    told "$(line 'evo: define CAUSAL'):9" "no part of a program"
    sed '/evo: program$/d' kernel.cu > d.cu
    told "$(line 'evo: program'):9" "'numerics 0'"
    sed '/evo: numerics/d' kernel.cu > d.cu
    told "$(line 'evo: program'):1" "'numerics'"
    sed '/evo:program-end/d' kernel.cu > d.cu
    told "$(line 'evo:program-begin'):1" "'// evo:program-end' is missing"
    head -n "$(line '#include <cuda_fp16.h>')" kernel.cu > d.cu
    told "$(line 'evo:device-begin'):1" "'// evo:device-end' is missing"
    { cat kernel.cu; printf 'a\0b\n'; } > d.cu
    told "$(($(wc -l < kernel.cu) + 1)):1" "NUL byte"
    for file in "$EVO_SOURCE/README.md" /dev/null; do
        run evo verify "$file"
        [ "$status" -eq 2 ]
        [[ "$output" == *"the line '// evo:program-begin' is missing"* ]]
        [[ "$output" == *"evo verifies files that 'evo export' wrote"* ]]
    done
    head -c 5000000 /dev/zero | tr '\0' x > d.cu
    run evo verify d.cu
    [ "$status" -ne 0 ]
    [[ "$output" == *"d.cu"* ]]
}

@test "a file survives what editors do to lines' ends" {
    evo export n1 --shape 1x8x512x64 -o kernel.cu
    sed 's/$/\r/' kernel.cu > d.cu
    run evo verify d.cu --device cuda:99
    [ "$status" -eq 3 ]
}

@test "a recorded run, replayed, is the same run" {
    export EVO_COMPILE="'$EVO_BIN/evo-worker-fake' --role compile --fail-on EVO_VALUE_WARPS.8"
    fake_seed 40 --fail-on KEYS=1 | sed -e 's/toy ROWS=16/attention_scalar/' -e 's/toy/attention_scalar/' \
        -e '/^templates/d' -e 's/^workload.*/workload: [1x8x512x64, 2x8x256x64:causal]/' > seed.yaml
    evo start --seed seed.yaml --db measured.db
    evo record --db measured.db -o run.csv
    grep -q '^# family attention_scalar$' run.csv
    grep -v '^workers' seed.yaml > replay.yaml
    evo start --seed replay.yaml --device replay:run.csv --db replayed.db
    evo dump --db measured.db > measured.txt
    evo dump --db replayed.db > replayed.txt
    [ "$(wc -l < measured.txt)" = 40 ]
    for verdict in pass wrong no_compile; do
        grep -q " $verdict" measured.txt
    done
    run ! grep -v -e ' replayed$' -e ' no_compile$' replayed.txt
    diff measured.txt <(sed 's/ replayed$//' replayed.txt)
    # Recorded once more, it is the same table, but for the device's name.
    evo record --db replayed.db -o again.csv
    diff <(grep -v '^# device' run.csv) <(grep -v '^# device' again.csv)
}

@test "a recording is of one family, which is named when there are several" {
    run evo record
    [ "$status" -eq 2 ]
    [[ "$output" == *"several families"*"--family"* ]]
    run evo record --family none
    [ "$status" -eq 2 ]
    [[ "$output" == *"no family 'none'"* ]]
    evo record --family attention_tiled > tiled.csv
    grep -q '^# family attention_tiled$' tiled.csv
}
