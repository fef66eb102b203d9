#!/bin/bash
# views.sh BIN SOURCE PLACES [FOLDER] -- what people look at, over a database of PLACES evaluations: makes the
# database in FOLDER (kept when it is given; one that is there is used), times every view, and looks on at a writer.
# Fails when a bar is missed. 'evo serve' and the browser are measured where curl and node are. SECONDS_EACH: how
# long each rate is taken (10); FROZEN: how long a viewer is frozen (60).
set -eu
bin=$1 source=$2 places=$3
folder=${4:-$(mktemp -d)}
each=${SECONDS_EACH:-10} frozen=${FROZEN:-60}
bench=$bin/bench_views db=$folder/views-$places.db missed=0
mkdir -p "$folder"
viewers=() alone=() watched=() server=
end() {
    for one in ${viewers[@]+"${viewers[@]}"} $server; do kill -CONT "$one" 2>/dev/null && kill "$one" 2>/dev/null || true; done
    [ -n "${keep:-}" ] || rm -rf "$folder"
}
trap end EXIT
[ $# -lt 4 ] || keep=yes
bar() { # bar NAME COMMAND...
    local name=$1
    shift
    "$@" || { echo "MISSED: $name"; missed=1; }
}
small() { [ "$(stat -c %s "$1")" -le "$2" ] || return 1; }

[ -f "$db" ] || "$bench" fill "$db" "$places"
"$bin/evo" status --db "$db" > /dev/null # read once: what is measured is not the disk
bar "status in 50 ms" "$bench" bound 50 300 "$bin/evo" status --db "$db" > /dev/null
bar "best in 50 ms" "$bench" bound 50 300 "$bin/evo" best --db "$db" > /dev/null
"$bin/evo" report --db "$db" > /dev/null
bar "report in 5 s, 300 MB" "$bench" bound 5000 300 "$bin/evo" report --db "$db" -o "$folder/report.html"
bar "report in 2 MB" small "$folder/report.html" 2000000
if command -v node >/dev/null && [ -d "$source/web/node_modules/playwright-core" ]; then
    echo "report: $(node "$source/web/paint.mjs" "$folder/report.html" 1000)" || { echo "MISSED: first paint in 1 s"; missed=1; }
fi

# serve URL: starts the server.
serve() {
    rm -f "$folder/url.txt"
    "$bin/evo" serve --db "$db" --port 0 > "$folder/url.txt" &
    server=$!
    for _ in $(seq 200); do [ -s "$folder/url.txt" ] && break; sleep 0.05; done
    url=$(cat "$folder/url.txt")
    base=${url%/\?token=*} token=${url#*token=}
}
rate() { "$bench" record "$db" "$each" | tee -a "$folder/record.txt" | sed -n 's/recorded: \([0-9]*\) .*/\1/p'; }
look_on() { # as twenty pages do: events, and the report at most every three seconds
    for _ in $(seq 20); do
        curl -s -N -m 600 "$base/events?token=$token" > /dev/null &
        viewers+=($!)
        (while curl -s -m 60 -o /dev/null "$base/api/report?token=$token"; do sleep 3; done) &
        viewers+=($!)
    done
}
if command -v curl >/dev/null; then
    serve
    if command -v node >/dev/null && [ -d "$source/web/node_modules/playwright-core" ]; then
        echo "live: $(node "$source/web/paint.mjs" "$url" 1000)" || { echo "MISSED: first paint of the live page in 1 s"; missed=1; }
    fi
    for round in 1 2 3; do # in turns: the machine may have other work
        kill -STOP "$server"
        alone+=("$(rate)")
        kill -CONT "$server"
        [ "$round" -gt 1 ] || { sleep 3; look_on; }
        watched+=("$(rate)")
    done
    echo "results/s, as fast as it can, alone: ${alone[*]}; with 20 viewers: ${watched[*]}"
    echo "with 20 viewers, 100 results/s asked for: $("$bench" record "$db" "$each" 100)"
    echo "serve: $(awk '/VmHWM/ {print int($2 / 1000) " MB at most"}' "/proc/$server/status")"
    bar "serve in 300 MB" awk '/VmHWM/ {exit $2 > 300000}' "/proc/$server/status"
    sleep 3
    TERM=dumb "$bin/evo" watch --db "$db" > "$folder/watch.txt" 2>&1 &
    viewers+=($!)
    sleep 3 # it has caught up
    kill -STOP "$server" "${viewers[@]}" 2>/dev/null || true
    log=$("$bench" record "$db" "$frozen" 100)
    echo "server, page readers and status screen frozen for $frozen s, 100 results/s: $log"
    bar "a log of 64 MB at most" awk '{exit $(NF-3) > 64}' <<< "$log"
    # What no viewer can help: it is frozen while it reads, and the log cannot begin anew. No bar; the rate is that
    # of a fast search.
    "$bin/evo" report --db "$db" -o /dev/null 2> /dev/null &
    reader=$!
    viewers+=("$reader")
    sleep 0.15
    kill -STOP "$reader"
    echo "a reader frozen in the midst of reading, 6 results/s: $("$bench" record "$db" "$frozen" 6)"
fi
exit $missed
