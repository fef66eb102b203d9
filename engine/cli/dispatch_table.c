#include "cli/dispatch_table.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "cli/text.h"

struct entry {
    const char *shape;
    const struct kernel_row *kernel; /* the best of this shape */
    struct score score;
    double single_us; /* of the kernel that is best on all shapes */
};

struct dispatch {
    const struct kernel_row *single;
    struct entry entries[JOB_PROBLEMS_MAX];
    int count;
    double mean, worst; /* times as slow */
    const char *worst_shape;
};

/* ---- what is known ---- */

static bool best_of(struct cli *cli, int numerics, const char *shape,
                    const struct kernel_row **kernel, struct err *err)
{
    struct best_filter filter = {.problem = shape, .numerics = numerics, .limit = 1};
    struct kernel_row *rows;
    int64_t count;

    if (!query_best(cli->store, cli->arena, &filter, &rows, &count, err)) {
        return false;
    }
    *kernel = count > 0 ? rows : NULL;
    return true;
}

/* FP32 accumulation, unless nothing of it passed. */
static bool find_single(struct cli *cli, int *numerics, const struct kernel_row **single,
                        struct err *err)
{
    *single = NULL;
    for (*numerics = 0; *numerics < 2; ++*numerics) {
        if (!best_of(cli, *numerics, NULL, single, err)) {
            return false;
        }
        if (*single != NULL) {
            return true;
        }
    }
    err_set(err, ERR_USER, "no kernel has passed yet");
    return err_hint(err, "'evo status' says how far the search is");
}

static struct score score_on(const struct kernel_row *kernel, const char *shape)
{
    for (int i = 0; i < kernel->problem_count; i++) {
        if (strcmp(kernel->problems[i].problem, shape) == 0) {
            return kernel->problems[i].score;
        }
    }
    return (struct score){.us = 0};
}

static bool gather(struct cli *cli, struct dispatch *dispatch, struct err *err)
{
    double logs = 0;
    int numerics;

    if (!cli_store(cli, err) || !find_single(cli, &numerics, &dispatch->single, err)) {
        return false;
    }
    dispatch->count = dispatch->single->problem_count;
    for (int i = 0; i < dispatch->count; i++) {
        struct entry *entry = &dispatch->entries[i];
        double ratio;

        entry->shape = dispatch->single->problems[i].problem;
        entry->single_us = dispatch->single->problems[i].score.us;
        if (!best_of(cli, numerics, entry->shape, &entry->kernel, err)) {
            return false;
        }
        entry->score = score_on(entry->kernel, entry->shape);
        ratio = entry->single_us / entry->score.us;
        logs += log(ratio);
        if (ratio > dispatch->worst) {
            dispatch->worst = ratio;
            dispatch->worst_shape = entry->shape;
        }
    }
    dispatch->mean = exp(logs / dispatch->count);
    return true;
}

/* ---- writing ---- */

static void write_csv(const struct dispatch *dispatch, struct buf *out)
{
    buf_printf(out, "# n%lld for all shapes takes %.2f %% longer than the best of each (geometric "
               "mean), at most %.2f %% (%s)\n", (long long)dispatch->single->candidate.place,
               100 * (dispatch->mean - 1), 100 * (dispatch->worst - 1), dispatch->worst_shape);
    buf_puts(out, "shape,kernel,us,low_us,high_us,single,single_us,regret,family,genes\n");
    for (int i = 0; i < dispatch->count; i++) {
        const struct entry *entry = &dispatch->entries[i];
        const struct candidate_row *row = &entry->kernel->candidate;

        buf_printf(out, "%s,n%lld,%.3f,%.3f,%.3f,n%lld,%.3f,%.4f,%s,%s\n", entry->shape,
                   (long long)row->place, entry->score.us, entry->score.low, entry->score.high,
                   (long long)dispatch->single->candidate.place, entry->single_us,
                   entry->single_us / entry->score.us - 1, row->family, row->genes);
    }
}

static void write_json(const struct dispatch *dispatch, struct buf *out)
{
    json_t *shapes = json_array(), *table;
    char *text;

    for (int i = 0; i < dispatch->count; i++) {
        const struct entry *entry = &dispatch->entries[i];

        json_array_append_new(shapes, json_pack("{s:o, s:o, s:o, s:o, s:o}", "shape",
                                                json_text(entry->shape), "kernel",
                                                json_candidate(&entry->kernel->candidate), "score",
                                                json_score(&entry->score), "single_us",
                                                json_number(entry->single_us), "regret",
                                                json_number(entry->single_us / entry->score.us -
                                                            1)));
    }
    table = json_pack("{s:o, s:o, s:o, s:o}", "single",
                      json_candidate(&dispatch->single->candidate), "regret",
                      json_number(dispatch->mean - 1), "regret_worst",
                      json_number(dispatch->worst - 1), "shapes", shapes);
    text = json_dumps(table, JSON_INDENT(2));
    buf_puts(out, text);
    buf_puts(out, "\n");
    free(text);
    json_decref(table);
}

bool dispatch_table_write(struct cli *cli, bool json, struct buf *out, struct err *err)
{
    struct dispatch *dispatch = arena_alloc(cli->arena, sizeof *dispatch);

    if (!gather(cli, dispatch, err)) {
        return false;
    }
    (json ? write_json : write_csv)(dispatch, out);
    return true;
}
