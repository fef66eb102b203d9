#include "cli/screen.h"

#include <errno.h>
#include <fcntl.h>
#include <langinfo.h>
#include <locale.h>
#include <ncurses.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/str.h"
#include "cli/panels.h"

enum {
    REFRESH_MS = 500,
    BEHIND_MS = 10,      /* between two pieces of a story that is still being read */
    STORY_PIECE = 20000, /* places at once: some 50 ms */
    KERNELS_SHOWN = 40,
    TEXT_BYTES_MAX = 1 << 20,
    ESCAPE = 27,
};

static SCREEN *terminal;

/* The terminal -------------------------------------------------------------------------------- */

bool screen_possible(void)
{
    const char *term = getenv("TERM");

    return isatty(STDIN_FILENO) && isatty(STDERR_FILENO) && term != NULL && *term != '\0' &&
           strcmp(term, "dumb") != 0;
}

static bool terminal_open(void)
{
    setlocale(LC_CTYPE, "");
    terminal = newterm(NULL, stderr, stdin);
    if (terminal == NULL) {
        return false;
    }
    set_term(terminal);
    cbreak(); /* Ctrl-C and Ctrl-Z stay signals */
    noecho();
    keypad(stdscr, TRUE);
    curs_set(0);
    set_escdelay(50);
    if (style_wanted(stderr) && has_colors()) {
        start_color();
        use_default_colors();
        init_pair(STYLE_GOOD, COLOR_GREEN, -1);
        init_pair(STYLE_BAD, COLOR_RED, -1);
    }
    return true;
}

static void terminal_close(void)
{
    endwin();
    delscreen(terminal);
    terminal = NULL;
}

static attr_t attribute(enum style style)
{
    bool coloured = style_wanted(stderr) && has_colors();

    switch (style) {
    case STYLE_BOLD: return A_BOLD;
    case STYLE_DIM: return A_DIM;
    case STYLE_GOOD: return coloured ? (attr_t)COLOR_PAIR(STYLE_GOOD) : A_BOLD;
    case STYLE_BAD: return coloured ? (attr_t)COLOR_PAIR(STYLE_BAD) : A_REVERSE;
    default: return A_NORMAL;
    }
}

static void show(const struct canvas *canvas)
{
    erase();
    for (int row = 0; row < canvas->height; row++) {
        move(row, 0);
        for (int column = 0; column < canvas->width; column++) {
            const struct cell *cell = &canvas->cells[row * canvas->width + column];

            attrset(attribute(cell->style));
            addstr(*cell->text != '\0' ? cell->text : " ");
        }
    }
    attrset(A_NORMAL);
    refresh();
}

static bool is_ascii_only(void) { return strcmp(nl_langinfo(CODESET), "UTF-8") != 0; }

/* The view ------------------------------------------------------------------------------------ */

struct watcher {
    struct cli *cli;
    const struct follow *follow;
    struct chronicle chronicle;
    bool open;      /* the chronicle is */
    bool behind;    /* there was more to read at once */
    int64_t chosen; /* the place that is selected; -1: the first */
    struct view view;
};

static bool gather(struct watcher *watcher, struct arena *arena, struct err *err)
{
    struct cli *cli = watcher->cli;
    struct view *view = &watcher->view;
    struct best_filter filter = {.numerics = -1, .limit = KERNELS_SHOWN};
    bool found;

    if (cli->store == NULL && !cli_store(cli, err)) {
        return false;
    }
    *view = (struct view){.chronicle = &watcher->chronicle, .now = clock_wall_ms()};
    if (!query_status(cli->store, arena, 0, &view->status, &found, err) || !found) {
        return false;
    }
    if (!watcher->open) {
        chronicle_open(&watcher->chronicle, view->status.run.id);
        watcher->open = true;
        watcher->behind = true; /* paint first */
    } else if (!chronicle_advance(&watcher->chronicle, cli->store, STORY_PIECE, &watcher->behind,
                                  err)) {
        return false;
    }
    view->catching_up = watcher->behind;
    view->state = arena_printf(arena, "running (pid %ld)", (long)watcher->follow->pid);
    return query_best(cli->store, arena, &filter, &view->kernels, &view->kernel_count, err) &&
           query_in_flight(cli->store, arena, view->status.run.id, &view->in_flight,
                           &view->in_flight_count, err) &&
           query_device_state(cli->store, view->status.run.id, &view->device, err);
}

