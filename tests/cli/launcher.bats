load helper

# The launcher with a cmake, dpkg and apt of paper: nothing is installed or built here.
setup() {
    folder="$BATS_TEST_TMPDIR"
    root="$folder/a copy of 'evo' & more"
    tools="$folder/tools"
    mkdir -p "$root" "$tools" "$folder/toolkit/include"
    touch "$folder/toolkit/include/nvrtc.h" "$folder/missing"
    cp "$EVO_SOURCE/evo" "$root/"
    (cd "$root" && mkdir cmake engine fitness db && touch CMakeLists.txt CMakePresets.json engine/a.c)
    for tool in sh env dirname readlink find mkdir chmod mv rm tail grep flock sleep nproc; do
        ln -s "$(command -v $tool)" "$tools/$tool"
    done
    # Builds a program that says how it was called.
    paper cmake <<'END'
[ -z "${BREAK:-}" ] || { echo "ninja: error: broken"; exit 1; }
if [ "$1" = --preset ]; then
    mkdir -p "build/$2/bin"
    echo "CMAKE_HOME_DIRECTORY:INTERNAL=$PWD" > "build/$2/CMakeCache.txt"
    exit
fi
echo "$3 in $PWD with $CUDA_HOME" >> built
sleep "${SLOW:-0}"
printf '#!/bin/sh\nprintf "%%s|" "$PWD" "$@"\nexit "${RC:-0}"\n' > "build/$3/bin/evo"
chmod +x "build/$3/bin/evo"
END
    paper dpkg-query <<< "grep -q -x \"\$3\" '$folder/missing' || echo installed"
    paper apt-get <<< "echo \"\$@\" >> '$folder/apt'; [ -z \"\${OFFLINE:-}\" ]"
    paper id <<< 'echo "${WHO:-1000}"'
    paper ctest <<< 'printf "%s|" "$PWD" "$@"'
    mkdir "$folder/elsewhere"
    cd "$folder/elsewhere"
    export CUDA_HOME="$folder/toolkit"
}

teardown() { :; }

paper() { { echo '#!/bin/sh'; cat; } > "$tools/$1"; chmod +x "$tools/$1"; }
launch() { PATH="$tools" "$root/evo" "$@"; }

@test "the first call builds, and hands over arguments, folder and exit code" {
    RC=7 run --separate-stderr launch best 'a b' '' '*'
    [ "$status" -eq 7 ]
    [ "$output" = "$folder/elsewhere|best|a b||*|" ]
    [[ "$stderr" == *"evo: building"* ]]
    [ "$(cat "$root/built")" = "release in $root with $folder/toolkit" ]
    run --separate-stderr launch best
    [ "$output" = "$folder/elsewhere|best|" ]
    [ -z "$stderr" ]
    [ "$(wc -l < "$root/built")" = 1 ]
}

@test "Ubuntu is not asked for a package that it does not have" {
    echo chromium > "$folder/missing"
    echo ID=debian > debian
    echo ID=ubuntu > ubuntu
    WHO=0 EVO_OS_RELEASE=debian run launch test
    grep -q 'install .* chromium$' "$folder/apt"
    rm "$folder/apt"
    WHO=0 EVO_OS_RELEASE=ubuntu run launch test
    [ "$status" -eq 0 ]
    [ ! -e "$folder/apt" ]
}

@test "it is found through symbolic links, relative ones, PATH and sh" {
    launch > /dev/null 2>&1
    mkdir links
    ln -s "$root/evo" links/absolute
    ln -s absolute links/relative
    PATH="$tools" run links/relative x
    [ "$output" = "$folder/elsewhere|x|" ]
    PATH="$tools:$folder/elsewhere/links" run relative x
    [ "$output" = "$folder/elsewhere|x|" ]
    cd "$root"
    CDPATH=/ PATH="$tools" run sh evo x
    [ "$output" = "$root|x|" ]
}

@test "a newer source, or one that is gone, is built again" {
    launch > /dev/null 2>&1
    touch -d '+2 seconds' "$root/engine/a.c"
    launch > /dev/null 2>&1
    [ "$(wc -l < "$root/built")" = 2 ]
    touch -d '-1 hour' "$root/engine/a.c" "$root/engine"
    launch > /dev/null 2>&1
    [ "$(wc -l < "$root/built")" = 2 ]
    sleep 0.05
    rm "$root/engine/a.c"
    launch > /dev/null 2>&1
    [ "$(wc -l < "$root/built")" = 3 ]
}

