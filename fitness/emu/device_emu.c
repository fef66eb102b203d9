/*
 * device_emu.c -- device.h on the PTX machine.
 *
 * A candidate's PTX is parsed and decoded when it is loaded and forgotten when it is unloaded:
 * nothing survives from one to the next. Whatever a kernel does, this process is well afterwards.
 */
#include "fitness/duel.h"
#include "fitness/emu/device_emu.h"

#include <assert.h>
#include <limits.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/hash.h"
#include "base/str.h"
#include "fitness/cubin.h"
#include "fitness/emu/findings.h"
#include "fitness/emu/ptx.h"
#include "fitness/emu/tensormap.h"
#include "fitness/jitter.h"
#include "fitness/verify.h"

enum {
    THREADS_MAX = 1024,
    SAMPLE_BLOCKS = 8,        /* of a grid, for the model: see docs/EMULATOR.md */
    CALL_MS_MAX = 100 * 1000, /* below the engine's default deadline of a judge */
    OPS_MIN = 1 << 24,        /* that a block may do on the smallest problem */
    OPS_PER_FLOP = 2,         /* and on top, for each FLOP of the problem */
    FINDING_TEXT = 768,
};

/* Multiples of it, without their whole parts, are spread as evenly as can be. */
static const double GOLDEN = 0.6180339887498949;

struct allocation {
    device_ptr at;
    size_t bytes;
};

static struct {
    const struct chip *chip;
    struct memory *memory;
    struct allocation *allocations;
    int allocation_count, allocation_room;
    int threads;       /* of the host; 0: all */
    unsigned sanitize; /* what to look for when calls are watched closely */
    bool closely, always;
    struct outcome outcome;
    bool has_outcome;
} emu;

struct kernel {
    const char *name;
    struct code *program;
    int64_t offsets[PROGRAM_ARGS_MAX]; /* of the parameters */
    int arg_count;
    int registers; /* by the cubin; 0: it does not say */
};

struct device_module {
    struct arena *arena;
    struct ptx_module *ptx;
    struct kernel kernels[PROGRAM_KERNELS_MAX];
    int kernel_count;
    uint64_t *variables; /* of a twin: they live from call to call. NULL: made for each launch */
};

static enum device_status refuse(struct err *err, enum device_status status, const char *format,
                                 ...) __attribute__((format(printf, 3, 4)));
static enum device_status refuse(struct err *err, enum device_status status, const char *format,
                                 ...)
{
    char text[1024];
    va_list ap;

    va_start(ap, format);
    vsnprintf(text, sizeof text, format, ap);
    va_end(ap);
    err_set(err, ERR_DEVICE, "%s", text);
    return status;
}

/* ---- opening ------------------------------------------------------------------------------- */

/* "H200", "H200/4" (on four threads), or "0": the first chip. */
static bool read_spec(struct arena *arena, const char *spec, struct err *err)
{
    const char *slash = strchr(spec, '/');
    const char *name =
        slash != NULL ? arena_text(arena, spec, (size_t)(slash - spec)) : arena_dup(arena, spec);
    int64_t threads = 0;

    if (slash != NULL &&
        (!str_to_i64(slash + 1, &threads) || threads < 1 || threads > THREADS_MAX)) {
        err_set(err, ERR_USER, "'%s' is not a number of threads", slash + 1);
        return err_hint(err, "a chip may be followed by '/' and 1 to %d threads", THREADS_MAX);
    }
    emu.threads = (int)threads;
    emu.chip = chip_find(strcmp(name, "0") == 0 ? "" : name);
    if (emu.chip == NULL) {
        err_set(err, ERR_USER, "no chip '%s' can be emulated", name);
        return err_hint(err, "the chips are: %s", chip_names(arena));
    }
    return true;
}

bool device_open(struct arena *arena, const char *spec, struct hello *hello, struct err *err)
{
    char hex[HASH_HEX + 1];
    struct hash digest;

    if (!read_spec(arena, spec, err)) {
        return false;
    }
    emu.memory = memory_new();
    emu.sanitize = SANITIZE_ALL;
    digest = chip_digest(emu.chip);
    hash_to_hex(&digest, hex);
    *hello = (struct hello){
        .protocol = JOB_PROTOCOL,
        .role = ROLE_JUDGE,
        .backend = "emu",
        .version = arena_printf(arena, "gate %d emu %d", GATE_VERSION, EMU_VERSION),
        .device = emu.chip->device,
        .device_id = arena_printf(arena, "%s-%.16s", emu.chip->name, hex),
        .device_arch = emu.chip->arch,
        .device_smem_max = emu.chip->smem_block,
        .device_sms = emu.chip->sms,
        .deterministic = true,
    };
    return true;
}

