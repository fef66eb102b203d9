load helper

# The seed's rivals: whatever becomes the best is timed against libraries, beside the search.

rival_seed() { # EVALUATIONS RIVALS [OPTION...]
    local evaluations=$1 rivals=$2
    shift 2
    fake_seed "$evaluations" "$@" | sed "s/^workload: .*/workload: [1x8x512x64, 2x8x512x64]/"
    echo "rivals: [$rivals]"
}

@test "the best has met every rival on every shape when the run ends" {
    rival_seed 24 "cudnn, cublas" > seed.yaml
    evo start --seed seed.yaml
    best=$(sqlite3 evo.db "SELECT id FROM best_kernel")
    [ "$(sqlite3 evo.db "SELECT count(*) FROM duel d JOIN standing s USING (judgement) WHERE best = 1")" = 4 ]
    [ "$(sqlite3 evo.db "SELECT count(*) FROM best_rival WHERE id = '$best'")" = 2 ]
    [ "$(sqlite3 evo.db "SELECT min(length(graph) = 32 * 32 AND length(span) = 32 * 32) FROM duel")" = 1 ]
    # Where it counts, the hardest to beat counts.
    [ "$(sqlite3 evo.db "SELECT min(b.speedup <= round(d.graph_speedup, 4)) FROM duel d JOIN standing s USING (judgement)
        JOIN problem p ON p.idx = d.problem JOIN best_rival b ON b.id = '$best' AND b.problem = p.text WHERE s.best = 1")" = 1 ]
    grep -q "$best is [0-9.]* times as fast as cudnn ([0-9.]*-[0-9.]*), least so on [12]x8x512x64" evo.db.log
    evo status > status.txt
    grep -q "^rivals *[0-9.]*x as fast as the best of cublas, cudnn, 95 % in .*; least: .* on [12]x8x512x64$" status.txt
    evo status --json > status.json
    [ "$(field status.json '$.best.rivals[3].rival')" = cudnn ]
    [ "$(field status.json '$.best.rivals[3].problem')" = 2x8x512x64 ]
    evo show best > show.txt
    grep -q "^1x8x512x64 *cudnn *[0-9.]* us .*fake library 1, its only plan" show.txt
    evo show best --json > show.json
    a=$(field show.json '$.rivals[0].graph.speedup')
    [ "$(sqlite3 evo.db "SELECT abs(graph_speedup - $a) < 1e-9 FROM duel d JOIN standing s USING (judgement)
        WHERE best = 1 AND rival = 'cublas' AND problem = 0")" = 1 ]
    evo best -n 1 | head -2 | tail -1 | grep -q "[0-9.]*x *[0-9.]*x "
    evo export best --output best.cu
    grep -q "^// rivals     [0-9.]*x as fast as the best of cublas, cudnn, 95 % in .* on [12]x8x512x64$" best.cu
    evo report --output page.html
    grep -q "fake library 1, its only plan" page.html
}

@test "nothing of the search depends on rivals" {
    rival_seed 24 "cudnn, cublas" > seed.yaml
    evo start --seed seed.yaml
    grep -v '^rivals' seed.yaml > without.yaml
    evo start --seed without.yaml --db without.db
    [ "$(sqlite3 without.db "SELECT count(*) FROM duel")" = 0 ]
    diff <(evo dump | grep -v '^#') <(evo dump --db without.db | grep -v '^#')
    run evo status --db without.db
    [[ "$output" != *rivals* ]]
}

@test "a library that is absent is said, asked twice, and ends nothing" {
    rival_seed 24 "cudnn, cublas" --fail-on "'^duel cudnn'" > seed.yaml
    evo start --seed seed.yaml
    [ "$(sqlite3 evo.db "SELECT count(*) FROM duel WHERE rival = 'cudnn'")" = 2 ]
    [ "$(sqlite3 evo.db "SELECT count(*) FROM duel WHERE rival = 'cudnn' AND graph_speedup IS NOT NULL")" = 0 ]
    [ "$(grep -c "was not timed against cudnn .*: the rival: unsupported: there is no such library" evo.db.log)" = 2 ]
    grep -q "; it is not asked again" evo.db.log
    [ "$(sqlite3 evo.db "SELECT count(*) FROM duel d JOIN standing s USING (judgement) WHERE best = 1 AND rival = 'cublas'")" = 2 ]
    evo status | grep -q "^rivals *[0-9.]*x as fast as cublas, 95 %"
}

@test "a judge that dies of a library, or fails with it, takes nothing along" {
    rival_seed 24 "cudnn, cublas" --crash-on "'^duel cudnn'" --sicken-on "'^duel cublas'" > seed.yaml
    evo start --seed seed.yaml
    grep -q "was not timed against cudnn on .*: its judge was killed by signal 11" evo.db.log
    [ "$(grep -c "was not timed against cublas on .*; it is not asked again" evo.db.log)" = 1 ]
    [ "$(sqlite3 evo.db "SELECT state FROM run")" = finished ]
    rival_seed 24 "" > whole.yaml
    sed -i '/^rivals/d' whole.yaml
    evo start --seed whole.yaml --db whole.db
    diff <(evo dump | grep -v '^#') <(evo dump --db whole.db | grep -v '^#')
    met=$(sqlite3 evo.db "SELECT 'n' || place FROM duel d JOIN judgement j ON j.id = d.judgement LIMIT 1")
    evo show "$met" | grep -q "^not timed: its judge "
}

