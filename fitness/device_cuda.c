#include "fitness/device_cuda.h"

#include <cudaTypedefs.h>
#include <inttypes.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/proc.h"
#include "base/str.h"
#include "fitness/rival/rival.h"
#include "fitness/jitter.h"
#include "fitness/verify.h"

enum {
    LOCK_WAIT_MS = 10000, /* a judge that was just killed needs about 0.1 s to let go */
    LOCK_POLL_MS = 50,
    IDLE_GAP_US = 1000,   /* power follows load over milliseconds, not less */
    REST_US = 100 * 1000, /* clocks have been seen to stay up for three times as long */
    CUBIN_BYTES_MIN = 64, /* an ELF header */
    PARAMS_MAX = 64,
};

struct device_module {
    /* A library's call instead of a cubin's kernels. */
    const struct rival_kind *rival_kind;
    struct rival *rival;
    int rival_plan;

    CUmodule module;
    void *cubin; /* kept for cuda_module_reload */
    struct entry {
        char *name;
        CUfunction function;
        int arg_count;
        int arg_bytes[PROGRAM_ARGS_MAX];
        int static_smem, threads_max;
        int cluster[3]; /* blocks along each axis of the grid; 0: no clusters */
        uint32_t smem_allowed; /* dynamic shared memory that the driver lets it have by now */
    } entries[PROGRAM_KERNELS_MAX];
    int entry_count;
};

/* The device of this process. Zero but for lock_fd until device_open. */
static struct {
    CUdevice device;
    CUcontext context;
    CUstream stream;
    int smem_max, sms, threads_per_sm;
    int lock_fd;

    PFN_cuTensorMapEncodeTiled_v12000 encode_tiled; /* NULL until a map is wanted */

    int64_t busy_since_us, awake_since_us, busy_until_us;
    bool untimed; /* CUPTI stays out of the process: nothing can be measured */
    bool lost; /* a sticky error: nothing works any more, cleaning up included */
} gpu = {.lock_fd = -1};

/* Errors ------------------------------------------------------------------------------------- */

/* What is not here is DEVICE_LOST. The sticky ones end the process, the refusals leave it well. */
static const struct {
    CUresult code;
    enum device_status status;
} code_table[] = {
    {CUDA_SUCCESS, DEVICE_OK},
    {CUDA_ERROR_INVALID_VALUE, DEVICE_REFUSED},
    {CUDA_ERROR_OUT_OF_MEMORY, DEVICE_REFUSED},
    {CUDA_ERROR_INVALID_IMAGE, DEVICE_REFUSED},
    {CUDA_ERROR_NO_BINARY_FOR_GPU, DEVICE_REFUSED},
    {CUDA_ERROR_JIT_COMPILER_NOT_FOUND, DEVICE_REFUSED},
    {CUDA_ERROR_INVALID_PTX, DEVICE_REFUSED},
    {CUDA_ERROR_UNSUPPORTED_PTX_VERSION, DEVICE_REFUSED},
    {CUDA_ERROR_INVALID_SOURCE, DEVICE_REFUSED},
    {CUDA_ERROR_SHARED_OBJECT_SYMBOL_NOT_FOUND, DEVICE_REFUSED},
    {CUDA_ERROR_SHARED_OBJECT_INIT_FAILED, DEVICE_REFUSED},
    {CUDA_ERROR_NOT_FOUND, DEVICE_REFUSED},
    {CUDA_ERROR_LAUNCH_OUT_OF_RESOURCES, DEVICE_REFUSED},
    {CUDA_ERROR_LAUNCH_INCOMPATIBLE_TEXTURING, DEVICE_REFUSED},
    {CUDA_ERROR_COOPERATIVE_LAUNCH_TOO_LARGE, DEVICE_REFUSED},
    {CUDA_ERROR_NOT_SUPPORTED, DEVICE_REFUSED},
    {CUDA_ERROR_INVALID_CLUSTER_SIZE, DEVICE_REFUSED},
    {CUDA_ERROR_ILLEGAL_ADDRESS, DEVICE_ILLEGAL},
    {CUDA_ERROR_MISALIGNED_ADDRESS, DEVICE_ILLEGAL},
    {CUDA_ERROR_INVALID_ADDRESS_SPACE, DEVICE_ILLEGAL},
    {CUDA_ERROR_ASSERT, DEVICE_TRAPPED},
    {CUDA_ERROR_HARDWARE_STACK_ERROR, DEVICE_TRAPPED},
    {CUDA_ERROR_ILLEGAL_INSTRUCTION, DEVICE_TRAPPED},
    {CUDA_ERROR_INVALID_PC, DEVICE_TRAPPED},
    {CUDA_ERROR_LAUNCH_FAILED, DEVICE_TRAPPED},
};

