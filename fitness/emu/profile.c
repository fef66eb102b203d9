#include "fitness/emu/profile.h"
#include "fitness/emu/calendar.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    LINE_BYTES = 128,
    SECTOR_BYTES = 32,
    WAYS = 4,        /* of the L1 that a block thinks its own */
    SCHEDULERS = 4,  /* of a multiprocessor; a warp belongs to one */
    GROUPS_MAX = 16, /* of copies that a warp has committed and not waited for; older ones merge */
    BANKS = 32,
    BANK_BYTES = 4,
    WARPGROUP = 4, /* warps that issue a wgmma together: each counts its own quarter */
    /* Of the tensor cores' peak mma.sync and wmma reach three fifths on sm_90; wgmma all of it. */
    SYNC_NUMERATOR = 5,
    SYNC_DENOMINATOR = 3,
};

const char *const pipe_names[PIPES] = {
    [PIPE_ISSUE] = "issue",     [PIPE_FMA] = "fma",       [PIPE_ALU] = "alu",
    [PIPE_SPECIAL] = "special", [PIPE_DOUBLE] = "double", [PIPE_SHARED] = "shared",
    [PIPE_TENSOR] = "tensor",   [PIPE_L2] = "l2",
};

_Static_assert((int)CLASSES <= (int)PROFILE_CLASSES, "model.h has room for every class");

const char *const class_names[PROFILE_CLASSES] = {
    [CLASS_CONTROL] = "control",
    [CLASS_INTEGER] = "integer",
    [CLASS_FMA] = "fma",
    [CLASS_HALF] = "half",
    [CLASS_SPECIAL] = "special",
    [CLASS_CONVERT] = "convert",
    [CLASS_PREDICATE] = "predicate",
    [CLASS_LOAD_GLOBAL] = "load_global",
    [CLASS_STORE_GLOBAL] = "store_global",
    [CLASS_LOAD_SHARED] = "load_shared",
    [CLASS_STORE_SHARED] = "store_shared",
    [CLASS_LOCAL] = "local",
    [CLASS_ATOMIC] = "atomic",
    [CLASS_SHUFFLE] = "shuffle",
    [CLASS_BARRIER] = "barrier",
    [CLASS_MATRIX_LOAD] = "matrix_load",
    [CLASS_TENSOR] = "tensor",
    [CLASS_ASYNC_COPY] = "async_copy",
    [CLASS_FENCE] = "fence",
    [CLASS_OTHER] = "other",
};

/* ---- what an op costs, known before it runs ------------------------------------------------ */

/* What an op does to the clocks besides taking its time. */
enum effect {
    EFFECT_NONE,
    EFFECT_MEET,   /* a barrier of the block: goes on when the last has come */
    EFFECT_ARRIVE, /* comes to one and goes on */
    EFFECT_START,  /* starts something that ends a latency later: a copy, a wgmma */
    EFFECT_COMMIT, /* closes a group of what was started */
    EFFECT_AWAIT,  /* goes on when at most `groups` of them are open */
    EFFECT_UNTIL,  /* goes on when what it waits for has said that it has come to pass */
};

/* Which engine started work belongs to: each has groups of its own. */
enum engine { ENGINE_COPY, ENGINE_BULK, ENGINE_TENSOR, ENGINES };

struct cost {
    enum pipe pipe;
    enum latency latency;
    enum effect effect;
    enum engine engine;
    int slots;      /* of a scheduler: machine instructions that it becomes, as a rule */
    uint64_t units; /* of the pipe, where the addresses do not say */
    uint64_t flops;
    uint64_t operands; /* wavefronts that a wgmma reads */
    int groups, barrier;
    const int32_t *reads, *writes; /* registers of the function */
    int read_count, write_count;
};

/*
 * PTX is not machine code: ptxas folds moves and address conversions away, and makes two or more
 * instructions of others. First match wins; `also` is a part that the opcode must have.
 */
