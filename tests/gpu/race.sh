#!/bin/bash
# race.sh -- the race gate on a GPU: each planted race is found, and found again, N times (3); what
# synchronises as it should passes as often. Says by which rung, and what a judgement costs.
#
#     race.sh BIN [N] [DEVICE] [CORPUS]
#
# CORPUS is the folder of planted kernels (fitness/cheats beside this script). Exit status 1: a race
# passed, or a correct kernel did not.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
bin=$1 count=${2:-3} device=${3:-cuda:0} corpus=${4:-$here/../../fitness/cheats}
templates=$here/../../templates
[ "$device" = emu ] || [ -e /dev/nvidiactl ] || { echo "skipped: no NVIDIA GPU here"; exit 77; }
[ -x "$bin/evo-compile" ] || { echo "skipped: there is no NVRTC here"; exit 77; }
command -v python3 >/dev/null || { echo "skipped: python3 is not installed"; exit 77; }
failed=0

# judge FILE GENES...: its verdict and the rung that decided, and the milliseconds that it took.
judge() {
    local file=$1 start end
    shift
    start=$(date +%s%N)
    "$bin/evo" verify "$file" "$@" --device "$device" --json >"$work/told.json" || true
    end=$(date +%s%N)
    python3 - "$work/told.json" $(((end - start) / 1000000)) <<'PY'
import json, sys
told = json.load(open(sys.argv[1]))
rung = next((row["rung"] for row in reversed(told.get("rungs", [])) if row["passed"] < row["total"]), "-")
print(told["verdict"], rung, sys.argv[2])
PY
}

expect() { # race|pass NAME FILE [OPTION]...
    local want=$1 name=$2 file=$3 tell=""
    shift 3
    for i in $(seq "$count"); do
        read -r verdict rung ms < <(judge "$file" "$@")
        tell="$tell  $verdict at $rung in $ms ms"
        case $want:$verdict in
        pass:pass | race:racy | race:wrong | race:unstable | race:invalid) ;;
        *) failed=$((failed + 1)) tell="$tell (!)" ;;
        esac
    done
    printf '%-28s %s\n' "$name" "$tell"
}

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
for name in no_barrier no_wait weak_wait late_wait no_last_wait no_mbarrier_wait no_bulk_wait; do
    for kind in in_tiled in_wmma; do
        expect race "$name $kind" "$corpus/$name.cu" --genes "Kind=$kind"
    done
done
for name in honest honest_bulk; do
    for kind in in_tiled in_wmma; do
        expect pass "$name $kind" "$corpus/$name.cu" --genes "Kind=$kind"
    done
done
for name in attention_tiled attention_wmma attention_mma attention_wgmma; do
    expect pass "$name" "$templates/$name.cu"
done
[ "$failed" -eq 0 ] || { echo "$failed verdicts are not what they should be"; exit 1; }
