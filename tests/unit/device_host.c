#define _GNU_SOURCE /* memmem */
#include "device_host.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "fitness/device.h"
#include "fitness/duel.h"
#include "fitness/inputs.h"
#include "fitness/reference.h"

size_t host_memory_max = (size_t)1 << 40;

enum rounding { KEEP, TO_F16, TO_BF16 };

enum bug {
    NO_BUG,
    DROP_LAST_KEY,
    DROP_EDGE_KEY,
    DROP_TAIL,
    DROP_NEEDLE,
    IGNORE_CAUSAL,
    SHIFT_MASK,
    SWAP_KV,
    MEAN_OF_V,
    NO_MAX,
    NO_SCALE,
    WRONG_KV_HEAD,
    ONE_ELEMENT_OFF,
    SMALL_HEAD_OFF,
    TRUNCATE_OUTPUT,
    WRITE_PAST,
    WRITE_BEFORE,
    WRITE_FAR,
    WRITE_INPUT,
    WORKSPACE_PAST,
    WORKSPACE_DIRTY,
    WORKSPACE_TRUSTED,
    LEAVE_ROW,
    LEAVE_ELEMENT,
    DO_NOTHING,
    STOP_LATER,
    CACHE,
    FLICKER,
    MAKE_NAN,
    LSE_BASE_TWO,
    LSE_UNWRITTEN,
    TOO_FAST,
    IDLE_IN_GRAPHS,
    IDLE_WHILE_TIMED,
    KEEPS_ANSWERS,
    ROW_OFF,
    LATE,
    NEVER_LATE,
    NO_TWIN,
    RETURN_REFUSED,
    RETURN_ILLEGAL,
    RETURN_TRAPPED,
    RETURN_LOST,
};

struct variant {
    struct host_variant public;
    int64_t tile;    /* keys per online softmax step */
    bool backward;   /* keys from last to first */
    int splits;      /* ranges of keys, merged at the end */
    enum rounding p; /* of the weights */
    bool half_scores, half_sums;
    enum bug bug;
};

#define RIGHT(name, problem)                                                                       \
    {                                                                                              \
        name, NUMERICS_FP32, VERDICT_PASS, NULL, problem                                           \
    }
#define RIGHT16(name)                                                                              \
    {                                                                                              \
        name, NUMERICS_FP16, VERDICT_PASS, NULL, NULL                                              \
    }
#define WRONG(name, verdict, says, problem)                                                        \
    {                                                                                              \
        name, NUMERICS_FP32, VERDICT_##verdict, says, problem                                      \
    }