enum device_status cuda_status(CUresult code, struct err *err, const char *what)
{
    const char *name = NULL, *text = NULL;

    if (code == CUDA_SUCCESS) {
        return DEVICE_OK;
    }
    cuGetErrorName(code, &name);
    cuGetErrorString(code, &text);
    err_set(err, ERR_DEVICE, "%s: %s (%d): %s", what, name ? name : "an unknown error", (int)code,
            text ? text : "the driver has no text for it");
    for (size_t i = 0; i < sizeof code_table / sizeof *code_table; i++) {
        if (code_table[i].code == code) {
            gpu.lost = gpu.lost || code_table[i].status > DEVICE_REFUSED;
            return code_table[i].status;
        }
    }
    gpu.lost = true;
    return DEVICE_LOST;
}

static bool succeeded(CUresult code, struct err *err, const char *what)
{
    return cuda_status(code, err, what) == DEVICE_OK;
}

static enum device_status refuse(struct err *err, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
static enum device_status refuse(struct err *err, const char *format, ...)
{
    char text[512];
    va_list ap;

    va_start(ap, format);
    vsnprintf(text, sizeof text, format, ap);
    va_end(ap);
    err_set(err, ERR_DEVICE, "%s", text);
    return DEVICE_REFUSED;
}

/* Opening ------------------------------------------------------------------------------------ */

/* "0", or "0/untimed": without clocks, for tools that want the driver's hooks for themselves. */
static bool read_spec(const char *spec, int64_t *ordinal)
{
    const char *slash = strchr(spec, '/');
    size_t length = slash != NULL ? (size_t)(slash - spec) : strlen(spec);
    char number[16] = "";

    if (length < sizeof number) {
        memcpy(number, spec, length);
    }
    gpu.untimed = slash != NULL && strcmp(slash, "/untimed") == 0;
    return (slash == NULL || gpu.untimed) && str_to_i64(number, ordinal) && *ordinal >= 0;
}

/*
 * The driver starts every GPU that it sees, which on a host of eight takes seconds, and a judge
 * starts at every promotion. So this process sees its own alone: the ordinal-th of those that it
 * would have seen. False: there are fewer.
 */
static bool hide_others(int64_t ordinal)
{
    const char *visible = getenv("CUDA_VISIBLE_DEVICES");
    char own[128];

    if (visible == NULL) {
        snprintf(own, sizeof own, "%" PRId64, ordinal);
    } else {
        for (; ordinal > 0 && visible != NULL; ordinal--) {
            visible = strchr(visible, ',');
            visible = visible != NULL ? visible + 1 : NULL;
        }
        if (visible == NULL) {
            return false;
        }
        snprintf(own, sizeof own, "%.*s", (int)strcspn(visible, ","), visible);
    }
    return setenv("CUDA_VISIBLE_DEVICES", own, 1) == 0;
}

static bool no_such_device(const char *spec, struct err *err)
{
    err_set(err, ERR_USER, "there is no device '%s'", spec);
    return err_hint(err, "devices are numbered from 0; 'nvidia-smi -L' lists them, and "
                         "CUDA_VISIBLE_DEVICES may hide some");
}

static bool find_device(const char *spec, struct err *err)
{
    int64_t ordinal;
    CUresult code;

    if (!read_spec(spec, &ordinal) || !hide_others(ordinal)) {
        return no_such_device(spec, err);
    }
    code = cuInit(0);
    if (code == CUDA_ERROR_NO_DEVICE && ordinal > 0) {
        return no_such_device(spec, err);
    }
    if (code == CUDA_ERROR_NO_DEVICE || code == CUDA_ERROR_STUB_LIBRARY) {
        cuda_status(code, err, "cannot start CUDA");
        return err_hint(err, "'nvidia-smi' shows the GPUs that the driver knows; "
                             "CUDA_VISIBLE_DEVICES may hide them");
    }
    return succeeded(code, err, "cannot start CUDA") &&
           succeeded(cuDeviceGet(&gpu.device, 0), err, "cannot open the device");
}

static bool device_uuid(char text[GPU_UUID_TEXT], struct err *err)
{
    CUuuid uuid;
    int length = snprintf(text, GPU_UUID_TEXT, "GPU-");

    if (!succeeded(cuDeviceGetUuid(&uuid, gpu.device), err, "cannot read the device's UUID")) {
        return false;
    }
    for (int i = 0; i < 16; i++) {
        bool dash = i == 4 || i == 6 || i == 8 || i == 10;

        length += snprintf(text + length, (size_t)(GPU_UUID_TEXT - length), "%s%02x",
                           dash ? "-" : "", (unsigned char)uuid.bytes[i]);
    }
    return true;
}

static void sleep_ms(int ms)
{
    struct timespec time = {.tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000L};

    nanosleep(&time, NULL);
}

/* Two judges on one GPU would time each other. */
static bool take_device(const char *spec, const char *uuid, struct err *err)
{
    int64_t deadline = clock_now_ms() + LOCK_WAIT_MS;
    char path[128];
    pid_t holder = 0;

    snprintf(path, sizeof path, "/tmp/evo-gpu-%s.lock", uuid);
    while (!lock_take(path, &gpu.lock_fd, &holder, err)) {
        gpu.lock_fd = -1;
        if (err->kind != ERR_USER) {
            return err_in(err, "cannot claim GPU %s (%s)", spec, uuid);
        }
        if (clock_now_ms() >= deadline) {
            err_set(err, ERR_USER, "GPU %s (%s) is in use by the judge with process id %ld", spec,
                    uuid, (long)holder);
            return err_hint(err, "a GPU has one judge at a time: stop the other run, or give this "
                                 "worker another --device");
        }
        sleep_ms(LOCK_POLL_MS);
    }
    return true;
}

static int attribute(CUdevice_attribute which)
{
    int value = 0;

    return cuDeviceGetAttribute(&value, which, gpu.device) == CUDA_SUCCESS ? value : 0;
}

static bool open_context(struct err *err)
{
    if (!succeeded(cuDevicePrimaryCtxRetain(&gpu.context, gpu.device), err,
                   "cannot make a context") ||
        !succeeded(cuCtxSetCurrent(gpu.context), err, "cannot use the context") ||
        !succeeded(cuStreamCreate(&gpu.stream, CU_STREAM_NON_BLOCKING), err,
                   "cannot make a stream")) {
        return false;
    }
    gpu.sms = attribute(CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT);
    gpu.smem_max = attribute(CU_DEVICE_ATTRIBUTE_MAX_SHARED_MEMORY_PER_BLOCK_OPTIN);
    gpu.threads_per_sm = attribute(CU_DEVICE_ATTRIBUTE_MAX_THREADS_PER_MULTIPROCESSOR);
    return true;
}

static bool describe(struct arena *arena, const char *uuid, struct hello *hello, struct err *err)
{
    char name[256] = "";
    int cuda = 0;

    if (!succeeded(cuDeviceGetName(name, sizeof name, gpu.device), err,
                   "cannot read the device's name") ||
        !succeeded(cuDriverGetVersion(&cuda), err, "cannot read the driver's version")) {
        return false;
    }
    *hello = (struct hello){
        .protocol = JOB_PROTOCOL,
        .role = ROLE_JUDGE,
        .backend = "cuda",
        .version = arena_printf(arena, "gate %d driver %s cuda %d.%d cupti %u", GATE_VERSION,
                                sensors_driver_version()[0] ? sensors_driver_version() : "unknown",
                                cuda / 1000, cuda % 1000 / 10, clocks_version()),
        .device = arena_dup(arena, name),
        .device_id = arena_dup(arena, uuid),
        .device_arch = attribute(CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR) * 10 +
                       attribute(CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR),
        .device_smem_max = gpu.smem_max,
        .device_sms = gpu.sms,
        .deterministic = false,
    };
    return true;
}

bool device_open(struct arena *arena, const char *spec, struct hello *hello, struct err *err)
{
    char uuid[GPU_UUID_TEXT];

    if (find_device(spec, err) && device_uuid(uuid, err) && take_device(spec, uuid, err) &&
        open_context(err) && own_open(gpu.sms, gpu.smem_max, err) && clocks_arm(err) == DEVICE_OK) {
        sensors_open(uuid);
        if (describe(arena, uuid, hello, err)) {
            return true;
        }
    }
    device_close();
    return false;
}

/* After a sticky error the end of the process is what cleans up. */
void device_close(void)
{
    sensors_close();
    memory_close();
    if (gpu.context != NULL && !gpu.lost) {
        counters_close();
        clocks_close();
        audit_close();
        own_close();
        if (gpu.stream != NULL) {
            cuStreamDestroy(gpu.stream);
        }
        cuDevicePrimaryCtxRelease(gpu.device);
    }
    if (gpu.lock_fd >= 0) {
        close(gpu.lock_fd);
    }
    memset(&gpu, 0, sizeof gpu);
    gpu.lock_fd = -1;
}

enum device_status cuda_launch(CUfunction function, const uint32_t grid[3], uint32_t threads,
                               uint32_t smem, void **args, struct err *err, const char *what)
{
    CUlaunchConfig config = {
        .gridDimX = grid[0],
        .gridDimY = grid[1],
        .gridDimZ = grid[2],
        .blockDimX = threads,
        .blockDimY = 1,
        .blockDimZ = 1,
        .sharedMemBytes = smem,
        .hStream = gpu.stream,
    };

    return cuda_status(cuLaunchKernelEx(&config, function, args, NULL), err, what);
}

/* Nobody can bound a buffer for the hardware, or watch it. */
void device_bound(device_ptr at, size_t offset, size_t bytes)
{
    (void)at;
    (void)offset;
    (void)bytes;
}

void device_watch(bool closely) { (void)closely; }

/* Modules ------------------------------------------------------------------------------------ */

static enum device_status check_signature(struct entry *entry, struct err *err)
{
    size_t offset, size;
    int count = 0;

    while (count < PARAMS_MAX &&
           cuFuncGetParamInfo(entry->function, (size_t)count, &offset, &size) == CUDA_SUCCESS) {
        if (count < entry->arg_count && size != (size_t)entry->arg_bytes[count]) {
            return refuse(err, "kernel '%s': parameter %d has %zu bytes, its declaration says %d",
                          entry->name, count + 1, size, entry->arg_bytes[count]);
        }
        count++;
    }
    if (count != entry->arg_count) {
        return refuse(err, "kernel '%s' has %d parameters, its declaration says %d", entry->name,
                      count, entry->arg_count);
    }
    return DEVICE_OK;
}

/* What the kernel was compiled to need of a launch. */
static enum device_status read_attributes(struct entry *entry, struct err *err, const char *what)
{
    const struct {
        CUfunction_attribute which;
        int *value;
    } table[] = {
        {CU_FUNC_ATTRIBUTE_SHARED_SIZE_BYTES, &entry->static_smem},
        {CU_FUNC_ATTRIBUTE_MAX_THREADS_PER_BLOCK, &entry->threads_max},
        {CU_FUNC_ATTRIBUTE_REQUIRED_CLUSTER_WIDTH, &entry->cluster[0]},
        {CU_FUNC_ATTRIBUTE_REQUIRED_CLUSTER_HEIGHT, &entry->cluster[1]},
        {CU_FUNC_ATTRIBUTE_REQUIRED_CLUSTER_DEPTH, &entry->cluster[2]},
    };
    enum device_status status = DEVICE_OK;

    for (size_t i = 0; i < sizeof table / sizeof *table && status == DEVICE_OK; i++) {
        status = cuda_status(cuFuncGetAttribute(table[i].value, table[i].which, entry->function),
                             err, what);
    }
    return status;
}

static enum device_status bring_entry(CUmodule module, struct entry *entry, struct err *err)
{
    char what[256];
    enum device_status status;

    snprintf(what, sizeof what, "cannot find kernel '%s'", entry->name);
    status = cuda_status(cuModuleGetFunction(&entry->function, module, entry->name), err, what);
    if (status == DEVICE_OK) {
        status = check_signature(entry, err);
    }
    if (status == DEVICE_OK) {
        status = read_attributes(entry, err, what);
    }
    entry->smem_allowed = 0;
    return status;
}

enum device_status cuda_module_reload(struct device_module *module, struct err *err)
{
    enum device_status status;

    if (module->module != NULL) {
        cuModuleUnload(module->module);
        module->module = NULL;
    }
    status =
        cuda_status(cuModuleLoadData(&module->module, module->cubin), err, "cannot load the cubin");
    for (int i = 0; status == DEVICE_OK && i < module->entry_count; i++) {
        status = bring_entry(module->module, &module->entries[i], err);
    }
    return status;
}

static void declare_entry(const struct program *program, const struct program_kernel *kernel,
                          struct entry *entry)
{
    entry->name = xstrdup(kernel->name);
    entry->arg_count = kernel->arg_count;
    for (int i = 0; i < kernel->arg_count; i++) {
        entry->arg_bytes[i] = (int)program_arg_bytes(program, kernel->args[i]);
    }
}

enum device_status device_load(const struct judge_image *image, struct device_module **module,
                               struct err *err)
{
    struct device_module *loading;
    enum device_status status;

    *module = NULL;
    if (image->cubin == NULL || image->cubin_bytes < CUBIN_BYTES_MIN ||
        memcmp(image->cubin, "\177ELF", 4) != 0) {
        return refuse(err, "the image is not a cubin"); /* anything else the driver would compile */
    }
    status = clocks_arm(err);
    if (status != DEVICE_OK) {
        return status;
    }
    loading = xcalloc(1, sizeof *loading);
    loading->cubin = memcpy(xmalloc(image->cubin_bytes), image->cubin, image->cubin_bytes);
    loading->entry_count = image->program.kernel_count;
    for (int i = 0; i < loading->entry_count; i++) {
        declare_entry(&image->program, &image->program.kernels[i], &loading->entries[i]);
    }
    status = cuda_module_reload(loading, err);
    if (status != DEVICE_OK) {
        device_unload(loading);
        return status;
    }
    *module = loading;
    return DEVICE_OK;
}

/* The driver's compiler; its log is kept for what it refuses. */
static enum device_status compile_text(const char *ptx, size_t bytes, void **cubin, size_t *size,
                                       struct err *err)
{
    static const char what[] = "the driver cannot compile the text";
    char log[512] = "";
    CUjit_option options[] = {CU_JIT_ERROR_LOG_BUFFER, CU_JIT_ERROR_LOG_BUFFER_SIZE_BYTES};
    void *values[] = {log, (void *)(uintptr_t)sizeof log};
    CUlinkState link = NULL;
    void *linked = NULL;
    CUresult code = cuLinkCreate(2, options, values, &link);
    enum device_status status;

    if (code == CUDA_SUCCESS) {
        code = cuLinkAddData(link, CU_JIT_INPUT_PTX, (void *)ptx, bytes, "evo_twin", 0, NULL, NULL);
    }
    if (code == CUDA_SUCCESS) {
        code = cuLinkComplete(link, &linked, size);
    }
    status = cuda_status(code, err, what);
    if (status == DEVICE_OK) {
        *cubin = memcpy(xmalloc(*size), linked, *size);
    } else if (log[0] != '\0') {
        log[sizeof log - 1] = '\0';
        err_set(err, ERR_DEVICE, "%s: %s", what, log);
    }
    if (link != NULL) {
        cuLinkDestroy(link);
    }
    return code == CUDA_ERROR_UNSUPPORTED_PTX_VERSION || code == CUDA_ERROR_JIT_COMPILER_NOT_FOUND
               ? DEVICE_UNSUPPORTED
               : status;
}

enum device_status device_load_twin(const struct judge_image *image, const char *ptx, size_t bytes,
                                    struct device_module **twin, struct err *err)
{
    struct judge_image compiled = *image;
    void *cubin = NULL;
    size_t size = 0;
    /* The text ends with a zero for the driver, which is told so by its size. */
    char *text = xmalloc(bytes + 1);
    enum device_status status;

    *twin = NULL;
    memcpy(text, ptx, bytes);
    text[bytes] = '\0';
    status = compile_text(text, bytes + 1, &cubin, &size, err);
    if (status == DEVICE_OK) {
        compiled.cubin = cubin;
        compiled.cubin_bytes = size;
        status = device_load(&compiled, twin, err);
    }
    free(text);
    free(cubin);
    return status;
}

enum device_status device_twin_set(struct device_module *twin, const uint32_t words[TWIN_WORDS],
                                   struct err *err)
{
    CUdeviceptr at = 0;
    size_t bytes = 0;
    enum device_status status =
        cuda_status(cuModuleGetGlobal(&at, &bytes, twin->module, JITTER_VARIABLE), err,
                    "cannot find '" JITTER_VARIABLE "'");

    if (status == DEVICE_OK && bytes != JITTER_WORDS * sizeof *words) {
        return refuse(err, "'" JITTER_VARIABLE "' has %zu bytes", bytes);
    }
    return status == DEVICE_OK ? device_write(at, words, bytes, err) : status;
}

void device_unload(struct device_module *module)
{
    if (module == NULL) {
        return;
    }
    if (module->rival_kind != NULL) {
        module->rival_kind->close(module->rival);
    }
    if (module->module != NULL) {
        cuModuleUnload(module->module);
    }
    for (int i = 0; i < module->entry_count; i++) {
        free(module->entries[i].name);
    }
    free(module->cubin);
    free(module);
}

/* Rivals -------------------------------------------------------------------------------------- */

bool cuda_is_rival(const struct device_module *module) { return module->rival_kind != NULL; }

int cuda_rival_plans(const struct device_module *module)
{
    return module->rival_kind->plans(module->rival);
}

void cuda_rival_use(struct device_module *module, int plan) { module->rival_plan = plan; }

const char *cuda_rival_plan_name(struct arena *arena, const struct device_module *module)
{
    char name[RIVAL_NAME_MAX];

    module->rival_kind->plan_name(module->rival, module->rival_plan, name);
    return arena_dup(arena, name);
}

const char *cuda_rival_version(struct arena *arena, const struct device_module *module)
{
    char version[RIVAL_NAME_MAX];

    module->rival_kind->version(version);
    return arena_dup(arena, version);
}

/* What memory the library's hungriest plan asks for, so that all run on the same buffers. */
static int64_t rival_workspace(const struct device_module *module)
{
    int64_t most = 0;

    for (int i = 0; i < cuda_rival_plans(module); i++) {
        int64_t bytes = (int64_t)module->rival_kind->workspace_bytes(module->rival, i);

        most = bytes > most ? bytes : most;
    }
    return most;
}

enum device_status device_load_rival(struct arena *arena, const char *name,
                                     const struct problem *problem, struct device_module **module,
                                     struct plan *plan, struct err *err)
{
    const struct rival_kind *kind = rival_find(name);
    struct device_module *loading;
    enum device_status status;

    (void)arena;
    *module = NULL;
    if (kind == NULL) {
        return refuse(err, "this judge knows no rival '%s'", name);
    }
    status = clocks_arm(err); /* what the library loads from here on is recorded */
    if (status != DEVICE_OK) {
        return status;
    }
    loading = xcalloc(1, sizeof *loading);
    if (!kind->open(problem, gpu.stream, &loading->rival, err)) {
        free(loading);
        return DEVICE_REFUSED;
    }
    loading->rival_kind = kind;
    *plan = (struct plan){.workspace_count = rival_workspace(loading) > 0};
    plan->workspaces[0].bytes = rival_workspace(loading);
    plan->workspaces[0].kind = WORKSPACE_POISON;
    *module = loading;
    return DEVICE_OK;
}

static enum device_status enqueue_rival(struct device_module *module,
                                        const struct device_buffers *buffers, struct err *err)
{
    struct rival_buffers at = {.q = buffers->q,
                               .k = buffers->k,
                               .v = buffers->v,
                               .o = buffers->o,
                               .lse = buffers->lse,
                               .workspace = buffers->workspaces[0]};

    return module->rival_kind->bind(module->rival, module->rival_plan, &at, err) &&
                   module->rival_kind->enqueue(module->rival, err)
               ? DEVICE_OK
               : DEVICE_REFUSED;
}

/* Calls -------------------------------------------------------------------------------------- */

static struct entry *entry_of(struct device_module *module, const char *name)
{
    for (int i = 0; i < module->entry_count; i++) {
        if (strcmp(module->entries[i].name, name) == 0) {
            return &module->entries[i];
        }
    }
    return NULL;
}

static enum device_status prepare_kernel(struct entry *entry, const struct plan_kernel *kernel,
                                         struct err *err)
{
    int64_t smem = (int64_t)entry->static_smem + kernel->smem_bytes;
    CUresult code;

    if (entry->arg_count != kernel->arg_count) {
        return refuse(err, "kernel '%s' takes %d arguments, its plan gives %d", kernel->name,
                      entry->arg_count, kernel->arg_count);
    }
    if (kernel->threads > (uint32_t)entry->threads_max) {
        return refuse(err,
                      "kernel '%s' is launched with %" PRIu32 " threads a block, its registers "
                      "and launch bounds allow %d",
                      kernel->name, kernel->threads, entry->threads_max);
    }
    for (int d = 0; d < 3; d++) { /* the driver would say no more than "invalid value" */
        if (entry->cluster[d] > 1 && kernel->grid[d] % (uint32_t)entry->cluster[d] != 0) {
            return refuse(err,
                          "kernel '%s' has %" PRIu32 " blocks along %c in its grid, no multiple of "
                          "the %d in its clusters",
                          kernel->name, kernel->grid[d], "xyz"[d], entry->cluster[d]);
        }
    }
    if (smem > gpu.smem_max) {
        return refuse(err,
                      "kernel '%s' needs %" PRId64 " bytes of shared memory a block, the "
                      "device has %d",
                      kernel->name, smem, gpu.smem_max);
    }
    if (kernel->smem_bytes <= entry->smem_allowed) {
        return DEVICE_OK;
    }
    code = cuFuncSetAttribute(entry->function, CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES,
                              (int)kernel->smem_bytes);
    if (code == CUDA_SUCCESS) {
        entry->smem_allowed = kernel->smem_bytes;
    }
    return cuda_status(code, err, "cannot allow that much shared memory");
}

enum device_status cuda_prepare(struct device_module *module, const struct plan *plan,
                                struct err *err)
{
    enum device_status status = DEVICE_OK;

    for (int i = 0; status == DEVICE_OK && i < plan->kernel_count; i++) {
        struct entry *entry = entry_of(module, plan->kernels[i].name);

        if (entry == NULL) {
            return refuse(err, "the image has no kernel '%s'", plan->kernels[i].name);
        }
        status = prepare_kernel(entry, &plan->kernels[i], err);
    }
    return status;
}

/* Asked for by name, so that a driver older than tensor maps still serves kernels without. */
static enum device_status find_encoder(struct err *err)
{
    enum { SINCE = 12000 };
    CUdriverProcAddressQueryResult found = CU_GET_PROC_ADDRESS_SYMBOL_NOT_FOUND;
    void *encode = NULL;
    CUresult code;

    if (gpu.encode_tiled != NULL) {
        return DEVICE_OK;
    }
    code = cuGetProcAddress("cuTensorMapEncodeTiled", &encode, SINCE, CU_GET_PROC_ADDRESS_DEFAULT,
                            &found);
    if (code != CUDA_SUCCESS || found != CU_GET_PROC_ADDRESS_SUCCESS) {
        return refuse(err, "this driver makes no tensor maps: it has no cuTensorMapEncodeTiled");
    }
    gpu.encode_tiled = (PFN_cuTensorMapEncodeTiled_v12000)encode;
    return DEVICE_OK;
}

static enum device_status encode_map(const struct plan_map *map,
                                     const struct device_buffers *buffers, void *place,
                                     struct err *err)
{
    static const uint32_t ones[MAP_RANK] = {1, 1, 1, 1};
    struct map_layout layout = map_layout(map, &buffers->problem);
    CUtensorMap encoded; /* at a multiple of 64, as the driver wants it */
    char what[128];
    CUresult code = gpu.encode_tiled(
        &encoded, map->bf16 ? CU_TENSOR_MAP_DATA_TYPE_BFLOAT16 : CU_TENSOR_MAP_DATA_TYPE_FLOAT16,
        MAP_RANK, (void *)(uintptr_t)mapped_tensor(buffers, map->tensor), layout.sizes,
        layout.strides, layout.box, ones, CU_TENSOR_MAP_INTERLEAVE_NONE,
        map->swizzle == 128  ? CU_TENSOR_MAP_SWIZZLE_128B
        : map->swizzle == 64 ? CU_TENSOR_MAP_SWIZZLE_64B
        : map->swizzle == 32 ? CU_TENSOR_MAP_SWIZZLE_32B
                             : CU_TENSOR_MAP_SWIZZLE_NONE,
        CU_TENSOR_MAP_L2_PROMOTION_L2_128B, CU_TENSOR_MAP_FLOAT_OOB_FILL_NONE);

    snprintf(what, sizeof what, "cannot map %s in boxes of %" PRIu32 " x %" PRIu32,
             map_tensor_names[map->tensor], map->columns, map->rows);
    memcpy(place, &encoded, sizeof encoded);
    return cuda_status(code, err, what);
}

enum device_status device_encode_maps(const struct plan *plan, struct device_buffers *buffers,
                                      struct err *err)
{
    enum device_status status = plan->map_count > 0 ? find_encoder(err) : DEVICE_OK;

    for (int i = 0; i < plan->map_count && status == DEVICE_OK; i++) {
        status = encode_map(&plan->maps[i], buffers, &buffers->maps[i], err);
    }
    return status;
}

/* The driver copies arguments at the launch and does not write to them. */
static void *argument(const struct device_buffers *buffers, enum plan_arg kind, int index)
{
    const void *const fixed[] = {
        [ARG_Q] = &buffers->q,
        [ARG_K] = &buffers->k,
        [ARG_V] = &buffers->v,
        [ARG_O] = &buffers->o,
        [ARG_LSE] = &buffers->lse,
        [ARG_PROBLEM] = &buffers->problem,
        [ARG_WORKSPACE] = &buffers->workspaces[index],
        [ARG_MAP] = &buffers->maps[index],
    };

    return (void *)fixed[kind];
}

static enum device_status launch_kernel(struct device_module *module,
                                        const struct plan_kernel *kernel,
                                        const struct device_buffers *buffers, struct err *err)
{
    void *args[PROGRAM_ARGS_MAX + 1] = {NULL};
    char what[256];

    for (int i = 0; i < kernel->arg_count; i++) {
        args[i] = argument(buffers, kernel->args[i].kind, kernel->args[i].index);
    }
    snprintf(what, sizeof what, "cannot launch kernel '%s'", kernel->name);
    return cuda_launch(entry_of(module, kernel->name)->function, kernel->grid, kernel->threads,
                       kernel->smem_bytes, args, err, what);
}

enum device_status cuda_enqueue_memset(device_ptr at, uint8_t value, int64_t bytes, struct err *err)
{
    return cuda_status(cuMemsetD8Async(at, value, (size_t)bytes, gpu.stream), err,
                       "cannot set device memory");
}

enum device_status cuda_enqueue_call(struct device_module *module, const struct plan *plan,
                                     const struct device_buffers *buffers, struct err *err)
{
    enum device_status status = DEVICE_OK;

    if (cuda_is_rival(module)) {
        return enqueue_rival(module, buffers, err);
    }
    for (int i = 0; status == DEVICE_OK && i < plan->workspace_count; i++) {
        if (plan->workspaces[i].kind == WORKSPACE_ZERO_CALL && plan->workspaces[i].bytes > 0) {
            status = cuda_enqueue_memset(buffers->workspaces[i], 0, plan->workspaces[i].bytes, err);
        }
    }
    for (int i = 0; status == DEVICE_OK && i < plan->kernel_count; i++) {
        status = launch_kernel(module, &plan->kernels[i], buffers, err);
    }
    return status;
}

CUstream cuda_stream(void) { return gpu.stream; }

bool cuda_lost(void) { return gpu.lost; }

bool cuda_untimed(void) { return gpu.untimed; }

void cuda_busy_begin(void)
{
    int64_t now = clock_now_us();

    if (now - gpu.busy_until_us > IDLE_GAP_US) {
        gpu.busy_since_us = now;
    }
    if (now - gpu.busy_until_us > REST_US) {
        gpu.awake_since_us = now;
    }
}

int64_t cuda_busy_us(void)
{
    bool resting = clock_now_us() - gpu.busy_until_us > IDLE_GAP_US;

    return resting ? 0 : gpu.busy_until_us - gpu.busy_since_us;
}

int64_t cuda_awake_us(void)
{
    bool resting = clock_now_us() - gpu.busy_until_us > REST_US;

    return resting ? 0 : gpu.busy_until_us - gpu.awake_since_us;
}

enum device_status cuda_settle(enum device_status enqueued, struct err *err)
{
    CUresult code = cuStreamSynchronize(gpu.stream);

    gpu.busy_until_us = clock_now_us();
    /* Launches before a refused one have run all the same, and what they did outweighs it. */
    if (enqueued <= DEVICE_REFUSED && code != CUDA_SUCCESS) {
        return cuda_status(code, err, "the call failed");
    }
    return enqueued;
}

enum device_status device_call(struct device_module *module, const struct plan *plan,
                               const struct device_buffers *buffers, struct err *err)
{
    enum device_status status = cuda_prepare(module, plan, err);

    if (status != DEVICE_OK) {
        return status;
    }
    cuda_busy_begin();
    return cuda_settle(cuda_enqueue_call(module, plan, buffers, err), err);
}

struct physics_device device_peaks(void)
{
    /* kHz and bits; two transfers a clock. */
    double memory_khz = attribute(CU_DEVICE_ATTRIBUTE_MEMORY_CLOCK_RATE);
    double bus_bits = attribute(CU_DEVICE_ATTRIBUTE_GLOBAL_MEMORY_BUS_WIDTH);

    return (struct physics_device){
        .arch = attribute(CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR) * 10 +
                attribute(CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR),
        .sms = gpu.sms,
        .clock_mhz = attribute(CU_DEVICE_ATTRIBUTE_CLOCK_RATE) / 1e3,
        .dram_gb_s = 2 * memory_khz * bus_bits / 8 / 1e6,
        .l2_bytes = attribute(CU_DEVICE_ATTRIBUTE_L2_CACHE_SIZE),
    };
}

double device_occupancy(struct device_module *module, const struct plan *plan)
{
    const struct plan_kernel *kernel = &plan->kernels[0];
    struct err ignored;
    struct entry *entry = plan->kernel_count > 0 ? entry_of(module, kernel->name) : NULL;
    int blocks = 0;

    if (entry == NULL || prepare_kernel(entry, kernel, &ignored) != DEVICE_OK ||
        gpu.threads_per_sm == 0 ||
        cuOccupancyMaxActiveBlocksPerMultiprocessor(&blocks, entry->function, (int)kernel->threads,
                                                    kernel->smem_bytes) != CUDA_SUCCESS) {
        return NAN;
    }
    /* A warp is 32 threads; a block's last warp counts whole. */
    return 100.0 * blocks * ((kernel->threads + 31) / 32) / (gpu.threads_per_sm / 32);
}
