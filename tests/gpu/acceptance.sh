#!/bin/bash
# acceptance.sh BIN OUT [SEED] [BUDGET] -- a whole search on this machine's GPU, and what it must show.
#
# Runs the seed (seeds/phase4.yaml) for the budget (5m), then random search for the same budget on
# the same machine, exports the winner, compiles it with plain nvcc, runs it, verifies it from that
# file alone, and prints a table in Markdown for docs/results.md. OUT receives logs, dumps and the
# winner. Without a GPU it says so and ends with 77, which ctest counts as skipped.
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

search() { # NAME STRATEGY
    rm -f "$out/$1.db"*
    { time "$evo" start --foreground --db "$out/$1.db" --seed "$seed" --budget "$budget" --strategy "$2" \
        2>"$out/$1.log"; } 2>"$out/$1.cpu" || { tail -5 "$out/$1.log"; exit 1; }
    "$evo" status --json --db "$out/$1.db" >"$out/$1.status.json"
    "$evo" best --json -n 5 --db "$out/$1.db" >"$out/$1.best.json"
    "$evo" dump --db "$out/$1.db" | gzip -9 >"$out/$1.dump.gz"
}

search "$name" evo
search "$name-random" random

"$evo" export best --db "$out/$name.db" -o "$out/$name-winner.cu"
arch=$(sed -n 's/^\/\/ evo: arch //p' "$out/$name-winner.cu")
nvcc -O3 -std=c++17 -gencode "arch=compute_${arch#sm_},code=$arch" -DEVO_MAIN "$out/$name-winner.cu" -o "$out/$name-winner"
"$out/$name-winner" | tee "$out/$name-winner.txt"
"$evo" verify "$out/$name-winner.cu" | tee "$out/$name-verify.txt"

"$evo" status --db "$out/$name.db"
"$evo" best -n 3 --db "$out/$name.db"
"$evo" lineage best --db "$out/$name.db"
echo
python3 - "$out" "$name" "$budget" <<'EOF'
import json, sys
out, name, budget = sys.argv[1:]
runs = [json.load(open(f"{out}/{n}.status.json")) for n in (name, name + "-random")]
cpu = [sum(map(float, open(f"{out}/{n}.cpu").read().split())) for n in (name, name + "-random")]
rows = [
    ("device", lambda s, c: s["device"]),
    ("evaluations", lambda s, c: s["evaluated"]),
    ("a minute", lambda s, c: round(s["evaluated"] * 60000 / s["elapsed_ms"])),
    ("passed the gate", lambda s, c: s["passed"]),
    ("judging, share of the time", lambda s, c: f'{s["device_ms"] / s["elapsed_ms"]:.0%}'),
    ("founder, us", lambda s, c: "%.2f [%.2f, %.2f]" % tuple(s["founder"][k] for k in ("us", "low", "high"))),
    ("best, us", lambda s, c: "%.2f [%.2f, %.2f]" % tuple(s["best"]["score"][k] for k in ("us", "low", "high"))),
    ("gain over the founder", lambda s, c: f'{s["best"]["gain"]:.2f}x'),
    ("found as evaluation", lambda s, c: s["best"]["evaluation"]),
    ("CPU of engine and workers, s", lambda s, c: round(c)),
]
print(f"| {name}, {budget} each | evo | random |\n|---|---|---|")
for title, get in rows:
    print(f"| {title} | " + " | ".join(str(get(s, c)) for s, c in zip(runs, cpu)) + " |")
EOF