void device_close(void)
{
    if (emu.memory != NULL) {
        memory_free(emu.memory);
    }
    free(emu.allocations);
    memset(&emu, 0, sizeof emu);
}

/* Nothing wears out: the process has no state but its memory. */
bool device_is_worn(void) { return false; }

/* ---- memory -------------------------------------------------------------------------------- */

static struct allocation *allocation_of(device_ptr at)
{
    for (int i = 0; i < emu.allocation_count; i++) {
        struct allocation *one = &emu.allocations[i];

        if (at >= one->at && at - one->at < one->bytes) {
            return one;
        }
    }
    return NULL;
}

enum device_status device_alloc(size_t bytes, device_ptr *at, struct err *err)
{
    (void)err; /* memory that is not there ends the process */
    if (emu.allocation_count == emu.allocation_room) {
        emu.allocation_room = emu.allocation_room > 0 ? 2 * emu.allocation_room : 32;
        emu.allocations =
            xrealloc(emu.allocations, (size_t)emu.allocation_room * sizeof *emu.allocations);
    }
    *at = memory_buffer(emu.memory, bytes > 0 ? bytes : 1, "memory");
    emu.allocations[emu.allocation_count++] =
        (struct allocation){.at = *at, .bytes = bytes > 0 ? bytes : 1};
    return DEVICE_OK;
}

void device_free(device_ptr at)
{
    struct allocation *one = allocation_of(at);

    if (one != NULL) {
        memory_buffer_free(emu.memory, one->at);
        *one = emu.allocations[--emu.allocation_count];
    }
}

static enum device_status moved(bool ok, device_ptr at, size_t bytes, struct err *err)
{
    return ok ? DEVICE_OK
              : refuse(err, DEVICE_LOST, "%zu bytes at 0x%llx are in no buffer", bytes,
                       (unsigned long long)at);
}

enum device_status device_write(device_ptr to, const void *from, size_t bytes, struct err *err)
{
    return moved(memory_host_write(emu.memory, to, from, bytes), to, bytes, err);
}

enum device_status device_send(device_ptr to, const void *from, size_t bytes, struct err *err)
{
    return device_write(to, from, bytes, err);
}

enum device_status device_read(void *to, device_ptr from, size_t bytes, struct err *err)
{
    return moved(memory_host_read(emu.memory, from, to, bytes), from, bytes, err);
}

enum device_status device_fill(device_ptr to, uint32_t pattern, size_t bytes, struct err *err)
{
    return moved(memory_host_fill(emu.memory, to, pattern, bytes), to, bytes, err);
}

enum device_status device_scrub_shared(uint32_t pattern, struct err *err)
{
    (void)err;
    memory_shared_garbage(emu.memory, pattern);
    return DEVICE_OK;
}

void device_bound(device_ptr at, size_t offset, size_t bytes)
{
    memory_buffer_window(emu.memory, at, offset, bytes);
}

void device_watch(bool closely) { emu.closely = closely; }

void emu_sanitize(unsigned sanitize)
{
    emu.sanitize = sanitize | SANITIZE_BOUNDS;
    emu.always = true;
}

/* ---- modules ------------------------------------------------------------------------------- */

static enum device_status check_signature(const struct program *program,
                                          const struct program_kernel *declared,
                                          struct kernel *kernel, struct err *err)
{
    const struct ptx_function *function = kernel->program->function;
    int64_t offset = 0;

    if (function->param_count != declared->arg_count) {
        return refuse(err, DEVICE_REFUSED, "kernel '%s' has %d parameters, its declaration says %d",
                      declared->name, function->param_count, declared->arg_count);
    }
    for (int i = 0; i < declared->arg_count; i++) {
        int64_t bytes = (int64_t)program_arg_bytes(program, declared->args[i]);
        int64_t align = function->params[i].align > 0 ? function->params[i].align : 1;

        if (function->params[i].bytes != bytes) {
            return refuse(err, DEVICE_REFUSED,
                          "kernel '%s': parameter %d has %lld bytes, its declaration says %lld",
                          declared->name, i + 1, (long long)function->params[i].bytes,
                          (long long)bytes);
        }
        offset = (offset + align - 1) / align * align;
        kernel->offsets[i] = offset;
        offset += bytes;
    }
    if (offset > kernel->program->param_bytes) {
        return refuse(err, DEVICE_REFUSED, "kernel '%s': its parameters take %lld bytes, not %lld",
                      declared->name, (long long)offset, (long long)kernel->program->param_bytes);
    }
    return DEVICE_OK;
}

