#!/bin/bash
# false_alarms.sh -- the gate fails no correct kernel: N judgements (10000) on a GPU, none may fail.
#
#     false_alarms.sh BIN [N] [DEVICE] [SECONDS COUNT]
#
# Independent correct kernels (other orders of summation, another exponential, lazy rescaling, two
# passes, two kernels with a merge, bfloat16), each time on inputs of a fresh secret. With SECONDS, a
# part of the N: as many as that time allows, a line for them added to the file COUNT, and the sum of
# its lines told; 0 only while all of them tell of no false alarm. Each round then judges cuDNN's own
# output as well, where there is a cuDNN.
set -euo pipefail
bin=$1 wanted=${2:-10000} device=${3:-cuda:0} seconds=${4:-} count=${5:-}
[ "$device" = emu ] || [ -e /dev/nvidiactl ] || { echo "skipped: no NVIDIA GPU here"; exit 77; }
[ -x "$bin/evo-compile" ] || { echo "skipped: there is no NVRTC here"; exit 77; }
[ -n "$seconds" ] || exec "$bin/evo" doctor --device "$device" --controls "$wanted"
[ -n "$count" ] || { echo "false_alarms.sh: a part needs a file to be counted in"; exit 2; }
touch "$count"

here=$(cd "$(dirname "$0")" && pwd)
rival=cudnn
told() { awk '{ judged += $2; failed += $4 } END { print judged + 0, failed + 0 }' "$count"; }

end=$(($(date +%s) + seconds)) failed=0
while read -r judged failed < <(told); [ "$judged" -lt "$wanted" ] && [ "$(date +%s)" -lt "$end" ]; do
    # Some hundred at once: a process's start is not what is to be looked at.
    "$bin/evo" doctor --device "$device" --controls 300 --json >"$count.part" || [ $? -eq 1 ]
    python3 -c 'import json, sys
told = json.load(open(sys.argv[1]))
print("%s: %d judgements, %d false alarms, %d kernels, %.0f s" % (
    told["device"].replace(" ", "_"), told["judgements"], told["false_alarms"], told["kernels"],
    told["seconds"]))' "$count.part" >>"$count"
    # cuDNN goes through the gate before it is timed beside a kernel of ours.
    "$bin/evo" compare "$here/../../fitness/cheats/honest_split.cu" "$rival" --shape 1x8x512x64 \
        --device "$device" --json >"$count.part" || [ $? -eq 4 ]
    python3 -c 'import json, sys
told = json.load(open(sys.argv[1]))
side = told["rows"][0]["sides"][1]
if side["verdict"] != "unsupported": # there is none here
    print("%s: 1 judgements, %d false alarms, %s" % (
        told["device"].replace(" ", "_"), side["verdict"] != "pass", side["plan"].split(",")[0]))' \
        "$count.part" >>"$count"
    rm -f "$count.part"
done
echo "$judged of $wanted judgements, $failed false alarms"
[ "$failed" -eq 0 ]
