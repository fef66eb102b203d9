#include "cli/text.h"

#include <assert.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/str.h"
#include "fitness/problem.h"

/* ---- numbers ---- */

const char *text_count(struct arena *arena, int64_t count)
{
    char digits[32], grouped[48];
    int length = snprintf(digits, sizeof digits, "%lld", (long long)(count < 0 ? -count : count));
    int at = 0;

    if (count < 0) {
        grouped[at++] = '-';
    }
    for (int i = 0; i < length; i++) {
        /* Four digits read well without a gap; from five on they are grouped. */
        if (i > 0 && length > 4 && (length - i) % 3 == 0) {
            grouped[at++] = ' ';
        }
        grouped[at++] = digits[i];
    }
    return arena_text(arena, grouped, (size_t)at);
}

static int digits_behind_point(double us)
{
    return us >= 1000 ? 0 : us >= 100 ? 1 : us >= 10 ? 2 : 3;
}

const char *text_us(struct arena *arena, double us)
{
    if (!(us > 0)) {
        return "-";
    }
    return arena_printf(arena, "%.*f us", digits_behind_point(us), us);
}

const char *text_interval(struct arena *arena, const struct score *score)
{
    int digits = digits_behind_point(score->us);

    if (!(score->us > 0)) {
        return "-";
    }
    return arena_printf(arena, "[%.*f, %.*f]", digits, score->low, digits, score->high);
}

const char *text_duration(struct arena *arena, int64_t ms)
{
    int64_t s = ms / 1000;

    if (ms < 0) {
        return "0 s";
    }
    if (ms < 10 * 1000) {
        return arena_printf(arena, "%.1f s", (double)ms / 1000);
    }
    if (s < 60) {
        return arena_printf(arena, "%lld s", (long long)s);
    }
    if (s < 3600) {
        return arena_printf(arena, "%lld min %02lld s", (long long)(s / 60), (long long)(s % 60));
    }
    if (s < 48 * 3600) {
        return arena_printf(arena, "%lld h %02lld min", (long long)(s / 3600),
                            (long long)(s / 60 % 60));
    }
    return arena_printf(arena, "%lld days %02lld h", (long long)(s / 86400),
                        (long long)(s / 3600 % 24));
}

const char *text_share(struct arena *arena, double part, double whole)
{
    return whole > 0 ? arena_printf(arena, "%.0f %%", 100 * part / whole) : "-";
}

const char *text_gain(struct arena *arena, double gain)
{
    return gain > 0 ? arena_printf(arena, "%.2fx", gain) : "-";
}

/* "cudnn, cublas": those that were timed. */
static const char *rivals_timed(struct arena *arena, const struct kernel_row *kernel)
{
    const char *names = ",";

    for (int64_t i = 0; i < kernel->duel_count; i++) {
        const struct duel_row *row = &kernel->duels[i];

        if (*row->reason == '\0' &&
            strstr(names, arena_printf(arena, ", %s,", row->rival)) == NULL) {
            names = arena_printf(arena, "%s %s,", names, row->rival);
        }
    }
    return arena_text(arena, names + 2, strlen(names) - 3);
}

const char *text_rivalry(struct arena *arena, const struct kernel_row *kernel)
{
    struct rivalry_facts facts = rivalry_of(kernel->duels, kernel->duel_count);
    const char *names, *text;

    if (facts.timed == 0) {
        return kernel->duel_count == 0
                   ? ""
                   : arena_printf(arena, "not timed: %s", kernel->duels[0].reason);
    }
    names = rivals_timed(arena, kernel);
    text = arena_printf(arena, "%.3fx as fast as %s%s, 95 %% in [%.3f, %.3f]", facts.mean.value,
                        strchr(names, ',') != NULL ? "the best of " : "", names, facts.mean.low,
                        facts.mean.high);
    if (facts.timed > 1) {
        text = arena_printf(arena, "%s; least: %.3fx as fast as %s on %s", text,
                            facts.worst->graph.speedup.value, facts.worst->rival,
                            kernel->problems[facts.worst->problem].problem);
    }
    return facts.timed == kernel->problem_count
               ? text
               : arena_printf(arena, "%s; %d of %d shapes", text, facts.timed,
                              kernel->problem_count);
}

