#!/bin/bash
# abuse.sh -- kernels that hang, trap, stray, overflow their stack or starve for registers, N of each
# in a row (50): the right verdict each time, and the next correct kernel is as fast as before.
#
#     abuse.sh BIN [N] [DEVICE] [CORPUS] [KERNEL...]
#
# A correct kernel is timed before, and after each series; all within TOLERANCE (0.01) of the first.
# CORPUS is the folder of planted kernels (fitness/cheats beside this script). A judgement of the
# abusive ones may take DEADLINE_MS (1000, some fifty times what it takes to judge a correct one), so
# that fifty which hang take two minutes and not ten.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
bin=$1 count=${2:-50} device=${3:-cuda:0} corpus=${4:-$here/../../fitness/cheats}
kernels=("${@:5}")
[ ${#kernels[@]} -gt 0 ] ||
    kernels=(loop_forever trap illegal_address misaligned stack_overflow register_starved)
tolerance=${TOLERANCE:-0.01} deadline=${DEADLINE_MS:-1000}
[ "$device" = emu ] || [ -e /dev/nvidiactl ] || { echo "skipped: no NVIDIA GPU here"; exit 77; }
[ -x "$bin/evo-compile" ] || { echo "skipped: there is no NVRTC here"; exit 77; }
command -v python3 >/dev/null || { echo "skipped: python3 is not installed"; exit 77; }
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
mkdir -p "$work/corpus/include" "$work/control/include"
cp "$corpus"/include/*.cuh "$work/corpus/include/"
cp "$corpus"/include/*.cuh "$work/control/include/"
cp "$corpus/honest.cu" "$work/control/"

value() { python3 -c 'import json, sys; print(eval("told" + sys.argv[2], {"told": json.load(open(sys.argv[1]))}))' "$1" "$2"; }

# The time of the correct kernel, in us; it must pass.
correct() {
    EVO_CHEATS="$work/control" "$bin/evo" doctor --device "$device" --json >"$work/control.json"
    value "$work/control.json" '["selftests"][0]["kernels"][0]["us"]'
}

before=$(correct)
echo "before: $before us"
for name in "${kernels[@]}"; do
    rm -f "$work"/corpus/*.cu
    for i in $(seq "$count"); do # copies: a corpus is judged in one go by the same judge
        cp "$corpus/$name.cu" "$work/corpus/${name}_$i.cu"
    done
    start=$(date +%s)
    if EVO_CHEATS="$work/corpus" "$bin/evo" doctor --device "$device" --deadline "$deadline" --json \
        >"$work/abuse.json"; then
        failed=0
    else
        failed=$(value "$work/abuse.json" '["selftests"][0]["failed"]')
    fi
    judged=$(value "$work/abuse.json" '["selftests"][0]["count"]')
    [ "$judged" -eq "$count" ] || { echo "$name: $judged of $count were judged"; exit 1; }
    [ "$failed" -eq 0 ] || { echo "$name: $failed of $count got another verdict"; exit 1; }
    after=$(correct)
    awk -v a="$before" -v b="$after" -v t="$tolerance" -v n="$name" -v c="$count" -v s=$(($(date +%s) - start)) \
        'BEGIN {
        off = b / a - 1
        printf "%d x %s: the right verdict each, then %.3f us (%+.2f %%), %d s\n", c, n, b, 100 * off, s
        exit off > t || off < -t }' || { echo "$name: the next correct kernel is off by more"; exit 1; }
done
