#include "cli/panels.h"

#include <math.h>
#include <stdarg.h>
#include <string.h>

#include "base/str.h"
#include "cli/progress.h"

enum {
    LINES_MAX = 48, /* of a panel */
    PANELS_MAX = 8,
    COLUMNS_MAX = 3,
    COLUMN_WIDTH_MIN = 38,
    STALE_EVALUATIONS = 100, /* without a gain, and half of all: then the search is called stale */
};

/* The canvas ---------------------------------------------------------------------------------- */

void canvas_new(struct canvas *canvas, struct arena *arena, int width, int height, bool ascii)
{
    *canvas = (struct canvas){
        .width = width,
        .height = height,
        .ascii = ascii,
        .cells = arena_alloc(arena, (size_t)width * (size_t)height * sizeof *canvas->cells),
    };
}

/* Bytes of the character at `text`; a byte that begins none stands for itself. */
static int character_bytes(const char *text)
{
    unsigned char first = (unsigned char)*text;
    int bytes = first < 0x80 ? 1 : first >= 0xf0 ? 4 : first >= 0xe0 ? 3 : first >= 0xc0 ? 2 : 1;

    for (int i = 1; i < bytes; i++) {
        if (((unsigned char)text[i] & 0xc0) != 0x80) {
            return 1;
        }
    }
    return bytes;
}

int canvas_put(struct canvas *canvas, int row, int column, enum style style, const char *text)
{
    if (row < 0 || row >= canvas->height) {
        return column;
    }
    while (*text != '\0' && column < canvas->width) {
        int bytes = character_bytes(text);
        unsigned char first = (unsigned char)*text;
        struct cell *cell = &canvas->cells[row * canvas->width + column];

        if (column >= 0) {
            memset(cell, 0, sizeof *cell);
            cell->style = style;
            if (first < ' ' || first == 0x7f || (first >= 0x80 && (bytes == 1 || canvas->ascii))) {
                cell->text[0] = '?'; /* nothing that a terminal would act upon */
            } else {
                memcpy(cell->text, text, (size_t)bytes);
            }
        }
        text += bytes;
        column++;
    }
    return column;
}

const char *canvas_row(struct arena *arena, const struct canvas *canvas, int row)
{
    struct buf text = {0};
    size_t end = 0;
    const char *result;

    for (int i = 0; i < canvas->width; i++) {
        const char *cell = canvas->cells[row * canvas->width + i].text;

        buf_puts(&text, *cell != '\0' ? cell : " ");
        if (*cell != '\0' && *cell != ' ') {
            end = text.length;
        }
    }
    result = arena_text(arena, text.data != NULL ? text.data : "", end);
    buf_free(&text);
    return result;
}

/* Panels -------------------------------------------------------------------------------------- */

struct panel_line {
    enum style style;
    const char *text;
};

struct panel {
    const char *title;
    struct panel_line lines[LINES_MAX];
    int count;
    int least; /* lines without which it is not worth its title */
};

struct sheet {
    struct arena *arena;
    const struct view *view;
    int width; /* of a column */
    bool ascii;
    struct panel panels[PANELS_MAX];
    int count;
};

static struct panel *panel_add(struct sheet *sheet, const char *title, int least)
{
    struct panel *panel = &sheet->panels[sheet->count++];

    panel->title = title;
    panel->count = 0;
    panel->least = least;
    return panel;
}

static void say(struct sheet *sheet, struct panel *panel, enum style style, const char *format, ...)
    __attribute__((format(printf, 4, 5)));
static void say(struct sheet *sheet, struct panel *panel, enum style style, const char *format, ...)
{
    va_list ap;

    if (panel->count < LINES_MAX) {
        va_start(ap, format);
        panel->lines[panel->count].style = style;
        panel->lines[panel->count++].text = arena_vprintf(sheet->arena, format, ap);
        va_end(ap);
    }
}

/* Words on as many lines as they need. */
static void say_wrapped(struct sheet *sheet, struct panel *panel, enum style style,
                        const char *text)
{
    int width = sheet->width - 2;

    while (*text != '\0' && panel->count < LINES_MAX) {
        int length = (int)strlen(text), cut = length;

        if (length > width) {
            for (cut = width; cut > 0 && text[cut] != ' '; cut--) {
            }
            cut = cut > 0 ? cut : width;
        }
        say(sheet, panel, style, "%.*s", cut, text);
        text += cut;
        while (*text == ' ') {
            text++;
        }
    }
}

