#include <assert.h>
#include <string.h>

#include "fitness/clocks_cuda.h"

enum { BATCH_TRIES = 3 };

/* What a call does ----------------------------------------------------------------------------- */

static void add_memset(struct callee *callee, int role, int workspace, int64_t bytes)
{
    if (bytes > 0) {
        callee->ops[callee->op_count++] =
            (struct op){.is_memset = true, .role = role, .workspace = workspace, .bytes = bytes};
    }
}

static void add_workspaces(struct callee *callee, enum workspace_kind kind, int role)
{
    for (int i = 0; i < callee->plan->workspace_count; i++) {
        if (callee->plan->workspaces[i].kind == kind) {
            add_memset(callee, role, i, callee->plan->workspaces[i].bytes);
        }
    }
}

void callee_init(struct callee *callee, struct device_module *module, const struct plan *plan,
                 const struct device_buffers *like)
{
    const struct problem_args *problem = &like->problem;
    int64_t rows = (int64_t)problem->batch * problem->heads * problem->q_len;

    *callee = (struct callee){.module = module, .plan = plan};
    add_memset(callee, OP_POISON_O, 0, rows * problem->head_dim * 2); /* both dtypes: two bytes */
    add_memset(callee, OP_POISON_LSE, 0, like->lse != 0 ? rows * 4 : 0);
    add_workspaces(callee, WORKSPACE_POISON, OP_POISON_WORKSPACE);
    callee->poison_count = callee->op_count;
    add_workspaces(callee, WORKSPACE_ZERO_CALL, OP_CALL); /* as cuda_enqueue_call does it */
    for (int i = 0; i < plan->kernel_count; i++) {
        const struct plan_kernel *kernel = &plan->kernels[i];

        callee->ops[callee->op_count++] = (struct op){
            .role = OP_CALL,
            .grid = {(int32_t)kernel->grid[0], (int32_t)kernel->grid[1], (int32_t)kernel->grid[2]},
            .threads = (int32_t)kernel->threads,
        };
    }
}

enum device_status callee_enqueue(const struct callee *callee, const struct device_buffers *set,
                                  uint8_t poison, struct err *err)
{
    enum device_status status = DEVICE_OK;

    for (int i = 0; status == DEVICE_OK && i < callee->poison_count; i++) {
        const struct op *op = &callee->ops[i];
        device_ptr at = op->role == OP_POISON_O     ? set->o
                        : op->role == OP_POISON_LSE ? set->lse
                                                    : set->workspaces[op->workspace];

        status = cuda_enqueue_memset(at, poison, op->bytes, err);
    }
    return status == DEVICE_OK ? cuda_enqueue_call(callee->module, callee->plan, set, err) : status;
}

/* A batch -------------------------------------------------------------------------------------- */

static enum device_status run_held(const struct timed_call *calls, int count, struct err *err)
{
    enum device_status status;

    records_keep(true);
    cuda_busy_begin();
    status = cuda_hold(err);
    if (status == DEVICE_OK) {
        status = cuda_stamp(0, err);
    }
    for (int i = 0; status == DEVICE_OK && i < count; i++) {
        status = callee_enqueue(calls[i].callee, calls[i].set, calls[i].poison, err);
    }
    if (status == DEVICE_OK) {
        status = cuda_stamp(1, err);
    }
    cuda_release();
    return cuda_settle(status, err);
}

static struct op op_of(const struct record *record)
{
    struct op op = {.is_memset = record->kind == RECORD_MEMSET, .role = OP_CALL};

    if (op.is_memset) {
        op.bytes = (int64_t)record->bytes;
    } else {
        memcpy(op.grid, record->grid, sizeof op.grid);
        op.threads = record->threads;
    }
    return op;
}

/* Is this record what the operation must have left? */
static bool record_fits(const struct record *record, const struct op *op)
{
    struct op seen = op_of(record);

    return record->kind != RECORD_HOLD && seen.is_memset == op->is_memset &&
           seen.bytes == op->bytes && seen.threads == op->threads &&
           memcmp(seen.grid, op->grid, sizeof seen.grid) == 0;
}

/* Has each record a time, and do they follow each other as the launches did? */
static bool check_order(const struct record *batch, size_t count, struct err *err)
{
    for (size_t i = 0; i < count; i++) {
        const struct record *record = &batch[i];

        /* What is set in less than a tick of the clock ends when it began. */
        if (record->start_ns == 0 || record->end_ns < record->start_ns ||
            (record->end_ns == record->start_ns && record->kind != RECORD_MEMSET)) {
            return err_set(err, ERR_DEVICE, "activity record %zu of %zu has no time", i + 1, count);
        }
        if (i > 0 && (record->correlation == batch[i - 1].correlation ||
                      record->start_ns < batch[i - 1].start_ns)) {
            return err_set(err, ERR_DEVICE, "activity record %zu of %zu is out of order", i + 1,
                           count);
        }
    }
    return true;
}