/* `p` TO_F16 means: to the problem's own type. */
static const struct variant variants[] = {
    {RIGHT("right", NULL), 64, false, 1, TO_F16, false, false, NO_BUG},
    {RIGHT("right_backward", NULL), 32, true, 1, TO_F16, false, false, NO_BUG},
    {RIGHT("right_small_tiles", NULL), 16, false, 1, TO_F16, false, false, NO_BUG},
    {RIGHT("right_key_by_key", NULL), 1, false, 1, TO_F16, false, false, NO_BUG},
    {RIGHT("right_exact_weights", NULL), 64, false, 1, KEEP, false, false, NO_BUG},
    {RIGHT("right_split", NULL), 32, false, 3, TO_F16, false, false, NO_BUG},
    {RIGHT16("right_half"), 64, false, 1, TO_F16, true, true, NO_BUG},
    {RIGHT16("right_half_backward"), 128, true, 1, TO_F16, true, true, NO_BUG},
    {RIGHT16("right_half_scores"), 64, false, 1, TO_F16, true, false, NO_BUG},
    {WRONG("half_called_single", WRONG, "", NULL), 64, false, 1, TO_F16, true, true, NO_BUG},
    {WRONG("half_scores_called_single", WRONG, "", NULL), 64, false, 1, TO_F16, true, false,
     NO_BUG},
    {WRONG("half_sums_called_single", WRONG, "", "1x4x128x64"), 128, false, 1, TO_F16, false, true,
     NO_BUG},
    {WRONG("bf16_weights", WRONG, "", NULL), 64, false, 1, TO_BF16, false, false, NO_BUG},
    {WRONG("drop_last_key", WRONG, "off by", NULL), 64, false, 1, TO_F16, false, false,
     DROP_LAST_KEY},
    {WRONG("drop_edge_key", WRONG, "off by", NULL), 64, false, 1, TO_F16, false, false,
     DROP_EDGE_KEY},
    {WRONG("drop_tail", WRONG, "off by", "1x2x70x32"), 64, false, 1, TO_F16, false, false,
     DROP_TAIL},
    {WRONG("drop_one_key_of_one_row", WRONG, "off by", NULL), 64, false, 1, TO_F16, false, false,
     DROP_NEEDLE},
    {WRONG("ignore_causal", WRONG, "off by", "1x2x64x32:causal"), 64, false, 1, TO_F16, false,
     false, IGNORE_CAUSAL},
    {WRONG("shift_mask", WRONG, "off by", "1x2x64x32:causal"), 64, false, 1, TO_F16, false, false,
     SHIFT_MASK},
    {WRONG("swap_kv", WRONG, "off by", NULL), 64, false, 1, TO_F16, false, false, SWAP_KV},
    {WRONG("mean_of_v", WRONG, "off by", NULL), 64, false, 1, TO_F16, false, false, MEAN_OF_V},
    {WRONG("no_max", WRONG, "not finite", NULL), 64, false, 1, KEEP, false, false, NO_MAX},
    {WRONG("no_scale", WRONG, "off by", NULL), 64, false, 1, TO_F16, false, false, NO_SCALE},
    {WRONG("wrong_kv_head", WRONG, "off by", "1x4/2x40x32"), 64, false, 1, TO_F16, false, false,
     WRONG_KV_HEAD},
    {WRONG("one_element_off", WRONG, "off by", NULL), 64, false, 1, TO_F16, false, false,
     ONE_ELEMENT_OFF},
    {WRONG("row_off", WRONG, "off by", NULL), 64, false, 1, TO_F16, false, false, ROW_OFF},
    {WRONG("small_head_off", WRONG, "off by", "1x4x64x32"), 64, false, 1, TO_F16, false, false,
     SMALL_HEAD_OFF},
    {WRONG("truncate_output", WRONG, "less exact", "1x8x128x64"), 64, false, 1, TO_F16, false,
     false, TRUNCATE_OUTPUT},
    {WRONG("write_past", OUT_OF_BOUNDS, "past the end of the output", NULL), 64, false, 1, TO_F16,
     false, false, WRITE_PAST},
    {WRONG("write_before", OUT_OF_BOUNDS, "before the output", NULL), 64, false, 1, TO_F16, false,
     false, WRITE_BEFORE},
    {WRONG("write_far", OUT_OF_BOUNDS, "before K", NULL), 64, false, 1, TO_F16, false, false,
     WRITE_FAR},
    {WRONG("write_input", OUT_OF_BOUNDS, "input K, at byte 6", NULL), 64, false, 1, TO_F16, false,
     false, WRITE_INPUT},
    {WRONG("workspace_past", OUT_OF_BOUNDS, "1 bytes past the end of workspace 0", NULL), 64, false,
     1, TO_F16, false, false, WORKSPACE_PAST},
    {WRONG("workspace_dirty", INVALID, "zero_once", NULL), 64, false, 1, TO_F16, false, false,
     WORKSPACE_DIRTY},
    {WRONG("workspace_trusted", WRONG, "", NULL), 64, false, 1, TO_F16, false, false,
     WORKSPACE_TRUSTED},
    {WRONG("leave_row", WRONG, "never written", NULL), 64, false, 1, TO_F16, false, false,
     LEAVE_ROW},
    {WRONG("leave_element", WRONG, "1 of ", NULL), 64, false, 1, TO_F16, false, false,
     LEAVE_ELEMENT},
    {WRONG("do_nothing", WRONG, "never written", NULL), 64, false, 1, TO_F16, false, false,
     DO_NOTHING},
    {WRONG("stop_later", WRONG, "never written", NULL), 64, false, 1, TO_F16, false, false,
     STOP_LATER},
    {WRONG("cache", WRONG, "off by", NULL), 64, false, 1, TO_F16, false, false, CACHE},
    {WRONG("flicker", UNSTABLE, "from one launch to another", NULL), 64, false, 1, TO_F16, false,
     false, FLICKER},
    {WRONG("make_nan", WRONG, "not finite", NULL), 64, false, 1, TO_F16, false, false, MAKE_NAN},
    {WRONG("lse_base_two", WRONG, "log-sum-exp", "1x2x40x32:lse"), 64, false, 1, TO_F16, false,
     false, LSE_BASE_TWO},
    {WRONG("lse_unwritten", WRONG, "log-sum-exps were never written", "1x2x40x32:lse"), 64, false,
     1, TO_F16, false, false, LSE_UNWRITTEN},
    {RIGHT("too_fast", NULL), 64, false, 1, TO_F16, false, false, TOO_FAST}, /* but for its time */
    {RIGHT("idle_in_graphs", NULL), 64, false, 1, TO_F16, false, false, IDLE_IN_GRAPHS},
    {RIGHT("idle_while_timed", NULL), 64, false, 1, TO_F16, false, false, IDLE_WHILE_TIMED},
    {RIGHT("keeps_answers", NULL), 64, false, 1, TO_F16, false, false, KEEPS_ANSWERS},
    {RIGHT("late", NULL), 64, false, 1, TO_F16, false, false, LATE}, /* but for a race */
    {RIGHT("never_late", NULL), 64, false, 1, TO_F16, false, false, NEVER_LATE},
    {RIGHT("no_twin", NULL), 64, false, 1, TO_F16, false, false, NO_TWIN},
    {WRONG("refused", NO_LAUNCH, "refused", NULL), 64, false, 1, TO_F16, false, false,
     RETURN_REFUSED},
    {WRONG("illegal", OUT_OF_BOUNDS, "illegal address", NULL), 64, false, 1, TO_F16, false, false,
     RETURN_ILLEGAL},
    {WRONG("trapped", CRASH, "trapped", NULL), 64, false, 1, TO_F16, false, false, RETURN_TRAPPED},
    {WRONG("lost", CRASH, "took the device down", NULL), 64, false, 1, TO_F16, false, false,
     RETURN_LOST},
};