const char *text_bytes(struct arena *arena, int64_t bytes)
{
    if (bytes < 1024) {
        return arena_printf(arena, "%lld B", (long long)bytes);
    }
    return arena_printf(arena, "%.1f KiB", (double)bytes / 1024);
}

const char *text_hash12(struct arena *arena, const struct hash *hash)
{
    char hex[HASH_HEX + 1];

    if (hash_is_zero(hash)) {
        return "-";
    }
    hash_to_hex(hash, hex);
    return arena_text(arena, hex, 12);
}

const char *text_when(struct arena *arena, int64_t wall_ms)
{
    char text[24];

    if (wall_ms <= 0) {
        return "-";
    }
    clock_wall_text(wall_ms, text);
    return arena_dup(arena, text);
}

const char *text_numerics(int numerics) { return numerics == 0 ? "fp32" : "fp16"; }

/* ---- genes as texts: "NAME=value NAME=value" ---- */

/* Steps over the pairs; false at the end. */
static bool genes_next(const char **at, const char **name, size_t *name_length, const char **value,
                       size_t *value_length)
{
    const char *equals;
    size_t length;

    *at += strspn(*at, " ");
    length = strcspn(*at, " ");
    equals = memchr(*at, '=', length);
    if (length == 0 || equals == NULL) {
        return false;
    }
    *name = *at;
    *name_length = (size_t)(equals - *at);
    *value = equals + 1;
    *value_length = length - *name_length - 1;
    *at += length;
    return true;
}

const char *genes_value(struct arena *arena, const char *genes, const char *name)
{
    const char *key, *value;
    size_t key_length, value_length;

    while (genes_next(&genes, &key, &key_length, &value, &value_length)) {
        if (strlen(name) == key_length && memcmp(name, key, key_length) == 0) {
            return arena_text(arena, value, value_length);
        }
    }
    return NULL;
}

const char *genes_change(struct arena *arena, const char *from, const char *to)
{
    const char *at = to, *key, *value;
    size_t key_length, value_length;
    struct buf text = {0};
    const char *result;

    while (genes_next(&at, &key, &key_length, &value, &value_length)) {
        const char *name = arena_text(arena, key, key_length);
        const char *now = arena_text(arena, value, value_length);
        const char *old = genes_value(arena, from, name);

        if (old == NULL) {
            buf_printf(&text, "%s%s = %s", text.length > 0 ? ", " : "", name, now);
        } else if (strcmp(old, now) != 0) {
            buf_printf(&text, "%s%s %s -> %s", text.length > 0 ? ", " : "", name, old, now);
        }
    }
    result = text.length > 0 ? arena_dup(arena, text.data) : "nothing";
    buf_free(&text);
    return result;
}

double kernel_flops(const struct kernel_row *kernel)
{
    double logs = 0;

    for (int i = 0; i < kernel->problem_count; i++) {
        struct problem problem;
        struct err ignored;

        if (!problem_parse(kernel->problems[i].problem, &problem, &ignored)) {
            return 0;
        }
        logs += log(problem_flops(&problem));
    }
    return kernel->problem_count > 0 ? exp(logs / kernel->problem_count) : 0;
}

/* ---- colours ---- */

bool style_wanted(FILE *out)
{
    const char *no_color = getenv("NO_COLOR"), *term = getenv("TERM");

    return (no_color == NULL || no_color[0] == '\0') &&
           (term == NULL || strcmp(term, "dumb") != 0) && isatty(fileno(out));
}

