/* compare.c is included, so that what it chooses by itself (rows, steps) can be tested too. */
#include "fitness/compare.c"

#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/clock.h"
#include "base/proc.h"
#include "base/str.h"
#include "device_host.h"
#include "fitness/cubin.h"

static struct problem parse(const char *text)
{
    struct problem problem;
    struct err err = {0};

    if (!problem_parse(text, &problem, &err)) {
        fail_msg("%s", err.what);
    }
    return problem;
}

/* One variant on one problem, loaded and ready for the gate. */
struct trial {
    struct arena *arena;
    struct problem problem;
    struct plan plan;
    struct verify_subject subject;
    struct judge_result *result;
};

static struct trial trial_open(const char *name, const char *problem, enum numerics numerics)
{
    struct trial t = {.arena = arena_new(), .problem = parse(problem)};
    struct judge_image image = {.program.kernels[0].name = name};
    struct err err = {0};

    t.plan.kernel_count = 1;
    t.plan.kernels[0].name = name;
    t.plan.kernels[0].smem_bytes =
        (uint32_t)((t.problem.dtype == DTYPE_BF16) | t.problem.causal << 1);
    t.plan.workspace_count = 2;
    t.plan.workspaces[0].bytes = 37;
    t.plan.workspaces[0].kind =
        strcmp(name, "workspace_dirty") == 0 ? WORKSPACE_ZERO_ONCE : WORKSPACE_POISON;
    t.plan.workspaces[1].bytes = 64;
    t.plan.workspaces[1].kind = WORKSPACE_ZERO_CALL;
    t.result = arena_alloc(t.arena, sizeof(*t.result));
    t.result->reason = "";
    t.subject.numerics = numerics;
    assert_int_equal(device_load(&image, &t.subject.module, &err), DEVICE_OK);
    return t;
}

static enum device_status trial_run_as(struct trial *t, enum depth depth, uint64_t secret,
                                       int64_t seeds)
{
    struct verify_request request = {
        .depth = depth, .secret = secret, .seeds = seeds, .launches = 5};
    struct err err = {0};

    t->subject.plan = &t->plan;
    t->subject.problem = &t->problem;
    return verify_run(t->arena, &t->subject, &request, t->result, &err);
}

/* Every family, so many times. */
static enum device_status trial_run(struct trial *t, uint64_t secret, int64_t seeds)
{
    return trial_run_as(t, DEPTH_PROMOTE, secret, seeds);
}

static void trial_close(struct trial *t)
{
    device_unload(t->subject.module);
    arena_free(t->arena);
}

static const char *const default_problems[] = {
    "1x2x40x32",
    "1x2x70x64",
    "2x4/2x33/50x32",
    "1x3x40x64:bf16",
};

/* The number of cases, shrunk for everyday use; EVO_CALIBRATE=1000 is what docs/JUDGE.md reports.
 */
static int64_t calibration_cases(int64_t everyday)
{
    const char *text = getenv("EVO_CALIBRATE");
    int64_t cases;

    return text != NULL && str_to_i64(text, &cases) ? cases : everyday;
}

static void pass_all(const struct host_variant *variant, const char *problem, int64_t cases)
{
    for (int64_t done = 0; done < cases; done += INPUT_FAMILIES) {
        struct trial t = trial_open(variant->name, problem, variant->numerics);
        assert_int_equal(trial_run(&t, 1000 + (uint64_t)done, 1), DEVICE_OK);
        if (t.result->verdict != VERDICT_NONE) {
            fail_msg("%s: %s", variant->name, t.result->reason);
        }
        trial_close(&t);
    }
}

static void independent_right_computations_pass_every_case(void **state)
{
    static const char *const problems[] = {
        "1x2x40x32",          "1x1x1x64",
        "1x1x1/2x64",         "1x1x1/3x8",
        "2x2x3/5x16",         "1x2x70x64:causal",
        "1x4/2x33/50x32",     "1x2x30/12x32:causal:lse",
        "1x3x40x64:bf16",     "1x2x20/150x64:bf16:lse",
        "2x3x17x48:bshd:lse", "1x1x64/300x128",
        "1x2x9x17",           "1x1x2/7x3:bf16",
    };
    int64_t cases = calibration_cases(14) / (int64_t)(sizeof(problems) / sizeof(problems[0]));

    (void)state;
    for (int at = 0;;) {
        const struct host_variant *variant = host_variant_next(&at);
        if (variant == NULL) {
            break;
        }
        for (size_t n = 0;
             variant->verdict == VERDICT_PASS && n < sizeof(problems) / sizeof(problems[0]); n++) {
            pass_all(variant, problems[n], cases);
        }
    }
}

