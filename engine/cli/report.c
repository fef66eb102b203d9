#include "cli/report.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/str.h"
#include "cli/chronicle.h"
#include "cli/source.h"
#include "cli/text.h"

enum {
    PIECE = 50000,
    KERNELS_MAX = 60, /* told in full */
    SOURCES_MAX = 10, /* with source, and that of their first parents */
    VALUES_MAX = 64,  /* of a gene */
    PAIRED_MAX = 16,  /* values of a gene, the first seen, whose pairs with others are told */
    EVENTS_MAX = 200,
    STRIP_MAX = 400, /* readings of the device over time */
    NO_TIME = 0xffff,
};

/* Rows ---------------------------------------------------------------------------------------- */

/* What the columns keep of a place. */
struct dot {
    int32_t parents[2];
    int32_t seconds; /* since the run began */
    float us;        /* 0: none */
    uint8_t verdict, numerics, family, operator_;
    bool keep;
};

/* What one value of a gene, or a pair of values, has brought. */
struct tally {
    int64_t tried, passed;
    double best_us, log_sum; /* of those that passed */
};

struct gene_heat {
    const char *name;
    const char *values[VALUES_MAX];
    struct tally tallies[VALUES_MAX];
    int value_count;
};

struct family_heat {
    struct gene_heat genes[GENES_MAX];
    int gene_count;
    struct tally *pairs; /* see pair_at; half of it is used */
};

struct collector {
    struct arena *arena;
    struct chronicle chronicle;
    struct dot *dots;
    int64_t count, room;
    int64_t began_at;
    struct family_heat heat[CHRONICLE_NAMES_MAX];
};

static void tally_add(struct tally *tally, const struct story_row *row)
{
    tally->tried++;
    if (row->score.us > 0) {
        tally->passed++;
        tally->log_sum += log(row->score.us);
        if (tally->best_us == 0 || row->score.us < tally->best_us) {
            tally->best_us = row->score.us;
        }
    }
}

static int value_index(struct collector *collector, struct gene_heat *gene, const char *value)
{
    for (int i = 0; i < gene->value_count; i++) {
        if (strcmp(gene->values[i], value) == 0) {
            return i;
        }
    }
    if (gene->value_count == VALUES_MAX) {
        return -1;
    }
    gene->values[gene->value_count] = arena_dup(collector->arena, value);
    return gene->value_count++;
}

static struct gene_heat *gene_heat(struct collector *collector, struct family_heat *family,
                                   const char *name)
{
    for (int i = 0; i < family->gene_count; i++) {
        if (strcmp(family->genes[i].name, name) == 0) {
            return &family->genes[i];
        }
    }
    if (family->gene_count == GENES_MAX) {
        return NULL;
    }
    family->genes[family->gene_count].name = arena_dup(collector->arena, name);
    return &family->genes[family->gene_count++];
}

static struct tally *pair_at(struct family_heat *family, int gene_a, int value_a, int gene_b,
                             int value_b)
{
    size_t a = (size_t)(gene_a * PAIRED_MAX + value_a), b = (size_t)(gene_b * PAIRED_MAX + value_b);

    return &family->pairs[a * GENES_MAX * PAIRED_MAX + b];
}

static void pairs_add(struct family_heat *family, const int *genes, const int *values, int count,
                      const struct story_row *row)
{
    const size_t side = (size_t)GENES_MAX * PAIRED_MAX;

    if (family->pairs == NULL) {
        family->pairs = xcalloc(side * side, sizeof *family->pairs);
    }
    for (int i = 0; i < count; i++) {
        for (int j = i + 1; j < count; j++) {
            if (values[i] < PAIRED_MAX && values[j] < PAIRED_MAX) {
                tally_add(pair_at(family, genes[i], values[i], genes[j], values[j]), row);
            }
        }
    }
}

