#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/rng.h"
#include "fitness/space.h"

static const char *const gemm_path = EVO_SOURCE_DIR "/tests/data/space_gemm.csv";
static const char *const attention_path = EVO_SOURCE_DIR "/tests/golden/space_attention.csv";

static int set_up(void **state)
{
    *state = arena_new();
    return 0;
}

static int tear_down(void **state)
{
    arena_free(*state);
    return 0;
}

static struct space *loaded(struct arena *arena, const char *path)
{
    struct space *space;
    struct err err;

    if (!space_load(arena, path, &space, &err)) {
        fail_msg("%s", err.what);
    }
    return space;
}

static struct space *parsed(struct arena *arena, const char *text, size_t length)
{
    struct space *space;
    struct err err;

    if (!space_parse(arena, "test.csv", text, length, &space, &err)) {
        fail_msg("%s", err.what);
    }
    return space;
}

static const struct space_row *found(const struct space *space, const char *genes)
{
    struct err err;
    const struct space_row *row = space_find_text(space, genes, &err);

    if (row == NULL) {
        fail_msg("%s", err.what);
    }
    return row;
}

static void another_tuners_recording_is_read_whole(void **state)
{
    struct space *space = loaded(*state, gemm_path);

    assert_string_equal(space->name, "gemm-toy");
    assert_string_equal(space->device, "Some GPU 9000");
    assert_string_equal(space->problem, "[64, 64]");
    assert_string_equal(space->family, "");
    assert_int_equal(space->arch, 0);
    assert_int_equal(space->param_count, 3);
    assert_string_equal(space->params[1].name, "VEC");
    assert_int_equal(space->params[1].count, 3);
    assert_int_equal(space->params[1].values[2], 4);
    assert_string_equal(space->params[0].labels[2], "64");
    assert_int_equal(space->row_count, 8);
    assert_true(space->optimum_us == 0.0001);
}

static void rows_hold_what_was_recorded(void **state)
{
    struct space *space = loaded(*state, gemm_path);
    const struct space_row *row = found(space, "TILE=16 VEC=1 SHARED=0");

    assert_int_equal(row->verdict, VERDICT_PASS);
    assert_true(row->time_us == 60880.6);
    assert_true(row->sd_us == 327);
    assert_true(row->compile_ms == 2.9 && row->verify_ms == 243.5 && row->bench_ms == 1962.8);
    row = found(space, "TILE=16 VEC=4 SHARED=1");
    assert_int_equal(row->verdict, VERDICT_NO_COMPILE);
    assert_true(row->time_us == 0 && row->compile_ms == 833.1);
    assert_int_equal(found(space, "TILE=32 VEC=1 SHARED=0")->verdict, VERDICT_NO_LAUNCH);
    assert_int_equal(found(space, "TILE=32 VEC=4 SHARED=1")->verdict, VERDICT_NO_LAUNCH);
    row = found(space, "TILE=64 VEC=1 SHARED=1");
    assert_true(row->compile_ms == 1000 && row->verify_ms == 0.25 && row->bench_ms == 125);
    assert_true(found(space, "TILE=64 VEC=2 SHARED=0")->time_us == 1e9);
}

static void every_row_is_found_by_its_values_and_nothing_else_is(void **state)
{
    struct space *space = loaded(*state, gemm_path);
    int held = 0;

    for (int tile = 0; tile < 3; tile++) {
        for (int vec = 0; vec < 3; vec++) {
            for (int shared = 0; shared < 2; shared++) {
                const uint8_t at[SPACE_PARAMS_MAX] = {(uint8_t)tile, (uint8_t)vec, (uint8_t)shared};
                const struct space_row *row = space_find(space, at);

                if (row != NULL) {
                    assert_memory_equal(row->at, at, 3);
                    held++;
                }
            }
        }
    }
    assert_int_equal(held, 8);
}

static void genes_are_named_in_any_order(void **state)
{
    struct space *space = loaded(*state, gemm_path);

    assert_ptr_equal(found(space, "SHARED=0 TILE=32 VEC=1"),
                     found(space, "TILE=32 VEC=1 SHARED=0"));
}