static void fail_one(const struct host_variant *variant, const char *problem, uint64_t secret)
{
    struct trial t = trial_open(variant->name, problem, variant->numerics);
    enum device_status status = trial_run(&t, secret, 1);
    const struct case_result *last = &t.result->cases[t.result->case_count - 1];

    if (t.result->verdict != variant->verdict || strstr(t.result->reason, variant->says) == NULL) {
        fail_msg("%s on %s: verdict %s, '%s'", variant->name, problem,
                 verdict_names[t.result->verdict], t.result->reason);
    }
    assert_true(t.result->case_count > 0);
    assert_int_equal(last->verdict, variant->verdict);
    assert_true(*last->reason != '\0');
    for (int i = 0; i + 1 < t.result->case_count; i++) {
        assert_int_equal(t.result->cases[i].verdict, VERDICT_PASS);
    }
    bool spent = status == DEVICE_ILLEGAL || status == DEVICE_TRAPPED || status == DEVICE_LOST;
    assert_int_equal(spent, strcmp(variant->name, "illegal") == 0 ||
                                strcmp(variant->name, "trapped") == 0 ||
                                strcmp(variant->name, "lost") == 0);
    trial_close(&t);
}

static void every_wrong_computation_fails_for_its_own_reason(void **state)
{
    (void)state;
    for (int at = 0;;) {
        const struct host_variant *variant = host_variant_next(&at);
        if (variant == NULL) {
            break;
        }
        size_t problems =
            variant->problem ? 1 : sizeof(default_problems) / sizeof(default_problems[0]);
        for (size_t n = 0; variant->verdict != VERDICT_PASS && n < problems; n++) {
            const char *problem = variant->problem ? variant->problem : default_problems[n];
            bool bf16 = parse(problem).dtype == DTYPE_BF16;
            /* Halves are the finer type there. */
            bool finer = bf16 && (strcmp(variant->name, "bf16_weights") == 0);
            for (uint64_t secret = 0; !finer && secret < (uint64_t)calibration_cases(2); secret++) {
                fail_one(variant, problem, secret);
            }
        }
    }
}

static void a_pass_leaves_its_evidence(void **state)
{
    struct trial t = trial_open("right", "1x2x40x32:lse", NUMERICS_FP32);
    enum rung rungs[] = {RUNG_LAUNCH, RUNG_SANITY, RUNG_CORRECT, RUNG_STABLE, RUNG_PROMOTE};

    (void)state;
    assert_int_equal(trial_run(&t, 7, 3), DEVICE_OK);
    assert_int_equal(t.result->verdict, VERDICT_NONE);
    assert_int_equal(t.result->case_count, 3 + INPUT_FAMILIES * 3);
    for (int i = 0; i < t.result->case_count; i++) {
        const struct case_result *row = &t.result->cases[i];
        assert_int_equal(row->rung, rungs[i < 4 ? i : 4]);
        assert_int_equal(row->verdict, VERDICT_PASS);
        assert_int_equal(row->rows_total, 80);
        if (row->rung == RUNG_CORRECT || row->rung == RUNG_PROMOTE) {
            assert_int_equal(row->rows_checked, 80);
            assert_true(row->error_max <= row->error_allowed && row->error_allowed > 0);
            bool exact = strcmp(row->family, "lone") == 0; /* the output is V of one key */
            assert_true(row->frobenius <= row->frobenius_allowed && (row->frobenius > 0 || exact));
            assert_true(fabs(fabs(row->expected - row->got) - row->error_max) < 1e-12);
            assert_in_range(row->worst[1], 0, 1);
            assert_in_range(row->worst[2], 0, 39);
            assert_in_range(row->worst[3], 0, 31);
        }
        for (int j = 4; j < i; j++) {
            assert_true(t.result->cases[j].seed != row->seed);
        }
    }
    trial_close(&t);
}

static int count_family(const struct judge_result *result, enum rung rung, const char *family)
{
    int count = 0;

    for (int i = 0; i < result->case_count; i++) {
        count += result->cases[i].rung == rung && strcmp(result->cases[i].family, family) == 0;
    }
    return count;
}

