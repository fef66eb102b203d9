#!/bin/bash
# agreement.sh BIN OUT [CANDIDATES] -- does the emulated device compute what this machine's GPU does?
#
# Of each family a random search judges some CANDIDATES (36) on a small shape; `evo agree` then runs each
# that passed on both devices, on the same inputs: one case of every input family of the gate on a ragged
# shape and on one of few rows and many keys. Prints a table in Markdown; OUT receives agreement.csv, a
# line a candidate. Ends with 1 where the order of summation does not explain a difference. EVO_DEVICE=emu
# tries the script where there is no GPU; otherwise it ends there with 77, which ctest counts as skipped.
set -euo pipefail

bin=$(cd "$1" && pwd) out=$2 candidates=${3:-36}
device=${EVO_DEVICE:-cuda:0}
if [ "$device" != emu ] && [ ! -e /dev/nvidiactl ]; then
    echo "skipped: this machine has no NVIDIA GPU"
    exit 77
fi
mkdir -p "$out"
exec python3 - "$bin/evo" "$out" "$candidates" "$device" <<'PY'
import csv, json, os, subprocess, sys

evo, out, candidates, device = sys.argv[1:]
SHAPES = ["1x2x71/150x64", "1x4/2x7/517x64"]
FAMILIES = ["attention_scalar", "attention_tiled", "attention_wmma", "attention_mma", "attention_small",
            "attention_wgmma"]


def run(*words):
    return subprocess.run([evo, *words], capture_output=True, text=True)


def agree(family):
    """What `evo agree` tells of the family's candidates."""
    name = os.path.join(out, family)
    for end in (".db", ".db-wal", ".db-shm", ".db.log", ".db.lock"):
        if os.path.exists(name + end):
            os.unlink(name + end)
    with open(name + ".yaml", "w") as file:
        file.write(f'name: agreement\nworkload: ["{SHAPES[0]}"]\nfamilies: [{family}]\n'
                   f"search: {{strategy: random, end: budget}}\nbudget: {{evaluations: {candidates}}}\n")
    told = run("start", "--foreground", "--db", name + ".db", "--seed", name + ".yaml", "--device", device)
    if told.returncode != 0:
        sys.exit(f"agreement: {family}: {told.stderr[-2000:]}")
    shapes = [word for shape in SHAPES for word in ("--shape", shape)]
    told = run("agree", "--db", name + ".db", *shapes, "--device", device, "--device", "emu", "--json")
    if told.returncode not in (0, 4):
        sys.exit(f"agreement: {family}: {told.stderr[-2000:]}")
    return json.loads(told.stdout)


columns = ["family", "agree", "outputs", "elements", "identical", "most_steps", "share", "limit", "shape", "inputs",
           "trouble", "genes"]
total = well = 0
print("| family | candidates | agree | outputs | elements | same to the bit | most steps apart | most of what is "
      "allowed |\n|---|---|---|---|---|---|---|---|")
with open(os.path.join(out, "agreement.csv"), "w", newline="") as file:
    table = csv.DictWriter(file, columns, extrasaction="ignore")
    table.writeheader()
    for family in FAMILIES:
        told = agree(family)
        rows = told["kernels"]
        table.writerows(rows)
        file.flush()
        same, elements = sum(row["identical"] for row in rows), sum(row["elements"] for row in rows)
        passed = sum(row["agree"] for row in rows)
        shares = [row["share"] if row["share"] is not None else float("inf") for row in rows]
        print(f"| {family} | {len(rows)} | {passed} | {sum(row['outputs'] for row in rows)} | {elements} | "
              f"{100 * same / max(elements, 1):.3f} % | {max(row['most_steps'] for row in rows):.3g} | "
              f"{100 * max(shares):.3g} % |", flush=True)
        for row in rows:
            if not row["agree"]:
                print(f"{family} {row['genes']}: {row['trouble'] or row['limit']} on {row['shape']}, {row['inputs']} "
                      f"inputs: {row['first']:.6g} and {row['second']:.6g}, exactly {row['exact']:.6g}")
        total, well = total + len(rows), well + passed
print(f"{well} of {total} candidates compute the same on {told['devices'][0]} and on {told['devices'][1]}")
sys.exit(0 if total > 0 and well == total else 1)
PY