const char *style_on(FILE *out, enum style style)
{
    static const char *const codes[] = {[STYLE_PLAIN] = "",
                                        [STYLE_BOLD] = "\033[1m",
                                        [STYLE_DIM] = "\033[2m",
                                        [STYLE_GOOD] = "\033[32m",
                                        [STYLE_BAD] = "\033[31m"};

    return style_wanted(out) ? codes[style] : "";
}

const char *style_off(FILE *out) { return style_wanted(out) ? "\033[0m" : ""; }

/* ---- tables ---- */

struct row {
    const char **cells;
    enum style style;
    struct row *next;
};

struct table {
    struct arena *arena;
    const char *align;
    int columns;
    int *widths;
    struct row *first, **tail;
};

/* Characters, not bytes. */
static int text_width(const char *text)
{
    int width = 0;

    for (; *text != '\0'; text++) {
        width += ((unsigned char)*text & 0xc0) != 0x80;
    }
    return width;
}

struct table *table_new(struct arena *arena, const char *align, const char *const *heads)
{
    struct table *table = arena_alloc(arena, sizeof *table);

    table->arena = arena;
    table->align = align;
    table->columns = (int)strlen(align);
    table->widths = arena_alloc(arena, (size_t)table->columns * sizeof *table->widths);
    table->tail = &table->first;
    table_row(table, STYLE_BOLD, heads);
    return table;
}

void table_row(struct table *table, enum style style, const char *const *cells)
{
    struct row *row = arena_alloc(table->arena, sizeof *row);

    row->style = style;
    row->cells = arena_alloc(table->arena, (size_t)table->columns * sizeof *row->cells);
    for (int i = 0; i < table->columns; i++) {
        const char *cell = cells[i] != NULL && cells[i][0] != '\0' ? cells[i] : "-";
        int width = text_width(cell);

        row->cells[i] = arena_dup(table->arena, cell);
        table->widths[i] = width > table->widths[i] ? width : table->widths[i];
    }
    *table->tail = row;
    table->tail = &row->next;
}

void table_print(const struct table *table, FILE *out)
{
    for (const struct row *row = table->first; row != NULL; row = row->next) {
        fputs(style_on(out, row->style), out);
        for (int i = 0; i < table->columns; i++) {
            int blanks = table->widths[i] - text_width(row->cells[i]);
            bool right = table->align[i] == 'r', last = i + 1 == table->columns;

            fprintf(out, "%*s%s%*s", right ? blanks : 0, "", row->cells[i],
                    right || last ? 0 : blanks, "");
            fputs(last ? "" : "  ", out);
        }
        fputs(row->style != STYLE_PLAIN ? style_off(out) : "", out);
        fputc('\n', out);
    }
}

/* ---- JSON ---- */

json_t *json_number(double value) { return isfinite(value) ? json_real(value) : json_null(); }

json_t *json_text(const char *text)
{
    json_t *value;
    char *plain;

    if (text == NULL) {
        return json_null();
    }
    value = json_string(text);
    if (value != NULL) {
        return value;
    }
    plain = xstrdup(text);
    for (char *at = plain; *at != '\0'; at++) {
        if ((unsigned char)*at >= 0x80) {
            *at = '?';
        }
    }
    value = json_string(plain);
    free(plain);
    return value;
}

json_t *json_score(const struct score *score)
{
    if (!(score->us > 0)) {
        return json_null();
    }
    return json_pack("{s:f, s:f, s:f}", "us", score->us, "low", score->low, "high", score->high);
}

static const char *problem_of(const struct kernel_row *kernel, int problem)
{
    return problem >= 0 && problem < kernel->problem_count ? kernel->problems[problem].problem : "";
}

static json_t *json_duel_score(const struct duel_score *score)
{
    return json_pack("{s:o, s:o, s:o, s:o, s:o}", "us", json_number(score->us[0]), "rival_us",
                     json_number(score->us[1]), "speedup", json_number(score->speedup.value), "low",
                     json_number(score->speedup.low), "high", json_number(score->speedup.high));
}

