/*
 * cmd_agree.c -- do two devices compute the same with the same kernels?
 *
 * Each candidate is compiled once. One device after the other runs it on the same inputs (use TELL
 * of a judge's job) and sends back what it computed; agreement.h compares the two.
 */
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <unistd.h>

#include "base/str.h"
#include "cli/cli.h"
#include "cli/commands.h"
#include "cli/subject.h"
#include "cli/text.h"
#include "daemon/batch.h"
#include "daemon/setup.h"
#include "daemon/shapes.h"
#include "fitness/agreement.h"
#include "fitness/verify.h"

enum {
    SIDES = 2,
    SHAPES_MAX = JOB_ANSWERS_MAX / INPUT_FAMILIES,
    SHAPES_DERIVED = 2,
    LIMIT = 100,
    LIMIT_MAX = 10000,
    DEADLINE_MS = 5 * 60 * 1000,
};

/* What came of one candidate. */
struct compared {
    const char *id;
    struct subject *subject;
    struct judge_job job;
    struct batch_item sides[SIDES];
    int64_t cases, elements, identical;
    int shape;                   /* of the worst, and its inputs */
    const char *family;
    struct agreement worst;      /* nearest to a limit */
    struct agreement furthest;   /* most steps apart */
    const char *trouble;         /* why there is nothing to compare, or NULL */
};

struct agree {
    const char *devices[SIDES];
    struct hello hellos[SIDES];
    uint64_t secret;
    struct compared *rows;
    int count, room;
};

/* ---- what to compare ----------------------------------------------------------------------- */

static bool read_devices(struct cli *cli, struct agree *agree, struct err *err)
{
    const char *device;
    int at = 0, count = 0;

    agree->devices[0] = "cuda:0";
    agree->devices[1] = "emu";
    while ((device = cli_each(cli, "device", &at)) != NULL) {
        if (count == SIDES) {
            return err_set(err, ERR_USER, "'--device' is given twice, not more often");
        }
        agree->devices[count++] = device;
    }
    if (count == 1) {
        err_set(err, ERR_USER, "one device agrees with itself");
        return err_hint(err, "give '--device' twice, as in '--device cuda:0 --device emu'");
    }
    return true;
}

static bool read_secret(struct cli *cli, struct agree *agree, struct err *err)
{
    const char *key = cli_value(cli, "key");

    if (key == NULL) {
        return getrandom(&agree->secret, sizeof agree->secret, 0) ==
                   (ssize_t)sizeof agree->secret ||
               err_sys(err, "cannot draw a key");
    }
    if (strlen(key) != 16 || strspn(key, "0123456789abcdef") != 16) {
        return err_set(err, ERR_USER, "'--key' is 16 hexadecimal digits, not '%.64s'", key);
    }
    agree->secret = strtoull(key, NULL, 16);
    return true;
}

struct gathering {
    struct cli *cli;
    struct agree *agree;
};

static bool gather_row(void *context, const struct candidate_row *row, struct err *err)
{
    const struct gathering *gathering = context;
    struct agree *agree = gathering->agree;

    (void)err;
    if (agree->count < agree->room && row->state == CANDIDATE_DONE &&
        row->verdict == VERDICT_PASS) {
        agree->rows[agree->count++].id =
            arena_printf(gathering->cli->arena, "n%lld", (long long)row->place);
    }
    return true;
}

static bool gather(struct cli *cli, struct agree *agree, struct err *err)
{
    struct gathering gathering = {cli, agree};
    struct status_row status;
    int64_t limit;

    if (!cli_number(cli, "limit", 1, LIMIT_MAX, LIMIT, &limit, err) || !cli_store(cli, err) ||
        !cli_status(cli, &status, err)) {
        return false;
    }
    agree->room = cli->operand_count > 0 ? cli->operand_count : (int)limit;
    agree->rows = arena_alloc(cli->arena, (size_t)agree->room * sizeof *agree->rows);
    for (int i = 0; i < cli->operand_count; i++) {
        agree->rows[agree->count++].id = cli->operands[i];
    }
    if (agree->count == 0 &&
        !store_candidates_each(cli->store, status.run.id, gather_row, &gathering, err)) {
        return false;
    }
    return agree->count > 0 || err_set(err, ERR_USER, "no candidate of the run has passed");
}