/* Three families and three draws of each at least, everywhere; all of them to be called best. */
static void a_search_asks_for_less_than_a_promotion(void **state)
{
    static const enum rung rungs[] = {
        [DEPTH_QUICK] = RUNG_CORRECT, [DEPTH_PROMOTE] = RUNG_PROMOTE, [DEPTH_ONCE] = RUNG_CORRECT};

    (void)state;
    for (enum depth depth = DEPTH_ONCE; depth <= DEPTH_PROMOTE; depth++) {
        struct trial t = trial_open("right", "1x2x20x32", NUMERICS_FP32);
        int thrice = 0, once = 0;
        assert_int_equal(trial_run_as(&t, depth, 7, 3), DEVICE_OK);
        assert_int_equal(t.result->verdict, VERDICT_NONE);
        for (int family = 0; family < INPUT_FAMILIES; family++) {
            int count = count_family(t.result, rungs[depth], input_family_names[family]);
            count += family == 0 && depth == DEPTH_PROMOTE; /* the first has its own rung */
            thrice += count == 3;
            once += count == 1;
        }
        assert_int_equal(thrice, depth == DEPTH_PROMOTE ? INPUT_FAMILIES
                                 : depth == DEPTH_QUICK ? 3
                                                        : 0);
        assert_int_equal(once, depth == DEPTH_QUICK  ? INPUT_FAMILIES - 3
                               : depth == DEPTH_ONCE ? 1
                                                     : 0);
        trial_close(&t);
    }
}

static void the_historic_bar_is_a_hundred_cases(void **state)
{
    struct trial t = trial_open("right", "1x1x32x64", NUMERICS_FP32);
    const struct rung_tally *tally = &t.result->tallies[0][RUNG_CORRECT];

    (void)state;
    assert_int_equal(trial_run_as(&t, DEPTH_BAR, 7, 1), DEVICE_OK);
    assert_int_equal(t.result->verdict, VERDICT_NONE);
    assert_int_equal(t.result->case_count, 100);
    assert_int_equal(tally->passed, 100);
    assert_int_equal(tally->total, 100);
    assert_true(tally->error_allowed == 2e-3 && tally->error_max < 2e-3 && tally->error_max > 1e-4);
    trial_close(&t);
    /* Right for its class, whose outputs are coarser than the bar: only one of the two holds. */
    t = trial_open("right", "1x1x32x64:bf16", NUMERICS_FP32);
    assert_int_equal(trial_run(&t, 7, 1), DEVICE_OK);
    assert_int_equal(t.result->verdict, VERDICT_NONE);
    assert_int_equal(trial_run_as(&t, DEPTH_BAR, 7, 1), DEVICE_OK);
    assert_int_equal(t.result->verdict, VERDICT_WRONG);
    assert_non_null(strstr(t.result->reason, "where no error of 0.002 is allowed"));
    trial_close(&t);
}

static void a_failure_names_its_element(void **state)
{
    struct trial t = trial_open("one_element_off", "1x2x41x32:bshd", NUMERICS_FP32);

    (void)state;
    trial_run(&t, 3, 1);
    const struct case_result *row = &t.result->cases[t.result->case_count - 1];
    int64_t element = (2 * 41 * 32 - 1) / 2, found[4];
    element_locate(&t.problem, element, found);
    assert_memory_equal(row->worst, found, sizeof(found));
    assert_true(fabs(row->got / row->expected - 1.02) < 0.004);
    assert_true(row->error_max > row->error_allowed);
    trial_close(&t);
}

static void evidence_beyond_its_room_keeps_the_failure(void **state)
{
    struct trial t = trial_open("right", "1x1x4x8", NUMERICS_FP32);

    (void)state;
    assert_int_equal(trial_run(&t, 1, 80), DEVICE_OK);
    assert_int_equal(t.result->verdict, VERDICT_NONE);
    assert_int_equal(t.result->case_count, JOB_CASES_MAX - 1);
    device_unload(t.subject.module);
    struct judge_image image = {.program.kernels[0].name = "make_nan"};
    struct err err = {0};
    device_load(&image, &t.subject.module, &err);
    trial_run(&t, 2, 1);
    assert_int_equal(t.result->case_count, JOB_CASES_MAX);
    assert_int_equal(t.result->cases[JOB_CASES_MAX - 1].verdict, VERDICT_WRONG);
    trial_close(&t);
}

static void no_memory_is_nobodys_verdict(void **state)
{
    struct trial t = trial_open("right", "1x2x40x32", NUMERICS_FP32);

    (void)state;
    host_memory_max = 40000;
    assert_int_equal(trial_run(&t, 1, 1), DEVICE_OK);
    host_memory_max = 100;
    assert_int_equal(trial_run(&t, 1, 1), DEVICE_REFUSED);
    host_memory_max = (size_t)1 << 40;
    assert_int_equal(t.result->verdict, VERDICT_NONE);
    trial_close(&t);
}