const struct host_variant *host_variant_next(int *at)
{
    int count = (int)(sizeof(variants) / sizeof(variants[0]));

    return *at < count ? &variants[(*at)++].public : NULL;
}

struct device_module {
    const struct variant *variant;
    uint32_t delay; /* of a twin */
    int64_t calls;
    bool idle;       /* while it is timed, if that is its way */
    uint16_t *cache; /* the output of the first call, for the kernel that cheats with it */
};

/* A call as a kernel sees it. */
struct call {
    const struct variant *variant;
    struct problem_args p;
    enum dtype dtype;
    bool causal;
    const uint16_t *q, *k, *v;
    uint16_t *o;
    float *lse;
};

/* The row's state of an online softmax. */
struct state {
    float max, sum, out[512];
};

static float rounded(enum rounding to, enum dtype own, float x)
{
    enum dtype dtype = to == TO_BF16 ? DTYPE_BF16 : own;

    return to == KEEP ? x : (float)half_to_double(dtype, half_from_double(dtype, x));
}

static float rounded_half(float x)
{
    return (float)half_to_double(DTYPE_F16, half_from_double(DTYPE_F16, x));
}

/* half_to_double for every pattern, since this is what all the time would go to. */
static float widened(enum dtype dtype, uint16_t bits)
{
    static float table[2][1 << 16];
    static bool made;

    for (uint32_t i = 0; !made && i < 1 << 16; i++) {
        table[DTYPE_F16][i] = (float)half_to_double(DTYPE_F16, (uint16_t)i);
        table[DTYPE_BF16][i] = (float)half_to_double(DTYPE_BF16, (uint16_t)i);
    }
    made = true;
    return table[dtype][bits];
}

static float score(const struct call *c, const uint16_t *q, const uint16_t *k)
{
    float sum = 0;

    for (int d = 0; d < c->p.head_dim; d++) {
        sum += widened(c->dtype, q[d]) * widened(c->dtype, k[d]);
        if (c->variant->half_scores && (d % 16 == 15 || d == c->p.head_dim - 1)) {
            sum = rounded_half(sum);
        }
    }
    return c->variant->bug == NO_SCALE ? sum : sum * c->p.scale;
}

/* Is the pair left out by a bug that drops keys? */
static bool dropped(const struct call *c, int64_t i, int64_t j)
{
    switch (c->variant->bug) {
    case DROP_LAST_KEY: return j == c->p.kv_len - 1 && j > 0;
    case DROP_EDGE_KEY: return j == 32 || (c->p.kv_len <= 32 && j == 8);
    case DROP_TAIL: return j >= c->p.kv_len / 64 * 64;
    case DROP_NEEDLE: return i == c->p.q_len - 1 && j == c->p.kv_len / 2 && j > 0;
    default: return false;
    }
}

/* Adds keys [first, end) as one tile. Scores of keys that the row does not see are not computed. */
static void add_tile(const struct call *c, int64_t i, const uint16_t *q, const uint16_t *k,
                     const uint16_t *v, int64_t first, int64_t end, struct state *s)
{
    float scores[128], tile[512], max = s->max;
    bool no_max = c->variant->bug == NO_MAX;

    memset(tile, 0, (size_t)c->p.head_dim * sizeof(*tile));

    for (int64_t j = first; j < end; j++) {
        float x = dropped(c, i, j) ? -INFINITY : score(c, q, k + j * c->p.k[2]);
        scores[j - first] = c->variant->bug == MEAN_OF_V ? 0 : x;
        max = fmaxf(max, scores[j - first]);
    }
    max = no_max ? 0 : max;
    if (max == -INFINITY) {
        return;
    }
    float fade = s->max == -INFINITY ? 0 : expf(s->max - max);
    s->sum *= fade;
    for (int64_t j = first; j < end; j++) {
        float p = expf(scores[j - first] - max);
        s->sum += p;
        p = rounded(c->variant->p, c->dtype, p);
        for (int d = 0; d < c->p.head_dim; d++) {
            tile[d] += p * widened(c->dtype, v[j * c->p.v[2] + d]);
            if (c->variant->half_sums && ((j - first) % 16 == 15 || j == end - 1)) {
                tile[d] = rounded_half(tile[d]);
            }
        }
    }
    for (int d = 0; d < c->p.head_dim; d++) {
        s->out[d] = s->out[d] * fade + tile[d];
    }
    s->max = max;
}

static void merge(const struct call *c, const struct state *part, struct state *s)
{
    float max = fmaxf(part->max, s->max);

    if (max == -INFINITY) {
        return;
    }
    float a = expf(s->max - max), b = expf(part->max - max);
    s->sum = s->sum * a + part->sum * b;
    for (int d = 0; d < c->p.head_dim; d++) {
        s->out[d] = s->out[d] * a + part->out[d] * b;
    }
    s->max = max;
}

static void add_range(const struct call *c, int64_t i, const uint16_t *q, const uint16_t *k,
                      const uint16_t *v, int64_t first, int64_t end, struct state *s)
{
    int64_t size = c->variant->tile, tiles = (end - first + size - 1) / size;

    for (int64_t t = 0; t < tiles; t++) {
        int64_t start = first + (c->variant->backward ? tiles - 1 - t : t) * size;
        add_tile(c, i, q, k, v, start, start + size < end ? start + size : end, s);
    }
}

