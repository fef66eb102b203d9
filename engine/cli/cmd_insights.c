/*
 * evo insights -- what single steps were worth, in words a kernel engineer can use.
 *
 * Wherever a child differs from its first parent in one gene, the pair is an experiment: the same
 * program but for that. Pairs are gathered by family, gene, value before and after; a step back is
 * the same experiment read the other way. Effects are ratios of times, their interval Student's on
 * logarithms. Nothing here guides the search, which has a model of its own; it is for people.
 */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "cli/cli.h"
#include "cli/commands.h"
#include "cli/text.h"
#include "fitness/stats.h"

enum {
    PIECE = 20000,
    GENES_MAX_HERE = 64,
    PAIRS_MIN = 3, /* fewer bound nothing */
    SHOWN = 40,    /* by default */
};
static const double worth_saying = 0.01; /* an effect whose interval lies within +-1 % is none */

struct place {
    char *genes; /* NULL: never finished, or of a family of its own */
    const char *family;
    double us; /* 0: not timed */
    int numerics;
};

/* What a step of one gene from `from` to `to` did. */
struct step {
    const char *family, *gene, *from, *to;
    int numerics;
    int64_t pairs;         /* both were timed */
    double sum, squares;   /* of log(time after / time before) */
    int64_t tried, failed; /* from a parent that was timed; the child was not */
};

struct insights {
    struct arena *arena;
    struct place *places;
    int64_t count, room;
    struct step *steps;
    int64_t step_count, step_room;
};

/* ---- gathering ---- */

struct gene_text {
    const char *name, *value;
};

/* "A=1 B=x" cut into its genes, in place. */
static int cut_genes(char *text, struct gene_text genes[GENES_MAX_HERE])
{
    char *rest = NULL;
    int count = 0;

    for (char *word = strtok_r(text, " ", &rest); word != NULL && count < GENES_MAX_HERE;
         word = strtok_r(NULL, " ", &rest)) {
        char *equals = strchr(word, '=');

        if (equals != NULL) {
            *equals = '\0';
            genes[count++] = (struct gene_text){word, equals + 1};
        }
    }
    return count;
}

/* The one gene in which two genomes of a family differ; false when there are none or several. */
static bool only_difference(struct arena *arena, const char *before, const char *after,
                            struct gene_text *from, struct gene_text *to)
{
    struct gene_text a[GENES_MAX_HERE], b[GENES_MAX_HERE];
    int count = cut_genes(arena_dup(arena, before), a), differing = 0;

    if (cut_genes(arena_dup(arena, after), b) != count) {
        return false;
    }
    for (int i = 0; i < count; i++) {
        if (strcmp(a[i].name, b[i].name) != 0) {
            return false;
        }
        if (strcmp(a[i].value, b[i].value) != 0) {
            differing++;
            *from = a[i];
            *to = b[i];
        }
    }
    return differing == 1;
}

static int value_order(const char *a, const char *b)
{
    char *end_a, *end_b;
    long x = strtol(a, &end_a, 10), y = strtol(b, &end_b, 10);

    if (*end_a == '\0' && *end_b == '\0') {
        return (x > y) - (x < y);
    }
    return strcmp(a, b);
}

static struct step *step_of(struct insights *in, const char *family, int numerics,
                            const struct gene_text *from, const struct gene_text *to)
{
    for (int64_t i = 0; i < in->step_count; i++) {
        struct step *step = &in->steps[i];

        if (step->numerics == numerics && strcmp(step->gene, from->name) == 0 &&
            strcmp(step->from, from->value) == 0 && strcmp(step->to, to->value) == 0 &&
            strcmp(step->family, family) == 0) {
            return step;
        }
    }
    if (in->step_count == in->step_room) {
        in->step_room = in->step_room > 0 ? 2 * in->step_room : 128;
        in->steps = xrealloc(in->steps, (size_t)in->step_room * sizeof *in->steps);
    }
    in->steps[in->step_count] = (struct step){.family = family,
                                              .gene = arena_dup(in->arena, from->name),
                                              .from = arena_dup(in->arena, from->value),
                                              .to = arena_dup(in->arena, to->value),
                                              .numerics = numerics};
    return &in->steps[in->step_count++];
}

