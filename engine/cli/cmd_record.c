#include <string.h>

#include "base/str.h"
#include "cli/cli.h"
#include "cli/commands.h"
#include "cli/source.h"
#include "fitness/space.h"

/* What the walk over a run's candidates fills. */
struct recording {
    const struct family *family;
    struct space *space;
};

static bool add_params(struct cli *cli, const struct family *family, struct space *space,
                       struct err *err)
{
    for (int i = 0; i < family->gene_count; i++) {
        const struct gene *gene = &family->genes[i];
        const char **labels = arena_alloc(cli->arena, (size_t)gene->count * sizeof *labels);

        for (int at = 0; at < gene->count; at++) {
            labels[at] = gene_value_text(cli->arena, gene, at);
        }
        if (!space_add_param(space, gene->name, labels, gene->count, err)) {
            return false;
        }
    }
    return true;
}

/* A row for each candidate that has its verdict; one set aside by chance is left out. */
static bool add_row(void *context, const struct candidate_row *candidate, struct err *err)
{
    struct recording *recording = context;
    struct genome genome = {0};
    struct space_row row = {.verdict = candidate->verdict};

    if (candidate->state != CANDIDATE_DONE ||
        strcmp(candidate->family, recording->family->name) != 0) {
        return true;
    }
    if (!genome_parse(recording->family, candidate->genes, &genome, err)) {
        return false;
    }
    for (int i = 0; i < recording->family->gene_count; i++) {
        row.at[i] = genome.at[i];
    }
    if (candidate->verdict == VERDICT_PASS) {
        row.time_us = candidate->score.us;
    }
    return space_add_row(recording->space, &row, err);
}

static bool choose_family(struct cli *cli, const struct recalled *recalled,
                          const struct family **family, struct err *err)
{
    const struct setup *setup = recalled->setup;
    const char *name = cli_value(cli, "family");

    for (int i = 0; i < setup->family_count; i++) {
        if (name != NULL ? strcmp(setup->families[i]->name, name) == 0
                         : setup->family_count == 1) {
            *family = setup->families[i];
            return true;
        }
    }
    err_set(err, ERR_USER, name != NULL ? "the run has no family '%s'"
                                        : "the run has several families", name);
    return err_hint(err, "a recording is of one family: name it with '--family'");
}

static bool body(struct cli *cli, struct err *err)
{
    const char *path = cli_value(cli, "output");
    struct recording recording;
    struct recalled recalled;
    struct status_row status;
    struct buf out = {0};
    const char *problems = "";
    bool ok;

    if (!cli_store(cli, err) || !cli_status(cli, &status, err) ||
        !source_recall(cli->arena, cli->store, status.run.id, &recalled, err) ||
        !choose_family(cli, &recalled, &recording.family, err)) {
        return false;
    }
    recording.space = space_new(cli->arena, status.run.name);
    for (int i = 0; i < recalled.setup->seed.problem_count; i++) {
        char text[PROBLEM_TEXT_MAX];

        problem_text(&recalled.setup->seed.problems[i], text);
        problems = arena_printf(cli->arena, "%s%s%s", problems, i > 0 ? " " : "", text);
    }
    recording.space->device = status.run.device;
    recording.space->problem = problems;
    recording.space->family = recording.family->name;
    recording.space->arch = status.run.device_arch;
    recording.space->smem_max = status.run.device_smem_max;
    recording.space->sms = status.run.device_sms;
    if (!add_params(cli, recording.family, recording.space, err) ||
        !store_candidates_each(cli->store, status.run.id, add_row, &recording, err)) {
        return false;
    }
    space_print(recording.space, &out);
    ok = path != NULL ? file_write(path, out.data, out.length, FILE_DURABLE, err)
                      : fwrite(out.data, 1, out.length, stdout) == out.length ||
                            err_sys(err, "cannot write the standard output");
    buf_free(&out);
    return ok;
}

int cmd_record(int argc, char **argv) { return cli_run(argc, argv, body); }
