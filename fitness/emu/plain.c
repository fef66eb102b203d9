#include "fitness/emu/plain.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/rng.h"
#include "base/str.h"
#include "fitness/emu/machine.h"
#include "fitness/emu/memory.h"
#include "fitness/emu/profile.h"
#include "fitness/emu/tensor.h"
#include "fitness/emu/tensormap.h"

enum {
    OPS_MAX = 1 << 28, /* of a block, before it is taken for endless */
    RUN_MS_MAX = 100 * 1000,
    MAP_BYTES = sizeof(struct emu_tensor_map),
};

static const struct {
    const char *name;
    int bytes;
    enum emu_tensor_type tensor; /* EMU_TENSOR_TYPES: no map is of it */
} types[PLAIN_TYPES] = {
    [PLAIN_F16] = {"f16", 2, EMU_TENSOR_F16},   [PLAIN_BF16] = {"bf16", 2, EMU_TENSOR_BF16},
    [PLAIN_F32] = {"f32", 4, EMU_TENSOR_F32},   [PLAIN_F64] = {"f64", 8, EMU_TENSOR_F64},
    [PLAIN_S8] = {"s8", 1, EMU_TENSOR_TYPES},   [PLAIN_U8] = {"u8", 1, EMU_TENSOR_U8},
    [PLAIN_S16] = {"s16", 2, EMU_TENSOR_TYPES}, [PLAIN_U16] = {"u16", 2, EMU_TENSOR_U16},
    [PLAIN_S32] = {"s32", 4, EMU_TENSOR_S32},   [PLAIN_U32] = {"u32", 4, EMU_TENSOR_U32},
    [PLAIN_S64] = {"s64", 8, EMU_TENSOR_S64},   [PLAIN_U64] = {"u64", 8, EMU_TENSOR_U64},
};

/* ---- reading the launch -------------------------------------------------------------------- */

const char *plain_find(struct arena *arena, const char *source)
{
    static const char mark[] = "// evo: launch ";
    const char *found = strstr(source, mark);

    return found == NULL
               ? NULL
               : arena_text(arena, found + strlen(mark), strcspn(found + strlen(mark), "\r\n"));
}

struct reader {
    const char *text, *at;
    struct err *err;
};

static bool fail(struct reader *reader, const char *what)
{
    return err_set(reader->err, ERR_USER, "launch '%.200s': column %d: %s", reader->text,
                   (int)(reader->at - reader->text) + 1, what);
}

static char peek(struct reader *reader)
{
    reader->at += strspn(reader->at, " \t");
    return *reader->at;
}

static bool take(struct reader *reader, const char *token)
{
    size_t length = strlen(token);

    peek(reader);
    if (strncmp(reader->at, token, length) != 0) {
        return false;
    }
    reader->at += length;
    return true;
}

static bool expect(struct reader *reader, const char *token)
{
    char what[64];

    if (take(reader, token)) {
        return true;
    }
    snprintf(what, sizeof what, "'%s' is missing here", token);
    return fail(reader, what);
}

static size_t word_length(const char *at)
{
    size_t length = 0;

    while (isalnum((unsigned char)at[length]) || at[length] == '_') {
        length++;
    }
    return isdigit((unsigned char)*at) ? 0 : length;
}

static bool take_name(struct reader *reader, char name[PLAIN_NAME_MAX])
{
    size_t length;

    peek(reader);
    length = word_length(reader->at);
    if (length == 0 || length >= PLAIN_NAME_MAX) {
        return fail(reader, "a name of at most 31 letters is missing here");
    }
    memcpy(name, reader->at, length);
    name[length] = '\0';
    reader->at += length;
    return true;
}

/* The word when it stands here and ends here. */
static bool take_word(struct reader *reader, const char *word)
{
    peek(reader);
    return word_length(reader->at) == strlen(word) && take(reader, word);
}

static bool take_count(struct reader *reader, int64_t most, int64_t *value)
{
    int64_t count = 0;

    peek(reader);
    if (!isdigit((unsigned char)*reader->at)) {
        return fail(reader, "a number is missing here");
    }
    for (; isdigit((unsigned char)*reader->at) && count <= most; reader->at++) {
        count = 10 * count + (*reader->at - '0');
    }
    *value = count;
    return count <= most || fail(reader, "the number is too large");
}

/* "64x128" */
static bool take_dims(struct reader *reader, int64_t dims[PLAIN_RANK_MAX], int *rank)
{
    *rank = 0;
    do {
        if (*rank == PLAIN_RANK_MAX) {
            return fail(reader, "there are at most 5 dimensions");
        }
        if (!take_count(reader, PLAIN_BYTES_MAX, &dims[*rank])) {
            return false;
        }
        if (dims[(*rank)++] == 0) {
            return fail(reader, "a dimension is above 0");
        }
    } while (take(reader, "x"));
    return true;
}