@test "what is edited during a build is built by the next call" {
    SLOW=1 launch > /dev/null 2>&1 &
    await 10 [ -e "$root/built" ]
    touch "$root/engine/a.c"
    wait $!
    launch > /dev/null 2>&1
    [ "$(wc -l < "$root/built")" = 2 ]
}

@test "calls that come together build once" {
    for i in 1 2 3; do
        SLOW=0.3 launch "$i" > "$i.txt" 2>&1 &
    done
    wait
    [ "$(wc -l < "$root/built")" = 1 ]
    for i in 1 2 3; do
        grep -q "|$i|" "$i.txt"
    done
}

@test "a folder that was moved with its build is configured anew" {
    launch > /dev/null 2>&1
    touch "$root/build/release/left-over"
    mv "$root" "$folder/moved"
    root="$folder/moved"
    run --separate-stderr launch x
    [ "$output" = "$folder/elsewhere|x|" ]
    [ -z "$stderr" ]
    touch -d '+2 seconds' "$root/engine/a.c"
    launch > /dev/null 2>&1
    [ ! -e "$root/build/release/left-over" ]
}

@test "a build that fails shows its end, where the rest is, and is not taken for done" {
    BREAK=1 run --separate-stderr launch best
    [ "$status" -eq 1 ]
    [ -z "$output" ]
    [[ "$stderr" == *"ninja: error: broken"* ]]
    [[ "$stderr" == *"all of its output is in $root/build/release.log"* ]]
    run --separate-stderr launch best
    [ "$status" -eq 0 ]
}

@test "missing packages are one line to paste when nobody here is root" {
    printf 'ninja-build\nlibyaml-dev\n' > "$folder/missing"
    run --separate-stderr launch best
    [ "$status" -eq 1 ]
    [ -z "$output" ]
    grep -q -x 'evo:     apt-get install -y ninja-build libyaml-dev' <<< "$stderr"
    [ ! -e "$folder/apt" ]
    [ ! -e "$root/built" ]
}

@test "root installs what is missing, and is told when there is no network" {
    echo libyaml-dev > "$folder/missing"
    WHO=0 OFFLINE=1 run --separate-stderr launch best
    [ "$status" -eq 1 ]
    [[ "$stderr" == *"is there a network?"*"apt-get install -y libyaml-dev"* ]]
    rm "$folder/apt"
    WHO=0 run --separate-stderr launch best
    [ "$status" -eq 0 ]
    [ "$(tail -1 "$folder/apt")" = "install -y -qq --no-install-recommends libyaml-dev" ]
    # Once built, nobody asks for packages again.
    run --separate-stderr launch best
    [ -z "$stderr" ]
}

@test "a CUDA_HOME without a toolkit is told, not passed over" {
    CUDA_HOME="$folder/no such place" run --separate-stderr launch best
    [ "$status" -eq 1 ]
    [ "$stderr" = "evo: CUDA_HOME is '$folder/no such place', but there is no include/nvrtc.h in it" ]
    [ ! -e "$root/built" ]
}

@test "a relative CUDA_HOME is meant from where the caller is" {
    CUDA_HOME=../toolkit run --separate-stderr launch best
    [ "$status" -eq 0 ]
    [ "$(cat "$root/built")" = "release in $root with $folder/toolkit" ]
}

@test "a place where nothing can be built is told" {
    touch "$root/build" # root may write anywhere, but not below a file
    run --separate-stderr launch best
    [ "$status" -eq 1 ]
    [ "$stderr" = "evo: cannot write to '$root/build', where evo is built" ]
}

@test "evo test builds both, and runs ctest with what was asked" {
    run --separate-stderr launch test -R unit
    [ "$status" -eq 0 ]
    [[ "$output" == "$root|--preset|dev|-j|"*"|-R|unit|" ]]
    [ "$(cut -d' ' -f1 "$root/built" | tr '\n' ' ')" = "dev release " ]
    CUDA_HOME="$folder/nowhere" run --separate-stderr launch test
    [ "$status" -eq 0 ]
    [[ "$stderr" == *"the tests that compile kernels are skipped"* ]]
}

@test "the launcher is clean to shellcheck" {
    command -v shellcheck > /dev/null || skip "shellcheck is not installed"
    shellcheck "$EVO_SOURCE/evo"
}
