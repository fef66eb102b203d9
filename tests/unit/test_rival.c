/*
 * How the three-step pipeline cuts a problem into slices; and cuDNN's plans, built for a GPU that
 * is only described: everything but running them. Where there is no cuDNN, its part says so and
 * the test counts as skipped.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "fitness/job.h"
#include "fitness/rival/kinds.h"

enum { SKIPPED = 77 };

/* What cuDNN itself says of an H200. */
static const char h200[] =
    "{\"maxGridSize\":[2147483647,65535,65535],\"maxBlockSize\":[1024,1024,64],"
    "\"regsPerBlock\":65536,\"multiProcessorCount\":132,\"warpSize\":32,"
    "\"maxSharedMemoryPerBlock\":49152,\"maxSharedMemoryPerBlockOptin\":232448,"
    "\"reservedSharedMemoryPerBlock\":1024,\"maxRegistersPerSM\":65536,\"maxCtasPerSM\":32,"
    "\"maxThreadsPerBlock\":1024,\"maxThreadsPerSM\":2048,\"pciDeviceId\":6,\"isTccDriver\":0,"
    "\"supportCoopLaunch\":1,\"totalGlobalMem\":150109880320,\"smClockRateKHz\":1980000,"
    "\"memClockRateKHz\":3201000,\"l2CacheSize\":62914560,\"cudaDeviceId\":0,\"deviceVer\":900,"
    "\"driverVer\":13000,\"deviceName\":\"NVIDIA H200\"}";

static bool open_rival(const char *text, struct rival **rival, struct err *err)
{
    struct problem problem;

    assert_true(problem_parse(text, &problem, err));
    return rival_cudnn.open(&problem, NULL, rival, err);
}

static void assert_planned(const char *text, int plans_min)
{
    char name[RIVAL_NAME_MAX];
    struct rival *rival = NULL;
    struct err err = {0};

    if (!open_rival(text, &rival, &err)) {
        fail_msg("%s: %s", text, err.what);
    }
    if (rival_cudnn.plans(rival) < plans_min) {
        fail_msg("%s: %d plans, expected %d at least", text, rival_cudnn.plans(rival), plans_min);
    }
    for (int i = 0; i < rival_cudnn.plans(rival); i++) {
        rival_cudnn.plan_name(rival, i, name);
        print_message("%s: %s\n", text, name);
        assert_true(strstr(name, " (engine ") != NULL);
    }
    rival_cudnn.close(rival);
}

static void dense_attention_has_plans_of_both_graphs(void **state)
{
    (void)state;
    assert_planned("1x8x512x64", 2);
    assert_planned("4x16x8192x128", 2);
}

static void what_users_call_has_a_plan(void **state)
{
    (void)state;
    assert_planned("1x8x512x64:causal", 1);
    assert_planned("2x16x16384x128:causal", 1);
    assert_planned("4x32/8x4096x128:bf16", 1);
    assert_planned("2x8x200x64:bshd", 1);
    assert_planned("2x8x512x64:lse", 1);
    assert_planned("2x8x100/300x64", 1);
}

static void what_cudnn_will_not_do_is_said(void **state)
{
    struct rival *rival = NULL;
    struct err err = {0};

    (void)state;
    assert_false(open_rival("1x8x100/300x64:causal", &rival, &err));
    assert_non_null(strstr(err.what, "bottom right"));
    assert_null(rival);
}

static void a_rival_is_found_by_its_name(void **state)
{
    char version[RIVAL_NAME_MAX];

    (void)state;
    assert_ptr_equal(rival_find("cudnn"), &rival_cudnn);
    assert_null(rival_find("cudnn2"));
    for (int i = 0; rival_kinds[i] != NULL; i++) { /* what a seed may name */
        assert_true(rival_is_named(rival_kinds[i]->name));
    }
    rival_cudnn.version(version);
    assert_int_equal(strncmp(version, "cuDNN 9.", 8), 0);
}

static void assert_sliced(const char *text, int64_t bytes_max, int64_t heads, int64_t count)
{
    struct cublas_slices slices;
    struct problem problem;
    struct err err = {0};

    assert_true(problem_parse(text, &problem, &err));
    assert_true(cublas_slices(&problem, bytes_max, &slices));
    if (slices.heads != heads || slices.count != count) {
        fail_msg("%s: %lld slices of %lld heads", text, (long long)slices.count,
                 (long long)slices.heads);
    }
    assert_int_equal(problem.batch * problem.heads % slices.even, 0);
    assert_int_equal(slices.workspace_bytes,
                     heads * problem.q_len * ((problem.kv_len + 7) / 8 * 8) * 6);
}

static void heads_are_cut_into_slices_that_fit(void **state)
{
    const int64_t gib = (int64_t)1 << 30;

    (void)state;
    assert_sliced("1x8x512x64", gib, 8, 1);
    assert_sliced("2x8x512x64", gib, 16, 1); /* all heads of all batches in one go */
    assert_sliced("2x8x512x64:bshd", gib, 8, 2); /* where batches are not a head's distance apart */
    assert_sliced("1x8x512x64", 3 * 512 * 512 * 6, 3, 3); /* three, three and two */
    assert_sliced("4x16x8192x128", 2 * gib, 5, 13);
    assert_sliced("2x16x16384x128", gib, 1, 32); /* one at least, whatever it takes */
    assert_sliced("1x8/2x512x64", gib, 4, 2); /* those that share K and V */
    assert_sliced("1x2x100/301x64", gib, 2, 1); /* rows of 304 */
}

static void a_call_of_too_many_launches_is_refused(void **state)
{
    struct cublas_slices slices;
    struct problem problem;
    struct err err = {0};

    (void)state;
    assert_true(problem_parse("8x16x2048x64", &problem, &err));
    assert_false(cublas_slices(&problem, 1, &slices));
    assert_int_equal(slices.count, 128);
}

int main(void)
{
    const struct CMUnitTest slices[] = {
        cmocka_unit_test(heads_are_cut_into_slices_that_fit),
        cmocka_unit_test(a_call_of_too_many_launches_is_refused),
    };
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(dense_attention_has_plans_of_both_graphs),
        cmocka_unit_test(what_users_call_has_a_plan),
        cmocka_unit_test(what_cudnn_will_not_do_is_said),
        cmocka_unit_test(a_rival_is_found_by_its_name),
    };
    struct rival *rival = NULL;
    struct err err = {0};
    int failed = cmocka_run_group_tests_name("slices", slices, NULL, NULL);

    cudnn_describe_device(h200);
    if (!open_rival("1x8x512x64", &rival, &err) && strstr(err.what, "cannot be loaded") != NULL) {
        printf("skipped: %s\n", err.what);
        return failed != 0 ? failed : SKIPPED;
    }
    rival_cudnn.close(rival);
    return failed + cmocka_run_group_tests_name("plans", tests, NULL, NULL);
}
