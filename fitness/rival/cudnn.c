/*
 * The rival cudnn. cuDNN is spoken to through its C backend API: a graph of operations over tensors
 * goes in, heuristics name the engines that would run it, and each becomes an execution plan.
 *
 * Two graphs say attention. The composite one is the textbook's chain: Q Kᵀ, scale, mask, softmax
 * from max, subtract, exp, sum, divide, then P V. Its pattern must hold the log-sum-exp (log of
 * the sum, plus the max) even where nobody asks for it, or no engine matches. The unified one is a
 * single operation, which knows no mask before cuDNN 9.21. Where both apply, both are built: which
 * engine is faster is for the clock to say.
 */
#include <cudnn.h>
#include <dlfcn.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "base/str.h"
#include "fitness/rival/kinds.h"

/* The library ---------------------------------------------------------------------------------- */

/* Each function that is called, by name; the types are the header's. */
#define CUDNN_CALLS(X)                                                                             \
    X(cudnnCreate)                                                                                 \
    X(cudnnDestroy)                                                                                \
    X(cudnnSetStream)                                                                              \
    X(cudnnGetVersion)                                                                             \
    X(cudnnGetErrorString)                                                                         \
    X(cudnnGetLastErrorString)                                                                     \
    X(cudnnBackendCreateDescriptor)                                                                \
    X(cudnnBackendDestroyDescriptor)                                                               \
    X(cudnnBackendSetAttribute)                                                                    \
    X(cudnnBackendGetAttribute)                                                                    \
    X(cudnnBackendFinalize)                                                                        \
    X(cudnnBackendExecute)

static struct {
    bool loaded;
    cudnnHandle_t handle; /* one for the process: making it costs 20 ms */
    const char *device;   /* see cudnn_describe_device */
#define X(name) __typeof__(&name) name;
    CUDNN_CALLS(X)
#undef X
} dnn;

void cudnn_describe_device(const char *json) { dnn.device = json; }

static bool dnn_ok(cudnnStatus_t status, struct err *err, const char *what)
{
    char text[300] = "";

    if (status == CUDNN_STATUS_SUCCESS) {
        return true;
    }
    dnn.cudnnGetLastErrorString(text, sizeof(text));
    return err_set(err, ERR_DEVICE, "cuDNN, %s: %s%s%s", what, dnn.cudnnGetErrorString(status),
                   *text != '\0' ? ": " : "", text);
}