/* Times a variant as the judge does and returns what the check of the timed outputs found. */
static struct trial time_it(const char *name, uint64_t secret, bool briefly)
{
    struct trial t = trial_open(name, "1x2x40x32:lse", NUMERICS_FP32);
    struct verify_sets *sets;
    struct measured measured;
    struct err err = {0};
    int count;

    t.subject.plan = &t.plan;
    t.subject.problem = &t.problem;
    assert_int_equal(verify_sets_make(t.arena, &t.subject, secret, 4, &sets, &err), DEVICE_OK);
    struct measure_request request = {.module = t.subject.module, .plan = &t.plan, .cap_ms = 1};
    request.sets = verify_sets_buffers(sets, &count);
    request.set_count = count;
    assert_int_equal(count, 4);
    assert_int_equal(device_measure(t.arena, &request, &measured, &err), DEVICE_OK);
    assert_int_equal(verify_sets_check(t.arena, sets, briefly, t.result, &err), DEVICE_OK);
    verify_sets_free(sets);
    return t;
}

/* What is found in outputs that timed calls left, and on a large shape of a program too slow. */
static const struct {
    const char *name;
    enum verdict verdict;
    const char *says;
    bool seen_briefly;
} cheats[] = {
    {"right", VERDICT_NONE, "", true},
    {"stop_later", VERDICT_WRONG, "never written", true}, /* the answer of an early call was left */
    {"cache", VERDICT_WRONG, "off by", false},
    {"do_nothing", VERDICT_WRONG, "never written", true},
    {"write_past", VERDICT_OUT_OF_BOUNDS, "past the end", true},
    {"write_input", VERDICT_OUT_OF_BOUNDS, "input", true},
    {"lse_base_two", VERDICT_WRONG, "log-sum-exp", false},
    {"flicker", VERDICT_UNSTABLE, "untimed", true},
};

static void find_cheats(bool briefly, bool large)
{
    for (size_t i = 0; i < sizeof(cheats) / sizeof(cheats[0]); i++) {
        struct trial t = time_it(cheats[i].name, 11, briefly);
        bool seen = cheats[i].seen_briefly || !briefly || !large;

        if (t.result->verdict != (seen ? cheats[i].verdict : VERDICT_NONE) ||
            strstr(t.result->reason != NULL ? t.result->reason : "", seen ? cheats[i].says : "") ==
                NULL) {
            fail_msg("%s: verdict %s, '%s'", cheats[i].name, verdict_names[t.result->verdict],
                     t.result->reason);
        }
        assert_int_equal(t.result->cases[t.result->case_count - 1].rung, RUNG_TIMED);
        trial_close(&t);
    }
}

static void what_timed_calls_left_behind_is_verified(void **state)
{
    (void)state;
    find_cheats(false, false);
    find_cheats(true, false); /* what costs nothing is not left out */
}

/* There the device draws their inputs, and the host only what it must know. */
static void so_it_is_on_large_shapes(void **state)
{
    (void)state;
    reference_budget = 0x1p10;
    find_cheats(false, true);
    find_cheats(true, true);
    reference_budget = 0x1p31;
}

static void steps_are_the_distance_to_the_next_value(void **state)
{
    (void)state;
    for (int dtype = DTYPE_F16; dtype <= DTYPE_BF16; dtype++) {
        for (uint16_t bits = 0; bits < (dtype == DTYPE_F16 ? 0x7bff : 0x7f7f); bits++) {
            double low = half_to_double((enum dtype)dtype, bits);
            double high = half_to_double((enum dtype)dtype, (uint16_t)(bits + 1));
            assert_true(half_step((enum dtype)dtype, low) == high - low);
            assert_true(half_step((enum dtype)dtype, -nextafter(high, 0)) == high - low);
        }
    }
}

static void large_shapes_are_sampled_in_every_block(void **state)
{
    static const char *const problems[] = {"2x16x4096x64", "1x8x8192x128:causal", "1x3x20001x64",
                                           "1x1x1/900000x128", "4x32x512x64"};

    (void)state;
    for (size_t n = 0; n < sizeof(problems) / sizeof(problems[0]); n++) {
        struct problem p = parse(problems[n]);
        struct verify_subject subject = {.problem = &p};
        struct gate gate = {.subject = &subject};
        int64_t count, other, at = 0;
        int64_t *rows = pick_rows(&gate, 1, &count), *others = pick_rows(&gate, 2, &other);
        double share = (double)count / (double)problem_rows(&p);
        for (int64_t head = 0; head < p.batch * p.heads; head++) {
            for (int64_t first = 0; first < p.q_len; first += 64) {
                int64_t end = first + 64 < p.q_len ? first + 64 : p.q_len, before = at;
                while (at < count && rows[at] < head * p.q_len + end) {
                    assert_true(rows[at] >= head * p.q_len + first);
                    assert_true(at == 0 || rows[at] > rows[at - 1]);
                    at++;
                }
                assert_true(at > before);
                assert_true(first > 0 || rows[before] == head * p.q_len);
                assert_true(end < p.q_len || rows[at - 1] == head * p.q_len + end - 1);
            }
        }
        assert_int_equal(at, count);
        assert_true(share * reference_cost(&p) < 1.5 * 0x1p31 || share < 1.2 / 64);
        assert_true(share == 1 || count != other ||
                    memcmp(rows, others, (size_t)count * sizeof(*rows)) != 0);
        free(rows);
        free(others);
    }
}

