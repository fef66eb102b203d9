#!/bin/bash
# winners.sh BIN OUT [LIST] [DEVICE] -- the best kernels known, judged, exported and compared with the library.
#
# A LIST (tests/gpu/winners.txt) names a workload and a genome, a line each. Each genome is judged and
# timed on its workload, written to OUT as one .cu file, verified from that file alone, and runs in
# turns with cuDNN, whatever the fastest of its plans. Prints a table in Markdown and the geometric mean
# of the speed-ups. EVO_CUDNN names another cuDNN than the system's. Without a GPU it says so and ends
# with 77, which ctest counts as skipped.
set -euo pipefail

bin=$(cd "$1" && pwd) out=$2
root=$(cd "$(dirname "$0")/../.." && pwd)
list=${3:-$root/tests/gpu/winners.txt} device=${4:-cuda:0}

if [ ! -e /dev/nvidiactl ]; then
    echo "skipped: this machine has no NVIDIA GPU"
    exit 77
fi
mkdir -p "$out"
exec python3 - "$bin/evo" "$out" "$list" "$device" <<'EOF'
import json, math, os, re, subprocess, sys

evo, out, list_path, device = sys.argv[1:]


def run(*words):
    return subprocess.run([evo, *words], capture_output=True, text=True)


def export(shape, genome):
    """Judges a genome on its workload; the file that it is exported to, or why not."""
    name = os.path.join(out, re.sub(r"[^0-9a-z]+", "-", shape))
    for end in (".db", ".db-wal", ".db-shm", ".db.log", ".db.lock"):
        if os.path.exists(name + end):
            os.unlink(name + end)
    with open(name + ".yaml", "w") as file:
        file.write(f'name: winners\nworkload: ["{shape}"]\nfamilies: [{genome.split()[0]}]\n'
                   f"founders:\n  - {genome}\nbudget: {{evaluations: 1}}\n"
                   "workers: {judge_deadline: 60s, compile: 2}\n")
    told = run("start", "--foreground", "--db", name + ".db", "--seed", name + ".yaml", "--device", device)
    if told.returncode:
        return None, told.stderr.strip()
    told = json.loads(run("show", "n0", "--db", name + ".db", "--json").stdout)
    if told["verdict"] != "pass":
        return None, f"{told['verdict']}: {told['reason']}"
    told = run("export", "best", "--db", name + ".db", "-o", name + ".cu")
    return name + ".cu", told.stderr.strip() if told.returncode else None


def row(shape, genome):
    path, trouble = export(shape, genome)
    if trouble:
        return None, f"| {shape} | {trouble} |"
    verified = run("verify", path, "--device", device)
    with open(path[:-3] + ".verify", "w") as file:
        file.write(verified.stdout + verified.stderr)
    told = run("compare", path, "cudnn", "--shape", shape, "--device", device, "--json")
    with open(path[:-3] + ".json", "w") as file:
        file.write(told.stdout)
    if told.returncode not in (0, 4) or not told.stdout:
        return None, f"| {shape} | {told.stderr.strip()} |"
    duel = json.loads(told.stdout)["rows"][0]
    if not duel["timed"]:
        return None, f"| {shape} | {duel['trouble']} |"
    ours, theirs = duel["sides"]
    by = {}
    for clock in ("graph", "span"):
        ratio = duel["speedup_" + clock]
        by[clock] = (f"{ours[clock + '_us']:.3f} | {theirs[clock + '_us']:.3f} | "
                     f"**{ratio['value']:.3f}** [{ratio['low']:.3f}, {ratio['high']:.3f}]")
    regime = f"{duel['sm_clock_mhz']:.0f} MHz, {duel['power_w']:.0f} W" + (", limited" if duel["power_limited"] else "")
    return duel["speedup_graph"]["value"], (
        f"| {shape} | {by['graph']} | {by['span']} | {ours['error']:.1e} / {theirs['error']:.1e} | "
        f"{'✓' if verified.returncode == 0 else '✗'} | {regime} |")


print("| workload | graph, us | cuDNN, us | speed-up | records, us | cuDNN, us | speed-up | error / cuDNN's | verified | regime |")
print("|---|---|---|---|---|---|---|---|---|---|")
ratios, failed = [], 0
for line in open(list_path):
    words = line.split("#")[0].split()
    if words:
        ratio, text = row(words[0], " ".join(words[1:]))
        print(text, flush=True)
        failed += ratio is None
        ratios += [ratio] if ratio else []
if ratios:
    print(f"\ngeometric mean of {len(ratios)} by graph replay: {math.exp(sum(map(math.log, ratios)) / len(ratios)):.3f}, worst {min(ratios):.3f}")
sys.exit(failed > 0)
EOF