static void genes_that_are_not_in_the_space_are_told_apart(void **state)
{
    static const struct {
        const char *genes, *told;
    } bad[] = {
        {"", "does not say 'TILE'"},
        {"TILE=16 VEC=1", "does not say 'SHARED'"},
        {"TILE=16 VEC=1 SHARED=0 SHARED=0", "'SHARED' is given twice"},
        {"TILE=16 VEC=1 SHARED=0 FAST=1", "has no parameter 'FAST'"},
        {"TILE=17 VEC=1 SHARED=0", "has no 'TILE=17'"},
        {"TILE=1 VEC=1 SHARED=0", "has no 'TILE=1'"},
        {"TILE=016 VEC=1 SHARED=0", "has no 'TILE=016'"},
        {"TILE= VEC=1 SHARED=0", "has no 'TILE='"},
        {"TILE VEC=1 SHARED=0", "'TILE' is not of the form NAME=value"},
        {"=16 VEC=1 SHARED=0", "has no parameter ''"},
        {"TIL=16 VEC=1 SHARED=0", "has no parameter 'TIL'"},
        {"TILE=16  VEC=1 SHARED=0", "'' is not of the form"},
        {"TILE=32 VEC=2 SHARED=0", "does not hold 'TILE=32 VEC=2 SHARED=0'"},
    };
    struct space *space = loaded(*state, gemm_path);

    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        struct err err = {0};

        assert_null(space_find_text(space, bad[i].genes, &err));
        if (strstr(err.what, bad[i].told) == NULL) {
            fail_msg("'%s': \"%s\" does not say \"%s\"", bad[i].genes, err.what, bad[i].told);
        }
    }
}

/* Builds by hand what the golden file of evo's own format holds. */
static struct space *attention_built(struct arena *arena)
{
    static const char *const block_m[] = {"32", "64", "128"};
    static const char *const exp[] = {"softmax_exp", "softmax_exp2"};
    const struct space_row rows[] = {
        {{0, 0}, VERDICT_PASS, 12.3456789, 0.1, 250, 12.5, 33.3},
        {{0, 1}, VERDICT_PASS, 1000.0 / 3, 0, 0, 0, 0},
        {{1, 0}, VERDICT_NO_COMPILE, 0, 0, 100, 0, 0},
        {{1, 1}, VERDICT_NO_LAUNCH, 0, 0, 200, 1, 0},
        {{2, 0}, VERDICT_WRONG, 0, 0, 300, 40, 0},
    };
    struct space *space = space_new(arena, "smoke");
    struct err err;

    space->family = "attention_tiled";
    space->device = "NVIDIA H200";
    space->problem = "1x8x512x64";
    space->source = "evo test";
    space->arch = 90;
    space->smem_max = 232448;
    space->sms = 132;
    assert_true(space_add_param(space, "BLOCK_M", block_m, 3, &err));
    assert_true(space_add_param(space, "Exp", exp, 2, &err));
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        assert_true(space_add_row(space, &rows[i], &err));
    }
    return space;
}

static void a_space_that_was_built_is_printed_as_the_golden_file(void **state)
{
    struct space *space = attention_built(*state);
    struct buf golden = {0}, printed = {0};
    struct err err;

    assert_true(file_read(attention_path, 1 << 20, &golden, &err));
    space_print(space, &printed);
    assert_string_equal(printed.data, golden.data);
    assert_true(space->optimum_us == 12.3456789);
    buf_free(&golden);
    buf_free(&printed);
}

static void the_golden_file_is_read_as_the_space_that_was_built(void **state)
{
    struct space *built = attention_built(*state), *space = loaded(*state, attention_path);

    assert_string_equal(space->name, "smoke");
    assert_string_equal(space->family, "attention_tiled");
    assert_string_equal(space->device, "NVIDIA H200");
    assert_string_equal(space->problem, "1x8x512x64");
    assert_string_equal(space->source, "evo test");
    assert_int_equal(space->arch, 90);
    assert_int_equal(space->smem_max, 232448);
    assert_int_equal(space->sms, 132);
    assert_non_null(space->params[0].values);
    assert_null(space->params[1].values);
    assert_int_equal(space->row_count, built->row_count);
    for (int64_t i = 0; i < space->row_count; i++) {
        assert_memory_equal(&space->rows[i], &built->rows[i], sizeof *space->rows);
    }
}

