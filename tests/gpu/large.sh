#!/bin/bash
# large.sh -- what a judgement of a small and of large shapes costs on a GPU, part by part, and that one
# wrong row among hundreds of thousands is found, though few of them have an FP64 reference.
#
#     large.sh BIN [SHAPE...]    (1x8x512x64 2x16x2048x128 4x16x8192x128)
#
# Milliseconds of a founder's judgement in a search, and of a better one's at its promotion, the race
# gate not included; the gate's parts are drawing the
# inputs, moving them, calls, looking at outputs and guards, reference, comparison.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
bin=$1
shift
[ $# -gt 0 ] || set -- 1x8x512x64 2x16x2048x128 4x16x8192x128
[ -e /dev/nvidiactl ] || { echo "skipped: no NVIDIA GPU here"; exit 77; }
[ -x "$bin/evo-compile" ] || { echo "skipped: there is no NVRTC here"; exit 77; }
command -v python3 >/dev/null || { echo "skipped: python3 is not installed"; exit 77; }
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

parts="gate draw move call look reference compare measure check"
printf '%-27s' shape
printf '%10s' $parts total
echo
for shape; do
    cat >"$work/seed.yaml" <<SEED
name: cost
about: one judgement
workload:
  - $shape
families:
  - attention_wgmma
  - attention_mma
founders:
  - attention_mma BLOCK_M=64 BLOCK_N=64 STAGES=2
  - attention_mma BLOCK_M=64 BLOCK_N=16 STAGES=2
budget:
  evaluations: 2
SEED
    rm -f "$work"/cost.db*
    "$bin/evo" start --foreground --db "$work/cost.db" --seed "$work/seed.yaml" >"$work/log" 2>&1 ||
        { tail -5 "$work/log"; exit 1; }
    for which in n1 n0; do
        "$bin/evo" show "$which" --json --db "$work/cost.db" >"$work/show.json"
        python3 - "$work/show.json" "$shape" $parts <<'PY'
import json, sys
told = json.load(open(sys.argv[1]))
metrics = {m["name"]: m["value"] for m in told["metrics"]}
if told["verdict"] != "pass":
    sys.exit("%s: %s: %s" % (sys.argv[2], told["verdict"], told.get("reason")))
line = "%-18s" % sys.argv[2] + ("promotion" if told["promotion"] else "search   ")
for part in sys.argv[3:]:
    name = part + "_ms" if part in ("gate", "measure", "check") else "gate_" + part + "_ms"
    line += "%10.1f" % metrics[name]
print(line + "%10.1f" % (metrics["gate_ms"] + metrics["measure_ms"] + metrics["check_ms"]), told["verdict"])
PY
    done
done

# An honest kernel but for one row of one head, which sees half of its keys.
mkdir -p "$work/corpus/include"
cp "$here"/../../fitness/cheats/include/*.cuh "$work/corpus/include/"
sed -e 's/^ \* shape:.*/ * shape: 1x8x8192x64/' -e 's/^struct lie : honest {$/struct lie : honest {\
    __device__ static int keys(const evo_problem \&p, int row)\
    {\
        return evo_visible<CAUSAL>(p, row) \/ (row == 5000 \&\& blockIdx.y == 3 ? 2 : 1);\
    }/' -e '/static void await/d' "$here/../../fitness/cheats/no_wait.cu" >"$work/corpus/one_row.cu"
"$bin/evo" verify "$work/corpus/one_row.cu" --genes Kind=in_tiled --device cuda:0 >"$work/one" && {
    echo "one wrong row passed"
    exit 1
}
grep -E 'wrong|off by' "$work/one" | tail -1
grep -q 'row 5000' "$work/one" || { echo "it failed for another reason"; exit 1; }