/* "A=1 B=2": each value's tally, and each pair's. */
static void heat_add(struct collector *collector, int at, const struct story_row *row)
{
    struct family_heat *family = &collector->heat[at];
    int genes[GENES_MAX], values[GENES_MAX], count = 0;
    char *text = xstrdup(row->genes), *rest = NULL;

    for (char *word = strtok_r(text, " ", &rest); word != NULL; word = strtok_r(NULL, " ", &rest)) {
        char *equals = strchr(word, '=');
        struct gene_heat *gene;
        int value;

        if (equals == NULL || count == GENES_MAX) {
            continue;
        }
        *equals = '\0';
        gene = gene_heat(collector, family, word);
        value = gene == NULL ? -1 : value_index(collector, gene, equals + 1);
        if (value < 0) {
            continue; /* beyond the limits above: not in the maps */
        }
        tally_add(&gene->tallies[value], row);
        genes[count] = (int)(gene - family->genes);
        values[count++] = value;
    }
    pairs_add(family, genes, values, count, row);
    free(text);
}

static int name_index(const struct share *shares, int count, const char *name)
{
    for (int i = 0; i < count; i++) {
        if (strcmp(shares[i].name, name) == 0) {
            return i;
        }
    }
    return count - 1;
}

static struct dot dot_of(const struct collector *collector, const struct story_row *row)
{
    const struct chronicle *c = &collector->chronicle;

    return (struct dot){
        .parents = {(int32_t)row->parents[0], (int32_t)row->parents[1]},
        .seconds = (int32_t)((row->finished_at - collector->began_at) / 1000),
        .us = (float)row->score.us,
        .verdict = (uint8_t)row->verdict,
        .numerics = (uint8_t)row->numerics,
        .family = (uint8_t)name_index(c->families, c->family_count, row->family),
        .operator_ = (uint8_t)name_index(c->operators, c->operator_count, row->operator_name),
    };
}

static void visit(void *context, const struct story_row *row)
{
    struct collector *collector = context;
    struct dot dot;

    chronicle_add(&collector->chronicle, row);
    dot = dot_of(collector, row);
    heat_add(collector, dot.family, row);
    while (collector->count <= row->place) { /* places without a row do not occur; be sure */
        if (collector->count == collector->room) {
            collector->room = collector->room > 0 ? 2 * collector->room : 4096;
            collector->dots =
                xrealloc(collector->dots, (size_t)collector->room * sizeof *collector->dots);
        }
        collector->dots[collector->count++] = dot;
    }
}

static bool collect(struct collector *collector, struct store *store, struct err *err)
{
    int64_t count;

    do {
        if (!query_story(store, collector->chronicle.run, collector->count - 1, PIECE, visit,
                         collector, &count, err)) {
            return false;
        }
    } while (count == PIECE);
    return true;
}

/* Columns ------------------------------------------------------------------------------------- */

/* Keeps improvements with all their ancestors; the rest evenly, as far as there is room. */
static void choose_dots(struct collector *collector)
{
    const struct chronicle *c = &collector->chronicle;
    int64_t step = (collector->count + REPORT_ROWS_MAX - 1) / REPORT_ROWS_MAX;

    for (int64_t i = 0; i < collector->count; i++) {
        collector->dots[i].keep = step <= 1 || i % step == 0;
    }
    for (int64_t i = 0; i < c->improvement_count; i++) {
        collector->dots[c->improvements[i].place].keep = true;
    }
    for (int64_t i = collector->count - 1; step > 1 && i >= 0; i--) { /* children before parents */
        for (int k = 0; collector->dots[i].keep && i % step != 0 && k < 2; k++) {
            int32_t parent = collector->dots[i].parents[k];

            if (parent >= 0) {
                collector->dots[parent].keep = true;
            }
        }
    }
}