@test "after a kill the duels that are missing are fought" {
    rival_seed 24 "cudnn, cublas" > seed.yaml
    run env EVO_FAULT=rivals.recorded:3 evo start --foreground --seed seed.yaml
    [ "$status" != 0 ]
    before=$(sqlite3 evo.db "SELECT count(*) FROM duel")
    evo start
    [ "$(sqlite3 evo.db "SELECT count(*) FROM duel d JOIN standing s USING (judgement) WHERE best = 1")" = 4 ]
    [ "$(sqlite3 evo.db "SELECT count(*) FROM duel")" -ge "$before" ]
}

@test "a rival may be a file, which is kept as it was" {
    [ -x "$EVO_BIN/evo-compile" ] || skip "there is no NVRTC here"
    rival_seed 8 "" | sed '/^rivals/d' > first.yaml
    evo start --seed first.yaml --db first.db
    mkdir kept
    evo export best --db first.db --output toy.cu # a family without code: give it some
    sed '/^\/\/ evo:device-begin/,/^\/\/ evo:device-end/{/^\/\/ evo:device/!d
        /begin/a extern "C" __global__ void toy(const short *q, const short *k, const short *v, short *o, long long p) {}
        }' toy.cu > kept/winner.cu
    rival_seed 24 "kept/winner.cu, cublas" > seed.yaml
    run env EVO_FAULT=rivals.recorded:2 evo start --foreground --seed seed.yaml
    [ "$status" != 0 ]
    rm kept/winner.cu
    evo start
    [ "$(sqlite3 evo.db "SELECT count(*) FROM duel d JOIN standing s USING (judgement)
        WHERE best = 1 AND rival = 'kept/winner.cu' AND graph_speedup IS NOT NULL")" = 2 ]
    evo status | grep -q "^rivals *[0-9.]*x as fast as the best of cublas, kept/winner.cu, 95 %"
    evo show best | grep -q "^1x8x512x64 *kept/winner.cu *[0-9.]* us .*the file as it was"
}

@test "a rival that is none is an error at its place" {
    rival_seed 8 "cudnn, nothing" > seed.yaml
    run evo check seed.yaml
    [ "$status" = 2 ]
    [[ "$output" == *"seed.yaml:"*": 'nothing' is no rival"* ]]
    [[ "$output" == *"known are cudnn, cublas, torch"* ]]
    rival_seed 8 "cudnn, ./nothing.cu" > seed.yaml
    run evo check seed.yaml
    [ "$status" = 2 ]
    line=$(grep -n '^rivals' seed.yaml | cut -d: -f1)
    [[ "$output" == *"seed.yaml:$line:17: rival './nothing.cu': "*"No such file"* ]]
    echo "int main;" > own.cu
    rival_seed 8 "own.cu" > seed.yaml
    run evo check seed.yaml
    [ "$status" = 2 ]
    [[ "$output" == *"seed.yaml:$line:10: rival 'own.cu': "* ]]
    [[ "$output" == *"a rival is a file that 'evo export' wrote"* ]]
    rival_seed 8 "" | sed '/^rivals/d; s/512x64/512x32/g' > first.yaml
    evo start --seed first.yaml --db first.db
    evo export best --db first.db --output narrow.cu
    rival_seed 8 "narrow.cu" > seed.yaml
    run evo check seed.yaml
    [ "$status" = 2 ]
    [[ "$output" == *"rival 'narrow.cu': it was made for no shape of the workload"* ]]
}

@test "PyTorch is met last, and not where judges may be on any machine" {
    rival_seed 24 "torch-flash, cublas" > seed.yaml
    evo start --seed seed.yaml
    [ "$(sqlite3 evo.db "SELECT count(*) FROM duel WHERE rival = 'torch-flash'")" = 2 ]
    [ "$(sqlite3 evo.db "SELECT count(*) FROM duel WHERE rival = 'torch-flash' AND graph_speedup IS NOT NULL")" = 0 ]
    [ "$(sqlite3 evo.db "SELECT count(DISTINCT judgement) FROM duel WHERE rival = 'torch-flash'")" = 1 ]
    grep -q "was not timed against torch-flash on .*: the rival: unsupported: where this run's judges are" evo.db.log
    evo status | grep -q "^rivals *[0-9.]*x as fast as cublas, 95 %"
}

@test "an emulated device fights no duels, and says so" {
    unset EVO_COMPILE
    [ -x "$EVO_BIN/evo-compile" ] || skip "there is no NVRTC here"
    cat > seed.yaml <<END
name: emulated
workload: [1x1x32x64]
families: [attention_scalar]
rivals: cudnn
gate: {emu_shapes: [1x1x9/17x64]}
budget: {evaluations: 1}
workers: {device: emu}
END
    evo start --seed seed.yaml
    grep -q "the seed's rivals need a GPU" evo.db.log
    [ "$(sqlite3 evo.db "SELECT count(*) FROM duel")" = 0 ]
}
