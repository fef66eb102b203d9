#include <string.h>

#include "base/str.h"
#include "cli/cli.h"
#include "cli/commands.h"
#include "cli/source.h"
#include "cli/text.h"
#include "daemon/devices.h"
#include "daemon/setup.h"

enum { COUNT_LIMIT = 50 * 1000 * 1000 }; /* genomes looked at for one family: a few seconds */
static const char default_arch[] = "sm_90";

struct count {
    int64_t feasible, total;
    bool whole; /* false: looking ended at the limit */
};

static bool read_seed(struct cli *cli, struct setup *setup, struct err *err)
{
    struct engine_options options = {
        .seed_path = cli_seed_path(cli->arena, cli->operands[0]),
        .templates = cli_value(cli, "templates"),
        .budget_evaluations = -1,
        .budget_wall_ms = -1,
        .budget_device_ms = -1,
    };
    struct seed *seed = arena_alloc(cli->arena, sizeof *seed);

    if (!seed_load(cli->arena, options.seed_path, seed, err)) {
        return false;
    }
    /* A seed for a GPU is checked on machines without one; a recording is part of the seed. */
    options.device = str_starts(seed->device, "replay:") ? NULL : "cuda:0";
    return setup_read(cli->arena, &options, setup, err);
}

/* The device that feasibility is asked for. */
static bool choose_device(const struct cli *cli, const struct seed *seed, struct hello *device,
                          struct err *err)
{
    const char *arch = cli_value(cli, "for");

    if (arch == NULL) {
        arch = seed->arch != NULL ? seed->arch : default_arch;
    }
    if (!device_of_arch(arch, device)) {
        err_set(err, ERR_USER, "unknown architecture '%s'", arch);
        return err_hint(err, "known are %s", device_arch_names(cli->arena));
    }
    return true;
}

/* A genome counts when every static problem of the workload admits it: the least of the counts. */
static struct count count_family(const struct search_space *space, int index)
{
    struct count least = {0};

    for (int i = 0; i < space->static_count; i++) {
        struct count count;

        count.whole = family_count(space->families[index], &space->statics[i].givens, COUNT_LIMIT,
                                   &count.feasible, &count.total);
        if (i == 0 || count.feasible < least.feasible) {
            least = count;
        }
    }
    return least;
}

static const char *count_text(struct arena *arena, const struct count *count)
{
    return arena_printf(arena, "%s%s of %s", count->whole ? "" : "at least ",
                        text_count(arena, count->feasible), text_count(arena, count->total));
}

static const char *device_text(struct arena *arena, const struct hello *device)
{
    return arena_printf(arena, "sm_%lld, %s of shared memory a block",
                        (long long)device->device_arch, text_bytes(arena, device->device_smem_max));
}

/* Some of what is feasible may belong to a numerics class that the seed does not breed. */
static const char *classes_text(const struct setup *setup)
{
    for (int i = 0; i < setup->family_count; i++) {
        const struct expr *numerics = setup->families[i]->numerics;

        if (numerics != NULL && strcmp(expr_text(numerics), "0") != 0 &&
            !(setup->seed.numerics[0] && setup->seed.numerics[1])) {
            return setup->seed.numerics[0] ? "; fp32 and fp16 are counted, fp32 is bred"
                                           : "; fp32 and fp16 are counted, fp16 is bred";
        }
    }
    return "";
}

static void print_counts(struct cli *cli, const struct setup *setup, const struct count *counts,
                         const struct hello *device)
{
    static const char *const heads[] = {"family", "genes", "feasible genomes", "what it is"};
    struct table *table = table_new(cli->arena, "lrrl", heads);
    int64_t feasible = 0;
    bool whole = true;

    for (int i = 0; i < setup->family_count; i++) {
        const struct family *family = setup->families[i];
        const char *cells[] = {
            family->name,
            arena_printf(cli->arena, "%d", family->gene_count),
            count_text(cli->arena, &counts[i]),
            family->title,
        };

        feasible += counts[i].feasible;
        whole = whole && counts[i].whole;
        table_row(table, counts[i].feasible > 0 ? STYLE_PLAIN : STYLE_BAD, cells);
    }
    printf("seed ok: %d famil%s, %s%s feasible genomes\n\n", setup->family_count,
           setup->family_count == 1 ? "y" : "ies", whole ? "" : "at least ",
           text_count(cli->arena, feasible));
    table_print(table, stdout);
    for (int i = 0; i < setup->left_out_count; i++) {
        printf("\nfamily '%s' is left out: %s\n", setup->left_out[i].family,
               setup->left_out[i].reason);
    }
    printf("\n%d founder%s, %d shape%s, for %s%s\n", setup->seed.founder_count,
           setup->seed.founder_count == 1 ? "" : "s", setup->seed.problem_count,
           setup->seed.problem_count == 1 ? "" : "s", device_text(cli->arena, device),
           classes_text(setup));
}

