# What the tests of the command line share. CTest gives EVO_BIN (the build's programs) and EVO_SOURCE
# (this repository). Each test has a folder of its own, kept when it fails.

bats_require_minimum_version 1.5.0

setup() {
    folder="$EVO_BIN/../cli/$(basename "$BATS_TEST_FILENAME" .bats)-$BATS_TEST_NUMBER"
    rm -rf "$folder"
    mkdir -p "$folder"
    cd "$folder"
    environment
}

teardown() { teardown_folder; }

teardown_folder() {
    evo stop --timeout 20s >/dev/null 2>&1 || true
    if [ "${BATS_TEST_COMPLETED:-0}" = 1 ]; then
        cd / && rm -rf "$folder"
    else
        echo "its files are in $folder"
        tail -n 20 "$folder"/*.log 2>/dev/null || true
    fi
}

environment() {
    PATH="$EVO_BIN:$PATH"
    export EVO_TEMPLATES="$EVO_SOURCE/templates"
    export EVO_COMPILE="'$EVO_BIN/evo-worker-fake' --role compile"
    unset EVO_DB NO_COLOR
}

# fake_seed EVALUATIONS [OPTION...]: a seed of a small family, judged by a fake worker.
fake_seed() {
    local evaluations=$1
    shift
    cat <<END
name: fake
workload: [1x8x512x64]
families: [toy]
founders: [toy ROWS=16]
templates: $EVO_SOURCE/tests/golden/seeds/templates
search: {lag: 4}
budget: {evaluations: $evaluations}
workers: {judges: "'$EVO_BIN/evo-worker-fake' $*", compile: 2}
END
}

# The same text as the golden file, or the golden file made anew: EVO_BLESS=1.
same_as_golden() {
    if [ -n "${EVO_BLESS:-}" ]; then
        cp "$1" "$2"
    fi
    diff -u "$2" "$1"
}

# await SECONDS COMMAND...: until it succeeds.
await() {
    local tries=$(($1 * 20))
    shift
    while [ "$tries" -gt 0 ]; do
        if "$@" >/dev/null 2>&1; then
            return 0
        fi
        sleep 0.05
        tries=$((tries - 1))
    done
    echo "waited in vain for: $*"
    return 1
}

is_json() {
    [ "$(sqlite3 :memory: "SELECT json_valid(CAST(readfile('$1') AS TEXT))")" = 1 ]
}

# field FILE PATH: a value of a JSON file.
field() {
    sqlite3 :memory: "SELECT json_extract(CAST(readfile('$1') AS TEXT), '$2')"
}
