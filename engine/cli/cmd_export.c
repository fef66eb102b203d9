#include <stdlib.h>
#include <string.h>

#include "base/str.h"
#include "cli/cli.h"
#include "cli/commands.h"
#include "cli/exported.h"
#include "cli/source.h"
#include "cli/text.h"
#include "daemon/trial.h"

enum { FORMAT_CU, FORMAT_CUBIN, FORMAT_PTX, FORMAT_JSON, FORMATS };
static const char *const formats[FORMATS] = {"cu", "cubin", "ptx", "json"};

/* What is exported: a candidate, the source of one of its images, and how it is called. */
struct subject {
    struct kernel_row kernel;
    struct recalled recalled;
    struct exported exported;
    const struct build_facts *build;
    int image;
};

static bool format_asked(struct cli *cli, int *format, struct err *err)
{
    const char *text = cli_value(cli, "format");

    for (*format = 0; text != NULL && *format < FORMATS; ++*format) {
        if (strcmp(text, formats[*format]) == 0) {
            return true;
        }
    }
    *format = FORMAT_CU;
    return text == NULL ||
           err_set(err, ERR_USER, "'--format' must be cu, cubin, ptx or json, not '%s'", text);
}

/* A workload may need several builds; --shape says which, else the first shape's is taken. */
static bool image_asked(struct cli *cli, const struct subject *subject, int *image,
                        struct err *err)
{
    const struct search_space *space = subject->recalled.space;
    const char *text = cli_value(cli, "shape");
    struct problem problem;

    *image = 0;
    if (text == NULL) {
        if (space->static_count > 1) {
            cli_say("the workload needs %d builds of a kernel; exporting the first shape's "
                    "('--shape' names another)", space->static_count);
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
    if (kernel->gain_over_founder > 0) {
        buf_printf(&text, "gain       %s over the seed's founder\n",
                   text_gain(arena, kernel->gain_over_founder));
    }
    buf_printf(&text, "numerics   %s accumulation\n", text_numerics(row->numerics));
    buf_printf(&text, "source     %s\n", text_hash12(arena, &subject->build->source_hash));
    buf_printf(&text, "code       %s\n", text_hash12(arena, &subject->build->code_key));
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

static bool gather(struct cli *cli, struct subject *subject, struct err *err)
{
    const char *id = cli->operand_count > 0 ? cli->operands[0] : "best";
    const struct candidate_row *row = &subject->kernel.candidate;
    struct exported *exported = &subject->exported;
    const struct search_space *space;

    if (!cli_store(cli, err) || !cli_candidate(cli, id, &subject->kernel, err) ||
        !source_recall(cli->arena, cli->store, row->run, &subject->recalled, err) ||
        !image_asked(cli, subject, &subject->image, err) ||
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
    exported->title = arena_printf(cli->arena, "%s n%lld, found by evo", row->family,
                                   (long long)row->place);
    exported->provenance = provenance(cli, subject);
    return true;
}

/* The machine code as it was judged: kept with the best, else built again and compared by hash. */
static bool machine_code(struct cli *cli, struct subject *subject, struct err *err)
{
    struct build_facts *build = arena_copy(cli->arena, subject->build, sizeof *build);
    struct compile_job job = {
        .source = subject->exported.source,
        .source_bytes = strlen(subject->exported.source),
        .name = arena_printf(cli->arena, "%s.cu", subject->kernel.candidate.family),
        .arch = build->arch,
        .entry_count = subject->exported.program.kernel_count,
    };
    struct built built;

    if (build->cubin != NULL) {
        return true;
    }
    for (int i = 0; i < job.entry_count; i++) {
        job.entries[i] = subject->exported.program.kernels[i].name;
    }
    if (!trial_compile(cli->arena, &job, &built, err)) {
        return false;
    }
    if (built.verdict != VERDICT_NONE || !hash_equal(&built.code_key, &build->code_key)) {
        err_set(err, ERR_SYSTEM, "this machine's compiler does not build the code that was judged");
        return err_hint(err, "'--format cu' exports the source, which any nvcc compiles");
    }
    build->ptx = built.ptx;
    build->ptx_bytes = built.ptx_bytes;
    build->cubin = built.cubin;
    build->cubin_bytes = built.cubin_bytes;
    subject->build = build;
    return true;
}

static void write_json(const struct subject *subject, struct buf *out)
{
    const struct program *program = &subject->exported.program;
    json_t *object = json_candidate(&subject->kernel.candidate), *kernels = json_array();
    json_t *constants = json_object();
    char *text;

    for (int i = 0; i < program->constant_count; i++) {
        json_object_set_new(constants, program->constants[i].name,
                            json_integer(program->constants[i].value));
    }
    for (int i = 0; i < program->kernel_count; i++) {
        const struct program_kernel *kernel = &program->kernels[i];
        json_t *args = json_array();

        for (int arg = 0; arg < kernel->arg_count; arg++) {
            json_array_append_new(args, json_string(kernel->args[arg]));
        }
        json_array_append_new(kernels, json_pack("{s:s, s:[s,s,s], s:s, s:s, s:o}", "name",
                                                 kernel->name, "grid", kernel->grid[0],
                                                 kernel->grid[1], kernel->grid[2], "threads",
                                                 kernel->threads, "smem", kernel->smem, "args",
                                                 args));
    }
    json_object_set_new(object, "device", json_text(subject->kernel.device));
    json_object_set_new(object, "arch", json_text(subject->exported.arch));
    json_object_set_new(object, "constants", constants);
    json_object_set_new(object, "kernels", kernels);
    json_object_set_new(object, "source", json_text(subject->exported.source));
    text = json_dumps(object, JSON_INDENT(2));
    buf_puts(out, text);
    buf_puts(out, "\n");
    free(text);
    json_decref(object);
}

static bool write_out(struct cli *cli, const struct buf *out, struct err *err)
{
    const char *path = cli_value(cli, "output");

    if (path != NULL) {
        return file_write(path, out->data, out->length, err);
    }
    return fwrite(out->data, 1, out->length, stdout) == out->length ||
           err_sys(err, "cannot write the standard output");
}

static bool body(struct cli *cli, struct err *err)
{
    struct subject *subject = arena_alloc(cli->arena, sizeof *subject);
    struct buf out = {0};
    int format;
    bool ok;

    if (!format_asked(cli, &format, err) || !gather(cli, subject, err)) {
        return false;
    }
    if ((format == FORMAT_CUBIN || format == FORMAT_PTX) && !machine_code(cli, subject, err)) {
        return false;
    }
    switch (format) {
    case FORMAT_CU:
        exported_write(&subject->exported, &out);
        break;
    case FORMAT_CUBIN:
        buf_add(&out, subject->build->cubin, subject->build->cubin_bytes);
        break;
    case FORMAT_PTX:
        buf_add(&out, subject->build->ptx, subject->build->ptx_bytes);
        break;
    default:
        write_json(subject, &out);
        break;
    }
    ok = write_out(cli, &out, err);
    buf_free(&out);
    return ok;
}

int cmd_export(int argc, char **argv) { return cli_run(argc, argv, body); }