/* Times of any size and any bits come back as they were, and printing again gives the same bytes.
 */
static void no_bit_of_a_time_is_lost_on_the_way(void **state)
{
    enum { COUNT = 4096 };
    static const char *const labels[] = {"0", "1", "2",  "3",  "4",  "5",  "6",  "7",
                                         "8", "9", "10", "11", "12", "13", "14", "15"};
    struct space *space = space_new(*state, "bits"), *again;
    struct buf once = {0}, twice = {0};
    struct rng rng = rng_at(5, 0, 0);
    struct err err;

    space->device = "d";
    for (int i = 0; i < 3; i++) {
        assert_true(space_add_param(space, i == 0 ? "A" : i == 1 ? "B" : "C", labels, 16, &err));
    }
    for (int i = 0; i < COUNT; i++) {
        struct space_row row = {
            .at = {(uint8_t)(i >> 8), (uint8_t)(i >> 4 & 15), (uint8_t)(i & 15)},
            .verdict = VERDICT_PASS,
            .time_us = ldexp(1 + rng_unit(&rng), (int)rng_below(&rng, 120) - 60),
            .sd_us = i % 3 ? rng_unit(&rng) * 1e-3 : 0,
            .compile_ms = rng_unit(&rng) * 1000,
            .bench_ms = rng_below(&rng, 100000),
        };

        assert_true(space_add_row(space, &row, &err));
    }
    space_print(space, &once);
    again = parsed(*state, once.data, once.length);
    assert_int_equal(again->row_count, COUNT);
    for (int i = 0; i < COUNT; i++) {
        assert_memory_equal(&again->rows[i], &space->rows[i], sizeof *space->rows);
    }
    space_print(again, &twice);
    assert_string_equal(once.data, twice.data);
    buf_free(&once);
    buf_free(&twice);
}

static void the_digest_is_of_the_files_bytes(void **state)
{
    struct space *one = loaded(*state, gemm_path), *two = loaded(*state, gemm_path);
    struct buf text = {0};
    struct err err;

    assert_true(hash_equal(&one->digest, &two->digest));
    assert_true(file_read(gemm_path, 1 << 20, &text, &err));
    buf_puts(&text, "64,1,0,ok,3,,,,\n");
    two = parsed(*state, text.data, text.length);
    assert_false(hash_equal(&one->digest, &two->digest));
    assert_false(hash_is_zero(&one->digest));
    buf_free(&text);
}

static void a_space_without_a_name_has_its_files(void **state)
{
    static const char text[] = "# device d\n# param A 1\nA,status,time_ms\n1,ok,2";
    struct space *space;
    struct err err;

    assert_true(space_parse(*state, "x/y/toy.csv", text, strlen(text), &space, &err));
    assert_string_equal(space->name, "toy");
    assert_true(space->rows[0].time_us == 2000);
}

#define HEAD  "# device d\n# param A 1 2\n# param B x y\n"
#define TABLE HEAD "A,B,status,time_ms,sd_ms\n"

