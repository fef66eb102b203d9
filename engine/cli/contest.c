#include "cli/contest.h"

#include <math.h>
#include <string.h>
#include <sys/random.h>

#include "base/str.h"
#include "cli/subject.h"
#include "cli/text.h"
#include "daemon/torch.h"
#include "daemon/trial.h"
#include "fitness/score.h"

enum {
    CAP_MS = 2000, /* of device time for each clock and shape */
    DEADLINE_MS = 5 * 60 * 1000,
    CASES_PER_FAMILY = 3,
    LARGE_GFLOP = 20, /* from here on one case of the gate is enough: it was judged before */
};

enum kind { KIND_CANDIDATE, KIND_FILE, KIND_RIVAL, KIND_TORCH };

static enum kind kind_of(const char *text)
{
    const char *place = strrchr(text, '.');

    if (torch_is(text)) {
        return KIND_TORCH;
    }
    if (strchr(text, '/') != NULL || strstr(text, ".cu") != NULL) {
        return KIND_FILE;
    }
    place = place == NULL ? text : place + 1; /* r2.n147 */
    return strcmp(text, "best") == 0 || (place[0] == 'n' && place[1] >= '0' && place[1] <= '9')
               ? KIND_CANDIDATE
               : KIND_RIVAL;
}

/* The kernel of a contender for a shape, or, without one, for the first that it was made for. */
static bool gather(struct cli *cli, const char *text, const char *shape, struct exported *exported,
                   struct err *err)
{
    struct subject *subject;

    if (kind_of(text) == KIND_FILE) {
        return exported_load(cli->arena, text, NULL, exported, err);
    }
    subject = arena_alloc(cli->arena, sizeof *subject);
    if (!subject_gather(cli, text, shape, subject, err)) {
        return false;
    }
    *exported = subject->exported;
    return true;
}

/* Shapes -------------------------------------------------------------------------------------- */

static bool add_shape(struct contest *contest, const struct problem *problem, struct err *err)
{
    if (contest->count == CONTEST_SHAPES_MAX) {
        return err_set(err, ERR_USER, "more than %d shapes", CONTEST_SHAPES_MAX);
    }
    contest->rows[contest->count].problem = *problem;
    problem_text(problem, contest->rows[contest->count].shape);
    contest->count++;
    return true;
}

static bool shapes_asked(struct cli *cli, struct contest *contest, struct err *err)
{
    const char *text;
    int at = 0;

    while ((text = cli_each(cli, "shape", &at)) != NULL) {
        struct problem problem;

        if (!problem_parse(text, &problem, err)) {
            return err_in(err, "option '--shape'");
        }
        if (!add_shape(contest, &problem, err)) {
            return false;
        }
    }
    return true;
}

/* All shapes of the workload that a candidate was bred for, or those a file names. */
static bool shapes_of(struct cli *cli, const char *text, struct contest *contest, struct err *err)
{
    struct exported *exported = arena_alloc(cli->arena, sizeof *exported);
    struct kernel_row *row;

    if (kind_of(text) == KIND_CANDIDATE) {
        row = arena_alloc(cli->arena, sizeof *row);
        if ((cli->store == NULL && !cli_store(cli, err)) || !cli_candidate(cli, text, row, err)) {
            return false;
        }
        for (int i = 0; i < row->problem_count; i++) {
            struct problem problem;

            if (!problem_parse(row->problems[i].problem, &problem, err) ||
                !add_shape(contest, &problem, err)) {
                return false;
            }
        }
        return true;
    }
    if (!gather(cli, text, NULL, exported, err)) {
        return false;
    }
    for (int i = 0; i < exported->problem_count; i++) {
        if (!add_shape(contest, &exported->problems[i], err)) {
            return false;
        }
    }
    return true;
}

static bool choose_shapes(struct cli *cli, struct contest *contest, struct err *err)
{
    if (!shapes_asked(cli, contest, err)) {
        return false;
    }
    if (contest->count == 0 && kind_of(contest->a) < KIND_RIVAL &&
        !shapes_of(cli, contest->a, contest, err)) {
        return false;
    }
    if (contest->count == 0 && kind_of(contest->b) < KIND_RIVAL &&
        !shapes_of(cli, contest->b, contest, err)) {
        return false;
    }
    if (contest->count == 0) {
        err_set(err, ERR_USER, "no shape to compare '%s' and '%s' on", contest->a, contest->b);
        return err_hint(err, "name one: --shape 1x8x512x64");
    }
    return true;
}

/* Sides --------------------------------------------------------------------------------------- */

static bool prepare_side(struct cli *cli, const char *text, const struct contest_row *row,
                         struct duel_side *side, const char **title, struct err *err)
{
    struct exported *exported = arena_alloc(cli->arena, sizeof *exported);

