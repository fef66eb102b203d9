/*
 * The judge's own kernels (fitness/audit.cu), run by the PTX machine under all its sanitizers: the
 * baseline and the errors it expects against the FP64 reference, the comparison, the digest and the
 * gathering against a few lines of C.
 */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/str.h"
#include "fitness/device.h"
#include "fitness/emu/machine.h"
#include "fitness/emu/memory.h"
#include "fitness/emu/ptx.h"
#include "fitness/inputs.h"
#include "fitness/reference.h"

static struct arena *arena;
static struct ptx_module *module;
static struct memory *memory;

static int set_up(void **state)
{
    struct buf text = {0};
    struct err err = {0};

    (void)state;
    arena = arena_new();
    memory = memory_new();
    if (!file_read(EVO_AUDIT_PTX, 16 << 20, &text, &err) ||
        !ptx_parse(arena, arena_text(arena, text.data, text.length), text.length, &module, &err)) {
        fprintf(stderr, "%s\n", err.what);
        return -1;
    }
    buf_free(&text);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    memory_free(memory);
    arena_free(arena);
    return 0;
}

/* ---- launches ---- */

static uint64_t put(const void *bytes, size_t count, const char *name)
{
    uint64_t at = memory_buffer(memory, count, name);

    if (bytes != NULL) {
        assert_true(memory_host_write(memory, at, bytes, count));
    }
    return at;
}

static void get(uint64_t at, void *bytes, size_t count)
{
    assert_true(memory_host_read(memory, at, bytes, count));
}

struct params {
    uint8_t bytes[512];
    size_t length;
};

static void add(struct params *params, const void *value, size_t size)
{
    size_t align = size < 8 ? size : 8;

    params->length = (params->length + align - 1) / align * align;
    memcpy(params->bytes + params->length, value, size);
    params->length += size;
}

static void add_u64(struct params *params, uint64_t value) { add(params, &value, sizeof value); }
static void add_u32(struct params *params, uint32_t value) { add(params, &value, sizeof value); }

static void run(const char *entry, const struct params *params, const uint32_t grid[3],
                uint32_t threads)
{
    struct outcome *outcome = calloc(1, sizeof *outcome);
    struct code *program;
    struct err err = {0};

    if (!program_decode(arena, module, entry, &program, &err)) {
        fail_msg("%s: %s", entry, err.what);
    }
    assert_int_equal((params->length + 7) / 8 * 8, (program->param_bytes + 7) / 8 * 8);
    struct launch launch = {.program = program,
                            .grid = {grid[0], grid[1], grid[2]},
                            .block = {threads, 1, 1},
                            .cluster = {1, 1, 1},
                            .params = params->bytes,
                            .sanitize = SANITIZE_ALL};
    machine_run(memory, &launch, outcome);
    if (outcome->findings_total > 0 || !outcome->ended) {
        fail_msg("%s: %s", entry, outcome->findings[0].text);
    }
    free(outcome);
}

/* ---- the baseline ---- */

struct scene {
    struct problem problem;
    struct problem_args args;
    struct inputs inputs;
    struct reference reference;
    uint64_t q, k, v, out, lse, expected;
};

static uint16_t *drawn(int64_t elements) { return arena_alloc(arena, (size_t)elements * 2); }

static void open_scene(struct scene *scene, const char *text, enum input_family family, bool halves)
{
    struct problem *p = &scene->problem;
    struct err err = {0};
    size_t q, kv, rows;

    assert_true(problem_parse(text, p, &err));
    q = (size_t)problem_q_elements(p) * 2;
    kv = (size_t)problem_kv_elements(p) * 2;
    rows = (size_t)problem_rows(p);
    scene->args = problem_args(p);
    scene->args.reserved = (halves ? 1 : 0) | (p->causal ? 2 : 0);
    scene->inputs = (struct inputs){drawn((int64_t)q), drawn((int64_t)kv), drawn((int64_t)kv)};
    inputs_draw(p, family, 77, &scene->inputs, 1);
    scene->q = put(scene->inputs.q, q, "Q");
    scene->k = put(scene->inputs.k, kv, "K");
    scene->v = put(scene->inputs.v, kv, "V");
    scene->out = put(NULL, q, "the output");
    scene->expected = put(NULL, rows * 4, "the expected errors");
    scene->lse = p->lse ? put(NULL, rows * 4, "the log-sum-exps") : 0;
}

