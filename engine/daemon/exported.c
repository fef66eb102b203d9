#include "daemon/exported.h"

#include <string.h>

#include "daemon/devices.h"
#include "daemon/planted.h"
#include "daemon/prune.h"
#include "daemon/setup.h"
#include "daemon/trial.h"
#include "generated/export_head.h" /* the files of engine/cli/export, as strings */
#include "generated/export_launcher.h"
#include "generated/export_main.h"
#include "generated/export_maps.h"
#include "generated/export_prototypes.h"

enum { PROBLEMS_MAX = sizeof ((struct exported *)0)->problems / sizeof(struct problem) };
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
    buf_printf(out, "%s\n\n", PROGRAM_END);
    buf_free(&wire);
    arena_free(arena);
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
    for (int i = 0; i < program->map_count; i++) {
        if (strcmp(name, program->maps[i].name) == 0) {
            buf_printf(out, "&m[%d]", i);
            return;
        }
    }
}

static void write_maps(const struct exported *exported, struct buf *out)
{
    static const struct {
        const char *pointer, *strides, *rows, *heads;
    } of[MAP_TENSORS] = {[MAP_Q] = {"q", "p.q", "p.q_len", "p.heads"},
                         [MAP_K] = {"k", "p.k", "p.kv_len", "p.kv_heads"},
                         [MAP_V] = {"v", "p.v", "p.kv_len", "p.kv_heads"},
                         [MAP_O] = {"o", "p.o", "p.q_len", "p.heads"}};
    const struct program *program = &exported->program;
    bool bf16 = exported->problems[0].dtype == DTYPE_BF16;

    if (program->map_count > 0) {
        buf_printf(out, "    evo_tensor_map m[%d];\n", program->map_count);
    }
    for (int i = 0; i < program->map_count; i++) {
        const struct program_map *map = &program->maps[i];

        buf_printf(out,
                   "    if ((rc = make_map(&m[%d], %s, CU_TENSOR_MAP_DATA_TYPE_%s, p.head_dim, %s, "
                   "%s, p.batch, %s,\n"
                   "                       %s, %s, %s)) != cudaSuccess)\n"
                   "        return (int)rc;\n",
                   i, of[map->tensor].pointer, bf16 ? "BFLOAT16" : "FLOAT16", of[map->tensor].rows,
                   of[map->tensor].heads, of[map->tensor].strides, map->columns, map->rows,
                   map->swizzle);
    }
}

static void write_kernel(const struct program *program, int index, struct buf *out)
{
    const struct program_kernel *kernel = &program->kernels[index];

    buf_printf(out,
               "    if (const i64 evo_x = %s, evo_y = %s, evo_z = %s; evo_x > 0 && evo_y > 0 && "
               "evo_z > 0) {\n"
               "        const i64 smem = %s;\n"
               "        void *args[] = {",
               kernel->grid[0], kernel->grid[1], kernel->grid[2], kernel->smem);
    for (int i = 0; i < kernel->arg_count; i++) {
        buf_puts(out, i ? ", " : "");
        write_argument(program, kernel->args[i], out);
    }
    buf_printf(
        out,
        "};\n"
        "        rc = cudaFuncSetAttribute((const void *)%s, "
        "cudaFuncAttributeMaxDynamicSharedMemorySize, (int)smem);\n"
        "        if (rc == cudaSuccess)\n"
        "            rc = cudaLaunchKernel((const void *)%s,\n"
        "                                  dim3((unsigned)evo_x, (unsigned)evo_y, "
        "(unsigned)evo_z),\n"
        "                                  dim3((unsigned)(%s)), args, (size_t)smem, stream);\n"
        "        if (rc != cudaSuccess)\n"
        "            return (int)rc;\n"
        "    }\n",
        kernel->name, kernel->name, kernel->threads);
}

static void write_launch(const struct exported *exported, struct buf *out)
{
    const struct program *program = &exported->program;

    buf_printf(out,
               "inline int launch(const void *q, const void *k, const void *v, void *o, float "
               "*lse, evo_problem problem,\n"
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
            buf_printf(out,
                       "    if (const i64 evo_bytes = %s; evo_bytes > 0 &&\n"
                       "        (rc = cudaMemsetAsync(w[%d], 0, (size_t)evo_bytes, stream)) != "
                       "cudaSuccess)\n"
                       "        return (int)rc;\n",
                       program->workspaces[i].bytes, i);
        }
    }
    buf_puts(out, "    (void)scratch;\n");
    write_maps(exported, out);
    for (int i = 0; i < program->kernel_count; i++) {
        write_kernel(program, i, out);
    }
    buf_puts(out, "    return 0;\n}\n} // namespace evo_host\n\n");
}