static json_t *json_base64(const struct buf *bytes)
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    const unsigned char *in = (const unsigned char *)bytes->data;
    size_t length = (bytes->length + 2) / 3 * 4;
    char *text = xmalloc(length + 1), *to = text;
    json_t *value;

    for (size_t i = 0; i < bytes->length; i += 3) {
        size_t left = bytes->length - i;
        uint32_t three = (uint32_t)in[i] << 16 | (left > 1 ? (uint32_t)in[i + 1] << 8 : 0) |
                         (left > 2 ? in[i + 2] : 0);

        *to++ = digits[three >> 18];
        *to++ = digits[three >> 12 & 63];
        *to++ = left > 1 ? digits[three >> 6 & 63] : '=';
        *to++ = left > 2 ? digits[three & 63] : '=';
    }
    *to = '\0';
    value = json_stringn(text, length);
    free(text);
    return value;
}

static void add_le(struct buf *column, uint32_t value, int bytes)
{
    for (int i = 0; i < bytes; i++, value >>= 8) {
        unsigned char byte = value & 0xff;

        buf_add(column, &byte, 1);
    }
}

struct columns {
    struct buf places, us, times, parents, seconds, kinds;
    int64_t count;
    double us_low, us_high; /* ends of the logarithmic scale of `us` */
    int32_t seconds_high;
};

static void scale(const struct collector *collector, struct columns *columns)
{
    for (int64_t i = 0; i < collector->count; i++) {
        const struct dot *dot = &collector->dots[i];

        if (dot->us > 0) {
            columns->us_low =
                columns->us_low == 0 || dot->us < columns->us_low ? dot->us : columns->us_low;
            columns->us_high = dot->us > columns->us_high ? dot->us : columns->us_high;
        }
        columns->seconds_high =
            dot->seconds > columns->seconds_high ? dot->seconds : columns->seconds_high;
    }
}

static uint32_t us_step(const struct columns *columns, float us)
{
    double span = log(columns->us_high / columns->us_low);

    if (!(us > 0)) {
        return NO_TIME;
    }
    return span > 0 ? (uint32_t)lround(log((double)us / columns->us_low) / span * (NO_TIME - 1))
                    : 0;
}

/* Index among the kept, plus one; 0: none, or not kept. */
static uint32_t kept_parent(const int32_t *kept, int32_t parent)
{
    return parent >= 0 && kept[parent] >= 0 ? (uint32_t)kept[parent] + 1 : 0;
}

static void fill_columns(const struct collector *collector, struct columns *columns)
{
    int32_t *kept = xmalloc((size_t)(collector->count + 1) * sizeof *kept);
    int32_t next = 0;

    for (int64_t i = 0; i < collector->count; i++) {
        kept[i] = collector->dots[i].keep ? next++ : -1;
    }
    for (int64_t i = 0; i < collector->count; i++) {
        const struct dot *dot = &collector->dots[i];

        if (!dot->keep) {
            continue;
        }
        add_le(&columns->places, (uint32_t)i, 3);
        add_le(&columns->us, us_step(columns, dot->us), 2);
        add_le(&columns->parents, kept_parent(kept, dot->parents[0]), 3);
        add_le(&columns->kinds, dot->verdict | (uint32_t)dot->numerics << 4, 1);
        add_le(&columns->kinds, dot->family, 1);
        add_le(&columns->kinds, dot->operator_, 1);
        add_le(&columns->seconds,
               columns->seconds_high > 0
                   ? (uint32_t)((int64_t)dot->seconds * 0xffff / columns->seconds_high)
                   : 0,
               2);
        columns->count++;
    }
    free(kept);
}

/* Second parents are few: pairs of a child's and a parent's index. */
static json_t *json_arcs(const struct collector *collector)
{
    json_t *arcs = json_array();
    int64_t limit = 5000;

    for (int64_t i = collector->count - 1; i >= 0 && limit > 0; i--) {
        const struct dot *dot = &collector->dots[i];

        if (dot->keep && dot->parents[1] >= 0 && collector->dots[dot->parents[1]].keep) {
            json_array_append_new(arcs,
                                  json_pack("[I, I]", (json_int_t)i, (json_int_t)dot->parents[1]));
            limit--;
        }
    }
    return arcs;
}

