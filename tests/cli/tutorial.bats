load helper

# docs/tutorial.md, done as it stands: blocks with a file's name are saved, shell blocks run, and what a text block
# shows must have been printed, but for numbers and dots.

# blocks: the page as numbered files, block.NNN.KIND[.NAME with % for /].
blocks() {
    awk '/^```/ && inside { inside = 0; close(file); next }
         /^```/ { inside = 1; name = $2; gsub("/", "%", name)
                  file = sprintf("block.%03d.%s.%s", ++count, substr($1, 4), name); printf "" > file; next }
         inside { print > file }' "$EVO_SOURCE/docs/tutorial.md"
}
plain() { sed -E 's/[0-9a-f]{6,}/N/g; s/[0-9][0-9.]*/N/g; s/ +/ /g; s/^ //' "$@"; }

@test "the tutorial does what it says" {
    [ -x "$EVO_BIN/evo-compile" ] || skip "there is no evo-compile"
    export EVO_COMPILE="'$EVO_BIN/evo-compile'" EVO_CACHE_DIR="$EVO_BIN/../cli/tutorial.cache" EVO_CHEATS="$folder/cheats"
    mkdir cheats mine
    cp -r "$EVO_SOURCE"/fitness/cheats/{honest.cu,include} cheats # the whole self-test is another test's
    blocks
    nvcc=${CUDA_HOME:-/usr/local/cuda}/bin/nvcc
    : > printed.txt
    for block in block.*; do
        echo "== $block"
        IFS=. read -r _ _ kind name <<< "$block"
        case $kind:$name in
        sh: | sh:nvcc | sh:gpu | sh:torch)
            [ "$name" != nvcc ] || [ -x "$nvcc" ] || continue
            [ "$name" != gpu ] || [ -x "$nvcc" -a -e /dev/nvidiactl ] || continue
            [ "$name" != torch ] || python3 -c 'import torch; assert torch.cuda.is_available()' 2> /dev/null || continue
            set -e
            . "./$block" >> printed.txt 2>&1 || { tail -n 20 printed.txt; return 1; }
            ;;
        text:)
            plain printed.txt > plain.txt
            while read -r line; do
                grep -qF -- "$line" plain.txt || { echo "not printed: $line"; tail -n 40 printed.txt; return 1; }
            done < <(plain "$block" | sed 's/…/\n/g' | sed 's/^ *//; s/ *$//; /^$/d')
            ;;
        sh:setup) ;;
        *) cp "$block" "${name//%//}" ;;
        esac
    done
    [ -s winner.cu ] && [ -s rows.py ]
    [ ! -x "$nvcc" ] || [ -x use ]
}
