#include "cli/emulate_plain.h"

#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include "cli/emulated.h"
#include "cli/text.h"
#include "daemon/trial.h"
#include "fitness/emu/plain.h"

static bool read_launch(struct cli *cli, const char *path, const char *source,
                        struct plain_launch *launch, struct err *err)
{
    const char *text = cli_value(cli, "launch");

    if (text == NULL) {
        text = plain_find(cli->arena, source);
    }
    if (text == NULL) {
        err_set(err, ERR_USER, "'%s' is no exported file, and does not say how it is launched",
                path);
        return err_hint(err, "give --launch 'kernel<<<1, 128>>>(in f32 a[1024], out f32 b[1024])', "
                             "or put that behind '// evo: launch ' into the file");
    }
    return plain_read(cli->arena, text, launch, err) || err_in(err, "'%s'", path);
}

/* The file's own headers lie beside it; the compiler works in another folder. */
static const char *include_option(struct arena *arena, const char *path)
{
    char whole[PATH_MAX];
    const char *slash = realpath(path, whole) != NULL ? strrchr(whole, '/') : NULL;

    return slash == NULL ? "-I." : arena_printf(arena, "-I%.*s", (int)(slash - whole), whole);
}

static bool compile(struct cli *cli, const char *path, const char *source, struct built *built,
                    struct err *err)
{
    struct compile_job job = {
        .source = source,
        .source_bytes = strlen(source),
        .name = path,
        .arch = "sm_90a",
        .options = {"-lineinfo", include_option(cli->arena, path)},
        .option_count = 2,
    };

    if (!trial_compile(cli->arena, &job, built, err)) {
        return false;
    }
    return built->verdict == VERDICT_NONE ||
           err_set(err, ERR_USER, "'%s' does not compile: %s", path, built->reason);
}

static int registers_of(const struct built *built, const char *kernel)
{
    for (int i = 0; i < built->entry_count; i++) {
        if (strcmp(built->entries[i].name, kernel) == 0) {
            return (int)built->entries[i].registers;
        }
    }
    return 0;
}

static json_t *outcome_json(const struct plain_launch *launch, const struct plain_outcome *outcome)
{
    return json_pack(
        "{s:o, s:o, s:o, s:I, s:b, s:I, s:f, s:o}", "device", json_text(outcome->chip), "launch",
        json_text(launch->text), "findings",
        emulated_findings_json(outcome->findings, outcome->finding_count), "findings_total",
        (json_int_t)outcome->findings_total, "atomics", outcome->atomics, "lane_ops",
        (json_int_t)outcome->lane_ops, "ms", outcome->ms, "kernel",
        outcome->profile.name != NULL ? emulated_kernel_json(&outcome->profile) : json_null());
}

static void print_outcome(struct cli *cli, const struct emulated_source *source,
                          const struct plain_launch *launch, const struct plain_outcome *outcome)
{
    bool clean = outcome->finding_count == 0;

    emulated_print_findings(cli->arena, source, outcome->findings, outcome->finding_count,
                            outcome->findings_total);
    printf("%s%s%s on %s, %s\n", style_on(stdout, clean ? STYLE_GOOD : STYLE_BAD),
           clean ? "nothing found" : "faulty", style_off(stdout), outcome->chip, launch->text);
    printf("%s lane instructions, %s\n", text_count(cli->arena, (int64_t)outcome->lane_ops),
           text_duration(cli->arena, (int64_t)outcome->ms));
    if (outcome->atomics) {
        printf("atomics on global memory were used: their order between blocks is open\n");
    }
    if (outcome->profile.name != NULL) {
        emulated_print_kernel(cli->arena, &outcome->profile);
    }
}

bool emulate_plain(struct cli *cli, const char *path, const char *source, unsigned sanitize,
                   struct err *err)
{
    struct plain_launch *launch = arena_alloc(cli->arena, sizeof *launch);
    struct plain_outcome *outcome = arena_alloc(cli->arena, sizeof *outcome);
    const struct emulated_source shown = {path, source};
    struct built built;

    if (!read_launch(cli, path, source, launch, err) || !compile(cli, path, source, &built, err)) {
        return false;
    }
    struct plain_request request = {
        .chip = cli_value(cli, "chip"),
        .ptx = built.ptx,
        .ptx_bytes = built.ptx_bytes,
        .registers = registers_of(&built, launch->kernel),
        .launch = launch,
        .sanitize = sanitize,
        .profile = cli_has(cli, "profile"),
    };

    if (!plain_run(cli->arena, &request, outcome, err)) {
        return err_in(err, "'%s'", path);
    }
    cli->exit_code = outcome->finding_count == 0 ? EXIT_OK : EXIT_NO;
    if (cli_has(cli, "json")) {
        return cli_json(outcome_json(launch, outcome), err);
    }
    print_outcome(cli, &shown, launch, outcome);
    return true;
}