static int64_t seen_keys(const struct call *c, int64_t i)
{
    int64_t end = c->p.kv_len;

    if (c->causal && c->variant->bug != IGNORE_CAUSAL) {
        end = i + c->p.kv_len - c->p.q_len + 1 + (c->variant->bug == SHIFT_MASK);
    }
    return end < 0 ? 0 : end > c->p.kv_len ? c->p.kv_len : end;
}

static void attend_row(const struct call *c, int64_t b, int64_t h, int64_t i)
{
    int64_t group = c->p.heads / c->p.kv_heads, keys = seen_keys(c, i);
    int64_t kv = c->variant->bug == WRONG_KV_HEAD ? h % c->p.kv_heads : h / group;
    const uint16_t *q = c->q + b * c->p.q[0] + h * c->p.q[1] + i * c->p.q[2];
    const uint16_t *k = c->k + b * c->p.k[0] + kv * c->p.k[1];
    const uint16_t *v = c->v + b * c->p.v[0] + kv * c->p.v[1];
    uint16_t *o = c->o + b * c->p.o[0] + h * c->p.o[1] + i * c->p.o[2];
    struct state s = {.max = -INFINITY};

    for (int part = 0; part < c->variant->splits; part++) {
        struct state own = {.max = -INFINITY};
        add_range(c, i, q, k, v, keys * part / c->variant->splits,
                  keys * (part + 1) / c->variant->splits, &own);
        merge(c, &own, &s);
    }
    for (int d = 0; d < c->p.head_dim; d++) {
        double x = keys == 0 ? 0 : (double)(s.out[d] / s.sum);
        o[d] = half_from_double(c->dtype, x);
        if (c->variant->bug == TRUNCATE_OUTPUT && fabs(half_to_double(c->dtype, o[d])) > fabs(x)) {
            o[d]--;
        }
    }
    if (c->lse != NULL) {
        float base = c->variant->bug == LSE_BASE_TWO ? logf(2) : 1;
        c->lse[(b * c->p.heads + h) * c->p.q_len + i] =
            keys == 0 ? -INFINITY : (s.max + logf(s.sum)) / base;
    }
}

static void attend(const struct call *c)
{
    for (int64_t b = 0; b < c->p.batch; b++) {
        for (int64_t h = 0; h < c->p.heads; h++) {
            for (int64_t i = 0; i < c->p.q_len; i++) {
                attend_row(c, b, h, i);
            }
        }
    }
}

static int64_t output_elements(const struct problem_args *p)
{
    return (int64_t)p->batch * p->heads * p->q_len * p->head_dim;
}

/* Bugs that spoil a right answer, or what lies around it. `last` is the last element. */
static void spoil(struct device_module *module, const struct call *c, const uint16_t *before,
                  const struct device_buffers *buffers, int64_t workspace_bytes)
{
    int64_t last = output_elements(&c->p) - 1;
    int64_t tail = last - c->p.head_dim + 1;
    unsigned char *workspace = (unsigned char *)(uintptr_t)buffers->workspaces[0];

    switch (module->variant->bug) {
    case ONE_ELEMENT_OFF: /* by 20 to 41 steps of the type: one or two are nobody's fault */
        c->o[last / 2] = half_from_double(c->dtype, half_to_double(c->dtype, c->o[last / 2]) *
                                                        (c->dtype == DTYPE_BF16 ? 1.16 : 1.02));
        break;
    case ROW_OFF: /* it has its neighbour's answer */
        memcpy(c->o + (tail / c->p.head_dim / 2 - 20) * c->p.head_dim, c->o + tail,
               (size_t)c->p.head_dim * 2);
        break;
    case SMALL_HEAD_OFF: /* a hundredth, which is nothing where another head is 64 times as large */
        for (int64_t e = 0; e < c->p.q_len * c->p.head_dim; e++) {
            c->o[e] = half_from_double(c->dtype, half_to_double(c->dtype, c->o[e]) * 1.004);
        }
        break;
    case WRITE_PAST: c->o[last + 1] = c->o[last]; break;
    case WRITE_BEFORE: c->o[-7] = 0; break;
    case WRITE_FAR: memset((unsigned char *)(uintptr_t)buffers->k - 5000, 0, 100); break;
    case WRITE_INPUT: ((uint16_t *)(uintptr_t)buffers->k)[3] ^= 1; break;
    case WORKSPACE_PAST: workspace[workspace_bytes] ^= 1; break;
    case WORKSPACE_DIRTY: workspace[workspace_bytes - 1] = 1; break;
    case WORKSPACE_TRUSTED:
        if (workspace[2] != 0) {
            c->o[0] = half_from_double(c->dtype, 1);
        }
        break;
    case LEAVE_ROW: memcpy(c->o + tail, before + tail, (size_t)c->p.head_dim * 2); break;
    case LEAVE_ELEMENT: c->o[last - 1] = before[last - 1]; break;
    case FLICKER: c->o[last] = (uint16_t)(c->o[last] + (module->calls % 3 == 2)); break;
    case LATE: c->o[last] = (uint16_t)(c->o[last] + (module->delay > 1000)); break;
    case NEVER_LATE:
        if (module->delay > 0) {
            memcpy(c->o + tail, before + tail, (size_t)c->p.head_dim * 2);
        }
        break;
    case MAKE_NAN: c->o[last] = 0x7fff; break;
    case STOP_LATER:
        if (module->calls > 3) {
            memcpy(c->o, before, (size_t)(last + 1) * 2);
        }
        break;
    case CACHE:
        if (module->cache == NULL) {
            module->cache = malloc((size_t)(last + 1) * 2);
            memcpy(module->cache, c->o, (size_t)(last + 1) * 2);
        }
        memcpy(c->o, module->cache, (size_t)(last + 1) * 2);
        break;
    default: break;
    }
}