    side->rival = "";
    *title = text;
    if (kind_of(text) == KIND_RIVAL) {
        side->rival = text;
        return true;
    }
    if (!gather(cli, text, row->shape, exported, err)) {
        return false;
    }
    if (!exported_serves(exported, &row->problem)) {
        return err_set(err, ERR_USER,
                       "'%s' was not built for '%s': its head dimension, type, mask "
                       "or outputs differ",
                       text, row->shape);
    }
    *title = exported->title;
    return exported_build(cli->arena, text, exported, &side->image, err);
}

static void time_row(struct contest_row *row)
{
    const struct duel_result *duel = &row->duel;
    uint64_t seed = (uint64_t)duel->id;
    struct duel_score graph, span;

    row->timed =
        score_of_duel(duel->graph.blocks, duel->graph.count, duel->graph.tick_us, seed, &graph) &&
        score_of_duel(duel->span.blocks, duel->span.count, duel->span.tick_us, seed, &span);
    for (int side = 0; row->timed && side < 2; side++) {
        row->us[side][CONTEST_GRAPH] = graph.us[side];
        row->us[side][CONTEST_SPAN] = span.us[side];
    }
    if (row->timed) {
        row->speedup[CONTEST_GRAPH] = graph.speedup;
        row->speedup[CONTEST_SPAN] = span.speedup;
    }
}

/* Duels --------------------------------------------------------------------------------------- */

static bool fill_job(struct cli *cli, const struct contest_row *row, int64_t id,
                     struct duel_job *job, struct err *err)
{
    bool large = problem_flops(&row->problem) > LARGE_GFLOP * 1e9;

    *job = (struct duel_job){.id = id,
                             .problem = row->problem,
                             .cases_per_family = large ? 0 : CASES_PER_FAMILY,
                             .cap_ms = CAP_MS};
    if (trial_is_emulated(cli->arena, cli_value(cli, "device"))) {
        job->cases_per_family = 0; /* it is a thousand times slower */
    }
    return getrandom(&job->secret, sizeof job->secret, 0) == (ssize_t)sizeof job->secret ||
           err_sys(err, "cannot draw a secret");
}

static bool run_duel(struct cli *cli, struct contest *contest, struct contest_row *row,
                     struct duel_job *job, struct err *err)
{
    return prepare_side(cli, contest->a, row, &job->sides[0], &contest->title[0], err) &&
           prepare_side(cli, contest->b, row, &job->sides[1], &contest->title[1], err) &&
           trial_duel(cli->arena, cli_value(cli, "device"), job, DEADLINE_MS, &contest->judge,
                      &row->duel, err);
}

/* Against PyTorch ------------------------------------------------------------------------------ */

static void no_torch(struct contest_row *row, int torch, const char *why)
{
    row->duel.sides[torch].verdict = VERDICT_UNSUPPORTED;
    row->duel.sides[torch].reason = why;
    row->duel.sides[0].name = row->duel.sides[1].name = "";
}

/*
 * The other is timed against itself, by the same clocks, for want of anything that could share a
 * process with PyTorch.
 */
static bool run_torch(struct cli *cli, struct contest *contest, struct contest_row *row,
                      struct duel_job *job, int torch, struct err *err)
{
    const char *name = torch == 0 ? contest->a : contest->b, *device = cli_value(cli, "device");
    const char *other = torch == 0 ? contest->b : contest->a;
    struct duel_result *duel = &row->duel;
    struct torch_times times;
    int64_t gpu = 0;

    contest->title[torch] = name;
    if (trial_is_emulated(cli->arena, device)) {
        no_torch(row, torch, "times of an emulated device cannot be compared with it");
        contest->title[1 - torch] = other;
        return true;
    }
    if (device != NULL && str_starts(device, "cuda:") && !str_to_i64(device + 5, &gpu)) {
        return err_set(err, ERR_USER, "'%s' names no GPU that PyTorch could be told", device);
    }
    if (!prepare_side(cli, other, row, &job->sides[0], &contest->title[1 - torch], err) ||
        !torch_time(cli->arena, name, (int)gpu, &row->problem, &times, err)) {
        return false;
    }
    job->sides[1] = job->sides[0];
    if (times.unsupported != NULL) {
        no_torch(row, torch, times.unsupported);
        return true;
    }
    if (!trial_duel(cli->arena, device, job, DEADLINE_MS, &contest->judge, duel, err)) {
        return false;
    }
    row->apart = true;
    torch_duel(cli->arena, torch, &times, duel);
    return true;
}

