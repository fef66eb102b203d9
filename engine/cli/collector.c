#include "cli/collector.h"

#include <assert.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/str.h"
#include "cli/column.h"
#include "cli/text.h"
#include "genome/gene.h"

enum {
    VALUES_MAX = 64, /* of a gene */
    PAIRED_MAX = 16, /* values of a gene, the first seen, whose pairs with others are told */
    ARCS_MAX = 20000,
    NO_TIME = 0xffff,
    KINDS = 1 << 17, /* see kind_of */
};

/* What is kept of a place. */
struct dot {
    int32_t parents[2];
    float us; /* 0: none */
    uint32_t kind;
    bool keep;
};

/* What one value of a gene, or a pair of values, has brought. */
struct tally {
    uint32_t tried, passed;
    float best_us;
    double log_sum; /* of those that passed */
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
    double us_low, us_high; /* ends of the logarithmic scale of times; 0: none yet */
    struct family_heat heat[CHRONICLE_NAMES_MAX];
};

/* Rows ---------------------------------------------------------------------------------------- */

static void tally_add(struct tally *tally, double us, double log_us)
{
    tally->tried++;
    if (us > 0) {
        tally->passed++;
        tally->log_sum += log_us;
        if (tally->best_us == 0 || (float)us < tally->best_us) {
            tally->best_us = (float)us;
        }
    }
}

/* Genes and values come in the same order nearly always: the search begins where it should end. */
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
                                   const char *name, int likely)
{
    if (likely < family->gene_count && strcmp(family->genes[likely].name, name) == 0) {
        return &family->genes[likely];
    }
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
                      double us, double log_us)
{
    const size_t side = (size_t)GENES_MAX * PAIRED_MAX;

    if (family->pairs == NULL) {
        family->pairs = xcalloc(side * side, sizeof *family->pairs);
    }
    for (int i = 0; i < count; i++) {
        for (int j = 0; j < count; j++) {
            if (genes[i] < genes[j] && values[i] < PAIRED_MAX && values[j] < PAIRED_MAX) {
                tally_add(pair_at(family, genes[i], values[i], genes[j], values[j]), us, log_us);
            }
        }
    }
}