static json_t *counts_json(const struct setup *setup, const struct count *counts,
                           const struct hello *device)
{
    json_t *families = json_array(), *problems = json_array(), *left_out = json_array();

    for (int i = 0; i < setup->family_count; i++) {
        json_array_append_new(families, json_pack("{s:o, s:I, s:I, s:b}", "family",
                                                  json_text(setup->families[i]->name), "feasible",
                                                  (json_int_t)counts[i].feasible, "total",
                                                  (json_int_t)counts[i].total, "counted_whole",
                                                  counts[i].whole));
    }
    for (int i = 0; i < setup->seed.problem_count; i++) {
        char text[PROBLEM_TEXT_MAX];

        problem_text(&setup->seed.problems[i], text);
        json_array_append_new(problems, json_string(text));
    }
    for (int i = 0; i < setup->left_out_count; i++) {
        json_array_append_new(left_out, json_pack("{s:o, s:o}", "family",
                                                  json_text(setup->left_out[i].family), "reason",
                                                  json_text(setup->left_out[i].reason)));
    }
    return json_pack("{s:o, s:o, s:o, s:o, s:i, s:I, s:I}", "seed", json_text(setup->seed.name),
                     "families", families, "left_out", left_out, "problems", problems, "founders",
                     setup->seed.founder_count, "device_arch", (json_int_t)device->device_arch,
                     "device_smem_max", (json_int_t)device->device_smem_max);
}

/* A family without a feasible genome can only waste a search. */
static bool check_counts(const struct setup *setup, const struct count *counts,
                         const struct hello *device, struct err *err)
{
    for (int i = 0; i < setup->family_count; i++) {
        if (counts[i].whole && counts[i].feasible == 0) {
            err_set(err, ERR_USER, "%s: family '%s' has no feasible genome on sm_%lld",
                    setup->seed.path, setup->families[i]->name, (long long)device->device_arch);
            return err_hint(err,
                            "'evo genes %s' lists what it requires; --for checks another "
                            "device",
                            setup->families[i]->name);
        }
    }
    return true;
}

/* An include that is missing shows only when a source is put together; any genome will do. */
static bool check_sources(const struct setup *setup, const struct search_space *space,
                          struct err *err)
{
    struct buf source = {0};
    bool ok = true;

    for (int i = 0; i < setup->family_count && ok; i++) {
        struct genome genome = {.family = (uint16_t)i};

        if (setup->families[i]->text != NULL) {
            ok = render_source(setup->templates, setup->families[i], &genome,
                               &space->statics[0].givens, &source, err);
        }
    }
    buf_free(&source);
    return ok;
}

static bool check(struct cli *cli, struct err *err)
{
    struct setup *setup = arena_alloc(cli->arena, sizeof *setup);
    struct search_space *space = arena_alloc(cli->arena, sizeof *space);
    struct count counts[SEED_FAMILIES_MAX];
    struct hello device;
    const char *arch;

    if (!read_seed(cli, setup, err) || !choose_device(cli, &setup->seed, &device, err) ||
        !setup_space(setup, &device, space, &arch, err) || !check_sources(setup, space, err)) {
        return false;
    }
    for (int i = 0; i < setup->family_count; i++) {
        counts[i] = count_family(space, i);
    }
    if (!check_counts(setup, counts, &device, err)) {
        return false;
    }
    if (cli_has(cli, "json")) {
        return cli_json(counts_json(setup, counts, &device), err);
    }
    print_counts(cli, setup, counts, &device);
    return true;
}

int cmd_check(int argc, char **argv) { return cli_run(argc, argv, check); }
