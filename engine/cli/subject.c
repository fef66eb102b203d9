#include "cli/subject.h"

#include <string.h>

#include "base/str.h"
#include "cli/text.h"

/* A workload may need several builds; --shape says which, else the first shape's is taken. */
static bool image_asked(const struct subject *subject, const char *text, int *image,
                        struct err *err)
{
    const struct search_space *space = subject->recalled.space;
    struct problem problem;

    *image = 0;
    if (text == NULL) {
        if (space->static_count > 1) {
            cli_say("the workload needs %d builds of a kernel; taking the first shape's "
                    "('--shape' names another)",
                    space->static_count);
        }
        return true;
    }
    if (!problem_parse(text, &problem, err)) {
        return err_in(err, "option '--shape'");
    }
    for (int i = 0; i < space->problem_count; i++) {
        if (problem_same_static(&space->problems[i].problem, &problem)) {
            *image = space->problems[i].image;
            return true;
        }
    }
    return err_set(err, ERR_USER, "no kernel of this run was built for '%s'", text);
}

static const char *provenance(struct cli *cli, const struct subject *subject)
{
    struct arena *arena = cli->arena;
    const struct kernel_row *kernel = &subject->kernel;
    const struct candidate_row *row = &kernel->candidate;
    struct buf text = {0};
    const char *copy;

    buf_printf(&text, "genes      %s\n", row->genes);
    buf_printf(&text, "run        %s, place n%lld, operator %s, generation %d\n",
               subject->recalled.run.name, (long long)row->place, row->operator_name, row->depth);
    for (int i = 0; i < row->parent_count; i++) {
        buf_printf(&text, "parent     n%lld\n", (long long)row->parents[i]);
    }
    buf_printf(&text, "device     %s\n", kernel->device);
    for (int i = 0; i < kernel->problem_count; i++) {
        buf_printf(&text, "time       %s: %s, 95 %% interval %s\n", kernel->problems[i].problem,
                   text_us(arena, kernel->problems[i].score.us),
                   text_interval(arena, &kernel->problems[i].score));
    }
    if (kernel->promotion.searched != 0) {
        buf_printf(&text, "promoted   timed again by a fresh judge: %s; the search saw %s and had "
                          "tried %lld\n",
                   text_us(arena, row->score.us), text_us(arena, kernel->promotion.score.us),
                   (long long)kernel->promotion.tried);
    } else {
        buf_puts(&text, "promoted   no: judged once only\n");
    }
    if (kernel->gain_over_founder > 0) {
        buf_printf(&text, "gain       %s over the seed's founder\n",
                   text_gain(arena, kernel->gain_over_founder));
    }
    if (kernel->duel_count > 0) {
        buf_printf(&text, "rivals     %s\n", text_rivalry(arena, kernel));
    }
    buf_printf(&text, "numerics   %s accumulation\n", text_numerics(row->numerics));
    buf_printf(&text, "hashes     source %s, code %s, plan %s\n",
               text_hash12(arena, &row->source_hash), text_hash12(arena, &row->code_key),
               text_hash12(arena, &row->plan_key));
    buf_printf(&text, "evo        %s\n", subject->recalled.run.evo_version);
    copy = arena_dup(arena, text.data);
    buf_free(&text);
    return copy;
}

static bool find_build(struct cli *cli, struct subject *subject, struct err *err)
{
    const struct candidate_row *row = &subject->kernel.candidate;
    struct build_facts *builds;
    int64_t count;

    if (!query_builds(cli->store, cli->arena, row->run, row->place, &builds, &count, err)) {
        return false;
    }
    for (int64_t i = 0; i < count; i++) {
        if (builds[i].image == subject->image) {
            subject->build = &builds[i];
            return true;
        }
    }
    return err_set(err, ERR_USER, "n%lld was never built", (long long)row->place);
}

/* The declaration of how the image is called, from the recalled family. */
static bool find_program(struct cli *cli, struct subject *subject, struct err *err)
{
    const struct candidate_row *row = &subject->kernel.candidate;
    const struct givens *givens = &subject->recalled.space->statics[subject->image].givens;
    const struct family *family;
    int64_t values[FAMILY_SYMBOLS_MAX];
    struct genome genome;

    if (!source_genome(&subject->recalled, row, &genome, err)) {
        return false;
    }
    family = subject->recalled.setup->families[genome.family];
    if (!family_feasible(family, &genome, givens, values, NULL)) {
        return err_set(err, ERR_SYSTEM, "n%lld is no longer feasible", (long long)row->place);
    }
    return family_program(cli->arena, family, values, &subject->exported.program, err);
}

bool subject_gather(struct cli *cli, const char *id, const char *shape, struct subject *subject,
                    struct err *err)
{
    const struct candidate_row *row = &subject->kernel.candidate;
    struct exported *exported = &subject->exported;
    const struct search_space *space;

    if ((cli->store == NULL && !cli_store(cli, err)) ||
        !cli_candidate(cli, id, &subject->kernel, err) ||
        !source_recall(cli->arena, cli->store, row->run, &subject->recalled, err) ||
        !image_asked(subject, shape, &subject->image, err) ||
        !source_render(cli->arena, cli->store, row, subject->image, &subject->recalled,
                       &exported->source, err) ||
        !find_build(cli, subject, err) || !find_program(cli, subject, err)) {
        return false;
    }
    space = subject->recalled.space;
    for (int i = 0; i < space->problem_count; i++) {
        if (space->problems[i].image == subject->image) {
            exported->problems[exported->problem_count++] = space->problems[i].problem;
        }
    }
    exported->arch = subject->build->arch;
    exported->title =
        arena_printf(cli->arena, "%s n%lld, found by evo", row->family, (long long)row->place);
    exported->provenance = provenance(cli, subject);
    return true;
}