const char *panels_sparkline(struct arena *arena, const struct chronicle *chronicle, int numerics,
                             int64_t evaluations, int width, bool ascii)
{
    static const char *const blocks[] = {"▁", "▂", "▃", "▄", "▅", "▆", "▇", "█"};
    static const char *const levels[] = {"_", ".", ",", "-", "~", "=", "*", "#"};
    enum { LEVELS = 8 };
    struct buf text = {0};
    double first = 0, last = 0, now = 0;
    int64_t at = 0;
    const char *result;

    for (int64_t i = 0; i < chronicle->improvement_count; i++) {
        if (chronicle->improvements[i].numerics == numerics) {
            last = chronicle->improvements[i].us;
            first = first > 0 ? first : last;
        }
    }
    for (int column = 0; first > 0 && column < width; column++) {
        double until = (double)evaluations * (column + 1) / width;
        int level;

        for (; at < chronicle->improvement_count &&
               (double)chronicle->improvements[at].evaluation <= until;
             at++) {
            if (chronicle->improvements[at].numerics == numerics) {
                now = chronicle->improvements[at].us;
            }
        }
        if (now == 0) {
            buf_puts(&text, " "); /* nothing had passed by then */
            continue;
        }
        level = first > last ? (int)lround(log(now / last) / log(first / last) * (LEVELS - 1)) : 0;
        level = level < 0 ? 0 : level >= LEVELS ? LEVELS - 1 : level;
        buf_puts(&text, ascii ? levels[level] : blocks[level]);
    }
    result = text.length > 0 ? arena_dup(arena, text.data) : "";
    buf_free(&text);
    return result;
}

/* How long without a gain, and whether that is long. */
static const char *since_gain(struct sheet *sheet, enum style *style)
{
    const struct status_row *row = &sheet->view->status;
    int64_t idle = row->finished - row->best_evaluation;
    bool stale = idle > STALE_EVALUATIONS && idle > row->finished / 2;

    *style = stale ? STYLE_BAD : STYLE_PLAIN;
    return arena_printf(sheet->arena, "found %s ago, %s evaluations since%s",
                        text_duration(sheet->arena, sheet->view->now - row->best_finished_at),
                        text_count(sheet->arena, idle), stale ? ": stale" : "");
}

/* How the best fares against libraries, once it has met some. */
static void add_rivals(struct sheet *sheet, struct panel *panel)
{
    const struct view *view = sheet->view;

    for (int64_t i = 0; i < view->kernel_count; i++) {
        const struct kernel_row *kernel = &view->kernels[i];

        if (kernel->candidate.place == view->status.best_place && kernel->duel_count > 0) {
            say_wrapped(sheet, panel, STYLE_PLAIN, text_rivalry(sheet->arena, kernel));
        }
    }
}

static void add_best(struct sheet *sheet)
{
    const struct status_row *row = &sheet->view->status;
    struct panel *panel = panel_add(sheet, "best", 2);
    double gain = progress_gain(row);
    enum style style;
    const char *since;

    if (row->best_place < 0) {
        say(sheet, panel, STYLE_DIM, "no kernel has passed yet");
        return;
    }
    say(sheet, panel, STYLE_GOOD, "n%lld %s", (long long)row->best_place, row->best_family);
    say(sheet, panel, STYLE_BOLD, "%s %s", text_us(sheet->arena, row->best.us),
        text_interval(sheet->arena, &row->best));
    if (gain > 0) {
        say(sheet, panel, STYLE_PLAIN, "%s the seed's founder", text_gain(sheet->arena, gain));
    }
    add_rivals(sheet, panel);
    since = since_gain(sheet, &style);
    say_wrapped(sheet, panel, style, since);
    say(sheet, panel, STYLE_GOOD, "%s",
        panels_sparkline(sheet->arena, sheet->view->chronicle, 0, row->finished, sheet->width - 2,
                         sheet->ascii));
    say_wrapped(sheet, panel, STYLE_DIM, row->best_genes);
}

static void add_progress(struct sheet *sheet)
{
    const struct status_row *row = &sheet->view->status;
    struct panel *panel = panel_add(sheet, "progress", 2);

    say(sheet, panel, STYLE_BOLD, "%s evaluated, %.0f a minute",
        text_count(sheet->arena, row->finished), progress_rate(row));
    say(sheet, panel, STYLE_PLAIN, "elapsed %s", text_duration(sheet->arena, row->run.elapsed_ms));
    say(sheet, panel, STYLE_PLAIN, "left    %s", progress_left(sheet->arena, row));
    say(sheet, panel, STYLE_PLAIN, "GPU     %s busy",
        text_share(sheet->arena, row->run.device_ms, (double)row->run.elapsed_ms));
    say(sheet, panel, STYLE_PLAIN, "aliases %s of %s proposed",
        text_count(sheet->arena, row->aliases), text_count(sheet->arena, row->proposed));
}

