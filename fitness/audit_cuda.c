/*
 * The kernels of audit.cu, compiled by nvcc when this program is built and part of it: machine code
 * for 8.0 and 9.0, and text that the driver compiles for what is newer. They are loaded when the
 * first large output is to be judged. A build without nvcc has none: then only sampled rows are
 * compared, as docs/JUDGE.md says.
 */
#include <stdio.h>
#include <stdlib.h>

#include "fitness/device_cuda.h"
#include "fitness/inputs.h"

#ifdef EVO_AUDIT_IMAGE

enum {
    SCAN_THREADS = 256,
    WARPS_A_BLOCK = SCAN_THREADS / 32,
    SCAN_BLOCKS_MAX = 132 * 16,
    BASELINE_ROWS = 64, /* of a block: audit.cu's ROWS and THREADS */
    BASELINE_THREADS = 128,
    GRID_YZ_MAX = 65535,
    HALVES = 1, /* of problem_args' reserved word */
    CAUSAL = 2,
};

__asm__(".section .rodata\n"
        ".balign 64\n"
        "evo_audit_image:\n"
        ".incbin \"" EVO_AUDIT_IMAGE "\"\n"
        ".byte 0\n"
        ".previous\n");
extern const char evo_audit_image[];

enum kernel {
    SCAN,
    GATHER,
    DRAW,
    COMPARE,                /* of F16; the next is of BF16 */
    BASELINE = COMPARE + 2, /* F16 of 64 columns, of 128; BF16 */
    KERNELS = BASELINE + 4,
};

static const char *const names[KERNELS] = {
    [SCAN] = "audit_scan",
    [GATHER] = "audit_gather",
    [DRAW] = "audit_draw",
    [COMPARE] = "audit_compare_f16",
    [COMPARE + 1] = "audit_compare_bf16",
    [BASELINE] = "audit_baseline_f16_64",
    [BASELINE + 1] = "audit_baseline_f16_128",
    [BASELINE + 2] = "audit_baseline_bf16_64",
    [BASELINE + 3] = "audit_baseline_bf16_128",
};

static struct {
    CUmodule module;
    CUfunction kernels[KERNELS];
    bool refused; /* the driver did not take it: not asked again */
    device_ptr tables[2]; /* of normal_recipe, by type; 0: not yet */
} audit;

static const char what[] = "cannot audit an output";

static bool load(void)
{
    CUresult code = CUDA_SUCCESS;

    if (audit.module != NULL || audit.refused) {
        return !audit.refused;
    }
    code = cuModuleLoadData(&audit.module, evo_audit_image);
    for (int k = 0; k < KERNELS && code == CUDA_SUCCESS; k++) {
        code = cuModuleGetFunction(&audit.kernels[k], audit.module, names[k]);
    }
    if (code != CUDA_SUCCESS) {
        const char *name = "an unknown error";

        cuGetErrorName(code, &name);
        fprintf(stderr,
                "evo-judge-cuda: large outputs are judged by sampled rows alone: the "
                "driver does not take the judge's own kernels: %s\n",
                name);
        audit_close();
        audit.refused = true;
    }
    return !audit.refused;
}

void audit_close(void)
{
    for (int i = 0; i < 2; i++) {
        device_free(audit.tables[i]);
        audit.tables[i] = 0;
    }
    if (audit.module != NULL) {
        cuModuleUnload(audit.module);
        audit.module = NULL;
    }
}

static enum device_status run(enum kernel kernel, const uint32_t grid[3], uint32_t threads,
                              void **args, struct err *err)
{
    return cuda_launch(audit.kernels[kernel], grid, threads, 0, args, err, what);
}

/* As many blocks as there is work for, and no more than keep the device busy. */
static void cover(int64_t items, int64_t a_block, uint32_t grid[3])
{
    int64_t blocks = (items + a_block - 1) / a_block;

    grid[0] = (uint32_t)(blocks < 1 ? 1 : blocks > SCAN_BLOCKS_MAX ? SCAN_BLOCKS_MAX : blocks);
    grid[1] = grid[2] = 1;
}

/* Zeroes `result` on the device, runs the kernel whose last argument it is, and reads it back. */
static enum device_status tell(enum kernel kernel, const uint32_t grid[3], void **args, int last,
                               void *result, size_t bytes, struct err *err)
{
    device_ptr at;
    enum device_status status = device_alloc(bytes, &at, err);

    if (status != DEVICE_OK) {
        return status;
    }
    args[last] = &at;
    status = device_fill(at, 0, bytes, err);
    if (status == DEVICE_OK) {
        status = run(kernel, grid, SCAN_THREADS, args, err);
    }
    if (status == DEVICE_OK) {
        status = device_read(result, at, bytes, err);
    }
    device_free(at);
    return status;
}

static enum device_status scan(device_ptr at, size_t bytes, uint64_t key, uint32_t poison,
                               uint32_t infinite, struct device_scan *found, struct err *err)
{
    uint64_t count = bytes / 16;
    void *args[] = {&at, &count, &key, &poison, &infinite, NULL};
    uint32_t grid[3];

    cover((int64_t)count, SCAN_THREADS, grid);
    return tell(SCAN, grid, args, 5, found, sizeof *found, err);
}

