#include "cli/torch_module.h"

#include <string.h>

#include "generated/export_module.h" /* engine/cli/export/module.py, as a string */

enum { LINE_BYTES = 84 }; /* of machine code, in a line of 112 */

/* A string of Python's. */
static void put_text(struct buf *out, const char *text)
{
    buf_puts(out, "\"");
    for (; *text != '\0'; text++) {
        unsigned char byte = (unsigned char)*text;

        if (byte < ' ' || byte == '"' || byte == '\\') {
            buf_printf(out, "\\x%02x", byte);
        } else {
            buf_add(out, text, 1);
        }
    }
    buf_puts(out, "\"");
}

static void put_comment(struct buf *out, const char *lines)
{
    while (*lines != '\0') {
        int length = (int)strcspn(lines, "\n");

        buf_printf(out, "#%s%.*s\n", length > 0 ? " " : "", length, lines);
        lines += length + (lines[length] == '\n');
    }
}

static const char *truth(bool yes) { return yes ? "True" : "False"; }

static void put_facts(const struct exported *exported, struct buf *out)
{
    const struct problem *problem = &exported->problems[0];

    buf_puts(out, "ARCH = ");
    put_text(out, exported->arch);
    buf_printf(out,
               "\nHEAD_DIM, CAUSAL, BF16, LSE = %lld, %s, %s, %s\n"
               "SEQUENCE_FIRST = %s  # memory is [batch, rows, heads, HEAD_DIM]\n"
               "SHAPES = [",
               (long long)problem->head_dim, truth(problem->causal),
               truth(problem->dtype == DTYPE_BF16), truth(problem->lse),
               truth(problem->sequence_first));
    for (int i = 0; i < exported->problem_count; i++) {
        const struct problem *shape = &exported->problems[i];

        buf_printf(out, "%s(%lld, %lld, %lld, %lld, %lld)", i > 0 ? ", " : "",
                   (long long)shape->batch, (long long)shape->heads, (long long)shape->kv_heads,
                   (long long)shape->q_len, (long long)shape->kv_len);
    }
    buf_puts(out, "]  # batch, heads, key heads, rows, keys: what it was bred for\nCONSTANTS = {");
    for (int i = 0; i < exported->program.constant_count; i++) {
        buf_puts(out, i > 0 ? ", " : "");
        put_text(out, exported->program.constants[i].name);
        buf_printf(out, ": %lld", (long long)exported->program.constants[i].value);
    }
    buf_puts(out, "}\n");
}

static void put_texts(struct buf *out, const char *const *texts, int count)
{
    buf_puts(out, "[");
    for (int i = 0; i < count; i++) {
        buf_puts(out, i > 0 ? ", " : "");
        put_text(out, texts[i]);
    }
    buf_puts(out, "]");
}

/* Lists of lists of texts; expressions are as in the template. */
static void put_program(const struct program *program, struct buf *out)
{
    static const char *const kinds[] = {[WORKSPACE_POISON] = "poison",
                                        [WORKSPACE_ZERO_CALL] = "zero_call",
                                        [WORKSPACE_ZERO_ONCE] = "zero_once"};

    buf_puts(out, "SUPPORTS = [");
    for (int i = 0; i < program->supports_count; i++) {
        buf_puts(out, i > 0 ? ", " : "");
        put_text(out, program->supports[i].condition);
    }
    buf_puts(out, "]\nWORKSPACES = [  # name, bytes, what is in it before a call\n");
    for (int i = 0; i < program->workspace_count; i++) {
        const struct program_workspace *one = &program->workspaces[i];
        const char *const texts[] = {one->name, one->bytes, kinds[one->kind]};

        buf_puts(out, "    ");
        put_texts(out, texts, 3);
        buf_puts(out, ",\n");
    }
    buf_puts(out, "]\nMAPS = [  # name, tensor, columns and rows of a box, swizzle\n");
    for (int i = 0; i < program->map_count; i++) {
        const struct program_map *one = &program->maps[i];
        const char *const texts[] = {one->name, map_tensor_names[one->tensor], one->columns,
                                     one->rows, one->swizzle};

        buf_puts(out, "    ");
        put_texts(out, texts, 5);
        buf_puts(out, ",\n");
    }
    buf_puts(out, "]\nKERNELS = [  # name, grid, threads, shared memory, arguments\n");
    for (int i = 0; i < program->kernel_count; i++) {
        const struct program_kernel *one = &program->kernels[i];

        buf_puts(out, "    (");
        put_text(out, one->name);
        buf_puts(out, ", ");
        put_texts(out, one->grid, 3);
        buf_puts(out, ", ");
        put_text(out, one->threads);
        buf_puts(out, ", ");
        put_text(out, one->smem);
        buf_puts(out, ", ");
        put_texts(out, one->args, one->arg_count);
        buf_puts(out, "),\n");
    }
    buf_puts(out, "]\n");
}

void torch_module_write(const struct exported *exported, const void *cubin, size_t cubin_bytes,
                        struct buf *out)
{
    const char *at = cubin;

    buf_printf(out, "# %s\n#\n", exported->title);
    put_comment(out, exported->provenance);
    buf_puts(out,
             "#\n"
             "# Use:    import FILE; o = FILE.attention(q, k, v)     (PyTorch and a driver are "
             "all it needs)\n"
             "# Try:    python3 FILE.py                              compares with PyTorch's "
             "own\n"
             "\nimport base64\nimport ctypes\nimport functools\nimport re\nimport sys\nimport "
             "threading\n\n"
             "import torch\n\n");
    put_facts(exported, out);
    put_program(&exported->program, out);
    buf_puts(out, "_IMAGE = base64.b64decode(\"\"\"\n");
    while (cubin_bytes > 0) {
        size_t part = cubin_bytes < LINE_BYTES ? cubin_bytes : LINE_BYTES;

        buf_base64(out, at, part);
        buf_puts(out, "\n");
        at += part;
        cubin_bytes -= part;
    }
    buf_puts(out, "\"\"\")\n");
    buf_puts(out, export_module);
}
