/* The expressions of templates: values, precedence, limits, and that mistakes are placed. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/expr.h"
#include "base/str.h"

static struct arena *arena;
static struct symbols *symbols;
static int64_t values[8];

static int set_up(void **state)
{
    static const char *const names[] = {"BLOCK_M", "BLOCK_N", "ZERO", "Exp=fast", "TOP"};
    static const int64_t numbers[] = {32, 64, 0, 1, INT64_MAX};
    (void)state;
    arena = arena_new();
    symbols = symbols_new(arena);
    for (int i = 0; i < 5; i++)
        values[symbols_add(symbols, names[i])] = numbers[i];
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    arena_free(arena);
    return 0;
}

static struct expr *parse(const char *text)
{
    struct err err = {0};
    struct expr *expr = NULL;
    if (!expr_parse(arena, text, strlen(text), symbols, &expr, NULL, &err))
        fail_msg("%s: %s", text, err.what);
    return expr;
}

static void values_come_out_as_in_c(void **state)
{
    static const struct {
        const char *text;
        int64_t value;
    } cases[] = {
        {"1 + 2 * 3", 7},
        {"(1 + 2) * 3", 9},
        {"10 - 4 - 3", 3},
        {"100 / 10 / 2", 5},
        {"-7 / 2", -3},
        {"-7 % 3", -1},
        {"2 * -3", -6},
        {"- - 5", 5},
        {"!0 + !7 + !!9", 2},
        {"0x10 + 0Xff", 271},
        {"1 < 2 == 1", 1},
        {"1 + 1 < 2 + 1", 1},
        {"3 > 2 && 2 >= 2 && 1 != 2", 1},
        {"0 || 7", 1},
        {"5 && 7", 1},
        {"1 || 0 && 0", 1},
        {"1 ? 2 : 3", 2},
        {"0 ? 2 : 0 ? 3 : 4", 4},
        {"1 ? 0 ? 5 : 6 : 7", 6},
        {"0 || 1 ? 2 : 3", 2},
        {"true + true - false", 2},
        {"min(3, 2, 4) + max(3, 2, 4)", 6},
        {"ceil_div(7, 2) + ceil_div(8, 2) + ceil_div(0, 5)", 8},
        {"log2(1) + log2(2) + log2(3) + log2(64) + log2(65)", 14},
        {"pow2(0) + pow2(10)", 1025},
        {"log2(pow2(62))", 62},
        {"BLOCK_M * BLOCK_N", 2048},
        {"EVO_IS(Exp, fast) * 5", 5},
        {"9223372036854775807", INT64_MAX},
        {"-9223372036854775807 - 1", INT64_MIN},
        {"TOP / ceil_div(TOP, 2)", 1},
        {"ceil_div(TOP, TOP - 1)", 2},
        {" 4\t+\n4 ", 8},
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct err err = {0};
        int64_t value;
        if (!expr_eval(parse(cases[i].text), values, &value, &err))
            fail_msg("%s: %s", cases[i].text, err.what);
        if (value != cases[i].value)
            fail_msg("%s is %lld, not %lld", cases[i].text, (long long)value,
                     (long long)cases[i].value);
    }
}

static void what_is_not_needed_is_not_evaluated(void **state)
{
    static const char *const texts[] = {"ZERO && 1 / ZERO", "!(1 || 1 / ZERO)",
                                        "ZERO ? 1 / ZERO : 0", "!(1 ? 2 : log2(ZERO))"};
    int64_t value;
    (void)state;
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
        assert_true(expr_eval(parse(texts[i]), values, &value, NULL));
        assert_int_equal(value, 0);
    }
}

static void what_has_no_value_fails_and_says_why(void **state)
{
    static const char *const cases[][2] = {
        {"1 / ZERO", "division by zero"},
        {"1 % ZERO", "division by zero"},
        {"ceil_div(1, ZERO)", "division by zero"},
        {"ceil_div(-1, 2)", "ceil_div of a negative number"},
        {"ceil_div(1, -2)", "ceil_div of a negative number"},
        {"log2(0)", "log2 of a number that is not above 0"},
        {"pow2(63)", "pow2 of a number outside 0 to 62"},
        {"pow2(-1)", "pow2 of a number outside 0 to 62"},
        {"TOP + 1", "overflow in '+'"},
        {"-TOP - 2", "overflow in '-'"},
        {"TOP * 2", "overflow in '*'"},
        {"-(-TOP - 1)", "overflow in '-'"},
        {"(-TOP - 1) / -1", "overflow in a division"},
        {"(-TOP - 1) % -1", "overflow in a division"},
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct err err = {0};
        int64_t value = 42;
        assert_false(expr_eval(parse(cases[i][0]), values, &value, &err));
        assert_string_equal(err.what, cases[i][1]);
        assert_false(expr_eval(parse(cases[i][0]), values, &value, NULL));
        assert_int_equal(value, 42);
    }
}

static void a_mistake_is_told_with_its_place(void **state)
{
    static const struct {
        const char *text, *what;
        size_t at;
    } cases[] = {
        {"", "expected a value, but the expression ends", 0},
        {"1 +", "expected a value, but the expression ends", 3},
        {"BLOCK_M + BLOCK_Q", "unknown name 'BLOCK_Q'", 10},
        {"BLOCK_M BLOCK_N", "expected an operator or the end of the expression, not 'BLOCK_N'", 8},
        {"(1 + 2", "expected ')', but the expression ends", 6},
        {"1 + 2)", "expected an operator or the end of the expression, not ')'", 5},
        {"sqrt(4)", "unknown function 'sqrt'", 0},
        {"1 + min(4)", "'min' takes at least 2 arguments, not 1", 4},
        {"ceil_div(1, 2, 3)", "'ceil_div' takes 2 arguments, not 3", 0},
        {"log2(1, 2)", "'log2' takes 1 argument, not 2", 0},
        {"max + 1", "expected '(' and the arguments of the function, not '+'", 4},
        {"1 ? 2", "expected ':', but the expression ends", 5},
        {"2 = 2", "expected an operator or the end of the expression, not '='", 2},
        {"1 & 1", "expected an operator or the end of the expression, not '&'", 2},
        {"BLOCK_M--1", "'--' means something else in C++: write '- -'", 7},
        {"010", "a number may not begin with 0", 0},
        {"0xg", "'0xg' is not a number", 0},
        {"12ab", "'12ab' is not a number", 0},
        {"9223372036854775808", "the number is above 2^63 - 1", 0},
        {"1 + \"a\"", "expected a value, not '\"'", 4},
        {"1 + \x01", "expected a value, not the byte 0x01", 4},
        {"EVO_IS(Exp, slow)", "there is no choice 'Exp' with a label 'slow'", 0},
        {"EVO_IS(Exp)", "expected ',', not ')'", 10},
        {"Exp", "unknown name 'Exp'", 0},
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct err err = {0};
        struct expr *expr;
        size_t at = 999;
        assert_false(
            expr_parse(arena, cases[i].text, strlen(cases[i].text), symbols, &expr, &at, &err));
        assert_string_equal(err.what, cases[i].what);
        assert_int_equal(at, cases[i].at);
        assert_int_equal(err.kind, ERR_USER);
    }
}

static void repeated(struct buf *buf, const char *start, const char *piece, int times,
                     const char *end)
{
    buf_clear(buf);
    buf_puts(buf, start);
    for (int i = 0; i < times; i++)
        buf_puts(buf, piece);
    buf_puts(buf, end);
}

static bool parses(const struct buf *buf, struct err *err)
{
    struct expr *expr;
    int64_t value;
    return expr_parse(arena, buf->data, buf->length, symbols, &expr, NULL, err) &&
           expr_eval(expr, values, &value, err);
}

static void limits_hold_on_both_sides(void **state)
{
    struct buf buf = {0};
    struct err err = {0};
    (void)state;
    repeated(&buf, "", "(", EXPR_DEPTH_MAX - 1, "1");
    for (int i = 0; i < EXPR_DEPTH_MAX - 1; i++)
        buf_puts(&buf, ")");
    assert_true(parses(&buf, &err));
    repeated(&buf, "", "(", EXPR_DEPTH_MAX, "1");
    assert_false(parses(&buf, &err));
    assert_string_equal(err.what, "the expression nests deeper than 64 levels");
    repeated(&buf, "", "-", EXPR_DEPTH_MAX, "1");
    assert_false(parses(&buf, &err));
    repeated(&buf, "", "1 ? 1 : ", EXPR_DEPTH_MAX, "1");
    assert_false(parses(&buf, &err));

    /* n values and n - 1 additions */
    repeated(&buf, "1", "+1", EXPR_OPS_MAX / 2 - 1, "");
    assert_true(parses(&buf, &err));
    repeated(&buf, "1", "+1", EXPR_OPS_MAX / 2, "");
    assert_false(parses(&buf, &err));
    assert_string_equal(err.what, "the expression has more than 1024 operations");
    repeated(&buf, "1", " ", EXPR_BYTES_MAX - 1, "");
    assert_true(parses(&buf, &err));
    repeated(&buf, "1", " ", EXPR_BYTES_MAX, "");
    assert_false(parses(&buf, &err));
    assert_string_equal(err.what, "the expression is longer than 4096 bytes");

    /* the deepest stack: every precedence waits at every level */
    buf_clear(&buf);
    for (int i = 0; i < EXPR_DEPTH_MAX - 1; i++)
        buf_puts(&buf, "0 == 1 < 1 + 1 * min(1, ");
    buf_puts(&buf, "1");
    for (int i = 0; i < EXPR_DEPTH_MAX - 1; i++)
        buf_puts(&buf, ")");
    assert_true(parses(&buf, &err));
    buf_free(&buf);
}