/* "8" or "(8, 2, 1)" */
static bool take_grid(struct reader *reader, uint32_t out[3])
{
    bool several = take(reader, "(");
    int count = 0;

    out[0] = out[1] = out[2] = 1;
    do {
        int64_t value;

        if (!take_count(reader, INT32_MAX, &value)) {
            return false;
        }
        out[count++] = (uint32_t)value;
    } while (several && count < 3 && take(reader, ","));
    return !several || expect(reader, ")");
}

static bool take_type(struct reader *reader, enum plain_type *type)
{
    for (int i = 0; i < PLAIN_TYPES; i++) {
        if (take_word(reader, types[i].name)) {
            *type = (enum plain_type)i;
            return true;
        }
    }
    return false;
}

static uint64_t bits_of(enum plain_type type, double value)
{
    float single = (float)value;
    uint64_t bits = 0;
    uint32_t word;

    switch (type) {
    case PLAIN_F16: return f16_from_double(value);
    case PLAIN_BF16: /* to nearest even */
        memcpy(&word, &single, sizeof word);
        return (word + 0x7fff + (word >> 16 & 1)) >> 16;
    case PLAIN_F32: memcpy(&bits, &single, sizeof single); return bits;
    case PLAIN_F64: memcpy(&bits, &value, sizeof value); return bits;
    default: return (uint64_t)(int64_t)value;
    }
}

static bool take_number(struct reader *reader, struct plain_arg *arg)
{
    bool typed = take_type(reader, &arg->type);
    char *end;
    double value;

    peek(reader);
    value = strtod(reader->at, &end);
    if (end == reader->at || !(value >= -9e15 && value <= 9e15)) {
        return fail(reader, "an argument is in, data, zero, out, map, or a number");
    }
    if (!typed) {
        arg->type =
            memchr(reader->at, '.', (size_t)(end - reader->at)) != NULL ? PLAIN_F32 : PLAIN_S32;
    }
    reader->at = end;
    arg->kind = PLAIN_NUMBER;
    arg->bits = bits_of(arg->type, value);
    return true;
}

static bool take_map(struct reader *reader, struct plain_arg *arg)
{
    int64_t swizzle = 0;

    arg->kind = PLAIN_MAP;
    if (!expect(reader, "(") || !take_name(reader, arg->name) || !expect(reader, ",") ||
        !take_dims(reader, arg->dims, &arg->rank) ||
        (take(reader, ",") && !take_count(reader, 128, &swizzle)) || !expect(reader, ")")) {
        return false;
    }
    arg->swizzle = (int)swizzle;
    return swizzle == 0 || swizzle == 32 || swizzle == 64 || swizzle == 128 ||
           fail(reader, "a swizzle is 0, 32, 64 or 128 bytes");
}

static bool take_arg(struct reader *reader, struct plain_arg *arg)
{
    static const struct {
        const char *name;
        enum plain_kind kind;
    } kinds[] = {{"in", PLAIN_IN}, {"data", PLAIN_DATA}, {"zero", PLAIN_ZERO}, {"out", PLAIN_OUT}};

    *arg = (struct plain_arg){0};
    if (take_word(reader, "map")) {
        return take_map(reader, arg);
    }
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++) {
        if (take_word(reader, kinds[i].name)) {
            arg->kind = kinds[i].kind;
            return (take_type(reader, &arg->type) ||
                    fail(reader, "a type (f16, u32, …) is missing here")) &&
                   take_name(reader, arg->name) && expect(reader, "[") &&
                   take_dims(reader, arg->dims, &arg->rank) && expect(reader, "]");
        }
    }
    return take_number(reader, arg);
}

static int64_t buffer_bytes(const struct plain_arg *arg)
{
    int64_t bytes = types[arg->type].bytes;

    for (int i = 0; i < arg->rank; i++) {
        bytes = bytes > PLAIN_BYTES_MAX / arg->dims[i] ? PLAIN_BYTES_MAX + 1 : bytes * arg->dims[i];
    }
    return bytes;
}

static const struct plain_arg *buffer_named(const struct plain_launch *launch, const char *name)
{
    for (int i = 0; i < launch->arg_count; i++) {
        if (launch->args[i].kind <= PLAIN_OUT && strcmp(launch->args[i].name, name) == 0) {
            return &launch->args[i];
        }
    }
    return NULL;
}

