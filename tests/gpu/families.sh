#!/bin/bash
# families.sh BIN OUT [LIST...] -- which variants of the families are right on this machine, and how fast.
#
# A LIST (by default every one of tests/gpu/families/) names shapes and genomes, a line each:
#
#     shapes 1x8x512x64 1x8x512x64:causal
#     attention_mma BLOCK_M=32 BLOCK_N=64 WARPS=8 KEY_SETS=8
#
# Each genome is judged by the whole gate and then timed on each of the shapes above it, one search of
# founders alone a shape. Prints a table a shape, fastest first; what did not pass comes last, with its
# reason. OUT receives the same as families.md, and databases, seeds and logs. EVO_DEVICE=emu tries
# the script where there is no GPU (choose small shapes); otherwise it ends there with 77, which
# ctest counts as skipped.
set -euo pipefail

bin=$(cd "$1" && pwd) out=$2
shift 2
root=$(cd "$(dirname "$0")/../.." && pwd)
device=${EVO_DEVICE:-auto}
[ $# -gt 0 ] || set -- "$root"/tests/gpu/families/*.txt

if [ "$device" = auto ] && [ ! -e /dev/nvidiactl ]; then
    echo "skipped: this machine has no NVIDIA GPU"
    exit 77
fi
mkdir -p "$out"
[ "$device" = emu ] || nvidia-smi --query-gpu=name,clocks.sm,clocks.max.sm,power.limit,driver_version --format=csv |
    tee "$out/device.csv"
exec python3 - "$bin/evo" "$out" "$device" "$@" <<'EOF'
import json, os, re, subprocess, sys

evo, out, device, lists = sys.argv[1], sys.argv[2], sys.argv[3], sys.argv[4:]


def read_lists():
    """Genomes by shape, in the order of the files."""
    by_shape = {}
    for path in lists:
        shapes = []
        for line in open(path):
            words = line.split("#")[0].split()
            if words[:1] == ["shapes"]:
                shapes = words[1:]
            elif words:
                if not shapes:
                    sys.exit(f"families: '{path}' names a genome before any shapes")
                for shape in shapes:
                    by_shape.setdefault(shape, []).append(" ".join(words))
    return by_shape


def seed_of(shape, genomes):
    families = sorted({genome.split()[0] for genome in genomes})
    lines = ["name: families", f'workload: ["{shape}"]', f"families: [{', '.join(families)}]",
             "numerics: [fp32, fp16]", "founders:"]
    lines += [f"  - {genome}" for genome in genomes]
    return "\n".join(lines + [f"budget: {{evaluations: {len(genomes)}}}",
                              "workers: {judge_deadline: 60s}", ""])


def search(shape, genomes):
    """The database of a search of these founders; also those that are infeasible here, and why."""
    name = os.path.join(out, re.sub(r"[^0-9a-z]+", "-", shape))
    genomes, refused = list(genomes), []
    while genomes:
        for end in (".db", ".db-wal", ".db-shm", ".db.log", ".db.lock"):
            if os.path.exists(name + end):
                os.unlink(name + end)
        with open(name + ".yaml", "w") as file:
            file.write(seed_of(shape, genomes))
        run = subprocess.run([evo, "start", "--foreground", "--db", name + ".db", "--seed", name + ".yaml",
                              "--device", device], capture_output=True, text=True)
        with open(name + ".log", "w") as file:
            file.write(run.stdout + run.stderr)
        told = re.search(r"\.yaml:(\d+):\d+: founder '[^']*' (.*)", run.stderr)
        if run.returncode == 0:
            return name + ".db", genomes, refused
        if told is None:
            sys.exit(f"families: {shape}: evo start failed:\n{run.stderr}")
        refused.append((genomes.pop(int(told.group(1)) - 6), told.group(2).replace("is infeasible here: ", "")))
    return None, [], refused


def flop_of(shape):
    batch, heads, tokens, columns = shape.split(":")[0].split("x")
    queries, keys = (tokens.split("/") * 2)[:2]
    flop = 4 * int(batch) * int(heads.split("/")[0]) * int(queries) * int(keys) * int(columns)
    return flop / 2 if "causal" in shape else flop


def rows_of(shape, genomes):
    db, judged, refused = search(shape, genomes)
    rows = []
    for place, genome in enumerate(judged):
        shown = subprocess.run([evo, "show", f"n{place}", "--db", db, "--json"], capture_output=True,
                               text=True, check=True)
        told = json.loads(shown.stdout)
        kernels = told["builds"][0]["kernels"] if told["builds"] else []
        rows.append({
            "genome": genome, "verdict": told["verdict"], "reason": told["reason"],
            "score": told["score"],
            "graph": told["problems"][0]["graph_us"] if told["problems"] else None,
            "registers": max((kernel["registers"] for kernel in kernels), default=0),
            "spills": sum(kernel["spill_store_bytes"] for kernel in kernels),
        })
    rows += [{"genome": genome, "verdict": "infeasible", "reason": reason, "score": None}
             for genome, reason in refused]
    return sorted(rows, key=lambda row: row["score"]["us"] if row["score"] else float("inf"))


def table(shape, rows):
    lines = [f"\n### {shape}\n", "| us | 95 % | in a graph | TFLOP/s | registers | spilled B | genome |",
             "|---|---|---|---|---|---|---|"]
    for row in rows:
        if row["score"]:
            score, graph = row["score"], row["graph"]
            lines.append("| {:.3f} | {:.3f}-{:.3f} | {} | {:.1f} | {} | {} | {} |".format(
                score["us"], score["low"], score["high"], "-" if graph is None else f"{graph:.3f}",
                flop_of(shape) / score["us"] / 1e6, row["registers"], row["spills"], row["genome"]))
        else:
            lines.append(f"| **{row['verdict']}** | | | | | | {row['genome']}: {row['reason'][:300]} |")
    return "\n".join(lines)


failed = 0
with open(os.path.join(out, "families.md"), "w") as report:
    for shape, genomes in read_lists().items():
        rows = rows_of(shape, genomes)
        failed += sum(row["verdict"] not in ("pass", "infeasible") for row in rows)
        text = table(shape, rows)
        print(text, flush=True)
        report.write(text + "\n")
        report.flush()
print(f"\n{failed} variants failed" if failed else "\nall variants that fit passed")
sys.exit(failed > 0)
EOF
