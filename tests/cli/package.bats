load helper

# The Debian package of a release build, unpacked and used. The build is kept for the next time.
setup_file() {
    command -v dpkg-deb > /dev/null && command -v cpack > /dev/null || return 0
    build="$EVO_BIN/../package"
    (cd "$EVO_SOURCE" && cmake --preset release -B "$build" && cmake --build "$build" -j 2) > "$BATS_FILE_TMPDIR/build.txt" 2>&1 ||
        { tail -n 40 "$BATS_FILE_TMPDIR/build.txt"; return 1; }
    cd "$build"
    rm -f evo_*.deb
    cpack -G DEB > "$BATS_FILE_TMPDIR/cpack.txt" 2>&1 || { cat "$BATS_FILE_TMPDIR/cpack.txt"; return 1; }
    mv evo_*.deb "$BATS_FILE_TMPDIR/"
    mkdir "$BATS_FILE_TMPDIR/a root"
    dpkg -x "$BATS_FILE_TMPDIR"/evo_*.deb "$BATS_FILE_TMPDIR/a root"
}

setup() {
    [ -d "$BATS_FILE_TMPDIR/a root" ] || skip "there is no dpkg-deb or cpack"
    installed="$BATS_FILE_TMPDIR/a root/usr"
    folder="$BATS_TEST_TMPDIR"
    cd "$folder"
    PATH="$installed/bin:$PATH"
    unset EVO_TEMPLATES EVO_COMPILE EVO_DB
    export EVO_CACHE_DIR="$folder/cache"
}

teardown() { :; }

@test "the package names its version and architecture, and needs what it says" {
    dpkg-deb -f "$BATS_FILE_TMPDIR"/evo_*.deb > control.txt
    version=$(evo --version | cut -d' ' -f2)
    grep -q -x "Version: $version" control.txt
    [ -e "$BATS_FILE_TMPDIR/evo_${version}_$(dpkg --print-architecture).deb" ]
    grep -q -x 'Depends: libc6' control.txt
    # So nothing but the C library is linked in; the CUDA toolkit is no package.
    ldd "$installed/bin/evo" "$installed"/lib*/evo/evo-judge-replay | grep '=>' |
        grep -v -E '^\s*lib(c|m|dl|pthread)\.so' > needed.txt || true
    cat needed.txt
    [ ! -s needed.txt ]
}

@test "the installed evo finds its templates and seeds" {
    for seed in phase1 phase4 phase5; do
        run evo check "seeds/$seed.yaml"
        [ "$status" -eq 0 ]
        [[ "$output" == "seed ok: "* ]]
    done
    run evo genes attention_wmma
    [ "$status" -eq 0 ]
}

@test "the installed evo finds its workers" {
    [ -e "$installed/lib/evo/evo-judge-replay" ]
    cat > seed.yaml <<END
workload: [1x8x512x64]
families: [replay]
budget: {evaluations: 3}
workers: {device: "replay:$EVO_SOURCE/tests/data/space_gemm.csv"}
END
    evo start --seed seed.yaml
    [ "$(evo dump | wc -l)" = 3 ]
    [ -e "$installed/lib/evo/evo-compile" ] || skip "evo-compile is built where NVRTC is"
    cat > seed.yaml <<END
workload: [1x8x512x64]
families: [attention_scalar]
budget: {evaluations: 1}
workers: {judges: "'$EVO_BIN/evo-worker-fake'"}
END
    evo start --seed seed.yaml --db compiled.db
    evo dump --db compiled.db | grep -q ' pass '
}

@test "manual pages, licence and readme are where Debian has them" {
    for file in man/man1/evo.1 man/man5/evo-seed.5 man/man5/evo-template.5 doc/evo/LICENSE doc/evo/README.md; do
        ls "$installed/share/$file"*
    done
    [ -z "$(find "$installed/share" -type f -perm /111)" ]
}