static bool take_args(struct reader *reader, struct plain_launch *launch)
{
    int64_t bytes = 0;

    if (!expect(reader, "(")) {
        return false;
    }
    while (!take(reader, ")")) {
        struct plain_arg *arg = &launch->args[launch->arg_count];

        if (launch->arg_count == PLAIN_ARGS_MAX) {
            return fail(reader, "there are at most 16 arguments");
        }
        if ((launch->arg_count > 0 && !expect(reader, ",")) || !take_arg(reader, arg)) {
            return false;
        }
        launch->arg_count++;
        bytes += arg->kind <= PLAIN_OUT ? buffer_bytes(arg) : 0;
        if (bytes > PLAIN_BYTES_MAX) {
            return fail(reader, "the buffers have more than 1 GiB together");
        }
    }
    return true;
}

static bool check_maps(struct reader *reader, const struct plain_launch *launch)
{
    for (int i = 0; i < launch->arg_count; i++) {
        const struct plain_arg *map = &launch->args[i], *buffer;

        if (map->kind != PLAIN_MAP) {
            continue;
        }
        buffer = buffer_named(launch, map->name);
        if (buffer == NULL || buffer->rank != map->rank) {
            return err_set(reader->err, ERR_USER,
                           buffer == NULL ? "launch '%.200s': there is no buffer '%s'"
                                          : "launch '%.200s': the box of the map of '%s' has "
                                            "another number of dimensions",
                           reader->text, map->name);
        }
    }
    return true;
}

bool plain_read(struct arena *arena, const char *text, struct plain_launch *launch, struct err *err)
{
    struct reader reader = {.text = text, .at = text, .err = err};
    size_t name;

    *launch = (struct plain_launch){.text = arena_dup(arena, text)};
    peek(&reader);
    name = word_length(reader.at);
    launch->kernel = arena_text(arena, reader.at, name);
    reader.at += name;
    if (name == 0) {
        fail(&reader, "the name of the kernel is missing");
    } else if (expect(&reader, "<<<") && take_grid(&reader, launch->grid) && expect(&reader, ",") &&
               take_grid(&reader, launch->threads) &&
               (!take(&reader, ",") || take_count(&reader, INT32_MAX, &launch->smem_bytes)) &&
               expect(&reader, ">>>") && take_args(&reader, launch) &&
               check_maps(&reader, launch) &&
               (peek(&reader) == '\0' || fail(&reader, "something is left behind the launch"))) {
        return true;
    }
    return err_hint(err, "a launch is: kernel<<<blocks, threads>>>(in f32 a[64x64], out f32 b[64], "
                         "64)");
}

/* ---- its buffers --------------------------------------------------------------------------- */

static double drawn(struct rng *rng, enum plain_type type, int64_t index)
{
    int bits = 8 * types[type].bytes - 1; /* what every type of the width can hold */

    if (type <= PLAIN_F64) {
        return 2 * rng_unit(rng) - 1;
    }
    return (double)(bits < 31 ? index % (INT64_C(1) << bits) : index);
}

static void fill(struct memory *memory, uint64_t at, const struct plain_arg *arg, int number)
{
    int64_t bytes = buffer_bytes(arg), each = types[arg->type].bytes;
    struct rng rng = rng_at(1, 0, (uint64_t)number);
    uint8_t *data = xmalloc((size_t)bytes);

    for (int64_t i = 0; i < bytes / each; i++) {
        uint64_t value = bits_of(arg->type, drawn(&rng, arg->type, i));
        memcpy(data + i * each, &value, (size_t)each);
    }
    memory_host_write(memory, at, data, (uint64_t)bytes);
    free(data);
}

static uint64_t buffer_make(struct memory *memory, const struct plain_arg *arg, int number)
{
    uint64_t bytes = (uint64_t)buffer_bytes(arg);
    uint64_t at = memory_buffer(memory, bytes, arg->name);

    if (arg->kind == PLAIN_ZERO) {
        memory_host_fill(memory, at, 0, bytes);
    } else if (arg->kind != PLAIN_OUT) {
        fill(memory, at, arg, number);
    }
    memory_buffer_access(memory, at, arg->kind == PLAIN_IN ? BUFFER_READ_ONLY : BUFFER_READ_WRITE);
    return at;
}

