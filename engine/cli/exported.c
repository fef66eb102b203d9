#include "cli/exported.h"

#include <string.h>

#include "generated/export_head.h" /* the files of engine/cli/export, as strings */
#include "generated/export_launcher.h"
#include "generated/export_main.h"

static const char PROGRAM_BEGIN[] = "// evo:program-begin";
static const char PROGRAM_END[] = "// evo:program-end";
static const char DEVICE_BEGIN[] = "// evo:device-begin";
static const char DEVICE_END[] = "// evo:device-end";
static const char LINE[] = "// evo: ";

/* ---- writing ---- */

static void write_comment(struct buf *out, const char *lines)
{
    while (*lines != '\0') {
        int length = (int)strcspn(lines, "\n");

        buf_printf(out, "//%s%.*s\n", length > 0 ? " " : "", length, lines);
        lines += length + (lines[length] == '\n');
    }
}

/* The declaration, in the very lines that a judge's message has. */
static void write_program(const struct exported *exported, struct buf *out)
{
    struct arena *arena = arena_new();
    struct message *message = message_new(arena, "program");
    struct buf wire = {0};
    char *line, *save = NULL;

    program_put(message, &exported->program);
    message_put(message, "arch", "%s", exported->arch);
    for (int i = 0; i < exported->problem_count; i++) {
        char text[PROBLEM_TEXT_MAX];

        problem_text(&exported->problems[i], text);
        message_put(message, "problem", "%s", text);
    }
    message_encode(message, &wire);
    buf_printf(out, "%s\n", PROGRAM_BEGIN);
    for (line = strtok_r(wire.data + 4, "\n", &save); line != NULL;
         line = strtok_r(NULL, "\n", &save)) {
        buf_printf(out, "%s%s\n", LINE, line);
    }
    buf_printf(out, "%s\n", PROGRAM_END);
    buf_free(&wire);
    arena_free(arena);
}

/* #line directives name files that the reader does not have. */
static void write_source(const char *source, struct buf *out)
{
    while (*source != '\0') {
        size_t length = strcspn(source, "\n");

        if (strncmp(source, "#line", 5) != 0) {
            buf_add(out, source, length);
            buf_puts(out, "\n");
        }
        source += length + (source[length] == '\n');
    }
}


static void write_constants(const struct program *program, struct buf *out)
{
    for (int i = 0; i < program->constant_count; i++) {
        buf_printf(out, "enum : i64 { %s = %lld };\n", program->constants[i].name,
                   (long long)program->constants[i].value);
    }
}

/* Shape and multiprocessors as the launch expressions name them. */
static const char SHAPE_NAMES[] =
    "    const i64 batch = p.batch, heads = p.heads, kv_heads = p.kv_heads, q_len = p.q_len,\n"
    "              kv_len = p.kv_len;\n"
    "    (void)batch, (void)heads, (void)kv_heads, (void)q_len, (void)kv_len, (void)sms;\n";

static void write_supports(const struct program *program, struct buf *out)
{
    buf_printf(out, "inline bool supports(const evo_problem &p, i64 sms)\n{\n%s    return true",
               SHAPE_NAMES);
    for (int i = 0; i < program->supports_count; i++) {
        buf_printf(out, " && (%s)", program->supports[i].condition);
    }
    buf_puts(out, ";\n}\n");
}

/* Workspaces stand one after another, each at a multiple of 256 bytes. */
static void write_workspaces(const struct program *program, struct buf *out)
{
    buf_printf(out, "inline i64 workspace(const evo_problem &p, i64 sms, int upto)\n{\n%s"
                    "    i64 bytes = 0;\n",
               SHAPE_NAMES);
    for (int i = 0; i < program->workspace_count; i++) {
        buf_printf(out, "    if (upto > %d)\n        bytes += ceil_div(%s, 256) * 256;\n", i,
                   program->workspaces[i].bytes);
    }
    buf_puts(out, "    (void)upto;\n    return bytes;\n}\n");
}