/* Registers decide how many blocks fit a multiprocessor; only machine code says how many. */
static int registers_of(struct arena *arena, const struct judge_image *image, const char *kernel)
{
    struct cubin_facts *facts = arena_alloc(arena, sizeof *facts);
    struct err ignored = {0};

    if (image->cubin != NULL &&
        cubin_read(arena, image->cubin, image->cubin_bytes, facts, &ignored)) {
        for (int i = 0; i < facts->entry_count; i++) {
            if (strcmp(facts->entries[i].name, kernel) == 0) {
                return (int)facts->entries[i].registers;
            }
        }
    }
    return 0;
}

static enum device_status load_kernel(struct device_module *module, const struct judge_image *image,
                                      int index, struct err *err)
{
    const struct program_kernel *declared = &image->program.kernels[index];
    struct kernel *kernel = &module->kernels[index];

    kernel->name = arena_dup(module->arena, declared->name);
    kernel->arg_count = declared->arg_count;
    if (!program_decode(module->arena, module->ptx, declared->name, &kernel->program, err)) {
        return str_starts(err->what, "unsupported: ") ? DEVICE_UNSUPPORTED : DEVICE_REFUSED;
    }
    kernel->registers = registers_of(module->arena, image, declared->name);
    return check_signature(&image->program, declared, kernel, err);
}

enum device_status device_load(const struct judge_image *image, struct device_module **module,
                               struct err *err)
{
    struct arena *arena = arena_new();
    struct device_module *loading = arena_alloc(arena, sizeof *loading);
    enum device_status status = DEVICE_OK;

    *module = NULL;
    loading->arena = arena;
    if (image->ptx == NULL || image->ptx_bytes == 0) {
        status = refuse(err, DEVICE_REFUSED, "the image has no PTX");
    } else if (!ptx_parse(arena, image->ptx, image->ptx_bytes, &loading->ptx, err)) {
        status = str_starts(err->what, "unsupported: ") ? DEVICE_UNSUPPORTED : DEVICE_REFUSED;
    }
    for (int i = 0; i < image->program.kernel_count && status == DEVICE_OK; i++) {
        status = load_kernel(loading, image, i, err);
        loading->kernel_count++;
    }
    if (status != DEVICE_OK) {
        device_unload(loading);
        return status;
    }
    *module = loading;
    return DEVICE_OK;
}

void device_unload(struct device_module *module)
{
    if (module == NULL) {
        return;
    }
    for (int i = 0; module->variables != NULL && i < module->ptx->variable_count; i++) {
        if (module->variables[i] != 0) {
            memory_buffer_free(emu.memory, module->variables[i]);
        }
    }
    arena_free(module->arena);
}

enum device_status device_load_twin(const struct judge_image *image, const char *ptx, size_t bytes,
                                    struct device_module **twin, struct err *err)
{
    struct judge_image text = *image;
    enum device_status status;
    struct device_module *made;

    text.ptx = ptx;
    text.ptx_bytes = bytes;
    status = device_load(&text, twin, err);
    if (status != DEVICE_OK) {
        return status;
    }
    made = *twin;
    made->variables =
        arena_alloc(made->arena, ((size_t)made->ptx->variable_count + 1) * sizeof *made->variables);
    if (machine_variables(emu.memory, made->ptx, made->variables, err)) {
        return DEVICE_OK;
    }
    device_unload(made);
    *twin = NULL;
    return DEVICE_LOST;
}

enum device_status device_twin_set(struct device_module *twin, const uint32_t words[TWIN_WORDS],
                                   struct err *err)
{
    for (int i = 0; i < twin->ptx->variable_count; i++) {
        const struct ptx_variable *variable = &twin->ptx->variables[i];
        size_t bytes = JITTER_WORDS * sizeof *words;

        if (strcmp(variable->name, JITTER_VARIABLE) == 0 && variable->bytes == (int64_t)bytes) {
            return moved(memory_host_write(emu.memory, twin->variables[i], words, bytes),
                         twin->variables[i], bytes, err);
        }
    }
    return refuse(err, DEVICE_REFUSED, "the module is no twin: it has no '%s'", JITTER_VARIABLE);
}

static struct kernel *kernel_of(struct device_module *module, const char *name)
{
    for (int i = 0; i < module->kernel_count; i++) {
        if (strcmp(module->kernels[i].name, name) == 0) {
            return &module->kernels[i];
        }
    }
    return NULL;
}