/* Those of --shape; else the first that the emulated device's gate would derive. */
static bool choose_shapes(struct cli *cli, struct compared *row, struct err *err)
{
    const struct exported *exported = &row->subject->exported;
    struct shapes *shapes = arena_alloc(cli->arena, sizeof *shapes);
    struct hello slow = {.backend = "emu"};
    const char *text;
    int at = 0;

    while ((text = cli_each(cli, "shape", &at)) != NULL) {
        if (row->job.problem_count == SHAPES_MAX) {
            return err_set(err, ERR_USER, "more than %d shapes", SHAPES_MAX);
        }
        if (!problem_parse(text, &row->job.problems[row->job.problem_count++].problem, err)) {
            return err_in(err, "option '--shape'");
        }
    }
    shapes->list[0].problem = exported->problems[0];
    shapes->count = 1;
    shapes_choose(shapes, &slow, NULL, 0);
    for (int i = shapes->count > 1; row->job.problem_count == 0 && i < shapes->count; i++) {
        row->job.problems[row->job.problem_count++].problem = shapes->list[i].problem;
        if (row->job.problem_count == SHAPES_DERIVED) {
            break;
        }
    }
    return true;
}

static bool check_shapes(struct compared *row, struct err *err)
{
    for (int i = 0; i < row->job.problem_count; i++) {
        const struct problem *problem = &row->job.problems[i].problem;
        char text[PROBLEM_TEXT_MAX];

        row->job.problems[i].use = USE_TELL;
        problem_text(problem, text);
        if (!problem_same_static(problem, &row->subject->exported.problems[0])) {
            return err_set(err, ERR_USER, "%s was not built for shapes like '%s'", row->id, text);
        }
        if (answer_bytes(problem) > JOB_ANSWER_BYTES_MAX) {
            err_set(err, ERR_USER, "the output of '%s' is too large to be told", text);
            return err_hint(err, "up to %d KiB are; name a smaller '--shape'",
                            JOB_ANSWER_BYTES_MAX >> 10);
        }
    }
    return true;
}

static bool prepare(struct cli *cli, const struct agree *agree, struct compared *row,
                    struct err *err)
{
    struct compile_job *compile = &row->sides[0].compile;
    const struct exported *exported;

    row->subject = arena_alloc(cli->arena, sizeof *row->subject);
    if (!subject_gather(cli, row->id, cli_value(cli, "shape"), row->subject, err)) {
        return false;
    }
    exported = &row->subject->exported;
    *compile = (struct compile_job){.source = exported->source,
                                    .source_bytes = strlen(exported->source),
                                    .name = arena_printf(cli->arena, "%s.cu", row->id),
                                    .arch = exported->arch,
                                    .entry_count = exported->program.kernel_count};
    for (int i = 0; i < compile->entry_count; i++) {
        compile->entries[i] = exported->program.kernels[i].name;
    }
    row->job = (struct judge_job){.genes = row->subject->kernel.candidate.genes,
                                  .secret = agree->secret,
                                  .effort = EFFORT_CORRECT,
                                  .cases_per_family = 1};
    row->job.images[0].program = exported->program;
    row->sides[0].job = row->sides[1].job = &row->job;
    return choose_shapes(cli, row, err) && check_shapes(row, err);
}

/* ---- both devices -------------------------------------------------------------------------- */

static bool show_progress(void *context, int done, int count)
{
    if (count > 0 && isatty(STDERR_FILENO)) {
        fprintf(stderr, "\r%s: %d of %d kernels%s", (const char *)context, done, count,
                done == count ? "\r\033[K" : "");
    }
    return true;
}

/* The first side compiles; the second is handed what came of it. */
static void hand_over(struct agree *agree, int side, struct batch_item *items)
{
    for (int i = 0; i < agree->count; i++) {
        items[i] = agree->rows[i].sides[side];
        if (side > 0) {
            items[i].built = agree->rows[i].sides[0].built;
            items[i].stage = items[i].built.verdict == VERDICT_NONE ? BATCH_JUDGE : BATCH_DONE;
        }
    }
}

static bool run_side(struct cli *cli, struct agree *agree, int side, struct err *err)
{
    struct batch_item *items = arena_alloc(cli->arena, (size_t)agree->count * sizeof *items);
    struct batch batch = {.fleet = fleet_new(),
                          .arena = cli->arena,
                          .go_on = show_progress,
                          .context = (void *)agree->devices[side]};
    int worker;
    bool done, ok;

    hand_over(agree, side, items);
    ok = setup_staff_device(cli->arena, agree->devices[side], DEADLINE_MS, batch.fleet, err) &&
         batch_await(&batch, &worker, err);
    if (ok) {
        agree->hellos[side] = *fleet_hello(batch.fleet, worker);
        agree->hellos[side].device = arena_dup(cli->arena, agree->hellos[side].device);
        ok = strcmp(agree->hellos[side].backend, "replay") != 0 ||
             err_set(err, ERR_USER, "'%s' runs no code: there is nothing to compare",
                     agree->devices[side]);
    }
    ok = ok && batch_run(&batch, items, agree->count, &done, err);
    for (int i = 0; ok && i < agree->count; i++) {
        agree->rows[i].sides[side] = items[i];
    }
    fleet_free(batch.fleet);
    return ok;
}