static const struct rule {
    const char *first, *also;
    enum pipe pipe;
    enum latency latency;
    int slots, units;
} rules[] = {
    {"mov", NULL, PIPE_ISSUE, LATENCY_ARITHMETIC, 0, 0},
    {"cvta", NULL, PIPE_ISSUE, LATENCY_ARITHMETIC, 0, 0},
    {"ld", "param", PIPE_ISSUE, LATENCY_ARITHMETIC, 0, 0},
    {"ret", NULL, PIPE_ISSUE, LATENCY_ARITHMETIC, 1, 0},
    {"bra", NULL, PIPE_ISSUE, LATENCY_ARITHMETIC, 1, 0},
    {"neg", NULL, PIPE_ISSUE, LATENCY_ARITHMETIC, 0, 0}, /* a modifier of who reads it */
    {"abs", NULL, PIPE_ISSUE, LATENCY_ARITHMETIC, 0, 0},
    {"add", "f64", PIPE_DOUBLE, LATENCY_ARITHMETIC, 1, 1},
    {"sub", "f64", PIPE_DOUBLE, LATENCY_ARITHMETIC, 1, 1},
    {"mul", "f64", PIPE_DOUBLE, LATENCY_ARITHMETIC, 1, 1},
    {"fma", "f64", PIPE_DOUBLE, LATENCY_ARITHMETIC, 1, 1},
    {"fma", NULL, PIPE_FMA, LATENCY_ARITHMETIC, 1, 1},
    {"add", "f32", PIPE_FMA, LATENCY_ARITHMETIC, 1, 1},
    {"sub", "f32", PIPE_FMA, LATENCY_ARITHMETIC, 1, 1},
    {"mul", "f32", PIPE_FMA, LATENCY_ARITHMETIC, 1, 1},
    {"add", "f16x2", PIPE_FMA, LATENCY_ARITHMETIC, 1, 1},
    {"sub", "f16x2", PIPE_FMA, LATENCY_ARITHMETIC, 1, 1},
    {"mul", "f16x2", PIPE_FMA, LATENCY_ARITHMETIC, 1, 1},
    {"add", "f16", PIPE_FMA, LATENCY_ARITHMETIC, 1, 1},
    {"mul", "f16", PIPE_FMA, LATENCY_ARITHMETIC, 1, 1},
    {"mul", "wide", PIPE_FMA, LATENCY_ARITHMETIC, 1, 2},
    {"mul", "hi", PIPE_FMA, LATENCY_ARITHMETIC, 2, 4},
    {"mul", NULL, PIPE_FMA, LATENCY_ARITHMETIC, 1, 2},
    {"mad", NULL, PIPE_FMA, LATENCY_ARITHMETIC, 1, 2},
    {"div", "approx", PIPE_SPECIAL, LATENCY_SPECIAL, 2, 1},
    {"div", "full", PIPE_SPECIAL, LATENCY_SPECIAL, 4, 1},
    {"div", "f32", PIPE_SPECIAL, LATENCY_SPECIAL, 12, 1},
    {"div", NULL, PIPE_ALU, LATENCY_SPECIAL, 20, 16},
    {"rem", NULL, PIPE_ALU, LATENCY_SPECIAL, 22, 18},
    {"ex2", "ftz", PIPE_SPECIAL, LATENCY_SPECIAL, 1, 1},
    {"ex2", NULL, PIPE_SPECIAL, LATENCY_SPECIAL, 3, 1}, /* denormals are scaled around it */
    {"lg2", NULL, PIPE_SPECIAL, LATENCY_SPECIAL, 3, 1},
    {"rcp", NULL, PIPE_SPECIAL, LATENCY_SPECIAL, 1, 1},
    {"rsqrt", NULL, PIPE_SPECIAL, LATENCY_SPECIAL, 1, 1},
    {"sqrt", NULL, PIPE_SPECIAL, LATENCY_SPECIAL, 2, 1},
    {"sin", NULL, PIPE_SPECIAL, LATENCY_SPECIAL, 2, 1},
    {"cos", NULL, PIPE_SPECIAL, LATENCY_SPECIAL, 2, 1},
    {"tanh", NULL, PIPE_SPECIAL, LATENCY_SPECIAL, 1, 1},
    {"popc", NULL, PIPE_SPECIAL, LATENCY_SPECIAL, 1, 1},
    {"clz", NULL, PIPE_SPECIAL, LATENCY_SPECIAL, 1, 1},
    {"brev", NULL, PIPE_SPECIAL, LATENCY_SPECIAL, 1, 1},
    {"cvt", "f16x2", PIPE_ALU, LATENCY_ARITHMETIC, 1, 1},
    {"cvt", "bf16x2", PIPE_ALU, LATENCY_ARITHMETIC, 1, 1},
    {"cvt", "f16", PIPE_ALU, LATENCY_ARITHMETIC, 1, 1},
    {"cvt", "bf16", PIPE_ALU, LATENCY_ARITHMETIC, 1, 1},
    {"cvt", "f32", PIPE_SPECIAL, LATENCY_SPECIAL, 1, 1}, /* from or to an integer */
    {"cvt", "f64", PIPE_SPECIAL, LATENCY_SPECIAL, 1, 1},
    {"shfl", NULL, PIPE_SHARED, LATENCY_SHUFFLE, 1, 1},
    {"add", "s64", PIPE_ALU, LATENCY_ARITHMETIC, 2, 2},
    {"add", "u64", PIPE_ALU, LATENCY_ARITHMETIC, 2, 2},
    {"sub", "s64", PIPE_ALU, LATENCY_ARITHMETIC, 2, 2},
    {"shl", "b64", PIPE_ALU, LATENCY_ARITHMETIC, 2, 2},
    {"shr", "u64", PIPE_ALU, LATENCY_ARITHMETIC, 2, 2},
    {"shr", "s64", PIPE_ALU, LATENCY_ARITHMETIC, 2, 2},
};

static bool has(const struct ptx_instruction *text, const char *part)
{
    for (int i = 1; i < text->part_count; i++) {
        if (strcmp(text->parts[i], part) == 0) {
            return true;
        }
    }
    return false;
}

static bool is(const struct ptx_instruction *text, const char *first, const char *second)
{
    return strcmp(text->parts[0], first) == 0 &&
           (second == NULL || (text->part_count > 1 && strcmp(text->parts[1], second) == 0));
}

