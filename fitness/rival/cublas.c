/*
 * The rival cublas: attention in three steps, as it is written by those who have matrix products
 * and nothing else. Q K^T by cuBLAS, with FP32 scores in memory; a softmax of our own
 * (softmax.cu); the weights times V by cuBLAS again.
 *
 * The scores of all heads may not fit into any memory, so heads are worked on in slices. How large
 * a slice is best is for the clock to say: a plan has slices as large as memory allows, another
 * such that scores and weights stay in the L2.
 */
#include <cublas_v2.h>
#include <cuda.h>
#include <dlfcn.h>
#include <nvrtc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "fitness/rival/kinds.h"
#include "generated/rival_softmax.h"

enum {
    PLANS_MAX = 2,
    LAUNCHES_MAX = 96, /* of a call: the judge's batches are bounded */
    ROW_QUADS_MAX = 8,  /* more would not stay in registers */
    THREADS_MAX = 1024,
    OPTIONS = 9,
};
static const int64_t slice_bytes[PLANS_MAX] = {(int64_t)2 << 30, (int64_t)40 << 20};
/* cuBLAS asks for this much on Hopper; it is ours, so that calls can be captured into graphs. */
static const size_t scratch_bytes = (size_t)32 << 20;

/* The libraries -------------------------------------------------------------------------------- */

#define CUBLAS_CALLS(X)                                                                            \
    X(cublasCreate_v2)                                                                             \
    X(cublasSetStream_v2)                                                                          \
    X(cublasSetWorkspace_v2)                                                                       \
    X(cublasGetVersion_v2)                                                                         \
    X(cublasGetStatusString)                                                                       \
    X(cublasGemmStridedBatchedEx)

#define NVRTC_CALLS(X)                                                                             \
    X(nvrtcCreateProgram)                                                                          \
    X(nvrtcCompileProgram)                                                                         \
    X(nvrtcGetCUBINSize)                                                                           \
    X(nvrtcGetCUBIN)                                                                               \
    X(nvrtcDestroyProgram)                                                                         \
    X(nvrtcGetErrorString)

static struct {
    bool loaded;
    cublasHandle_t handle; /* one for the process */
    CUdeviceptr scratch;
#define X(name) __typeof__(&name) name;
    CUBLAS_CALLS(X)
    NVRTC_CALLS(X)
#undef X
} lib;

static bool blas_ok(cublasStatus_t status, struct err *err, const char *what)
{
    return status == CUBLAS_STATUS_SUCCESS ||
           err_set(err, ERR_DEVICE, "cuBLAS, %s: %s", what, lib.cublasGetStatusString(status));
}

static bool driver_ok(CUresult code, struct err *err, const char *what)
{
    const char *text = NULL;

    if (code == CUDA_SUCCESS) {
        return true;
    }
    cuGetErrorString(code, &text);
    return err_set(err, ERR_DEVICE, "%s: %s", what, text != NULL ? text : "unknown error");
}

/* Of either of two versions; `named` is what the user says it is, or NULL. */
static void *library_open(const char *named, const char *newer, const char *older, struct err *err)
{
    void *library = dlopen(named != NULL ? named : newer, RTLD_NOW | RTLD_GLOBAL);

    if (library == NULL && named == NULL) {
        library = dlopen(older, RTLD_NOW | RTLD_GLOBAL);
    }
    if (library == NULL) {
        err_set(err, ERR_DEVICE, "cuBLAS cannot be loaded: %s", dlerror());
        err_hint(err, "install CUDA's libraries, or name libcublas.so in EVO_CUBLAS");
    }
    return library;
}