static json_t *json_columns(struct collector *collector)
{
    struct columns columns = {.count = 0};
    json_t *value;

    choose_dots(collector);
    scale(collector, &columns);
    fill_columns(collector, &columns);
    value = json_pack("{s:I, s:I, s:o, s:o, s:o, s:o, s:o, s:f, s:f, s:i, s:o}", "count",
                      (json_int_t)columns.count, "of", (json_int_t)collector->count, "place",
                      json_base64(&columns.places), "us", json_base64(&columns.us), "parent",
                      json_base64(&columns.parents), "kind", json_base64(&columns.kinds), "time",
                      json_base64(&columns.seconds), "us_low", columns.us_low, "us_high",
                      columns.us_high, "seconds", (int)columns.seconds_high, "arcs",
                      json_arcs(collector));
    buf_free(&columns.places);
    buf_free(&columns.us);
    buf_free(&columns.parents);
    buf_free(&columns.kinds);
    buf_free(&columns.seconds);
    return value;
}

/* Maps ---------------------------------------------------------------------------------------- */

static json_t *json_tally(const struct tally *tally)
{
    double mean = tally->passed > 0 ? exp(tally->log_sum / (double)tally->passed) : NAN;

    return json_pack("[I, I, o, o]", (json_int_t)tally->tried, (json_int_t)tally->passed,
                     json_number(tally->passed > 0 ? tally->best_us : NAN), json_number(mean));
}

/* Pairs that were tried at all: [gene, value, gene, value, tried, passed, best]. */
static json_t *json_pairs(struct family_heat *family)
{
    json_t *pairs = json_array();

    for (int a = 0; family->pairs != NULL && a < family->gene_count; a++) {
        for (int b = a + 1; b < family->gene_count; b++) {
            for (int u = 0; u < family->genes[a].value_count && u < PAIRED_MAX; u++) {
                for (int v = 0; v < family->genes[b].value_count && v < PAIRED_MAX; v++) {
                    const struct tally *tally = pair_at(family, a, u, b, v);

                    if (tally->tried > 0) {
                        json_array_append_new(
                            pairs,
                            json_pack("[i, i, i, i, I, I, o]", a, u, b, v, (json_int_t)tally->tried,
                                      (json_int_t)tally->passed,
                                      json_number(tally->passed > 0 ? tally->best_us : NAN)));
                    }
                }
            }
        }
    }
    return pairs;
}

static json_t *json_heat(struct collector *collector)
{
    const struct chronicle *c = &collector->chronicle;
    json_t *maps = json_array();

    for (int f = 0; f < c->family_count; f++) {
        struct family_heat *family = &collector->heat[f];
        json_t *genes = json_array();

        for (int g = 0; g < family->gene_count; g++) {
            const struct gene_heat *gene = &family->genes[g];
            json_t *values = json_array();

            for (int v = 0; v < gene->value_count; v++) {
                json_array_append_new(values,
                                      json_pack("{s:o, s:o}", "value", json_text(gene->values[v]),
                                                "tally", json_tally(&gene->tallies[v])));
            }
            json_array_append_new(
                genes, json_pack("{s:o, s:o}", "name", json_text(gene->name), "values", values));
        }
        json_array_append_new(maps,
                              json_pack("{s:o, s:o, s:o}", "family", json_text(c->families[f].name),
                                        "genes", genes, "pairs", json_pairs(family)));
    }
    return maps;
}

static json_t *json_shares(const struct share *shares, int count)
{
    json_t *list = json_array();

    for (int i = 0; i < count; i++) {
        json_array_append_new(
            list, json_pack("{s:o, s:I, s:I, s:I, s:I, s:o}", "name", json_text(shares[i].name),
                            "tried", (json_int_t)shares[i].tried, "passed",
                            (json_int_t)shares[i].passed, "aliases", (json_int_t)shares[i].aliases,
                            "improved", (json_int_t)shares[i].improved, "best_us",
                            json_number(shares[i].best_us > 0 ? shares[i].best_us : NAN)));
    }
    return list;
}

