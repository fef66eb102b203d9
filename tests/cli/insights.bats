load helper

# A space in which a step of D costs a tenth of D = 0's time, B does nothing, and C = 3 never builds.
space() {
    printf '# %s\n' "space steps" "kernel steps" "device Some GPU 9000" "problem_size [1, 1]" "objective time_ms minimise" \
        "rows 72 ok 48 compile 24 runtime 0" "optimum_ms 4.4" "param A 1 2" "param B 1 2 4" "param C 1 2 3" "param D 1 2 3 4"
    echo "A,B,C,D,status,time_ms,sd_ms,compile_ms,verify_ms,bench_ms"
    for a in 1 2; do for b in 1 2 4; do for d in 1 2 3 4; do
        time=$(awk -v a=$a -v d=$d 'BEGIN { printf "%.6f", 8 / a * (1 + d / 10) }')
        printf '%s\n' "$a,$b,1,$d,ok,$time,0,1,1,1" "$a,$b,2,$d,ok,$time,0,1,1,1" "$a,$b,3,$d,compile,,,1,0,0"
    done; done; done
}

@test "what a step is worth is told as it is" {
    space > space.csv
    cat > seed.yaml <<END
workload: [1x8x512x64]
families: [replay]
search: {lag: 2}
workers: {device: "replay:space.csv"}
END
    evo start --seed seed.yaml --strategy ga --foreground
    evo insights --json -n 0 > all.json
    sqlite3 :memory: "SELECT json_extract(value, '$.gene'), json_extract(value, '$.from'), json_extract(value, '$.to'),
        round(json_extract(value, '$.effect'), 3), json_extract(value, '$.pairs') FROM json_each(CAST(readfile('all.json') AS TEXT))
        WHERE json_extract(value, '$.pairs') >= 3" > steps.txt
    cat steps.txt
    grep -q '^D|1|2|1.091|' steps.txt # 1.2 / 1.1
    [ -z "$(grep '^B|' steps.txt | grep -v '|1.0|')" ]
    evo insights > text.txt
    cat text.txt
    grep 'D ' text.txt | grep -q '1 → 2 *+9.1 % time, 95 % in \[+9.1, +9.1\]'
    grep 'B ' text.txt | grep -q 'no effect (+0.0 %)'
    grep 'C ' text.txt | grep ' → 3' | grep -Eq '([0-9]+) of \1 *$'
}

@test "a run without pairs says so" {
    fake_seed 1 > seed.yaml
    evo start --seed seed.yaml --foreground
    evo insights | grep -q "nothing to compare"
    [ "$(evo insights --json)" = "[]" ]
}
