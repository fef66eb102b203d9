#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "base/str.h"
#include "cli/cli.h"
#include "cli/commands.h"
#include "cli/subject.h"
#include "cli/text.h"
#include "daemon/shapes.h"
#include "daemon/trial.h"
#include "fitness/emu/emulate.h"

enum { PROFILE_BLOCKS = 8, BLOCKS_MAX = 1 << 24, LINES_SHOWN = 10, SOURCE_SHOWN = 88 };

/* What is run: a program of its own file, or of a candidate. */
struct trial {
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

static bool gather(struct cli *cli, struct trial *trial, struct err *err)
{
    const char *operand = cli->operands[0];

    if (is_file(operand)) {
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
    return getrandom(&request->secret, sizeof request->secret, 0) ==
               (ssize_t)sizeof request->secret ||
           err_sys(err, "cannot draw a secret");
}

/* ---- as text ------------------------------------------------------------------------------- */

static const char *base_of(const char *path)
{
    const char *slash = strrchr(path, '/');

    return slash != NULL ? slash + 1 : path;
}

/* Follows `#line 12 "file"`: returns whether the line is one. */
static bool read_line_directive(struct arena *arena, const char *line, const char **file,
                                int *number)
{
    const char *quote;
    char *end;
    long next;

    if (!str_starts(line, "#line ")) {
        return false;
    }
    next = strtol(line + 6, &end, 10);
    *number = (int)next - 1;
    quote = end + strspn(end, " ");
    if (*quote == '"') {
        *file = base_of(arena_text(arena, quote + 1, strcspn(quote + 1, "\"\n")));
    }
    return true;
}

/* The text of a place, without what stands around it; "" when the source does not have it. */
static const char *line_of(struct arena *arena, const struct trial *trial,
                           const struct finding_place *place)
{
    const char *file = base_of(trial->name);
    int number = 0;

    for (const char *at = trial->exported.source; *at != '\0';) {
        size_t length = strcspn(at, "\n");

        number++;
        if (!read_line_directive(arena, at, &file, &number) && number == place->line &&
            strcmp(file, place->file) == 0) {
            size_t blank = strspn(at, " \t");
            return blank < length ? arena_text(arena, at + blank, length - blank) : "";
        }
        at += length + (at[length] == '\n');
    }
    return "";
}

/* "  racy.cu:345    w = *(const word<N> *)from;", and who called it from where. */
static void print_chain(struct cli *cli, const struct trial *trial, const struct finding_chain *at)
{
    for (int i = 0; i < at->count; i++) {
        const struct finding_place *place = &at->places[i];
        const char *where = arena_printf(cli->arena, "%s:%d", place->file, place->line);
        const char *line = line_of(cli->arena, trial, place);

        printf("  %s%-*s %.*s\n", i > 0 ? "from " : "", i > 0 ? 22 : 27, where, SOURCE_SHOWN,
               line);
    }
}

static void print_finding(struct cli *cli, const struct trial *trial,
                          const struct finding_told *finding)
{
    printf("%s%s%s\n", style_on(stdout, STYLE_BAD), finding->text, style_off(stdout));
    print_chain(cli, trial, &finding->at);
    if (finding->other.count > 0) {
        printf("  and\n");
        print_chain(cli, trial, &finding->other);
    }
    if (finding->alike > 0) {
        printf("  and %s more at these lines\n", text_count(cli->arena, finding->alike));
    }
}

static void print_findings(struct cli *cli, const struct trial *trial)
{
    const struct emulation *e = &trial->emulation;
    bool pass = e->verdict == VERDICT_PASS;
    char shape[PROBLEM_TEXT_MAX];

    problem_text(&trial->request.problem, shape);
    for (int i = 0; i < e->finding_count; i++) {
        print_finding(cli, trial, &e->findings[i]);
    }
    if (e->finding_count > 0) {
        printf("\n%d different finding%s, made %s times\n", e->finding_count,
               e->finding_count == 1 ? "" : "s", text_count(cli->arena, e->findings_total));
    }
    printf("%s%s%s on %s, %s", style_on(stdout, pass ? STYLE_GOOD : STYLE_BAD),
           verdict_names[e->verdict], style_off(stdout), e->chip, shape);
    if (e->compared) {
        printf(": largest error %.3g where %.3g is allowed", e->error_max, e->error_allowed);
    } else if (e->finding_count == 0) {
        printf(": %s", e->reason);
    }
    printf("\n%s lane instructions, %s\n", text_count(cli->arena, (int64_t)e->lane_ops),
           text_duration(cli->arena, (int64_t)e->ms));
    if (e->atomics) {
        printf("atomics on global memory were used: their order between blocks is open\n");
    }
}

static const char *share_text(struct arena *arena, uint64_t part, uint64_t whole)
{
    return text_share(arena, (double)part, (double)whole);
}

static void print_classes(struct arena *arena, const struct kernel_profile *kernel)
{
    static const char *const heads[] = {"class", "warp ops", "share", "lanes active"};
    struct table *table = table_new(arena, "lrrr", heads);
    const struct profile_totals *totals = &kernel->totals;

    for (int i = 0; i < PROFILE_CLASSES && class_names[i] != NULL; i++) {
        const char *cells[] = {
            class_names[i],
            text_count(arena, (int64_t)totals->class_ops[i]),
            share_text(arena, totals->class_ops[i], totals->ops),
            arena_printf(arena, "%.1f",
                         totals->class_ops[i] > 0
                             ? (double)totals->class_lanes[i] / (double)totals->class_ops[i]
                             : 0),
        };

        if (totals->class_ops[i] > 0) {
            table_row(table, STYLE_PLAIN, cells);
        }
    }
    table_print(table, stdout);
}

static void print_memory(struct arena *arena, const struct profile_totals *totals)
{
    printf("shared   %s wavefronts in %s accesses, %s of them bank conflicts\n",
           text_count(arena, (int64_t)totals->shared_wavefronts),
           text_count(arena, (int64_t)totals->shared_accesses),
           share_text(arena, totals->shared_wavefronts - totals->shared_ideal,
                      totals->shared_wavefronts));
    printf("global   %s sectors in %s accesses, %s of their bytes asked for; %s from beyond L1\n",
           text_count(arena, (int64_t)totals->global_sectors),
           text_count(arena, (int64_t)totals->global_accesses),
           share_text(arena, totals->global_bytes, totals->global_sectors * 32),
           text_count(arena, (int64_t)totals->busy[PIPE_L2]));
}

static void print_time(struct arena *arena, const struct kernel_profile *kernel)
{
    static const char *const heads[] = {"pipe", "busy"};
    const struct model_time *time = &kernel->time;
    struct table *table = table_new(arena, "lr", heads);

    for (int i = 0; i < PIPES; i++) {
        const char *cells[] = {pipe_names[i], text_us(arena, time->busy_us[i])};

        if (time->busy_us[i] > 0) {
            table_row(table, STYLE_PLAIN, cells);
        }
    }
    printf("modelled %s%s%s, bound by %s; %d blocks a multiprocessor (%.0f %% of its warps), %.2f "
           "waves, a block alone %s\n",
           style_on(stdout, STYLE_BOLD), text_us(arena, time->us), style_off(stdout), time->bound,
           time->resident, time->occupancy, time->waves, text_us(arena, time->length_us));
    table_print(table, stdout);
}

static void print_lines(struct arena *arena, const struct kernel_profile *kernel)
{
    static const char *const heads[] = {"line", "issue slots", "shared wavefronts", "L2 sectors"};
    struct table *table = table_new(arena, "lrrr", heads);

    for (int i = 0; i < kernel->line_count && i < LINES_SHOWN; i++) {
        const struct profile_line *line = &kernel->lines[i];
        const char *base = strrchr(line->file, '/');
        const char *cells[] = {
            arena_printf(arena, "%s:%d", base != NULL ? base + 1 : line->file, line->line),
            text_count(arena, (int64_t)line->ops),
            text_count(arena, (int64_t)line->shared_wavefronts),
            text_count(arena, (int64_t)line->l2_sectors),
        };

        table_row(table, STYLE_PLAIN, cells);
    }
    table_print(table, stdout);
}

static void print_text(struct cli *cli, const struct trial *trial)
{
    struct arena *arena = cli->arena;

    print_findings(cli, trial);
    for (int i = 0; i < trial->emulation.kernel_count; i++) {
        const struct kernel_profile *kernel = &trial->emulation.kernels[i];

        printf("\n%s%s%s: %lld of %lld blocks profiled, %d registers, %s of shared memory\n",
               style_on(stdout, STYLE_BOLD), kernel->name, style_off(stdout),
               (long long)kernel->totals.blocks, (long long)kernel->blocks,
               kernel->launch.registers, text_bytes(arena, kernel->launch.smem_bytes));
        print_time(arena, kernel);
        print_memory(arena, &kernel->totals);
        print_classes(arena, kernel);
        print_lines(arena, kernel);
    }
}

/* ---- as JSON ------------------------------------------------------------------------------- */

static json_t *kernel_json(const struct kernel_profile *kernel)
{
    const struct profile_totals *totals = &kernel->totals;
    const struct model_time *time = &kernel->time;
    json_t *classes = json_object(), *busy = json_object(), *lines = json_array();

    for (int i = 0; i < PROFILE_CLASSES && class_names[i] != NULL; i++) {
        json_object_set_new(classes, class_names[i],
                            json_integer((json_int_t)totals->class_ops[i]));
    }
    for (int i = 0; i < PIPES; i++) {
        json_object_set_new(busy, pipe_names[i], json_number(time->busy_us[i]));
    }
    for (int i = 0; i < kernel->line_count; i++) {
        const struct profile_line *line = &kernel->lines[i];

        json_array_append_new(lines,
                              json_pack("{s:o, s:i, s:I, s:I, s:I}", "file", json_text(line->file),
                                        "line", line->line, "slots", (json_int_t)line->ops,
                                        "shared_wavefronts", (json_int_t)line->shared_wavefronts,
                                        "l2_sectors", (json_int_t)line->l2_sectors));
    }
    return json_pack(
        "{s:o, s:I, s:I, s:i, s:I, s:f, s:s, s:i, s:f, s:f, s:f, s:I, s:I, s:I, s:I, s:I, s:I, "
        "s:o, "
        "s:o, s:o}",
        "name", json_text(kernel->name), "blocks", (json_int_t)kernel->blocks, "sampled_blocks",
        (json_int_t)totals->blocks, "registers", kernel->launch.registers, "smem_bytes",
        (json_int_t)kernel->launch.smem_bytes, "modelled_us", time->us, "bound", time->bound,
        "resident", time->resident, "occupancy", time->occupancy, "waves", time->waves, "block_us",
        time->length_us, "warp_ops", (json_int_t)totals->ops, "lane_ops",
        (json_int_t)totals->lane_ops, "shared_wavefronts", (json_int_t)totals->shared_wavefronts,
        "shared_ideal", (json_int_t)totals->shared_ideal, "global_sectors",
        (json_int_t)totals->global_sectors, "tensor_flops", (json_int_t)totals->tensor_flops,
        "classes", classes, "busy_us", busy, "lines", lines);
}

static json_t *chain_json(const struct finding_chain *chain)
{
    json_t *places = json_array();

    for (int i = 0; i < chain->count; i++) {
        json_array_append_new(places, json_pack("{s:o, s:i}", "file",
                                                json_text(chain->places[i].file), "line",
                                                chain->places[i].line));
    }
    return places;
}

static json_t *finding_json(const struct finding_told *finding)
{
    return json_pack("{s:s, s:o, s:s, s:o, s:s, s:o, s:I}", "kind", finding->kind, "text",
                     json_text(finding->text), "opcode", finding->opcode, "at",
                     chain_json(&finding->at), "other_opcode", finding->other_opcode, "other",
                     chain_json(&finding->other), "alike", (json_int_t)finding->alike);
}

static json_t *trial_json(const struct trial *trial)
{
    const struct emulation *e = &trial->emulation;
    json_t *findings = json_array(), *kernels = json_array();
    char shape[PROBLEM_TEXT_MAX];

    problem_text(&trial->request.problem, shape);
    for (int i = 0; i < e->finding_count; i++) {
        json_array_append_new(findings, finding_json(&e->findings[i]));
    }
    for (int i = 0; i < e->kernel_count; i++) {
        json_array_append_new(kernels, kernel_json(&e->kernels[i]));
    }
    return json_pack("{s:s, s:o, s:o, s:s, s:o, s:I, s:b, s:o, s:o, s:I, s:f, s:o}", "verdict",
                     verdict_names[e->verdict], "reason", json_text(e->reason), "device",
                     json_text(e->chip), "shape", shape, "findings", findings, "findings_total",
                     (json_int_t)e->findings_total, "atomics", e->atomics, "error",
                     e->compared ? json_number(e->error_max) : json_null(), "allowed",
                     e->compared ? json_number(e->error_allowed) : json_null(), "lane_ops",
                     (json_int_t)e->lane_ops, "ms", e->ms, "kernels", kernels);
}

static bool body(struct cli *cli, struct err *err)
{
    struct trial *trial = arena_alloc(cli->arena, sizeof *trial);

    if (!read_options(cli, &trial->request, err) || !gather(cli, trial, err) ||
        !choose_shape(cli, trial, err) || !compile(cli, trial, err)) {
        return false;
    }
    trial->request.image = &trial->image;
    if (!emulate(cli->arena, &trial->request, &trial->emulation, err)) {
        return false;
    }
    cli->exit_code = trial->emulation.verdict == VERDICT_PASS ? EXIT_OK : EXIT_NO;
    if (cli_has(cli, "json")) {
        return cli_json(trial_json(trial), err);
    }
    print_text(cli, trial);
    return true;
}

int cmd_emulate(int argc, char **argv) { return cli_run(argc, argv, body); }