static json_t *json_improvements(const struct chronicle *c)
{
    json_t *list = json_array();

    for (int64_t i = 0; i < c->improvement_count; i++) {
        const struct improvement *one = &c->improvements[i];

        json_array_append_new(
            list,
            json_pack("{s:I, s:I, s:I, s:I, s:i, s:f, s:f, s:f, s:o, s:o}", "place",
                      (json_int_t)one->place, "parent", (json_int_t)one->parent, "evaluation",
                      (json_int_t)one->evaluation, "at", (json_int_t)one->at, "numerics",
                      one->numerics, "us", one->us, "low", one->low, "high", one->high, "family",
                      json_text(one->family), "operator", json_text(one->operator_name)));
    }
    return list;
}

static json_t *json_funnel(const struct chronicle *c)
{
    json_t *list = json_array();

    for (enum funnel rung = 0; rung < FUNNEL_RUNGS; rung++) {
        json_array_append_new(list, json_pack("{s:s, s:I}", "rung", funnel_names[rung], "count",
                                              (json_int_t)c->funnel[rung]));
    }
    return list;
}

/* Kernels ------------------------------------------------------------------------------------- */

static json_t *json_problems(const struct kernel_row *kernel)
{
    json_t *list = json_array();

    for (int i = 0; i < kernel->problem_count; i++) {
        json_array_append_new(list, json_pack("{s:o, s:o, s:o, s:b}", "problem",
                                              json_text(kernel->problems[i].problem), "score",
                                              json_score(&kernel->problems[i].score), "graph_us",
                                              json_number(kernel->problems[i].graph_us), "quick",
                                              kernel->problems[i].quick));
    }
    return list;
}

static bool json_metrics(struct store *store, struct arena *arena, const struct kernel_row *kernel,
                         json_t **list, struct err *err)
{
    struct metric_value *metrics;
    int64_t count;

    *list = json_array();
    if (kernel->candidate.judgement == 0) {
        return true;
    }
    if (!query_metrics(store, arena, kernel->candidate.judgement, &metrics, &count, err)) {
        return false;
    }
    for (int64_t i = 0; i < count; i++) {
        json_array_append_new(
            *list, json_pack("{s:o, s:i, s:o, s:o}", "name", json_text(metrics[i].name), "problem",
                             metrics[i].problem, "value", json_number(metrics[i].value), "reason",
                             json_text(metrics[i].reason)));
    }
    return true;
}

/* A candidate's source for people; a recording's candidates have none. */
static json_t *json_source(struct store *store, struct arena *arena, struct recalled *recalled,
                           const struct candidate_row *row)
{
    const char *source;
    struct err ignored;

    return recalled != NULL && source_render(arena, store, row, 0, recalled, &source, &ignored)
               ? json_text(source)
               : json_null();
}

static bool json_kernel(struct store *store, struct arena *arena, struct recalled *recalled,
                        const struct kernel_row *kernel, json_t **value, struct err *err)
{
    json_t *metrics;

    if (!json_metrics(store, arena, kernel, &metrics, err)) {
        return false;
    }
    *value = json_candidate(&kernel->candidate);
    json_object_set_new(*value, "device", json_text(kernel->device));
    json_object_set_new(
        *value, "gain",
        json_number(kernel->gain_over_founder > 0 ? kernel->gain_over_founder : NAN));
    json_object_set_new(*value, "registers", json_integer(kernel->registers));
    json_object_set_new(*value, "spill_bytes", json_integer(kernel->spill_bytes));
    json_object_set_new(*value, "smem_bytes", json_integer(kernel->smem_bytes));
    json_object_set_new(*value, "tflops",
                        json_number(kernel->candidate.score.us > 0
                                        ? kernel_flops(kernel) / kernel->candidate.score.us * 1e-6
                                        : NAN));
    json_object_set_new(*value, "problems", json_problems(kernel));
    json_object_set_new(*value, "rivals", json_rivals(kernel));
    json_object_set_new(*value, "metrics", metrics);
    json_object_set_new(*value, "source", json_source(store, arena, recalled, &kernel->candidate));
    return true;
}

