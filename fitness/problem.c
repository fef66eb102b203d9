#include "fitness/problem.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

const char *const launch_variable_names[LAUNCH_VARIABLES] = {
    [LAUNCH_BATCH] = "batch", [LAUNCH_HEADS] = "heads",   [LAUNCH_KV_HEADS] = "kv_heads",
    [LAUNCH_Q_LEN] = "q_len", [LAUNCH_KV_LEN] = "kv_len", [LAUNCH_SMS] = "sms",
};

enum { ELEMENT_BYTES = 2 }; /* of half and of bfloat16 */

enum option { OPTION_CAUSAL, OPTION_BF16, OPTION_LSE, OPTION_BSHD, OPTIONS };

static const char *const option_names[OPTIONS] = {"causal", "bf16", "lse", "bshd"};

static bool option_on(const struct problem *problem, enum option option)
{
    const bool on[OPTIONS] = {problem->causal, problem->dtype == DTYPE_BF16, problem->lse,
                              problem->sequence_first};

    return on[option];
}

static bool malformed(const char *text, struct err *err)
{
    err_set(err, ERR_USER, "'%.120s' is not a problem", text);
    return err_hint(err,
                    "a problem is BATCHxHEADSxLENGTHxHEAD_DIM with options behind colons, such "
                    "as 1x8x512x64 or 4x32/8x1x4096x128:causal"
                    " (HEADS may be QUERY/KEY heads, LENGTH may be QUERY/KEY length; "
                    "options: causal bf16 lse bshd)");
}

/* A whole number from 1 on without leading zeros, taken off the front of *at. */
static bool take_number(const char **at, int64_t max, int64_t *value)
{
    const char *digit = *at;

    if (*digit < '1' || *digit > '9') {
        return false;
    }
    for (*value = 0; *digit >= '0' && *digit <= '9'; digit++) {
        *value = *value * 10 + (*digit - '0');
        if (*value > max) {
            *value = max + 1; /* too large, and told so when the rest was read */
        }
    }
    *at = digit;
    return true;
}

static bool take_char(const char **at, char c)
{
    if (**at != c) {
        return false;
    }
    ++*at;
    return true;
}

/* "32" or "32/8". */
static bool take_pair(const char **at, int64_t *first, int64_t *second)
{
    if (!take_number(at, PROBLEM_DIM_MAX, first)) {
        return false;
    }
    *second = *first;
    return !take_char(at, '/') || take_number(at, PROBLEM_DIM_MAX, second);
}

static bool take_option(const char **at, bool on[OPTIONS], const char *text, struct err *err)
{
    size_t length = strcspn(*at, ":");

    for (int option = 0; option < OPTIONS; option++) {
        if (strlen(option_names[option]) == length &&
            strncmp(option_names[option], *at, length) == 0) {
            if (on[option]) {
                return err_set(err, ERR_USER, "problem '%.120s': '%s' is given twice", text,
                               option_names[option]);
            }
            on[option] = true;
            *at += length;
            return true;
        }
    }
    err_set(err, ERR_USER, "problem '%.120s': unknown option '%.*s'", text,
            length < 40 ? (int)length : 40, *at);
    return err_hint(err, "the options are causal bf16 lse bshd");
}

static bool problem_check(const struct problem *problem, const char *text, struct err *err)
{
    const struct {
        const char *name;
        int64_t value, max;
    } dims[] = {
        {"the batch", problem->batch, PROBLEM_DIM_MAX},
        {"the number of heads", problem->heads, PROBLEM_DIM_MAX},
        {"the number of key heads", problem->kv_heads, PROBLEM_DIM_MAX},
        {"the query length", problem->q_len, PROBLEM_DIM_MAX},
        {"the key length", problem->kv_len, PROBLEM_DIM_MAX},
        {"the head dimension", problem->head_dim, PROBLEM_HEAD_DIM_MAX},
    };
    /* In doubles: the product of dimensions within their limits can exceed 63 bits. */
    const double each = (double)problem->batch * (double)problem->head_dim;
    const double q = each * (double)problem->heads * (double)problem->q_len;
    const double kv = each * (double)problem->kv_heads * (double)problem->kv_len;

    for (size_t i = 0; i < sizeof dims / sizeof *dims; i++) {
        if (dims[i].value > dims[i].max) {
            return err_set(err, ERR_USER, "problem '%.120s': %s is larger than %lld", text,
                           dims[i].name, (long long)dims[i].max);
        }
    }
    if (problem->heads % problem->kv_heads != 0) {
        return err_set(err, ERR_USER,
                       "problem '%.120s': %lld key heads do not divide %lld query heads", text,
                       (long long)problem->kv_heads, (long long)problem->heads);
    }
    if (fmax(q, kv) > ldexp(1, PROBLEM_ELEMENTS_LOG2_MAX)) {
        return err_set(err, ERR_USER, "problem '%.120s': a tensor of more than 2^%d elements", text,
                       PROBLEM_ELEMENTS_LOG2_MAX);
    }
    return true;
}