/* ---- findings ------------------------------------------------------------------------------ */

static const enum device_status finding_status[FINDING_KINDS] = {
    [FINDING_OUT_OF_BOUNDS] = DEVICE_SAW_STRAY, [FINDING_MISALIGNED] = DEVICE_SAW_STRAY,
    [FINDING_READ_ONLY] = DEVICE_SAW_STRAY,     [FINDING_UNINITIALISED] = DEVICE_SAW_UNDEFINED,
    [FINDING_RACE] = DEVICE_SAW_RACE,           [FINDING_BARRIER] = DEVICE_SAW_RACE,
    [FINDING_PROXY] = DEVICE_SAW_RACE,          [FINDING_IN_FLIGHT] = DEVICE_SAW_RACE,
    [FINDING_DEADLOCK] = DEVICE_SAW_STUCK,      [FINDING_TRAP] = DEVICE_SAW_TRAP,
    [FINDING_BUDGET] = DEVICE_SAW_STUCK,        [FINDING_UNSUPPORTED] = DEVICE_UNSUPPORTED,
};

static enum device_status status_of(const struct device_module *module,
                                    const struct outcome *outcome, struct err *err)
{
    const struct finding *finding = findings_first(outcome);
    struct arena *arena;

    if (outcome->finding_count == 0) {
        return outcome->ended ? DEVICE_OK
                              : refuse(err, DEVICE_LOST, "the machine stopped without a reason");
    }
    arena = arena_new();
    refuse(err, DEVICE_OK, "%.*s", FINDING_TEXT, finding_sentence(arena, module->ptx, finding));
    arena_free(arena);
    return finding_status[finding->kind];
}

const struct outcome *emu_outcome(void) { return emu.has_outcome ? &emu.outcome : NULL; }

const struct ptx_module *emu_module(const struct device_module *module) { return module->ptx; }

/* ---- launches ------------------------------------------------------------------------------ */

static enum device_status check_launch(const struct kernel *kernel, const struct plan_kernel *plan,
                                       struct err *err)
{
    const struct ptx_function *function = kernel->program->function;
    int64_t smem = kernel->program->shared_bytes + plan->smem_bytes;
    int64_t registers = (int64_t)kernel->registers * ((plan->threads + LANES - 1) / LANES) * LANES;

    if (kernel->arg_count != plan->arg_count) {
        return refuse(err, DEVICE_REFUSED, "kernel '%s' takes %d arguments, its plan gives %d",
                      plan->name, kernel->arg_count, plan->arg_count);
    }
    if (function->max_threads > 0 && plan->threads > (uint32_t)function->max_threads) {
        return refuse(err, DEVICE_REFUSED,
                      "kernel '%s' is launched with %u threads a block, its launch bounds allow %d",
                      plan->name, plan->threads, function->max_threads);
    }
    if (registers > emu.chip->registers_sm) {
        return refuse(err, DEVICE_REFUSED,
                      "kernel '%s' is launched with %u threads of %d registers a block, the device "
                      "has %d registers",
                      plan->name, plan->threads, kernel->registers, emu.chip->registers_sm);
    }
    if (smem > emu.chip->smem_block) {
        return refuse(err, DEVICE_REFUSED,
                      "kernel '%s' needs %lld bytes of shared memory a block, the device has %lld",
                      plan->name, (long long)smem, (long long)emu.chip->smem_block);
    }
    for (int d = 0; d < 3; d++) {
        if (function->cluster[d] > 1 && plan->grid[d] % (uint32_t)function->cluster[d] != 0) {
            return refuse(err, DEVICE_REFUSED,
                          "kernel '%s' has %u blocks along %c in its grid, no multiple of the %d "
                          "in its clusters",
                          plan->name, plan->grid[d], "xyz"[d], function->cluster[d]);
        }
    }
    return DEVICE_OK;
}

_Static_assert(sizeof(struct emu_tensor_map) == MAP_BYTES, "a map fits its place in the buffers");

static enum device_status encode_map(const struct plan_map *map,
                                     const struct device_buffers *buffers, void *place,
                                     struct err *err)
{
    static const uint32_t ones[MAP_RANK] = {1, 1, 1, 1};
    struct map_layout layout = map_layout(map, &buffers->problem);
    struct emu_tensor_request request = {
        .type = map->bf16 ? EMU_TENSOR_BF16 : EMU_TENSOR_F16,
        .rank = MAP_RANK,
        .address = mapped_tensor(buffers, map->tensor),
        .dims = layout.sizes,
        .strides = layout.strides,
        .box = layout.box,
        .element_strides = ones,
        .swizzle = map->swizzle == 128  ? EMU_SWIZZLE_128B
                   : map->swizzle == 64 ? EMU_SWIZZLE_64B
                   : map->swizzle == 32 ? EMU_SWIZZLE_32B
                                        : EMU_SWIZZLE_NONE,
        .promotion = EMU_PROMOTION_128B,
        .fill = EMU_FILL_ZERO,
    };
    struct emu_tensor_map encoded;