static bool map_make(const struct plain_arg *arg, const struct plain_arg *buffer, uint64_t at,
                     struct emu_tensor_map *map, struct err *err)
{
    uint64_t dims[PLAIN_RANK_MAX], strides[PLAIN_RANK_MAX] = {0};
    uint32_t box[PLAIN_RANK_MAX], ones[PLAIN_RANK_MAX];
    uint64_t bytes = (uint64_t)types[buffer->type].bytes;
    struct emu_tensor_request request = {
        .type = types[buffer->type].tensor,
        .rank = (uint32_t)arg->rank,
        .address = at,
        .dims = dims,
        .strides = strides,
        .box = box,
        .element_strides = ones,
        .swizzle = arg->swizzle == 128  ? EMU_SWIZZLE_128B
                   : arg->swizzle == 64 ? EMU_SWIZZLE_64B
                   : arg->swizzle == 32 ? EMU_SWIZZLE_32B
                                        : EMU_SWIZZLE_NONE,
    };

    for (int i = 0; i < arg->rank; i++) { /* a map begins with the innermost */
        dims[i] = (uint64_t)buffer->dims[arg->rank - 1 - i];
        box[i] = (uint32_t)arg->dims[arg->rank - 1 - i];
        ones[i] = 1;
        bytes *= dims[i];
        strides[i] = bytes;
    }
    return emu_tensor_map_encode(map, &request, err) || err_in(err, "map of '%s'", arg->name);
}

/* ---- its parameters ------------------------------------------------------------------------ */

static int64_t arg_bytes(const struct plain_arg *arg)
{
    return arg->kind == PLAIN_MAP      ? MAP_BYTES
           : arg->kind == PLAIN_NUMBER ? types[arg->type].bytes
                                       : (int64_t)sizeof(uint64_t);
}

static bool check_signature(const struct ptx_function *function, const struct plain_launch *launch,
                            struct err *err)
{
    if (function->param_count != launch->arg_count) {
        return err_set(err, ERR_USER, "kernel '%s' has %d parameters, its launch gives %d",
                       launch->kernel, function->param_count, launch->arg_count);
    }
    for (int i = 0; i < launch->arg_count; i++) {
        if (function->params[i].bytes != arg_bytes(&launch->args[i])) {
            return err_set(err, ERR_USER,
                           "kernel '%s': parameter %d has %lld bytes, its launch gives %lld",
                           launch->kernel, i + 1, (long long)function->params[i].bytes,
                           (long long)arg_bytes(&launch->args[i]));
        }
    }
    return true;
}

/* Makes the buffers and lays the parameters out as the kernel has them. */
static bool params_make(struct memory *memory, const struct code *code,
                        const struct plain_launch *launch, uint8_t *params, struct err *err)
{
    uint64_t at[PLAIN_ARGS_MAX] = {0};
    int64_t offset = 0;

    for (int i = 0; i < launch->arg_count; i++) {
        if (launch->args[i].kind <= PLAIN_OUT) {
            at[i] = buffer_make(memory, &launch->args[i], i);
        }
    }
    for (int i = 0; i < launch->arg_count; i++) {
        const struct plain_arg *arg = &launch->args[i], *buffer;
        int64_t align = code->function->params[i].align > 0 ? code->function->params[i].align : 1;
        struct emu_tensor_map map;
        const void *value = arg->kind == PLAIN_NUMBER ? &arg->bits : &at[i];

        if (arg->kind == PLAIN_MAP) {
            buffer = buffer_named(launch, arg->name);
            if (!map_make(arg, buffer, at[buffer - launch->args], &map, err)) {
                return false;
            }
            value = &map;
        }
        offset = (offset + align - 1) / align * align;
        memcpy(params + offset, value, (size_t)arg_bytes(arg));
        offset += arg_bytes(arg);
    }
    return true;
}

/* ---- running ------------------------------------------------------------------------------- */

struct session {
    const struct chip *chip;
    struct ptx_module *module;
    struct code *code;
    struct launch launch;
    struct model_launch model;
};

static bool check_launch(struct session *session, const struct plain_request *request,
                         struct err *err)
{
    const struct plain_launch *plain = request->launch;
    const struct ptx_function *function = session->code->function;
    int64_t threads = (int64_t)plain->threads[0] * plain->threads[1] * plain->threads[2];
    int64_t blocks = (int64_t)plain->grid[0] * plain->grid[1] * plain->grid[2], cluster = 1;