bool device_open(struct arena *arena, const char *spec, struct hello *hello, struct err *err)
{
    (void)arena;
    if (strcmp(spec, "0") != 0) {
        return err_set(err, ERR_DEVICE, "there is no host device '%s'", spec);
    }
    *hello = (struct hello){.protocol = JOB_PROTOCOL,
                            .role = ROLE_JUDGE,
                            .backend = "fake",
                            .version = "gate on host memory",
                            .device = "host",
                            .device_id = "",
                            .device_arch = 90,
                            .device_smem_max = 48 << 10,
                            .device_sms = 1};
    return true;
}

void device_close(void) {}

bool device_is_worn(void) { return false; }

enum device_status device_load(const struct judge_image *image, struct device_module **module,
                               struct err *err)
{
    for (size_t i = 0; i < sizeof(variants) / sizeof(variants[0]); i++) {
        if (strcmp(variants[i].public.name, image->program.kernels[0].name) == 0) {
            *module = calloc(1, sizeof(**module));
            (*module)->variant = &variants[i];
            return DEVICE_OK;
        }
    }
    err_set(err, ERR_USER, "no entry '%s'", image->program.kernels[0].name);
    return DEVICE_REFUSED;
}

/* A twin is the variant itself, which knows that it is being delayed. */
enum device_status device_load_twin(const struct judge_image *image, const char *ptx, size_t bytes,
                                    struct device_module **twin, struct err *err)
{
    enum device_status status = device_load(image, twin, err);

    if (memmem(ptx, bytes, "evo_jitter", 10) == NULL) {
        fprintf(stderr, "device_host: the text is no twin\n");
        abort();
    }
    if (status == DEVICE_OK && (*twin)->variant->bug == NO_TWIN) {
        device_unload(*twin);
        *twin = NULL;
        err_set(err, ERR_DEVICE, "the text is too new");
        return DEVICE_UNSUPPORTED;
    }
    return status;
}

enum device_status device_twin_set(struct device_module *twin, const uint32_t words[TWIN_WORDS],
                                   struct err *err)
{
    (void)err;
    twin->delay = words[0];
    return DEVICE_OK;
}

void device_unload(struct device_module *module)
{
    if (module != NULL) {
        free(module->cache);
        free(module);
    }
}

enum device_status device_alloc(size_t bytes, device_ptr *at, struct err *err)
{
    if (bytes > host_memory_max) {
        err_set(err, ERR_DEVICE, "out of device memory");
        return DEVICE_REFUSED;
    }
    *at = (device_ptr)(uintptr_t)aligned_alloc(512, (bytes + 511) / 512 * 512);
    return DEVICE_OK;
}

void device_free(device_ptr at) { free((void *)(uintptr_t)at); }

enum device_status device_write(device_ptr to, const void *from, size_t bytes, struct err *err)
{
    (void)err;
    memcpy((void *)(uintptr_t)to, from, bytes);
    return DEVICE_OK;
}

enum device_status device_send(device_ptr to, const void *from, size_t bytes, struct err *err)
{
    return device_write(to, from, bytes, err);
}

enum device_status device_read(void *to, device_ptr from, size_t bytes, struct err *err)
{
    (void)err;
    memcpy(to, (const void *)(uintptr_t)from, bytes);
    return DEVICE_OK;
}

enum device_status device_fill(device_ptr to, uint32_t pattern, size_t bytes, struct err *err)
{
    (void)err;
    uint32_t *words = (uint32_t *)(uintptr_t)to;
    for (size_t i = 0; i < bytes / 4; i++) {
        words[i] = pattern;
    }
    return DEVICE_OK;
}

void device_bound(device_ptr at, size_t offset, size_t bytes)
{
    (void)at;
    (void)offset;
    (void)bytes;
}

void device_watch(bool closely) { (void)closely; }

/* So slow a device that only what takes no time at all is impossible on it. */
struct physics_device device_peaks(void)
{
    return (struct physics_device){.arch = 90, .sms = 1, .clock_mhz = 1000};
}

int device_sets(const struct problem *problem)
{
    (void)problem;
    return 4;
}

enum device_status device_scrub_shared(uint32_t pattern, struct err *err)
{
    (void)pattern;
    (void)err;
    return DEVICE_OK;
}

