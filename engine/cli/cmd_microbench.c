/*
 * cmd_microbench.c -- what can this device do at most, and what does it cost to wait on it?
 *
 * Measures the table of fitness/ceilings.h, prints it, and keeps it for the device: runs that begin
 * afterwards take it along.
 */
#include <math.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "cli/cli.h"
#include "cli/commands.h"
#include "cli/text.h"
#include "daemon/microbench.h"
#include "daemon/setup.h"

enum { PROBE_DEADLINE_MS = 5 * 60 * 1000 }; /* a busy machine's emulated device is slow */

static bool show_progress(void *context, int done, int count)
{
    (void)context;
    if (count > 0 && isatty(STDERR_FILENO)) {
        fprintf(stderr, "\r%d of %d probes%s", done, count, done == count ? "\r\033[K" : "");
    }
    return true;
}

/* Those that --only names, or all. */
static bool choose(struct cli *cli, bool wanted[CEILINGS], bool *all, struct err *err)
{
    const char *name;
    int at = 0;

    *all = !cli_has(cli, "only");
    for (int i = 0; i < CEILINGS; i++) {
        wanted[i] = *all;
    }
    while ((name = cli_each(cli, "only", &at)) != NULL) {
        enum ceiling ceiling = ceiling_find(name);

        if (ceiling == CEILINGS) {
            err_set(err, ERR_USER, "option '--only': nothing is called '%s'", name);
            return err_hint(err, "'evo microbench' prints the names, as mma_f16_f32 and l2");
        }
        wanted[ceiling] = true;
    }
    return true;
}

static bool measure(struct cli *cli, const bool wanted[CEILINGS], struct microbench *microbench,
                    struct err *err)
{
    struct batch batch = {.fleet = fleet_new(), .arena = cli->arena, .go_on = show_progress};
    bool done, ok = setup_staff_device(cli->arena, cli_value(cli, "device"), PROBE_DEADLINE_MS,
                                       batch.fleet, err) &&
                    microbench_run(&batch, wanted, microbench, &done, err);

    fleet_free(batch.fleet);
    return ok;
}

/* What was kept for the device that --kept names. */
static bool recall(struct cli *cli, const char *device, struct microbench *microbench,
                   struct err *err)
{
    *microbench = (struct microbench){0};
    for (int i = 0; i < CEILINGS; i++) {
        microbench->trouble[i] = "";
    }
    if (microbench_recall(cli->arena, device, &microbench->ceilings, err)) {
        return true;
    }
    if (err->kind == ERR_NONE) {
        err_set(err, ERR_USER, "nothing is kept for the device '%s'", device);
        err_hint(err, "'evo microbench' measures the device of this machine");
    }
    return false;
}

static const char *number(struct arena *arena, double value)
{
    return isnan(value) ? NULL : arena_printf(arena, value < 100 ? "%.2f" : "%.0f", value);
}

static const char *per_clock_unit(enum ceiling_kind kind)
{
    static const char *const units[CEILING_KINDS] = {
        [CEILING_FLOPS] = "FLOP", [CEILING_OPS] = "warp op", [CEILING_BYTES] = "B"};

    return units[kind];
}

static void print_text(struct cli *cli, const struct microbench *microbench,
                       const bool wanted[CEILINGS], double seconds)
{
    static const char *const heads[] = {"name", "value", "unit", "a clock and SM", "", "what"};
    const struct ceilings *ceilings = &microbench->ceilings;
    struct table *table = table_new(cli->arena, "lrlrll", heads);

    for (int i = 0; i < CEILINGS; i++) {
        const struct ceiling_row *row = &ceiling_table[i];
        bool known = !isnan(ceilings->value[i]);
        const char *cells[] = {row->name,
                               number(cli->arena, ceilings->value[i]),
                               known ? ceiling_units[row->kind] : NULL,
                               number(cli->arena, ceilings->per_clock[i]),
                               isnan(ceilings->per_clock[i]) ? "" : per_clock_unit(row->kind),
                               row->doc};

        if (wanted[i]) {
            table_row(table, known ? STYLE_PLAIN : STYLE_DIM, cells);
        }
    }
    printf("%s%s%s: %lld multiprocessors at %.0f MHz%s (%s)\n", style_on(stdout, STYLE_BOLD),
           ceilings->device, style_off(stdout), (long long)ceilings->sms, ceilings->clock_mhz,
           ceilings->modelled ? ", modelled" : "", ceilings->version);
    table_print(table, stdout);
    for (int i = 0; i < CEILINGS; i++) {
        if (*microbench->trouble[i] != '\0') {
            printf("%s: %s\n", ceiling_table[i].name, microbench->trouble[i]);
        }
    }
    if (seconds > 0) {
        printf("measured in %.1f s\n", seconds);
    }
}

static bool print_json(const struct microbench *microbench, const bool wanted[CEILINGS],
                       struct err *err)
{
    const struct ceilings *ceilings = &microbench->ceilings;
    json_t *rows = json_array();

    for (int i = 0; i < CEILINGS; i++) {
        if (!wanted[i]) {
            continue;
        }
        json_array_append_new(
            rows,
            json_pack("{s:s, s:o, s:s, s:o, s:s, s:s}", "name", ceiling_table[i].name, "value",
                      json_number(ceilings->value[i]), "unit", ceiling_units[ceiling_table[i].kind],
                      "per_clock", json_number(ceilings->per_clock[i]), "doc", ceiling_table[i].doc,
                      "trouble", microbench->trouble[i]));
    }
    return cli_json(json_pack("{s:o, s:o, s:I, s:o, s:b, s:o}", "device",
                              json_text(ceilings->device), "version", json_text(ceilings->version),
                              "sms", (json_int_t)ceilings->sms, "clock_mhz",
                              json_number(ceilings->clock_mhz), "modelled", ceilings->modelled,
                              "ceilings", rows),
                    err);
}

static bool body(struct cli *cli, struct err *err)
{
    struct microbench *microbench = arena_alloc(cli->arena, sizeof *microbench);
    const char *kept = cli_value(cli, "kept");
    bool wanted[CEILINGS], all;
    int64_t start = clock_now_ms();
    struct err unkept = {0};

    if (!choose(cli, wanted, &all, err) ||
        !(kept != NULL ? recall(cli, kept, microbench, err)
                       : measure(cli, wanted, microbench, err))) {
        return false;
    }
    if (kept == NULL && all && !microbench_keep(cli->arena, &microbench->ceilings, &unkept)) {
        cli_say("what was measured is not kept: %s", unkept.what);
    }
    if (cli_has(cli, "json")) {
        return print_json(microbench, wanted, err);
    }
    print_text(cli, microbench, wanted, kept != NULL ? 0 : (double)(clock_now_ms() - start) / 1e3);
    return true;
}

int cmd_microbench(int argc, char **argv) { return cli_run(argc, argv, body); }
