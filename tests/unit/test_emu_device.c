/*
 * The families that come with evo, compiled for real and run on the emulated device: every value of
 * every gene at least once, on ragged shapes, under all sanitizers, against FP64. One family a
 * call, from the templates or from the tests' own folder:
 *
 *     test_emu_device attention_tiled
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "emu_family.h"
#include "fitness/jitter.h"
#include "fitness/verify.h"

enum {
    ROUNDS = 3,  /* times each value is run, in other company and on other shapes, */
    ENOUGH = 20, /* unless so many genomes have been run by the end of a round */
};

/* Problems in turn: each type, mask and width meets some genome. */
static const char *const shapes[] = {
    "1x2x40/330x64",       "1x2/1x75x64:causal",      "2x1x33/140x64:bf16:lse",
    "1x1x70/135x128:bshd", "1x2x52/97x64:causal:lse", "1x1x35/131x128:causal:bf16",
};
enum { SHAPES = sizeof shapes / sizeof *shapes };

/* What is right and free of races gives the same bits however its warps are delayed. */
static void delay(const struct judge_image *image, const char *text)
{
    struct judge_result *result = arena_alloc(all.arena, sizeof *result);
    struct plan *plan = arena_alloc(all.arena, sizeof *plan);
    struct verify_subject subject = {
        .plan = plan,
        .problem = &all.problem,
        .numerics = image->program.numerics == 1 ? NUMERICS_FP16 : NUMERICS_FP32,
    };
    struct jitter_sites sites;
    struct hello hello;
    struct buf twin = {0};
    struct err err = {0};
    bool supported;

    if (!jitter_twin(image->ptx, image->ptx_bytes, &twin, &sites, &err)) {
        fail_msg("%s: %s", text, err.what);
    }
    assert_int_equal(sites.entries, image->program.kernel_count);
    assert_true(device_open(all.arena, "", &hello, &err));
    assert_true(plan_resolve(all.arena, &image->program, &all.problem, hello.device_sms, plan,
                             &supported, &err));
    if (device_load_twin(image, twin.data, twin.length, &subject.module, &err) != DEVICE_OK ||
        verify_race(all.arena, &subject, all.draw, result, &err) != DEVICE_OK) {
        fail_msg("%s: %s", text, err.what);
    }
    if (result->verdict != VERDICT_NONE) {
        fail_msg("%s: %s", text, result->reason);
    }
    assert_int_equal(result->tallies[0][RUNG_RACE].passed, 1);
    device_unload(subject.module);
    device_close();
    buf_free(&twin);
}

static void run_genome(const struct genome *genome, bool delayed)
{
    const char *text = genome_text(all.arena, all.family, genome);
    struct emulation *emulation = arena_alloc(all.arena, sizeof *emulation);
    struct judge_image image;
    struct emulate_request request = {
        .image = &image, .problem = all.problem, .profile_blocks = 2, .secret = 1 + all.draw};
    char shape[PROBLEM_TEXT_MAX];
    struct err err = {0};

    assert_true(sanitize_parse("all", &request.sanitize, &err));
    problem_text(&all.problem, shape);
    build(genome, &image);
    if (!emulate(all.arena, &request, emulation, &err)) {
        fail_msg("%s on %s: %s", text, shape, err.what);
    }
    for (int i = 0; i < emulation->finding_count; i++) {
        print_error("%s\n", emulation->findings[i].text);
    }
    if (emulation->verdict != VERDICT_PASS) {
        fail_msg("%s on %s: %s: %s", text, shape, verdict_names[emulation->verdict],
                 emulation->reason);
    }
    assert_true(emulation->compared);
    assert_true(emulation->kernels[0].time.us > 0);
    if (delayed) {
        delay(&image, text);
    }
    print_message("%s on %s: %.0f ms, modelled %.2f us\n", text, shape, emulation->ms,
                  emulation->kernels[0].time.us);
}

/* `number` goes on from round to round, so that genomes meet other shapes. */
static void run_round(int *number, bool delayed)
{
    int infeasible = 0;

    for (forget_genomes(); all.left > 0; ++*number) {
        struct genome genome;
        int gene, value;

        choose_problem(shapes[*number % SHAPES]);
        if (choose_genome(&genome)) {
            run_genome(&genome, delayed);
            mark_genome(&genome);
            infeasible = 0;
        } else if (++infeasible == SHAPES) { /* for no problem */
            first_unseen(&gene, &value);
            fail_msg("no feasible genome has %s=%s", all.family->genes[gene].name,
                     gene_value_text(all.arena, &all.family->genes[gene], value));
        }
    }
}

static void every_value_of_every_gene_is_right_and_race_free(void **state)
{
    int number = 0;

    (void)state;
    for (int i = 0; i < ROUNDS && number < ENOUGH; i++) {
        run_round(&number, i == 0);
    }
}

int main(int argc, char **argv)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_value_of_every_gene_is_right_and_race_free),
    };
    int failed;

    if (!family_open(argc > 1 ? argv[1] : "attention_scalar")) {
        return 1;
    }
    failed = cmocka_run_group_tests(tests, NULL, NULL);
    arena_free(all.arena);
    return failed;
}