static void close_scene(struct scene *scene)
{
    const uint64_t own[] = {scene->q, scene->k, scene->v, scene->out, scene->expected, scene->lse};

    for (size_t i = 0; i < sizeof own / sizeof *own; i++) {
        if (own[i] != 0) {
            memory_buffer_free(memory, own[i]);
        }
    }
}

static void refer(struct scene *scene, bool halves)
{
    int64_t rows = problem_rows(&scene->problem), columns = scene->problem.head_dim;
    int64_t *all = arena_alloc(arena, (size_t)rows * sizeof *all);
    double *own = arena_alloc(arena, (size_t)(rows * (2 * columns + 3)) * sizeof *own);

    for (int64_t r = 0; r < rows; r++) {
        all[r] = r;
    }
    scene->reference = (struct reference){
        .exact = own, .baseline = own + rows * columns, .noise = own + 2 * rows * columns};
    scene->reference.lse = scene->reference.noise + rows;
    scene->reference.baseline_lse = scene->reference.lse + rows;
    reference_rows(&scene->problem, &scene->inputs, halves ? NUMERICS_FP16 : NUMERICS_FP32, all,
                   rows, &scene->reference, 1);
}

static void run_baseline(const struct scene *scene)
{
    const struct problem *p = &scene->problem;
    const uint32_t grid[3] = {(uint32_t)((p->q_len + 63) / 64), (uint32_t)p->heads,
                              (uint32_t)p->batch};
    struct params params = {.length = 0};

    add_u64(&params, scene->q);
    add_u64(&params, scene->k);
    add_u64(&params, scene->v);
    add_u64(&params, scene->out);
    add_u64(&params, scene->lse);
    add_u64(&params, scene->expected);
    params.length = (params.length + 7) / 8 * 8;
    memcpy(params.bytes + params.length, &scene->args, sizeof scene->args);
    params.length += sizeof scene->args;
    run(arena_printf(arena, "audit_baseline_%s_%d", p->dtype == DTYPE_BF16 ? "bf16" : "f16",
                     p->head_dim > 64 ? 128 : 64),
        &params, grid, 128);
}

static double step_of(enum dtype dtype, double x)
{
    uint16_t bits = half_from_double(dtype, fabs(x));

    return half_to_double(dtype, (uint16_t)(bits + 1)) - half_to_double(dtype, bits);
}

/* What weights below FP16's normal range may lose, times their sum: sqrt(step²/12 · Σ a). */
static double tail_of(const struct scene *scene, int64_t b, int64_t h, int64_t i)
{
    const struct problem *p = &scene->problem;
    int64_t g = h / (p->heads / p->kv_heads);
    double top = -INFINITY, sum = 0, squares = 0;
    double *scores = arena_alloc(arena, (size_t)p->kv_len * sizeof *scores);

    for (int64_t j = 0; j < reference_visible(p, i); j++) {
        const uint16_t *q =
            scene->inputs.q + b * scene->args.q[0] + h * scene->args.q[1] + i * scene->args.q[2];
        const uint16_t *k =
            scene->inputs.k + b * scene->args.k[0] + g * scene->args.k[1] + j * scene->args.k[2];
        const uint16_t *v =
            scene->inputs.v + b * scene->args.v[0] + g * scene->args.v[1] + j * scene->args.v[2];
        scores[j] = 0;
        for (int64_t c = 0; c < p->head_dim; c++) {
            double x = half_to_double(p->dtype, v[c]);
            scores[j] +=
                half_to_double(p->dtype, q[c]) * half_to_double(p->dtype, k[c]) * problem_scale(p);
            squares += x * x / (double)p->head_dim;
        }
        top = fmax(top, scores[j]);
    }
    for (int64_t j = 0; j < reference_visible(p, i); j++) {
        sum += exp(scores[j] - top);
    }
    return sum > 0 && p->dtype == DTYPE_F16 ? 0x1p-24 / sum * sqrt(squares / 12) : 0;
}