static void compare(struct insights *in, const struct place *parent, const struct place *child)
{
    struct arena *arena = arena_new();
    struct gene_text from, to;
    bool up;

    if (strcmp(parent->family, child->family) == 0 && parent->numerics == child->numerics &&
        only_difference(arena, parent->genes, child->genes, &from, &to)) {
        up = value_order(from.value, to.value) < 0;
        if (parent->us > 0) { /* in the direction that was taken: who fails is not symmetric */
            struct step *step = step_of(in, parent->family, parent->numerics, &from, &to);

            step->tried++;
            step->failed += child->us == 0;
        }
        if (parent->us > 0 && child->us > 0) {
            struct step *step =
                step_of(in, parent->family, parent->numerics, up ? &from : &to, up ? &to : &from);
            double effect = log(child->us / parent->us) * (up ? 1 : -1);

            step->pairs++;
            step->sum += effect;
            step->squares += effect * effect;
        }
    }
    arena_free(arena);
}

static const char *known_family(struct insights *in, const char *name)
{
    for (int64_t i = in->count - 1; i >= 0 && i > in->count - 64; i--) {
        if (strcmp(in->places[i].family, name) == 0) {
            return in->places[i].family;
        }
    }
    return arena_dup(in->arena, name);
}

static void visit(void *context, const struct story_row *row)
{
    struct insights *in = context;
    int64_t parent = row->parents[0];

    if (in->count == in->room) {
        in->room = in->room > 0 ? 2 * in->room : 4096;
        in->places = xrealloc(in->places, (size_t)in->room * sizeof *in->places);
    }
    in->places[in->count] = (struct place){.genes = xstrdup(row->genes),
                                           .family = known_family(in, row->family),
                                           .us = row->score.us,
                                           .numerics = row->numerics};
    in->count++;
    /* An alias is no experiment: its program was its parent's, or another's, already. */
    if (parent >= 0 && parent < in->count - 1 && row->alias_of < 0) {
        compare(in, &in->places[parent], &in->places[in->count - 1]);
    }
}

/* A step down that never failed says nothing that the step up does not. */
static void drop_silent(struct insights *in)
{
    int64_t kept = 0;

    for (int64_t i = 0; i < in->step_count; i++) {
        if (in->steps[i].pairs > 0 || in->steps[i].failed > 0) {
            in->steps[kept++] = in->steps[i];
        }
    }
    in->step_count = kept;
}

static bool gather(struct insights *in, struct store *store, int64_t run, struct err *err)
{
    int64_t count;

    do {
        if (!query_story(store, run, in->count - 1, PIECE, visit, in, &count, err)) {
            return false;
        }
    } while (count == PIECE);
    return true;
}

/* ---- telling ---- */

/* The effect as a ratio of times with its 95 % interval; false when too few pairs were timed. */
static bool effect_of(const struct step *step, struct estimate *effect)
{
    double n = (double)step->pairs, mean, variance, half;

    if (step->pairs < PAIRS_MIN) {
        return false;
    }
    mean = step->sum / n;
    variance = fmax(step->squares / n - mean * mean, 0) * n / (n - 1);
    half = stats_student_t95((int)step->pairs - 1) * sqrt(variance / n);
    *effect = (struct estimate){exp(mean), exp(mean - half), exp(mean + half)};
    return true;
}

static bool is_none(const struct estimate *effect)
{
    return effect->low > 1 - worth_saying && effect->high < 1 + worth_saying;
}

static bool is_sure(const struct estimate *effect)
{
    return (effect->low > 1 || effect->high < 1) && !is_none(effect);
}

/* Sure effects first, the largest before; then those that fail often; then the rest by count. */
static int by_worth(const void *a, const void *b)
{
    const struct step *x = a, *y = b;
    struct estimate effect;
    double worth[2] = {0, 0};

    for (int i = 0; i < 2; i++) {
        const struct step *step = i == 0 ? x : y;

        if (effect_of(step, &effect)) {
            worth[i] = is_sure(&effect) ? 10 + fabs(log(effect.value)) : 1e-6 * (double)step->pairs;
        }
        if (step->failed >= PAIRS_MIN && worth[i] < 5) {
            worth[i] = 5 + (double)step->failed / (double)step->tried;
        }
    }
    return (worth[0] < worth[1]) - (worth[0] > worth[1]);
}

