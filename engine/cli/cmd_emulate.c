#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "base/str.h"
#include "cli/cli.h"
#include "cli/commands.h"
#include "cli/emulate_plain.h"
#include "cli/emulated.h"
#include "cli/subject.h"
#include "cli/text.h"
#include "daemon/shapes.h"
#include "daemon/trial.h"
#include "fitness/emu/emulate.h"

enum { PROFILE_BLOCKS = 8, BLOCKS_MAX = 1 << 24 };

/* What is run: a program of its own file, or of a candidate. */
struct trial {
    const char *text; /* of the file; NULL: a candidate */
    struct exported exported;
    const char *name; /* of the source, in findings */
    struct built built;
    struct judge_image image;
    struct emulate_request request;
    struct emulation emulation;
};

/* ---- what to run --------------------------------------------------------------------------- */

static bool is_file(const char *operand)
{
    size_t length = strlen(operand);

    return (length > 3 && strcmp(operand + length - 3, ".cu") == 0) || strchr(operand, '/') != NULL;
}

static bool read_file(struct cli *cli, const char *path, const char **text, struct err *err)
{
    struct buf buf = {0};
    bool ok = file_read(path, EXPORTED_BYTES_MAX, &buf, err);

    *text = ok ? arena_text(cli->arena, buf.data, buf.length) : NULL;
    buf_free(&buf);
    return ok;
}

static bool gather(struct cli *cli, struct trial *trial, struct err *err)
{
    const char *operand = cli->operands[0];

    if (trial->text != NULL) {
        trial->name = operand;
        return exported_load(cli->arena, operand, cli_value(cli, "genes"), &trial->exported, err);
    }
    struct subject *subject = arena_alloc(cli->arena, sizeof *subject);

    if (!subject_gather(cli, operand, cli_value(cli, "shape"), subject, err)) {
        return false;
    }
    trial->exported = subject->exported;
    trial->name = arena_printf(cli->arena, "%s.cu", subject->kernel.candidate.family);
    return true;
}

/* The first that is supported of the small shapes of the emulated device's gate; else the file's
 * own. */
static struct problem small_shape(struct cli *cli, const struct exported *exported)
{
    struct shapes *shapes = arena_alloc(cli->arena, sizeof *shapes);
    struct hello hello = {.backend = "emu"};

    shapes->list[0].problem = exported->problems[0];
    shapes->count = 1;
    shapes_choose(shapes, &hello, NULL, 0);
    for (int i = 1; i < shapes->count; i++) {
        struct plan plan;
        struct err ignored;
        bool supported;

        if (plan_resolve(cli->arena, &exported->program, &shapes->list[i].problem, 1, &plan,
                         &supported, &ignored)) {
            return shapes->list[i].problem;
        }
    }
    return exported->problems[0];
}

static bool choose_shape(struct cli *cli, struct trial *trial, struct err *err)
{
    const char *text = cli_value(cli, "shape");
    const struct exported *exported = &trial->exported;

    if (text == NULL) {
        trial->request.problem = small_shape(cli, exported);
        return true;
    }
    if (!problem_parse(text, &trial->request.problem, err)) {
        return err_in(err, "option '--shape'");
    }
    if (!problem_same_static(&trial->request.problem, &exported->problems[0])) {
        char own[PROBLEM_TEXT_MAX];

        problem_text(&exported->problems[0], own);
        err_set(err, ERR_USER, "this program was not built for shapes like '%s'", text);
        return err_hint(err, "head dimension, type, causal and lse must be those of '%s'", own);
    }
    return true;
}

static bool compile(struct cli *cli, struct trial *trial, struct err *err)
{
    const struct exported *exported = &trial->exported;
    struct built *built = &trial->built;
    struct compile_job job = {
        .source = exported->source,
        .source_bytes = strlen(exported->source),
        .name = trial->name,
        .arch = exported->arch,
        .options = {"-lineinfo"},
        .option_count = 1,
        .entry_count = exported->program.kernel_count,
    };

    for (int i = 0; i < job.entry_count; i++) {
        job.entries[i] = exported->program.kernels[i].name;
    }
    if (!trial_compile(cli->arena, &job, built, err)) {
        return false;
    }
    if (built->verdict != VERDICT_NONE) {
        return err_set(err, ERR_USER, "'%s' does not compile: %s", cli->operands[0], built->reason);
    }
    trial->image = (struct judge_image){.cubin = built->cubin,
                                        .cubin_bytes = built->cubin_bytes,
                                        .ptx = built->ptx,
                                        .ptx_bytes = built->ptx_bytes,
                                        .code_key = built->code_key,
                                        .program = exported->program};
    return true;
}

/* Inputs as `evo show` names those of a case. */
static bool read_inputs(struct cli *cli, struct emulate_request *request, struct err *err)
{
    const char *family = cli_value(cli, "inputs"), *key = cli_value(cli, "key"), *all = "";

    if (family == NULL) {
        return key == NULL || err_set(err, ERR_USER, "'--key' goes with '--inputs'");
    }
    request->known = true;
    request->key = request->secret;
    while (request->family < INPUT_FAMILIES &&
           strcmp(input_family_names[request->family], family) != 0) {
        request->family++;
    }
    if (request->family == INPUT_FAMILIES) {
        for (int i = 0; i < INPUT_FAMILIES; i++) {
            all = arena_printf(cli->arena, "%s %s", all, input_family_names[i]);
        }
        err_set(err, ERR_USER, "there are no inputs '%.64s'", family);
        return err_hint(err, "there are%s; see docs/JUDGE.md", all);
    }
    if (key != NULL && (strlen(key) != 16 || strspn(key, "0123456789abcdef") != 16)) {
        return err_set(err, ERR_USER, "'--key' is 16 hexadecimal digits, not '%.64s'", key);
    }
    if (key != NULL) {
        request->key = strtoull(key, NULL, 16);
    }
    return true;
}