static bool is_listed(const char *list, const char *name)
{
    const char *found = strstr(list, name);

    return found != NULL && found[-1] == ' ' && found[strlen(name)] == ' ';
}

/*
 * What is too large for the reference is judged by some rows of it, and all others by the baseline
 * on the device: that is what a smaller budget makes of a small shape.
 */
static void large_outputs_are_judged_where_they_lie(void **state)
{
    static const char *const problems[] = {"1x2x100x32", "1x4/2x80/50x32:causal:lse",
                                           "1x1x100x64:bf16:bshd"};
    /* Of a few rows nobody can tell numerics classes apart, nor one element in some cases. */
    static const char needs_all[] =
        " half_called_single half_scores_called_single half_sums_called_single bf16_weights "
        "truncate_output one_element_off small_head_off ";
    int failed_in_other_rows = 0;

    (void)state;
    reference_budget = 0x1p10;
    for (int at = 0;;) {
        const struct host_variant *variant = host_variant_next(&at);
        if (variant == NULL) {
            break;
        }
        bool shown = !is_listed(needs_all, variant->name);
        for (size_t n = 0; shown && n < sizeof(problems) / sizeof(problems[0]); n++) {
            struct problem p = parse(problems[n]);
            bool fits = variant->problem == NULL ||
                        ((p.causal || !parse(variant->problem).causal) &&
                         (p.lse || !parse(variant->problem).lse) &&
                         (p.kv_heads != p.heads || parse(variant->problem).kv_heads ==
                                                       parse(variant->problem).heads));
            if (!fits) {
                continue;
            }
            struct trial t = trial_open(variant->name, problems[n], variant->numerics);
            trial_run(&t, 77 + n, 1);
            enum verdict wanted =
                variant->verdict == VERDICT_PASS ? VERDICT_NONE : variant->verdict;
            if (t.result->verdict != wanted) {
                fail_msg("%s on %s: verdict %s, '%s'", variant->name, problems[n],
                         verdict_names[t.result->verdict], t.result->reason);
            }
            failed_in_other_rows += strstr(t.result->reason, "the baseline has") != NULL;
            trial_close(&t);
        }
    }
    reference_budget = 0x1p31;
    assert_true(failed_in_other_rows >= 3);
}

/* Where the baseline looks at every row, references are spread over the heads: no block without. */
static void every_block_has_a_reference_in_some_head(void **state)
{
    static const char *const problems[] = {"4x16x8192x128", "2x16x16384x128:causal",
                                           "1x3x70000x64", "1x1x100000x64", "1x2x9001/500x128"};
    static const struct device_auditor auditor;

    (void)state;
    for (size_t n = 0; n < sizeof(problems) / sizeof(problems[0]); n++) {
        struct problem p = parse(problems[n]);
        struct verify_subject subject = {.problem = &p};
        struct gate gate = {.subject = &subject, .auditor = &auditor};
        int64_t blocks = (p.q_len + ROW_BLOCK - 1) / ROW_BLOCK, heads = p.batch * p.heads;
        int64_t count, all, *rows = pick_rows(&gate, 5 + n, &count);
        bool *covered = xcalloc((size_t)blocks, sizeof *covered);

        for (int64_t head = 0, at = 0; head < heads; head++) {
            int64_t taken = 0, start = at;
            for (; at < count && rows[at] / p.q_len == head; at++) {
                covered[rows[at] % p.q_len / ROW_BLOCK] = true;
                taken++;
            }
            assert_true(taken >= HEAD_BLOCKS);
            assert_int_equal(rows[start], head * p.q_len);
            assert_int_equal(rows[at - 1], head * p.q_len + p.q_len - 1);
        }
        for (int64_t block = 0; block < blocks; block++) {
            assert_true(covered[block]);
        }
        free(covered);
        free(rows);
        gate.auditor = NULL;
        rows = pick_rows(&gate, 5 + n, &all);
        assert_true(all >= heads * blocks && count <= all);
        free(rows);
    }
}

