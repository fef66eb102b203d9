#!/bin/bash
# report.sh BIN SOURCE FOLDER -- a real run's report in a real browser. 77: no browser, or no node, here.
set -eu
bin=$1 source=$2 folder=$3
command -v node >/dev/null && command -v npm >/dev/null || { echo "skipped: there is no node here"; exit 77; }
[ -d "$source/web/node_modules/playwright-core" ] || (cd "$source/web" && npm ci --silent) ||
    { echo "skipped: npm ci in web/ failed"; exit 77; }
(cd "$source/web" && npm run --silent check) # what is committed is what the sources give
rm -rf "$folder"
mkdir -p "$folder"
cd "$folder"
if [ -x "$bin/evo-compile" ]; then # sources and their differences are looked at as well
    sed 's/evaluations: 24/evaluations: 4/' "$source/seeds/smoke.yaml" > seed.yaml
    "$bin/evo" start --seed seed.yaml --foreground >/dev/null 2>&1
else
    cat > seed.yaml <<END
name: replayed
workload: [1x8x512x64]
families: [replay]
workers: {device: "replay:$source/tests/golden/space_attention.csv"}
END
    "$bin/evo" start --seed seed.yaml --foreground >/dev/null 2>&1
fi
"$bin/evo" report -o report.html
"$bin/evo" status | sed -n 1,5p
node "$source/web/test.mjs" "$folder/report.html" "$folder"
"$bin/evo" serve --port 0 > url.txt &
server=$!
trap 'kill "$server"' EXIT
for _ in $(seq 50); do [ -s url.txt ] && break; sleep 0.1; done
node "$source/web/test.mjs" "$(cat url.txt)"