static bool library_load(struct err *err)
{
    void *blas = library_open(getenv("EVO_CUBLAS"), "libcublas.so.13", "libcublas.so.12", err);
    void *nvrtc = blas == NULL ? NULL : library_open(NULL, "libnvrtc.so.13", "libnvrtc.so.12", err);
    void *from = blas;

    if (nvrtc == NULL) {
        return false;
    }
#define X(name)                                                                                    \
    *(void **)&lib.name = dlsym(from, #name);                                                      \
    if (lib.name == NULL) {                                                                        \
        return err_set(err, ERR_DEVICE, "this machine's cuBLAS and NVRTC have no '%s'", #name);    \
    }
    CUBLAS_CALLS(X)
    from = nvrtc;
    NVRTC_CALLS(X)
#undef X
    lib.loaded = true;
    return true;
}

static bool library_ready(void *stream, struct err *err)
{
    if (!lib.loaded && !library_load(err)) {
        return false;
    }
    if (lib.handle == NULL &&
        (!blas_ok(lib.cublasCreate_v2(&lib.handle), err, "its handle") ||
         !driver_ok(cuMemAlloc(&lib.scratch, scratch_bytes), err, "memory for cuBLAS"))) {
        return false;
    }
    return blas_ok(lib.cublasSetStream_v2(lib.handle, stream), err, "the stream") &&
           blas_ok(lib.cublasSetWorkspace_v2(lib.handle, (void *)(uintptr_t)lib.scratch,
                                             scratch_bytes),
                   err, "its workspace");
}

/* Slices --------------------------------------------------------------------------------------- */

struct rival {
    struct problem problem;
    struct problem_args args;
    CUstream stream;
    CUmodule module;
    CUfunction softmax;
    int threads;
    struct cublas_slices plans[PLANS_MAX];
    int plan_count, plan; /* the latter bound */
    struct rival_buffers at;
};

static int64_t round_up(int64_t value, int64_t to) { return (value + to - 1) / to * to; }

static int64_t leading_of(const struct problem *p) { return round_up(p->kv_len, 8); }

/* Heads in a row whose Q, K, V and O each lie at equal distances; all of them, at best. */
static int64_t even_heads(const struct problem *p, const struct problem_args *args)
{
    bool across = args->q[0] == args->q[1] * p->heads && args->o[0] == args->o[1] * p->heads &&
                  args->k[0] == args->k[1] * p->heads && args->v[0] == args->v[1] * p->heads;

    return p->heads != p->kv_heads ? p->heads / p->kv_heads /* K and V stay where they are */
           : across                ? p->heads * p->batch
                                   : p->heads;
}

bool cublas_slices(const struct problem *problem, int64_t bytes_max, struct cublas_slices *slices)
{
    struct problem_args args = problem_args(problem);
    /* a score is four bytes, a weight two */
    int64_t head_bytes = problem->q_len * leading_of(problem) * 6;
    int64_t even = even_heads(problem, &args), all = problem->batch * problem->heads;
    int64_t most = bytes_max / head_bytes;

    most = most < 1 ? 1 : most < even ? most : even;
    slices->even = even;
    slices->heads = most;
    slices->count = all / even * ((even + most - 1) / most);
    slices->workspace_bytes = most * head_bytes;
    return slices->count * 3 <= LAUNCHES_MAX;
}

/* Opening -------------------------------------------------------------------------------------- */

static bool compile_softmax(struct rival *rival, int quads, struct err *err)
{
    const struct problem *p = &rival->problem;
    char text[OPTIONS][48];
    const char *options[OPTIONS];
    int device = 0, major = 0, minor = 0;
    nvrtcProgram program = NULL;
    nvrtcResult result;
    char *cubin = NULL;
    size_t size = 0;
    bool ok = driver_ok(cuCtxGetDevice(&device), err, "no device");

    cuDeviceGetAttribute(&major, CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR, device);
    cuDeviceGetAttribute(&minor, CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR, device);
    snprintf(text[0], sizeof text[0], "-arch=sm_%d%d", major, minor);
    snprintf(text[1], sizeof text[1], "-std=c++17");
    snprintf(text[2], sizeof text[2], "-DKEYS=%lld", (long long)p->kv_len);
    snprintf(text[3], sizeof text[3], "-DQUERIES=%lld", (long long)p->q_len);
    snprintf(text[4], sizeof text[4], "-DLEADING=%lldLL", (long long)leading_of(p));
    snprintf(text[5], sizeof text[5], "-DTHREADS=%d", rival->threads);
    snprintf(text[6], sizeof text[6], "-DQUADS=%d", quads);
    snprintf(text[7], sizeof text[7], "-DCAUSAL=%d", p->causal);
    snprintf(text[8], sizeof text[8], "-DBF16=%d", p->dtype == DTYPE_BF16);
    for (int i = 0; i < OPTIONS; i++) {
        options[i] = text[i];
    }
    if (!ok) {
        return false;
    }
    result = lib.nvrtcCreateProgram(&program, rival_softmax, "softmax.cu", 0, NULL, NULL);
    if (result == NVRTC_SUCCESS) {
        result = lib.nvrtcCompileProgram(program, OPTIONS, options);
    }
    if (result == NVRTC_SUCCESS) {
        result = lib.nvrtcGetCUBINSize(program, &size);
    }
    if (result == NVRTC_SUCCESS) {
        cubin = xmalloc(size);
        result = lib.nvrtcGetCUBIN(program, cubin);
    }
    ok = result == NVRTC_SUCCESS
             ? driver_ok(cuModuleLoadData(&rival->module, cubin), err, "cannot load the softmax") &&
                   driver_ok(cuModuleGetFunction(&rival->softmax, rival->module, "rival_softmax"),
                             err, "cannot find the softmax")
             : err_set(err, ERR_DEVICE, "cannot compile the softmax: %s",
                       lib.nvrtcGetErrorString(result));
    if (program != NULL) {
        lib.nvrtcDestroyProgram(&program);
    }
    free(cubin);
    return ok;
}

static void blas_close(struct rival *rival)
{
    if (rival == NULL) {
        return;
    }
    if (rival->module != NULL) {
        cuModuleUnload(rival->module);
    }
    free(rival);
}

static bool make_plans(struct rival *rival, struct err *err)
{
    struct cublas_slices slices;

    for (int i = 0; i < PLANS_MAX; i++) {
        if (cublas_slices(&rival->problem, slice_bytes[i], &slices) &&
            (rival->plan_count == 0 || slices.heads < rival->plans[0].heads)) {
            rival->plans[rival->plan_count++] = slices;
        }
    }
    return rival->plan_count > 0 ||
           err_set(err, ERR_DEVICE,
                   "the scores of this problem fill more memory than %d launches can work off",
                   LAUNCHES_MAX);
}

static bool blas_open(const struct problem *problem, void *stream, struct rival **rival,
                      struct err *err)
{
    int64_t quads = leading_of(problem) / 4;
    int64_t threads = round_up((quads + 1) / 2, 32); /* two quads each, if that is enough */
    struct rival *made;

    threads = threads < 32 ? 32 : threads > THREADS_MAX ? THREADS_MAX : threads;
    if (quads > threads * ROW_QUADS_MAX) {
        return err_set(err, ERR_DEVICE, "a row of %lld scores is too long for its softmax",
                       (long long)problem->kv_len);
    }
    if (!library_ready(stream, err)) {
        return false;
    }
    made = xmalloc(sizeof *made);
    *made = (struct rival){.problem = *problem,
                           .args = problem_args(problem),
                           .stream = stream,
                           .threads = (int)threads};
    if (!make_plans(made, err) ||
        !compile_softmax(made, (int)((quads + threads - 1) / threads), err)) {
        blas_close(made);
        return false;
    }
    *rival = made;
    return true;
}

/* Use ------------------------------------------------------------------------------------------ */

static int blas_plans(const struct rival *rival) { return rival->plan_count; }

static void blas_plan_name(const struct rival *rival, int plan, char name[RIVAL_NAME_MAX])
{
    snprintf(name, RIVAL_NAME_MAX, "%lld head%s at a time", (long long)rival->plans[plan].heads,
             rival->plans[plan].heads == 1 ? "" : "s");
}

static size_t blas_workspace_bytes(const struct rival *rival, int plan)
{
    return (size_t)rival->plans[plan].workspace_bytes;
}

static bool blas_bind(struct rival *rival, int plan, const struct rival_buffers *at,
                      struct err *err)
{
    (void)err;
    rival->plan = plan;
    rival->at = *at;
    return true;
}

/* Where a head begins, in elements. */
static int64_t head_at(const int64_t strides[3], int64_t head, int64_t heads, int64_t per_group)
{
    return head / heads * strides[0] + head % heads / per_group * strides[1];
}

/* Two bytes an element, at a distance of `stride` from one head to the next. */
struct operand {
    uint64_t at;
    int64_t leading, stride;
};

/* C = alpha · op(A) · B for `heads` heads, column by column as cuBLAS sees memory. */
static bool multiply(const struct rival *rival, bool transposed, int64_t m, int64_t n, int64_t k,
                     float alpha, struct operand a, struct operand b, struct operand c,
                     cudaDataType type, int64_t heads, struct err *err)
{
    const cudaDataType half = rival->problem.dtype == DTYPE_BF16 ? CUDA_R_16BF : CUDA_R_16F;
    const float zero = 0;

    return blas_ok(lib.cublasGemmStridedBatchedEx(
                       lib.handle, transposed ? CUBLAS_OP_T : CUBLAS_OP_N, CUBLAS_OP_N, (int)m,
                       (int)n, (int)k, &alpha, (void *)(uintptr_t)a.at, half, (int)a.leading,
                       a.stride, (void *)(uintptr_t)b.at, half, (int)b.leading, b.stride, &zero,
                       (void *)(uintptr_t)c.at, type, (int)c.leading, c.stride, (int)heads,
                       CUBLAS_COMPUTE_32F, CUBLAS_GEMM_DEFAULT),
                   err, "a matrix product");
}

/* The three steps for heads first, first + 1, … of those numbered through all batches. */
static bool enqueue_slice(struct rival *rival, int64_t first, int64_t heads, struct err *err)
{
    const struct problem *p = &rival->problem;
    const struct problem_args *args = &rival->args;
    const cudaDataType half = p->dtype == DTYPE_BF16 ? CUDA_R_16BF : CUDA_R_16F;
    int64_t group = p->heads / p->kv_heads, lead = leading_of(p), step = p->q_len * lead;
    int64_t still = group == 1; /* 0: all heads of a slice have the same K and V */
    struct operand q = {rival->at.q + 2 * (uint64_t)head_at(args->q, first, p->heads, 1),
                        args->q[2], args->q[1]};
    struct operand k = {rival->at.k + 2 * (uint64_t)head_at(args->k, first, p->heads, group),
                        args->k[2], still * args->k[1]};
    struct operand v = {rival->at.v + 2 * (uint64_t)head_at(args->v, first, p->heads, group),
                        args->v[2], still * args->v[1]};
    struct operand o = {rival->at.o + 2 * (uint64_t)head_at(args->o, first, p->heads, 1),
                        args->o[2], args->o[1]};
    struct operand scores = {rival->at.workspace, lead, step};
    struct operand weights = {rival->at.workspace + 4 * (uint64_t)(step * heads), lead, step};
    uint64_t lse = p->lse ? rival->at.lse + 4 * (uint64_t)(first * p->q_len) : 0;
    void *arguments[] = {&scores.at, &weights.at, &lse};

    return multiply(rival, true, p->kv_len, p->q_len, p->head_dim, (float)problem_scale(p), k, q,
                    scores, CUDA_R_32F, heads, err) &&
           driver_ok(cuLaunchKernel(rival->softmax, (unsigned)(heads * p->q_len), 1, 1,
                                    (unsigned)rival->threads, 1, 1, 0, rival->stream, arguments,
                                    NULL),
                     err, "cannot launch the softmax") &&
           multiply(rival, false, p->head_dim, p->q_len, p->kv_len, 1, v, weights, o, half, heads,
                    err);
}

static bool blas_enqueue(struct rival *rival, struct err *err)
{
    const struct cublas_slices *slices = &rival->plans[rival->plan];
    int64_t all = rival->problem.batch * rival->problem.heads;

    for (int64_t even = 0; even < all; even += slices->even) {
        for (int64_t first = 0; first < slices->even; first += slices->heads) {
            int64_t left = slices->even - first;

            if (!enqueue_slice(rival, even + first, left < slices->heads ? left : slices->heads,
                               err)) {
                return false;
            }
        }
    }
    return true;
}

static void blas_version(char text[RIVAL_NAME_MAX])
{
    int version = 0;

    text[0] = '\0';
    if (lib.handle != NULL && lib.cublasGetVersion_v2(lib.handle, &version) == 0) {
        snprintf(text, RIVAL_NAME_MAX, "cuBLAS %d.%d.%d", version / 10000, version / 100 % 100,
                 version % 100);
    }
}

const struct rival_kind rival_cublas = {
    .name = "cublas",
    .doc = "two matrix products of cuBLAS with a softmax between them",
    .open = blas_open,
    .plans = blas_plans,
    .plan_name = blas_plan_name,
    .workspace_bytes = blas_workspace_bytes,
    .bind = blas_bind,
    .enqueue = blas_enqueue,
    .version = blas_version,
    .close = blas_close,
};