static void a_broken_file_is_refused_with_its_line(void **state)
{
    static const struct {
        const char *text, *told;
    } bad[] = {
        {"", "t.csv: ends before its table"},
        {"# device d\n", "t.csv: ends before its table"},
        {"a,b\n", "t.csv:1: the table begins and no '# param'"},
        {"\n", "t.csv:1: the table begins"},
        {"# param A 1\nA,status,time_ms\n1,ok,1\n", "t.csv: no '# device' line"},
        {"# device d\n# device e\n", "t.csv:2: '# device' stands there twice"},
        {"# evo-space 2\n", "t.csv:1: a recording of format '2', and this evo reads 1"},
        {"# sms many\n", "t.csv:1: '# sms' must be a whole number, not 'many'"},
        {"# arch -1\n", "t.csv:1: '# arch' must be"},
        {"# param\n", "t.csv:1: '# param' names no parameter"},
        {"# param A\n", "t.csv:1: parameter 'A' has 0 values"},
        {"# param 1A 2\n", "t.csv:1: '1A' is not a parameter's name"},
        {"# param A 1 2 1\n", "t.csv:1: parameter 'A' has the value '1' twice"},
        {"# param A 1,2\n", "t.csv:1: parameter 'A': '1,2' cannot be a value"},
        {"# param A 1\n# param A 2\n", "t.csv:2: parameter 'A' is declared twice"},
        {HEAD "A,status,time_ms\n", "t.csv:4: column 2 must be 'B'"},
        {HEAD "B,A,status,time_ms\n", "t.csv:4: column 1 must be 'A'"},
        {HEAD "A\n", "t.csv:4: column 2 must be 'B'"},
        {HEAD "A,B,time_ms\n", "t.csv:4: there is no column 'status'"},
        {HEAD "A,B,status\n", "t.csv:4: there is no column 'time_ms'"},
        {HEAD "A,B,status,time_ms,status\n", "t.csv:4: two columns 'status'"},
        {TABLE, "t.csv: holds no configuration"},
        {TABLE "1,x,ok,5\n", "t.csv:5: 4 cells, and the header has 5"},
        {TABLE "1,x,ok,5,1,2\n", "t.csv:5: 6 cells"},
        {TABLE "1,x,ok,5,1\n\n", "t.csv:6: 1 cells"},
        {TABLE "3,x,ok,5,1\n", "t.csv:5: '3' is not a value of 'A'"},
        {TABLE "1,,ok,5,1\n", "t.csv:5: '' is not a value of 'B'"},
        {TABLE "1,x,good,5,1\n", "t.csv:5: unknown status 'good'"},
        {TABLE "1,x,none,,\n", "t.csv:5: unknown status 'none'"},
        {TABLE "1,x,ok,fast,1\n", "t.csv:5: time_ms: 'fast' is not a number"},
        {TABLE "1,x,ok,0x10,1\n", "t.csv:5: time_ms: '0x10' is not a number"},
        {TABLE "1,x,ok,nan,1\n", "t.csv:5: time_ms: 'nan'"},
        {TABLE "1,x,ok,1e999,1\n", "t.csv:5: time_ms: '1e999'"},
        {TABLE "1,x,ok,1e,1\n", "t.csv:5: time_ms: '1e'"},
        {TABLE "1,x,ok,.,1\n", "t.csv:5: time_ms: '.'"},
        {TABLE "1,x,ok, 1,1\n", "t.csv:5: time_ms: ' 1'"},
        {TABLE "1,x,ok,,1\n", "t.csv:5: a configuration that passed needs a time above 0"},
        {TABLE "1,x,ok,0,1\n", "t.csv:5: a configuration that passed needs a time above 0"},
        {TABLE "1,x,ok,-5,1\n", "t.csv:5: time_ms: '-5' is not a number of 0 or more"},
        {TABLE "1,x,wrong,5,\n", "t.csv:5: a configuration that failed cannot have a time"},
        {TABLE "1,x,ok,5,-0\n", "t.csv:5: sd_ms: '-0' is not a number of 0 or more"},
        {TABLE "1,x,ok,5,1\n2,x,ok,5,1\n1,x,wrong,,\n",
         "t.csv:7: the configuration is that of row 1 again"},
    };

    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        struct space *space = NULL;
        struct err err = {0};

        if (space_parse(*state, "t.csv", bad[i].text, strlen(bad[i].text), &space, &err)) {
            fail_msg("was read: %s", bad[i].text);
        }
        if (!str_starts(err.what, bad[i].told)) {
            fail_msg("\"%s\" does not begin with \"%s\"", err.what, bad[i].told);
        }
        assert_int_equal(err.kind, ERR_USER);
        assert_null(space);
    }
}