static void select_chosen(struct watcher *watcher)
{
    struct view *view = &watcher->view;

    view->selected = 0;
    for (int64_t i = 0; i < view->kernel_count; i++) {
        if (view->kernels[i].candidate.place == watcher->chosen) {
            view->selected = i;
        }
    }
}

static void paint(struct watcher *watcher, struct arena *arena)
{
    struct canvas canvas;

    canvas_new(&canvas, arena, COLS, LINES, is_ascii_only());
    panels_draw(&canvas, arena, &watcher->view);
    show(&canvas);
}

static void choose(struct watcher *watcher, int step)
{
    struct view *view = &watcher->view;
    int64_t to = view->selected + step;

    if (to >= 0 && to < view->kernel_count) {
        watcher->chosen = view->kernels[to].candidate.place;
        view->selected = to;
    }
}

/* Texts --------------------------------------------------------------------------------------- */

/* What `evo ARGS` prints, errors included. */
static void own_output(char *const argv[], struct buf *out)
{
    char piece[4096];
    ssize_t got;
    int ends[2], status;
    pid_t pid;

    if (pipe(ends) != 0) {
        buf_printf(out, "cannot make a pipe: %s\n", strerror(errno));
        return;
    }
    pid = fork();
    if (pid == 0) {
        int null = open("/dev/null", O_RDONLY);

        dup2(null, STDIN_FILENO);
        dup2(ends[1], STDOUT_FILENO);
        dup2(ends[1], STDERR_FILENO);
        close(ends[0]);
        close(ends[1]);
        execv("/proc/self/exe", argv);
        _exit(EXIT_SYSTEM);
    }
    close(ends[1]);
    while (pid > 0 && out->length < TEXT_BYTES_MAX &&
           ((got = read(ends[0], piece, sizeof piece)) > 0 || (got < 0 && errno == EINTR))) {
        if (got > 0) {
            buf_add(out, piece, (size_t)got);
        }
    }
    close(ends[0]);
    if (pid > 0) {
        waitpid(pid, &status, 0);
    }
}

static void draw_text(const char *text, int first, bool *more)
{
    struct arena *arena = arena_new();
    struct canvas canvas;
    int row = -first;

    canvas_new(&canvas, arena, COLS, LINES, is_ascii_only());
    while (*text != '\0') {
        size_t length = strcspn(text, "\n");

        if (row >= 0 && row < LINES - 1) {
            const char *line = arena_text(arena, text, length);
            enum style style = line[0] == '+'                     ? STYLE_GOOD
                               : line[0] == '-' && line[1] != '-' ? STYLE_BAD
                                                                  : STYLE_PLAIN;

            canvas_put(&canvas, row, 0, style, line);
        }
        row++;
        text += length + (text[length] == '\n');
    }
    *more = row > LINES - 1;
    canvas_put(&canvas, LINES - 1, 1, STYLE_DIM, "q back   up/down, page up/down scroll");
    show(&canvas);
    arena_free(arena);
}

/* Shows a text until the user has seen enough. */
static void page(const char *text)
{
    int first = 0;
    bool more;

    timeout(-1);
    for (;;) {
        int key;

        draw_text(text, first, &more);
        key = getch();
        switch (key) {
        case KEY_UP:
        case 'k': first -= first > 0; break;
        case KEY_DOWN:
        case 'j': first += more; break;
        case KEY_NPAGE:
        case ' ': first += more ? LINES - 2 : 0; break;
        case KEY_PPAGE: first = first > LINES - 2 ? first - (LINES - 2) : 0; break;
        case KEY_RESIZE: break;
        case ERR: return; /* a signal: let the main loop look */
        default: return;
        }
    }
}