/* "A=1 B=2": each value's tally, and each pair's. */
static void heat_add(struct collector *collector, int at, const struct story_row *row)
{
    struct family_heat *family = &collector->heat[at];
    int genes[GENES_MAX], values[GENES_MAX], count = 0, words = 0;
    double us = row->score.us, log_us = us > 0 ? log(us) : 0;
    char *text = xstrdup(row->genes), *rest = NULL;

    for (char *word = strtok_r(text, " ", &rest); word != NULL; word = strtok_r(NULL, " ", &rest)) {
        char *equals = strchr(word, '=');
        struct gene_heat *gene;
        int value;

        if (equals == NULL || count == GENES_MAX) {
            continue;
        }
        *equals = '\0';
        gene = gene_heat(collector, family, word, words++);
        value = gene == NULL ? -1 : value_index(collector, gene, equals + 1);
        if (value < 0) {
            continue; /* beyond the limits above: not in the maps */
        }
        tally_add(&gene->tallies[value], us, log_us);
        genes[count] = (int)(gene - family->genes);
        values[count++] = value;
    }
    pairs_add(family, genes, values, count, us, log_us);
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

/* Verdict, class of numerics, family and operator in 17 bits. */
static uint32_t kind_of(const struct story_row *row, int family, int operator_)
{
    static_assert(VERDICT_COUNT <= 16 && CHRONICLE_NAMES_MAX <= 64, "a kind has 17 bits");
    return (uint32_t)row->verdict | (uint32_t)(row->numerics == 1) << 4 | (uint32_t)family << 5 |
           (uint32_t)operator_ << 11;
}

static void scale_add(struct collector *collector, double us)
{
    if (us > 0) {
        collector->us_low =
            collector->us_low == 0 || us < collector->us_low ? us : collector->us_low;
        collector->us_high = us > collector->us_high ? us : collector->us_high;
    }
}

static void visit(void *context, const struct story_row *row)
{
    struct collector *collector = context;
    struct chronicle *c = &collector->chronicle;
    int family, operator_;
    struct dot dot;

    chronicle_add(c, row);
    family = name_index(c->families, c->family_count, row->family);
    operator_ = name_index(c->operators, c->operator_count, row->operator_name);
    dot = (struct dot){.parents = {(int32_t)row->parents[0], (int32_t)row->parents[1]},
                       .us = (float)row->score.us,
                       .kind = kind_of(row, family, operator_)};
    heat_add(collector, family, row);
    scale_add(collector, row->score.us);
    while (collector->count <= row->place) { /* places without a row do not occur; be sure */
        if (collector->count == collector->room) {
            collector->room = collector->room > 0 ? 2 * collector->room : 4096;
            collector->dots =
                xrealloc(collector->dots, (size_t)collector->room * sizeof *collector->dots);
        }
        collector->dots[collector->count++] = dot;
    }
}

struct collector *collector_new(int64_t run)
{
    struct collector *collector = xcalloc(1, sizeof *collector);

    collector->arena = arena_new();
    chronicle_open(&collector->chronicle, run);
    return collector;
}

void collector_free(struct collector *collector)
{
    if (collector == NULL) {
        return;
    }
    for (int i = 0; i < CHRONICLE_NAMES_MAX; i++) {
        free(collector->heat[i].pairs);
    }
    chronicle_close(&collector->chronicle);
    arena_free(collector->arena);
    free(collector->dots);
    free(collector);
}

bool collector_advance(struct collector *collector, struct store *store, int64_t limit,
                       bool *behind, struct err *err)
{
    int64_t count;
    bool ok = query_story(store, collector->chronicle.run, collector->count - 1, limit, visit,
                          collector, &count, err);

    *behind = ok && count == limit;
    return ok;
}

const struct chronicle *collector_chronicle(const struct collector *collector)
{
    return &collector->chronicle;
}

/* Columns ------------------------------------------------------------------------------------- */

/* Keeps improvements with all their ancestors; the rest evenly, as far as there is room. */
static void choose_dots(struct collector *collector)
{
    const struct chronicle *c = &collector->chronicle;
    int64_t step = (collector->count + COLLECTOR_DOTS_MAX - 1) / COLLECTOR_DOTS_MAX;

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

static uint32_t us_step(const struct collector *collector, float us)
{
    double span = log(collector->us_high / collector->us_low), share;

    if (!(us > 0)) {
        return NO_TIME;
    }
    share = span > 0 ? log((double)us / collector->us_low) / span : 0;
    return (uint32_t)lround(fmin(1, fmax(0, share)) * (NO_TIME - 1));
}

/* Rows of the story by place; -1: not kept. */
static int32_t *number_kept(const struct collector *collector, int64_t *kept_count)
{
    int32_t *rows = xmalloc((size_t)(collector->count + 1) * sizeof *rows), next = 0;

    for (int64_t i = 0; i < collector->count; i++) {
        rows[i] = collector->dots[i].keep ? next++ : -1;
    }
    *kept_count = next;
    return rows;
}

/* Kinds that occur, the most frequent first, so that those take one byte. */
struct kinds {
    struct kind_count {
        uint32_t kind, count;
    } list[KINDS];
    uint32_t count;
    uint32_t at[KINDS]; /* where in the list, plus one; 0: nowhere */
};

static int compare_kinds(const void *a, const void *b)
{
    const struct kind_count *x = a, *y = b;

    return x->count != y->count ? (x->count < y->count ? 1 : -1)
                                : (x->kind > y->kind) - (x->kind < y->kind);
}

static json_t *rank_kinds(const struct collector *collector, struct kinds *kinds)
{
    json_t *list = json_array();

    for (int64_t i = 0; i < collector->count; i++) {
        uint32_t kind = collector->dots[i].kind;

        if (!collector->dots[i].keep) {
            continue;
        }
        if (kinds->at[kind] == 0) {
            kinds->list[kinds->count++].kind = kind;
            kinds->at[kind] = kinds->count;
        }
        kinds->list[kinds->at[kind] - 1].count++;
    }
    qsort(kinds->list, kinds->count, sizeof *kinds->list, compare_kinds);
    for (uint32_t i = 0; i < kinds->count; i++) {
        uint32_t kind = kinds->list[i].kind;

        kinds->at[kind] = i + 1;
        json_array_append_new(list,
                              json_pack("[i, i, i, i]", (int)(kind & 15), (int)(kind >> 4 & 1),
                                        (int)(kind >> 5 & 63), (int)(kind >> 11)));
    }
    return list;
}

static void put_columns(const struct collector *collector, const int32_t *rows, json_t *story)
{
    struct kinds *kinds = xcalloc(1, sizeof *kinds);
    struct buf places = {0}, us = {0}, parents = {0}, kind = {0};
    int64_t last = -1;

    json_object_set_new(story, "kinds", rank_kinds(collector, kinds));
    for (int64_t i = 0; i < collector->count; i++) {
        const struct dot *dot = &collector->dots[i];
        int32_t parent = dot->parents[0] >= 0 ? rows[dot->parents[0]] : -1;

        if (!dot->keep) {
            continue;
        }
        column_add(&places, (uint32_t)(i - last - 1));
        column_add_fixed(&us, us_step(collector, dot->us), 2);
        column_add(&parents, parent >= 0 ? (uint32_t)(rows[i] - parent) : 0);
        column_add(&kind, kinds->at[dot->kind] - 1);
        last = i;
    }
    if (json_integer_value(json_object_get(story, "count")) == collector->count) {
        buf_clear(&places); /* all are there */
    }
    json_object_set_new(story, "place", column_json(&places));
    json_object_set_new(story, "us", column_json(&us));
    json_object_set_new(story, "parent", column_json(&parents));
    json_object_set_new(story, "kind", column_json(&kind));
    free(kinds);
}

/* Second parents, the newest children's: rows since the last child, and how far back they are. */
static json_t *json_arcs(const struct collector *collector, const int32_t *rows)
{
    int64_t first = collector->count, found = 0;
    struct buf arcs = {0};
    int32_t last = 0;

    for (; first > 0 && found < ARCS_MAX; first--) {
        const struct dot *dot = &collector->dots[first - 1];

        found += dot->keep && dot->parents[1] >= 0 && rows[dot->parents[1]] >= 0;
    }
    for (int64_t i = first; i < collector->count; i++) {
        const struct dot *dot = &collector->dots[i];

        if (dot->keep && dot->parents[1] >= 0 && rows[dot->parents[1]] >= 0) {
            column_add(&arcs, (uint32_t)(rows[i] - last));
            column_add(&arcs, (uint32_t)(rows[i] - rows[dot->parents[1]]));
            last = rows[i];
        }
    }
    return column_json(&arcs);
}

json_t *collector_story(struct collector *collector)
{
    int64_t kept;
    int32_t *rows;
    json_t *story;

    choose_dots(collector);
    rows = number_kept(collector, &kept);
    story = json_pack("{s:I, s:I, s:f, s:f}", "count", (json_int_t)kept, "of",
                      (json_int_t)collector->count, "us_low", collector->us_low, "us_high",
                      collector->us_high);
    put_columns(collector, rows, story);
    json_object_set_new(story, "arcs", json_arcs(collector, rows));
    free(rows);
    return story;
}

/* Maps ---------------------------------------------------------------------------------------- */

static json_t *json_tally(const struct tally *tally)
{
    double mean = tally->passed > 0 ? exp(tally->log_sum / tally->passed) : NAN;

    return json_pack("[I, I, o, o]", (json_int_t)tally->tried, (json_int_t)tally->passed,
                     json_number(tally->passed > 0 ? (double)tally->best_us : NAN),
                     json_number(mean));
}

static int paired(const struct gene_heat *gene)
{
    return gene->value_count < PAIRED_MAX ? gene->value_count : PAIRED_MAX;
}

/* Of each pair of genes, of each pair of their values: tried; if so, passed; if so, the best. */
static json_t *json_pairs(const struct collector *collector, struct family_heat *family)
{
    struct buf pairs = {0};

    for (int a = 0; family->pairs != NULL && a < family->gene_count; a++) {
        for (int b = a + 1; b < family->gene_count; b++) {
            for (int at = 0; at < paired(&family->genes[a]) * paired(&family->genes[b]); at++) {
                const struct tally *tally = pair_at(family, a, at / paired(&family->genes[b]), b,
                                                    at % paired(&family->genes[b]));

                column_add(&pairs, tally->tried);
                if (tally->tried > 0) {
                    column_add(&pairs, tally->passed);
                }
                if (tally->passed > 0) {
                    column_add_fixed(&pairs, us_step(collector, tally->best_us), 2);
                }
            }
        }
    }
    return column_json(&pairs);
}

json_t *collector_heat(struct collector *collector)
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
                              json_pack("{s:o, s:o, s:i, s:o}", "family",
                                        json_text(c->families[f].name), "genes", genes, "paired",
                                        PAIRED_MAX, "pairs", json_pairs(collector, family)));
    }
    return maps;
}