/* ---- the judge as a process ------------------------------------------------------------------ */

struct judge_process {
    struct proc proc;
    struct arena *arena;
    struct buf wire;
};

static struct message *receive(struct judge_process *judge)
{
    struct message *message = NULL;
    struct err err = {0};
    char bytes[65536];

    for (int64_t end = clock_now_ms() + 20000; clock_now_ms() < end;) {
        assert_true(frame_take(&judge->wire, judge->arena, &message, &err));
        if (message != NULL) {
            return message;
        }
        ssize_t got = read(judge->proc.from, bytes, sizeof(bytes));
        if (got > 0) {
            buf_add(&judge->wire, bytes, (size_t)got);
        } else if (got == 0) {
            return NULL;
        } else {
            usleep(1000);
        }
    }
    fail_msg("the judge does not answer");
    return NULL;
}

static struct judge_process judge_start(void)
{
    char *argv[] = {EVO_BINARY_DIR "/bin/evo-judge-host", NULL};
    struct judge_process judge = {.arena = arena_new()};
    struct hello hello;
    struct err err = {0};

    assert_true(proc_spawn(&judge.proc, argv, &err));
    assert_true(hello_decode(judge.arena, receive(&judge), &hello, &err));
    assert_int_equal(hello.role, ROLE_JUDGE);
    return judge;
}

static void judge_stop(struct judge_process *judge)
{
    proc_kill(&judge->proc);
    buf_free(&judge->wire);
    arena_free(judge->arena);
}

static struct judge_job make_job(struct arena *arena, const char *name, const char *cubin,
                                 enum effort effort)
{
    static struct program_constant none[1];
    struct judge_job job = {.id = 5,
                            .genes = "",
                            .image_count = 1,
                            .problem_count = 2,
                            .secret = 77,
                            .effort = effort,
                            .cases_per_family = 1,
                            .want_samples = true};
    struct cubin_facts facts;
    struct buf file = {0};
    struct err err = {0};
    char path[512];

    snprintf(path, sizeof(path), EVO_SOURCE_DIR "/tests/golden/cubin/%s.cubin", cubin);
    if (!file_read(path, 1 << 20, &file, &err) ||
        !cubin_read(arena, file.data, file.length, &facts, &err)) {
        fail_msg("%s", err.what);
    }
    job.images[0] = (struct judge_image){.cubin = arena_copy(arena, file.data, file.length),
                                         .cubin_bytes = file.length,
                                         .ptx = "",
                                         .code_key = facts.code_key,
                                         .program = {.constants = none,
                                                     .kernel_count = 1,
                                                     .supports_count = 1,
                                                     .supports = {{"kv_len < 1000", "few keys"}},
                                                     .kernels[0] = {.name = name,
                                                                    .grid = {"1", "1", "1"},
                                                                    .threads = "32",
                                                                    .smem = "0",
                                                                    .args = {"Q"},
                                                                    .arg_count = 1}}};
    job.problems[0].problem = parse("1x2x40x32");
    job.problems[1].problem = parse("1x1x10x32");
    buf_free(&file);
    return job;
}

static void judge_send(struct judge_process *judge, const struct judge_job *job)
{
    struct buf wire = {0};

    message_encode(judge_encode(judge->arena, job), &wire);
    for (size_t sent = 0; sent < wire.length;) {
        ssize_t n = write(judge->proc.to, wire.data + sent, wire.length - sent);
        if (n > 0) {
            sent += (size_t)n;
        } else {
            usleep(1000);
        }
    }
    buf_free(&wire);
}

static struct judge_result *judge_ask(struct judge_process *judge, const struct judge_job *job)
{
    struct judge_result *result = arena_alloc(judge->arena, sizeof(*result));
    struct err err = {0};

    judge_send(judge, job);
    struct message *answer = receive(judge);
    assert_non_null(answer);
    if (!result_decode(judge->arena, answer, result, &err)) {
        fail_msg("%s", err.what);
    }
    assert_int_equal(result->id, job->id);
    return result;
}

static double metric_of(const struct judge_result *result, int problem, enum metric metric)
{
    for (int i = 0; i < result->metric_count; i++) {
        if (result->metrics[i].problem == problem && result->metrics[i].metric == metric) {
            return result->metrics[i].value;
        }
    }
    return -1;
}