static bool read_options(struct cli *cli, struct emulate_request *request, struct err *err)
{
    const char *sanitize = cli_value(cli, "sanitize");

    request->chip = cli_value(cli, "chip");
    if (!sanitize_parse(sanitize != NULL ? sanitize : "all", &request->sanitize, err)) {
        return err_in(err, "option '--sanitize'");
    }
    if (!cli_number(cli, "blocks", 0, BLOCKS_MAX, PROFILE_BLOCKS, &request->profile_blocks, err)) {
        return false;
    }
    if (!cli_has(cli, "profile")) {
        request->profile_blocks = -1;
    }
    request->unchecked = cli_has(cli, "unchecked");
    if (request->unchecked && request->profile_blocks < 0) {
        return err_set(err, ERR_USER, "'--unchecked' goes with '--profile'");
    }
    if (getrandom(&request->secret, sizeof request->secret, 0) !=
        (ssize_t)sizeof request->secret) {
        return err_sys(err, "cannot draw a secret");
    }
    return read_inputs(cli, request, err);
}

/* ---- telling ------------------------------------------------------------------------------- */

static void print_findings(struct cli *cli, const struct trial *trial)
{
    const struct emulation *e = &trial->emulation;
    const struct emulated_source source = {trial->name, trial->exported.source};
    bool pass = e->verdict == VERDICT_PASS;
    char shape[PROBLEM_TEXT_MAX];

    problem_text(&trial->request.problem, shape);
    if (trial->request.unchecked) {
        printf("%s, %s: not run whole, and its output not looked at\n", e->chip, shape);
        return;
    }
    emulated_print_findings(cli->arena, &source, e->findings, e->finding_count, e->findings_total);
    printf("%s%s%s on %s", style_on(stdout, pass ? STYLE_GOOD : STYLE_BAD),
           verdict_names[e->verdict], style_off(stdout), e->chip);
    if (!pass && e->finding_count == 0) {
        printf(": %s", e->reason); /* which names the shape */
    } else if (e->compared) {
        printf(", %s: largest error %.3g where %.3g is allowed", shape, e->error_max,
               e->error_allowed);
    } else {
        printf(", %s", shape);
    }
    printf("\n%s lane instructions, %s\n", text_count(cli->arena, (int64_t)e->lane_ops),
           text_duration(cli->arena, (int64_t)e->ms));
    if (e->atomics) {
        printf("atomics on global memory were used: their order between blocks is open\n");
    }
}

static void print_text(struct cli *cli, const struct trial *trial)
{
    print_findings(cli, trial);
    for (int i = 0; i < trial->emulation.kernel_count; i++) {
        emulated_print_kernel(cli->arena, &trial->emulation.kernels[i]);
    }
}

static json_t *trial_json(const struct trial *trial)
{
    const struct emulation *e = &trial->emulation;
    json_t *kernels = json_array();
    char shape[PROBLEM_TEXT_MAX];

    problem_text(&trial->request.problem, shape);
    for (int i = 0; i < e->kernel_count; i++) {
        json_array_append_new(kernels, emulated_kernel_json(&e->kernels[i]));
    }
    return json_pack("{s:s, s:o, s:o, s:s, s:o, s:I, s:b, s:o, s:o, s:I, s:f, s:o}", "verdict",
                     verdict_names[e->verdict], "reason", json_text(e->reason), "device",
                     json_text(e->chip), "shape", shape, "findings",
                     emulated_findings_json(e->findings, e->finding_count), "findings_total",
                     (json_int_t)e->findings_total, "atomics", e->atomics, "error",
                     e->compared ? json_number(e->error_max) : json_null(), "allowed",
                     e->compared ? json_number(e->error_allowed) : json_null(), "lane_ops",
                     (json_int_t)e->lane_ops, "ms", e->ms, "kernels", kernels);
}

static bool body(struct cli *cli, struct err *err)
{
    struct trial *trial = arena_alloc(cli->arena, sizeof *trial);
    const char *operand = cli->operands[0];

    if (!read_options(cli, &trial->request, err) ||
        (is_file(operand) && !read_file(cli, operand, &trial->text, err))) {
        return false;
    }
    if (trial->text != NULL && !exported_is(trial->text)) {
        return emulate_plain(cli, operand, trial->text, trial->request.sanitize, err);
    }
    if (!gather(cli, trial, err) || !choose_shape(cli, trial, err) || !compile(cli, trial, err)) {
        return false;
    }
    trial->request.image = &trial->image;
    if (!emulate(cli->arena, &trial->request, &trial->emulation, err)) {
        return false;
    }
    cli->exit_code = trial->emulation.verdict > VERDICT_PASS ? EXIT_NO : EXIT_OK;
    if (cli_has(cli, "json")) {
        return cli_json(trial_json(trial), err);
    }
    print_text(cli, trial);
    return true;
}

int cmd_emulate(int argc, char **argv) { return cli_run(argc, argv, body); }