/* By class, what the rules do not name. */
static void cost_of_class(enum op_class class, struct cost *cost)
{
    cost->slots = 1;
    cost->pipe = PIPE_ALU;
    cost->units = 1;
    cost->latency = LATENCY_ARITHMETIC;
    switch (class) {
    case CLASS_LOAD_GLOBAL:
    case CLASS_STORE_GLOBAL:
    case CLASS_LOCAL: cost->latency = LATENCY_L1; break;
    case CLASS_ATOMIC: cost->latency = LATENCY_L2; break;
    case CLASS_LOAD_SHARED:
    case CLASS_STORE_SHARED:
    case CLASS_MATRIX_LOAD: cost->latency = LATENCY_SHARED; break;
    case CLASS_ASYNC_COPY: cost->latency = LATENCY_L2; break;
    case CLASS_CONTROL:
    case CLASS_BARRIER:
    case CLASS_FENCE:
    case CLASS_OTHER:
        cost->pipe = PIPE_ISSUE;
        cost->units = 0;
        return;
    default: return;
    }
    cost->pipe = PIPE_SHARED;
    cost->units = 0; /* the wavefronts will say */
}

/* "m16n8k16": the products and sums of one. */
static uint64_t flops_of(const struct ptx_instruction *text)
{
    for (int i = 1; i < text->part_count; i++) {
        unsigned m, n, k;

        if (sscanf(text->parts[i], "m%un%uk%u", &m, &n, &k) == 3 && m <= 256 && n <= 256 &&
            k <= 1024) {
            return (uint64_t)2 * m * n * k;
        }
    }
    return 0;
}

/* What a wgmma reads from shared memory: B, and A where it is a descriptor. */
static uint64_t operand_bytes(const struct ptx_instruction *text)
{
    bool registers = text->operand_count > 1 && text->operands[1].kind == PTX_OPERAND_VECTOR;

    for (int i = 1; i < text->part_count; i++) {
        unsigned m, n, k;

        if (sscanf(text->parts[i], "m%un%uk%u", &m, &n, &k) == 3 && m <= 256 && n <= 256 &&
            k <= 1024) {
            return (uint64_t)2 * k * (n + (registers ? 0 : m));
        }
    }
    return 0;
}

static void cost_of_tensor(const struct ptx_instruction *text, struct cost *cost)
{
    bool async = is(text, "wgmma", "mma_async");

    if (!async && !is(text, "mma", NULL) && !is(text, "wmma", "mma")) {
        return;
    }
    cost->pipe = PIPE_TENSOR;
    cost->latency = async ? LATENCY_WARPGROUP : LATENCY_TENSOR;
    cost->flops = flops_of(text) / (async ? WARPGROUP : 1);
    cost->units = async ? cost->flops : cost->flops * SYNC_NUMERATOR / SYNC_DENOMINATOR;
    if (async) {
        cost->effect = EFFECT_START;
        cost->engine = ENGINE_TENSOR;
        cost->operands = operand_bytes(text) / (WARPGROUP * LINE_BYTES);
    }
}

static int integer_of(const struct ptx_instruction *text, int operand, int otherwise)
{
    return operand < text->operand_count && text->operands[operand].kind == PTX_OPERAND_INTEGER &&
                   text->operands[operand].bits < INT32_MAX
               ? (int)text->operands[operand].bits
               : otherwise;
}

static void cost_of_waiting(const struct ptx_instruction *text, struct cost *cost)
{
    bool copies = is(text, "cp", "async"), tensor = is(text, "wgmma", NULL);

    if (copies || tensor) {
        cost->engine = tensor ? ENGINE_TENSOR : has(text, "bulk") ? ENGINE_BULK : ENGINE_COPY;
        if (has(text, "commit_group")) {
            cost->effect = EFFECT_COMMIT;
        } else if (has(text, "wait_group") || has(text, "wait_all")) {
            cost->effect = EFFECT_AWAIT;
            cost->groups = integer_of(text, 0, 0);
        } else if (copies && !has(text, "mbarrier")) {
            cost->effect = EFFECT_START;
        }
    } else if (is(text, "mbarrier", "try_wait") || is(text, "mbarrier", "test_wait")) {
        cost->effect = EFFECT_UNTIL;
    } else if (is(text, "barrier", "cluster")) {
        cost->effect = has(text, "wait") ? EFFECT_UNTIL : EFFECT_NONE;
    } else if ((is(text, "bar", NULL) || is(text, "barrier", NULL)) && !has(text, "warp") &&
               !has(text, "cluster")) {
        cost->effect = has(text, "arrive") ? EFFECT_ARRIVE : EFFECT_MEET;
        cost->barrier = integer_of(text, 0, 0) % BARRIERS;
        cost->groups = integer_of(text, 1, 0) / LANES; /* warps that meet; 0: all */
        cost->latency = LATENCY_BARRIER;
    }
}

static void cost_of_op(const struct op *op, struct cost *cost)
{
    const struct ptx_instruction *text = op->text;

    *cost = (struct cost){0};
    cost_of_class(op->class, cost);
    if (text == NULL || text->part_count == 0) {
        return;
    }
    for (size_t i = 0; i < sizeof rules / sizeof *rules; i++) {
        const struct rule *rule = &rules[i];

        if (is(text, rule->first, NULL) && (rule->also == NULL || has(text, rule->also))) {
            cost->pipe = rule->pipe;
            cost->latency = rule->latency;
            cost->slots = rule->slots;
            cost->units = (uint64_t)rule->units;
            break;
        }
    }
    cost_of_tensor(text, cost);
    cost_of_waiting(text, cost);
}