/* What the launcher and the main of the file ask about the problem. */
static void write_problem(const struct problem *problem, struct buf *out)
{
    buf_printf(out,
               "#define EVO_HEAD_DIM %lld\n"
               "#define EVO_SEQUENCE_FIRST %d // 1: memory is [batch, rows, heads, EVO_HEAD_DIM]\n"
               "#define EVO_MAIN_SHAPE %lld, %lld, %lld, %lld, %lld\n"
               "#define EVO_MAIN_CAUSAL %d\n"
               "#define EVO_MAIN_BF16 %d\n"
               "#define EVO_MAIN_LSE %d\n\n",
               (long long)problem->head_dim, problem->sequence_first, (long long)problem->batch,
               (long long)problem->heads, (long long)problem->kv_heads,
               (long long)problem->q_len, (long long)problem->kv_len, problem->causal,
               problem->dtype == DTYPE_BF16, problem->lse);
}

/*
 * "-arch=sm_90a" makes code for every device from compute_90 on besides, which has none of that
 * architecture's own instructions, so a kernel that uses them does not build (nvcc 12.9 and later).
 */
static void write_commands(const char *arch, struct buf *out)
{
    const char *number = str_starts(arch, "sm_") ? arch + 3 : arch;

    buf_printf(out,
               "// Build:  nvcc -O3 -std=c++17 -gencode arch=compute_%s,code=sm_%s -c FILE.cu\n"
               "// Try:    nvcc -O3 -std=c++17 -gencode arch=compute_%s,code=sm_%s -DEVO_MAIN "
               "FILE.cu -o try && ./try\n",
               number, number, number, number);
}

void exported_write(const struct exported *exported, struct buf *out)
{
    buf_printf(out, "// %s\n//\n", exported->title);
    write_comment(out, exported->provenance);
    buf_puts(out, "//\n");
    write_commands(exported->arch, out);
    buf_puts(
        out,
        "// Verify: evo verify FILE.cu\n"
        "// Call:   #include it in C or C++, where it is two prototypes; link -lcudart -lstdc++\n"
        "//\n");
    write_program(exported, out);
    buf_puts(out, export_prototypes);
    buf_printf(out, "\n%s\n", DEVICE_BEGIN);
    prune_source(exported->source, out);
    buf_printf(out, "%s\n\n", DEVICE_END);
    /* Launch expressions are C++ too, once their names are 64-bit constants and variables. */
    if (exported->program.map_count > 0) {
        buf_puts(out, export_maps);
    }
    buf_puts(out, export_head);
    write_constants(&exported->program, out);
    write_supports(&exported->program, out);
    write_workspaces(&exported->program, out);
    write_launch(exported, out);
    write_problem(&exported->problems[0], out);
    buf_puts(out, export_launcher);
    buf_puts(out, export_main);
    buf_puts(out, "#endif // __CUDACC__\n");
}

/* ---- reading ---- */

/* A text and where in the file it stands. */
struct part {
    const char *at, *end;
    int line; /* of its first byte, from 1 */
};

/* The line that is exactly `mark`, from `at` on; NULL: there is none. */
static const char *find_mark(const char *at, const char *mark)
{
    size_t length = strlen(mark);

    while (*at != '\0') {
        size_t line = strcspn(at, "\n");

        if (line - (line > 0 && at[line - 1] == '\r') == length &&
            strncmp(at, mark, length) == 0) {
            return at;
        }
        at += line + (at[line] == '\n');
    }
    return NULL;
}

static int line_of(const char *text, const char *at)
{
    int line = 1;

    for (; text < at; text++) {
        line += *text == '\n';
    }
    return line;
}

/* The lines between two marks. */
static bool find_part(const char *path, const char *text, const char *begin, const char *end,
                      struct part *part, struct err *err)
{
    const char *from = find_mark(text, begin), *to;

    if (from == NULL) {
        err_set(err, ERR_USER, "%s: the line '%s' is missing", path, begin);
        return err_hint(err, "evo verifies files that 'evo export' wrote");
    }
    part->line = line_of(text, from) + 1;
    to = find_mark(from, end);
    if (to == NULL) {
        err_set(err, ERR_USER, "%s:%d:1: the line '%s' is missing below this one", path,
                part->line - 1, end);
        return err_hint(err, "the file is cut short or damaged; 'evo export' writes it again");
    }
    part->at = strchr(from, '\n') + 1;
    part->end = to;
    return true;
}