static enum device_status refuse(enum bug bug, struct err *err)
{
    static const struct {
        enum bug bug;
        enum device_status status;
    } ends[] = {{RETURN_REFUSED, DEVICE_REFUSED},
                {RETURN_ILLEGAL, DEVICE_ILLEGAL},
                {RETURN_TRAPPED, DEVICE_TRAPPED},
                {RETURN_LOST, DEVICE_LOST}};

    for (size_t i = 0; i < sizeof(ends) / sizeof(ends[0]); i++) {
        if (ends[i].bug == bug) {
            err_set(err, ERR_DEVICE, "the host says so");
            return ends[i].status;
        }
    }
    return DEVICE_OK;
}

/* No variant loads through a map. */
enum device_status device_encode_maps(const struct plan *plan, struct device_buffers *buffers,
                                      struct err *err)
{
    (void)buffers;
    (void)err;
    return plan->map_count == 0 ? DEVICE_OK : DEVICE_REFUSED;
}

/* A kernel is compiled for one type and mask; here both stand in the first kernel's smem_bytes. */
enum device_status device_call(struct device_module *module, const struct plan *plan,
                               const struct device_buffers *buffers, struct err *err)
{
    struct call c = {.variant = module->variant,
                     .p = buffers->problem,
                     .dtype = plan->kernels[0].smem_bytes & 1 ? DTYPE_BF16 : DTYPE_F16,
                     .causal = plan->kernels[0].smem_bytes & 2,
                     .q = (const uint16_t *)(uintptr_t)buffers->q,
                     .k = (const uint16_t *)(uintptr_t)buffers->k,
                     .v = (const uint16_t *)(uintptr_t)buffers->v,
                     .o = (uint16_t *)(uintptr_t)buffers->o,
                     .lse = (float *)(uintptr_t)buffers->lse};
    size_t bytes = (size_t)output_elements(&c.p) * 2;
    enum device_status status = refuse(module->variant->bug, err);

    module->calls++;
    if (status != DEVICE_OK || module->variant->bug == DO_NOTHING ||
        (module->variant->bug == IDLE_WHILE_TIMED && module->idle)) {
        return status;
    }
    for (int w = 0; w < plan->workspace_count; w++) {
        if (plan->workspaces[w].kind == WORKSPACE_ZERO_CALL) {
            memset((void *)(uintptr_t)buffers->workspaces[w], 0, (size_t)plan->workspaces[w].bytes);
        }
    }
    if (module->variant->bug == SWAP_KV) {
        const uint16_t *k = c.k;
        c.k = c.v;
        c.v = k;
    }
    if (module->variant->bug == LSE_UNWRITTEN) {
        c.lse = NULL;
    }
    uint16_t *before = malloc(bytes);
    memcpy(before, c.o, bytes);
    attend(&c);
    spoil(module, &c, before, buffers, plan->workspace_count > 0 ? plan->workspaces[0].bytes : 0);
    free(before);
    return DEVICE_OK;
}

double device_occupancy(struct device_module *module, const struct plan *plan)
{
    (void)module;
    (void)plan;
    return NAN;
}

enum device_status device_measure(struct arena *arena, const struct measure_request *request,
                                  struct measured *measured, struct err *err)
{
    enum { CALLS = 8 };
    enum device_status status = DEVICE_OK;
    struct timing *timing = &measured->timing;
    const struct measure_watch *watch = &request->watch;
    double most_us = 0;

    *measured = (struct measured){.sm_clock_mhz = NAN, .power_w = NAN};
    request->module->idle = true;
    timing->span_us = arena_alloc(arena, CALLS * sizeof(double));
    timing->graph_us = arena_alloc(arena, CALLS * sizeof(double));
    timing->tick_us = 1;
    for (int i = 0; i < CALLS && status == DEVICE_OK; i++) {
        int64_t start = clock_now_us();
        status = device_call(request->module, request->plan, &request->sets[i % request->set_count],
                             err);
        double us = (double)(clock_now_us() - start) + 1;
        us = request->module->variant->bug == TOO_FAST ? 0.01 : us;
        most_us = us > most_us ? us : most_us;
        timing->span_us[timing->span_count++] = us;
        timing->graph_us[timing->graph_count++] =
            request->module->variant->bug == IDLE_IN_GRAPHS ? us / 10 : us;
    }
    if (status == DEVICE_OK && watch->look != NULL) {
        status = watch->look(watch->context, request->set_count, err);
    }
    request->module->idle = false;
    if (status == DEVICE_OK && watch->renew != NULL) {
        status = watch->renew(watch->context, request->set_count, 0, err);
    }
    for (int i = 0; watch->renew != NULL && i < request->set_count && status == DEVICE_OK; i++) {
        status = device_call(request->module, request->plan, &request->sets[i], err);
    }
    measured->fresh_us = request->module->variant->bug == KEEPS_ANSWERS ? 10 * most_us : 1;
    return status;
}

/* What a call did is what the test says: the number of the counter, and of the call. */
bool host_counters_refused, host_samples_refused;
int host_counted, host_sampled;

bool device_counts(void) { return true; }