static bool run_row(struct cli *cli, struct contest *contest, int at, struct err *err)
{
    struct contest_row *row = &contest->rows[at];
    struct duel_job *job = arena_alloc(cli->arena, sizeof *job);
    bool torch_a = kind_of(contest->a) == KIND_TORCH, torch_b = kind_of(contest->b) == KIND_TORCH;
    bool ok;

    if (torch_a && torch_b) {
        return err_set(err, ERR_USER, "'%s' and '%s' are both PyTorch's: one must be a judge's",
                       contest->a, contest->b);
    }
    ok = fill_job(cli, row, at + 1, job, err) &&
         (torch_a || torch_b ? run_torch(cli, contest, row, job, torch_b, err)
                             : run_duel(cli, contest, row, job, err));
    if (!ok) {
        return err_in(err, "%s", row->shape);
    }
    if (row->duel.span.count > 0) {
        time_row(row);
    }
    return true;
}

bool contest_run(struct cli *cli, const char *a, const char *b, struct contest *contest,
                 struct err *err)
{
    contest->a = a;
    contest->b = b;
    if (!choose_shapes(cli, contest, err)) {
        return false;
    }
    for (int i = 0; i < contest->count; i++) {
        if (!run_row(cli, contest, i, err)) {
            return false;
        }
    }
    return true;
}

/* Words --------------------------------------------------------------------------------------- */

bool contest_clock_asked(const struct cli *cli, enum contest_clock *clock, struct err *err)
{
    const char *text = cli_value(cli, "clock");

    *clock = text != NULL && strcmp(text, "span") == 0 ? CONTEST_SPAN : CONTEST_GRAPH;
    return text == NULL || strcmp(text, "span") == 0 || strcmp(text, "graph") == 0 ||
           err_set(err, ERR_USER, "option '--clock': '%s' is neither graph nor span", text);
}

/* What two copies of one program may differ by, for where in memory each happens to lie. */
static const double copies_differ = 0.002;

const char *contest_words(struct arena *arena, const struct estimate *speedup)
{
    if (speedup->low <= 1 + copies_differ && speedup->high >= 1 - copies_differ) {
        return arena_printf(arena, "tie [%.3f, %.3f]", speedup->low, speedup->high);
    }
    return speedup->value > 1 ? arena_printf(arena, "%.3fx faster [%.3f, %.3f]", speedup->value,
                                             speedup->low, speedup->high)
                              : arena_printf(arena, "%.3fx slower [%.3f, %.3f]", 1 / speedup->value,
                                             1 / speedup->high, 1 / speedup->low);
}

const char *contest_trouble(struct arena *arena, const struct contest *contest,
                            const struct contest_row *row)
{
    for (int i = 0; i < 2; i++) {
        enum verdict verdict = row->duel.sides[i].verdict;

        if (verdict != VERDICT_NONE && verdict != VERDICT_PASS) {
            return arena_printf(arena, "%s: %s: %s", i == 0 ? contest->a : contest->b,
                                verdict_names[verdict], row->duel.sides[i].reason);
        }
    }
    return "too few samples to say";
}

static json_t *json_estimate(const struct estimate *estimate)
{
    return json_pack("{s:o, s:o, s:o}", "value", json_number(estimate->value), "low",
                     json_number(estimate->low), "high", json_number(estimate->high));
}

json_t *contest_json_row(struct arena *arena, const struct contest *contest,
                         const struct contest_row *row)
{
    static const char *const clocks[CONTEST_CLOCKS] = {"graph", "span"};
    json_t *out = json_pack("{s:s, s:b, s:b, s:b}", "problem", row->shape, "timed",
                            row->timed, "in_turns", !row->apart, "modelled", row->duel.modelled);
    json_t *sides = json_array();

    for (int i = 0; i < 2; i++) {
        json_array_append_new(
            sides,
            json_pack("{s:s, s:s, s:o, s:o, s:o, s:o}", "verdict",
                      verdict_names[row->duel.sides[i].verdict], "plan", row->duel.sides[i].name,
                      "error", json_number(row->duel.sides[i].error), "allowed",
                      json_number(row->duel.sides[i].allowed), "graph_us",
                      row->timed ? json_number(row->us[i][CONTEST_GRAPH]) : json_null(), "span_us",
                      row->timed ? json_number(row->us[i][CONTEST_SPAN]) : json_null()));
    }
    json_object_set_new(out, "sides", sides);
    for (int clock = 0; row->timed && clock < CONTEST_CLOCKS; clock++) {
        json_object_set_new(out, arena_printf(arena, "speedup_%s", clocks[clock]),
                            json_estimate(&row->speedup[clock]));
    }
    json_object_set_new(out, "blocks", json_integer(row->duel.graph.count));
    json_object_set_new(out, "sm_clock_mhz", json_number(row->duel.sm_clock_mhz));
    json_object_set_new(out, "power_w", json_number(row->duel.power_w));
    json_object_set_new(out, "power_limited",
                        json_boolean((row->duel.throttle_reasons & 0x4) != 0));
    json_object_set_new(out, "trouble",
                        row->timed ? json_null()
                                   : json_string(contest_trouble(arena, contest, row)));
    return out;
}
