#!/bin/bash
# variants.sh BIN OUT LIST SHAPE... -- many variants of a kernel against cuDNN, all in turns: seconds, not minutes.
#
# LIST is as for families.sh (lines that begin with 'shapes' are passed over). Each genome is exported for each
# SHAPE by the emulated device, from a small problem of its kind, and all are compiled by nvcc at once. Then
# all of a shape take turns with PyTorch's call of cuDNN: graphs of calls, 14 rounds, medians, fastest first; an
# output that differs from the library's is told instead of a time. No gate: what wins here is still to be
# judged (families.sh, winners.sh). Needs nvcc and a python3 with torch: EVO_PYTHON names another.
#
#     variants.sh build/release/bin out tests/gpu/families/attention_wgmma.txt 4x16x4096x64 4x16x4096x64:causal
#
# Without a GPU it stops after the exports and ends with 77, which ctest counts as skipped.
set -euo pipefail

[ $# -ge 4 ] || { sed -n '2,12s/^# \{0,1\}//p' "$0"; exit 2; }
bin=$(cd "$1" && pwd) out=$2 list=$3
shift 3
mkdir -p "$out"
out=$(cd "$out" && pwd)

python3 - "$bin/evo" "$out" "$list" "$@" <<'EOF'
import os, re, subprocess, sys

evo, out, path, shapes = sys.argv[1], sys.argv[2], sys.argv[3], sys.argv[4:]
genomes = []
for line in open(path):
    words = line.split("#")[0].split()
    if words and words[0] != "shapes" and " ".join(words) not in genomes:
        genomes.append(" ".join(words))


def run(*words):
    return subprocess.run([evo, *words], capture_output=True, text=True)


def write_seed(path, kind, chosen):
    families = ", ".join(sorted({genome.split()[0] for genome in chosen}))
    with open(path, "w") as file:
        file.write(f'name: variants\nworkload: ["{kind}"]\nfamilies: [{families}]\nnumerics: [fp32, fp16]\nfounders:\n'
                   + "".join(f"  - {genome}\n" for genome in chosen)
                   + f"search: {{end: budget}}\nbudget: {{evaluations: {len(chosen)}}}\n")


for shape in shapes:
    size, _, rest = shape.partition(":")
    kind = "1x1x200x" + size.split("x")[-1] + (":" + rest if rest else "")
    name = os.path.join(out, re.sub(r"[^0-9a-z]+", "-", shape))
    feasible = []
    for genome in genomes:
        write_seed(name + ".yaml", kind, [genome])
        told = run("check", name + ".yaml")
        if told.returncode == 0:
            feasible.append(genome)
        else:
            print(f"{shape}: {genome}: {told.stderr.strip().split(': ')[-1][:100]}")
    for end in (".db", ".db-wal", ".db-shm", ".db.log", ".db.lock"):
        if os.path.exists(name + end):
            os.unlink(name + end)
    write_seed(name + ".yaml", kind, feasible)
    told = run("start", "--foreground", "--db", name + ".db", "--seed", name + ".yaml", "--device", "emu")
    if told.returncode:
        sys.exit(told.stderr)
    os.makedirs(name, exist_ok=True)
    for place, genome in enumerate(feasible):
        told = run("export", f"n{place}", "--db", name + ".db", "-o", f"{name}/{place:03}.cu")
        if told.returncode:
            print(f"{shape}: {genome}: {told.stderr.strip()[:160]}")
        with open(f"{name}/{place:03}.txt", "w") as file:
            file.write(genome)
EOF
[ -e /dev/nvidiactl ] || { echo "skipped: this machine has no NVIDIA GPU"; exit 77; }

find "$out" -name '*.cu' -print0 | xargs -0 -P "$(nproc)" -I{} sh -c \
    'nvcc -O3 -std=c++17 -gencode arch=compute_90a,code=sm_90a -shared -Xcompiler -fPIC -o "${1%.cu}.so" "$1" 2>"${1%.cu}.log"' _ {} ||
    find "$out" -name '*.log' -size +0 -exec head -n 3 {} + # what nvcc refused is left out, and told
LD_LIBRARY_PATH= exec "${EVO_PYTHON:-python3}" - "$out" "$@" <<'EOF'
import ctypes, glob, os, re, sys
import torch
from torch.nn.attention import SDPBackend, sdpa_kernel

out, shapes = sys.argv[1], sys.argv[2:]
ROUNDS, WARM = 14, 2
pointer = ctypes.c_void_p


def contest(shape):
    batch, heads, tokens, columns = map(int, shape.split(":")[0].split("x"))
    causal = "causal" in shape
    flop = 4 * batch * heads * tokens * tokens * columns / (2 if causal else 1)
    calls = max(1, int(2.5e-3 / (flop / 5e14 + 4e-6)))
    q, k, v = (torch.randn(batch, heads, tokens, columns, device="cuda", dtype=torch.float16) for _ in range(3))
    output = torch.empty_like(q)
    lse = torch.empty(batch, heads, tokens, device="cuda")
    workspace = torch.zeros(1 << 24, device="cuda", dtype=torch.uint8)
    stream, graphs = torch.cuda.Stream(), {}

    def library():
        with sdpa_kernel(SDPBackend.CUDNN_ATTENTION):
            return torch.nn.functional.scaled_dot_product_attention(q, k, v, is_causal=causal)

    def capture(name, call):
        with torch.cuda.stream(stream):
            call()
            torch.cuda.synchronize()
            graphs[name] = torch.cuda.CUDAGraph()
            with torch.cuda.graph(graphs[name], stream=stream):
                for _ in range(calls):
                    call()

    wanted = library()
    capture("cuDNN, by PyTorch", library)
    for path in sorted(glob.glob(f"{out}/{re.sub(r'[^0-9a-z]+', '-', shape)}/*.so")):
        kernel, genome = ctypes.CDLL(path), open(path[:-3] + ".txt").read()

        def call(kernel=kernel):
            error = kernel.evo_attention(pointer(q.data_ptr()), pointer(k.data_ptr()), pointer(v.data_ptr()),
                                         pointer(output.data_ptr()), pointer(lse.data_ptr()), batch, heads, heads, tokens,
                                         tokens, pointer(workspace.data_ptr()), pointer(stream.cuda_stream))
            if error:
                raise RuntimeError(f"error {error}")

        try:
            workspace.zero_()
            output.zero_()
            torch.cuda.synchronize()
            with torch.cuda.stream(stream):
                call()
            torch.cuda.synchronize()
            off = (output - wanted).abs().max().item()
            if not off < 5e-3:
                print(f"{shape}: off by {off}: {genome}")
                continue
            capture(genome, call)
        except RuntimeError as error:
            print(f"{shape}: {error}: {genome}")
    times = {name: [] for name in graphs}
    begin, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
    for turn in range(ROUNDS):
        for name in list(graphs) if turn % 2 == 0 else list(graphs)[::-1]:
            with torch.cuda.stream(stream):
                begin.record(stream)
                graphs[name].replay()
                end.record(stream)
            torch.cuda.synchronize()
            times[name].append(begin.elapsed_time(end) * 1e3 / calls)
    median = {name: sorted(one[WARM:])[(len(one) - WARM) // 2] for name, one in times.items()}
    print(f"\n### {shape}\n\n| us | against cuDNN | TFLOP/s | genome |\n|---|---|---|---|")
    for name in sorted(median, key=median.get):
        print(f"| {median[name]:.2f} | {median['cuDNN, by PyTorch'] / median[name]:.3f} | "
              f"{flop / median[name] / 1e6:.0f} | {name} |", flush=True)


for shape in shapes:
    contest(shape)
EOF
