load helper

@test "a report is one page with the run's data in it" {
    fake_seed 17 > seed.yaml
    evo start --seed seed.yaml --foreground
    evo report -o run.html 2> said.txt
    grep -q "wrote 'run.html'" said.txt
    grep -q '<script type="application/json" id="data">' run.html
    [ "$(grep -c 'src="http\|href="http' run.html)" = 0 ]
    evo report > same.html
    cmp run.html same.html
    evo report --json > run.json
    [ "$(field run.json '$.story.count')" = 17 ]
    [ "$(field run.json '$.funnel[0].count')" = 17 ]
    [ "$(field run.json '$.run.name')" = fake ]
    [ "$(field run.json '$.kernels[0].verdict')" = pass ]
    [ "$(field run.json '$.story.place')" = "" ] # every place is there
    [ "$(field run.json '$.lineage[#-1].place')" = "$(field run.json '$.run.best_place')" ]
}

@test "names of the seed cannot break out of the page" {
    fake_seed 3 > seed.yaml
    printf '# </script><script>alert(1)</script>\n' >> seed.yaml
    evo start --seed seed.yaml --foreground
    evo report -o run.html
    ! grep -q '<script>alert' run.html
    grep -q 'u003cscript>alert' run.html
}

@test "a run of which nothing has passed, and one that has just begun, have a report too" {
    fake_seed 5 --fail-on ROWS > seed.yaml
    evo start --seed seed.yaml --foreground
    evo report --json > run.json
    [ "$(field run.json '$.story.of')" -ge 0 ]
    run evo report --run 7
    [ "$status" = 2 ]
    run evo report --db none.db
    [ "$status" = 2 ]
}
