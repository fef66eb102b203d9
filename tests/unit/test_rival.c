/*
 * cuDNN's plans are built here for a GPU that is only described: everything but running them. The
 * test needs cuDNN; where there is none it says so and counts as skipped.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

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
        assert_true(strstr(name, ", engine ") != NULL);
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
    rival_cudnn.version(version);
    assert_int_equal(strncmp(version, "cuDNN 9.", 8), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(dense_attention_has_plans_of_both_graphs),
        cmocka_unit_test(what_users_call_has_a_plan),
        cmocka_unit_test(what_cudnn_will_not_do_is_said),
        cmocka_unit_test(a_rival_is_found_by_its_name),
    };
    struct rival *rival = NULL;
    struct err err = {0};

    cudnn_describe_device(h200);
    if (!open_rival("1x8x512x64", &rival, &err) && strstr(err.what, "cannot be loaded") != NULL) {
        printf("skipped: %s\n", err.what);
        return SKIPPED;
    }
    rival_cudnn.close(rival);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