/* ---- the comparison ------------------------------------------------------------------------ */

/* Why there is nothing to compare; NULL: there is. */
static const char *trouble_of(struct cli *cli, const struct agree *agree,
                              const struct compared *row)
{
    for (int side = 0; side < SIDES; side++) {
        const struct batch_item *item = &row->sides[side];

        if (batch_verdict(item) != VERDICT_PASS) {
            return arena_printf(cli->arena, "%s on %s: %s", verdict_names[batch_verdict(item)],
                                agree->devices[side], batch_reason(item));
        }
    }
    return row->sides[0].result->answer_count == 0 ||
                   row->sides[0].result->answer_count != row->sides[1].result->answer_count
               ? "the devices did not answer the same cases"
               : NULL;
}

static bool compare(struct cli *cli, const struct agree *agree, struct compared *row,
                    struct err *err)
{
    const struct judge_result *first, *second;
    enum numerics numerics =
        row->subject->exported.program.numerics == 1 ? NUMERICS_FP16 : NUMERICS_FP32;

    row->trouble = trouble_of(cli, agree, row);
    if (row->trouble != NULL) {
        return true;
    }
    first = row->sides[0].result;
    second = row->sides[1].result;
    for (int i = 0; i < first->answer_count; i++) {
        const struct answer *answer = &first->answers[i];
        struct agreement found;

        if (answer->problem >= row->job.problem_count ||
            answer->problem != second->answers[i].problem ||
            !agreement_find(&row->job.problems[answer->problem].problem, numerics, answer,
                            &second->answers[i], &found, err)) {
            return err_in(err, "%s", row->id);
        }
        row->cases++;
        row->elements += found.elements;
        row->identical += found.identical;
        if (row->cases == 1 || found.share > row->worst.share) {
            row->worst = found;
            row->shape = answer->problem;
            row->family = answer->family;
        }
        if (row->cases == 1 || found.steps > row->furthest.steps) {
            row->furthest = found;
        }
    }
    return true;
}

static bool agrees(const struct compared *row)
{
    return row->trouble == NULL && row->worst.share <= 1;
}

/* ---- telling ------------------------------------------------------------------------------- */

/* All candidates of one family together. */
struct family_sum {
    const char *family;
    int64_t kernels, agree, cases, elements, identical;
    double steps, share;
};

static int sum_up(struct cli *cli, const struct agree *agree, struct family_sum **sums)
{
    struct family_sum *all = arena_alloc(cli->arena, (size_t)agree->count * sizeof *all);
    int count = 0;

    for (int i = 0; i < agree->count; i++) {
        const struct compared *row = &agree->rows[i];
        const char *family = row->subject->kernel.candidate.family;
        int at = 0;

        while (at < count && strcmp(all[at].family, family) != 0) {
            at++;
        }
        if (at == count) {
            all[count++] = (struct family_sum){.family = family};
        }
        all[at].kernels++;
        all[at].agree += agrees(row);
        all[at].cases += row->cases;
        all[at].elements += row->elements;
        all[at].identical += row->identical;
        all[at].steps = row->furthest.steps > all[at].steps ? row->furthest.steps : all[at].steps;
        all[at].share = row->worst.share > all[at].share ? row->worst.share : all[at].share;
    }
    *sums = all;
    return count;
}

static void print_sums(struct cli *cli, const struct agree *agree)
{
    static const char *const heads[] = {"family",      "kernels",          "agree",     "outputs",
                                        "same to the bit", "most steps apart", "of allowed"};
    struct table *table = table_new(cli->arena, "lrrrrrr", heads);
    struct family_sum *sums;
    int count = sum_up(cli, agree, &sums);

    for (int i = 0; i < count; i++) {
        const struct family_sum *sum = &sums[i];
        const char *cells[] = {
            sum->family,
            text_count(cli->arena, sum->kernels),
            text_count(cli->arena, sum->agree),
            text_count(cli->arena, sum->cases),
            arena_printf(cli->arena, "%.4g %%",
                         100 * (double)sum->identical / (double)(sum->elements + !sum->elements)),
            arena_printf(cli->arena, "%.3g", sum->steps),
            arena_printf(cli->arena, "%.3g %%", 100 * sum->share)};

        table_row(table, sum->agree == sum->kernels ? STYLE_PLAIN : STYLE_BAD, cells);
    }
    table_print(table, stdout);
}