/* ---- which registers it waits for, and which wait for it ----------------------------------- */

static int gather(const struct ptx_operand *operand, int32_t *out, int limit)
{
    int count = 0;

    if (operand->kind == PTX_OPERAND_REGISTER && limit > 0) {
        out[count++] = operand->reg;
    }
    if (operand->kind == PTX_OPERAND_VECTOR || operand->kind == PTX_OPERAND_ADDRESS) {
        for (int i = 0; i < operand->count; i++) {
            count += gather(&operand->items[i], out + count, limit - count);
        }
    }
    return count;
}

/* The first operand is the result, but for what only goes somewhere, waits or names a barrier. */
static bool has_result(const struct op *op)
{
    const struct ptx_operand *first = op->text->operands;

    return op->text->operand_count > 0 &&
           (first->kind == PTX_OPERAND_REGISTER || first->kind == PTX_OPERAND_VECTOR) &&
           !is(op->text, "bar", NULL) && !is(op->text, "barrier", NULL) &&
           !is(op->text, "nanosleep", NULL) && !is(op->text, "brx", NULL);
}

static void depend(struct arena *arena, const struct op *op, struct cost *cost)
{
    enum { LIMIT = PTX_VECTOR_MAX + 64 };
    int32_t reads[LIMIT], writes[LIMIT];
    bool result = has_result(op);

    if (op->text->guard >= 0) {
        reads[cost->read_count++] = op->text->guard;
    }
    for (int i = result ? 1 : 0; i < op->text->operand_count; i++) {
        cost->read_count +=
            gather(&op->text->operands[i], reads + cost->read_count, LIMIT - cost->read_count);
    }
    if (result) {
        cost->write_count = gather(&op->text->operands[0], writes, LIMIT);
    }
    cost->reads = arena_copy(arena, reads, (size_t)cost->read_count * sizeof *reads);
    cost->writes = arena_copy(arena, writes, (size_t)cost->write_count * sizeof *writes);
}

/* ---- a launch ------------------------------------------------------------------------------ */

struct count {
    uint64_t ops, lanes;
    uint64_t wavefronts, ideal;     /* of shared memory */
    uint64_t sectors, l2, accesses; /* of global memory */
    uint64_t lines, bytes;
};

struct profile {
    struct arena *arena;
    const struct code *program;
    const struct chip *chip;
    struct cost *costs; /* of each op */
    int registers;
    int64_t l1_lines;
    pthread_mutex_t lock; /* what follows */
    struct count *counts;
    int64_t blocks;
    uint64_t length, length_max;
};

struct profile *profile_new(const struct code *program, const struct chip *chip, int64_t l1_bytes)
{
    struct arena *arena = arena_new();
    struct profile *profile = arena_alloc(arena, sizeof *profile);
    const struct ptx_function *function = program->function;

    profile->arena = arena;
    profile->program = program;
    profile->chip = chip;
    profile->registers = function->register_count;
    profile->l1_lines =
        l1_bytes / LINE_BYTES / WAYS > 0 ? l1_bytes / LINE_BYTES / WAYS * WAYS : WAYS;
    profile->costs = arena_alloc(arena, (size_t)program->op_count * sizeof *profile->costs);
    profile->counts = arena_alloc(arena, (size_t)program->op_count * sizeof *profile->counts);
    for (int i = 0; i < program->op_count; i++) {
        const struct ptx_instruction *text = program->ops[i].text;

        cost_of_op(&program->ops[i], &profile->costs[i]);
        /* Registers are numbered by function: those of a called one are not followed. */
        if (text >= function->instructions &&
            text < function->instructions + function->instruction_count) {
            depend(arena, &program->ops[i], &profile->costs[i]);
        }
    }
    pthread_mutex_init(&profile->lock, NULL);
    return profile;
}

void profile_free(struct profile *profile)
{
    if (profile != NULL) {
        pthread_mutex_destroy(&profile->lock);
        arena_free(profile->arena);
    }
}

/* ---- a block ------------------------------------------------------------------------------- */

struct started {                 /* by one engine for one warp */
    uint64_t open;               /* when the last of the group being filled will be there */
    uint64_t groups[GROUPS_MAX]; /* the committed ones, oldest first */
    int count;
};

/*
 * ptxas orders the instructions of a straight stretch of code by their dependences, so a warp's
 * clock moves from stretch to stretch: inside one an op begins when its operands are there,
 * wherever it is written. A stretch ends at what cannot be moved over: branches, barriers, waits.
 * It has then lasted as long as its longest chain, its issue slots, or the pipe it used most.
 */
struct warp_clock {
    uint64_t begin; /* of the stretch */
    uint64_t last;  /* when the last of its ops began */
    uint64_t slots, used[PIPES];
    uint64_t *ready; /* of each register */
    struct started started[ENGINES];
    uint32_t met[BARRIERS]; /* times it has come to each */
    const struct op *waits; /* has come, and was told to wait */
    uint64_t until;         /* of what the running op waits for */
};

/* Two meetings in a row of one barrier may overlap: whoever is fast comes to the next already. */
struct meeting {
    uint32_t number;
    uint64_t latest;
};

/* What the op about to be done has touched. */
struct touched {
    bool shared, global, missed, remote;
    uint64_t wavefronts, ideal, sectors, l2, lines, bytes;
    uint64_t sent; /* of l2, those that a copy has been told to bring */
};

