#!/bin/bash
# clock.sh BIN OUT [SHAPE...] -- can this machine's clocks be believed?
#
# Three tables in Markdown, for docs/results.md:
#
#   cuDNN     timed by evo and by PyTorch's own call of it, on each SHAPE: within 3 %
#   fresh     one kernel, measured by twenty judges that never had a job: within +-0.7 %
#   cost      what a full measurement takes of the device
#
# OUT receives what the tables are made from. EVO_PYTHON names the interpreter that has torch, EVO_CUDNN
# the cuDNN that it uses. CLOCK_PARTS names what is asked ("cudnn short long" at first), where a minute and a half
# for each is too much at a time. Without a GPU it says so and ends with 77, which ctest counts as skipped.
set -euo pipefail

bin=$(cd "$1" && pwd) out=$2
shift 2
[ $# -gt 0 ] || set -- 1x8x512x64 1x8x512x64:causal 4x16x4096x64 4x16x4096x64:causal 4x16x8192x128 4x16x8192x128:causal

if [ ! -e /dev/nvidiactl ]; then
    echo "skipped: this machine has no NVIDIA GPU"
    exit 77
fi
mkdir -p "$out"
exec "${EVO_PYTHON:-python3}" - "$bin/evo" "$out" "${CLOCK_PARTS:-cudnn short long}" "$@" <<'EOF'
import json, os, sqlite3, statistics, struct, subprocess, sys

evo, out, parts, shapes = sys.argv[1], sys.argv[2], sys.argv[3].split(), sys.argv[4:]
RUNS = 10  # of two fresh judges each: the search's and the promotion's
FOUNDERS = {
    "short": ("1x8x512x64", "attention_mma BLOCK_M=64 BLOCK_N=64 ROW_TILES=2 KEY_SETS=4 CLUSTER=2 Loop=loop_first"),
    "long": ("4x16x8192x128", "attention_wgmma BLOCK_M=128 BLOCK_N=128 STAGES=2 PRODUCER_WARPS=4 OVERLAP=1 PINGPONG=1 "
                              "Weights=weights_registers Schedule=schedule_dynamic SECTION=4 Output=output_over_queries"),
}
failed = []


def run(*command):
    return subprocess.run([evo, *command], capture_output=True, text=True)


def compare_cudnn():
    print("| cuDNN on | by evo, graph us | by PyTorch, graph us | apart | by records | by the profiler | plan |")
    print("|---|---|---|---|---|---|---|")
    for shape in shapes:
        told = run("compare", "cudnn", "torch-cudnn", "--shape", shape, "--json")
        row = json.loads(told.stdout)["rows"][0] if told.stdout else {"timed": False, "trouble": told.stderr}
        with open(os.path.join(out, f"cudnn-{shape.replace(':', '-').replace('/', '_')}.json"), "w") as file:
            file.write(told.stdout)
        if not row["timed"]:
            print(f"| {shape} | {row['trouble']} | | | | | |", flush=True)
            continue
        ours, theirs = row["sides"]
        apart = theirs["graph_us"] / ours["graph_us"] - 1
        if abs(apart) > 0.03:
            failed.append(f"cuDNN on {shape}: {apart:+.1%} apart")
        print(f"| {shape} | {ours['graph_us']:.3f} | {theirs['graph_us']:.3f} | {apart:+.1%} | {ours['span_us']:.3f} | "
              f"{theirs['span_us']:.3f} | {ours['plan'].split(';')[0]} |", flush=True)


def measured(shape, founder, name):
    """Of every fresh judge: us, clock 2, ms of the measurement, regime, MHz, W, the clock at which it is told, every span, their clocks."""
    seed, db = os.path.join(out, name + ".yaml"), os.path.join(out, name + ".db")
    with open(seed, "w") as file:
        file.write(f'name: clock\nworkload: ["{shape}"]\nfamilies: [{founder.split()[0]}]\n'
                   f"founders: [{founder}]\nbudget: {{evaluations: 1}}\n")
    rows = []
    for _ in range(RUNS):
        for end in ("", "-wal", "-shm", ".log", ".lock"):
            if os.path.exists(db + end):
                os.unlink(db + end)
        told = run("start", "--foreground", "--db", db, "--seed", seed)
        if told.returncode != 0:
            sys.exit(f"clock: {shape}: {told.stderr[-500:]}")
        of = "(SELECT value FROM metric WHERE judgement = s.judgement AND name = '{}' ORDER BY problem DESC LIMIT 1)"
        with sqlite3.connect(db) as rows_of:
            for *row, spans, clocks in rows_of.execute(
                    f"SELECT s.us, t.graph_us, {of.format('measure_ms')}, {of.format('throttle_reasons')}, "
                    f"{of.format('sm_clock_mhz')}, {of.format('power_w')}, t.at_mhz, r.us, c.mhz FROM score s "
                    "JOIN timing t USING (judgement) JOIN sample r ON r.judgement = t.judgement "
                    "AND r.problem = t.problem AND r.clock = 'span' "
                    "LEFT JOIN sample_clock c ON c.judgement = t.judgement AND c.problem = t.problem "
                    "WHERE s.problem = 0 ORDER BY s.judgement"):
                rows.append(row + [[round(value, 3) for value in struct.unpack(f"<{len(blob or b'') // 8}d", blob or b"")]
                                   for blob in (spans, clocks)])
    with open(os.path.join(out, name + ".json"), "w") as file:
        json.dump(rows, file)
    return rows


def repeat():
    print(f"\n| kernel on | fresh judges | span us, median | all within | graph us | all within | a measurement, ms | regime |")
    print("|---|---|---|---|---|---|---|---|")
    for name in [name for name in FOUNDERS if name in parts]:
        shape, founder = FOUNDERS[name]
        rows = measured(shape, founder, name)
        clocks = [row[6] for row in rows if row[6]]
        for row in rows: # each of these databases has a clock of its own; a run has one
            row[0] *= row[6] / statistics.median(clocks) if row[6] else 1
        cells = []
        for clock in (0, 1):
            middle = statistics.median(row[clock] for row in rows)
            worst = max(abs(row[clock] / middle - 1) for row in rows)
            cells += [f"{middle:.3f}", f"±{worst:.2%}"]
            if clock == 0 and worst > 0.007:
                failed.append(f"{shape}: fresh judges differ by ±{worst:.2%}")
        regimes = {"sustained" if int(row[3] or 0) & 4 else "burst" for row in rows}
        cost = statistics.median(row[2] for row in rows)
        print(f"| {shape} | {len(rows)} | {' | '.join(cells)} | {cost:.0f} | {' and '.join(sorted(regimes))} |", flush=True)


if "cudnn" in parts:
    compare_cudnn()
if "short" in parts or "long" in parts:
    repeat()
print("\n" + ("; ".join(failed) if failed else "within the bars"))
sys.exit(bool(failed))
EOF