/* The fastest of each class, the first few with their source and their first parents'. */
static bool json_kernels(struct store *store, struct arena *arena, int64_t run,
                         struct recalled *recalled, json_t **kernels, json_t **parents,
                         struct err *err)
{
    struct best_filter filter = {.run = run, .numerics = -1, .limit = KERNELS_MAX / 2};
    struct kernel_row *rows, parent;
    int64_t count;

    *kernels = json_array();
    *parents = json_object();
    if (!query_best(store, arena, &filter, &rows, &count, err)) {
        return false;
    }
    for (int64_t i = 0; i < count; i++) {
        const struct candidate_row *row = &rows[i].candidate;
        struct recalled *with = i < SOURCES_MAX ? recalled : NULL;
        const char *key;
        json_t *value;
        bool found;

        if (!json_kernel(store, arena, with, &rows[i], &value, err)) {
            return false;
        }
        json_array_append_new(*kernels, value);
        if (with == NULL || row->parent_count == 0) {
            continue;
        }
        key = arena_printf(arena, "%lld", (long long)row->parents[0]);
        if (json_object_get(*parents, key) == NULL) {
            if (!query_kernel(store, arena, run, row->parents[0], &parent, &found, err) ||
                (found && !json_kernel(store, arena, with, &parent, &value, err))) {
                return false;
            }
            if (found) {
                json_object_set_new(*parents, key, value);
            }
        }
    }
    return true;
}

static bool json_lineage(struct store *store, struct arena *arena, int64_t run, int64_t place,
                         json_t **lineage, struct err *err)
{
    struct candidate_row *rows;
    int64_t count;

    *lineage = json_array();
    if (place < 0) {
        return true;
    }
    if (!query_lineage(store, arena, run, place, &rows, &count, err)) {
        return false;
    }
    for (int64_t i = 0; i < count; i++) {
        json_array_append_new(*lineage, json_candidate(&rows[i]));
    }
    return true;
}

/* The run ------------------------------------------------------------------------------------- */

static json_t *json_run(const struct status_row *row)
{
    const struct run_row *run = &row->run;
    json_t *value = json_object(), *verdicts = json_object();
    const struct {
        const char *name, *text;
    } texts[] = {{"name", run->name},
                 {"seed_path", run->seed_path},
                 {"seed", run->seed_text},
                 {"strategy", run->strategy},
                 {"evo", run->evo_version},
                 {"device", row->device},
                 {"backend", row->backend},
                 {"state", run->state == RUN_FINISHED ? "ended" : "open"},
                 {"ended_because", run->ended_because}};
    const struct {
        const char *name;
        int64_t number;
    } numbers[] = {{"id", run->id},
                   {"created_at", run->created_at},
                   {"elapsed_ms", run->elapsed_ms},
                   {"budget_evaluations", run->budget_evaluations},
                   {"budget_wall_ms", run->budget_wall_ms},
                   {"budget_device_ms", run->budget_device_ms},
                   {"device_ms", (int64_t)run->device_ms},
                   {"proposed", row->proposed},
                   {"finished", row->finished},
                   {"passed", row->passed},
                   {"aliases", row->aliases},
                   {"best_place", row->best_place},
                   {"best_evaluation", row->best_evaluation}};

    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        json_object_set_new(value, texts[i].name, json_text(texts[i].text));
    }
    for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++) {
        json_object_set_new(value, numbers[i].name, json_integer(numbers[i].number));
    }
    for (int i = VERDICT_NONE + 1; i < VERDICT_COUNT; i++) {
        json_object_set_new(verdicts, verdict_names[i], json_integer(row->by_verdict[i]));
    }
    json_object_set_new(value, "verdicts", verdicts);
    json_object_set_new(value, "best", json_score(&row->best));
    json_object_set_new(value, "founder", json_score(&row->founder));
    return value;
}

