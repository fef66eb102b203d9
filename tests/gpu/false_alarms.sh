#!/bin/bash
# false_alarms.sh -- the gate fails no correct kernel: N judgements (10000) on a GPU, none may fail.
#
#     false_alarms.sh BIN [N] [DEVICE]
#
# Independent correct kernels (other orders of summation, another exponential, lazy rescaling, two
# passes, two kernels with a merge, bfloat16), each time on inputs of a fresh secret.
set -euo pipefail
bin=$1 wanted=${2:-10000} device=${3:-cuda:0}
[ "$device" = emu ] || [ -e /dev/nvidiactl ] || { echo "skipped: no NVIDIA GPU here"; exit 77; }
[ -x "$bin/evo-compile" ] || { echo "skipped: there is no NVRTC here"; exit 77; }
"$bin/evo" doctor --device "$device" --controls "$wanted"