    if (!emu_tensor_map_encode(&encoded, &request, err)) {
        return strstr(err->what, "unsupported: ") != NULL ? DEVICE_UNSUPPORTED : DEVICE_REFUSED;
    }
    memcpy(place, &encoded, sizeof encoded);
    return DEVICE_OK;
}

enum device_status device_encode_maps(const struct plan *plan, struct device_buffers *buffers,
                                      struct err *err)
{
    enum device_status status = DEVICE_OK;

    for (int i = 0; i < plan->map_count && status == DEVICE_OK; i++) {
        status = encode_map(&plan->maps[i], buffers, &buffers->maps[i], err);
    }
    return status;
}

static const void *argument(const struct device_buffers *buffers, enum plan_arg kind, int index)
{
    const void *const fixed[] = {
        [ARG_Q] = &buffers->q,     [ARG_K] = &buffers->k,
        [ARG_V] = &buffers->v,     [ARG_O] = &buffers->o,
        [ARG_LSE] = &buffers->lse, [ARG_PROBLEM] = &buffers->problem,
        [ARG_WORKSPACE] = &buffers->workspaces[index], [ARG_MAP] = &buffers->maps[index],
    };

    return fixed[kind];
}

static void fill_params(const struct kernel *kernel, const struct plan_kernel *plan,
                        const struct device_buffers *buffers, uint8_t *params)
{
    for (int i = 0; i < plan->arg_count; i++) {
        size_t bytes = plan->args[i].kind == ARG_PROBLEM ? sizeof(struct problem_args)
                       : plan->args[i].kind == ARG_MAP   ? MAP_BYTES
                                                         : sizeof(device_ptr);

        memcpy(params + kernel->offsets[i],
               argument(buffers, plan->args[i].kind, plan->args[i].index), bytes);
    }
}

/* What a block may do before it is taken for endless: enough for one that does the whole problem.
 */
static uint64_t op_budget(const struct problem_args *p)
{
    double flops = 4.0 * p->batch * p->heads * p->q_len * p->kv_len * p->head_dim;

    return (uint64_t)(OPS_MIN + OPS_PER_FLOP * flops);
}

static int64_t cluster_blocks(const struct kernel *kernel)
{
    int64_t blocks = 1;

    for (int d = 0; d < 3; d++) {
        int64_t size = kernel->program->function->cluster[d];
        blocks *= size > 1 ? size : 1;
    }
    return blocks;
}

static enum device_status run_kernel(struct device_module *module, const struct plan_kernel *plan,
                                     const struct device_buffers *buffers, unsigned sanitize,
                                     struct profile *profile, const int64_t *sample, int64_t count,
                                     struct err *err)
{
    struct kernel *kernel = kernel_of(module, plan->name);
    uint8_t *params;
    struct launch launch = {
        .block = {plan->threads, 1, 1},
        .smem_bytes = plan->smem_bytes,
        .sanitize = sanitize,
        .threads = emu.threads,
        .op_budget = op_budget(&buffers->problem),
        .time_budget_ms = CALL_MS_MAX,
        .profile = profile,
        .sample = sample,
        .sample_count = count,
    };

    launch.program = kernel->program;
    for (int d = 0; d < 3; d++) {
        int cluster = kernel->program->function->cluster[d];
        launch.grid[d] = plan->grid[d];
        launch.cluster[d] = cluster > 1 ? (uint32_t)cluster : 1;
    }
    params = xcalloc(1, (size_t)kernel->program->param_bytes + 1);
    fill_params(kernel, plan, buffers, params);
    launch.params = params;
    launch.variables = module->variables;
    memset(&emu.outcome, 0, sizeof emu.outcome);
    machine_run(emu.memory, &launch, &emu.outcome);
    emu.has_outcome = true;
    free(params);
    return status_of(module, &emu.outcome, err);
}

static enum device_status check_plan(struct device_module *module, const struct plan *plan,
                                     struct err *err)
{
    enum device_status status = DEVICE_OK;