static bool json_events(struct store *store, struct arena *arena, int64_t run, json_t **events,
                        struct err *err)
{
    struct event_row *rows;
    int64_t count;

    *events = json_array();
    if (!query_events(store, arena, run, EVENTS_MAX, &rows, &count, err)) {
        return false;
    }
    for (int64_t i = 0; i < count; i++) {
        json_array_append_new(*events,
                              json_pack("{s:I, s:o, s:o}", "at", (json_int_t)rows[i].at, "kind",
                                        json_text(rows[i].kind), "text", json_text(rows[i].text)));
    }
    return true;
}

struct strip {
    json_t *list;
};

static void strip_add(void *context, int64_t at, double sm_clock_mhz, double power_w)
{
    struct strip *strip = context;

    json_array_append_new(strip->list, json_pack("[I, o, o]", (json_int_t)at,
                                                 json_number(sm_clock_mhz), json_number(power_w)));
}

static void collector_close(struct collector *collector)
{
    for (int i = 0; i < CHRONICLE_NAMES_MAX; i++) {
        free(collector->heat[i].pairs);
    }
    free(collector->dots);
    chronicle_close(&collector->chronicle);
}

static bool fill(struct store *store, struct arena *arena, const struct status_row *status,
                 struct collector *collector, json_t *report, struct err *err)
{
    const struct chronicle *c = &collector->chronicle;
    struct strip strip = {.list = json_array()};
    struct recalled recalled;
    struct err ignored;
    int64_t run = status->run.id;
    bool have = source_recall(arena, store, run, &recalled, &ignored);
    json_t *kernels, *parents, *lineage, *events;

    json_object_set_new(report, "strip", strip.list);
    if (!collect(collector, store, err) ||
        !query_device_strip(store, run, STRIP_MAX, strip_add, &strip, err)) {
        return false;
    }
    json_object_set_new(report, "run", json_run(status));
    json_object_set_new(report, "funnel", json_funnel(c));
    json_object_set_new(report, "operators", json_shares(c->operators, c->operator_count));
    json_object_set_new(report, "families", json_shares(c->families, c->family_count));
    json_object_set_new(report, "islands", json_shares(c->islands, c->island_count));
    json_object_set_new(report, "improvements", json_improvements(c));
    json_object_set_new(report, "heat", json_heat(collector));
    json_object_set_new(report, "story", json_columns(collector));
    if (!json_kernels(store, arena, run, have ? &recalled : NULL, &kernels, &parents, err)) {
        return false;
    }
    json_object_set_new(report, "kernels", kernels);
    json_object_set_new(report, "parents", parents);
    if (!json_lineage(store, arena, run, status->best_place, &lineage, err) ||
        !json_events(store, arena, run, &events, err)) {
        return false;
    }
    json_object_set_new(report, "lineage", lineage);
    json_object_set_new(report, "events", events);
    return true;
}

json_t *report_json(struct store *store, struct arena *arena, int64_t run, struct err *err)
{
    struct collector *collector = arena_alloc(arena, sizeof *collector);
    struct status_row status;
    json_t *report, *verdicts = json_array();
    bool found, ok;

    if (!query_status(store, arena, run, &status, &found, err) || !found) {
        json_decref(verdicts);
        if (!found) {
            err_set(err, ERR_USER, "the database holds no such run");
        }
        return NULL;
    }
    for (int i = 0; i < VERDICT_COUNT; i++) {
        json_array_append_new(verdicts, json_string(verdict_names[i]));
    }
    report = json_pack("{s:i, s:o}", "format", 1, "verdicts", verdicts);
    collector->arena = arena;
    collector->began_at = status.run.created_at;
    chronicle_open(&collector->chronicle, status.run.id);
    ok = fill(store, arena, &status, collector, report, err);
    collector_close(collector);
    if (!ok) {
        json_decref(report);
        return NULL;
    }
    return report;
}