/* Row by row: the error within what the reference expects, and the expectation the reference's. */
static void check_baseline(const struct scene *scene, bool halves, const char *name)
{
    const struct problem *p = &scene->problem;
    int64_t rows = problem_rows(p), columns = p->head_dim;
    size_t bytes = (size_t)problem_q_elements(p) * 2;
    uint16_t *out = drawn(problem_q_elements(p));
    float *expected = arena_alloc(arena, (size_t)rows * 4),
          *lse = arena_alloc(arena, (size_t)rows * 4);
    const struct reference *r = &scene->reference;

    get(scene->out, out, bytes);
    get(scene->expected, expected, (size_t)rows * 4);
    if (p->lse) {
        get(scene->lse, lse, (size_t)rows * 4);
    }
    for (int64_t row = 0; row < rows; row++) {
        int64_t i = row % p->q_len, h = row / p->q_len % p->heads, b = row / p->q_len / p->heads;
        const uint16_t *o =
            out + b * scene->args.o[0] + h * scene->args.o[1] + i * scene->args.o[2];
        double steps = 0;
        for (int64_t c = 0; c < columns; c++) {
            double exact = r->exact[row * columns + c], step = step_of(p->dtype, exact);
            double off = fabs(half_to_double(p->dtype, o[c]) - exact);
            steps += step * step / (double)columns;
            if (!(off <= 8 * r->noise[row] + step)) {
                fail_msg("%s: row %lld, column %lld: %g, exact %g, expected noise %g", name,
                         (long long)row, (long long)c, half_to_double(p->dtype, o[c]), exact,
                         r->noise[row]);
            }
        }
        double want = hypot(r->noise[row], sqrt(steps / 12)), tail = tail_of(scene, b, h, i);
        if (halves) {
            tail = hypot(tail, tail + 1e-6); /* and what FP16 sums lose there */
        }
        if (!((double)expected[row] <= 1.1 * hypot(want, tail) &&
              (double)expected[row] >= 0.4 * want)) {
            fail_msg("%s: row %lld: expects %g, the reference %g", name, (long long)row,
                     (double)expected[row], want);
        }
        if (p->lse && isfinite(r->lse[row]) != 0) {
            assert_true(fabs((double)lse[row] - r->lse[row]) < 1e-4 + 1e-5 * fabs(r->lse[row]));
        } else if (p->lse) {
            assert_true((double)lse[row] == r->lse[row]);
        }
    }
}

/* ---- comparison ---- */

static struct device_comparison compare(const struct scene *scene, uint64_t got, uint64_t got_lse)
{
    struct device_comparison result = {0};
    struct params params = {.length = 0};
    uint64_t to = put(&result, sizeof result, "the comparison");

    add_u64(&params, got);
    add_u64(&params, scene->out);
    add_u64(&params, scene->expected);
    add_u64(&params, got_lse);
    add_u64(&params, scene->lse);
    memcpy(params.bytes + params.length, &scene->args, sizeof scene->args);
    params.length += sizeof scene->args;
    add_u64(&params, to);
    run(scene->problem.dtype == DTYPE_BF16 ? "audit_compare_bf16" : "audit_compare_f16", &params,
        (const uint32_t[3]){2, 1, 1}, 256);
    get(to, &result, sizeof result);
    memory_buffer_free(memory, to);
    return result;
}

static double ratio(uint64_t worst)
{
    uint32_t bits = (uint32_t)(worst >> 32);
    float value;

    memcpy(&value, &bits, sizeof value);
    return (double)value;
}

/*
 * The reference's own baseline, which rounds its weights elsewhere, is within what the gate allows
 * at least (verify.c's allow: twice rule 1's 8, twice rule 2's 4), and so is the mean over all
 * rows.
 */
static void check_other(const struct scene *scene, const char *name)
{
    const struct problem *p = &scene->problem;
    uint16_t *out = drawn(problem_q_elements(p));

    for (int64_t e = 0; e < problem_q_elements(p); e++) {
        int64_t row = e / p->head_dim, i = row % p->q_len;
        int64_t h = row / p->q_len % p->heads, b = row / p->q_len / p->heads;
        out[b * scene->args.o[0] + h * scene->args.o[1] + i * scene->args.o[2] + e % p->head_dim] =
            half_from_double(p->dtype, scene->reference.baseline[e]);
    }
    uint64_t got = put(out, (size_t)problem_q_elements(p) * 2, "got");
    struct device_comparison found = compare(scene, got, p->lse ? scene->lse : 0);
    memory_buffer_free(memory, got);
    if (!(ratio(found.element) <= 16 && ratio(found.row) <= 8 &&
          sqrt(found.difference / found.expected) <= 2)) {
        fail_msg("%s: element %g, row %g, all %g", name, ratio(found.element), ratio(found.row),
                 sqrt(found.difference / found.expected));
    }
}