/* A bar of '#' as long as the share; what is left of the line is its. */
static const char *bar(struct sheet *sheet, double share, int width)
{
    int length = (int)lround(fmin(fmax(share, 0), 1) * width);
    char text[256];

    length = length < (int)sizeof text - 1 ? length : (int)sizeof text - 1;
    memset(text, '#', (size_t)(length > 0 ? length : 0));
    text[length > 0 ? length : 0] = '\0';
    return arena_dup(sheet->arena, text);
}

static void add_funnel(struct sheet *sheet)
{
    const struct chronicle *c = sheet->view->chronicle;
    struct panel *panel =
        panel_add(sheet, sheet->view->catching_up ? "funnel (reading)" : "funnel", 3);

    for (enum funnel rung = 0; rung < FUNNEL_RUNGS; rung++) {
        double share =
            c->funnel[0] > 0 ? (double)c->funnel[rung] / (double)c->funnel[FUNNEL_PROPOSED] : 0;

        say(sheet, panel, STYLE_PLAIN, "%-9s %9s %5.1f %% %s", funnel_names[rung],
            text_count(sheet->arena, c->funnel[rung]), 100 * share,
            bar(sheet, share, sheet->width - 30));
    }
}

static void add_verdicts(struct sheet *sheet)
{
    const struct status_row *row = &sheet->view->status;
    struct panel *panel = panel_add(sheet, "verdicts", 1);

    say_wrapped(sheet, panel, STYLE_PLAIN, progress_verdicts(sheet->arena, row));
}

static void add_leaders(struct sheet *sheet)
{
    const struct view *view = sheet->view;
    struct panel *panel = panel_add(sheet, "fastest", 2);

    for (int64_t i = 0; i < view->kernel_count; i++) {
        const struct kernel_row *kernel = &view->kernels[i];

        say(sheet, panel, i == view->selected ? STYLE_BOLD : STYLE_PLAIN, "%s%-7s %10s  %s",
            i == view->selected ? "> " : "  ",
            arena_printf(sheet->arena, "n%lld", (long long)kernel->candidate.place),
            text_us(sheet->arena, kernel->candidate.score.us), kernel->candidate.family);
    }
    if (view->kernel_count == 0) {
        say(sheet, panel, STYLE_DIM, "none yet");
    }
}

/* Operators, families or islands: what each tried and what came of it. */
static void add_shares(struct sheet *sheet, const char *title, const struct share *shares,
                       int count)
{
    struct panel *panel = panel_add(sheet, title, 2);
    int name_width = sheet->width - 29;

    say(sheet, panel, STYLE_DIM, "%-*.*s %6s %6s %5s", name_width, name_width, "", "tried", "valid",
        "gains");
    for (int i = 0; i < count; i++) {
        const struct share *share = &shares[i];
        const char *name =
            *share->name != '\0' ? share->name : arena_printf(sheet->arena, "island %d", i);

        say(sheet, panel, STYLE_PLAIN, "%-*.*s %6s %6s %5s", name_width, name_width, name,
            text_count(sheet->arena, share->tried),
            text_share(sheet->arena, (double)share->passed, (double)share->tried),
            text_count(sheet->arena, share->improved));
    }
}

static const char *known(struct sheet *sheet, double value, const char *unit)
{
    return isnan(value) ? "-" : arena_printf(sheet->arena, "%.0f %s", value, unit);
}

static void add_workers(struct sheet *sheet)
{
    const struct view *view = sheet->view;
    const struct device_state *device = &view->device;
    struct panel *panel = panel_add(sheet, "device and workers", 1);

    if (!isnan(device->sm_clock_mhz) || !isnan(device->power_w)) {
        say(sheet, panel, STYLE_PLAIN, "%s, %s, %s%s", known(sheet, device->sm_clock_mhz, "MHz"),
            known(sheet, device->power_w, "W"), known(sheet, device->temperature_c, "C"),
            device->throttle_reasons == 4  ? ", at the power limit"
            : device->throttle_reasons > 0 ? ", throttled"
                                           : "");
    }
    for (int64_t i = 0; i < view->in_flight_count; i++) {
        const struct in_flight_row *row = &view->in_flight[i];

        say(sheet, panel, STYLE_PLAIN, "%-10.10s %-8s n%lld, %s", row->worker, row->role,
            (long long)row->place, text_duration(sheet->arena, view->now - row->begun_at));
    }
    if (view->in_flight_count == 0) {
        say(sheet, panel, STYLE_DIM, "no job is out at this moment");
    }
}

