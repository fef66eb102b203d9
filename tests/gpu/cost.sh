#!/bin/bash
# cost.sh BIN OUT [DEVICE] -- what a judgement costs, in milliseconds, by rung and part.
#
# A founder is judged in full, and then two that are surely slower, which the quick rung ends; then the first
# is judged once more for its promotion. The bars: a full measurement of 1x8x512x64 takes 60 ms at most, of
# 4x16x8192x128 a second, and the quick rung a tenth of it. A measurement is its samples, what it draws for
# them, and what is looked at afterwards: measure_ms and check_ms of 'evo show'. EVO_PYTHON names another python3.
# Without a GPU it says so and ends with 77, which ctest counts as skipped.
set -euo pipefail

bin=$(cd "$1" && pwd) out=$2 device=${3:-auto}
if [ "$device" = auto ] && [ ! -e /dev/nvidiactl ]; then
    echo "skipped: this machine has no NVIDIA GPU"
    exit 77
fi
mkdir -p "$out"
exec "${EVO_PYTHON:-python3}" - "$bin/evo" "$out" "$device" <<'EOF'
import os, sqlite3, subprocess, sys

evo, out, device = sys.argv[1:4]
WGMMA = "attention_wgmma STAGES=2 Weights=weights_registers "
CASES = [("1x8x512x64", 60, 6, ["attention_mma BLOCK_M=64 BLOCK_N=64 ROW_TILES=2 KEY_SETS=4 CLUSTER=2 Loop=loop_first",
                                "attention_mma BLOCK_M=64 BLOCK_N=16", "attention_mma BLOCK_M=64 BLOCK_N=32"]),
         ("4x16x8192x128", 1000, 100, [WGMMA + "BLOCK_M=128 BLOCK_N=128 PRODUCER_WARPS=4 OVERLAP=1 PINGPONG=1 "
                                       "Schedule=schedule_dynamic SECTION=4 Output=output_over_queries",
                                       WGMMA + "BLOCK_M=64 BLOCK_N=64", WGMMA + "BLOCK_M=64 BLOCK_N=48"])]
PARTS = ["gate_ms", "gate_draw_ms", "gate_call_ms", "gate_reference_ms", "gate_compare_ms", "measure_ms", "check_ms"]
failed = []

print("| shape | rung | us | " + " | ".join(PARTS) + " | a measurement | bar |\n|---|---|" + "---|" * (len(PARTS) + 3))
for shape, full, quick, founders in CASES:
    seed, db = os.path.join(out, shape + ".yaml"), os.path.join(out, shape + ".db")
    with open(seed, "w") as file:
        file.write(f'name: cost\nworkload: ["{shape}"]\nfamilies: [{founders[0].split()[0]}]\nfounders:\n'
                   + "".join(f"  - {founder}\n" for founder in founders)
                   + "population: {islands: 1, elites: 1}\nsearch: {lag: 1}\nbudget: {evaluations: 3}\n")
    for end in ("", "-wal", "-shm", ".log", ".lock"):
        if os.path.exists(db + end):
            os.unlink(db + end)
    told = subprocess.run([evo, "start", "--foreground", "--device", device, "--db", db, "--seed", seed],
                          capture_output=True, text=True)
    if told.returncode != 0:
        sys.exit(f"{shape}: {told.stderr[-500:]}")
    with sqlite3.connect(db) as rows:
        for judgement, us, stopped in rows.execute(
                "SELECT s.judgement, s.us, t.quick FROM score s JOIN timing t USING (judgement) "
                "WHERE s.problem = 0 AND t.problem = 0 ORDER BY s.judgement").fetchall():
            cost = dict(rows.execute("SELECT name, value FROM metric WHERE judgement = ? AND name LIKE '%_ms'",
                                     (judgement,)).fetchall())
            whole, bar = cost["measure_ms"] + cost["check_ms"], quick if stopped else full
            if device != "emu" and whole > bar:
                failed.append(f"{shape}: {'quick' if stopped else 'full'} {whole:.0f} ms, more than {bar}")
            print(f"| {shape} | {'quick' if stopped else 'full'} | {us:.2f} | "
                  + " | ".join(f"{cost.get(part, 0):.1f}" for part in PARTS) + f" | {whole:.1f} | {bar} |", flush=True)
print("\n" + ("; ".join(failed) if failed else "within the bars"))
sys.exit(bool(failed))
EOF
