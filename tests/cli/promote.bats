load helper

# What is called best was judged twice: the second time from scratch, on what the search never saw.

# promoted COLUMNS [WHERE]: of the view of promotions.
promoted() { sqlite3 "${3:-evo.db}" "SELECT $1 FROM promotions ${2:+WHERE $2} ORDER BY place"; }

# fastest N [DATABASE]: of the first N places, by the times that the search saw.
fastest() {
    sqlite3 "${2:-evo.db}" "SELECT 'n' || place FROM judgement j JOIN score s ON s.judgement = j.id
        WHERE problem = -1 AND j.id NOT IN (SELECT judgement FROM promotion) AND place < $1
        ORDER BY us LIMIT 1"
}

@test "nothing is the best before a second judgement, and each best was one" {
    fake_seed 24 > seed.yaml
    evo start --seed seed.yaml
    # Who would be overtaken within half of the window (here 4) is not promoted.
    [ "$(promoted id | head -1)" = "$(fastest 3)" ]
    [ "$(fastest 3)" != n0 ]
    best=$(evo best -n 1 | sed -n '2s/ .*//p')
    [ "$(promoted id | tail -1)" = "$best" ]
    [ "$(sqlite3 evo.db "SELECT promoted FROM best_kernel")" = 1 ]
    [ "$(promoted 'min(tried = place + 1)')" = 1 ]
    # Each second judgement: another process, other inputs, other shapes besides the workload's.
    [ "$(sqlite3 evo.db "SELECT count(*) FROM promotion p JOIN case_result a ON a.judgement = p.judgement
        JOIN case_result b ON b.judgement = p.searched WHERE a.seed = b.seed")" = 0 ]
    [ "$(sqlite3 evo.db "SELECT count(DISTINCT shape) FROM case_result c
        JOIN promotion p USING (judgement) WHERE shape <> '' GROUP BY judgement" | sort -u)" = 6 ]
    [ "$(sqlite3 evo.db "SELECT count(*) FROM case_result c JOIN promotion p ON p.searched = c.judgement
        WHERE shape <> ''")" = 0 ]
    evo status | grep -q "by a fresh judge; the search saw [0-9.]* us and had tried [0-9]*"
    evo status --json > status.json
    [ "$(field status.json '$.best.promotion.tried')" = "$(promoted tried | tail -1)" ]
    evo best --json > best.json
    is_json best.json
    [ "$(field best.json '$[0].promotion.tried')" = "$(promoted tried | tail -1)" ]
    evo export --output best.cu
    grep -q "^// promoted   timed again by a fresh judge: [0-9.]* us; the search saw [0-9.]* us and had tried" best.cu
}

@test "what fails its promotion has that verdict and no time, and so has whoever is the same program" {
    fake_seed 24 > whole.yaml
    evo start --seed whole.yaml --db whole.db
    best=$(sqlite3 whole.db "SELECT genes FROM best_kernel")
    fake_seed 24 --fail-on "'$best promote'" > seed.yaml
    evo start --seed seed.yaml
    id=$(promoted id "verdict = 'wrong'")
    [ -n "$id" ]
    evo dump | grep "^$id " | grep -q ' wrong$'
    [ "$(sqlite3 evo.db "SELECT count(*) FROM leaderboard WHERE id = '$id'")" = 0 ]
    [ "$(sqlite3 evo.db "SELECT count(*) FROM best_kernel WHERE id = '$id'")" = 0 ]
    [ "$(promoted "ifnull(time_us, 'none')" "id = '$id'")" = none ]
    [ "$(promoted 'searched_us > 0' "id = '$id'")" = 1 ]
    grep -q "$id, [0-9.]* us to the search, is not promoted: wrong: wrong, as the test asked" evo.db.log
    evo show "$id" | grep -q '^wrong: '
    [ "$(evo best -n 1 | sed -n '2s/ .*//p')" != "$id" ]
    # A second run of the database knows it from the first.
    evo start --seed seed.yaml --new
    place=$(sqlite3 evo.db "SELECT place FROM candidate WHERE run = 2 AND genes = '$best'")
    [ "$(sqlite3 evo.db "SELECT verdict FROM candidate WHERE run = 2 AND place = $place")" = wrong ]
}

@test "where who overtook the others fails its promotion, they have theirs" {
    fake_seed 24 > whole.yaml
    evo start --seed whole.yaml --db whole.db
    first=$(promoted id "" whole.db | head -1)
    genes=$(sqlite3 whole.db "SELECT genes FROM candidate WHERE 'n' || place = '$first'")
    fake_seed 24 --fail-on "'$genes promote'" > seed.yaml
    evo start --seed seed.yaml
    [ "$(promoted verdict "id = '$first'")" = wrong ]
    sqlite3 evo.db "SELECT place FROM promotions WHERE verdict = 'pass'" > passed.txt
    [ "$(sort -n passed.txt | head -1)" -lt "${first#n}" ]
}