static enum device_status copy(device_ptr to, device_ptr from, size_t bytes, struct err *err)
{
    return cuda_status(cuMemcpyDtoDAsync(to, from, bytes, cuda_stream()), err, what);
}

static enum device_status gather(device_ptr from, const int64_t *offsets, int64_t rows,
                                 int64_t columns, uint16_t *to, struct err *err)
{
    size_t bytes = (size_t)(rows * columns) * sizeof *to;
    device_ptr at = 0, list = 0;
    void *args[] = {&from, &list, &rows, &columns, &at};
    const uint32_t grid[3] = {(uint32_t)((rows + WARPS_A_BLOCK - 1) / WARPS_A_BLOCK), 1, 1};
    enum device_status status = device_alloc((size_t)rows * sizeof *offsets, &list, err);

    if (status == DEVICE_OK) {
        status = device_alloc(bytes, &at, err);
    }
    if (status == DEVICE_OK) {
        status = device_write(list, offsets, (size_t)rows * sizeof *offsets, err);
    }
    if (status == DEVICE_OK) {
        status = run(GATHER, grid, SCAN_THREADS, args, err);
    }
    if (status == DEVICE_OK) {
        status = device_read(to, at, bytes, err);
    }
    device_free(list);
    device_free(at);
    return status;
}

static enum device_status draw_tensor(device_ptr to, int64_t elements, uint64_t key,
                                      device_ptr table, struct err *err)
{
    uint64_t words = (uint64_t)elements / 4;
    void *args[] = {&to, &words, &key, &table};
    uint32_t grid[3];

    cover((int64_t)words, SCAN_THREADS, grid);
    return run(DRAW, grid, SCAN_THREADS, args, err);
}

/* The table stays on the device: it holds nothing that a candidate may not know. */
static enum device_status draw(const struct problem *problem, uint64_t key,
                               const struct device_buffers *inputs, struct err *err)
{
    device_ptr *table = &audit.tables[problem->dtype == DTYPE_BF16];
    size_t bytes = INPUT_QUANTILES * sizeof(uint16_t);
    enum device_status status = DEVICE_OK;
    struct normal_recipe recipe;

    inputs_normal_recipe(problem, key, &recipe);
    if (*table == 0) {
        status = device_alloc(bytes, table, err);
        *table = status == DEVICE_OK ? *table : 0;
    }
    if (status == DEVICE_OK) { /* again each time: it lay within reach of every candidate */
        status = device_write(*table, recipe.table, bytes, err);
    }
    if (status == DEVICE_OK) {
        status = draw_tensor(inputs->q, problem_q_elements(problem), recipe.q, *table, err);
    }
    if (status == DEVICE_OK) {
        status = draw_tensor(inputs->k, problem_kv_elements(problem), recipe.k, *table, err);
    }
    return status == DEVICE_OK
               ? draw_tensor(inputs->v, problem_kv_elements(problem), recipe.v, *table, err)
               : status;
}

static struct problem_args args_of(const struct problem *problem, bool halves)
{
    struct problem_args args = problem_args(problem);

    args.reserved = (halves ? HALVES : 0) | (problem->causal ? CAUSAL : 0);
    return args;
}

static enum device_status baseline(const struct problem *problem, bool halves,
                                   const struct device_buffers *in, const struct device_base *base,
                                   struct err *err)
{
    struct problem_args own = args_of(problem, halves);
    struct device_buffers inputs = *in;
    struct device_base to = *base;
    void *args[] = {&inputs.q, &inputs.k, &inputs.v, &to.out, &to.lse, &to.expected, &own};
    const uint32_t grid[3] = {(uint32_t)((problem->q_len + BASELINE_ROWS - 1) / BASELINE_ROWS),
                              (uint32_t)problem->heads, (uint32_t)problem->batch};
    int which = (problem->dtype == DTYPE_BF16 ? 2 : 0) + (problem->head_dim > 64 ? 1 : 0);

    return run((enum kernel)(BASELINE + which), grid, BASELINE_THREADS, args, err);
}

static enum device_status compare(const struct problem *problem, const struct device_buffers *got,
                                  const struct device_base *base,
                                  struct device_comparison *comparison, struct err *err)
{
    struct problem_args own = args_of(problem, false);
    device_ptr o = got->o, lse = problem->lse ? got->lse : 0;
    struct device_base to = *base;
    void *args[] = {&o, &to.out, &to.expected, &lse, &to.lse, &own, NULL};
    uint32_t grid[3];

    cover(problem_rows(problem), WARPS_A_BLOCK, grid);
    return tell((enum kernel)(COMPARE + (problem->dtype == DTYPE_BF16)), grid, args, 6, comparison,
                sizeof *comparison, err);
}

static const struct device_auditor auditor = {scan, copy, gather, draw, baseline, compare};

const struct device_auditor *device_auditor(const struct problem *problem)
{
    bool fits = problem->head_dim % 8 == 0 && problem->head_dim <= 128 &&
                problem->heads <= GRID_YZ_MAX && problem->batch <= GRID_YZ_MAX;

    return fits && load() ? &auditor : NULL;
}

#else

void audit_close(void) {}

const struct device_auditor *device_auditor(const struct problem *problem)
{
    (void)problem;
    return NULL;
}

#endif