    for (int d = 0; d < 3; d++) {
        session->launch.grid[d] = plain->grid[d];
        session->launch.block[d] = plain->threads[d];
        session->launch.cluster[d] = function->cluster[d] > 1 ? (uint32_t)function->cluster[d] : 1;
        cluster *= session->launch.cluster[d];
    }
    if (function->max_threads > 0 && threads > function->max_threads) {
        return err_set(err, ERR_USER,
                       "kernel '%s' is launched with %lld threads a block, its launch bounds allow "
                       "%d",
                       plain->kernel, (long long)threads, function->max_threads);
    }
    session->launch.smem_bytes = (uint32_t)plain->smem_bytes;
    session->model = (struct model_launch){
        .blocks = blocks,
        .threads = (int)threads,
        .cluster = (int)cluster,
        .registers = request->registers,
        .smem_bytes = session->code->shared_bytes + plain->smem_bytes,
    };
    for (int i = 0; i < plain->arg_count; i++) {
        session->model.footprint_bytes +=
            plain->args[i].kind <= PLAIN_OUT ? (double)buffer_bytes(&plain->args[i]) : 0;
    }
    if (threads > 0 && threads <= 1024 && model_resident(session->chip, &session->model) == 0) {
        return err_set(err, ERR_USER,
                       "kernel '%s' does not fit a multiprocessor: %lld threads of %d registers, "
                       "%lld bytes of shared memory",
                       plain->kernel, (long long)threads, request->registers,
                       (long long)session->model.smem_bytes);
    }
    return true;
}

/* One launch on new buffers. */
static bool launch_once(struct session *session, const struct plain_request *request,
                        struct outcome *outcome, struct err *err)
{
    struct memory *memory = memory_new();
    uint8_t *params = xcalloc(1, (size_t)session->code->param_bytes + 1);
    bool ok = params_make(memory, session->code, request->launch, params, err);

    if (ok) {
        session->launch.program = session->code;
        session->launch.params = params;
        session->launch.threads = request->threads;
        session->launch.op_budget = OPS_MAX;
        session->launch.time_budget_ms = RUN_MS_MAX;
        machine_run(memory, &session->launch, outcome);
    }
    free(params);
    memory_free(memory);
    return ok;
}

static bool run_watched(struct arena *arena, struct session *session,
                        const struct plain_request *request, struct plain_outcome *result,
                        struct err *err)
{
    struct outcome *outcome = arena_alloc(arena, sizeof *outcome);
    int64_t start = clock_now_us();

    session->launch.sanitize = request->sanitize | SANITIZE_BOUNDS;
    if (!launch_once(session, request, outcome, err)) {
        return false;
    }
    result->ms = (double)(clock_now_us() - start) / 1e3;
    result->finding_count = findings_tell(arena, session->module, outcome, result->findings);
    result->findings_total = outcome->findings_total;
    result->atomics = outcome->atomics;
    result->ops = outcome->ops;
    result->lane_ops = outcome->lane_ops;
    return true;
}

static bool run_profiled(struct arena *arena, struct session *session,
                         const struct plain_request *request, struct plain_outcome *result,
                         struct err *err)
{
    struct outcome *outcome = arena_alloc(arena, sizeof *outcome);
    int resident = model_resident(session->chip, &session->model);
    struct profile *profile = profile_new(session->code, session->chip,
                                          session->chip->l1_bytes / (resident > 0 ? resident : 1) -
                                              session->model.smem_bytes);
    bool ok;

    session->launch.sanitize = SANITIZE_BOUNDS;
    session->launch.profile = profile;
    ok = launch_once(session, request, outcome, err);
    if (ok && outcome->ended) {
        struct kernel_profile *to = &result->profile;

        to->name = request->launch->kernel;
        to->blocks = session->model.blocks;
        to->launch = session->model;
        profile_totals(profile, &to->totals);
        to->line_count = profile_lines(profile, to->lines, PROFILE_LINES);
        for (int i = 0; i < to->line_count; i++) {
            to->lines[i].file = arena_dup(arena, to->lines[i].file);
        }
        model_time(session->chip, &to->totals, &to->launch, &to->time);
    }
    profile_free(profile);
    return ok;
}

bool plain_run(struct arena *arena, const struct plain_request *request,
               struct plain_outcome *outcome, struct err *err)
{
    struct session session = {.chip = chip_find(request->chip)};

    *outcome = (struct plain_outcome){0};
    if (session.chip == NULL) {
        err_set(err, ERR_USER, "no chip '%s' can be emulated", request->chip);
        return err_hint(err, "the chips are: %s", chip_names(arena));
    }
    outcome->chip = session.chip->device;
    return ptx_parse(arena, request->ptx, request->ptx_bytes, &session.module, err) &&
           program_decode(arena, session.module, request->launch->kernel, &session.code, err) &&
           check_signature(session.code->function, request->launch, err) &&
           check_launch(&session, request, err) &&
           run_watched(arena, &session, request, outcome, err) &&
           (!request->profile || run_profiled(arena, &session, request, outcome, err));
}