static bool library_load(struct err *err)
{
    const char *named = getenv("EVO_CUDNN");
    void *library = dlopen(named != NULL ? named : "libcudnn.so.9", RTLD_NOW | RTLD_GLOBAL);

    if (library == NULL) {
        err_set(err, ERR_DEVICE, "cuDNN cannot be loaded: %s", dlerror());
        return err_hint(err, "install cuDNN 9, or name its libcudnn.so.9 in EVO_CUDNN");
    }
#define X(name)                                                                                    \
    *(void **)&dnn.name = dlsym(library, #name);                                                   \
    if (dnn.name == NULL) {                                                                        \
        return err_set(err, ERR_DEVICE, "this cuDNN has no '%s'", #name);                          \
    }
    CUDNN_CALLS(X)
#undef X
    dnn.loaded = true;
    return true;
}

static bool library_ready(void *stream, struct err *err)
{
    if (!dnn.loaded && !library_load(err)) {
        return false;
    }
    if (dnn.device != NULL) {
        return true; /* there is no device to make a handle for */
    }
    return (dnn.handle != NULL || dnn_ok(dnn.cudnnCreate(&dnn.handle), err, "its handle")) &&
           dnn_ok(dnn.cudnnSetStream(dnn.handle, stream), err, "the stream");
}

/* Descriptors ---------------------------------------------------------------------------------- */

enum { DESCRIPTORS_MAX = 256, OPERATIONS_MAX = 16, ENGINES_MAX = 8 };

typedef cudnnBackendDescriptor_t descriptor; /* opaque, and a mouthful */

/*
 * What is being built. The first call that fails leaves its error, and the ones after it do
 * nothing: so a graph can be written down without an `if` a line.
 */
struct builder {
    descriptor made[DESCRIPTORS_MAX];
    int count;
    descriptor operations[OPERATIONS_MAX];
    int operation_count;
    int64_t next_id; /* of virtual tensors */
    bool failed;
    struct err *err;
};

static void check(struct builder *b, cudnnStatus_t status, const char *what)
{
    if (!b->failed && !dnn_ok(status, b->err, what)) {
        b->failed = true;
    }
}

static descriptor make(struct builder *b, cudnnBackendDescriptorType_t type)
{
    descriptor made = NULL;

    if (b->failed) {
        return NULL;
    }
    if (b->count == DESCRIPTORS_MAX) {
        b->failed = !err_set(b->err, ERR_DEVICE, "cuDNN, too many descriptors for one graph");
        return NULL;
    }
    check(b, dnn.cudnnBackendCreateDescriptor(type, &made), "a descriptor");
    if (made != NULL) {
        b->made[b->count++] = made;
    }
    return made;
}

static void set(struct builder *b, descriptor to, cudnnBackendAttributeName_t name,
                cudnnBackendAttributeType_t type, int64_t count, const void *values)
{
    if (!b->failed) {
        check(b, dnn.cudnnBackendSetAttribute(to, name, type, count, values), "an attribute");
    }
}

static void set_descriptor(struct builder *b, descriptor to, cudnnBackendAttributeName_t name,
                           descriptor value)
{
    set(b, to, name, CUDNN_TYPE_BACKEND_DESCRIPTOR, 1, &value);
}

static void finish(struct builder *b, descriptor of, const char *what)
{
    if (!b->failed) {
        check(b, dnn.cudnnBackendFinalize(of), what);
    }
}

static void builder_free(struct builder *b)
{
    while (b->count > 0) {
        dnn.cudnnBackendDestroyDescriptor(b->made[--b->count]);
    }
}

/* The tensors that memory is bound to, by number. */
enum tensor_id {
    ID_Q = 1,
    ID_K,
    ID_V,
    ID_O,
    ID_LSE,
    ID_SCALE,
    ID_MINUS_INFINITY,
    ID_VIRTUAL = 100
};

enum memory { IN_MEMORY, VIRTUAL, BY_VALUE };

struct layout {
    int64_t dims[4], strides[4];
};

static descriptor tensor(struct builder *b, int64_t id, cudnnDataType_t type,
                         const struct layout *layout, enum memory memory)
{
    descriptor t = make(b, CUDNN_BACKEND_TENSOR_DESCRIPTOR);
    const int64_t alignment = 16;
    const bool yes = true;

    set(b, t, CUDNN_ATTR_TENSOR_UNIQUE_ID, CUDNN_TYPE_INT64, 1, &id);
    set(b, t, CUDNN_ATTR_TENSOR_DATA_TYPE, CUDNN_TYPE_DATA_TYPE, 1, &type);
    set(b, t, CUDNN_ATTR_TENSOR_DIMENSIONS, CUDNN_TYPE_INT64, 4, layout->dims);
    set(b, t, CUDNN_ATTR_TENSOR_STRIDES, CUDNN_TYPE_INT64, 4, layout->strides);
    set(b, t, CUDNN_ATTR_TENSOR_BYTE_ALIGNMENT, CUDNN_TYPE_INT64, 1, &alignment);
    if (memory == VIRTUAL) {
        set(b, t, CUDNN_ATTR_TENSOR_IS_VIRTUAL, CUDNN_TYPE_BOOLEAN, 1, &yes);
    }
    if (memory == BY_VALUE) {
        set(b, t, CUDNN_ATTR_TENSOR_IS_BY_VALUE, CUDNN_TYPE_BOOLEAN, 1, &yes);
    }
    finish(b, t, "a tensor");
    return t;
}

static descriptor between(struct builder *b, cudnnDataType_t type, const struct layout *layout)
{
    return tensor(b, b->next_id++, type, layout, VIRTUAL);
}

static void add_operation(struct builder *b, descriptor operation, const char *what)
{
    finish(b, operation, what);
    if (!b->failed) {
        b->operations[b->operation_count++] = operation;
    }
}

static void matmul(struct builder *b, descriptor left, descriptor right, descriptor to)
{
    const cudnnDataType_t single = CUDNN_DATA_FLOAT;
    descriptor how = make(b, CUDNN_BACKEND_MATMUL_DESCRIPTOR);
    descriptor operation = make(b, CUDNN_BACKEND_OPERATION_MATMUL_DESCRIPTOR);

    set(b, how, CUDNN_ATTR_MATMUL_COMP_TYPE, CUDNN_TYPE_DATA_TYPE, 1, &single);
    finish(b, how, "a matrix product");
    set_descriptor(b, operation, CUDNN_ATTR_OPERATION_MATMUL_ADESC, left);
    set_descriptor(b, operation, CUDNN_ATTR_OPERATION_MATMUL_BDESC, right);
    set_descriptor(b, operation, CUDNN_ATTR_OPERATION_MATMUL_CDESC, to);
    set_descriptor(b, operation, CUDNN_ATTR_OPERATION_MATMUL_DESC, how);
    add_operation(b, operation, "a matrix product");
}

static void reduce(struct builder *b, cudnnReduceTensorOp_t with, descriptor from, descriptor to)
{
    const cudnnDataType_t single = CUDNN_DATA_FLOAT;
    descriptor how = make(b, CUDNN_BACKEND_REDUCTION_DESCRIPTOR);
    descriptor operation = make(b, CUDNN_BACKEND_OPERATION_REDUCTION_DESCRIPTOR);

    set(b, how, CUDNN_ATTR_REDUCTION_OPERATOR, CUDNN_TYPE_REDUCTION_OPERATOR_TYPE, 1, &with);
    set(b, how, CUDNN_ATTR_REDUCTION_COMP_TYPE, CUDNN_TYPE_DATA_TYPE, 1, &single);
    finish(b, how, "a reduction");
    set_descriptor(b, operation, CUDNN_ATTR_OPERATION_REDUCTION_XDESC, from);
    set_descriptor(b, operation, CUDNN_ATTR_OPERATION_REDUCTION_YDESC, to);
    set_descriptor(b, operation, CUDNN_ATTR_OPERATION_REDUCTION_DESC, how);
    add_operation(b, operation, "a reduction");
}

/* y = mode(x, other) element by element; `select` chooses between them, `axis` is an index's. */
struct pointwise {
    cudnnPointwiseMode_t mode;
    cudnnDataType_t precision;
    int64_t axis; /* -1: none */
    descriptor x, other, select, y;
};

static void pointwise(struct builder *b, struct pointwise p)
{
    descriptor how = make(b, CUDNN_BACKEND_POINTWISE_DESCRIPTOR);
    descriptor operation = make(b, CUDNN_BACKEND_OPERATION_POINTWISE_DESCRIPTOR);

    set(b, how, CUDNN_ATTR_POINTWISE_MODE, CUDNN_TYPE_POINTWISE_MODE, 1, &p.mode);
    set(b, how, CUDNN_ATTR_POINTWISE_MATH_PREC, CUDNN_TYPE_DATA_TYPE, 1, &p.precision);
    if (p.axis >= 0) {
        set(b, how, CUDNN_ATTR_POINTWISE_AXIS, CUDNN_TYPE_INT64, 1, &p.axis);
    }
    finish(b, how, "a pointwise operation");
    set_descriptor(b, operation, CUDNN_ATTR_OPERATION_POINTWISE_PW_DESCRIPTOR, how);
    set_descriptor(b, operation, CUDNN_ATTR_OPERATION_POINTWISE_XDESC, p.x);
    if (p.other != NULL) {
        set_descriptor(b, operation, CUDNN_ATTR_OPERATION_POINTWISE_BDESC, p.other);
    }
    if (p.select != NULL) {
        set_descriptor(b, operation, CUDNN_ATTR_OPERATION_POINTWISE_TDESC, p.select);
    }
    set_descriptor(b, operation, CUDNN_ATTR_OPERATION_POINTWISE_YDESC, p.y);
    add_operation(b, operation, "a pointwise operation");
}

static void single(struct builder *b, cudnnPointwiseMode_t mode, descriptor x, descriptor other,
                   descriptor y)
{
    pointwise(b, (struct pointwise){mode, CUDNN_DATA_FLOAT, -1, x, other, NULL, y});
}

/* The graphs ----------------------------------------------------------------------------------- */

struct shapes {
    cudnnDataType_t type;
    struct layout q, k, k_transposed, v, o, scores, rows, one;
};

static struct layout layout_of(int64_t batch, int64_t heads, int64_t rows, int64_t columns,
                               const int64_t strides[3])
{
    return (struct layout){{batch, heads, rows, columns}, {strides[0], strides[1], strides[2], 1}};
}

static struct shapes shapes_of(const struct problem *p)
{
    struct problem_args args = problem_args(p);
    const int64_t scores[3] = {p->heads * p->q_len * p->kv_len, p->q_len * p->kv_len, p->kv_len};
    const int64_t rows[3] = {p->heads * p->q_len, p->q_len, 1};
    struct shapes s = {
        .type = p->dtype == DTYPE_BF16 ? CUDNN_DATA_BFLOAT16 : CUDNN_DATA_HALF,
        .q = layout_of(p->batch, p->heads, p->q_len, p->head_dim, args.q),
        .k = layout_of(p->batch, p->kv_heads, p->kv_len, p->head_dim, args.k),
        .v = layout_of(p->batch, p->kv_heads, p->kv_len, p->head_dim, args.v),
        .o = layout_of(p->batch, p->heads, p->q_len, p->head_dim, args.o),
        .scores = layout_of(p->batch, p->heads, p->q_len, p->kv_len, scores),
        .rows = layout_of(p->batch, p->heads, p->q_len, 1, rows),
        .one = {{1, 1, 1, 1}, {1, 1, 1, 1}},
    };

    s.k_transposed = (struct layout){{p->batch, p->kv_heads, p->head_dim, p->kv_len},
                                     {args.k[0], args.k[1], 1, args.k[2]}};
    return s;
}

/* scores where the key's index is not above the row's, minus infinity elsewhere */
static descriptor masked(struct builder *b, const struct shapes *s, descriptor scores)
{
    const cudnnDataType_t single_ = CUDNN_DATA_FLOAT, index = CUDNN_DATA_INT32;
    descriptor row = between(b, index, &s->scores), column = between(b, index, &s->scores);
    descriptor seen = between(b, CUDNN_DATA_BOOLEAN, &s->scores);
    descriptor out = between(b, single_, &s->scores);
    descriptor nothing = tensor(b, ID_MINUS_INFINITY, single_, &s->one, BY_VALUE);

    pointwise(b,
              (struct pointwise){CUDNN_POINTWISE_GEN_INDEX, single_, 2, scores, NULL, NULL, row});
    pointwise(
        b, (struct pointwise){CUDNN_POINTWISE_GEN_INDEX, single_, 3, scores, NULL, NULL, column});
    pointwise(b, (struct pointwise){CUDNN_POINTWISE_CMP_GE, CUDNN_DATA_BOOLEAN, -1, row, column,
                                    NULL, seen});
    pointwise(b, (struct pointwise){CUDNN_POINTWISE_BINARY_SELECT, single_, -1, scores, nothing,
                                    seen, out});
    return out;
}

static void composite(struct builder *b, const struct problem *p)
{
    struct shapes s = shapes_of(p);
    const cudnnDataType_t f = CUDNN_DATA_FLOAT;
    descriptor q = tensor(b, ID_Q, s.type, &s.q, IN_MEMORY);
    descriptor k = tensor(b, ID_K, s.type, &s.k_transposed, IN_MEMORY);
    descriptor v = tensor(b, ID_V, s.type, &s.v, IN_MEMORY);
    descriptor o = tensor(b, ID_O, s.type, &s.o, IN_MEMORY);
    descriptor scale = tensor(b, ID_SCALE, f, &s.one, BY_VALUE);
    descriptor products = between(b, f, &s.scores), scores = between(b, f, &s.scores);
    descriptor peak = between(b, f, &s.rows), shifted = between(b, f, &s.scores);
    descriptor weights = between(b, f, &s.scores), sum = between(b, f, &s.rows);
    descriptor log_sum = between(b, f, &s.rows);
    descriptor lse = p->lse ? tensor(b, ID_LSE, f, &s.rows, IN_MEMORY) : between(b, f, &s.rows);
    descriptor probabilities = between(b, s.type, &s.scores);

    matmul(b, q, k, products);
    single(b, CUDNN_POINTWISE_MUL, products, scale, scores);
    if (p->causal) {
        scores = masked(b, &s, scores);
    }
    reduce(b, CUDNN_REDUCE_TENSOR_MAX, scores, peak);
    single(b, CUDNN_POINTWISE_SUB, scores, peak, shifted);
    single(b, CUDNN_POINTWISE_EXP, shifted, NULL, weights);
    reduce(b, CUDNN_REDUCE_TENSOR_ADD, weights, sum);
    single(b, CUDNN_POINTWISE_LOG, sum, NULL, log_sum);
    single(b, CUDNN_POINTWISE_ADD, peak, log_sum, lse);
    single(b, CUDNN_POINTWISE_DIV, weights, sum, probabilities);
    matmul(b, probabilities, v, o);
}

static void unified(struct builder *b, const struct problem *p)
{
    struct shapes s = shapes_of(p);
    descriptor operation = make(b, CUDNN_BACKEND_OPERATION_SDPA_FWD_DESCRIPTOR);

    set_descriptor(b, operation, CUDNN_ATTR_OPERATION_SDPA_FWD_QDESC,
                   tensor(b, ID_Q, s.type, &s.q, IN_MEMORY));
    set_descriptor(b, operation, CUDNN_ATTR_OPERATION_SDPA_FWD_KDESC,
                   tensor(b, ID_K, s.type, &s.k, IN_MEMORY));
    set_descriptor(b, operation, CUDNN_ATTR_OPERATION_SDPA_FWD_VDESC,
                   tensor(b, ID_V, s.type, &s.v, IN_MEMORY));
    set_descriptor(b, operation, CUDNN_ATTR_OPERATION_SDPA_FWD_ODESC,
                   tensor(b, ID_O, s.type, &s.o, IN_MEMORY));
    set_descriptor(b, operation, CUDNN_ATTR_OPERATION_SDPA_FWD_SCALEDESC,
                   tensor(b, ID_SCALE, CUDNN_DATA_FLOAT, &s.one, BY_VALUE));
    if (p->lse) {
        set_descriptor(b, operation, CUDNN_ATTR_OPERATION_SDPA_FWD_STATSDESC,
                       tensor(b, ID_LSE, CUDNN_DATA_FLOAT, &s.rows, IN_MEMORY));
    }
    add_operation(b, operation, "the unified operation");
}

/* Plans ---------------------------------------------------------------------------------------- */

struct plan_ {
    const char *form;
    int choice; /* of the heuristics for this form, from 1: an engine may come with several knobs */
    int64_t engine, workspace_bytes;
    descriptor plan;
};

struct rival {
    struct problem problem;
    struct builder forms[2]; /* own every descriptor of their graph and its plans */
    int form_count;
    struct plan_ plans[RIVAL_PLANS_MAX];
    int plan_count;
    float scale, minus_infinity; /* by value: cuDNN reads them when it executes */
    descriptor pack;
    int bound; /* the plan that `pack` belongs to; -1: none */
};

static descriptor device_descriptor(struct builder *b)
{
    descriptor device;

    if (dnn.device == NULL) {
        return NULL;
    }
    device = make(b, CUDNN_BACKEND_DEVICEPROP_DESCRIPTOR);
    set(b, device, CUDNN_ATTR_DEVICEPROP_JSON_REPRESENTATION, CUDNN_TYPE_CHAR,
        (int64_t)strlen(dnn.device) + 1, dnn.device);
    finish(b, device, "the description of the device");
    return device;
}

/* Engines that would run the graph, the heuristics' favourite first. */
static int engines_for(struct builder *b, descriptor device, descriptor *engines)
{
    descriptor graph = make(b, CUDNN_BACKEND_OPERATIONGRAPH_DESCRIPTOR);
    descriptor heuristics = make(b, CUDNN_BACKEND_ENGINEHEUR_DESCRIPTOR);
    const cudnnBackendHeurMode_t mode = CUDNN_HEUR_MODE_A;
    int64_t count = 0;

    set(b, graph, CUDNN_ATTR_OPERATIONGRAPH_OPS, CUDNN_TYPE_BACKEND_DESCRIPTOR, b->operation_count,
        b->operations);
    if (device == NULL) {
        set(b, graph, CUDNN_ATTR_OPERATIONGRAPH_HANDLE, CUDNN_TYPE_HANDLE, 1, &dnn.handle);
    }
    finish(b, graph, "the graph");
    set_descriptor(b, heuristics, CUDNN_ATTR_ENGINEHEUR_OPERATION_GRAPH, graph);
    set(b, heuristics, CUDNN_ATTR_ENGINEHEUR_MODE, CUDNN_TYPE_HEUR_MODE, 1, &mode);
    if (device != NULL) {
        set_descriptor(b, heuristics, CUDNN_ATTR_ENGINEHEUR_DEVICEPROP, device);
    }
    finish(b, heuristics, "its heuristics");
    for (int i = 0; i < ENGINES_MAX; i++) {
        engines[i] = make(b, CUDNN_BACKEND_ENGINECFG_DESCRIPTOR);
    }
    if (!b->failed) {
        check(b,
              dnn.cudnnBackendGetAttribute(heuristics, CUDNN_ATTR_ENGINEHEUR_RESULTS,
                                           CUDNN_TYPE_BACKEND_DESCRIPTOR, ENGINES_MAX, &count,
                                           engines),
              "its engines");
    }
    return b->failed ? 0 : (int)(count < ENGINES_MAX ? count : ENGINES_MAX);
}

static int64_t engine_number(struct builder *b, descriptor config)
{
    descriptor engine = make(b, CUDNN_BACKEND_ENGINE_DESCRIPTOR);
    int64_t count = 0, number = -1;

    if (!b->failed) {
        dnn.cudnnBackendGetAttribute(config, CUDNN_ATTR_ENGINECFG_ENGINE,
                                     CUDNN_TYPE_BACKEND_DESCRIPTOR, 1, &count, &engine);
        dnn.cudnnBackendGetAttribute(engine, CUDNN_ATTR_ENGINE_GLOBAL_INDEX, CUDNN_TYPE_INT64, 1,
                                     &count, &number);
    }
    return number;
}

/* Is it the driver alone that is missing? So it is where plans are built for a described device. */
static bool only_loading_failed(cudnnStatus_t status)
{
    return dnn.device != NULL && status == CUDNN_STATUS_EXECUTION_FAILED_CUDA_DRIVER;
}

static void add_plan(struct rival *rival, struct builder *b, const char *form, int choice,
                     descriptor device, descriptor config)
{
    descriptor plan = make(b, CUDNN_BACKEND_EXECUTION_PLAN_DESCRIPTOR);
    struct plan_ *to = &rival->plans[rival->plan_count];
    cudnnStatus_t status;
    int64_t count;

    if (device == NULL) {
        set(b, plan, CUDNN_ATTR_EXECUTION_PLAN_HANDLE, CUDNN_TYPE_HANDLE, 1, &dnn.handle);
    } else {
        set_descriptor(b, plan, CUDNN_ATTR_EXECUTION_PLAN_DEVICEPROP, device);
    }
    set_descriptor(b, plan, CUDNN_ATTR_EXECUTION_PLAN_ENGINE_CONFIG, config);
    if (b->failed || rival->plan_count == RIVAL_PLANS_MAX) {
        return;
    }
    status = dnn.cudnnBackendFinalize(plan);
    if (status != CUDNN_STATUS_SUCCESS && !only_loading_failed(status)) {
        return; /* an engine that the heuristics were wrong about */
    }
    *to = (struct plan_){
        .form = form, .choice = choice, .plan = plan, .engine = engine_number(b, config)};
    if (status == CUDNN_STATUS_SUCCESS) {
        check(b,
              dnn.cudnnBackendGetAttribute(plan, CUDNN_ATTR_EXECUTION_PLAN_WORKSPACE_SIZE,
                                           CUDNN_TYPE_INT64, 1, &count, &to->workspace_bytes),
              "a plan's workspace");
    }
    rival->plan_count += !b->failed;
}

/* Adds the plans of one graph. Having none is for the caller to judge: the other may do it. */
static void add_form(struct rival *rival, const char *form,
                     void (*draw)(struct builder *, const struct problem *), struct err *err)
{
    struct builder *b = &rival->forms[rival->form_count++];
    descriptor engines[ENGINES_MAX], device;
    int count;

    *b = (struct builder){.next_id = ID_VIRTUAL, .err = err};
    draw(b, &rival->problem);
    device = device_descriptor(b);
    count = engines_for(b, device, engines);
    for (int i = 0; i < count && !b->failed; i++) {
        add_plan(rival, b, form, i + 1, device, engines[i]);
    }
}

static bool can_do(const struct problem *problem, struct err *err)
{
    if (problem->causal && problem->q_len != problem->kv_len) {
        return err_set(err, ERR_USER,
                       "cuDNN's graph has no mask aligned to the bottom right, which matters where "
                       "there are %lld rows and %lld keys",
                       (long long)problem->q_len, (long long)problem->kv_len);
    }
    return true;
}

static void dnn_close(struct rival *rival)
{
    if (rival == NULL) {
        return;
    }
    if (rival->pack != NULL) {
        dnn.cudnnBackendDestroyDescriptor(rival->pack);
    }
    for (int i = 0; i < rival->form_count; i++) {
        builder_free(&rival->forms[i]);
    }
    free(rival);
}

static bool dnn_open(const struct problem *problem, void *stream, struct rival **rival,
                     struct err *err)
{
    struct err composite_err = {0}, unified_err = {0};
    struct rival *made;

    if (!can_do(problem, err) || !library_ready(stream, err)) {
        return false;
    }
    made = xmalloc(sizeof(*made));
    *made = (struct rival){.problem = *problem,
                           .scale = (float)problem_scale(problem),
                           .minus_infinity = -INFINITY,
                           .bound = -1};
    add_form(made, "composite", composite, &composite_err);
    if (!problem->causal) {
        add_form(made, "unified", unified, &unified_err);
    }
    if (made->plan_count == 0) {
        dnn_close(made);
        return err_set(err, ERR_DEVICE, "cuDNN has no plan for this problem%s%s",
                       composite_err.what[0] != '\0' ? ": " : "", composite_err.what);
    }
    *rival = made;
    return true;
}

/* Use ------------------------------------------------------------------------------------------ */

static int dnn_plans(const struct rival *rival) { return rival->plan_count; }

static void dnn_plan_name(const struct rival *rival, int plan, char name[RIVAL_NAME_MAX])
{
    snprintf(name, RIVAL_NAME_MAX, "%s %d (engine %lld)", rival->plans[plan].form,
             rival->plans[plan].choice, (long long)rival->plans[plan].engine);
}

static size_t dnn_workspace_bytes(const struct rival *rival, int plan)
{
    return (size_t)rival->plans[plan].workspace_bytes;
}

static bool dnn_bind(struct rival *rival, int plan, const struct rival_buffers *at, struct err *err)
{
    struct {
        int64_t id;
        void *pointer;
        bool used;
    } all[] = {
        {ID_Q, (void *)(uintptr_t)at->q, true},
        {ID_K, (void *)(uintptr_t)at->k, true},
        {ID_V, (void *)(uintptr_t)at->v, true},
        {ID_O, (void *)(uintptr_t)at->o, true},
        {ID_LSE, (void *)(uintptr_t)at->lse, rival->problem.lse},
        {ID_SCALE, &rival->scale, true},
        {ID_MINUS_INFINITY, &rival->minus_infinity, rival->problem.causal},
    };
    struct builder b = {.err = err};
    int64_t ids[sizeof(all) / sizeof(*all)], count = 0;
    void *pointers[sizeof(all) / sizeof(*all)], *workspace = (void *)(uintptr_t)at->workspace;

    for (size_t i = 0; i < sizeof(all) / sizeof(*all); i++) {
        if (all[i].used) {
            ids[count] = all[i].id;
            pointers[count++] = all[i].pointer;
        }
    }
    if (rival->pack != NULL) {
        dnn.cudnnBackendDestroyDescriptor(rival->pack);
    }
    rival->bound = -1;
    rival->pack = make(&b, CUDNN_BACKEND_VARIANT_PACK_DESCRIPTOR);
    set(&b, rival->pack, CUDNN_ATTR_VARIANT_PACK_UNIQUE_IDS, CUDNN_TYPE_INT64, count, ids);
    set(&b, rival->pack, CUDNN_ATTR_VARIANT_PACK_DATA_POINTERS, CUDNN_TYPE_VOID_PTR, count,
        pointers);
    set(&b, rival->pack, CUDNN_ATTR_VARIANT_PACK_WORKSPACE, CUDNN_TYPE_VOID_PTR, 1, &workspace);
    finish(&b, rival->pack, "the pointers of a call");
    if (!b.failed) {
        rival->bound = plan;
    }
    return !b.failed;
}

static bool dnn_enqueue(struct rival *rival, struct err *err)
{
    if (rival->bound < 0) {
        return err_set(err, ERR_DEVICE, "cuDNN, a call without memory");
    }
    return dnn_ok(dnn.cudnnBackendExecute(dnn.handle, rival->plans[rival->bound].plan, rival->pack),
                  err, "a call");
}

static void dnn_version(char text[RIVAL_NAME_MAX])
{
    size_t version = dnn.loaded ? dnn.cudnnGetVersion() : 0;

    text[0] = '\0';
    if (version > 0) {
        snprintf(text, RIVAL_NAME_MAX, "cuDNN %zu.%zu.%zu", version / 10000, version / 100 % 100,
                 version % 100);
    }
}

const struct rival_kind rival_cudnn = {
    .name = "cudnn",
    .doc = "cuDNN's attention, its best plan",
    .open = dnn_open,
    .plans = dnn_plans,
    .plan_name = dnn_plan_name,
    .workspace_bytes = dnn_workspace_bytes,
    .bind = dnn_bind,
    .enqueue = dnn_enqueue,
    .version = dnn_version,
    .close = dnn_close,
};