bool problem_parse(const char *text, struct problem *problem, struct err *err)
{
    bool on[OPTIONS] = {false};
    struct problem read = {0};
    const char *at = text;

    if (!(take_number(&at, PROBLEM_DIM_MAX, &read.batch) && take_char(&at, 'x') &&
          take_pair(&at, &read.heads, &read.kv_heads) && take_char(&at, 'x') &&
          take_pair(&at, &read.q_len, &read.kv_len) && take_char(&at, 'x') &&
          take_number(&at, PROBLEM_HEAD_DIM_MAX, &read.head_dim))) {
        return malformed(text, err);
    }
    while (take_char(&at, ':')) {
        if (!take_option(&at, on, text, err)) {
            return false;
        }
    }
    if (*at != '\0') {
        return malformed(text, err);
    }
    read.causal = on[OPTION_CAUSAL];
    read.dtype = on[OPTION_BF16] ? DTYPE_BF16 : DTYPE_F16;
    read.lse = on[OPTION_LSE];
    read.sequence_first = on[OPTION_BSHD];
    if (!problem_check(&read, text, err)) {
        return false;
    }
    *problem = read;
    return true;
}

void problem_text(const struct problem *problem, char text[PROBLEM_TEXT_MAX])
{
    char kv_heads[24] = "", kv_len[24] = "";
    int used;

    if (problem->kv_heads != problem->heads) {
        snprintf(kv_heads, sizeof kv_heads, "/%lld", (long long)problem->kv_heads);
    }
    if (problem->kv_len != problem->q_len) {
        snprintf(kv_len, sizeof kv_len, "/%lld", (long long)problem->kv_len);
    }
    used = snprintf(text, PROBLEM_TEXT_MAX, "%lldx%lld%sx%lld%sx%lld", (long long)problem->batch,
                    (long long)problem->heads, kv_heads, (long long)problem->q_len, kv_len,
                    (long long)problem->head_dim);
    for (int option = 0; option < OPTIONS && used < PROBLEM_TEXT_MAX; option++) {
        if (option_on(problem, (enum option)option)) {
            used += snprintf(text + used, (size_t)(PROBLEM_TEXT_MAX - used), ":%s",
                             option_names[option]);
        }
    }
}

bool problem_equal(const struct problem *a, const struct problem *b)
{
    return a->batch == b->batch && a->heads == b->heads && a->kv_heads == b->kv_heads &&
           a->q_len == b->q_len && a->kv_len == b->kv_len &&
           a->sequence_first == b->sequence_first && problem_same_static(a, b);
}

bool problem_same_static(const struct problem *a, const struct problem *b)
{
    return a->head_dim == b->head_dim && a->dtype == b->dtype && a->causal == b->causal &&
           a->lse == b->lse;
}

/* Strides of a dense tensor of `heads` heads and `length` rows. */
static void set_strides(const struct problem *problem, int64_t heads, int64_t length,
                        int64_t strides[3])
{
    int64_t dim = problem->head_dim;

    strides[0] = heads * length * dim;
    strides[1] = problem->sequence_first ? dim : length * dim;
    strides[2] = problem->sequence_first ? heads * dim : dim;
}

struct problem_args problem_args(const struct problem *problem)
{
    struct problem_args args = {
        .batch = (int32_t)problem->batch,
        .heads = (int32_t)problem->heads,
        .kv_heads = (int32_t)problem->kv_heads,
        .q_len = (int32_t)problem->q_len,
        .kv_len = (int32_t)problem->kv_len,
        .head_dim = (int32_t)problem->head_dim,
        .scale = (float)problem_scale(problem),
    };

    set_strides(problem, problem->heads, problem->q_len, args.q);
    set_strides(problem, problem->heads, problem->q_len, args.o);
    set_strides(problem, problem->kv_heads, problem->kv_len, args.k);
    set_strides(problem, problem->kv_heads, problem->kv_len, args.v);
    return args;
}

double problem_scale(const struct problem *problem) { return 1 / sqrt((double)problem->head_dim); }

int64_t problem_rows(const struct problem *problem)
{
    return problem->batch * problem->heads * problem->q_len;
}

int64_t problem_q_elements(const struct problem *problem)
{
    return problem_rows(problem) * problem->head_dim;
}

int64_t problem_kv_elements(const struct problem *problem)
{
    return problem->batch * problem->kv_heads * problem->kv_len * problem->head_dim;
}

/* Pairs of a query and a key it sees, of one head. */
static double visible_pairs(const struct problem *problem)
{
    double rows = (double)problem->q_len, keys = (double)problem->kv_len;
    double seeing = fmin(rows, keys); /* the last query sees all keys, the one before all but one */

    return problem->causal ? seeing * keys - seeing * (seeing - 1) / 2 : rows * keys;
}

double problem_flops(const struct problem *problem)
{
    return 4 * (double)problem->batch * (double)problem->heads * (double)problem->head_dim *
           visible_pairs(problem);
}

double problem_bytes(const struct problem *problem)
{
    return 2.0 * ELEMENT_BYTES *
           ((double)problem_q_elements(problem) + (double)problem_kv_elements(problem));
}