static void write_argument(const struct program *program, const char *name, struct buf *out)
{
    static const struct {
        const char *name, *text;
    } fixed[] = {{"Q", "&q"}, {"K", "&k"}, {"V", "&v"}, {"O", "&o"}, {"LSE", "&lse"},
                 {"problem", "&problem"}};

    for (size_t i = 0; i < sizeof fixed / sizeof *fixed; i++) {
        if (strcmp(name, fixed[i].name) == 0) {
            buf_puts(out, fixed[i].text);
            return;
        }
    }
    for (int i = 0; i < program->workspace_count; i++) {
        if (strcmp(name, program->workspaces[i].name) == 0) {
            buf_printf(out, "&w[%d]", i);
            return;
        }
    }
}

static void write_kernel(const struct program *program, int index, struct buf *out)
{
    const struct program_kernel *kernel = &program->kernels[index];

    buf_printf(out,
               "    {\n"
               "        const i64 smem = %s;\n"
               "        void *args[] = {",
               kernel->smem);
    for (int i = 0; i < kernel->arg_count; i++) {
        buf_puts(out, i ? ", " : "");
        write_argument(program, kernel->args[i], out);
    }
    buf_printf(out,
               "};\n"
               "        rc = cudaFuncSetAttribute((const void *)%s, cudaFuncAttributeMaxDynamicSharedMemorySize, (int)smem);\n"
               "        if (rc == cudaSuccess)\n"
               "            rc = cudaLaunchKernel((const void *)%s, dim3((unsigned)(%s), (unsigned)(%s), (unsigned)(%s)),\n"
               "                                  dim3((unsigned)(%s)), args, (size_t)smem, stream);\n"
               "        if (rc != cudaSuccess)\n"
               "            return (int)rc;\n"
               "    }\n",
               kernel->name, kernel->name, kernel->grid[0], kernel->grid[1], kernel->grid[2],
               kernel->threads);
}

static void write_launch(const struct program *program, struct buf *out)
{
    buf_printf(out,
               "inline int launch(const void *q, const void *k, const void *v, void *o, float *lse, evo_problem problem,\n"
               "                  char *scratch, cudaStream_t stream, i64 sms)\n"
               "{\n"
               "    const evo_problem &p = problem;\n%s"
               "    cudaError_t rc = cudaSuccess;\n",
               SHAPE_NAMES);
    if (program->workspace_count > 0) {
        buf_printf(out, "    void *w[%d];\n", program->workspace_count);
    }
    for (int i = 0; i < program->workspace_count; i++) {
        buf_printf(out, "    w[%d] = scratch + workspace(p, sms, %d);\n", i, i);
        if (program->workspaces[i].kind == WORKSPACE_ZERO_CALL) {
            buf_printf(out, "    if ((rc = cudaMemsetAsync(w[%d], 0, (size_t)(%s), stream)) != cudaSuccess)\n"
                            "        return (int)rc;\n",
                       i, program->workspaces[i].bytes);
        }
    }
    buf_puts(out, "    (void)scratch;\n");
    for (int i = 0; i < program->kernel_count; i++) {
        write_kernel(program, i, out);
    }
    buf_puts(out, "    return 0;\n}\n} // namespace evo_host\n\n");
}