struct block_profile {
    struct profile *profile;
    struct count *counts;
    struct warp_clock *warps;
    int warp_count;
    uint64_t *registers; /* of all warps */
    struct meeting meetings[BARRIERS][2];
    struct touched touched;
    /* Each scheduler has pipes of its own; shared memory and the way to L2 are the first's. */
    struct calendar calendars[SCHEDULERS][PIPES];
    uint64_t *tags; /* of L1, WAYS in a row; 0: empty */
    uint64_t next_victim;
};

void profile_block_begin(struct block *block)
{
    struct profile *profile = block->machine->launch->profile;
    struct block_profile *made;

    block->profile = NULL;
    if (profile == NULL) {
        return;
    }
    made = xcalloc(1, sizeof *made);
    made->profile = profile;
    made->counts = xcalloc((size_t)profile->program->op_count + 1, sizeof *made->counts);
    made->warp_count = block->warp_count;
    made->warps = xcalloc((size_t)block->warp_count, sizeof *made->warps);
    made->registers = xcalloc((size_t)profile->registers * (size_t)block->warp_count + 1,
                              sizeof *made->registers);
    for (int i = 0; i < block->warp_count; i++) {
        made->warps[i].ready = made->registers + (size_t)i * (size_t)profile->registers;
    }
    made->tags = xcalloc((size_t)profile->l1_lines, sizeof *made->tags);
    block->profile = made;
}

static void add_counts(struct profile *profile, const struct block_profile *block, uint64_t length)
{
    pthread_mutex_lock(&profile->lock);
    for (int i = 0; i < profile->program->op_count; i++) {
        struct count *to = &profile->counts[i];
        const struct count *from = &block->counts[i];

        to->ops += from->ops;
        to->lanes += from->lanes;
        to->wavefronts += from->wavefronts;
        to->ideal += from->ideal;
        to->sectors += from->sectors;
        to->l2 += from->l2;
        to->accesses += from->accesses;
        to->lines += from->lines;
        to->bytes += from->bytes;
    }
    profile->blocks++;
    profile->length += length;
    profile->length_max = length > profile->length_max ? length : profile->length_max;
    pthread_mutex_unlock(&profile->lock);
}

void profile_block_end(struct block *block)
{
    struct block_profile *ending = block->profile;
    uint64_t length = 0;

    if (ending == NULL) {
        return;
    }
    for (int i = 0; i < ending->warp_count; i++) {
        length = ending->warps[i].begin > length ? ending->warps[i].begin : length;
    }
    add_counts(ending->profile, ending, length);
    free(ending->counts);
    free(ending->warps);
    free(ending->registers);
    free(ending->tags);
    for (int i = 0; i < SCHEDULERS * PIPES; i++) {
        calendar_free(&ending->calendars[i / PIPES][i % PIPES]);
    }
    free(ending);
    block->profile = NULL;
}

/* ---- addresses ----------------------------------------------------------------------------- */

/* Is the line in the block's L1? Then or not, it is there afterwards. */
static bool l1_holds(struct block_profile *block, uint64_t line)
{
    uint64_t sets = (uint64_t)block->profile->l1_lines / WAYS;
    uint64_t *ways = &block->tags[(line * 0x9e3779b97f4a7c15u >> 20) % sets * WAYS];

    for (int i = 0; i < WAYS; i++) {
        if (ways[i] == line + 1) {
            return true;
        }
    }
    ways[block->next_victim++ % WAYS] = line + 1;
    return false;
}

/* Adds to a list of distinct values. */
static bool add_distinct(uint64_t *list, int *count, uint64_t value)
{
    for (int i = *count - 1; i >= 0; i--) {
        if (list[i] == value) {
            return false;
        }
    }
    list[(*count)++] = value;
    return true;
}

static void touch_global(struct block_profile *block, const struct op *op, lanes active,
                         const uint64_t address[LANES], unsigned bytes, bool write)
{
    struct touched *touched = &block->touched;
    uint64_t sectors[LANES * 2], lines[LANES * 2];
    int sector_count = 0, line_count = 0, missed = 0;
    /* Stores go through; .cg, atomics and volatile accesses pass L1 by. */
    bool passes = write || op->class == CLASS_ATOMIC || (op->text != NULL && has(op->text, "cg"));

    FOR_LANES(lane, active)
    {
        for (unsigned at = 0; at < bytes; at += SECTOR_BYTES) {
            uint64_t byte = address[lane] + at;

            add_distinct(lines, &line_count, byte / LINE_BYTES);
            if (sector_count < LANES * 2) {
                add_distinct(sectors, &sector_count, byte / SECTOR_BYTES);
            }
            if (line_count == LANES * 2) {
                break;
            }
        }
        touched->bytes += bytes;
    }
    for (int i = 0; i < line_count; i++) {
        if (passes || !l1_holds(block, lines[i])) {
            for (int j = 0; j < sector_count; j++) {
                missed += sectors[j] / (LINE_BYTES / SECTOR_BYTES) == lines[i];
            }
        }
    }
    touched->global = true;
    touched->missed = touched->missed || missed > 0;
    touched->sectors += (uint64_t)sector_count;
    touched->l2 += (uint64_t)missed;
    touched->lines += (uint64_t)line_count;
}

