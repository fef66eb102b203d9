#!/bin/bash
# features.sh BIN OUT [DEVICE] [EVALUATIONS] -- what fast families need of a device, family by family.
#
# The tests' own families (tests/data/templates) load and store through tensor maps, launch several kernels
# over workspaces of every kind, stay and fetch work, form clusters and move registers. Each is searched
# for some EVALUATIONS (24) on the DEVICE (cuda:0), every candidate must pass; the best is exported for
# each shape, compiled by plain nvcc, verified from that file and, on a GPU, run. Without a GPU it says so
# and ends with 77, which ctest counts as skipped; on the DEVICE emu it runs anywhere.
set -euo pipefail

bin=$(cd "$1" && pwd) out=$2 device=${3:-cuda:0} evaluations=${4:-24}
root=$(cd "$(dirname "$0")/../.." && pwd)
evo=$bin/evo nvcc=${CUDA_HOME:-/usr/local/cuda}/bin/nvcc
shapes=("1x2x33/50x64" "1x2/1x40/70x64:causal:bf16:bshd" "2x1x60x128:lse" "1x1x50/20x32:causal")

if [ "$device" != emu ] && [ ! -e /dev/nvidiactl ]; then
    echo "skipped: this machine has no NVIDIA GPU"
    exit 77
fi
mkdir -p "$out"
out=$(cd "$out" && pwd)

search() { # FAMILY FOUNDER
    rm -f "$out/$1.db"*
    cat >"$out/$1.yaml" <<END
workload: ["${shapes[0]}", "${shapes[1]}", "${shapes[2]}", "${shapes[3]}"]
families: [$1]
founders: ["$1 $2"]
templates: $root/tests/data/templates
search: {lag: 2}
budget: {evaluations: $evaluations}
workers: {device: "$device", compile: 2}
END
    "$evo" start --foreground --db "$out/$1.db" --seed "$out/$1.yaml" 2>"$out/$1.log" || { cat "$out/$1.log"; exit 1; }
    "$evo" dump --db "$out/$1.db" >"$out/$1.dump"
    echo "$1: $(grep -c ' pass ' "$out/$1.dump") of $(wc -l <"$out/$1.dump") pass"
    ! grep -v ' pass ' "$out/$1.dump"
}

leave() { # FAMILY
    local shape file=$out/$1.cu
    judged() { # a hundred cases a shape are many for the emulated device: one, closely watched
        if [ "$device" = emu ]; then "$evo" emulate "$file" --shape "$shape"; else "$evo" verify "$file" --device "$device"; fi
    }
    for shape in "${shapes[@]}"; do
        "$evo" export best --db "$out/$1.db" --shape "$shape" -o "$file"
        if [ -x "$nvcc" ]; then
            "$nvcc" -O3 -std=c++17 -gencode arch=compute_90a,code=sm_90a -Xcompiler -Wall -DEVO_MAIN "$file" \
                -o "$out/$1" >"$out/$1.nvcc" 2>&1 || { cat "$out/$1.nvcc"; exit 1; }
            [ ! -s "$out/$1.nvcc" ] || { cat "$out/$1.nvcc"; exit 1; }
            [ "$device" = emu ] || "$out/$1"
        fi
        judged >"$out/$1.verify" || { cat "$out/$1.verify"; exit 1; }
        echo "$1 $shape: $(grep -m 1 pass "$out/$1.verify")"
    done
}

search attention_map "ROWS=64 KEYS=24 SWIZZLE=128 Out=maps"
search attention_split "ROWS=32 KEYS=128 SPLITS=3 SHARE=3 Next=restored"
search attention_cluster "CLUSTER=4 STAGES=2 MOVE=1"
for family in attention_map attention_split attention_cluster; do
    leave $family
done