enum device_status device_count(enum counter_set set, const struct device_count *calls, int count,
                                double (*values)[COUNTERS_MAX], struct err *err)
{
    enum device_status status = DEVICE_OK;
    int counters;

    host_counted++;
    counters_of(set, &counters);
    for (int i = 0; i < count && status == DEVICE_OK; i++) {
        status = device_call(calls[i].module, calls[i].plan, calls[i].set, err);
        for (int k = 0; k < counters; k++) {
            values[i][k] = k == 1 ? NAN : 100 * i + k;
        }
    }
    if (host_counters_refused) {
        err_set(err, ERR_DEVICE, "only root may count");
        return DEVICE_REFUSED;
    }
    return status;
}

/* Of ten samples six are at one instruction. */
enum device_status device_sample(const struct device_count *call, struct stalls *stalls,
                                 struct err *err)
{
    enum device_status status = device_call(call->module, call->plan, call->set, err);

    host_sampled++;
    if (host_samples_refused) {
        err_set(err, ERR_DEVICE, "only root may look");
        return DEVICE_REFUSED;
    }
    stalls_add(stalls, 1, 32, stall_find("smsp__pcsamp_warps_issue_stalled_selected"), 4);
    stalls_add(stalls, 1, 48, stall_find("smsp__pcsamp_warps_issue_stalled_barrier"), 5);
    stalls_add(stalls, 1, 48, stall_find("smsp__pcsamp_warps_issue_stalled_wait"), 1);
    return status;
}

/* Here a library is a variant of that name. */
enum device_status device_load_rival(struct arena *arena, const char *name,
                                     const struct problem *problem, struct device_module **module,
                                     struct plan *plan, struct err *err)
{
    struct judge_image image = {.program.kernels[0].name = name};

    (void)arena;
    *plan = (struct plan){.kernel_count = 1};
    plan->kernels[0].name = name;
    plan->kernels[0].smem_bytes = (problem->dtype == DTYPE_BF16) | (problem->causal ? 2 : 0);
    return device_load(&image, module, err);
}

enum device_status device_rival_choose(struct arena *arena, struct device_module *module,
                                       const struct plan *plan, const struct device_buffers *set,
                                       const char **name, struct err *err)
{
    *name = arena_printf(arena, "host, %s", module->variant->public.name);
    return device_call(module, plan, set, err);
}

enum device_status device_duel(struct arena *arena, const struct duel_request *request,
                               struct dueled *dueled, struct err *err)
{
    enum device_status status = DEVICE_OK;
    double us[2];

    *dueled = (struct dueled){.under_load = {.sm_clock_mhz = NAN, .power_w = NAN}};
    for (int i = 0; i < 2 && status == DEVICE_OK; i++) {
        int64_t start = clock_now_us();
        for (int k = 0; k < request->set_count && status == DEVICE_OK; k++) {
            status = device_call(request->sides[i].module, request->sides[i].plan,
                                 &request->sides[i].sets[k], err);
        }
        us[i] = (double)(clock_now_us() - start) + 1;
    }
    duel_constant(arena, us[0], us[1], &dueled->span);
    for (int i = 0; i < 2; i++) {
        us[i] /= request->sides[i].module->variant->bug == IDLE_IN_GRAPHS ? 10 : 1;
    }
    duel_constant(arena, us[0], us[1], &dueled->graph);
    return status;
}

void *device_host_alloc(size_t bytes) { return malloc(bytes); }

void device_host_free(void *at) { free(at); }

/* ---- the judge's own kernels, in C: the reference makes the baseline ---- */

static enum device_status host_scan(device_ptr at, size_t bytes, uint64_t key, uint32_t poison,
                                    uint32_t infinite, struct device_scan *scan, struct err *err)
{
    const uint16_t *element = (const uint16_t *)(uintptr_t)at;

    (void)err;
    *scan = (struct device_scan){.digest = key};
    for (size_t i = 0; i < bytes / 2; i++) {
        scan->digest = (scan->digest ^ element[i]) * 0x9e3779b97f4a7c15u;
        scan->poisoned += element[i] == poison;
        scan->infinite += (element[i] & infinite) == infinite;
    }
    return DEVICE_OK;
}

static enum device_status host_copy(device_ptr to, device_ptr from, size_t bytes, struct err *err)
{
    (void)err;
    memcpy((void *)(uintptr_t)to, (const void *)(uintptr_t)from, bytes);
    return DEVICE_OK;
}

static enum device_status host_gather(device_ptr from, const int64_t *offsets, int64_t rows,
                                      int64_t columns, uint16_t *to, struct err *err)
{
    (void)err;
    for (int64_t r = 0; r < rows; r++) {
        memcpy(to + r * columns, (const uint16_t *)(uintptr_t)from + offsets[r],
               (size_t)columns * sizeof *to);
    }
    return DEVICE_OK;
}

/* As the recipe says, not as inputs.c does it. */
static enum device_status host_draw(const struct problem *problem, uint64_t key,
                                    const struct device_buffers *inputs, struct err *err)
{
    struct normal_recipe recipe;

    (void)err;
    inputs_normal_recipe(problem, key, &recipe);
    const struct {
        device_ptr at;
        int64_t elements;
        uint64_t key;
    } tensors[] = {{inputs->q, problem_q_elements(problem), recipe.q},
                   {inputs->k, problem_kv_elements(problem), recipe.k},
                   {inputs->v, problem_kv_elements(problem), recipe.v}};

    for (size_t t = 0; t < sizeof tensors / sizeof *tensors; t++) {
        uint16_t *to = (uint16_t *)(uintptr_t)tensors[t].at;

        for (int64_t e = 0; e < tensors[t].elements; e++) {
            uint64_t bits = inputs_mix(tensors[t].key + (uint64_t)(e / 4)) >> e % 4 * 16;

            to[e] = (uint16_t)(recipe.table[bits & 0x7fff] | (bits & 0x8000));
        }
    }
    return DEVICE_OK;
}