static void the_judge_passes_and_times_what_is_right(void **state)
{
    struct judge_process judge = judge_start();
    struct judge_job job = make_job(judge.arena, "right", "pair_sm_90a", EFFORT_MEASURE);
    struct judge_result *result = judge_ask(&judge, &job);

    (void)state;
    assert_string_equal(result->reason, "");
    assert_int_equal(result->verdict, VERDICT_PASS);
    assert_int_equal(result->case_count, 2 * (3 + INPUT_FAMILIES + 8)); /* two of each set */
    assert_int_equal(result->cases[0].problem, 1); /* the smaller one first */
    assert_int_equal(result->timing_count, 2);
    assert_int_equal(result->timings[0].problem, 0); /* in order of problems: the engine relies on it */
    assert_int_equal(result->timings[0].span_count, 8);
    assert_true(metric_of(result, 0, METRIC_GRAPH_US) > 0);
    assert_true(isnan(metric_of(result, 1, METRIC_OCCUPANCY)));
    assert_true(fabs(metric_of(result, 0, METRIC_FLOOR_US) - 0.95 * 0.32) < 1e-6); /* by its L2 */
    assert_int_equal(result->tallies[0][RUNG_QUICK].total, 0); /* no bound */
    assert_int_equal(result->tallies[0][RUNG_TIMED].passed, 8);
    job.problems[0].bound_us = 1e9;
    result = judge_ask(&judge, &job);
    assert_int_equal(result->tallies[0][RUNG_QUICK].passed, 1);
    assert_true(metric_of(result, -1, METRIC_GATE_MS) > 0);
    assert_true(result->device_ms > 0);

    job.effort = EFFORT_CORRECT; /* and goes on */
    result = judge_ask(&judge, &job);
    assert_int_equal(result->verdict, VERDICT_PASS);
    assert_int_equal(result->timing_count, 0);
    judge_stop(&judge);
}

/* The host device only asks that it be a twin's. */
static const char some_ptx[] = ".version 8.0\n.target sm_90a\n.entry k()\n{\nbar.sync 0;\n}\n";

static void a_promotion_runs_the_jitter_twin(void **state)
{
    static const struct {
        const char *name, *ptx;
        enum verdict verdict;
        const char *says, *row; /* of the reason, and of the race's evidence */
    } promoted[] = {
        {"right", some_ptx, VERDICT_PASS, "", ""},
        {"late", some_ptx, VERDICT_RACY, "changed when warps were delayed by up to 4096 ns", NULL},
        {"never_late", some_ptx, VERDICT_RACY, "were never written", NULL},
        {"no_twin", some_ptx, VERDICT_PASS, "", "not run: the text is too new"},
        {"right", "", VERDICT_PASS, "", "not run: the program came without its PTX"},
        {"right", "no PTX", VERDICT_INVALID, "it has no jitter twin", NULL},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(promoted) / sizeof(promoted[0]); i++) {
        struct judge_process judge = judge_start();
        struct judge_job job =
            make_job(judge.arena, promoted[i].name, "pair_sm_90a", EFFORT_PROMOTE);
        struct judge_result *result;
        const struct case_result *race = NULL;
        job.images[0].ptx = promoted[i].ptx;
        job.images[0].ptx_bytes = strlen(promoted[i].ptx);
        job.problems[0].use = USE_GATE;
        result = judge_ask(&judge, &job);
        if (result->verdict != promoted[i].verdict ||
            strstr(result->reason, promoted[i].says) == NULL) {
            fail_msg("%s: %s: %s", promoted[i].name, verdict_names[result->verdict],
                     result->reason);
        }
        for (int n = 0; n < result->case_count; n++) {
            race = result->cases[n].rung == RUNG_RACE ? &result->cases[n] : race;
        }
        assert_int_equal(race != NULL, result->verdict != VERDICT_INVALID);
        if (result->verdict == VERDICT_PASS) {
            bool ran = *promoted[i].row == '\0';
            assert_string_equal(race->reason, promoted[i].row);
            assert_int_equal(race->verdict, ran ? VERDICT_PASS : VERDICT_UNSUPPORTED);
            assert_int_equal(result->tallies[0][RUNG_RACE].passed, ran); /* a shape for the gate */
            assert_int_equal(result->tallies[1][RUNG_RACE].passed, ran);
            assert_int_equal(result->tallies[0][RUNG_PROMOTE].passed, 3 * INPUT_FAMILIES - 1);
            assert_int_equal(result->timing_count, 1);
        }
        judge_stop(&judge);
    }
}