/*
 * A wavefront serves each bank once; lanes that ask a bank for the same word share it. Accesses of
 * 8 bytes a lane are served by half warps, of 16 by quarters.
 */
static void touch_shared(struct block_profile *block, lanes active, const uint64_t address[LANES],
                         unsigned bytes)
{
    int per_phase = bytes >= 16 ? 8 : bytes == 8 ? 16 : LANES;

    for (int first = 0; first < LANES; first += per_phase) {
        uint64_t words[BANKS][LANES];
        int counts[BANKS] = {0}, most = 0, distinct = 0;

        for (int lane = first; lane < first + per_phase; lane++) {
            for (unsigned at = 0; (active >> lane & 1) && at < bytes; at += BANK_BYTES) {
                uint64_t word = (address[lane] + at) / BANK_BYTES;
                int bank = (int)(word % BANKS);

                if (counts[bank] < LANES) {
                    distinct += add_distinct(words[bank], &counts[bank], word);
                }
                most = counts[bank] > most ? counts[bank] : most;
            }
        }
        block->touched.wavefronts += (uint64_t)most;
        block->touched.ideal += (uint64_t)((distinct + BANKS - 1) / BANKS);
    }
    block->touched.shared = true;
}

/* Generic addresses say by themselves where they point: the windows of memory.h. */
static enum space space_of(uint64_t address)
{
    return address >> 40 == 0x70   ? SPACE_SHARED
           : address >> 40 == 0x78 ? SPACE_LOCAL
                                   : SPACE_GLOBAL;
}

/* Shared memory of another block of the cluster. */
static bool is_remote(const struct block *block, uint64_t address)
{
    uint64_t window = (address & UINT32_MAX) / MEMORY_SHARED_WINDOW;

    return window != 0 && window != 1 + (uint64_t)block->cluster_rank;
}

void profile_touched(struct warp *warp, const struct op *op, lanes active,
                     const uint64_t address[LANES], enum space space, unsigned bytes, bool write)
{
    struct block_profile *block = warp->block->profile;

    if (active == 0) {
        return;
    }
    if (space == SPACE_GENERIC) {
        space = space_of(address[__builtin_ctz(active)]);
    }
    if (space == SPACE_SHARED) {
        block->touched.remote = is_remote(warp->block, address[__builtin_ctz(active)]);
        touch_shared(block, active, address, bytes);
    } else if (space == SPACE_GLOBAL) {
        touch_global(block, op, active, address, bytes, write);
    } else if (space == SPACE_LOCAL) { /* lanes' words lie side by side: as good as it gets */
        block->touched.lines += (bytes + 3) / 4;
    }
}

/* ---- clocks -------------------------------------------------------------------------------- */

static uint64_t later(uint64_t a, uint64_t b) { return a > b ? a : b; }

/* When all that the op reads is there, and not before `at`. */
static uint64_t operands_ready(const struct warp_clock *clock, const struct cost *cost, uint64_t at)
{
    for (int i = 0; i < cost->read_count; i++) {
        at = later(at, clock->ready[cost->reads[i]]);
    }
    return at;
}

/* Keeps a pipe busy from `from` on, of the arithmetic ones a quarter. When it is over. */
static uint64_t use_pipe(struct block_profile *block, const struct warp_clock *clock,
                         enum pipe pipe, uint64_t units, uint64_t from)
{
    bool common = pipe == PIPE_SHARED || pipe == PIPE_L2;
    double share = common ? 1 : SCHEDULERS;
    uint64_t scheduler = common ? 0 : (uint64_t)(clock - block->warps) % SCHEDULERS;

    return calendar_take(
        &block->calendars[scheduler][pipe], from,
        (uint64_t)((double)units * share / block->profile->chip->per_clock[pipe] + 0.999));
}

/* Ends the stretch: when it does. */
static uint64_t stretch_end(struct block_profile *block, struct warp_clock *clock)
{
    const struct chip *chip = block->profile->chip;
    uint64_t chain = clock->last - clock->begin, slots = clock->slots, end = clock->last;

    clock->used[PIPE_ISSUE] = slots;
    clock->used[PIPE_ISSUE] = (uint64_t)issue_slots(chip, clock->used);
    for (int i = 0; i < PIPES; i++) {
        if (clock->used[i] > 0) {
            end = later(end, use_pipe(block, clock, i, clock->used[i], clock->begin));
            clock->used[i] = 0;
        }
    }
    end += (uint64_t)(chip->exposed * (double)(chain < slots ? chain : slots));
    clock->slots = 0;
    clock->begin = clock->last = end;
    return end;
}

/* What no instruction of a stretch is moved over. */
static bool ends_stretch(const struct op *op, const struct cost *cost)
{
    return op->class == CLASS_CONTROL || op->class == CLASS_BARRIER || op->class == CLASS_FENCE ||
           (cost->effect != EFFECT_NONE && cost->effect != EFFECT_START &&
            cost->effect != EFFECT_COMMIT);
}

static uint64_t *meeting_of(struct block_profile *block, struct warp_clock *clock, int barrier)
{
    uint32_t number = clock->met[barrier];
    struct meeting *meeting = &block->meetings[barrier][number % 2];

    if (meeting->number != number) {
        *meeting = (struct meeting){.number = number};
    }
    return &meeting->latest;
}

