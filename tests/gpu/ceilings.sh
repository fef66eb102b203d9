#!/bin/bash
# ceilings.sh BIN [DEVICE] -- does `evo microbench` measure this GPU within what its architecture
# can be, twice the same, and does a short search then show what limits its best? On the emulated
# device (DEVICE emu) only the first is asked. EVO_PYTHON names another python3.
bin=$1 device=${2:-auto}
if [ "$device" = auto ] && [ ! -e /dev/nvidiactl ]; then
    echo "skipped: this machine has no NVIDIA GPU"
    exit 77
fi
folder=$(mktemp -d) || exit 1
trap 'rm -rf "$folder"' EXIT
export EVO_CACHE_DIR="$folder/cache" EVO_DB="$folder/evo.db"
root=$(cd "$(dirname "$0")/../.." && pwd)
"${EVO_PYTHON:-python3}" - "$bin/evo" "$device" "$root" "$folder" <<'EOF'
import json, subprocess, sys

evo, device, root, folder = sys.argv[1:5]
# What was measured, and between which bounds it is on any architecture that evo knows.
BOUNDS = [("fma", "per_clock", 1.8, 4.1), ("exp2", "per_clock", 0.4, 0.52), ("alu", "per_clock", 1.8, 2.1),
          ("shared", "per_clock", 110, 130), ("fma_latency", "value", 3.5, 6.5), ("shared_latency", "value", 18, 40),
          ("mma_latency", "value", 14, 40), ("launch", "value", 0.2, 5)]
ON_A_GPU = [("l2", "per_clock", 10, 64), ("dram", "value", 100, 9000), ("dram_latency", "value", 400, 1500)]
STEADY = ("fma", "exp2", "shared", "mma", "shuffle") # and their latencies, and barriers
failed = False


def fail(text):
    global failed
    print("FAIL ", text)
    failed = True


def run(*command):
    told = subprocess.run([evo, *command], capture_output=True, text=True)
    if told.returncode != 0:
        sys.exit(f"FAIL  evo {' '.join(command)}: {told.stderr[-400:]}")
    return told.stdout


def measure():
    return {row["name"]: row for row in json.loads(run("microbench", "--device", device, "--json"))["ceilings"]}


first = measure()
for name, field, low, high in BOUNDS + (ON_A_GPU if device != "emu" else []):
    value = first.get(name, {}).get(field)
    if value is not None and low <= value <= high:
        print("ok   ", name, value)
    else:
        fail(f"{name} {value} is not in {low} to {high}")
if device == "emu":
    sys.exit(failed)

second = measure()
for name, row in first.items():
    steady = name.removesuffix("_latency") in STEADY or name.startswith("barrier")
    if steady and row["value"] and abs(row["value"] / second[name]["value"] - 1) >= 0.02:
        fail(f"{name} was {row['value']}, and then {second[name]['value']}")

told = subprocess.run([evo, "start", "--seed", f"{root}/seeds/phase1.yaml", "--budget", "40s", "--foreground"],
                      stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
if told.returncode != 0:
    sys.exit(f"FAIL  the search: {told.stdout[-400:]}")
if "its ceilings are known" not in told.stdout:
    fail("the run does not know them")
best = json.loads(run("show", "best", "--json"))
limits = best["limits"][:1]
if limits and not limits[0]["modelled"] and limits[0]["used"]["tensor cores"] is not None and limits[0]["roof"]:
    print("ok   ", f"{limits[0]['problem']}: {limits[0]['limit']}; {limits[0]['roof']}")
elif "no hardware counters" in told.stdout: # refused is said, and no failure
    print("no counters:", next(m["reason"] for m in best["metrics"] if m["name"] == "hw_sm_cycles"))
else:
    fail("nothing says what limits the best")
sys.exit(failed)
EOF
