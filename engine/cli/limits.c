#include "cli/limits.h"

#include <math.h>
#include <string.h>

#include "base/str.h"
#include "cli/text.h"
#include "daemon/microbench.h"
#include "fitness/emu/model.h"

/* What a table of a chip says, as if it had been measured. */
static bool ceilings_of_chip(const char *device, struct ceilings *ceilings)
{
    static const char PREFIX[] = "emulated ";
    enum { WAVEFRONT_BYTES = 128, SECTOR_BYTES = 32 };
    const struct chip *chip =
        str_starts(device, PREFIX) ? chip_find(device + strlen(PREFIX)) : NULL;

    if (chip == NULL) {
        return false;
    }
    ceilings_clear(ceilings);
    ceilings->device = chip->device;
    ceilings->sms = chip->sms;
    ceilings->clock_mhz = chip->clock_mhz;
    ceilings->modelled = true;
    ceilings->per_clock[CEILING_WGMMA_256] = chip->per_clock[PIPE_TENSOR];
    ceilings->value[CEILING_WGMMA_256] =
        chip->per_clock[PIPE_TENSOR] * chip->sms * chip->clock_mhz / 1e6;
    ceilings->per_clock[CEILING_EXP2] = chip->per_clock[PIPE_SPECIAL];
    ceilings->per_clock[CEILING_SHARED] = chip->per_clock[PIPE_SHARED] * WAVEFRONT_BYTES;
    ceilings->value[CEILING_L2] = chip->l2_sectors_clock * SECTOR_BYTES * chip->clock_mhz / 1e3;
    ceilings->value[CEILING_DRAM] = chip->dram_gb_s;
    return true;
}

static void find_row(struct arena *arena, const struct limits *limits,
                     const struct kernel_row *kernel, int problem,
                     const struct metric_value *metrics, int64_t metric_count,
                     struct diagnosis *diagnosis, const char **reason)
{
    double values[METRIC_COUNT];
    struct problem shape;
    struct err ignored;
    struct diagnosis_subject subject = {.metrics = values,
                                        .us = kernel->problems[problem].score.us,
                                        .ceilings = limits->measured ? &limits->ceilings : NULL};

    *reason = "";
    for (int i = 0; i < METRIC_COUNT; i++) {
        values[i] = NAN;
    }
    for (int64_t i = 0; i < metric_count; i++) {
        enum metric known = metric_find(metrics[i].name);

        if (metrics[i].problem == problem && known < METRIC_COUNT) {
            values[known] = metrics[i].value;
            if (known == METRIC_HW_SM_CYCLES && isnan(metrics[i].value)) {
                *reason = metrics[i].reason;
            }
        }
    }
    if (problem_parse(kernel->problems[problem].problem, &shape, &ignored)) {
        subject.flops = problem_flops(&shape);
        subject.bytes = problem_bytes(&shape);
    }
    diagnose(arena, &subject, diagnosis);
}

bool limits_ceilings(struct store *store, struct arena *arena, int64_t run, const char *device,
                     struct ceilings *ceilings, bool *known, struct err *err)
{
    if (!store_ceilings(store, run, ceilings, known, err)) {
        return false;
    }
    *known = *known || microbench_recall(arena, device, ceilings, err);
    if (err->kind != ERR_NONE) {
        return false;
    }
    *known = *known || ceilings_of_chip(device, ceilings);
    return true;
}

bool limits_find(struct store *store, struct arena *arena, const struct kernel_row *kernel,
                 const struct metric_value *metrics, int64_t metric_count, struct limits *limits,
                 struct err *err)
{
    *limits = (struct limits){0};
    if (!limits_ceilings(store, arena, kernel->candidate.run, kernel->device, &limits->ceilings,
                         &limits->measured, err)) {
        return false;
    }
    if (!(kernel->candidate.score.us > 0)) {
        return true;
    }
    for (int i = 0; i < kernel->problem_count; i++) {
        int at = limits->count++;

        limits->rows[at].problem = kernel->problems[i].problem;
        find_row(arena, limits, kernel, i, metrics, metric_count, &limits->rows[at].diagnosis,
                 &limits->rows[at].reason);
    }
    return true;
}

/* ---- telling ---- */

static void print_known(struct arena *arena, const char *problem, const struct diagnosis *diagnosis)
{
    static const char *const heads[] = {"resource", "used", ""};
    struct table *table = table_new(arena, "lrl", heads);

    printf("%s: %s%s\n", problem, diagnosis->limit, diagnosis->modelled ? " (modelled)" : "");
    if (*diagnosis->roof != '\0') {
        printf("%s\n", diagnosis->roof);
    }
    for (int i = 0; i < RESOURCES; i++) {
        const char *cells[] = {resource_names[i],
                               isnan(diagnosis->share[i])
                                   ? NULL
                                   : arena_printf(arena, "%.1f %%", 100 * diagnosis->share[i]),
                               isnan(diagnosis->share[i]) ? "" : diagnosis->numbers[i]};

        table_row(table, STYLE_PLAIN, cells);
    }
    table_print(table, stdout);
    printf("%.1f %% of the passes through shared memory are bank conflicts; %.1f %% of the warps "
           "that fit\n",
           100 * diagnosis->conflicts, diagnosis->occupancy);
    if (*diagnosis->hot != '\0') {
        printf("%s\n", diagnosis->hot);
    }
}

void limits_print(struct arena *arena, const struct limits *limits, const char *device)
{
    bool headed = false;

    for (int i = 0; i < limits->count; i++) {
        const struct diagnosis *diagnosis = &limits->rows[i].diagnosis;

        if (!diagnosis->known && *limits->rows[i].reason == '\0') {
            continue;
        }
        if (!headed) {
            printf("\n%swhat limits it%s\n", style_on(stdout, STYLE_BOLD), style_off(stdout));
            headed = true;
        }
        if (diagnosis->known) {
            print_known(arena, limits->rows[i].problem, diagnosis);
        } else {
            printf("%s: nothing was counted: %s\n", limits->rows[i].problem,
                   limits->rows[i].reason);
        }
    }
    if (headed && !limits->measured) {
        printf("'evo microbench' on a machine with the device '%s' tells what it could do\n",
               device);
    }
}

json_t *limits_json(const struct limits *limits)
{
    json_t *rows = json_array();

    for (int i = 0; i < limits->count; i++) {
        const struct diagnosis *diagnosis = &limits->rows[i].diagnosis;
        json_t *shares = json_object();

        if (!diagnosis->known) {
            json_decref(shares);
            continue;
        }
        for (int k = 0; k < RESOURCES; k++) {
            json_object_set_new(shares, resource_names[k], json_number(diagnosis->share[k]));
        }
        json_array_append_new(
            rows,
            json_pack("{s:o, s:o, s:o, s:o, s:b, s:o, s:o, s:o}", "problem",
                      json_text(limits->rows[i].problem), "limit", json_text(diagnosis->limit),
                      "roof", json_text(diagnosis->roof), "samples", json_text(diagnosis->hot),
                      "modelled", diagnosis->modelled, "used",
                      shares, "bank_conflicts", json_number(diagnosis->conflicts), "occupancy",
                      json_number(diagnosis->occupancy)));
    }
    return rows;
}