/* One that differs by more than it may, or of few that are asked for by name. */
static void print_row(const struct agree *agree, const struct compared *row)
{
    const struct agreement *worst = &row->worst;
    char shape[PROBLEM_TEXT_MAX];

    if (row->trouble != NULL) {
        printf("%s: %s\n", row->id, row->trouble);
        return;
    }
    problem_text(&row->job.problems[row->shape].problem, shape);
    printf("%s: %s of %s on %s inputs comes nearest to its limit, %.3g times what is allowed; the "
           "largest difference there is of %.3g steps, at batch %lld, head %lld, row %lld, column "
           "%lld: %.6g on %s, %.6g on %s, exactly %.6g\n",
           row->id, worst->what, shape, row->family, worst->share, worst->steps,
           (long long)worst->at[0], (long long)worst->at[1], (long long)worst->at[2],
           (long long)worst->at[3], worst->first, agree->devices[0], worst->second,
           agree->devices[1], worst->exact);
}

static void print_text(struct cli *cli, const struct agree *agree)
{
    int64_t agreeing = 0;

    print_sums(cli, agree);
    for (int i = 0; i < agree->count; i++) {
        agreeing += agrees(&agree->rows[i]);
        if (!agrees(&agree->rows[i]) || cli->operand_count > 0) {
            print_row(agree, &agree->rows[i]);
        }
    }
    printf("%s%lld of %d kernels compute the same on %s and %s%s; inputs of key %016llx\n",
           style_on(stdout, agreeing == agree->count ? STYLE_GOOD : STYLE_BAD),
           (long long)agreeing, agree->count, agree->hellos[0].device, agree->hellos[1].device,
           style_off(stdout), (unsigned long long)agree->secret);
}

static json_t *row_json(const struct compared *row)
{
    const struct agreement *worst = &row->worst;
    char shape[PROBLEM_TEXT_MAX] = "";

    if (row->cases > 0) {
        problem_text(&row->job.problems[row->shape].problem, shape);
    }
    return json_pack(
        "{s:s, s:s, s:s, s:b, s:o, s:I, s:I, s:I, s:f, s:o, s:s, s:o, s:o, s:[IIII], s:f, s:f, "
        "s:f}",
        "id", row->id, "family", row->subject->kernel.candidate.family, "genes",
        row->subject->kernel.candidate.genes, "agree", agrees(row), "trouble",
        json_text(row->trouble), "outputs", (json_int_t)row->cases, "elements",
        (json_int_t)row->elements, "identical", (json_int_t)row->identical, "most_steps",
        row->furthest.steps, "share", json_number(worst->share), "shape", shape, "inputs",
        json_text(row->family), "limit", json_text(worst->what), "at", (json_int_t)worst->at[0],
        (json_int_t)worst->at[1], (json_int_t)worst->at[2], (json_int_t)worst->at[3], "first",
        worst->first, "second", worst->second, "exact", worst->exact);
}

static bool print_json(struct cli *cli, const struct agree *agree, struct err *err)
{
    json_t *rows = json_array();

    for (int i = 0; i < agree->count; i++) {
        json_array_append_new(rows, row_json(&agree->rows[i]));
    }
    return cli_json(json_pack("{s:[oo], s:s, s:o}", "devices",
                              json_text(agree->hellos[0].device),
                              json_text(agree->hellos[1].device), "key",
                              arena_printf(cli->arena, "%016llx",
                                           (unsigned long long)agree->secret),
                              "kernels", rows),
                    err);
}

static bool body(struct cli *cli, struct err *err)
{
    struct agree *agree = arena_alloc(cli->arena, sizeof *agree);

    if (!read_devices(cli, agree, err) || !read_secret(cli, agree, err) ||
        !gather(cli, agree, err)) {
        return false;
    }
    for (int i = 0; i < agree->count; i++) {
        if (!prepare(cli, agree, &agree->rows[i], err)) {
            return false;
        }
    }
    for (int side = 0; side < SIDES; side++) {
        if (!run_side(cli, agree, side, err)) {
            return err_in(err, "on %s", agree->devices[side]);
        }
    }
    for (int i = 0; i < agree->count; i++) {
        if (!compare(cli, agree, &agree->rows[i], err)) {
            return false;
        }
        cli->exit_code = agrees(&agree->rows[i]) ? cli->exit_code : EXIT_NO;
    }
    if (cli_has(cli, "json")) {
        return print_json(cli, agree, err);
    }
    print_text(cli, agree);
    return true;
}

int cmd_agree(int argc, char **argv) { return cli_run(argc, argv, body); }