static const char *effect_words(struct arena *arena, const struct step *step)
{
    struct estimate effect;

    if (!effect_of(step, &effect)) {
        return step->pairs == 0 ? "" : "too few pairs to say"; /* the step back has the times */
    }
    if (is_none(&effect)) {
        return arena_printf(arena, "no effect (%+.1f %%)", 100 * (effect.value - 1));
    }
    return arena_printf(arena, "%+.1f %% time, 95 %% in [%+.1f, %+.1f]%s", 100 * (effect.value - 1),
                        100 * (effect.low - 1), 100 * (effect.high - 1),
                        is_sure(&effect) ? "" : ": not sure");
}

static void print_text(struct cli *cli, const struct insights *in, int64_t shown)
{
    static const char *const heads[] = {"family", "gene", "step", "effect", "pairs", "failed"};
    struct table *table = table_new(cli->arena, "llllrr", heads);

    for (int64_t i = 0; i < in->step_count && i < shown; i++) {
        const struct step *step = &in->steps[i];
        struct estimate effect;
        bool sure = effect_of(step, &effect) && is_sure(&effect);
        const char *cells[] = {
            step->numerics == 1 ? arena_printf(cli->arena, "%s (fp16)", step->family)
                                : step->family,
            step->gene,
            arena_printf(cli->arena, "%s \u2192 %s", step->from, step->to),
            effect_words(cli->arena, step),
            text_count(cli->arena, step->pairs),
            step->tried > 0 ? arena_printf(cli->arena, "%lld of %lld", (long long)step->failed,
                                           (long long)step->tried)
                            : NULL,
        };

        table_row(table, sure ? effect.value < 1 ? STYLE_GOOD : STYLE_BAD : STYLE_PLAIN, cells);
    }
    if (in->step_count == 0) {
        printf("no child differs from its first parent in one gene alone: nothing to compare\n");
        return;
    }
    table_print(table, stdout);
    if (in->step_count > shown) {
        printf("%s more; '--count 0' tells all\n", text_count(cli->arena, in->step_count - shown));
    }
}

static bool print_json(const struct insights *in, int64_t shown, struct err *err)
{
    json_t *list = json_array();

    for (int64_t i = 0; i < in->step_count && i < shown; i++) {
        const struct step *step = &in->steps[i];
        struct estimate effect = {NAN, NAN, NAN};

        effect_of(step, &effect);
        json_array_append_new(
            list, json_pack("{s:o, s:s, s:o, s:o, s:o, s:o, s:o, s:o, s:I, s:I, s:I}", "family",
                            json_text(step->family), "numerics", text_numerics(step->numerics),
                            "gene", json_text(step->gene), "from", json_text(step->from), "to",
                            json_text(step->to), "effect", json_number(effect.value), "low",
                            json_number(effect.low), "high", json_number(effect.high), "pairs",
                            (json_int_t)step->pairs, "tried", (json_int_t)step->tried, "failed",
                            (json_int_t)step->failed));
    }
    return cli_json(list, err);
}

static void insights_free(struct insights *in)
{
    for (int64_t i = 0; i < in->count; i++) {
        free(in->places[i].genes);
    }
    free(in->places);
    free(in->steps);
}

static bool body(struct cli *cli, struct err *err)
{
    struct insights in = {.arena = cli->arena};
    struct status_row status;
    int64_t shown;
    bool ok;

    if (!cli_number(cli, "count", 0, INT64_MAX, SHOWN, &shown, err) || !cli_store(cli, err) ||
        !cli_status(cli, &status, err)) {
        return false;
    }
    ok = gather(&in, cli->store, status.run.id, err);
    if (ok) {
        drop_silent(&in);
        shown = shown == 0 ? INT64_MAX : shown;
        if (in.step_count > 0) {
            qsort(in.steps, (size_t)in.step_count, sizeof *in.steps, by_worth);
        }
        if (cli_has(cli, "json")) {
            ok = print_json(&in, shown, err);
        } else {
            print_text(cli, &in, shown);
        }
    }
    insights_free(&in);
    return ok;
}

int cmd_insights(int argc, char **argv) { return cli_run(argc, argv, body); }