static void a_text_is_folded_and_filled(void **state)
{
    struct expr *expr = parse("  2 *\n\t BLOCK_M*BLOCK_N <= 100  && EVO_IS( Exp ,\n fast)");
    (void)state;
    assert_string_equal(expr_text(expr), "2 * BLOCK_M*BLOCK_N <= 100 && EVO_IS( Exp , fast)");
    assert_string_equal(expr_filled(arena, expr, values), "2 * 32*64 <= 100 && 1");
    assert_true(expr_reads(expr, symbols_find(symbols, "BLOCK_N", 7)));
    assert_true(expr_reads(expr, symbols_find(symbols, "Exp=fast", 8)));
    assert_false(expr_reads(expr, symbols_find(symbols, "ZERO", 4)));
}

/* "BLOCK_M*ZERO^-1": the factors in the order of their slots. */
static const char *product_text(const struct product *product)
{
    struct buf buf = {0};
    for (int slot = 0; slot < symbols->count; slot++)
        for (int i = 0; i < product->count; i++)
            if (product->slots[i] == slot)
                buf_printf(&buf, product->powers[i] == 1 ? "%s%s" : "%s%s^%d",
                           buf.length > 0 ? "*" : "", symbols->names[slot], product->powers[i]);
    const char *text = arena_dup(arena, buf.data);
    buf_free(&buf);
    return text;
}