/* A program with this line alone, and what no program may lack: is the line right by itself? */
static bool line_is_right(struct arena *arena, const char *line)
{
    static const char *const keys[] = {"numerics ", "define ", "supports ", "workspace ",
                                       "map ",      "kernel "};
    enum { KEYS = sizeof keys / sizeof *keys };
    struct message *message;
    struct program program;
    struct buf wire = {0};
    struct err ignored = {0};
    bool right;
    int key = 0;

    while (key < KEYS && !str_starts(line, keys[key])) {
        key++;
    }
    buf_printf(&wire, "program\n%s%s%s\n\n", line,
               str_starts(line, "numerics ") ? "" : "\nnumerics 0",
               str_starts(line, "kernel ") ? "" : "\nkernel k | 1 | 1 | 1 | 1 | 0 | O");
    right = key < KEYS && message_decode(arena, wire.data, wire.length, &message, &ignored) &&
            program_get(arena, message, &program, &ignored);
    buf_free(&wire);
    return right;
}

/* One line of the declaration: of ours, or of the program, which is gathered in `wire`. */
static bool read_line(struct arena *arena, const char *line, struct exported *exported,
                      struct buf *wire, struct err *err)
{
    if (str_starts(line, "arch ")) {
        exported->arch = line + strlen("arch ");
        return str_starts(exported->arch, "sm_") ||
               err_set(err, ERR_USER, "'%.40s' is no architecture (sm_90a is)", exported->arch);
    }
    if (str_starts(line, "problem ")) {
        if (exported->problem_count == PROBLEMS_MAX) {
            return err_set(err, ERR_USER, "more than %d problems", PROBLEMS_MAX);
        }
        return problem_parse(line + strlen("problem "),
                             &exported->problems[exported->problem_count++], err);
    }
    if (wire->length == 0 ? strcmp(line, "program") != 0 : !line_is_right(arena, line)) {
        return err_set(err, ERR_USER, "'%.200s' is no part of a program", line);
    }
    buf_printf(wire, "%s\n", line);
    return true;
}

static bool read_lines(struct arena *arena, const char *path, const struct part *part,
                       struct exported *exported, struct buf *wire, struct err *err)
{
    const char *at = part->at;

    for (int number = part->line; at < part->end; number++) {
        size_t length = strcspn(at, "\r\n");

        if (!str_starts(at, LINE)) {
            err_set(err, ERR_USER, "%s:%d:1: a line here begins with '%s'", path, number, LINE);
            return err_hint(err, "the file is damaged; 'evo export' writes it again");
        }
        if (!read_line(arena, arena_text(arena, at + strlen(LINE), length - strlen(LINE)),
                       exported, wire, err)) {
            return err_in(err, "%s:%d:%d", path, number, (int)strlen(LINE) + 1);
        }
        at += strcspn(at, "\n") + 1;
    }
    buf_puts(wire, "\n");
    return true;
}

/* The shapes must be those that the constants were compiled for. */
static bool problems_fit(const struct exported *exported, struct err *err)
{
    static const char *const names[] = {"HEAD_DIM", "CAUSAL", "BF16", "LSE"};

    if (exported->problem_count == 0) {
        return err_set(err, ERR_USER, "it names no problem that it solves");
    }
    for (int i = 0; i < exported->problem_count; i++) {
        const struct problem *problem = &exported->problems[i];
        const int64_t values[] = {problem->head_dim, problem->causal,
                                  problem->dtype == DTYPE_BF16, problem->lse};

        if (!problem_same_static(problem, &exported->problems[0])) {
            return err_set(err, ERR_USER, "its problems need different programs");
        }
        for (int at = 0; at < exported->program.constant_count; at++) {
            const struct program_constant *constant = &exported->program.constants[at];

            for (size_t j = 0; j < sizeof names / sizeof *names; j++) {
                if (strcmp(constant->name, names[j]) == 0 && constant->value != values[j]) {
                    return err_set(err, ERR_USER, "its problem has %s %lld, its program %lld",
                                   names[j], (long long)values[j], (long long)constant->value);
                }
            }
        }
    }
    return true;
}

static bool read_program(struct arena *arena, const char *path, const struct part *part,
                         struct exported *exported, struct err *err)
{
    struct message *message;
    struct buf wire = {0};
    bool ok = read_lines(arena, path, part, exported, &wire, err);

    if (ok) {
        ok = message_decode(arena, wire.data, wire.length, &message, err) &&
             program_get(arena, message, &exported->program, err) && problems_fit(exported, err);
        if (!ok) {
            err_in(err, "%s:%d:1", path, part->line);
            err->kind = ERR_USER; /* whose message it is makes no difference here */
        }
    }
    buf_free(&wire);
    return ok;
}

bool exported_read(struct arena *arena, const char *path, const char *text, size_t length,
                   struct exported *exported, struct err *err)
{
    struct part part;