static void the_judge_explains_what_it_rejects(void **state)
{
    static const struct {
        const char *name, *cubin;
        enum verdict verdict;
        const char *says;
        bool last;
    } rejected[] = {
        {"drop_last_key", "pair_sm_90a", VERDICT_WRONG, "off by", false},
        {"no_such_kernel", "pair_sm_90a", VERDICT_INVALID, "no entry 'no_such_kernel'", false},
        {"right", "state_sm_90a", VERDICT_INVALID, "__device__", false},
        {"refused", "pair_sm_90a", VERDICT_NO_LAUNCH, "refused", false},
        {"illegal", "pair_sm_90a", VERDICT_OUT_OF_BOUNDS, "illegal address", true},
        {"right", "runtime_sm_90a", VERDICT_INVALID, "calls '", false},
        {"too_fast", "pair_sm_90a", VERDICT_INVALID, "0.01 us are impossible", false},
        {"idle_in_graphs", "pair_sm_90a", VERDICT_INVALID, "when its answer is in place", false},
        {"idle_while_timed", "pair_sm_90a", VERDICT_UNSTABLE, "in the middle of it", false},
        {"keeps_answers", "pair_sm_90a", VERDICT_INVALID, "it keeps its answers", false},
        {"trapped", "pair_sm_90a", VERDICT_CRASH, "trapped", true},
        {"lost", "pair_sm_90a", VERDICT_CRASH, "down", true},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(rejected) / sizeof(rejected[0]); i++) {
        struct judge_process judge = judge_start();
        struct judge_job job =
            make_job(judge.arena, rejected[i].name, rejected[i].cubin, EFFORT_MEASURE);
        struct judge_result *result = judge_ask(&judge, &job);
        assert_int_equal(result->verdict, rejected[i].verdict);
        assert_non_null(strstr(result->reason, rejected[i].says));
        assert_int_equal(result->timing_count, 0);
        if (rejected[i].last) {
            assert_null(receive(&judge));
        } else {
            assert_int_equal(judge_ask(&judge, &job)->verdict, rejected[i].verdict);
        }
        judge_stop(&judge);
    }
}

static void the_judge_refuses_shapes_and_launches_before_running(void **state)
{
    struct judge_process judge = judge_start();
    struct judge_job job = make_job(judge.arena, "right", "pair_sm_90a", EFFORT_CORRECT);

    (void)state;
    job.problems[1].problem = parse("1x1x1/2000x32");
    assert_int_equal(judge_ask(&judge, &job)->verdict, VERDICT_UNSUPPORTED);
    job.problems[1].problem = parse("1x1x10x32");
    job.images[0].program.kernels[0].threads = "4096";
    assert_int_equal(judge_ask(&judge, &job)->verdict, VERDICT_NO_LAUNCH);
    judge_stop(&judge);
}

/* Published engines timed one stale binary under many names. */
static void the_judge_will_not_run_what_was_not_compiled(void **state)
{
    struct judge_process judge = judge_start();
    struct judge_job job = make_job(judge.arena, "right", "pair_sm_90a", EFFORT_MEASURE);
    struct err failure = {0}, err = {0};
    int64_t id;

    (void)state;
    job.images[0].code_key.bytes[31] ^= 1;
    judge_send(&judge, &job);
    struct message *answer = receive(&judge);
    assert_non_null(answer);
    assert_true(failure_decode(answer, &id, &failure, &err));
    assert_int_equal(id, 5);
    assert_non_null(strstr(failure.what, "not what was compiled"));
    assert_null(receive(&judge));
    judge_stop(&judge);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(independent_right_computations_pass_every_case),
        cmocka_unit_test(every_wrong_computation_fails_for_its_own_reason),
        cmocka_unit_test(a_pass_leaves_its_evidence),
        cmocka_unit_test(a_search_asks_for_less_than_a_promotion),
        cmocka_unit_test(the_historic_bar_is_a_hundred_cases),
        cmocka_unit_test(a_failure_names_its_element),
        cmocka_unit_test(evidence_beyond_its_room_keeps_the_failure),
        cmocka_unit_test(no_memory_is_nobodys_verdict),
        cmocka_unit_test(what_timed_calls_left_behind_is_verified),
        cmocka_unit_test(so_it_is_on_large_shapes),
        cmocka_unit_test(steps_are_the_distance_to_the_next_value),
        cmocka_unit_test(large_shapes_are_sampled_in_every_block),
        cmocka_unit_test(every_block_has_a_reference_in_some_head),
        cmocka_unit_test(large_outputs_are_judged_where_they_lie),
        cmocka_unit_test(the_judge_passes_and_times_what_is_right),
        cmocka_unit_test(a_promotion_runs_the_jitter_twin),
        cmocka_unit_test(the_judge_explains_what_it_rejects),
        cmocka_unit_test(the_judge_refuses_shapes_and_launches_before_running),
        cmocka_unit_test(the_judge_will_not_run_what_was_not_compiled),
    };

    signal(SIGPIPE, SIG_IGN);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