@test "a time that is too good is not believed before a fresh judge has confirmed it" {
    fake_seed 24 > whole.yaml
    evo start --seed whole.yaml --db whole.db
    sqlite3 whole.db "SELECT genes FROM leaderboard WHERE rank = 9" > genes.txt
    fake_seed 24 --boast-on "'$(cat genes.txt)$'" > seed.yaml
    evo start --seed seed.yaml
    id="n$(sqlite3 evo.db "SELECT place FROM candidate WHERE genes = '$(cat genes.txt)'")"
    [[ "$(promoted quarantine "id = '$id'")" == *"times as fast as the best so far, n"* ]]
    [ "$(promoted 'time_us / searched_us > 9' "id = '$id'")" = 1 ]
    sqlite3 evo.db "SELECT text FROM event WHERE kind = 'quarantine'" > event.txt
    grep -q "^$id: .*; believed: [0-9.]* us at first, [0-9.]* us by a fresh judge" event.txt
    grep -q "$id is in quarantine: " evo.db.log
    # It is ranked, and bred from, by its true time: the rest of the search is as if it had said so.
    diff <(evo dump --db whole.db) <(evo dump)
    # Where nobody boasts, nobody is in quarantine.
    [ "$(sqlite3 whole.db "SELECT count(*) FROM event WHERE kind = 'quarantine'")" = 0 ]
}

@test "a time below what physics allows is a hole in the judge, not a kernel" {
    fake_seed 24 > whole.yaml
    evo start --seed whole.yaml --db whole.db
    floor=$(sqlite3 whole.db "SELECT time_us + 0.01 FROM leaderboard WHERE rank = 2")
    fake_seed 24 --floor "$floor" > seed.yaml
    evo start --seed seed.yaml
    [ "$(sqlite3 evo.db "SELECT count(*) FROM candidate WHERE verdict = 'invalid'")" -ge 1 ]
    [ "$(sqlite3 evo.db "SELECT min(time_us) >= $floor FROM leaderboard WHERE promoted")" = 1 ]
    [[ "$(promoted reason "verdict = 'invalid'" | head -1)" == *"below the "*" us that the device's peaks allow" ]]
    [[ "$(promoted quarantine "verdict = 'invalid'" | head -1)" == *"are below the "* ]]
    sqlite3 evo.db "SELECT text FROM event WHERE kind = 'quarantine'" | grep -q '; invalid$'
}

@test "a judge that dies of a promotion is tried once more; twice, or too long, is a verdict" {
    fake_seed 12 > whole.yaml
    evo start --seed whole.yaml --db whole.db
    for trick in crash lie sicken; do
        mkdir $trick
        fake_seed 12 --$trick-on 'promote$' --once $trick > seed.yaml
        evo start --seed seed.yaml --db $trick.db
        diff <(evo dump --db whole.db) <(evo dump --db $trick.db)
    done
    [ "$(sqlite3 sicken.db "SELECT count(*) FROM attempt WHERE outcome = 'failed'")" -ge 2 ]
    best=$(sqlite3 whole.db "SELECT genes FROM best_kernel")
    fake_seed 12 --crash-on "'$best promote'" > seed.yaml
    evo start --seed seed.yaml --db dead.db
    [ "$(promoted reason "verdict <> 'pass'" dead.db)" = \
        "its judge was killed by signal 11 (Segmentation fault), twice" ]
    fake_seed 12 --hang-on "'$best promote'" | sed 's/compile: 2/compile: 2, judge_deadline: 1s/' > seed.yaml
    evo start --seed seed.yaml --db slow.db
    [ "$(promoted "verdict || ': ' || reason" "verdict <> 'pass'" slow.db)" = \
        "timeout: it outlived its deadline of 5000 ms" ]
}

@test "what a promotion finds is the same with one worker or many, killed or not" {
    fake_seed 60 --latency-ms 5 --fail-on 'KEYS=4.*promote' --boast-on 'VEC=8.*(none|finite)$' |
        sed -e 's/toy.*]/attention_scalar]/' -e '/^templates/d' > seed.yaml
    evo start --seed seed.yaml --db one.db
    [ -n "$(promoted id "verdict <> 'pass'" one.db)" ]
    [ -n "$(promoted id "quarantine <> ''" one.db)" ]
    judge=$(sed -n 's/.*judges: \("[^"]*"\).*/\1/p' seed.yaml)
    sed "s#judges: .*, compile: 2#judges: [$judge, $judge, $judge, $judge], compile: 6#" seed.yaml > many.yaml
    evo start --seed many.yaml --db many.db
    diff <(evo dump --db one.db) <(evo dump --db many.db)
    diff <(promoted 'id, verdict, time_us, tried, quarantine' '' one.db) \
        <(promoted 'id, verdict, time_us, tried, quarantine' '' many.db)
    evo start --seed seed.yaml --db killed.db --detach > started.txt
    await 20 eval '[ "$(promoted "count(*)" "" killed.db)" -gt 1 ]'
    kill -KILL "$(sed -n 's/^pid //p' started.txt)"
    await 20 sh -c "evo status --db killed.db | grep -q stopped" # it takes a moment to die
    evo start --seed seed.yaml --db killed.db
    diff <(evo dump --db one.db) <(evo dump --db killed.db)
    diff <(promoted 'id, verdict, time_us, tried, quarantine' '' one.db) \
        <(promoted 'id, verdict, time_us, tried, quarantine' '' killed.db)
}