    memset(exported, 0, sizeof *exported);
    if (strlen(text) != length) {
        return err_set(err, ERR_USER, "%s:%d:1: it holds a NUL byte", path,
                       line_of(text, text + strlen(text)));
    }
    exported->title = path;
    exported->provenance = "";
    exported->arch = "sm_90a";
    if (!find_part(path, text, PROGRAM_BEGIN, PROGRAM_END, &part, err) ||
        !read_program(arena, path, &part, exported, err) ||
        !find_part(path, text, DEVICE_BEGIN, DEVICE_END, &part, err)) {
        return false;
    }
    /* The compiler's messages name lines of the file. */
    exported->source = arena_printf(arena, "#line %d\n%s", part.line,
                                    arena_text(arena, part.at, (size_t)(part.end - part.at)));
    return true;
}

/* ---- a template in place of an exported file ---- */

static const char TEMPLATE_ARCH[] = "sm_90a"; /* as an exported file without an arch line */

static bool choose_genome(const struct planted *planted, const struct givens *givens,
                          const char *genes, struct genome *genome, int64_t *values,
                          struct err *err)
{
    struct refusal refusal;
    bool first = true;

    memset(genome, 0, sizeof *genome);
    if (!planted_next(planted, givens, &first, genome, values)) {
        family_feasible(planted->family, genome, givens, values, &refusal);
        return err_set(err, ERR_USER, "'%s' has no feasible genome here: %s", planted->path,
                       refusal.text);
    }
    if (genes != NULL && !genome_parse(planted->family, genes, genome, err)) {
        return err_in(err, "%s", planted->path);
    }
    return family_feasible(planted->family, genome, givens, values, &refusal) ||
           err_set(err, ERR_USER, "%s: infeasible: %s", planted->path, refusal.text);
}

static bool load_template(struct arena *arena, const char *path, const char *genes,
                          struct exported *exported, struct err *err)
{
    struct planted *planted = arena_alloc(arena, sizeof *planted);
    struct hello device;
    struct givens givens;
    struct genome genome;
    struct buf source = {0};
    int64_t *values;
    bool ok;

    if (!planted_read(arena, path, planted, err)) {
        return false;
    }
    device_of_arch(TEMPLATE_ARCH, &device);
    givens = setup_givens(&planted->problems[0], &device);
    values = arena_alloc(arena, (size_t)planted->family->symbols->count * sizeof *values);
    *exported = (struct exported){.title = path, .provenance = "", .arch = TEMPLATE_ARCH,
                                  .problem_count = planted->problem_count};
    memcpy(exported->problems, planted->problems, sizeof planted->problems);
    ok = choose_genome(planted, &givens, genes, &genome, values, err) &&
         family_program(arena, planted->family, values, &exported->program, err) &&
         render_source(planted->set, planted->family, &genome, &givens, &source, err);
    exported->source = ok ? arena_text(arena, source.data, source.length) : "";
    buf_free(&source);
    return ok;
}

bool exported_is(const char *text)
{
    return find_mark(text, PROGRAM_BEGIN) != NULL || planted_is_template(text);
}

bool exported_load(struct arena *arena, const char *path, const char *genes,
                   struct exported *exported, struct err *err)
{
    struct buf text = {0};
    bool ok = file_read(path, EXPORTED_BYTES_MAX, &text, err);

    if (ok && find_mark(text.data, PROGRAM_BEGIN) == NULL && planted_is_template(text.data)) {
        ok = load_template(arena, path, genes, exported, err);
    } else if (ok && genes != NULL) {
        ok = err_set(err, ERR_USER, "'%s' is one kernel, and has no genes to choose", path);
    } else if (ok) {
        ok = exported_read(arena, path, text.data, text.length, exported, err);
    }
    buf_free(&text);
    return ok;
}

bool exported_build(struct arena *arena, const char *name, const struct exported *exported,
                    struct judge_image *image, struct err *err)
{
    struct built *built = arena_alloc(arena, sizeof *built);
    struct compile_job job = {
        .source = exported->source,
        .source_bytes = strlen(exported->source),
        .name = name,
        .arch = exported->arch,
        .entry_count = exported->program.kernel_count,
    };

    for (int i = 0; i < job.entry_count; i++) {
        job.entries[i] = exported->program.kernels[i].name;
    }
    if (!trial_compile(arena, &job, built, err)) {
        return err_in(err, "%s", name);
    }
    if (built->verdict != VERDICT_NONE) {
        return err_set(err, ERR_USER, "%s does not compile: %s", name, built->reason);
    }
    *image = (struct judge_image){.cubin = built->cubin,
                                  .cubin_bytes = built->cubin_bytes,
                                  .ptx = built->ptx,
                                  .ptx_bytes = built->ptx_bytes,
                                  .code_key = built->code_key,
                                  .program = exported->program};
    return true;
}

bool exported_serves(const struct exported *exported, const struct problem *problem)
{
    for (int i = 0; i < exported->problem_count; i++) {
        if (problem_same_static(&exported->problems[i], problem)) {
            return true;
        }
    }
    return false;
}
