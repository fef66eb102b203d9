load helper

commands() {
    evo --help | sed -n 's/^  \([a-z]*\)  .*/\1/p' | grep -v '^evo$'
}

@test "evo without a command explains itself on stderr and fails" {
    run --separate-stderr evo
    [ "$status" -eq 2 ]
    [ -z "$output" ]
    [[ "$stderr" == *"usage: evo COMMAND"* ]]
}

@test "evo --help fits a screen and lists every command" {
    evo --help > help.txt
    [ "$(wc -l < help.txt)" -le 38 ]
    [ "$(wc -L < help.txt)" -le 79 ]
    for command in start stop watch status best lineage show diff genes check export verify dump \
        record rescore help; do
        grep -q "^  $command " help.txt
    done
}

@test "every command explains itself, with an example, in lines that fit" {
    for command in $(commands); do
        evo help "$command" > a.txt
        evo "$command" --help > b.txt
        diff a.txt b.txt
        grep -q "^usage: evo $command" a.txt
        [ "$(wc -L < a.txt)" -le 79 ]
        sed -n '/^example$/,$p' a.txt | grep -q "^  evo $command"
    done
}

@test "evo --version names the program and its version" {
    run evo --version
    [ "$status" -eq 0 ]
    [[ "$output" =~ ^evo\ [0-9]+\.[0-9]+\.[0-9]+$ ]]
}

@test "an unknown command is answered with one that begins alike" {
    run --separate-stderr evo stat
    [ "$status" -eq 2 ]
    [ -z "$output" ]
    [[ "$stderr" == *"unknown command 'stat'"* ]]
    [[ "$stderr" == *"did you mean 'sta"* ]]
}

@test "a mistaken option is named, with where to read on" {
    run --separate-stderr evo best --most
    [ "$status" -eq 2 ]
    [[ "$stderr" == *"'best' has no option '--most'"* ]]
    [[ "$stderr" == *"see 'evo help best'"* ]]
    run evo best --count
    [ "$status" -eq 2 ]
    [[ "$output" == *"needs a value: N"* ]]
    run evo best -n 0
    [ "$status" -eq 2 ]
    [[ "$output" == *"from 1 to"* ]]
    run evo best --json=yes
    [ "$status" -eq 2 ]
    run evo lineage
    [ "$status" -eq 2 ]
    [[ "$output" == *"'lineage' needs ID"* ]]
    run evo diff a b c
    [ "$status" -eq 2 ]
}

@test "docs/evo.1 is what the table of commands says" {
    evo help --man > evo.1
    same_as_golden evo.1 "$EVO_SOURCE/docs/evo.1"
}

@test "the manual pages are clean mdoc" {
    command -v mandoc || skip "mandoc is not installed"
    for page in evo.1 evo-seed.5 evo-template.5; do
        mandoc -Tlint "$EVO_SOURCE/docs/$page" 2>/dev/null |
            grep -v 'referenced manual not found' > lint.txt || true
        cat lint.txt
        [ ! -s lint.txt ]
    done
}

@test "evo-seed.5 documents every key that a seed may have" {
    local head='workload: [1x8x512x64]\nfamilies: [toy]\n'
    local sections='population operators search budget workers gate'

    printf "${head}no-such-key: 1\n" > seed.yaml
    for section in $sections; do
        printf "${head}$section: {no-such-key: 1}\n" > "$section.yaml"
    done
    for seed in seed $sections; do
        evo check "$seed.yaml" 2>&1 | sed -n 's/^evo: the keys of .* are \(.*\) (see.*/\1/p'
    done | tr ' ' '\n' | sort -u > keys.txt
    [ "$(wc -l < keys.txt)" -ge 30 ]
    while read -r key; do
        echo "$key"
        grep -q "^\.It Cm $key :" "$EVO_SOURCE/docs/evo-seed.5"
    done < keys.txt
}

# mistaken WORDS: what evo says of a template of these words.
mistaken() {
    printf '/*\n * t -- t.\n */\n#include "include/evo.cuh"\n%s\nextern "C" __global__ void k(evo_half *O) {}\n' "$1" > t.cu
    evo genes t --templates . 2>&1 || true
}
# named PATTERN: the words of a hint, behind it.
named() { sed -n "s/^evo: $1 //p" | tr -d , | sed 's/ and / /' | tr ' ' '\n'; }

@test "evo-template.5 documents every word that the parser knows, as it is written" {
    command -v mandoc || skip "mandoc is not installed"
    mandoc -Tascii -Owidth=200 "$EVO_SOURCE/docs/evo-template.5" | col -bx | sed 's/  */ /g' > page.txt
    mistaken 'EVO_UNHEARD(1)' | named 'the words are' > words.txt
    [ "$(wc -l < words.txt)" -ge 10 ]
    while read -r word; do
        usage=$(mistaken "$word()" | sed -n 's/^evo: it is written //p')
        echo "$usage"
        [ -n "$usage" ] && grep -qxF " $usage" page.txt
    done < words.txt
    {
        mistaken 'EVO_GIVEN(UNHEARD, "x")' | named 'the givens are'
        mistaken 'EVO_GENE(A, unheard(1), "x")' | named 'the domains are'
        mistaken 'EVO_WORKSPACE(a, 1, unheard, "x")' | named 'the kinds are'
        mistaken 'EVO_TENSOR_MAP(a, UNHEARD, (8, 8), 0, "x")' | named 'the tensors are'
        mistaken 'EVO_LAUNCH(k, (unheard), 1, 1, (O))' | named 'the names declared above it are'
        mistaken 'EVO_LAUNCH(k, (1), 1, 1, (UNHEARD))' | named 'the arguments are'
        mistaken 'EVO_LET(A, unheard(1), "x")' | named 'the functions are'
    } | sort -u > names.txt
    [ "$(wc -l < names.txt)" -ge 28 ]
    while read -r name; do
        echo "$name"
        grep -qE "^\.(It )?Li (.* , )*$name([ (]|\$)" "$EVO_SOURCE/docs/evo-template.5"
    done < names.txt
}

@test "completions name every command and option, and are scripts that their shells read" {
    for shell in bash zsh fish; do
        evo help --completion "$shell" > "evo.$shell"
        for command in $(commands); do
            grep -q "\b$command\b" "evo.$shell"
        done
        grep -q -- "at-least" "evo.$shell"
        ! command -v "$shell" >/dev/null || "$shell" -n "evo.$shell"
    done
    run bash -c 'source evo.bash; COMP_WORDS=(evo be); COMP_CWORD=1; _evo; echo "${COMPREPLY[@]}"'
    [ "$output" = "best bench-search" ]
    run bash -c 'source evo.bash; COMP_WORDS=(evo start --strategy h); COMP_CWORD=3; _evo; echo "${COMPREPLY[@]}"'
    [ "$output" = hill ]
    run bash -c 'source evo.bash; COMP_WORDS=(evo gate best --at); COMP_CWORD=3; _evo; echo "${COMPREPLY[@]}"'
    [ "$output" = --at-least ]
    run evo help --completion tcsh
    [ "$status" = 2 ]
}
