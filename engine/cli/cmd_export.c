#include <stdlib.h>
#include <string.h>

#include "base/str.h"
#include "cli/cli.h"
#include "cli/commands.h"
#include "cli/dispatch_table.h"
#include "cli/subject.h"
#include "cli/text.h"
#include "cli/torch_module.h"
#include "daemon/trial.h"

enum { FORMAT_CU, FORMAT_CUBIN, FORMAT_PTX, FORMAT_JSON, FORMAT_TORCH, FORMATS };
static const char *const formats[FORMATS] = {"cu", "cubin", "ptx", "json", "torch"};

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
           err_set(err, ERR_USER, "'--format' must be cu, cubin, ptx, json or torch, not '%s'",
                   text);
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
    json_t *constants = json_object(), *maps = json_array();
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
    for (int i = 0; i < program->map_count; i++) {
        const struct program_map *map = &program->maps[i];

        json_array_append_new(maps, json_pack("{s:s, s:s, s:[s,s], s:s}", "name", map->name,
                                              "tensor", map_tensor_names[map->tensor], "box",
                                              map->columns, map->rows, "swizzle", map->swizzle));
    }
    json_object_set_new(object, "maps", maps);
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
        return file_write(path, out->data, out->length, FILE_DURABLE, err);
    }
    return fwrite(out->data, 1, out->length, stdout) == out->length ||
           err_sys(err, "cannot write the standard output");
}

static bool export_table(struct cli *cli, int format, struct err *err)
{
    struct buf out = {0};
    bool ok;

    if (cli->operand_count > 0 || cli_has(cli, "shape")) {
        return err_set(err, ERR_USER, "'--table' is of all shapes and of the best kernels; it "
                                      "takes no ID and no '--shape'");
    }
    if (cli_has(cli, "format") && format != FORMAT_JSON) {
        return err_set(err, ERR_USER, "'--table' is written as CSV, or with '--format json'");
    }
    ok = dispatch_table_write(cli, format == FORMAT_JSON, &out, err) && write_out(cli, &out, err);
    buf_free(&out);
    return ok;
}

static bool body(struct cli *cli, struct err *err)
{
    struct subject *subject = arena_alloc(cli->arena, sizeof *subject);
    struct buf out = {0};
    int format;
    bool ok;

    if (!format_asked(cli, &format, err)) {
        return false;
    }
    if (cli_has(cli, "table")) {
        return export_table(cli, format, err);
    }
    if (!subject_gather(cli, cli->operand_count > 0 ? cli->operands[0] : "best",
                        cli_value(cli, "shape"), subject, err)) {
        return false;
    }
    if (format != FORMAT_CU && format != FORMAT_JSON && !machine_code(cli, subject, err)) {
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
    case FORMAT_TORCH:
        torch_module_write(&subject->exported, subject->build->cubin, subject->build->cubin_bytes,
                           &out);
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
