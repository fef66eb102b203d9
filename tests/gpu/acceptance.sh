#!/bin/bash
# acceptance.sh BIN OUT [SEED] [BUDGET] -- a whole search on this machine's GPU, and what it must show.
#
# Runs the seed (seeds/phase4.yaml) with the budget (5m). A search ends before its budget when no
# further gain is expected; then the seed is also searched for all of the budget, which shows the
# rate of a long run. Random search has the budget on the same machine. Exports the winner, compiles
# it with plain nvcc, runs it, verifies it from that file alone, and prints a table in Markdown for
# docs/results.md: rates are over a whole run, from its first second to its last. OUT receives logs,
# dumps and the winner. Without a GPU it says so and ends with 77, which ctest counts as skipped.
set -euo pipefail

bin=$(cd "$1" && pwd) out=$2
root=$(cd "$(dirname "$0")/../.." && pwd)
seed=${3:-$root/seeds/phase4.yaml} budget=${4:-5m}
name=$(basename "$seed" .yaml)

if [ ! -e /dev/nvidiactl ]; then
    echo "skipped: this machine has no NVIDIA GPU"
    exit 77
fi
mkdir -p "$out"
out=$(cd "$out" && pwd)
evo=$bin/evo
TIMEFORMAT='%U %S'

search() { # NAME STRATEGY [SEED]
    rm -f "$out/$1.db"*
    { time "$evo" start --foreground --db "$out/$1.db" --seed "${3:-$seed}" --budget "$budget" --strategy "$2" \
        2>"$out/$1.log"; } 2>"$out/$1.cpu" || { tail -5 "$out/$1.log"; exit 1; }
    "$evo" status --json --db "$out/$1.db" >"$out/$1.status.json"
    "$evo" best --json -n 5 --db "$out/$1.db" >"$out/$1.best.json"
    "$evo" dump --db "$out/$1.db" | gzip -9 >"$out/$1.dump.gz"
}

# The seed, but for when it ends.
whole() {
    if grep -q '^search:' "$seed"; then
        sed 's/^search:.*/&\n  end: budget/' "$seed"
    else
        cat "$seed"
        echo 'search: {end: budget}'
    fi
}

runs=("$name")
search "$name" evo
if ! grep -q '"ended_because": "its budget' "$out/$name.status.json"; then
    whole >"$out/$name-whole.yaml"
    search "$name-whole" evo "$out/$name-whole.yaml"
    runs+=("$name-whole")
fi
search "$name-random" random
runs+=("$name-random")

"$evo" export best --db "$out/$name.db" -o "$out/$name-winner.cu"
arch=$(sed -n 's/^\/\/ evo: arch //p' "$out/$name-winner.cu")
nvcc -O3 -std=c++17 -gencode "arch=compute_${arch#sm_},code=$arch" -DEVO_MAIN "$out/$name-winner.cu" -o "$out/$name-winner"
"$out/$name-winner" | tee "$out/$name-winner.txt"
"$evo" verify "$out/$name-winner.cu" | tee "$out/$name-verify.txt"

"$evo" status --db "$out/$name.db"
"$evo" best -n 3 --db "$out/$name.db"
"$evo" lineage best --db "$out/$name.db"
echo
python3 - "$out" "$budget" "${runs[@]}" <<'EOF'
import json, sys
out, budget, *names = sys.argv[1:]
runs = [json.load(open(f"{out}/{n}.status.json")) for n in names]
cpu = [sum(map(float, open(f"{out}/{n}.cpu").read().split())) for n in names]
def judges(run):
    rows = [row for row in run["judges"] if not row["part_of"]]
    whole = sum(row["ms"] for row in rows)
    return ", ".join(f'{row["what"]} {row["ms"] / whole:.0%}' for row in rows if row["ms"] > 0.005 * whole)
rows = [
    ("device", lambda s, c: s["device"]),
    ("ended", lambda s, c: f'after {s["elapsed_ms"] / 1e3:.0f} s: {s["ended_because"]}'),
    ("evaluations", lambda s, c: s["evaluated"]),
    ("a minute, over all of the run", lambda s, c: round(s["evaluated"] * 60000 / s["elapsed_ms"])),
    ("passed the gate", lambda s, c: s["passed"]),
    ("judging, share of the time", lambda s, c: f'{s["device_ms"] / s["elapsed_ms"]:.0%}'),
    ("what the judge did", lambda s, c: judges(s)),
    ("founder, us", lambda s, c: "%.2f [%.2f, %.2f]" % tuple(s["founder"][k] for k in ("us", "low", "high"))),
    ("best, us", lambda s, c: "%.2f [%.2f, %.2f]" % tuple(s["best"]["score"][k] for k in ("us", "low", "high"))),
    ("gain over the founder", lambda s, c: f'{s["best"]["gain"]:.2f}x'),
    ("found as evaluation", lambda s, c: s["best"]["evaluation"]),
    ("CPU of engine and workers, s", lambda s, c: round(c)),
]
print(f"| budget {budget} | " + " | ".join(names) + " |")
print("|---" * (len(names) + 1) + "|")
for title, get in rows:
    print(f"| {title} | " + " | ".join(str(get(s, c)) for s, c in zip(runs, cpu)) + " |")
EOF