/* The sheet ----------------------------------------------------------------------------------- */

static void draw_panel(struct canvas *canvas, const struct panel *panel, int row, int column,
                       int width, int lines)
{
    const char *rule = canvas->ascii ? "-" : "─";
    int at = canvas_put(canvas, row, column, STYLE_DIM, rule);

    at = canvas_put(canvas, row, at, STYLE_DIM, " ");
    at = canvas_put(canvas, row, at, STYLE_BOLD, panel->title);
    at = canvas_put(canvas, row, at, STYLE_DIM, " ");
    while (at < column + width - 1) {
        at = canvas_put(canvas, row, at, STYLE_DIM, rule);
    }
    for (int i = 0; i < lines; i++) {
        canvas_put(canvas, row + 1 + i, column + 1, panel->lines[i].style, panel->lines[i].text);
        /* What is too long has run into the next columns, which are drawn later. */
        for (int x = column + width - 1; x < canvas->width; x++) {
            memset(&canvas->cells[(row + 1 + i) * canvas->width + x], 0, sizeof(struct cell));
        }
    }
}

/* Each panel goes where there is most room left; what has none is left out. */
static void lay_out(struct canvas *canvas, const struct sheet *sheet, int columns)
{
    int used[COLUMNS_MAX] = {0}, room = canvas->height - 2;
    int where[PANELS_MAX], at[PANELS_MAX], lines[PANELS_MAX];

    for (int i = 0; i < sheet->count; i++) {
        const struct panel *panel = &sheet->panels[i];
        int best = 0;

        for (int column = 1; column < columns; column++) {
            best = used[column] < used[best] ? column : best;
        }
        lines[i] = room - used[best] - 1 < panel->count ? room - used[best] - 1 : panel->count;
        where[i] = lines[i] >= panel->least ? best : -1;
        if (where[i] >= 0) {
            at[i] = 1 + used[best];
            used[best] += 1 + lines[i];
        }
    }
    for (int column = 0; column < columns; column++) { /* left to right: see draw_panel */
        for (int i = 0; i < sheet->count; i++) {
            if (where[i] == column) {
                draw_panel(canvas, &sheet->panels[i], at[i], column * sheet->width, sheet->width,
                           lines[i]);
            }
        }
    }
}

static void draw_header(struct canvas *canvas, struct arena *arena, const struct view *view)
{
    const struct status_row *row = &view->status;
    int at = canvas_put(canvas, 0, 1, STYLE_BOLD, arena_printf(arena, "evo: %s", row->run.name));

    canvas_put(canvas, 0, at + 2, STYLE_PLAIN,
               arena_printf(arena, "%s  %s", row->device[0] != '\0' ? row->device : "no judge yet",
                            view->state));
}

void panels_draw(struct canvas *canvas, struct arena *arena, const struct view *view)
{
    int columns = canvas->width / COLUMN_WIDTH_MIN;
    struct sheet *sheet = arena_alloc(arena, sizeof *sheet);
    const struct chronicle *c = view->chronicle;

    columns = columns < 1 ? 1 : columns > COLUMNS_MAX ? COLUMNS_MAX : columns;
    *sheet = (struct sheet){
        .arena = arena, .view = view, .width = canvas->width / columns, .ascii = canvas->ascii};
    add_best(sheet);
    add_progress(sheet);
    add_leaders(sheet);
    add_funnel(sheet);
    add_workers(sheet);
    add_shares(sheet, "operators", c->operators, c->operator_count);
    if (c->family_count > 1) {
        add_shares(sheet, "families", c->families, c->family_count);
    } else {
        add_shares(sheet, "islands", c->islands, c->island_count);
    }
    add_verdicts(sheet);
    draw_header(canvas, arena, view);
    lay_out(canvas, sheet, columns);
    canvas_put(canvas, canvas->height - 1, 1, STYLE_DIM,
               canvas->width < 60 ? "q quit  Enter details  ? help"
                                  : "q quit   up/down choose   Enter details   s stop the search   "
                                    "? help");
}