void exported_write(const struct exported *exported, struct buf *out)
{
    const struct problem *problem = &exported->problems[0];

    buf_printf(out, "// %s\n//\n", exported->title);
    write_comment(out, exported->provenance);
    buf_printf(out,
               "//\n"
               "// Build:  nvcc -O3 -std=c++17 -arch=%s -c FILE.cu\n"
               "// Try:    nvcc -O3 -std=c++17 -arch=%s -DEVO_MAIN FILE.cu -o try && ./try\n"
               "// Verify: evo verify FILE.cu\n"
               "//\n",
               exported->arch, exported->arch);
    write_program(exported, out);
    buf_printf(out, "\n%s\n", DEVICE_BEGIN);
    write_source(exported->source, out);
    buf_printf(out, "%s\n\n", DEVICE_END);
    /* Launch expressions are C++ too, once their names are 64-bit constants and variables. */
    buf_puts(out, export_head);
    write_constants(&exported->program, out);
    write_supports(&exported->program, out);
    write_workspaces(&exported->program, out);
    write_launch(&exported->program, out);
    buf_printf(out,
               "#define EVO_HEAD_DIM %lld\n"
               "#define EVO_MAIN_SHAPE %lld, %lld, %lld, %lld, %lld\n"
               "#define EVO_MAIN_CAUSAL %d\n%s\n",
               (long long)problem->head_dim, (long long)problem->batch,
               (long long)problem->heads, (long long)problem->kv_heads,
               (long long)problem->q_len, (long long)problem->kv_len, problem->causal,
               problem->dtype == DTYPE_BF16 ? "#define EVO_BF16 1\n" : "");
    buf_puts(out, export_launcher);
    buf_puts(out, export_main);
}

/* ---- reading ---- */

static bool not_ours(const char *path, const char *mark, struct err *err)
{
    err_set(err, ERR_USER, "%s: the line '%s' is missing", path, mark);
    return err_hint(err, "evo verifies files that 'evo export' wrote");
}

/* The lines between two marks; false if either is missing. */
static bool between(const char *text, const char *begin, const char *end, const char **from,
                    size_t *length)
{
    const char *at = strstr(text, begin), *stop;

    if (at == NULL || (at = strchr(at, '\n')) == NULL ||
        (stop = strstr(++at, end)) == NULL) {
        return false;
    }
    *from = at;
    *length = (size_t)(stop - at);
    return true;
}

static bool read_program(struct arena *arena, const char *path, const char *lines, size_t length,
                         struct exported *exported, struct err *err)
{
    struct buf wire = {0};
    struct message *message;
    const char *at = lines, *end = lines + length, *text;
    size_t each = 0;
    bool ok;

    while (at < end) {
        size_t line = strcspn(at, "\n");

        if (str_starts(at, LINE)) {
            buf_add(&wire, at + strlen(LINE), line - strlen(LINE));
            buf_puts(&wire, "\n");
        }
        at += line + 1;
    }
    buf_puts(&wire, "\n");
    ok = message_decode(arena, wire.data, wire.length, &message, err) &&
         program_get(arena, message, &exported->program, err);
    buf_free(&wire);
    if (!ok) {
        return err_in(err, "%s", path);
    }
    text = message_get(message, "arch");
    exported->arch = text != NULL ? text : "sm_90a";
    while ((text = message_each(message, "problem", &each)) != NULL) {
        if (exported->problem_count == JOB_PROBLEMS_MAX) {
            return err_set(err, ERR_USER, "%s: more than %d problems", path, JOB_PROBLEMS_MAX);
        }
        if (!problem_parse(text, &exported->problems[exported->problem_count++], err)) {
            return err_in(err, "%s", path);
        }
    }
    return exported->problem_count > 0 ||
           err_set(err, ERR_USER, "%s: it names no problem that it solves", path);
}

bool exported_read(struct arena *arena, const char *path, const char *text, size_t length,
                   struct exported *exported, struct err *err)
{
    const char *from;
    size_t size;

    memset(exported, 0, sizeof *exported);
    if (strlen(text) != length) {
        return err_set(err, ERR_USER, "%s: it holds a NUL byte", path);
    }
    if (!between(text, PROGRAM_BEGIN, PROGRAM_END, &from, &size)) {
        return not_ours(path, PROGRAM_BEGIN, err);
    }
    if (!read_program(arena, path, from, size, exported, err)) {
        return false;
    }
    if (!between(text, DEVICE_BEGIN, DEVICE_END, &from, &size)) {
        return not_ours(path, DEVICE_BEGIN, err);
    }
    exported->source = arena_text(arena, from, size);
    exported->title = path;
    exported->provenance = "";
    return true;
}