static void come_to_barrier(struct block_profile *block, struct warp_clock *clock,
                            const struct cost *cost, uint64_t at)
{
    uint64_t *latest = meeting_of(block, clock, cost->barrier);

    *latest = later(*latest, at);
}

void profile_op_waits(struct warp *warp, const struct op *op, lanes active)
{
    struct block_profile *block = warp->block->profile;
    const struct cost *cost = &block->profile->costs[op - warp->machine->program->ops];
    struct warp_clock *clock = &block->warps[warp->index];

    (void)active;
    if (cost->effect == EFFECT_MEET && clock->waits != op) {
        clock->waits = op;
        come_to_barrier(block, clock, cost,
                        operands_ready(clock, cost, stretch_end(block, clock)));
    }
}

static void commit_group(struct started *started)
{
    if (started->count == GROUPS_MAX) {
        started->groups[1] = later(started->groups[0], started->groups[1]);
        memmove(started->groups, started->groups + 1, (GROUPS_MAX - 1) * sizeof *started->groups);
        started->count--;
    }
    started->groups[started->count++] = started->open;
    started->open = 0;
}

static uint64_t await_groups(struct started *started, int groups, uint64_t at)
{
    int done = started->count - groups > 0 ? started->count - groups : 0;

    for (int i = 0; i < done; i++) {
        at = later(at, started->groups[i]);
    }
    memmove(started->groups, started->groups + done,
            (size_t)(started->count - done) * sizeof *started->groups);
    started->count -= done;
    return at;
}

static uint64_t meeting_cycles(const struct block_profile *block, const struct cost *cost)
{
    const int *latency = block->profile->chip->latency;
    int warps = cost->groups > 0 ? cost->groups : block->warp_count;

    return (uint64_t)(latency[LATENCY_BARRIER] + warps * latency[LATENCY_BARRIER_WARP]);
}

/* What the op does to the clocks; returns when the warp may go on to its next. */
static uint64_t take_effect(struct block_profile *block, struct warp_clock *clock,
                            const struct cost *cost, uint64_t start, uint64_t result)
{
    struct started *started = &clock->started[cost->engine];

    switch (cost->effect) {
    case EFFECT_MEET:
        if (clock->waits == NULL) {
            come_to_barrier(block, clock, cost, start);
        }
        clock->waits = NULL;
        start = *meeting_of(block, clock, cost->barrier) + meeting_cycles(block, cost);
        clock->met[cost->barrier]++;
        return start;
    case EFFECT_ARRIVE:
        come_to_barrier(block, clock, cost, start);
        clock->met[cost->barrier]++;
        return start;
    case EFFECT_START:
        started->open = later(started->open, result);
        return start;
    case EFFECT_COMMIT: commit_group(started); return start;
    case EFFECT_AWAIT: return await_groups(started, cost->groups, start);
    case EFFECT_UNTIL:
        start = later(start, clock->until);
        clock->until = 0;
        return start;
    default: return start;
    }
}

static void add_touched(struct count *count, const struct touched *touched)
{
    count->wavefronts += touched->wavefronts;
    count->ideal += touched->ideal;
    count->sectors += touched->sectors;
    count->l2 += touched->l2;
    count->lines += touched->lines;
    count->bytes += touched->bytes;
    count->accesses += touched->shared || touched->global;
}

/* When the op begins, and with it the results that it will have. */
static uint64_t begin_op(struct block_profile *block, const struct op *op, const struct cost *cost,
                         struct warp_clock *clock, uint64_t *result)
{
    const struct chip *chip = block->profile->chip;
    const struct touched *touched = &block->touched;
    uint64_t waves = touched->wavefronts + touched->lines, start;
    enum latency latency = touched->missed   ? LATENCY_L2
                           : touched->remote ? LATENCY_REMOTE
                                             : cost->latency;

    start = operands_ready(clock, cost,
                           ends_stretch(op, cost) ? stretch_end(block, clock) : clock->begin);
    *result = cost->slots == 0
                  ? start
                  : start + (uint64_t)chip->latency[latency] + (waves > 0 ? waves - 1 : 0);
    clock->last = later(clock->last, start);
    clock->slots += (uint64_t)cost->slots;
    if (cost->effect == EFFECT_START && cost->engine != ENGINE_COPY) { /* the warp goes on */
        uint64_t done = use_pipe(block, clock, cost->pipe, cost->units + waves, start);

        if (cost->operands > 0) {
            done = later(done, use_pipe(block, clock, PIPE_SHARED, cost->operands, start));
        }
        *result += done - start;
    } else {
        clock->used[cost->pipe] += cost->units + waves;
        clock->used[PIPE_L2] += touched->l2;
    }
    return start;
}

/* Lanes come one by one to an mbarrier: five a cycle. */
uint64_t profile_arrival(struct warp *warp, int lanes_coming)
{
    enum { LANES_A_CYCLE = 5 };
    struct block_profile *block = warp->block->profile;
    struct warp_clock *clock = &block->warps[warp->index];

    return use_pipe(block, clock, PIPE_SHARED,
                    (uint64_t)(lanes_coming + LANES_A_CYCLE - 1) / LANES_A_CYCLE,
                    stretch_end(block, clock));
}

