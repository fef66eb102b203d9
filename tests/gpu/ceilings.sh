#!/bin/sh
# ceilings.sh BIN [DEVICE] -- does `evo microbench` measure this GPU within what its architecture
# can be, twice the same, and does a short search then show what limits its best? On the emulated
# device (DEVICE emu) only the first is asked.
bin=$1 device=${2:-auto}
if [ "$device" = auto ] && [ ! -e /dev/nvidiactl ]; then
    echo "skipped: this machine has no NVIDIA GPU"
    exit 77
fi
command -v jq > /dev/null || { echo "skipped: there is no jq"; exit 77; }
folder=$(mktemp -d) || exit 1
trap 'rm -rf "$folder"' EXIT
export EVO_CACHE_DIR="$folder/cache" EVO_DB="$folder/evo.db"
failed=0

measure() { # measure FILE
    "$bin/evo" microbench --device "$device" --json > "$1" || exit 1
}

# within NAME FIELD LOW HIGH: of what was measured.
within() {
    value=$(jq -r ".ceilings[] | select(.name == \"$1\") | .$2" "$folder/first.json")
    if awk -v x="$value" -v low="$3" -v high="$4" 'BEGIN { exit !(x >= low && x <= high) }'; then
        echo "ok    $1 $value"
    else
        echo "FAIL  $1 $value is not in $3 to $4"
        failed=1
    fi
}

measure "$folder/first.json"
within fma per_clock 1.8 4.1
within exp2 per_clock 0.4 0.52
within alu per_clock 1.8 2.1
within shared per_clock 110 130
within fma_latency value 3.5 6.5
within shared_latency value 18 40
within mma_latency value 14 40
within launch value 0.2 5
if [ "$device" = emu ]; then
    exit $failed
fi
within l2 per_clock 10 64
within dram value 100 9000
within dram_latency value 400 1500
measure "$folder/second.json"
jq -n --slurpfile a "$folder/first.json" --slurpfile b "$folder/second.json" -e '
    [$a[0].ceilings, $b[0].ceilings | [.[] | select(.name | test("^(fma|exp2|shared|mma|shuffle)(_latency)?$|^barrier"))]]
    | transpose | map(select(.[0].value != null) | (.[0].value / .[1].value - 1) | fabs) | max < 0.02
' > /dev/null || { echo "FAIL  latencies and rates differ by more than 2 % from one time to the next"; failed=1; }
root=$(cd "$(dirname "$0")/../.." && pwd)
"$bin/evo" start --seed "$root/seeds/phase1.yaml" --budget 40s --foreground > "$folder/log" 2>&1 ||
    { tail -3 "$folder/log"; exit 1; }
grep -q "its ceilings are known" "$folder/log" || { echo "FAIL  the run does not know them"; failed=1; }
"$bin/evo" show best --json > "$folder/show.json"
if jq -e '.limits[0] | .modelled == false and .used["tensor cores"] != null and (.roof | length) > 0' \
    "$folder/show.json" > /dev/null; then
    jq -r '.limits[0] | "ok    \(.problem): \(.limit); \(.roof)"' "$folder/show.json"
else
    jq -r '.metrics[] | select(.name == "hw_sm_cycles") | "no counters: \(.reason)"' "$folder/show.json"
    grep "no hardware counters" "$folder/log" || failed=1 # refused is said, and no failure
fi
exit $failed
