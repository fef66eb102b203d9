load helper

# The status screen in a terminal of its own (tmux): what a person would see at this size.
command -v tmux >/dev/null || skip_all="tmux is not installed"

# on_screen SIZE VARIABLES COMMAND...: starts it in a terminal of WxH cells, of a server of its own: one that was
# just killed may still be there.
on_screen() {
    [ -z "${skip_all:-}" ] || skip "$skip_all"
    screens=$((${screens:-0} + 1))
    tmux -L "evo-$BATS_TEST_NUMBER-$$-$screens" -f /dev/null new-session -d -s s -x "${1%x*}" -y "${1#*x}" \
        "env PATH=$PATH LC_ALL=C.UTF-8 $2 $3; echo exit \$?; sleep 60"
}
tm() { tmux -L "evo-$BATS_TEST_NUMBER-$$-${screens:-0}" "$@"; }
seen() { tm capture-pane -p -t s > screen.txt && grep -q -- "$1" screen.txt; }
gone() { ! seen "$1"; }
press() { tm send-keys -t s "$@"; }
wide() { tm display-message -p -t s '#{pane_width}x#{pane_height}' | grep -q "$1"; }

searching() {
    fake_seed 1000000 --latency-ms "${1:-1500}" > seed.yaml
    evo start --seed seed.yaml --detach
}

teardown() {
    tm kill-server 2>/dev/null || true
    teardown_folder
}

@test "at 80x24 it shows the best, the progress, the funnel, operators and workers" {
    searching
    on_screen 80x24 "" "evo watch"
    await 20 seen "the seed"
    for part in best progress fastest funnel operators "device and workers" "q quit"; do
        await 20 seen "$part"
    done
    await 20 seen "proposed .* 100.0 %"
    [ "$(wc -l < screen.txt)" = 24 ]
    ! grep -q "cannot" screen.txt
    press q
    await 20 seen "exit 0"
    seen "the search goes on"
}

@test "at 40x20 and 200x60, and from one to the other, nothing breaks" {
    searching
    on_screen 40x20 "" "evo watch"
    await 20 seen "best"
    await 20 seen "progress"
    [ "$(LC_ALL=C.UTF-8 wc -L < screen.txt)" -le 40 ]
    tm resize-window -t s -x 200 -y 60
    await 20 seen "verdicts"
    await 20 seen "up/down choose"
    tm resize-window -t s -x 12 -y 3
    sleep 1
    tm resize-window -t s -x 80 -y 24
    await 20 seen "q quit   up/down"
}

@test "Enter tells all of the chosen kernel and its difference to its parent; q comes back" {
    searching
    on_screen 100x30 "" "evo watch"
    await 20 seen "> n"
    press Enter
    await 20 seen "machine code"
    await 20 seen "q back"
    press q
    await 20 seen "fastest"
    press '?'
    await 20 seen "suspend this view"
    press q
    await 20 seen "fastest"
}

@test "Ctrl-C and Ctrl-Z touch the view, not the search" {
    searching
    on_screen 80x24 "" "sh -mc 'evo watch; echo back; fg; echo ended'"
    await 20 seen "progress"
    press C-z
    await 20 seen "back"
    await 20 seen "progress"
    press C-c
    await 20 seen "the search goes on"
    evo status | grep -q running
}

@test "s asks, and stops the search" {
    searching
    on_screen 80x24 "" "evo watch"
    await 20 seen "progress"
    press s
    await 20 seen "y/n"
    press n
    await 20 gone "y/n"
    press s
    await 20 seen "y/n"
    press y
    await 30 seen "the search was stopped"
    evo status | grep -q stopped
}

@test "a search that ends while it is watched says what it found" {
    fake_seed 20 --latency-ms 50 > seed.yaml
    on_screen 80x24 "" "evo start --seed seed.yaml"
    await 30 seen "the search has ended: "
    seen "20 evaluated"
    seen "exit 0"
}

@test "without colours, without UTF-8, on a plain terminal it still tells" {
    searching
    on_screen 80x24 "NO_COLOR=1 LC_ALL=C" "evo watch"
    await 20 seen "^- progress"
    press q
    await 20 seen "exit 0"
    tm kill-server
    on_screen 80x24 "TERM=dumb" "evo watch"
    await 20 seen "evaluated, .*/min"
    tm kill-server
    on_screen 80x24 "" "evo watch --line"
    await 20 seen "evaluated, .*/min"
    gone "q quit"
}