uint64_t profile_landing(struct warp *warp)
{
    struct block_profile *block = warp->block->profile;
    struct warp_clock *clock = &block->warps[warp->index];
    struct touched *touched = &block->touched;
    uint64_t sectors = touched->l2 - touched->sent;

    touched->sent = touched->l2;
    return use_pipe(block, clock, PIPE_L2, sectors, later(clock->begin, clock->last)) +
           (uint64_t)block->profile->chip->latency[LATENCY_BULK];
}

uint64_t profile_copies_landed(const struct warp *warp)
{
    const struct started *started =
        &warp->block->profile->warps[warp->index].started[ENGINE_COPY];
    uint64_t latest = started->open;

    for (int i = 0; i < started->count; i++) {
        latest = later(latest, started->groups[i]);
    }
    return latest;
}

void profile_until(struct warp *warp, uint64_t time)
{
    struct warp_clock *clock = &warp->block->profile->warps[warp->index];

    clock->until = later(clock->until, time);
}

uint64_t profile_latency(const struct block *block, enum latency latency)
{
    return block->profile != NULL ? (uint64_t)block->profile->profile->chip->latency[latency] : 0;
}

void profile_op_done(struct warp *warp, const struct op *op, lanes active)
{
    struct block_profile *block = warp->block->profile;
    int64_t index = op - warp->machine->program->ops;
    const struct cost *cost = &block->profile->costs[index];
    struct count *count = &block->counts[index];
    struct warp_clock *clock = &block->warps[warp->index];
    uint64_t start, result;

    count->ops++;
    count->lanes += (uint64_t)__builtin_popcount(active);
    add_touched(count, &block->touched);
    start = begin_op(block, op, cost, clock, &result);
    for (int i = 0; i < cost->write_count; i++) {
        clock->ready[cost->writes[i]] = result;
    }
    start = take_effect(block, clock, cost, start, result);
    if (ends_stretch(op, cost)) {
        clock->begin = clock->last = start + (uint64_t)cost->slots;
        clock->slots = 0;
    }
    block->touched = (struct touched){0};
}

/* ---- sums ---------------------------------------------------------------------------------- */

static void add_op(const struct profile *profile, int index, struct profile_totals *totals)
{
    const struct count *count = &profile->counts[index];
    const struct cost *cost = &profile->costs[index];
    enum op_class class = profile->program->ops[index].class;

    totals->ops += count->ops;
    totals->lane_ops += count->lanes;
    totals->class_ops[class] += count->ops;
    totals->class_lanes[class] += count->lanes;
    totals->busy[PIPE_ISSUE] += count->ops * (uint64_t)cost->slots;
    totals->busy[cost->pipe] += count->ops * cost->units;
    totals->busy[PIPE_SHARED] += count->wavefronts + count->lines + count->ops * cost->operands;
    totals->busy[PIPE_L2] += count->l2;
    totals->shared_wavefronts += count->wavefronts;
    totals->shared_ideal += count->ideal;
    totals->shared_accesses += count->wavefronts > 0 ? count->accesses : 0;
    totals->global_sectors += count->sectors;
    totals->global_accesses += count->sectors > 0 ? count->accesses : 0;
    totals->global_bytes += count->bytes;
    totals->tensor_flops += count->ops * cost->flops;
    totals->barriers += cost->effect == EFFECT_MEET ? count->ops : 0;
}

void profile_totals(const struct profile *profile, struct profile_totals *totals)
{
    *totals = (struct profile_totals){
        .blocks = profile->blocks, .length = profile->length, .length_max = profile->length_max};
    for (int i = 0; i < profile->program->op_count; i++) {
        add_op(profile, i, totals);
    }
}

static int compare_lines(const void *a, const void *b)
{
    const struct profile_line *x = a, *y = b;

    return x->ops != y->ops ? (x->ops < y->ops ? 1 : -1) : x->line - y->line;
}

/* The entry of a line; a new one where there is none. */
static struct profile_line *line_of(struct profile_line *lines, int *count, const char *file,
                                    int line)
{
    for (int i = 0; i < *count; i++) {
        if (lines[i].line == line && strcmp(lines[i].file, file) == 0) {
            return &lines[i];
        }
    }
    lines[*count] = (struct profile_line){.file = file, .line = line};
    return &lines[(*count)++];
}

int profile_lines(const struct profile *profile, struct profile_line *lines, int room)
{
    const struct code *program = profile->program;
    struct profile_line *all = xcalloc((size_t)program->op_count + 1, sizeof *all);
    int count = 0;

    for (int i = 0; i < program->op_count; i++) {
        const struct ptx_instruction *text = program->ops[i].text;
        bool known = text != NULL && text->source_line > 0 && text->file > 0 &&
                     text->file < program->module->file_count &&
                     program->module->files[text->file] != NULL;

        if (known && profile->counts[i].ops > 0) {
            struct profile_line *line =
                line_of(all, &count, program->module->files[text->file], text->source_line);
            line->ops += profile->counts[i].ops * (uint64_t)profile->costs[i].slots;
            line->shared_wavefronts += profile->counts[i].wavefronts;
            line->l2_sectors += profile->counts[i].l2;
        }
    }
    qsort(all, (size_t)count, sizeof *all, compare_lines);
    count = count < room ? count : room;
    memcpy(lines, all, (size_t)count * sizeof *lines);
    free(all);
    return count;
}