static uint16_t *output_of_row(const struct problem *problem, device_ptr from, int64_t row)
{
    struct problem_args p = problem_args(problem);
    int64_t i = row % p.q_len, h = row / p.q_len % p.heads, b = row / p.q_len / p.heads;

    return (uint16_t *)(uintptr_t)from + b * p.o[0] + h * p.o[1] + i * p.o[2];
}

static double step_of(enum dtype dtype, uint16_t x)
{
    return half_to_double(dtype, (uint16_t)((x & 0x7fff) + 1)) - half_to_double(dtype, x & 0x7fff);
}

static enum device_status host_baseline(const struct problem *problem, bool halves,
                                        const struct device_buffers *in,
                                        const struct device_base *base, struct err *err)
{
    int64_t rows = problem_rows(problem), columns = problem->head_dim;
    struct inputs inputs = {(uint16_t *)(uintptr_t)in->q, (uint16_t *)(uintptr_t)in->k,
                            (uint16_t *)(uintptr_t)in->v};
    int64_t *all = malloc((size_t)rows * sizeof *all);
    double *own = malloc((size_t)(rows * (4 * columns + 3)) * sizeof *own);
    struct reference to = {
        .exact = own, .baseline = own + rows * columns, .noise = own + 2 * rows * columns};

    (void)err;
    to.lse = problem->lse ? to.noise + rows : NULL;
    to.baseline_lse = problem->lse ? to.noise + 2 * rows : NULL;
    for (int64_t r = 0; r < rows; r++) {
        all[r] = r;
    }
    reference_rows(problem, &inputs, NUMERICS_FP32, all, rows, &to, 2);
    if (halves) { /* the baseline's own class is FP32, the expectation is for FP16 */
        struct reference other = to;
        other.exact = own + rows * (2 * columns + 3);
        other.baseline = other.exact + rows * columns;
        reference_rows(problem, &inputs, NUMERICS_FP16, all, rows, &other, 2);
    }
    for (int64_t r = 0; r < rows; r++) {
        uint16_t *out = output_of_row(problem, base->out, r);
        double steps = 0;
        for (int64_t c = 0; c < columns; c++) {
            out[c] = half_from_double(problem->dtype, to.baseline[r * columns + c]);
            steps += pow(step_of(problem->dtype, out[c]), 2);
        }
        ((float *)(uintptr_t)base->expected)[r] =
            (float)hypot(to.noise[r], sqrt(steps / (double)columns / 12));
        if (problem->lse) {
            ((float *)(uintptr_t)base->lse)[r] = (float)to.baseline_lse[r];
        }
    }
    free(all);
    free(own);
    return DEVICE_OK;
}

static void worse(uint64_t *worst, double ratio, int64_t row)
{
    float value = ratio > 0 ? (float)ratio : 0;
    uint32_t bits;

    memcpy(&bits, &value, sizeof bits);
    uint64_t packed = (uint64_t)bits << 32 | (uint64_t)row;
    *worst = packed > *worst ? packed : *worst;
}

static enum device_status host_compare(const struct problem *problem,
                                       const struct device_buffers *got,
                                       const struct device_base *base, struct device_comparison *to,
                                       struct err *err)
{
    (void)err;
    *to = (struct device_comparison){0};
    for (int64_t r = 0; r < problem_rows(problem); r++) {
        const uint16_t *a = output_of_row(problem, got->o, r);
        const uint16_t *b = output_of_row(problem, base->out, r);
        double expected = (double)((const float *)(uintptr_t)base->expected)[r];
        double squares = 0, steps = 0, most = 0, n = (double)problem->head_dim;
        for (int64_t c = 0; c < problem->head_dim; c++) {
            double off =
                fabs(half_to_double(problem->dtype, a[c]) - half_to_double(problem->dtype, b[c]));
            double step = step_of(problem->dtype, b[c]);
            squares += off * off;
            steps += step * step;
            most = fmax(most, off - 2 * step);
        }
        worse(&to->element, most / expected, r);
        worse(&to->row, (sqrt(squares / n) - 2 * sqrt(steps / n)) / expected, r);
        to->difference += squares / n;
        to->expected += expected * expected;
        if (problem->lse) {
            float x = ((const float *)(uintptr_t)base->lse)[r];
            float y = ((const float *)(uintptr_t)got->lse)[r];
            worse(&to->lse, x == y ? 0 : fabs((double)y - (double)x) - 0x1p-20 * fabs((double)x),
                  r);
        }
    }
    return DEVICE_OK;
}

const struct device_auditor *device_auditor(const struct problem *problem)
{
    static const struct device_auditor auditor = {host_scan, host_copy,     host_gather,
                                                  host_draw, host_baseline, host_compare};

    (void)problem;
    return &auditor;
}