    for (int i = 0; i < plan->kernel_count && status == DEVICE_OK; i++) {
        const struct kernel *kernel = kernel_of(module, plan->kernels[i].name);

        status = kernel != NULL ? check_launch(kernel, &plan->kernels[i], err)
                                : refuse(err, DEVICE_REFUSED, "the image has no kernel '%s'",
                                         plan->kernels[i].name);
    }
    return status;
}

/* Findings speak of a call's buffers by name, whatever sets of them there are. */
static void name_buffer(device_ptr at, const char *name, enum buffer_access access)
{
    const struct allocation *one = allocation_of(at);

    if (one != NULL) {
        memory_buffer_name(emu.memory, one->at, name);
        memory_buffer_access(emu.memory, one->at, access);
    }
}

static void name_buffers(const struct plan *plan, const struct device_buffers *buffers)
{
    name_buffer(buffers->q, "Q", BUFFER_READ_ONLY);
    name_buffer(buffers->k, "K", BUFFER_READ_ONLY);
    name_buffer(buffers->v, "V", BUFFER_READ_ONLY);
    name_buffer(buffers->o, "the output", BUFFER_READ_WRITE);
    name_buffer(buffers->lse, "the log-sum-exp", BUFFER_READ_WRITE);
    for (int w = 0; w < plan->workspace_count; w++) {
        char name[32];

        snprintf(name, sizeof name, "workspace %d", w);
        name_buffer(buffers->workspaces[w], name, BUFFER_READ_WRITE);
    }
}

/* What a kernel may not write, and what it must not take for written. */
static void lay_out(const struct plan *plan, const struct device_buffers *buffers)
{
    const struct problem_args *p = &buffers->problem;
    uint64_t rows = (uint64_t)p->batch * (uint64_t)p->heads * (uint64_t)p->q_len;

    name_buffers(plan, buffers);
    memory_host_forget(emu.memory, buffers->o, rows * (uint64_t)p->head_dim * 2);
    if (buffers->lse != 0) {
        memory_host_forget(emu.memory, buffers->lse, rows * sizeof(float));
    }
    for (int w = 0; w < plan->workspace_count; w++) {
        uint64_t bytes = (uint64_t)plan->workspaces[w].bytes;
        if (plan->workspaces[w].kind == WORKSPACE_ZERO_CALL) {
            memory_host_fill(emu.memory, buffers->workspaces[w], 0, bytes);
        } else if (plan->workspaces[w].kind == WORKSPACE_POISON) {
            memory_host_forget(emu.memory, buffers->workspaces[w], bytes);
        }
    }
}

enum device_status device_call(struct device_module *module, const struct plan *plan,
                               const struct device_buffers *buffers, struct err *err)
{
    enum device_status status = check_plan(module, plan, err);
    unsigned sanitize = emu.closely || emu.always ? emu.sanitize : SANITIZE_BOUNDS;

    emu.has_outcome = false;
    if (status == DEVICE_OK) {
        lay_out(plan, buffers);
    }
    for (int i = 0; i < plan->kernel_count && status == DEVICE_OK; i++) {
        status = run_kernel(module, &plan->kernels[i], buffers, sanitize, NULL, NULL, 0, err);
    }
    return status;
}

/* ---- the model ----------------------------------------------------------------------------- */

static struct model_launch launch_of(const struct kernel *kernel, const struct plan_kernel *plan)
{
    return (struct model_launch){
        .blocks = (int64_t)plan->grid[0] * plan->grid[1] * plan->grid[2],
        .threads = (int)plan->threads,
        .cluster = (int)cluster_blocks(kernel),
        .registers = kernel->registers,
        .smem_bytes = kernel->program->shared_bytes + plan->smem_bytes,
    };
}

double device_occupancy(struct device_module *module, const struct plan *plan)
{
    const struct kernel *kernel =
        plan->kernel_count > 0 ? kernel_of(module, plan->kernels[0].name) : NULL;
    struct model_launch launch;

    if (kernel == NULL) {
        return NAN;
    }
    launch = launch_of(kernel, &plan->kernels[0]);
    return 100.0 * model_resident(emu.chip, &launch) * ((launch.threads + LANES - 1) / LANES) /
           emu.chip->warps_sm;
}

/*
 * One of each of `count` equal stretches of the grid's clusters: not at the same place in each,
 * which may be the same column of the grid.
 */
static int64_t *spread(int64_t clusters, int64_t count)
{
    int64_t *sample = xmalloc((size_t)count * sizeof *sample);

    for (int64_t i = 0; i < count; i++) {
        int64_t first = i * clusters / count, size = (i + 1) * clusters / count - first;
        sample[i] = first + (int64_t)(fmod((double)(i + 1) * GOLDEN, 1) * (double)size);
    }
    return sample;
}