static void products_are_found_wherever_they_stand(void **state)
{
    static const struct {
        const char *text, *products; /* in the order found */
        bool whole;
    } cases[] = {
        {"7", "", false},
        {"2 * BLOCK_M * 4 * BLOCK_N", "BLOCK_M*BLOCK_N", true},
        {"BLOCK_M * ZERO / BLOCK_M", "ZERO", true},
        {"BLOCK_M / BLOCK_M", "", false},
        {"ceil_div(BLOCK_M, TOP)", "BLOCK_M*TOP^-1", true},
        {"BLOCK_M * BLOCK_N <= 1024", "BLOCK_M*BLOCK_N", false},
        {"32 <= BLOCK_M * BLOCK_N && TOP < 5", "BLOCK_M*BLOCK_N TOP", false},
        {"BLOCK_M % (BLOCK_N * ZERO) == 0", "BLOCK_M*BLOCK_N^-1*ZERO^-1", false},
        {"(BLOCK_M * TOP + 14) * (BLOCK_N * ZERO + 14) < 9", "BLOCK_M*TOP BLOCK_N*ZERO", false},
        {"2 * TOP * (BLOCK_M + ZERO * BLOCK_N)", "BLOCK_M BLOCK_N*ZERO TOP", false},
        {"TOP ? BLOCK_M * ZERO : BLOCK_N", "TOP BLOCK_M*ZERO BLOCK_N", false},
        {"BLOCK_M * (ZERO ? 1 : TOP ? 2 : BLOCK_N)", "ZERO TOP BLOCK_N BLOCK_M", false},
        {"max(BLOCK_M, -TOP) * BLOCK_N", "TOP BLOCK_M BLOCK_N", false},
    };
    struct product products[EXPR_OPS_MAX];
    bool whole;
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct buf all = {0};
        int count = expr_products(parse(cases[i].text), products, EXPR_OPS_MAX, &whole);
        for (int j = 0; j < count; j++)
            buf_printf(&all, "%s%s", j > 0 ? " " : "", product_text(&products[j]));
        assert_string_equal(all.data == NULL ? "" : all.data, cases[i].products);
        assert_int_equal(whole, cases[i].whole);
        buf_free(&all);
    }
    assert_int_equal(expr_products(parse("TOP + BLOCK_M + BLOCK_N"), products, 2, &whole), 2);
}

static void a_product_has_room_for_so_many_factors(void **state)
{
    struct product a = {4, {1, 2, 3, 4}, {1, 1, -1, 2}}, b = {1, {5}, {1}}, c = {1, {4}, {2}};
    (void)state;
    assert_true(product_join(&a, &c, true)); /* the fourth is gone */
    assert_int_equal(a.count, 3);
    assert_true(product_join(&a, &b, false));
    assert_int_equal(a.count, 4);
    assert_false(product_join(&a, &c, false));
}

static void symbols_keep_their_slots_while_they_grow(void **state)
{
    struct symbols *many = symbols_new(arena);
    (void)state;
    for (int i = 0; i < 1000; i++)
        assert_int_equal(symbols_add(many, arena_printf(arena, "n%d", i)), i);
    for (int i = 0; i < 1000; i += 37)
        assert_int_equal(symbols_add(many, arena_printf(arena, "n%d", i)), i);
    assert_int_equal(many->count, 1000);
    assert_int_equal(symbols_find(many, "n12", 2), 1);
    assert_int_equal(symbols_find(many, "n1000", 5), -1);
    assert_int_equal(symbols_find(many, "n", 1), -1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(values_come_out_as_in_c),
        cmocka_unit_test(what_is_not_needed_is_not_evaluated),
        cmocka_unit_test(what_has_no_value_fails_and_says_why),
        cmocka_unit_test(a_mistake_is_told_with_its_place),
        cmocka_unit_test(limits_hold_on_both_sides),
        cmocka_unit_test(a_text_is_folded_and_filled),
        cmocka_unit_test(products_are_found_wherever_they_stand),
        cmocka_unit_test(a_product_has_room_for_so_many_factors),
        cmocka_unit_test(symbols_keep_their_slots_while_they_grow),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
