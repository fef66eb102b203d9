#!/bin/bash
# model.sh BIN OUT [EVALUATIONS] -- does the emulated device's model of time rank as this machine's GPU does?
#
# Of each family a random search judges some EVALUATIONS (50) on 1x8x512x64; the emulated device then
# models each of them, and the rank correlation (Spearman) of the two times is printed, over all and over
# each half. OUT receives model.csv: family, shape, measured and modelled microseconds, genes. Without a
# GPU it says so and ends with 77, which ctest counts as skipped.
set -euo pipefail

bin=$(cd "$1" && pwd) out=$2 evaluations=${3:-50}
if [ ! -e /dev/nvidiactl ]; then
    echo "skipped: this machine has no NVIDIA GPU"
    exit 77
fi
mkdir -p "$out"
exec python3 - "$bin/evo" "$out" "$evaluations" <<'EOF'
import csv, json, math, os, re, subprocess, sys
from concurrent.futures import ThreadPoolExecutor

evo, out, evaluations = sys.argv[1:]
SHAPE = "1x8x512x64"
FAMILIES = ["attention_scalar", "attention_tiled", "attention_wmma", "attention_mma", "attention_small",
            "attention_wgmma"]


def search(family):
    """Measured times by place."""
    name = os.path.join(out, family)
    for end in (".db", ".db-wal", ".db-shm", ".db.log", ".db.lock"):
        if os.path.exists(name + end):
            os.unlink(name + end)
    with open(name + ".yaml", "w") as file:
        file.write(f'name: model\nworkload: ["{SHAPE}"]\nfamilies: [{family}]\n'
                   f"search: {{strategy: random, end: budget}}\nbudget: {{evaluations: {evaluations}}}\n")
    subprocess.run([evo, "start", "--foreground", "--db", name + ".db", "--seed", name + ".yaml"],
                   check=True, stderr=subprocess.DEVNULL)
    dump = subprocess.run([evo, "dump", "--db", name + ".db"], check=True, capture_output=True, text=True)
    found = re.findall(r"^(n\d+) .*? <[^>]*> \S+ (.*) src=.* pass ([0-9.]+)$", dump.stdout, re.M)
    return name + ".db", [(place, genes, float(us)) for place, genes, us in found]


def modelled(db, place):
    told = subprocess.run([evo, "emulate", place, "--db", db, "--shape", SHAPE, "--sanitize", "none", "--profile",
                           "--json"], capture_output=True, text=True)
    told = json.loads(told.stdout)
    return sum(kernel["modelled_us"] for kernel in told["kernels"]) if told["verdict"] == "pass" else None


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


print("| family | candidates | Spearman | even half | odd half | modelled / measured |\n|---|---|---|---|---|---|")
with open(os.path.join(out, "model.csv"), "w", newline="") as file:
    table = csv.writer(file)
    table.writerow(["family", "shape", "measured_us", "modelled_us", "genes"])
    for family in FAMILIES:
        db, found = search(family)
        with ThreadPoolExecutor(os.cpu_count()) as pool:
            times = list(pool.map(lambda one: modelled(db, one[0]), found))
        rows = [(us, model, genes) for (_, genes, us), model in zip(found, times) if model]
        for us, model, genes in rows:
            table.writerow([family, SHAPE, us, f"{model:.4f}", genes])
        ratio = math.exp(sum(math.log(model / us) for us, model, _ in rows) / len(rows))
        print(f"| {family} | {len(rows)} | {spearman(rows):.3f} | {spearman(rows[::2]):.3f} | "
              f"{spearman(rows[1::2]):.3f} | {ratio:.2f} |", flush=True)
EOF