static void the_baseline_is_attention(void **state)
{
    static const struct {
        const char *problem;
        bool halves;
    } cases[] = {{"1x2x70/130x64", false},
                 {"2x4/2x33/65x64:causal:lse", false},
                 {"1x1x90/20x128:causal:lse", false}, /* rows without keys */
                 {"1x2x40/70x96:bf16:bshd", false},
                 {"1x2x64x8", false},
                 {"1x1x65/64x128:bf16:lse", false},
                 {"1x2x40/150x64", true},
                 {"1x2x64/1100x64", false},
                 {"1x1x64/600x128", true}};

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        for (enum input_family family = 0; family < INPUT_FAMILIES; family++) {
            struct scene scene;

            open_scene(&scene, cases[i].problem, family, cases[i].halves);
            refer(&scene, cases[i].halves);
            run_baseline(&scene);
            check_baseline(
                &scene, cases[i].halves,
                arena_printf(arena, "%s, %s", cases[i].problem, input_family_names[family]));
            check_other(&scene, arena_printf(arena, "%s, %s", cases[i].problem,
                                             input_family_names[family]));
            close_scene(&scene);
        }
    }
}

static void what_differs_is_found_in_its_row(void **state)
{
    struct scene scene;
    struct device_comparison found;

    (void)state;
    open_scene(&scene, "1x2x70/130x64:lse", INPUT_NORMAL, false);
    run_baseline(&scene);
    int64_t rows = problem_rows(&scene.problem), elements = problem_q_elements(&scene.problem);
    uint16_t *out = drawn(elements);
    float *lse = arena_alloc(arena, (size_t)rows * 4),
          *expected = arena_alloc(arena, (size_t)rows * 4);
    get(scene.out, out, (size_t)elements * 2);
    get(scene.lse, lse, (size_t)rows * 4);
    get(scene.expected, expected, (size_t)rows * 4);
    uint64_t got = put(out, (size_t)elements * 2, "got"),
             got_lse = put(lse, (size_t)rows * 4, "lse");

    found = compare(&scene, got, got_lse);
    assert_true(ratio(found.element) == 0 && ratio(found.row) == 0 && ratio(found.lse) == 0);
    assert_true(found.difference == 0 && found.expected > 0);

    double before = half_to_double(DTYPE_F16, out[93 * 64 + 5]), step = step_of(DTYPE_F16, before);
    out[93 * 64 + 5] = half_from_double(DTYPE_F16, before + 0.25);
    double off = fabs(half_to_double(DTYPE_F16, out[93 * 64 + 5]) - before);
    lse[17] += 0.5f;
    assert_true(memory_host_write(memory, got, out, (size_t)elements * 2));
    assert_true(memory_host_write(memory, got_lse, lse, (size_t)rows * 4));
    found = compare(&scene, got, got_lse);
    assert_int_equal(found.element & UINT32_MAX, 93);
    assert_int_equal(found.row & UINT32_MAX, 93);
    assert_int_equal(found.lse & UINT32_MAX, 17);
    assert_true(fabs(ratio(found.element) * (double)expected[93] / (off - 2 * step) - 1) < 1e-3);
    assert_true(fabs(ratio(found.lse) - 0.5) < 1e-3);
    assert_true(fabs(found.difference / (off * off / 64) - 1) < 1e-3);

    out[30 * 64] = 0x7e00; /* no number at all */
    lse[18] = -INFINITY;
    assert_true(memory_host_write(memory, got, out, (size_t)elements * 2));
    assert_true(memory_host_write(memory, got_lse, lse, (size_t)rows * 4));
    found = compare(&scene, got, got_lse);
    assert_int_equal(found.element & UINT32_MAX, 30);
    assert_true(isinf(ratio(found.element)) && isinf(ratio(found.lse)));
    memory_buffer_free(memory, got);
    memory_buffer_free(memory, got_lse);
    close_scene(&scene);
}

/* ---- buffers ---- */

static uint64_t mix64(uint64_t x)
{
    x += 0x9e3779b97f4a7c15u;
    x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9u;
    x = (x ^ x >> 27) * 0x94d049bb133111ebu;
    return x ^ x >> 31;
}