/* The selected kernel: all that is known of it, and what it changed in its parent. */
static void show_details(struct watcher *watcher, struct arena *arena)
{
    const struct view *view = &watcher->view;
    const struct candidate_row *row;
    struct buf text = {0};
    char *db = arena_dup(arena, cli_db(watcher->cli)), *id;

    if (view->kernel_count == 0) {
        return;
    }
    row = &view->kernels[view->selected].candidate;
    id = arena_printf(arena, "r%lld.n%lld", (long long)row->run, (long long)row->place);
    own_output((char *[]){"evo", "show", id, "--db", db, NULL}, &text);
    if (row->parent_count > 0) {
        char *parent =
            arena_printf(arena, "r%lld.n%lld", (long long)row->run, (long long)row->parents[0]);

        buf_printf(&text, "\nwhat it changed in n%lld\n\n", (long long)row->parents[0]);
        own_output((char *[]){"evo", "diff", parent, id, "--db", db, NULL}, &text);
    }
    page(text.data != NULL ? text.data : "");
    buf_free(&text);
}

static const char help_text[] =
    "The status screen of a search\n"
    "\n"
    "best         the fastest verified kernel, its 95 % interval, its gain over the\n"
    "             seed's founder, and the best so far over evaluations. 'stale' after\n"
    "             more than half of all evaluations without a gain.\n"
    "fastest      verified kernels in order; choose one with the arrow keys, Enter\n"
    "             tells all of it and what it changed in its parent.\n"
    "funnel       how far proposals came: rendered (they met every requirement),\n"
    "             built (the compiler took them), launched, right (the gate passed\n"
    "             them), timed, improved (the best so far).\n"
    "operators    what each way of proposing has tried, and how often it gained.\n"
    "workers      what each holds now, and since when.\n"
    "\n"
    "q            leave; the search goes on. So does Ctrl-C.\n"
    "s            stop the search after what is in flight; 'evo start' resumes it.\n"
    "Ctrl-Z       suspend this view, not the search.\n";

static void ask_stop(struct watcher *watcher)
{
    int key;

    move(LINES - 1, 0);
    clrtoeol();
    mvaddstr(LINES - 1, 1, "stop the search after what is in flight? y/n ");
    refresh();
    timeout(-1);
    key = getch();
    if (key == 'y' || key == 'Y') {
        kill(watcher->follow->pid, SIGTERM);
    }
}

/* The loop ------------------------------------------------------------------------------------ */

static volatile sig_atomic_t interrupted;

static void on_interrupt(int signal)
{
    (void)signal;
    interrupted = 1;
}

/* False: the user wants to leave. */
static bool obey(struct watcher *watcher, struct arena *arena, int key)
{
    switch (key) {
    case 'q':
    case ESCAPE: return false;
    case KEY_UP:
    case 'k': choose(watcher, -1); break;
    case KEY_DOWN:
    case 'j': choose(watcher, 1); break;
    case KEY_ENTER:
    case '\n':
    case '\r': show_details(watcher, arena); break;
    case 's': ask_stop(watcher); break;
    case '?':
    case 'h': page(help_text); break;
    default: break;
    }
    return true;
}

/* One look at the database, one picture, one key. False: the user wants to leave. */
static bool turn(struct watcher *watcher)
{
    struct arena *arena = arena_new();
    struct err ignored; /* a database that is just being made: there will be one the next time */
    bool stay = true;
    int key;

    if (gather(watcher, arena, &ignored)) {
        select_chosen(watcher);
        paint(watcher, arena);
    }
    timeout(watcher->behind ? BEHIND_MS : REFRESH_MS);
    key = getch();
    if (key != ERR && watcher->open) {
        stay = obey(watcher, arena, key);
    }
    arena_free(arena);
    return stay;
}

enum screen_end screen_follow(struct cli *cli, const struct follow *follow, bool *ok,
                              struct err *err)
{
    struct sigaction action = {.sa_handler = on_interrupt}, before;
    struct watcher watcher = {.cli = cli, .follow = follow, .chosen = -1};
    enum screen_end end = SCREEN_LEFT;

    *ok = true;
    if (!terminal_open()) {
        *ok = err_set(err, ERR_SYSTEM, "this terminal ('%s') cannot be painted on", getenv("TERM"));
        return SCREEN_ENDED;
    }
    interrupted = 0;
    sigaction(SIGINT, &action, &before);
    while (!interrupted && turn(&watcher)) {
        if (follow_ended(follow, cli_lock(cli), ok, err)) {
            end = SCREEN_ENDED;
            break;
        }
    }
    sigaction(SIGINT, &before, NULL);
    terminal_close();
    if (watcher.open) {
        chronicle_close(&watcher.chronicle);
    }
    return end;
}