/* Takes a call's times from its records; false when they are not what it was to launch. */
static bool take_call(struct timed_call *call, const struct record *records, struct err *err)
{
    const struct callee *callee = call->callee;
    uint64_t end_ns = 0;

    for (int i = 0; i < callee->op_count; i++) {
        if (!record_fits(&records[i], &callee->ops[i])) {
            return err_set(err, ERR_DEVICE, "activity record %d of a call is not what was launched",
                           i + 1);
        }
        if (i >= callee->poison_count && records[i].end_ns > end_ns) {
            end_ns = records[i].end_ns;
        }
    }
    call->begin_ns = records[0].start_ns;
    call->end_ns = records[callee->op_count - 1].end_ns;
    call->span_us = (double)(end_ns - records[callee->poison_count].start_ns) / 1000;
    return true;
}

static bool hold_gave_up(const struct record *hold)
{
    return hold->end_ns - hold->start_ns >= CUDA_HOLD_LIMIT_NS;
}

enum device_status calls_time(struct timed_call *calls, int count, struct err *err)
{
    size_t expected = 1, got;

    for (int i = 0; i < count; i++) {
        expected += (size_t)calls[i].callee->op_count;
    }
    for (int try = 0; try < BATCH_TRIES; try++) {
        enum device_status status = run_held(calls, count, err);
        const struct record *batch, *next;
        double mhz;

        if (status != DEVICE_OK) {
            return status;
        }
        batch = records_collect(expected, &got, err);
        if (batch == NULL || !check_order(batch, got, err)) {
            return DEVICE_LOST;
        }
        next = batch + 1;
        mhz = cuda_stamped();
        for (int i = 0; i < count; i++) {
            if (!take_call(&calls[i], next, err)) {
                return DEVICE_LOST;
            }
            calls[i].mhz = mhz;
            next += calls[i].callee->op_count;
        }
        if (!hold_gave_up(batch)) {
            return DEVICE_OK;
        }
        /* The device may have waited for the host: set aside. */
    }
    err_set(err, ERR_DEVICE, "the host could not enqueue %d calls in %d ms", count,
            CUDA_HOLD_LIMIT_NS / 1000000);
    return DEVICE_LOST;
}

enum device_status callee_learn(struct callee *callee, const struct device_buffers *set,
                                struct err *err)
{
    struct timed_call call = {.callee = callee, .set = set, .poison = poison_byte(0)};
    enum device_status status;
    const struct record *batch;
    size_t count, before = 1 + (size_t)callee->poison_count;

    callee->op_count = callee->poison_count;
    status = run_held(&call, 1, err);
    if (status != DEVICE_OK) {
        return status;
    }
    batch = records_collect(0, &count, err);
    if (batch == NULL || !check_order(batch, count, err)) {
        return DEVICE_LOST;
    }
    if (count <= before || count - 1 > OPS_MAX) {
        err_set(err, ERR_DEVICE, "the library's call left %zu activity records",
                count < before ? 0 : count - before);
        return DEVICE_LOST;
    }
    for (size_t i = before; i < count; i++) {
        callee->ops[callee->op_count++] = op_of(&batch[i]);
    }
    return DEVICE_OK;
}

/* Graphs --------------------------------------------------------------------------------------- */

enum device_status graph_capture(const struct callee *callee, const struct device_buffers *sets,
                                 int set_count, int calls, CUgraphExec *exec, struct err *err)
{
    CUgraph graph = NULL;
    CUresult code = cuStreamBeginCapture(cuda_stream(), CU_STREAM_CAPTURE_MODE_THREAD_LOCAL);
    enum device_status status = cuda_status(code, err, "cannot begin a graph");

    assert(set_count > 0);
    if (status != DEVICE_OK) {
        return status;
    }
    for (int i = 0; status == DEVICE_OK && i < calls; i++) {
        status = cuda_enqueue_call(callee->module, callee->plan, &sets[i % set_count], err);
    }
    code = cuStreamEndCapture(cuda_stream(), &graph);
    if (status == DEVICE_OK) {
        status = cuda_status(code, err, "cannot end a graph");
    }
    if (status == DEVICE_OK) {
        status = cuda_status(cuGraphInstantiate(exec, graph, 0), err, "cannot make a graph");
    }
    if (graph != NULL) {
        cuGraphDestroy(graph);
    }
    return status;
}