static void digests_and_counts_are_what_they_say(void **state)
{
    enum { ELEMENTS = 8 * 1003 };
    uint16_t data[ELEMENTS];
    uint64_t want = 0, key = 0x123456789abcdef;
    struct device_scan found = {0};
    struct params params = {.length = 0};

    (void)state;
    for (int i = 0; i < ELEMENTS; i++) {
        data[i] = (uint16_t)(mix64((uint64_t)i) & 0xbbff); /* finite, and never the poison */
    }
    data[5] = data[ELEMENTS - 1] = 0x7e5b;
    data[77] = 0xfc00;
    for (size_t w = 0; w < sizeof data / 8; w++) {
        uint64_t word;
        memcpy(&word, (char *)data + 8 * w, 8);
        want += mix64(word ^ mix64(key + w));
    }
    uint64_t at = put(data, sizeof data, "data"), to = put(&found, sizeof found, "found");
    add_u64(&params, at);
    add_u64(&params, sizeof data / 16);
    add_u64(&params, key);
    add_u32(&params, 0x7e5b);
    add_u32(&params, 0x7c00);
    add_u64(&params, to);
    run("audit_scan", &params, (const uint32_t[3]){3, 1, 1}, 256);
    get(to, &found, sizeof found);
    assert_true(found.digest == want);
    assert_int_equal(found.poisoned, 2);
    assert_int_equal(found.infinite, 3); /* the poison is a NaN */
    memory_buffer_free(memory, at);
    memory_buffer_free(memory, to);
}

static void rows_are_gathered(void **state)
{
    enum { ROWS = 11, COLUMNS = 40, ELEMENTS = 4000 };
    uint16_t data[ELEMENTS], rows[ROWS * COLUMNS];
    int64_t offsets[ROWS];
    struct params params = {.length = 0};

    (void)state;
    for (int i = 0; i < ELEMENTS; i++) {
        data[i] = (uint16_t)i;
    }
    for (int r = 0; r < ROWS; r++) {
        offsets[r] = r == 0 ? ELEMENTS - COLUMNS : 97 * r;
    }
    uint64_t from = put(data, sizeof data, "from"), list = put(offsets, sizeof offsets, "offsets");
    uint64_t to = put(NULL, sizeof rows, "to");
    add_u64(&params, from);
    add_u64(&params, list);
    add_u64(&params, ROWS);
    add_u64(&params, COLUMNS);
    add_u64(&params, to);
    run("audit_gather", &params, (const uint32_t[3]){2, 1, 1}, 256);
    get(to, rows, sizeof rows);
    for (int r = 0; r < ROWS; r++) {
        for (int c = 0; c < COLUMNS; c++) {
            assert_int_equal(rows[r * COLUMNS + c], offsets[r] + c);
        }
    }
    memory_buffer_free(memory, from);
    memory_buffer_free(memory, list);
    memory_buffer_free(memory, to);
}

/* Of types, layouts and sizes; the grid has fewer threads than there is to draw, or more. */
static void what_is_drawn_there_is_what_the_host_draws(void **state)
{
    static const char *const problems[] = {"1x2x24x40", "2x4/2x9x64:bf16", "1x3x17/30x8:bshd"};

    (void)state;
    for (size_t n = 0; n < sizeof problems / sizeof *problems; n++) {
        struct scene scene;
        struct normal_recipe recipe;

        open_scene(&scene, problems[n], INPUT_NORMAL, false);
        inputs_normal_recipe(&scene.problem, 77, &recipe);
        const struct {
            const uint16_t *drawn;
            int64_t elements;
            uint64_t key;
        } tensors[] = {{scene.inputs.q, problem_q_elements(&scene.problem), recipe.q},
                       {scene.inputs.k, problem_kv_elements(&scene.problem), recipe.k},
                       {scene.inputs.v, problem_kv_elements(&scene.problem), recipe.v}};
        uint64_t table = put(recipe.table, INPUT_QUANTILES * sizeof *recipe.table, "the table");

        for (size_t t = 0; t < sizeof tensors / sizeof *tensors; t++) {
            size_t bytes = (size_t)tensors[t].elements * sizeof(uint16_t);
            uint64_t to = put(NULL, bytes, "a tensor");
            uint16_t *got = drawn(tensors[t].elements);
            struct params params = {.length = 0};

            add_u64(&params, to);
            add_u64(&params, (uint64_t)tensors[t].elements / 4);
            add_u64(&params, tensors[t].key);
            add_u64(&params, table);
            run("audit_draw", &params, (const uint32_t[3]){n == 0 ? 1 : 6, 1, 1}, 256);
            get(to, got, bytes);
            assert_memory_equal(got, tensors[t].drawn, bytes);
            memory_buffer_free(memory, to);
        }
        memory_buffer_free(memory, table);
        close_scene(&scene);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_baseline_is_attention),
        cmocka_unit_test(what_differs_is_found_in_its_row),
        cmocka_unit_test(digests_and_counts_are_what_they_say),
        cmocka_unit_test(rows_are_gathered),
        cmocka_unit_test(what_is_drawn_there_is_what_the_host_draws),
    };

    return cmocka_run_group_tests(tests, set_up, tear_down);
}
