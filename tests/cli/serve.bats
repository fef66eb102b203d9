load helper

# served [OPTION...]: starts the server on any free port; $url, $base and $token tell where.
served() {
    evo serve --port 0 "$@" > url.txt 2> serve.err &
    server=$!
    await 10 grep -q token url.txt
    url=$(cat url.txt)
    base=${url%/\?token=*}
    token=${url#*token=}
}
teardown() {
    [ -z "${server:-}" ] || kill "$server" 2>/dev/null || true
    teardown_folder
}
code() { curl -s -o /dev/null -m 10 -w '%{http_code}' "$@" || true; }
finished_run() { fake_seed "$1" > seed.yaml && evo start --seed seed.yaml --foreground; }

@test "it serves the page, its data and its figures to who has the token" {
    command -v curl >/dev/null || skip "curl is not installed"
    finished_run 12
    served
    curl -s "$url" > page.html
    grep -q '<title>evo</title>' page.html
    curl -s -D headers.txt "$base/api/report?token=$token" > report.json
    [ "$(field report.json '$.story.count')" = 12 ]
    grep -qi "^content-security-policy: default-src 'none'; script-src 'sha256-" headers.txt
    curl -s "$base/api/status?token=$token" > status.json
    [ "$(field status.json '$.finished')" = 12 ]
    curl -s -H "Authorization: Bearer $token" "$base/metrics" | grep -q '^evo_evaluations_total{run="fake"} 12$'
    kill -TERM "$server"
    wait "$server"
    server=
    [ ! -s serve.err ]
}

@test "forty hostile requests get nothing and change nothing" {
    command -v curl >/dev/null || skip "curl is not installed"
    finished_run 5
    evo dump > before.txt
    served
    for path in / /api/report /api/status /events /metrics; do
        [ "$(code "$base$path")" = 403 ]
        [ "$(code "$base$path?token=")" = 403 ]
        [ "$(code "$base$path?token=${token%?}")" = 403 ]
        [ "$(code "$base$path?token=${token}0")" = 403 ]
        [ "$(code -H 'Host: evil.example' "$base$path?token=$token")" = 403 ]
        [ "$(code -H 'Authorization: Bearer wrong' "$base$path?token=$token")" = 403 ]
    done
    for method in POST PUT DELETE PATCH OPTIONS TRACE CONNECT; do
        answer=$(code -X "$method" "$base/?token=$token")
        [ "$answer" != 200 ]
    done
    for path in '/../../etc/passwd' '/%2e%2e/%2e%2e/etc/passwd' '//etc/passwd' '/api/../../../etc/passwd' \
        '/api/report/../../evo.db' '/evo.db' '/%00' '/?token=%' '/api/report%00'; do
        answer=$(code --path-as-is "$base$path")
        [ "$answer" != 200 ]
        answer=$(code --path-as-is "$base$path?token=$token")
        [ "$answer" != 200 ]
    done
    head -c 100000 /dev/zero | tr '\0' a > long.txt
    [ "$(code -H "X-Long: $(head -c 60000 long.txt)" "$url")" != 200 ]
    [ "$(code "$base/?$(head -c 60000 long.txt)&token=$token")" != 200 ]
    [ "$(code -X GET --data-binary @long.txt "$url")" != 200 ]
    printf 'GET / HTTP/1.1\r\nHost: %s\r\nHost: evil\r\n\r\n' "${base#http://}" | timeout 3 curl -s -m 2 telnet://"${base#http://}" > raw.txt || true
    ! grep -q '200 OK' raw.txt
    printf '\x00\xff\xfe garbage \r\n\r\n' | timeout 3 curl -s -m 2 telnet://"${base#http://}" > raw.txt || true
    ! grep -q '200 OK' raw.txt
    [ "$(code "$url")" = 200 ] # and it is well
    evo dump | diff before.txt -
}

@test "viewers are told of progress; twenty of them, one frozen, do not touch the search" {
    command -v curl >/dev/null || skip "curl is not installed"
    fake_seed 24 --latency-ms 300 > seed.yaml
    evo start --seed seed.yaml --detach
    served
    curl -s -N -m 60 "$base/events?token=$token" > frozen.txt &
    frozen=$!
    kill -STOP "$frozen"
    for i in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19; do
        curl -s -N -m 20 "$base/events?token=$token" > "viewer$i.txt" &
    done
    await 20 grep -q '^event: progress' viewer19.txt
    await 20 grep -q '"finished":' viewer1.txt
    await 60 sh -c "evo status | grep -q 'ended'"
    kill -CONT "$frozen"
    kill "$frozen"
    [ "$(code "$base/api/report?token=$token")" = 200 ]
    [ "$(evo dump | wc -l)" = 24 ]
}

@test "a token that could be guessed, and a port that is taken, are refused" {
    finished_run 3
    run evo serve --token short
    [ "$status" = 2 ]
    served --token 0123456789abcdef
    [ "$token" = 0123456789abcdef ]
    run evo serve --port "${base##*:}"
    [ "$status" = 1 ]
    [[ "$output" == *"--port names another"* ]]
}
