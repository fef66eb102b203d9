#!/bin/bash
# model.sh BIN OUT [EVALUATIONS] -- does the emulated device's model of time rank as this machine's GPU does?
#
# Of each family a random search judges some EVALUATIONS (50) on 1x8x512x64, and of attention_wgmma on
# 1x16x2048x64 too; the emulated device then models each of them from 8 of its blocks, and the rank
# correlation (Spearman) of the two times is printed, over all and over each half. OUT receives
# model.csv: family, shape, measured and modelled microseconds, genes. `model.sh BIN OUT table CSV`
# models the candidates of such a file anew: that needs no GPU. Without one it otherwise says so and
# ends with 77, which ctest counts as skipped.
set -euo pipefail

bin=$(cd "$1" && pwd) out=$2 evaluations=${3:-50} table=${4:-}
if [ "$evaluations" != table ] && [ ! -e /dev/nvidiactl ]; then
    echo "skipped: this machine has no NVIDIA GPU"
    exit 77
fi
mkdir -p "$out"
root=$(cd "$(dirname "$0")/../.." && pwd)
exec python3 - "$bin/evo" "$out" "$evaluations" "$root/templates" "$table" <<'EOF'
import csv, json, math, os, re, subprocess, sys
from concurrent.futures import ThreadPoolExecutor

evo, out, evaluations, templates, given = sys.argv[1:]
SHORT, LONG = "1x8x512x64", "1x16x2048x64"
SETS = [("attention_scalar", SHORT), ("attention_tiled", SHORT), ("attention_wmma", SHORT), ("attention_mma", SHORT),
        ("attention_small", SHORT), ("attention_wgmma", SHORT), ("attention_wgmma", LONG)]


def search(family, shape):
    """Genes and measured times of a random search, by place."""
    name = os.path.join(out, f"{family}-{shape}")
    for end in (".db", ".db-wal", ".db-shm", ".db.log", ".db.lock"):
        if os.path.exists(name + end):
            os.unlink(name + end)
    with open(name + ".yaml", "w") as file:
        file.write(f'name: model\nworkload: ["{shape}"]\nfamilies: [{family}]\n'
                   f"search: {{strategy: random, end: budget}}\nbudget: {{evaluations: {evaluations}}}\n")
    subprocess.run([evo, "start", "--foreground", "--db", name + ".db", "--seed", name + ".yaml"],
                   check=True, stderr=subprocess.DEVNULL)
    dump = subprocess.run([evo, "dump", "--db", name + ".db"], check=True, capture_output=True, text=True)
    found = re.findall(r"^n\d+ .*? <[^>]*> \S+ (.*) src=.* pass ([0-9.]+)$", dump.stdout, re.M)
    return [(genes, float(us)) for genes, us in found]


def recorded(family, shape):
    with open(given, newline="") as file:
        return [(row["genes"], float(row["measured_us"])) for row in csv.DictReader(file)
                if (row["family"], row["shape"]) == (family, shape)]


def modelled(family, shape, genes):
    told = subprocess.run([evo, "emulate", f"{templates}/{family}.cu", "--genes", genes, "--shape", shape, "--sanitize",
                           "none", "--profile", "--unchecked", "--json"], capture_output=True, text=True)
    if told.returncode != 0:
        sys.exit(f"model: {family} {genes}: {told.stderr}")
    return sum(kernel["modelled_us"] for kernel in json.loads(told.stdout)["kernels"])


def ranks(values):
    order, rank, i = sorted(range(len(values)), key=values.__getitem__), [0.0] * len(values), 0
    while i < len(order):
        j = i
        while j + 1 < len(order) and values[order[j + 1]] == values[order[i]]:
            j += 1
        for k in range(i, j + 1):
            rank[order[k]] = (i + j) / 2
        i = j + 1
    return rank


def spearman(rows):
    a, b = ranks([row[0] for row in rows]), ranks([row[1] for row in rows])
    mean = (len(rows) - 1) / 2
    return sum((x - mean) * (y - mean) for x, y in zip(a, b)) / math.sqrt(
        sum((x - mean) ** 2 for x in a) * sum((y - mean) ** 2 for y in b))


print("| family | shape | candidates | Spearman | even half | odd half | modelled / measured, geometric mean (sd of the "
      "logarithm) |\n|---|---|---|---|---|---|---|")
with open(os.path.join(out, "model.csv"), "w", newline="") as file:
    table = csv.writer(file, lineterminator="\n")
    table.writerow(["family", "shape", "measured_us", "modelled_us", "genes"])
    for family, shape in SETS:
        found = recorded(family, shape) if evaluations == "table" else search(family, shape)
        with ThreadPoolExecutor(os.cpu_count()) as pool:
            times = list(pool.map(lambda one: modelled(family, shape, one[0]), found))
        rows = [(us, model) for (_, us), model in zip(found, times)]
        for (genes, us), model in zip(found, times):
            table.writerow([family, shape, us, f"{model:.4f}", genes])
        logs = [math.log(model / us) for us, model in rows]
        mean = sum(logs) / len(logs)
        spread = math.sqrt(sum((x - mean) ** 2 for x in logs) / len(logs))
        print(f"| {family} | {shape} | {len(rows)} | {spearman(rows):.3f} | {spearman(rows[::2]):.3f} | "
              f"{spearman(rows[1::2]):.3f} | {math.exp(mean):.2f} ({spread:.2f}) |", flush=True)
EOF