static void a_file_that_is_no_text_is_refused(void **state)
{
    static const char text[] = "# device d\n\0# param A 1\n";
    struct space *space;
    struct err err;

    assert_false(space_parse(*state, "t.csv", text, sizeof text - 1, &space, &err));
    assert_string_equal(err.what, "t.csv: not a text file");
    assert_false(space_load(*state, "/nowhere/t.csv", &space, &err));
    assert_int_equal(err.kind, ERR_SYSTEM);
}

static void limits_are_limits(void **state)
{
    struct space *space = space_new(*state, "limits");
    const char *labels[SPACE_VALUES_MAX + 1];
    char name[SPACE_WORD_MAX + 2];
    struct space_row row = {.verdict = VERDICT_PASS, .time_us = 1};
    struct err err;

    for (int i = 0; i <= SPACE_VALUES_MAX; i++) {
        labels[i] = arena_printf(*state, "v%d", i);
    }
    assert_false(space_add_row(space, &row, &err));
    assert_false(space_add_param(space, "A", labels, SPACE_VALUES_MAX + 1, &err));
    assert_true(space_add_param(space, "A", labels, SPACE_VALUES_MAX, &err));
    memset(name, 'N', sizeof name);
    name[SPACE_WORD_MAX + 1] = '\0';
    assert_false(space_add_param(space, name, labels, 1, &err));
    name[SPACE_WORD_MAX] = '\0';
    assert_true(space_add_param(space, name, labels, 1, &err));
    for (int i = 2; i < SPACE_PARAMS_MAX; i++) {
        snprintf(name, sizeof name, "P%d", i);
        assert_true(space_add_param(space, name, labels, 2, &err));
    }
    assert_false(space_add_param(space, "ONE_MORE", labels, 1, &err));
    row.at[0] = SPACE_VALUES_MAX - 1;
    row.at[SPACE_PARAMS_MAX - 1] = 2;
    assert_false(space_add_row(space, &row, &err));
    row.at[SPACE_PARAMS_MAX - 1] = 1;
    assert_true(space_add_row(space, &row, &err));
    assert_false(space_add_row(space, &row, &err));
    assert_ptr_equal(space_find(space, row.at), &space->rows[0]);
    row.verdict = VERDICT_NONE;
    row.at[0] = 0;
    assert_false(space_add_row(space, &row, &err));
    row.verdict = VERDICT_PASS;
    row.compile_ms = -1;
    assert_false(space_add_row(space, &row, &err));
    row.compile_ms = NAN;
    assert_false(space_add_row(space, &row, &err));
    row.compile_ms = 0;
    row.time_us = INFINITY;
    assert_false(space_add_row(space, &row, &err));
    assert_int_equal(space->row_count, 1);
}

static void a_space_without_rows_holds_nothing(void **state)
{
    static const char *const label[] = {"1"};
    struct space *space = space_new(*state, "empty");
    const uint8_t at[SPACE_PARAMS_MAX] = {0};
    struct err err;

    assert_true(space_add_param(space, "A", label, 1, &err));
    assert_null(space_find(space, at));
    assert_null(space_find_text(space, "A=1", &err));
}

static void texts_of_a_device_cannot_break_the_file(void **state)
{
    struct space *space = attention_built(*state), *again;
    struct buf text = {0};

    space->device = "evil\n# sms 7\rdevice";
    space_print(space, &text);
    again = parsed(*state, text.data, text.length);
    assert_string_equal(again->device, "evil # sms 7 device");
    assert_int_equal(again->sms, 132);
    buf_free(&text);
}

/* Cut and damaged files are refused or read, never a crash; what was read prints and reads again.
 */
static void damaged_files_never_crash_the_reader(void **state)
{
    struct buf text = {0}, damaged = {0}, printed = {0};
    struct err err;
    int read = 0;

    (void)state;
    assert_true(file_read(gemm_path, 1 << 20, &text, &err));
    for (uint64_t place = 0; place < 4000; place++) {
        struct rng rng = rng_at(9, 0, place);
        struct arena *arena = arena_new();
        struct space *space;

        buf_clear(&damaged);
        buf_add(&damaged, text.data,
                place % 4 ? text.length : rng_below(&rng, (uint32_t)text.length));
        for (uint32_t i = rng_below(&rng, 3); i > 0 && damaged.length > 0; i--) {
            damaged.data[rng_below(&rng, (uint32_t)damaged.length)] =
                "0129,\n #-.e=Ax\xff"[rng_below(&rng, 15)];
        }
        if (space_parse(arena, "t.csv", damaged.data, damaged.length, &space, &err)) {
            buf_clear(&printed);
            space_print(space, &printed);
            parsed(arena, printed.data, printed.length);
            read++;
        }
        arena_free(arena);
    }
    assert_true(read > 100 && read < 3900);
    buf_free(&text);
    buf_free(&damaged);
    buf_free(&printed);
}

