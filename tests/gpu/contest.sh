#!/bin/bash
# contest.sh BIN OUT [SEED] [EVALUATIONS] [REPEATS] -- does the search beat random search, and does it end at the same place?
#
# Runs the seed (seeds/phase5.yaml) REPEATS times (3) with other random numbers each, and random search as
# often, all of EVALUATIONS (400) evaluations, however little is expected of the last ones. Prints a
# table in Markdown and two answers: is each best of the search at least as fast as every one of random
# search, and how far are the search's winners apart (at most 2 %). OUT receives curves.csv (run,
# evaluation, best so far in us), dumps and logs. EVO_GPUS="0 1 2" shares the runs out over several GPUs and
# the machine's cores. EVO_DEVICE=emu tries the script where there is no GPU; otherwise it ends there with 77,
# which ctest counts as skipped.
set -euo pipefail

bin=$(cd "$1" && pwd) out=$2
root=$(cd "$(dirname "$0")/../.." && pwd)
seed=${3:-$root/seeds/phase5.yaml} evaluations=${4:-400} repeats=${5:-3}

if [ -z "${EVO_DEVICE:-}" ] && [ ! -e /dev/nvidiactl ]; then
    echo "skipped: this machine has no NVIDIA GPU"
    exit 77
fi
mkdir -p "$out"
exec python3 - "$bin/evo" "$out" "$seed" "$evaluations" "$repeats" <<'PY'
import csv, gzip, json, os, queue, re, subprocess, sys, threading

evo, out, seed_path, evaluations, repeats = sys.argv[1:4] + [int(word) for word in sys.argv[4:]]
gpus = os.environ.get("EVO_GPUS", "").split()
cores = sorted(os.sched_getaffinity(0))
text = open(seed_path).read()
name = os.path.basename(seed_path).removesuffix(".yaml")
# A budget and an end of our own; the rest is the seed's.
text = re.sub(r"^(budget|search):.*\n(?:[ \t]+.*\n)*", "", text, flags=re.M)


def share_of(gpu):
    """The cores and the variables of who runs on the GPU; alone, those of the caller."""
    if not gpus:
        return cores, os.environ
    each = len(cores) // len(gpus)
    first = gpus.index(gpu) * each
    return cores[first:first + each], {**os.environ, "CUDA_VISIBLE_DEVICES": gpu}


def run(strategy, number, gpu):
    path = os.path.join(out, f"{name}-{strategy}-{number}")
    for end in (".db", ".db-wal", ".db-shm", ".db.log", ".db.lock"):
        if os.path.exists(path + end):
            os.unlink(path + end)
    with open(path + ".yaml", "w") as file:
        file.write(f"{text}\nbudget: {{evaluations: {evaluations}}}\n"
                   f"search: {{strategy: {strategy}, seed: {number}, end: budget}}\n")
    share, environment = share_of(gpu)
    with open(path + ".log", "w") as log:
        subprocess.run([evo, "start", "--foreground", "--db", path + ".db", "--seed", path + ".yaml",
                        "--device", os.environ.get("EVO_DEVICE", "auto")], check=True,
                       stderr=log, env=environment, preexec_fn=lambda: os.sched_setaffinity(0, share))
    status = json.loads(subprocess.run([evo, "status", "--json", "--db", path + ".db"], check=True,
                                       capture_output=True).stdout)
    dump = subprocess.run([evo, "dump", "--db", path + ".db"], check=True, capture_output=True).stdout
    with gzip.open(path + ".dump.gz", "wb") as file:
        file.write(dump)
    us = [float(found) for found in re.findall(r"^n\d+ .* pass ([0-9.]+)$", dump.decode(), re.M)]
    return status, us


def work(tasks, done, gpu):
    while True:
        try:
            strategy, number = tasks.get_nowait()
        except queue.Empty:
            return
        try:
            done[strategy, number] = run(strategy, number, gpu)
        except subprocess.CalledProcessError as error:
            print(f"{strategy} {number}: {error}", flush=True)


tasks, done = queue.Queue(), {}
for number in range(1, repeats + 1):
    for strategy in ("evo", "random"):
        tasks.put((strategy, number))
threads = [threading.Thread(target=work, args=(tasks, done, gpu)) for gpu in gpus or [None]]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()

print("| run | evaluations | a minute | best, us | genes |\n|---|---|---|---|---|")
best = {"evo": [], "random": []}
with open(os.path.join(out, "curves.csv"), "w", newline="") as file:
    table = csv.writer(file)
    table.writerow(["strategy", "random_seed", "passed", "best_us"])
    for (strategy, number), (status, us) in sorted(done.items()):
        score = status["best"]["score"]
        best[strategy].append(score["us"])
        genes = " ".join([status["best"]["family"], *(f"{gene}={value}" for gene, value in status["best"]["genes"].items())])
        print(f"| {strategy} {number} | {status['evaluated']} | {status['evaluated'] * 60000 / status['elapsed_ms']:.0f} | "
              f"{score['us']:.3f} [{score['low']:.3f}, {score['high']:.3f}] | {genes} |")
        least = float("inf")
        for place, one in enumerate(us):
            if one < least:
                least = one
                table.writerow([strategy, number, place + 1, one])
if len(done) < 2 * repeats:
    sys.exit("not every run ended")
ahead = max(best["evo"]) <= min(best["random"])
spread = max(best["evo"]) / min(best["evo"]) - 1
print(f"\neach of the search's at least as fast as each of random search's: {'yes' if ahead else 'NO'}\n"
      f"the search's winners are within {spread:.2%}")
sys.exit(not ahead or spread > 0.02)
PY