static double footprint(const struct plan *plan, const struct device_buffers *buffers)
{
    const struct problem_args *p = &buffers->problem;
    double q = (double)p->batch * p->heads * p->q_len * p->head_dim * 2;
    double bytes = 2 * q + 2 * ((double)p->batch * p->kv_heads * p->kv_len * p->head_dim * 2);

    for (int w = 0; w < plan->workspace_count; w++) {
        bytes += (double)plan->workspaces[w].bytes;
    }
    return bytes;
}

static enum device_status profile_kernel(struct device_module *module,
                                         const struct plan_kernel *plan,
                                         const struct device_buffers *buffers, int64_t sample,
                                         struct kernel_profile *result, struct err *err)
{
    struct kernel *kernel = kernel_of(module, plan->name);
    int64_t clusters, wanted, l1_bytes, *picked = NULL;
    enum device_status status;
    struct profile *profile;
    int resident;

    result->name = kernel->name;
    result->launch = launch_of(kernel, plan);
    result->blocks = result->launch.blocks;
    resident = model_resident(emu.chip, &result->launch);
    if (resident == 0) {
        return refuse(err, DEVICE_REFUSED, "kernel '%s' does not fit a multiprocessor", plan->name);
    }
    clusters = result->blocks / result->launch.cluster;
    wanted = sample > 0 ? (sample + result->launch.cluster - 1) / result->launch.cluster : clusters;
    if (wanted < clusters) {
        picked = spread(clusters, wanted);
    }
    l1_bytes = emu.chip->l1_bytes / resident - result->launch.smem_bytes;
    profile = profile_new(kernel->program, emu.chip, l1_bytes);
    status = run_kernel(module, plan, buffers, SANITIZE_BOUNDS, profile, picked, wanted, err);
    /* Blocks that wait for one another, or share work out by atomics: a few would do it all. */
    if (picked != NULL &&
        (status == DEVICE_SAW_STUCK || (status == DEVICE_OK && emu.outcome.atomics))) {
        profile_free(profile);
        profile = profile_new(kernel->program, emu.chip, l1_bytes);
        status = run_kernel(module, plan, buffers, SANITIZE_BOUNDS, profile, NULL, 0, err);
    }
    if (status == DEVICE_OK) {
        profile_totals(profile, &result->totals);
        if (emu.outcome.atomics) { /* the first took what the last would have: all share it */
            result->totals.length_max = result->totals.length / result->totals.blocks;
        }
        result->line_count = profile_lines(profile, result->lines, PROFILE_LINES);
    }
    free(picked);
    profile_free(profile);
    return status;
}

enum device_status emu_profile(struct device_module *module, const struct plan *plan,
                               const struct device_buffers *buffers, int64_t sample,
                               struct kernel_profile *kernels, struct err *err)
{
    enum device_status status = check_plan(module, plan, err);

    if (status == DEVICE_OK) {
        lay_out(plan, buffers);
    }
    for (int i = 0; i < plan->kernel_count && status == DEVICE_OK; i++) {
        kernels[i] = (struct kernel_profile){0};
        status = profile_kernel(module, &plan->kernels[i], buffers, sample, &kernels[i], err);
        kernels[i].launch.footprint_bytes = footprint(plan, buffers);
        model_time(emu.chip, &kernels[i].totals, &kernels[i].launch, &kernels[i].time);
    }
    return status;
}

int device_sets(const struct problem *problem)
{
    (void)problem;
    return 1;
}

struct physics_device device_peaks(void)
{
    return (struct physics_device){.arch = emu.chip->arch,
                                   .sms = emu.chip->sms,
                                   .clock_mhz = emu.chip->clock_mhz,
                                   .dram_gb_s = emu.chip->dram_gb_s,
                                   .l2_bytes = emu.chip->l2_bytes};
}

static void add_metric(struct measured *measured, enum metric metric, double value)
{
    measured->metrics[measured->metric_count].metric = metric;
    measured->metrics[measured->metric_count++].value = value;
}

