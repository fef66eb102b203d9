#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "daemon/prune.h"

/* What is left of an included file `text` when the template behind it says `use`. */
static void check(const char *text, const char *use, const char *want)
{
    struct buf source = {0}, pruned = {0}, wanted = {0};

    buf_printf(&source, "#line 1 \"a.cu\"\n#line 1 \"include/x.cuh\"\n%s#line 2 \"a.cu\"\n%s", text,
               use);
    prune_source(source.data, &pruned);
    buf_printf(&wanted, "%s%s", want, use);
    assert_string_equal(pruned.data, wanted.data);
    buf_free(&source);
    buf_free(&pruned);
    buf_free(&wanted);
}

#define GUARD "/*\n * x.cuh -- this and that.\n */\n#ifndef X\n#define X\n"
#define ONE                                                                                        \
    "\n/* Does one thing. */\n__device__ inline int one(int (&x)[2])\n{\n    return x[0] + "       \
    "'}';\n}\n"
#define TWO                                                                                        \
    "\n/* Calls one(). */\ntemplate <int N> __device__ inline int two()\n{\n    return "           \
    "one();\n}\n"
#define USE "int kernel() { return two<3>(); }\n"

static void what_nobody_names_is_left_out(void **state)
{
    (void)state;
    check(GUARD ONE TWO "#endif\n", USE, GUARD ONE TWO "#endif\n");
    check(GUARD ONE TWO "#endif\n", "one();\n", GUARD ONE "#endif\n");
    check(GUARD ONE TWO "#endif\n", "/* one() */ \"two()\";\n", GUARD "#endif\n");
    check(TWO ONE, USE, TWO ONE); /* in whatever order */
}

static void declarations_of_every_kind_are_known(void **state)
{
    (void)state;
    static const char *const kinds[] = {
        "struct thing {\n    int x[2];\n};\n",
        "struct thing;\n",
        "template <class A, int B> struct thing {\n    A x;\n};\n",
        "template <> struct thing<3> {\n};\n",
        "template <int N> using thing = other<N>;\n",
        "using thing = unsigned;\n",
        "#define thing(x) \\\n    do { /* { */ \\\n    } while (x)\n",
        "#undef thing\n",
        "__device__ inline box<8> thing(int a,\n                               int b)\n{\n}\n",
        "template <> __device__ inline void thing<half>(float *c)\n{\n}\n",
        "template <class A>\n__device__ inline void thing(float *c);\n",
        "static const char *thing(void) { return \"}\\\"{\"; } // {\n",
    };

    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++) {
        check(kinds[i], "int thing_of_another_name;\n", "");
        check(kinds[i], "thing;\n", kinds[i]);
    }
}

static void what_has_no_plain_name_stays(void **state)
{
    (void)state;
    static const char *const kinds[] = {
        "enum : int { A, B };\n",
        "enum kind { C, D };\n",
        "MAKE(thing, \"f16\")\n",
        "MAKE(thing)\nMAKE(other)\n",
        "static_assert(sizeof(int) == 4, \"thing\");\n",
        "namespace evo\n{\nint thing(int);\n}\n",
        "struct alignas(128) thing {\n};\n",
        "static constexpr int thing = 3;\n",
        "__device__ inline float2 operator+(float2 a, float2 b)\n{\n}\n",
        "#if THING\n#pragma once\n#endif\n",
        "thing( {\n", /* no end */
    };

    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++) {
        check(kinds[i], "", kinds[i]);
    }
}

/* A macro may put names together. */
static void the_beginning_of_a_pasted_name_keeps_all_of_them(void **state)
{
    (void)state;
    check("#define LIST_1 1\n#define LIST_2 2\n#define LIS 0\n#define GET(n) LIST_##n\n",
          "GET(1);\n", "#define LIST_1 1\n#define LIST_2 2\n#define GET(n) LIST_##n\n");
}

static void the_template_itself_stays(void **state)
{
    (void)state;
    check("int unused(int);\n", "int mine(int);\n", "");
}

#define TEST(name) cmocka_unit_test(name)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(what_nobody_names_is_left_out), TEST(declarations_of_every_kind_are_known),
        TEST(what_has_no_plain_name_stays),  TEST(the_beginning_of_a_pasted_name_keeps_all_of_them),
        TEST(the_template_itself_stays),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
