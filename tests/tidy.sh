#!/bin/bash
# tidy.sh -- what the compiler does not hold: include arrows, banned calls, dead files, long lines.
set -u
export LC_ALL=C.UTF-8
cd "$(dirname "$0")/.." || exit 2
bad=0
complain() { echo "$1"; bad=1; }
# refuse WHAT PATTERN PATH...: no line of the paths may match.
refuse() {
    local what=$1 pattern=$2
    shift 2
    local found
    found=$(grep -nE "$pattern" -r "$@" --include='*.[ch]' --include='*.cu' --include='*.cuh' 2>/dev/null)
    [ -z "$found" ] || complain "$what:
$found"
}

# Arrows: base <- genome <- search <- daemon <- cli; workers know no engine but base.
refuse 'base includes what stands above it' '#include "(genome|search|daemon|cli|db|fitness)/' engine/base
refuse 'genome includes what stands above it' '#include "(search|daemon|cli|db)/' engine/genome
refuse 'search includes what stands above it' '#include "(daemon|cli|db)/' engine/search
refuse 'daemon includes the commands' '#include "cli/' engine/daemon
refuse 'fitness includes the engine' '#include "(genome|search|daemon|cli|db)/' fitness
refuse 'the database includes the engine' '#include "(genome|search|daemon|cli)/' db
# Engine and workers meet in these headers only.
refuse 'the engine includes a worker' \
    '#include "fitness/(cubin|ptxlog|inputs|reference|worker|device|compile|pool|measure)' engine
refuse 'SQLite is the business of db/store_private.h alone' '#include <sqlite3.h>' engine fitness
refuse 'YAML is the business of seed.c alone' '#include <yaml.h>' db fitness engine/base engine/genome engine/search engine/cli
refuse 'CUDA is the business of its workers alone' '#include <(cuda|nvrtc|cupti)' engine/base engine/genome engine/search engine/daemon engine/cli/*.c db fitness/emu

refuse 'a call that is banned here' '[^_a-z](strcpy|strcat|sprintf|vsprintf|gets|system|popen|tmpnam|rand|alloca)\(' engine/base engine/genome engine/search engine/daemon engine/cli/*.c fitness db
refuse 'left behind' 'TODO|FIXME|not_written_yet' engine fitness db templates tests/unit tests/bench tests/fuzz

# Every source is built: a file that CMake does not name is dead.
for file in engine/base/*.c engine/genome/*.c engine/search/*.c engine/daemon/*.c fitness/*.c db/*.c; do # cli and emu are globbed
    grep -qw "$(basename "$file" .c)" CMakeLists.txt || complain "dead file: $file is not in CMakeLists.txt"
done

long=$(grep -nE '^.{101,}$' -r engine fitness db --include='*.[ch]' | cut -c1-120)
[ -z "$long" ] || complain "lines over 100 columns:
$long"

# Links of the documents lead somewhere.
for document in *.md docs/*.md; do
    grep -oE '\]\([^)#]+' "$document" | cut -c3- | grep -v '://' | while read -r link; do
        [ -e "$(dirname "$document")/$link" ] || echo "broken link: $document: $link"
    done
done | grep . && bad=1

[ $bad -eq 0 ] && echo "tidy"
exit $bad