/* Of the whole call: what was counted in the sample, scaled to the grid. */
static void add_metrics(const struct kernel_profile *kernels, int count, struct measured *measured)
{
    double ops = 0, wavefronts = 0, conflicts = 0, sectors = 0, flops = 0, special = 0;
    double sampled = 0, blocks = 0;

    for (int i = 0; i < count; i++) {
        const struct profile_totals *totals = &kernels[i].totals;
        double scale = (double)kernels[i].blocks / (double)totals->blocks;

        ops += scale * (double)totals->ops;
        wavefronts += scale * (double)totals->shared_wavefronts;
        conflicts += scale * (double)(totals->shared_wavefronts - totals->shared_ideal);
        sectors += scale * (double)totals->busy[PIPE_L2];
        flops += scale * (double)totals->tensor_flops;
        special += scale * (double)totals->busy[PIPE_SPECIAL];
        sampled += (double)totals->blocks;
        blocks += (double)kernels[i].blocks;
    }
    add_metric(measured, METRIC_EMU_BLOCKS, blocks);
    add_metric(measured, METRIC_EMU_SAMPLED_BLOCKS, sampled);
    add_metric(measured, METRIC_EMU_WARP_OPS, ops);
    add_metric(measured, METRIC_EMU_SHARED_WAVEFRONTS, wavefronts);
    add_metric(measured, METRIC_EMU_BANK_CONFLICTS, conflicts);
    add_metric(measured, METRIC_EMU_L2_SECTORS, sectors);
    add_metric(measured, METRIC_EMU_TENSOR_FLOPS, flops);
    add_metric(measured, METRIC_EMU_SPECIAL_OPS, special);
}

enum device_status device_measure(struct arena *arena, const struct measure_request *request,
                                  struct measured *measured, struct err *err)
{
    struct kernel_profile *kernels = arena_alloc(arena, PROGRAM_KERNELS_MAX * sizeof *kernels);
    enum device_status status =
        emu_profile(request->module, request->plan, &request->sets[0], SAMPLE_BLOCKS, kernels, err);
    double us = 0;

    *measured = (struct measured){
        .sm_clock_mhz = NAN, .power_w = NAN, .temperature_c = NAN, .fresh_us = NAN,
        .modelled = true};
    if (status != DEVICE_OK) {
        return status;
    }
    for (int i = 0; i < request->plan->kernel_count; i++) {
        us += kernels[i].time.us;
    }
    measured->timing.span_us = arena_copy(arena, &us, sizeof us);
    measured->timing.span_count = 1;
    add_metrics(kernels, request->plan->kernel_count, measured);
    return DEVICE_OK;
}

bool device_counts(void) { return false; }

enum device_status device_count(enum counter_set set, const struct device_count *calls, int count,
                                double (*values)[COUNTERS_MAX], struct err *err)
{
    (void)set, (void)calls, (void)count, (void)values;
    return refuse(err, DEVICE_REFUSED,
                  "the emulated device has no hardware counters: its own counts are emu_...");
}

enum device_status device_sample(const struct device_count *call, struct stalls *stalls,
                                 struct err *err)
{
    (void)call, (void)stalls;
    return refuse(err, DEVICE_REFUSED, "the emulated device has no sampler");
}

enum device_status device_load_rival(struct arena *arena, const char *name,
                                     const struct problem *problem, struct device_module **module,
                                     struct plan *plan, struct err *err)
{
    (void)arena, (void)problem, (void)plan;
    *module = NULL;
    return refuse(err, DEVICE_REFUSED,
                  "the emulated device cannot run '%s': libraries need a real one", name);
}

enum device_status device_rival_choose(struct arena *arena, struct device_module *module,
                                       const struct plan *plan, const struct device_buffers *set,
                                       const char **name, struct err *err)
{
    (void)arena, (void)module, (void)plan, (void)set, (void)name;
    return refuse(err, DEVICE_REFUSED, "the emulated device runs no libraries");
}

/* A model has no spread: both clocks are the two modelled times. */
enum device_status device_duel(struct arena *arena, const struct duel_request *request,
                               struct dueled *dueled, struct err *err)
{
    double us[2];

    for (int i = 0; i < 2; i++) {
        struct measure_request one = {.module = request->sides[i].module,
                                      .plan = request->sides[i].plan,
                                      .sets = request->sides[i].sets,
                                      .set_count = request->set_count,
                                      .cap_ms = request->cap_ms};
        enum device_status status = device_measure(arena, &one, &dueled->under_load, err);

        if (status != DEVICE_OK) {
            return status;
        }
        us[i] = dueled->under_load.timing.span_us[0];
    }
    duel_constant(arena, us[0], us[1], &dueled->span);
    duel_constant(arena, us[0], us[1], &dueled->graph);
    return DEVICE_OK;
}

void *device_host_alloc(size_t bytes) { return xmalloc(bytes); }

void device_host_free(void *at) { free(at); }

/* Large shapes are timed here at most: their outputs are no whole ones. */
const struct device_auditor *device_auditor(const struct problem *problem)
{
    (void)problem;
    return NULL;
}