json_t *json_rivals(const struct kernel_row *kernel)
{
    json_t *list = json_array();

    for (int64_t i = 0; i < kernel->duel_count; i++) {
        const struct duel_row *row = &kernel->duels[i];
        bool timed = *row->reason == '\0';

        json_array_append_new(
            list,
            json_pack("{s:o, s:o, s:o, s:o, s:o, s:o, s:b, s:o, s:o, s:b, s:I}", "problem",
                      json_text(problem_of(kernel, row->problem)), "rival", json_text(row->rival),
                      "plan", json_text(row->plan), "reason", json_text(row->reason), "graph",
                      timed ? json_duel_score(&row->graph) : json_null(), "span",
                      timed ? json_duel_score(&row->span) : json_null(), "hardest",
                      row == rivalry_on(kernel->duels, kernel->duel_count, row->problem),
                      "sm_clock_mhz", json_number(row->sm_clock_mhz), "power_w",
                      json_number(row->power_w), "power_limited", row->power_limited,
                      "measured_at", (json_int_t)row->measured_at));
    }
    return list;
}

json_t *json_promotion(const struct promotion_facts *facts)
{
    if (facts->searched == 0) {
        return json_null();
    }
    return json_pack("{s:o, s:I, s:o}", "searched", json_score(&facts->score), "tried",
                     (json_int_t)facts->tried, "quarantine", json_text(facts->quarantine));
}

json_t *json_hash(const struct hash *hash)
{
    char hex[HASH_HEX + 1];

    if (hash_is_zero(hash)) {
        return json_null();
    }
    hash_to_hex(hash, hex);
    return json_string(hex);
}

json_t *json_genes(const char *genes)
{
    json_t *object = json_object();
    struct arena *arena = arena_new();
    const char *key, *value;
    size_t key_length, value_length;

    while (genes_next(&genes, &key, &key_length, &value, &value_length)) {
        const char *text = arena_text(arena, value, value_length);
        int64_t number;

        json_object_set_new(object, arena_text(arena, key, key_length),
                            str_to_i64(text, &number) ? json_integer(number) : json_text(text));
    }
    arena_free(arena);
    return object;
}

static json_t *json_parents(const struct candidate_row *row)
{
    json_t *parents = json_array();

    for (int i = 0; i < row->parent_count; i++) {
        json_array_append_new(parents, json_integer(row->parents[i]));
    }
    return parents;
}

json_t *json_candidate(const struct candidate_row *row)
{
    json_t *object = json_object();

    json_object_set_new(object, "run", json_integer(row->run));
    json_object_set_new(object, "place", json_integer(row->place));
    json_object_set_new(object, "family", json_text(row->family));
    json_object_set_new(object, "genes", json_genes(row->genes));
    json_object_set_new(object, "island", json_integer(row->island));
    json_object_set_new(object, "operator", json_text(row->operator_name));
    json_object_set_new(object, "parents", json_parents(row));
    json_object_set_new(object, "depth", json_integer(row->depth));
    json_object_set_new(object, "numerics", json_text(text_numerics(row->numerics)));
    json_object_set_new(object, "state",
                        json_text(row->state == CANDIDATE_DONE ? "done" : "queued"));
    json_object_set_new(object, "verdict",
                        row->state == CANDIDATE_DONE ? json_text(verdict_names[row->verdict])
                                                     : json_null());
    json_object_set_new(object, "reason", json_text(row->reason));
    json_object_set_new(object, "replayed", json_boolean(row->replayed));
    json_object_set_new(object, "alias_of",
                        row->alias_of >= 0 ? json_integer(row->alias_of) : json_null());
    json_object_set_new(object, "genome_hash", json_hash(&row->genome_hash));
    json_object_set_new(object, "source_hash", json_hash(&row->source_hash));
    json_object_set_new(object, "code_key", json_hash(&row->code_key));
    json_object_set_new(object, "plan_key", json_hash(&row->plan_key));
    json_object_set_new(object, "score", json_score(&row->score));
    json_object_set_new(object, "device_ms", json_number(row->device_ms));
    return object;
}