/* As large as the largest recordings of others: 18 thousand rows of ten parameters. */
static struct space *large(struct arena *arena)
{
    static const char *const tiles[] = {"8", "16", "32", "64"};
    struct space *space = space_new(arena, "large");
    struct rng rng = rng_at(1, 0, 0);
    struct err err;

    space->device = "d";
    for (int i = 0; i < 10; i++) {
        char name[] = {'P', (char)('0' + i), '\0'};

        assert_true(space_add_param(space, name, tiles, 4, &err));
    }
    for (int i = 0; i < 18000; i++) {
        struct space_row row = {
            .verdict = VERDICT_PASS,
            .time_us = rng_below(&rng, 1000000) + 1,
            .sd_us = rng_below(&rng, 100),
            .compile_ms = 0.1 * rng_below(&rng, 10000),
            .verify_ms = 0.1 * rng_below(&rng, 1000),
            .bench_ms = 0.1 * rng_below(&rng, 100000),
        };

        for (int p = 0; p < 10; p++) {
            row.at[p] = (uint8_t)((unsigned)i * 57 >> 2 * p & 3);
        }
        assert_true(space_add_row(space, &row, &err));
    }
    return space;
}

static void a_large_recording_is_read_in_no_time(void **state)
{
#ifdef __SANITIZE_ADDRESS__
    const int64_t allowed_us = 300 * 1000; /* the sanitizers are several times slower */
#else
    const int64_t allowed_us = 50 * 1000;
#endif
    struct space *space = large(*state), *again;
    int64_t best_us = INT64_MAX;
    struct buf text = {0};

    space_print(space, &text);
    for (int i = 0; i < 5; i++) { /* the best of five: other programs run on the machine */
        int64_t begin_us = clock_cpu_us(), took_us;

        again = parsed(*state, text.data, text.length);
        took_us = clock_cpu_us() - begin_us;
        best_us = took_us < best_us ? took_us : best_us;
        assert_int_equal(again->row_count, 18000);
    }
    print_message("18000 rows in %lld us of CPU time\n", (long long)best_us);
    assert_true(best_us < allowed_us);
    buf_free(&text);
}

static void a_large_recording_finds_each_of_its_rows(void **state)
{
    struct space *space = large(*state);

    for (int64_t i = 0; i < space->row_count; i++) {
        assert_ptr_equal(space_find(space, space->rows[i].at), &space->rows[i]);
    }
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(another_tuners_recording_is_read_whole),
        TEST(rows_hold_what_was_recorded),
        TEST(every_row_is_found_by_its_values_and_nothing_else_is),
        TEST(genes_are_named_in_any_order),
        TEST(genes_that_are_not_in_the_space_are_told_apart),
        TEST(a_space_that_was_built_is_printed_as_the_golden_file),
        TEST(the_golden_file_is_read_as_the_space_that_was_built),
        TEST(no_bit_of_a_time_is_lost_on_the_way),
        TEST(the_digest_is_of_the_files_bytes),
        TEST(a_space_without_a_name_has_its_files),
        TEST(a_broken_file_is_refused_with_its_line),
        TEST(a_file_that_is_no_text_is_refused),
        TEST(limits_are_limits),
        TEST(a_space_without_rows_holds_nothing),
        TEST(texts_of_a_device_cannot_break_the_file),
        TEST(damaged_files_never_crash_the_reader),
        TEST(a_large_recording_is_read_in_no_time),
        TEST(a_large_recording_finds_each_of_its_rows),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
