/* Templates as declared: what is read, which mistakes are told where, and what a genome means. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/str.h"
#include "fitness/space.h"
#include "genome/family.h"
#include "genome/products.h"

#define INCLUDE "#include \"evo.cuh\"\n" /* line 1 */
#define LAUNCH  "EVO_LAUNCH(attention, (1), 32, 0, (Q, K, V, O))\n"
#define KERNEL  "extern \"C\" __global__ void attention(float *O) { }\n"

static struct arena *arena;
static const struct givens givens = {{[GIVEN_HEAD_DIM] = 64,
                                      [GIVEN_CAUSAL] = 1,
                                      [GIVEN_DEVICE_SMEM_MAX] = 49152,
                                      [GIVEN_DEVICE_ARCH] = 90}};

static int set_up(void **state)
{
    (void)state;
    arena = arena_new();
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    arena_free(arena);
    return 0;
}

static const char tiled[] =
    "/*\n"
    " * tiled -- tiles of K and V in shared\n"
    " * memory. More words.\n"
    " */\n" INCLUDE "EVO_GIVEN(HEAD_DIM, \"columns\")\n"
    "EVO_GIVEN(DEVICE_SMEM_MAX, \"bytes of shared memory\")\n"
    "EVO_GENE(BLOCK_M, pow2(16, 256), \"query rows\")   // EVO_GENE(COMMENT, flag, \"no\")\n"
    "EVO_GENE(BLOCK_N, range(8, 130, 40), \"keys \\\"a\\\" \" \"step\")\n"
    "EVO_GENE(STAGES, set(1, 2, /* three is */ 4), \"copies\");\n"
    "EVO_GENE(GUARD, flag, \"guards\")\n"
    "struct softmax_exp { static float of(float x) { return EVO_ANY(x, ';'); } };\n"
    "EVO_CHOICE(Exp, (softmax_exp, softmax_exp2, softmax_poly), \"which exponential\")\n"
    "EVO_LET(SMEM_BYTES,\n"
    "        2 * BLOCK_N * HEAD_DIM * 4 * STAGES, \"a tile of K and one of V\")\n"
    "EVO_LET(BLOCKS, 4096 / SMEM_BYTES, \"unused\")\n"
    "EVO_REQUIRE(SMEM_BYTES <= DEVICE_SMEM_MAX, \"K and V tiles must fit\")\n"
    "EVO_REQUIRE(!EVO_IS(Exp, softmax_poly) || GUARD, \"the polynomial needs guards\")\n"
    "EVO_SUPPORTS(kv_len % BLOCK_N == 0 || EVO_IS(Exp, softmax_exp), \"whole tiles\")\n"
    "EVO_NUMERICS(EVO_IS(Exp, softmax_poly))\n"
    "EVO_WORKSPACE(parts, batch * heads * BLOCK_M * 4, zero_once, \"partial sums\")\n"
    "EVO_LAUNCH(attention, (ceil_div(q_len, BLOCK_M), heads), BLOCK_M, SMEM_BYTES,\n"
    "           (Q, K, V, parts, problem))\n"
    "extern \"C\" __global__ void __launch_bounds__(BLOCK_M) attention(float *a)\n"
    "{\n"
    "    const char *s = \"EVO_GENE(STRING, flag, 1)\";\n"
    "    if constexpr (EVO_IS(Exp, softmax_exp2)) { }\n"
    "}\n"
    "EVO_LAUNCH(merge, (1, EVO_IS(Exp , softmax_exp2) + 1, sms), 32, 0, (parts, O))\n"
    "extern \"C\" __global__ void merge(float *a) { }\n";

static struct family *parse(const char *text)
{
    struct family *family = NULL;
    struct err err = {0};
    if (!family_parse(arena, "tiled", "t/tiled.cu", text, strlen(text), &family, &err))
        fail_msg("%s (%s)", err.what, err.hint);
    return family;
}

static struct genome genome_of(const struct family *family, const char *genes)
{
    struct genome genome = {0};
    struct err err = {0};
    if (!genome_parse(family, genes, &genome, &err))
        fail_msg("%s (%s)", err.what, err.hint);
    return genome;
}

static void a_template_is_read_whole(void **state)
{
    struct family *family = parse(tiled);
    const int64_t block_n[] = {8, 48, 88, 128};
    (void)state;
    assert_string_equal(family->title, "tiles of K and V in shared memory");
    assert_int_equal(family->gene_count, 5);
    assert_int_equal(family->genes[0].count, 5);
    assert_int_equal(family->genes[0].values[4], 256);
    assert_int_equal(family->genes[0].line, 8);
    assert_int_equal(family->genes[1].count, 4);
    assert_memory_equal(family->genes[1].values, block_n, sizeof block_n);
    assert_string_equal(family->genes[1].doc, "keys \"a\" step");
    assert_int_equal(family->genes[2].values[2], 4);
    assert_int_equal(family->genes[3].count, 2);
    assert_int_equal(family->genes[4].kind, GENE_CHOICE);
    assert_string_equal(family->genes[4].labels[1], "softmax_exp2");
    assert_int_equal(family->genes[4].line, 13);
    assert_int_equal(family->let_count, 2);
    assert_int_equal(family->require_count, 2);
    assert_int_equal(family->requires[0].line, 17);
    assert_true(family->given_slots[GIVEN_HEAD_DIM] >= 0);
    assert_int_equal(family->given_slots[GIVEN_CAUSAL], -1);

    const struct program *program = &family->program;
    assert_int_equal(program->kernel_count, 2);
    assert_string_equal(program->kernels[0].name, "attention");
    assert_string_equal(program->kernels[0].grid[0], "ceil_div(q_len, BLOCK_M)");
    assert_string_equal(program->kernels[0].grid[2], "1");
    assert_string_equal(program->kernels[0].smem, "SMEM_BYTES");
    assert_int_equal(program->kernels[0].arg_count, 5);
    assert_string_equal(program->kernels[0].args[3], "parts");
    assert_string_equal(program->kernels[1].grid[2], "sms");
    assert_int_equal(program->workspace_count, 1);
    assert_int_equal(program->workspaces[0].kind, WORKSPACE_ZERO_ONCE);
    assert_int_equal(program->supports_count, 1);
}

static void a_title_ends_where_the_first_sentence_does(void **state)
{
    static const char *const cases[][2] = {
        {"// One line. Another\n", "One line"},
        {"// One 0.5 line\n// and more\n\n", "One 0.5 line and more"},
        {"/* name -- a * b\n *\n * Later.\n */\n", "a * b"},
        {"/**\n * Short.*/\n", "Short"},
        {"\n\n/* x */", "x"},
        {"", ""},
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        char *text = arena_printf(arena, "%s" INCLUDE LAUNCH, cases[i][0]);
        assert_string_equal(parse(text)->title, cases[i][1]);
    }
}

static void every_mistake_is_told_where_it_is(void **state)
{
    static const struct {
        const char *text, *what, *hint;
    } cases[] = {
        /* words */
        {INCLUDE "EVO_GNE(A, flag, \"\")\n" LAUNCH, "2:1: unknown word 'EVO_GNE'",
         "did you mean 'EVO_GENE'?"},
        {INCLUDE "  EVO_PARAMETER(A)\n" LAUNCH, "2:3: unknown word 'EVO_PARAMETER'",
         "the words are EVO_GIVEN EVO_GENE EVO_CHOICE EVO_LET EVO_REQUIRE EVO_SUPPORTS "
         "EVO_NUMERICS "
         "EVO_WORKSPACE EVO_TENSOR_MAP EVO_LAUNCH"},
        {INCLUDE "EVO_GENE A;\n" LAUNCH, "2:1: EVO_GENE is written EVO_GENE(NAME, domain, \"doc\")",
         ""},
        {INCLUDE "EVO_GENE(A, flag)\n" LAUNCH, "2:1: EVO_GENE takes 3 arguments, not 2",
         "it is written EVO_GENE(NAME, domain, \"doc\")"},
        {INCLUDE "EVO_NUMERICS(0, 1)\n" LAUNCH, "2:1: EVO_NUMERICS takes 1 argument, not 2",
         "it is written EVO_NUMERICS(expression)"},
        {INCLUDE "EVO_GENE(A, flag, \"a\"\n" LAUNCH, "2:9: EVO_GENE is not closed", ""},
        {INCLUDE LAUNCH "EVO_LAUNCH(b, (1, 2", "3:11: EVO_LAUNCH is not closed", ""},
        {INCLUDE "EVO_GENE(A, flag,, \"a\")\n", "2:18: EVO_GENE has an empty part", ""},
        {INCLUDE "EVO_GENE(A, (flag], \"a\")\n", "2:18: ']' closes nothing", ""},
        {INCLUDE "EVO_GENE(A,\n#define X\nflag, \"a\")\n",
         "3:1: a preprocessor line inside EVO_GENE", ""},
        {"EVO_GENE(A, flag, \"a\")\n" INCLUDE LAUNCH,
         "1:1: EVO_GENE stands above #include \"evo.cuh\"", ""},
        {INCLUDE "void f() { EVO_GENE(A, flag, \"a\") }\n" LAUNCH,
         "2:12: EVO_GENE stands inside braces or parentheses; words stand at file scope", ""},
        {INCLUDE "#if 1\nEVO_GENE(A, flag, \"a\")\n#endif\n" LAUNCH,
         "3:1: EVO_GENE stands under an #if, which the engine does not evaluate", ""},
        {INCLUDE LAUNCH KERNEL "EVO_GENE(A, flag, \"a\")\n",
         "4:1: EVO_GENE stands below an EVO_LAUNCH; launches are the last words", ""},
        {INCLUDE "#endif\n", "2:1: #endif without #if", ""},
        /* names */
        {INCLUDE "EVO_GENE(A, flag, \"a\")\nEVO_LET(A, 1, \"a\")\n" LAUNCH,
         "3:9: 'A' is declared twice", "line 2 declares it first"},
        {INCLUDE "EVO_GIVEN(LSE, \"\")\nEVO_GIVEN(LSE, \"\")\n" LAUNCH,
         "3:11: 'LSE' is declared twice", "line 2 declares it first"},
        {INCLUDE "EVO_CHOICE(A, (b, c), \"a\")\nEVO_GENE(c, flag, \"\")\n" LAUNCH,
         "3:10: 'c' is declared twice", "line 2 declares it first, as a label of A"},
        {INCLUDE "EVO_CHOICE(A, (b, b), \"a\")\n" LAUNCH, "2:19: 'b' is declared twice",
         "line 2 declares it first, as a label of A"},
        {INCLUDE "EVO_GENE(heads, flag, \"a\")\n" LAUNCH, "2:10: 'heads' is a launch variable", ""},
        {INCLUDE "EVO_GENE(max, flag, \"a\")\n" LAUNCH, "2:10: 'max' is a word of expressions", ""},
        {INCLUDE "EVO_GENE(EVO_A, flag, \"a\")\n" LAUNCH,
         "2:10: 'EVO_A' holds EVO_, which is for the words", ""},
        {INCLUDE "EVO_GENE(A B, flag, \"a\")\n" LAUNCH, "2:10: a gene is one name", ""},
        {INCLUDE "EVO_GENE(1, flag, \"a\")\n" LAUNCH, "2:10: a gene is one name", ""},
        {INCLUDE "EVO_GIVEN(HEADDIM, \"\")\n" LAUNCH, "2:11: nothing gives 'HEADDIM'",
         "did you mean 'HEAD_DIM'?"},
        {INCLUDE "EVO_GIVEN(SIZE, \"\")\n" LAUNCH, "2:11: nothing gives 'SIZE'",
         "the givens are HEAD_DIM CAUSAL BF16 LSE DEVICE_SMEM_MAX DEVICE_ARCH"},
        /* domains */
        {INCLUDE "EVO_GENE(A, rnge(1, 2), \"a\")\n" LAUNCH, "2:13: 'rnge' is no domain",
         "did you mean 'range'?"},
        {INCLUDE "EVO_GENE(A, 1, \"a\")\n" LAUNCH, "2:13: '1' is no domain",
         "the domains are range pow2 set flag"},
        {INCLUDE "EVO_GENE(A, range(1), \"a\")\n" LAUNCH,
         "2:13: 'range' is written range(lo, hi, step)", ""},
        {INCLUDE "EVO_GENE(A, range, \"a\")\n" LAUNCH,
         "2:13: 'range' is written range(lo, hi, step)", ""},
        {INCLUDE "EVO_GENE(A, range(1, 2) + 1, \"a\")\n" LAUNCH,
         "2:13: 'range' is written range(lo, hi, step)", ""},
        {INCLUDE "EVO_GENE(A, range(1, 8, 0), \"a\")\n" LAUNCH,
         "2:25: the step of a range is above 0", ""},
        {INCLUDE "EVO_GENE(A, range(8, 1), \"a\")\n" LAUNCH, "2:13: the domain is empty", ""},
        {INCLUDE "EVO_GENE(A, set(), \"a\")\n" LAUNCH, "2:13: the domain is empty", ""},
        {INCLUDE "EVO_GENE(A, set(1, 4, 2), \"a\")\n" LAUNCH,
         "2:23: the values of a set ascend: 2 after 4", ""},
        {INCLUDE "EVO_GENE(A, pow2(8, 24), \"a\")\n" LAUNCH, "2:21: 24 is not a power of two", ""},
        {INCLUDE "EVO_GENE(A, pow2(0, 8), \"a\")\n" LAUNCH, "2:18: 0 is not a power of two", ""},
        {INCLUDE "EVO_GENE(A, range(0, 1000), \"a\")\n" LAUNCH,
         "2:13: the domain has more than 256 values", ""},
        {INCLUDE "EVO_GENE(A, set(1, 3000000000), \"a\")\n" LAUNCH,
         "2:20: 3000000000 does not fit an int", ""},
        {INCLUDE "EVO_GENE(A, set(1, 2 / 0), \"a\")\n" LAUNCH, "2:20: division by zero", ""},
        {INCLUDE "EVO_CHOICE(A, (), \"a\")\n" LAUNCH, "2:15: a choice has 1 to 32 labels, not 0",
         ""},
        {INCLUDE "EVO_CHOICE(A, b, \"a\")\n" LAUNCH,
         "2:15: the labels of a choice is a list in parentheses", ""},
        {INCLUDE "EVO_CHOICE(A, (b<1>), \"a\")\n" LAUNCH, "2:16: a label is one name", ""},
        /* texts */
        {INCLUDE "EVO_GENE(A, flag, doc)\n" LAUNCH, "2:19: expected a \"text\" that explains", ""},
        {INCLUDE "EVO_GENE(A, flag, \"a\\n\")\n" LAUNCH,
         "2:22: this text may escape only \\\" and \\\\, and holds no tabs", ""},
        {INCLUDE "EVO_GENE(A, flag, \"doc)\n" LAUNCH, "2:19: the string is not closed", ""},
        {INCLUDE "/* never closed\n" LAUNCH, "2:1: the comment is not closed", ""},
        {INCLUDE "auto x = R\"(abc;\n" LAUNCH, "2:10: the raw string is not closed", ""},
        /* expressions */
        {INCLUDE "EVO_GENE(BLOCK, flag, \"a\")\nEVO_REQUIRE(1 < // why\n BLOK, \"a\")\n" LAUNCH,
         "4:2: unknown name 'BLOK'", "did you mean 'BLOCK'?"},
        {INCLUDE "EVO_GENE(BLOCK, flag, \"a\")\nEVO_REQUIRE(WARPS, \"a\")\n" LAUNCH,
         "3:13: unknown name 'WARPS'", "the names declared above it are BLOCK"},
        {INCLUDE "EVO_REQUIRE(A, \"a\")\nEVO_GENE(A, flag, \"a\")\n" LAUNCH,
         "2:13: unknown name 'A'", "the names declared above it are: none"},
        {INCLUDE "EVO_LET(A, A + 1, \"a\")\n" LAUNCH, "2:12: unknown name 'A'",
         "the names declared above it are: none"},
        {INCLUDE "EVO_REQUIRE(HEAD_DIM == 64, \"a\")\n" LAUNCH, "2:13: unknown name 'HEAD_DIM'",
         "declare it first: EVO_GIVEN(HEAD_DIM, \"...\")"},
        {INCLUDE "EVO_REQUIRE(q_len > 1, \"a\")\n" LAUNCH,
         "2:13: 'q_len' is known only at the launch",
         "EVO_SUPPORTS, EVO_WORKSPACE and EVO_LAUNCH may read it"},
        {INCLUDE "EVO_CHOICE(Exp, (a, b), \"\")\nEVO_REQUIRE(Exp == a, \"\")\n" LAUNCH,
         "3:13: 'Exp' is a choice, not a number", "EVO_IS(Exp, a) is 1 when it fell on that label"},
        {INCLUDE "EVO_CHOICE(Exp, (a, b), \"\")\nEVO_REQUIRE(EVO_IS(Exp, c), \"\")\n" LAUNCH,
         "3:13: there is no choice 'Exp' with a label 'c'", ""},
        {INCLUDE "EVO_REQUIRE(1 +, \"a\")\n" LAUNCH,
         "2:16: expected a value, but the expression ends", ""},
        {INCLUDE "EVO_NUMERICS(0)\nEVO_NUMERICS(0)\n" LAUNCH, "3:1: EVO_NUMERICS stands twice", ""},
        {INCLUDE "EVO_CHOICE(Exp, (fast, slow), \"\")\n" LAUNCH
                 "void f() { if (EVO_IS(Exp, fats)) { } }\n",
         "4:28: 'Exp' has no label 'fats'", "its labels are fast slow"},
        /* launches */
        {INCLUDE "int x;\n", "3:1: the template has no EVO_LAUNCH",
         "it is written EVO_LAUNCH(kernel, (x, y, z), threads, smem_bytes, (argument, ...))"},
        {INCLUDE "EVO_LAUNCH(k, (1), 32, 0, (Q, x))\n", "2:31: unknown argument 'x'",
         "the arguments are Q K V O LSE problem"},
        {INCLUDE "EVO_WORKSPACE(partial, 4, poison, \"\")\n"
                 "EVO_LAUNCH(k, (1), 32, 0, (Q, partail, O))\n",
         "3:31: unknown argument 'partail'", "did you mean 'partial'?"},
        {INCLUDE "EVO_LAUNCH(k, 1, 32, 0, (O))\n", "2:15: the grid is a list in parentheses", ""},
        {INCLUDE "EVO_LAUNCH(k, (1) * (2), 32, 0, (O))\n",
         "2:15: the grid is a list in parentheses", ""},
        {INCLUDE "EVO_LAUNCH(k, (1, 1, 1, 1), 32, 0, (O))\n",
         "2:15: the grid has 1 to 3 dimensions, not 4", ""},
        {INCLUDE "EVO_LAUNCH(k, (seq), 32, 0, (O))\n", "2:16: unknown name 'seq'",
         "the names declared above it are batch heads kv_heads q_len kv_len sms"},
        {INCLUDE "EVO_LAUNCH(k, (1), 32, 0, (Q, K))\n", "2:12: no launch is given O to write to",
         ""},
        {INCLUDE "EVO_LAUNCH(atention, (1), 32, 0, (O))\n" KERNEL,
         "2:12: there is no kernel 'atention'", "did you mean 'attention'?"},
        {INCLUDE LAUNCH "__global__ void attention(float *O) { }\n",
         "2:12: kernel 'attention' is not declared extern \"C\"", ""},
        {INCLUDE "EVO_WORKSPACE(a, 4, garbage, \"\")\n" LAUNCH,
         "2:21: 'garbage' is no kind of workspace", "the kinds are poison zero_call zero_once"},
        {INCLUDE "EVO_WORKSPACE(Q, 4, poison, \"\")\n" LAUNCH, "2:15: 'Q' is an argument already",
         ""},
        /* tensor maps */
        {INCLUDE "EVO_TENSOR_MAP(problem, K, (64, 8), 128, \"\")\n" LAUNCH,
         "2:16: 'problem' is an argument already", ""},
        {INCLUDE "EVO_TENSOR_MAP(m, LSE, (64, 8), 128, \"\")\n" LAUNCH,
         "2:19: 'LSE' cannot be mapped", "the tensors are Q K V O"},
        {INCLUDE "EVO_TENSOR_MAP(m, K, 64, 128, \"\")\n" LAUNCH,
         "2:22: the box is a list in parentheses", ""},
        {INCLUDE "EVO_TENSOR_MAP(m, K, (64), 128, \"\")\n" LAUNCH,
         "2:22: the box has columns and rows, not 1 part", ""},
        {INCLUDE "EVO_TENSOR_MAP(m, K, (64, q_len), 128, \"\")\n" LAUNCH,
         "2:27: 'q_len' is known only at the launch",
         "EVO_SUPPORTS, EVO_WORKSPACE and EVO_LAUNCH may read it"},
        {INCLUDE "EVO_TENSOR_MAP(m, K, (64, 8), 128)\n" LAUNCH,
         "2:1: EVO_TENSOR_MAP takes 5 arguments, not 4",
         "it is written EVO_TENSOR_MAP(name, tensor, (columns, rows), swizzle, \"doc\")"},
        {INCLUDE "EVO_TENSOR_MAP(m, K, (60, 8), 128, \"\")\n" LAUNCH,
         "2:1: a tensor map's box has 8 to 256 columns, a multiple of 8: "
         "60 >= 8 && 60 <= 256 && 60 % 8 == 0 is false",
         ""},
        {INCLUDE "EVO_TENSOR_MAP(m, K, (64, 257), 128, \"\")\n" LAUNCH,
         "2:1: a tensor map's box has 1 to 256 rows: 257 >= 1 && 257 <= 256 is false", ""},
        {INCLUDE "EVO_TENSOR_MAP(m, K, (64, 8), 16 * 3, \"\")\n" LAUNCH,
         "2:1: a tensor map's swizzle is 0, 32, 64 or 128 bytes: (16 * 3) == 0 || (16 * 3) == 32 "
         "|| (16 * 3) == 64 || (16 * 3) == 128 is false",
         ""},
        {INCLUDE "EVO_TENSOR_MAP(m, K, (64, 8), 64, \"\")\n" LAUNCH,
         "2:1: a row of a tensor map's box fits its swizzle: 64 == 0 || 2 * 64 <= 64 is false", ""},
        {INCLUDE "EVO_TENSOR_MAP(k_map, K, (64, 8), 128, \"\")\n"
                 "EVO_LAUNCH(k, (1), 32, 0, (k_map, O, q_map))\n",
         "3:38: unknown argument 'q_map'", "did you mean 'k_map'?"},
        {INCLUDE "EVO_TENSOR_MAP(k_map, K, (64, 8), 128, \"\")\n"
                 "EVO_LAUNCH(k, (1), 32, 0, (k_map))\n",
         "3:12: no launch is given O to write to", ""},
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct family *family = NULL;
        struct err err = {0};
        if (family_parse(arena, "tiled", "t/tiled.cu", cases[i].text, strlen(cases[i].text),
                         &family, &err))
            fail_msg("no mistake is seen in\n%s", cases[i].text);
        assert_null(family);
        assert_int_equal(err.kind, ERR_USER);
        assert_true(str_starts(err.what, "t/tiled.cu:"));
        assert_string_equal(err.what + strlen("t/tiled.cu:"), cases[i].what);
        assert_string_equal(err.hint, cases[i].hint);
    }
}

/* A template with `count` lines, each printed from the format with its number. */
static const char *many(const char *format, int count, const char *rest)
{
    struct buf buf = {0};
    buf_puts(&buf, INCLUDE);
    for (int i = 0; i < count; i++) {
        const char *line = format;
        for (const char *hash; (hash = strchr(line, '#')) != NULL; line = hash + 1) {
            buf_add(&buf, line, (size_t)(hash - line));
            buf_printf(&buf, "%d", i);
        }
        buf_puts(&buf, line);
    }
    buf_puts(&buf, rest);
    const char *text = arena_text(arena, buf.data, buf.length);
    buf_free(&buf);
    return text;
}

static void limits_are_told_and_not_crossed(void **state)
{
    static const struct {
        const char *format;
        int limit;
        const char *what, *rest;
    } cases[] = {
        {"EVO_GENE(G#, flag, \"\")\n", GENES_MAX, "more than 32 genes", LAUNCH},
        {"EVO_LET(L#, #, \"\")\n", FAMILY_LETS_MAX, "more than 64 derived values", LAUNCH},
        {"EVO_REQUIRE(#, \"\")\n", FAMILY_REQUIRES_MAX, "more than 64 requirements", LAUNCH},
        {"EVO_SUPPORTS(#, \"\")\n", PROGRAM_SUPPORTS_MAX, "more than 16 EVO_SUPPORTS", LAUNCH},
        {"EVO_WORKSPACE(w#, #, poison, \"\")\n", PROGRAM_WORKSPACES_MAX, "more than 8 workspaces",
         LAUNCH},
        {"EVO_TENSOR_MAP(m#, K, (64, 8), 128, \"\")\n", PROGRAM_MAPS_MAX, "more than 8 tensor maps",
         LAUNCH},
        {"EVO_LAUNCH(k#, (1), 1, 0, (O))\n", PROGRAM_KERNELS_MAX, "more than 8 launches", ""},
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct family *family;
        struct err err = {0};
        const char *text = many(cases[i].format, cases[i].limit + 1, cases[i].rest);
        parse(many(cases[i].format, cases[i].limit, cases[i].rest));
        assert_false(family_parse(arena, "x", "x", text, strlen(text), &family, &err));
        assert_non_null(strstr(err.what, cases[i].what));
    }

    struct family *family;
    struct err err = {0};
    char *large = xcalloc(1, FAMILY_BYTES_MAX + 1);
    memset(large, ' ', FAMILY_BYTES_MAX + 1);
    assert_false(family_parse(arena, "x", "x", large, FAMILY_BYTES_MAX + 1, &family, &err));
    assert_string_equal(err.what, "x: the template is longer than 262144 bytes");
    memset(large, '(', FAMILY_BYTES_MAX);
    assert_false(family_parse(arena, "x", "x", large, FAMILY_BYTES_MAX, &family, &err));
    assert_false(family_parse(arena, "x", "x", "a\0b", 3, &family, &err));
    assert_string_equal(err.what, "x:1:2: a NUL byte in the template");
    free(large);
}

static void words_hide_where_the_compiler_does_not_look(void **state)
{
    struct family *family =
        parse("// EVO_GENE(A, flag, \"\") \\\n EVO_GENE(B, flag, \"\")\n" INCLUDE
              "#define TEXT \"/*\" /* EVO_GENE(C, flag, \"\")\n */ \\\n EVO_GENE(D, flag, \"\")\n"
              "const char *s = \"EVO_GENE(E, flag, 0) \\\" //\", *r = R\"x(EVO_GENE()\" )x\";\n"
              "int n = 1'000, c = '\\'', d = '\"', e = 0x1e+1;\n"
              "EVO_GENE(F, flag, \"the only one\")\n" LAUNCH
              "extern \"C\" { __global__ void helper() { } __global__ void attention() { } }\n");
    (void)state;
    assert_int_equal(family->gene_count, 1);
    assert_string_equal(family->genes[0].name, "F");
}

static void a_genome_has_one_text_and_the_text_one_genome(void **state)
{
    struct family *family = parse(tiled);
    struct genome genome = genome_of(family, " STAGES=4 Exp=softmax_exp2\nBLOCK_M=32 ");
    struct genome again = {0};
    struct err err = {0};
    (void)state;
    char *text = genome_text(arena, family, &genome);
    assert_string_equal(text, "tiled BLOCK_M=32 BLOCK_N=8 STAGES=4 GUARD=0 Exp=softmax_exp2");
    assert_true(genome_parse(family, text + strlen("tiled "), &again, &err));
    assert_memory_equal(&genome, &again, sizeof genome);
    struct hash hash = genome_hash(family, &genome), same = genome_hash(family, &again);
    assert_true(hash_equal(&hash, &same));
    again.at[0]++;
    same = genome_hash(family, &again);
    assert_false(hash_equal(&hash, &same));
    assert_string_equal(gene_value_text(arena, &family->genes[1], 2), "88");
    assert_string_equal(gene_value_text(arena, &family->genes[4], 2), "softmax_poly");

    static const char *const bad[][3] = {
        {"BLOCK_Q=1", "unknown gene 'BLOCK_Q'",
         "the genes of tiled are BLOCK_M BLOCK_N STAGES GUARD Exp (see 'evo genes tiled')"},
        {"BLOCK_M=33", "gene 'BLOCK_M' has no value '33'",
         "the values of BLOCK_M are 16 32 64 128 256"},
        {"BLOCK_M=0x20", "gene 'BLOCK_M' has no value '0x20'",
         "the values of BLOCK_M are 16 32 64 128 256"},
        {"Exp=exp", "gene 'Exp' has no value 'exp'",
         "the values of Exp are softmax_exp softmax_exp2 softmax_poly"},
        {"BLOCK_M=32 BLOCK_M=32", "gene 'BLOCK_M' is named twice", ""},
        {"BLOCK_M 32", "expected GENE=value, not 'BLOCK_M'", ""},
    };
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        struct genome before = genome;
        err = (struct err){0};
        assert_false(genome_parse(family, bad[i][0], &genome, &err));
        assert_string_equal(err.what, bad[i][1]);
        assert_string_equal(err.hint, bad[i][2]);
        assert_memory_equal(&genome, &before, sizeof genome);
    }
}

static bool feasible(const struct family *family, const char *genes, struct refusal *refusal)
{
    int64_t values[64];
    struct genome genome = genome_of(family, genes);
    bool answer = family_feasible(family, &genome, &givens, values, refusal);
    assert_int_equal(answer, family_feasible(family, &genome, &givens, values, NULL));
    return answer;
}

static void a_refusal_shows_its_arithmetic(void **state)
{
    struct family *family = parse(tiled);
    struct refusal refusal;
    (void)state;
    assert_true(feasible(family, "BLOCK_N=48 STAGES=2", &refusal));
    assert_false(feasible(family, "BLOCK_N=128 STAGES=1", &refusal));
    assert_ptr_equal(refusal.require, &family->requires[0]);
    assert_string_equal(refusal.text,
                        "K and V tiles must fit: 65536 <= 49152 is false (SMEM_BYTES <= "
                        "DEVICE_SMEM_MAX; SMEM_BYTES = 2 * 128 * 64 * 4 * 1)");
    assert_false(feasible(family, "Exp=softmax_poly", &refusal));
    assert_string_equal(refusal.text, "the polynomial needs guards: !1 || 0 is false "
                                      "(!EVO_IS(Exp, softmax_poly) || GUARD)");
    assert_true(feasible(family, "Exp=softmax_poly GUARD=1", &refusal));
}

static void what_cannot_be_computed_is_infeasible(void **state)
{
    struct family *family = parse(INCLUDE "EVO_GENE(A, range(0, 4), \"\")\n"
                                          "EVO_REQUIRE(A != 4, \"not four\")\n"
                                          "EVO_LET(B, 6 / (A * (A - 4)), \"\")\n"
                                          "EVO_LET(C, A == 2 ? pow2(31) : 1, \"\")\n"
                                          "EVO_REQUIRE(log2(B + 3) >= 0, \"a logarithm\")\n"
                                          "EVO_NUMERICS(A)\n" LAUNCH);
    static const char *const texts[] = {
        "B cannot be computed: division by zero in 6 / (0 * (0 - 4)) (6 / (A * (A - 4)))",
        NULL,
        "C cannot be computed: 2147483648 does not fit an int in 2 == 2 ? pow2(31) : 1 "
        "(A == 2 ? pow2(31) : 1)",
        "EVO_NUMERICS cannot be computed: 3 is neither 0 nor 1 in 3 (A)",
        "not four: 4 != 4 is false (A != 4)", /* the requirement above comes first */
    };
    (void)state;
    for (int i = 0; i < 5; i++) {
        struct refusal refusal = {.text = ""};
        bool answer = feasible(family, arena_printf(arena, "A=%d", i), &refusal);
        assert_int_equal(answer, texts[i] == NULL);
        if (texts[i] != NULL)
            assert_string_equal(refusal.text, texts[i]);
    }
    /* 6 / (1 * (1 - 4)) is -2, and log2(1) is 0 */
    int64_t values[16], ok, total;
    struct genome genome = genome_of(family, "A=1");
    assert_true(family_feasible(family, &genome, &givens, values, NULL));
    assert_int_equal(family_numerics(family, values), 1);
    assert_true(family_count(family, &givens, 100, &ok, &total));
    assert_int_equal(ok, 1);
    assert_int_equal(total, 5);
}

/* Steps through all genomes in order; false after the last. */
static bool next_genome(const struct family *family, struct genome *genome)
{
    for (int i = family->gene_count - 1; i >= 0; i--) {
        if (++genome->at[i] < family->genes[i].count)
            return true;
        genome->at[i] = 0;
    }
    return false;
}

static void check_count(const struct family *family, int64_t expected_total)
{
    int64_t values[64], count = 0, all = 0, ok, total;
    struct genome genome = {0};
    do {
        count += family_feasible(family, &genome, &givens, values, NULL);
        all++;
    } while (next_genome(family, &genome));
    assert_true(family_count(family, &givens, INT64_MAX, &ok, &total));
    assert_int_equal(all, expected_total);
    assert_int_equal(total, all);
    assert_int_equal(ok, count);
    assert_true(ok > 0 && ok < total);
}

static void counting_agrees_with_trying_them_all(void **state)
{
    struct family *family = parse(tiled), *narrow;
    const char *const labels[] = {"softmax_poly", "softmax_exp2"}, *const stages[] = {"4", "1"};
    struct err err = {0};
    (void)state;
    check_count(family, 5 * 4 * 3 * 2 * 3);
    assert_true(family_restrict(arena, family, "Exp", labels, 2, &narrow, &err));
    check_count(narrow, 5 * 4 * 3 * 2 * 2);
    assert_true(family_restrict(arena, narrow, "STAGES", stages, 2, &narrow, &err));
    check_count(narrow, 5 * 4 * 2 * 2 * 2);
}

static void a_large_family_is_counted_without_walking_it(void **state)
{
    int64_t ok, total;
    struct family *family = parse(
        many("EVO_GENE(G#, range(1, 256), \"\")\n", 31,
             "EVO_GENE(A, range(0, 9), \"\")\n"
             "EVO_REQUIRE(G0 + G1 < 50, \"\")\nEVO_REQUIRE(A == 3 || A == 4, \"\")\n" LAUNCH));
    struct family *free_family = parse(many("EVO_GENE(G#, range(1, 256), \"\")\n", 3, LAUNCH));
    (void)state;
    assert_true(family_count(family, &givens, 1000000, &ok, &total));
    assert_true(total == INT64_MAX && ok == INT64_MAX); /* 256^31 and still too many */
    assert_true(family_count(free_family, &givens, 10, &ok, &total));
    assert_int_equal(ok, 256 * 256 * 256);
    assert_int_equal(total, ok);
    assert_false(family_count(family, &givens, 100, &ok, &total));
    assert_true(ok <= total);
    assert_false(family_count(family, &givens, 0, &ok, &total));
    assert_int_equal(total, 0);
}

static void a_narrowed_gene_keeps_its_meaning(void **state)
{
    struct family *family = parse(tiled), *narrow;
    const char *const labels[] = {"softmax_poly", "softmax_exp"}, *const wrong[] = {"16", "17"};
    const char *const sneaky[] = {"16 BLOCK_N=8"};
    struct err err = {0};
    int64_t values[64], before[64];
    (void)state;
    assert_true(family_restrict(arena, family, "Exp", labels, 2, &narrow, &err));
    assert_int_equal(family->genes[4].count, 3);
    assert_int_equal(narrow->genes[4].count, 2);
    assert_string_equal(narrow->genes[4].labels[0], "softmax_exp"); /* the order declared */
    assert_string_equal(narrow->genes[4].labels[1], "softmax_poly");
    assert_int_equal(narrow->genes[4].values[1], 1);
    struct genome wide_genome = genome_of(family, "GUARD=1 Exp=softmax_poly");
    struct genome narrow_genome = genome_of(narrow, "GUARD=1 Exp=softmax_poly");
    assert_int_equal(narrow_genome.at[4], 1);
    assert_true(family_feasible(family, &wide_genome, &givens, before, NULL));
    assert_true(family_feasible(narrow, &narrow_genome, &givens, values, NULL));
    assert_memory_equal(before, values, (size_t)family->symbols->count * sizeof values[0]);
    struct hash a = genome_hash(family, &wide_genome), b = genome_hash(narrow, &narrow_genome);
    assert_true(hash_equal(&a, &b));

    assert_false(family_restrict(arena, family, "Exq", labels, 2, &narrow, &err));
    assert_string_equal(err.what, "unknown gene 'Exq'");
    assert_false(family_restrict(arena, family, "BLOCK_M", wrong, 2, &narrow, &err));
    assert_string_equal(err.what, "gene 'BLOCK_M' has no value '17'");
    assert_false(family_restrict(arena, family, "BLOCK_M", sneaky, 1, &narrow, &err));
    assert_string_equal(err.what, "gene 'BLOCK_M' has no value '16 BLOCK_N=8'");
    assert_false(family_restrict(arena, family, "BLOCK_M", wrong, 0, &narrow, &err));
    assert_string_equal(err.what, "no value is left for gene 'BLOCK_M'");
}

static int64_t constant(const struct program *program, const char *name)
{
    for (int i = 0; i < program->constant_count; i++)
        if (strcmp(program->constants[i].name, name) == 0)
            return program->constants[i].value;
    fail_msg("there is no constant '%s'", name);
    return 0;
}

static void a_program_stands_without_its_family(void **state)
{
    struct family *family = parse(tiled);
    int64_t values[64], value;
    struct genome genome = genome_of(family, "BLOCK_M=64 BLOCK_N=48 GUARD=1 Exp=softmax_exp2");
    struct program program;
    struct err err = {0};
    (void)state;
    assert_true(family_feasible(family, &genome, &givens, values, NULL));
    assert_true(family_program(arena, family, values, &program, &err));
    assert_int_equal(program.constant_count, 5 + 2 + 2);
    assert_int_equal(constant(&program, "BLOCK_M"), 64);
    assert_int_equal(constant(&program, "Exp"), 1);
    assert_int_equal(constant(&program, "HEAD_DIM"), 64);
    assert_int_equal(constant(&program, "SMEM_BYTES"), 2 * 48 * 64 * 4);
    assert_int_equal(constant(&program, "BLOCKS"), 0);
    assert_int_equal(program.numerics, 0);
    assert_string_equal(program.kernels[1].grid[1], "1 + 1");
    assert_string_equal(program.supports[0].condition, "kv_len % BLOCK_N == 0 || 0");
    assert_string_equal(family->program.supports[0].condition,
                        "kv_len % BLOCK_N == 0 || EVO_IS(Exp, softmax_exp)");

    /* every text parses over the constants and the launch variables alone */
    struct symbols *symbols = symbols_new(arena);
    int64_t launch[64] = {0};
    for (int i = 0; i < program.constant_count; i++)
        launch[symbols_add(symbols, program.constants[i].name)] = program.constants[i].value;
    for (int i = 0; i < LAUNCH_VARIABLES; i++)
        launch[symbols_add(symbols, launch_variable_names[i])] = 100;
    struct expr *expr;
    assert_true(expr_parse(arena, program.supports[0].condition,
                           strlen(program.supports[0].condition), symbols, &expr, NULL, &err));
    assert_true(expr_eval(expr, launch, &value, &err));
    assert_int_equal(value, 100 % 48 == 0);
    assert_true(expr_parse(arena, program.workspaces[0].bytes, strlen(program.workspaces[0].bytes),
                           symbols, &expr, NULL, &err));
    assert_true(expr_eval(expr, launch, &value, &err));
    assert_int_equal(value, 100 * 100 * 64 * 4);

    genome = genome_of(family, "GUARD=1 Exp=softmax_poly");
    assert_true(family_feasible(family, &genome, &givens, values, NULL));
    assert_true(family_program(arena, family, values, &program, &err));
    assert_int_equal(program.numerics, 1);
}

/* As a judge gets it: through a message, and resolved for a shape. */
static void a_program_travels_and_is_resolved(void **state)
{
    struct family *family = parse(tiled);
    int64_t values[64];
    struct genome genome = genome_of(family, "BLOCK_M=64 BLOCK_N=48 GUARD=1 Exp=softmax_exp2");
    struct message *message = message_new(arena, "test");
    struct program program, arrived;
    struct problem problem;
    struct plan plan;
    struct err err = {0};
    bool supported;
    (void)state;
    assert_true(family_feasible(family, &genome, &givens, values, NULL));
    assert_true(family_program(arena, family, values, &program, &err));
    program_put(message, &program);
    if (!program_get(arena, message, &arrived, &err))
        fail_msg("%s", err.what);
    assert_true(problem_parse("2x3x100/96x64:causal", &problem, &err));
    if (!plan_resolve(arena, &arrived, &problem, 132, &plan, &supported, &err))
        fail_msg("%s", err.what);
    assert_true(supported);
    assert_int_equal(plan.kernel_count, 2);
    assert_int_equal(plan.kernels[0].grid[0], 2); /* 100 rows in blocks of 64 */
    assert_int_equal(plan.kernels[0].grid[1], 3);
    assert_int_equal(plan.kernels[0].threads, 64);
    assert_int_equal(plan.kernels[0].smem_bytes, 2 * 48 * 64 * 4);
    assert_int_equal(plan.kernels[1].grid[1], 2);
    assert_int_equal(plan.kernels[1].grid[2], 132);
    assert_int_equal(plan.workspaces[0].bytes, 2 * 3 * 64 * 4);
    assert_true(problem_parse("2x3x100x64:causal", &problem, &err));
    assert_false(plan_resolve(arena, &arrived, &problem, 132, &plan, &supported, &err));
    assert_false(supported); /* 100 keys are not whole tiles of 48 */
    assert_non_null(strstr(err.what, "whole tiles"));
}

static const char mapped[] =
    INCLUDE "EVO_GENE(WIDE, flag, \"\")\n"
            "EVO_GENE(ROWS, pow2(64, 512), \"\")\n"
            "struct a {}; struct b {};\n"
            "EVO_CHOICE(How, (a, b), \"\")\n"
            "EVO_LET(COLUMNS, WIDE ? 64 : 32, \"\")\n"
            "EVO_TENSOR_MAP(k_map, K, (COLUMNS, ROWS), EVO_IS(How, b) ? 128 : 64, \"tiles of K\")\n"
            "EVO_TENSOR_MAP(v_map, V, (COLUMNS, ROWS), EVO_IS(How, b) ? 128 : 64, \"tiles of V\")\n"
            "EVO_TENSOR_MAP(o_map, O, (64, 16 /* fixed */), 0, \"tiles of O\")\n"
            "EVO_LAUNCH(k, (1), 32, 0, (k_map, v_map, o_map))\n";

/* What the hardware asks of a box is asked of every genome, once, with the arithmetic told. */
static void tensor_maps_are_declared_and_bring_requirements(void **state)
{
    static const struct {
        const char *genes, *says;
    } cases[] = {
        {"WIDE=0 ROWS=64 How=a", NULL},
        {"WIDE=1 ROWS=256 How=b", NULL},
        {"WIDE=0 ROWS=512 How=a", "a tensor map's box has 1 to 256 rows: 512 >= 1 && 512 <= 256"},
        {"WIDE=1 ROWS=64 How=a", "a row of a tensor map's box fits its swizzle: "},
    };
    struct family *family = parse(mapped);
    int64_t values[64];
    struct program program, arrived;
    struct message *message = message_new(arena, "test");
    struct err err = {0};
    (void)state;
    assert_int_equal(family->program.map_count, 3);
    assert_string_equal(family->map_docs[1], "tiles of V");
    assert_int_equal(family->require_count, 4); /* of the first map: the others add nothing */
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct genome genome = genome_of(family, cases[i].genes);
        struct refusal refusal = {.text = ""};
        bool ok = family_feasible(family, &genome, &givens, values, &refusal);
        assert_int_equal(ok, cases[i].says == NULL);
        if (!ok)
            assert_non_null(strstr(refusal.text, cases[i].says));
    }
    struct genome genome = genome_of(family, "WIDE=1 ROWS=128 How=b");
    assert_true(family_feasible(family, &genome, &givens, values, NULL));
    assert_true(family_program(arena, family, values, &program, &err));
    assert_string_equal(program.maps[0].swizzle, "1 ? 128 : 64");
    program_put(message, &program);
    if (!program_get(arena, message, &arrived, &err))
        fail_msg("%s", err.what);
    assert_int_equal(arrived.map_count, 3);
    assert_int_equal(arrived.maps[2].tensor, MAP_O);
    assert_string_equal(arrived.maps[0].rows, "ROWS");
}

static void a_recording_is_a_family_whose_rows_are_feasible(void **state)
{
    static const char text[] = "# space little\n# device NVIDIA Some\n# problem x\n"
                               "# param block 8 16 32\n# param kind slow fast\n"
                               "block,kind,status,time_ms\n"
                               "8,slow,ok,1.5\n16,slow,ok,1.25\n8,fast,compile,\n32,fast,ok,1.0\n";
    struct space *space;
    struct family *family, *narrow;
    struct err err = {0};
    const char *const fast[] = {"fast"};
    int64_t values[8], ok, total;
    (void)state;
    if (!space_parse(arena, "little.csv", text, strlen(text), &space, &err))
        fail_msg("%s (%s)", err.what, err.hint);
    assert_true(family_of_space(arena, space, &family, &err));
    assert_int_equal(family->gene_count, 2);
    assert_int_equal(family->genes[0].kind, GENE_NUMBER);
    assert_int_equal(family->genes[1].kind, GENE_CHOICE);
    assert_null(family->text);
    assert_true(family_count(family, &givens, 1000, &ok, &total));
    assert_int_equal(ok, 4);
    assert_int_equal(total, 6);
    assert_true(family_restrict(arena, family, "kind", fast, 1, &narrow, &err));
    assert_true(family_count(narrow, &givens, 1000, &ok, &total));
    assert_int_equal(ok, 2);
    assert_int_equal(total, 3);
    assert_false(family_count(narrow, &givens, 3, &ok, &total));

    struct refusal refusal;
    struct genome genome = genome_of(narrow, "block=32");
    assert_true(family_feasible(narrow, &genome, &givens, values, &refusal));
    assert_int_equal(values[narrow->gene_slots[0]], 32);
    assert_int_equal(values[narrow->gene_slots[1]], 1);
    genome = genome_of(narrow, "block=16");
    assert_false(family_feasible(narrow, &genome, &givens, values, &refusal));
    assert_null(refusal.require);
    assert_non_null(strstr(refusal.text, "does not hold it"));
    struct program program;
    assert_true(family_program(arena, family, values, &program, &err));
    assert_int_equal(program.kernel_count, 0);
    assert_int_equal(constant(&program, "block"), 16);
}

/* "A*B C/D": products of genes by name. */
static const char *products_text(const struct family *family)
{
    struct product products[FAMILY_PRODUCTS_MAX];
    int count = family_products(family, products);
    struct buf buf = {0};
    for (int i = 0; i < count; i++)
        for (int j = 0; j < products[i].count; j++)
            for (int power = products[i].powers[j]; power != 0; power += power > 0 ? -1 : 1)
                buf_printf(&buf, "%s%s",
                           power < 0 ? "/" : j > 0 ? "*" : i > 0 ? " " : "",
                           family->genes[products[i].slots[j]].name);
    const char *text = arena_dup(arena, buf.data == NULL ? "" : buf.data);
    buf_free(&buf);
    return text;
}

static void what_a_template_multiplies_is_known(void **state)
{
    static const char text[] =
        INCLUDE "EVO_GIVEN(HEAD_DIM, \"columns\")\n"
                "EVO_GENE(ROWS, pow2(16, 64), \"rows\")\n"
                "EVO_GENE(KEYS, pow2(16, 64), \"keys\")\n"
                "EVO_GENE(DEPTH, range(0, 3, 1), \"may be 0\")\n"
                "EVO_GENE(WARPS, pow2(1, 8), \"warps\")\n"
                "EVO_GENE(ONE, set(4), \"a constant\")\n"
                "EVO_CHOICE(Kind, (first, second), \"which\")\n"
                "EVO_LET(THREADS, 32 * WARPS, \"threads\")\n"
                "EVO_LET(TILE, HEAD_DIM * ROWS * KEYS * ONE, \"a tile\")\n"
                "EVO_LET(BYTES, TILE + DEPTH, \"no product\")\n"
                "EVO_REQUIRE(TILE <= 8 * THREADS && ROWS / THREADS < 9, \"fits\")\n"
                "EVO_REQUIRE(WARPS <= ROWS * 2 / 16 || BYTES * ROWS > 1, \"one\")\n"
                "EVO_REQUIRE(THREADS % ROWS == 0 || DEPTH * KEYS < 9, \"two\")\n"
                "EVO_REQUIRE(EVO_IS(Kind, first) * WARPS * KEYS < 9, \"three\")\n"
                LAUNCH KERNEL;
    const char *const one[] = {"32"};
    struct family *family, *narrow;
    struct err err = {0};
    (void)state;
    if (!family_parse(arena, "t", "t.cu", text, strlen(text), &family, &err))
        fail_msg("%s", err.what);
    assert_string_equal(products_text(family), "ROWS*KEYS ROWS/WARPS");
    assert_true(family_restrict(arena, family, "KEYS", one, 1, &narrow, &err));
    assert_string_equal(products_text(narrow), "ROWS/WARPS");
}

static void what_a_recording_requires_is_known(void **state)
{
    static const char text[] = "# space little\n# device NVIDIA Some\n# const SIZE 4096\n"
                               "# param x 8 16 32\n# param y 1 2\n# param z 1 2\n# param w 0 1\n"
                               "# constraint SIZE % (x*y) == 0 and 32 <= y*z <= 64\n"
                               "# constraint x**z in (1, 2)\n"
                               "# constraint not w or x//z > 3\n"
                               "# constraint y*x >= 8\n"
                               "x,y,z,w,status,time_ms\n8,1,1,0,ok,1.5\n16,2,2,1,ok,1\n";
    struct space *space, *again;
    struct family *family;
    struct buf printed = {0};
    struct err err = {0};
    (void)state;
    if (!space_parse(arena, "little.csv", text, strlen(text), &space, &err) ||
        !family_of_space(arena, space, &family, &err))
        fail_msg("%s", err.what);
    assert_int_equal(family->require_count, 3); /* what no one can read is left out */
    assert_string_equal(products_text(family), "/x/y y*z x/z");
    space_print(space, &printed);
    assert_true(space_parse(arena, "again.csv", printed.data, printed.length, &again, &err));
    assert_true(family_of_space(arena, again, &family, &err));
    assert_string_equal(products_text(family), "/x/y y*z x/z");
    buf_free(&printed);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_template_is_read_whole),
        cmocka_unit_test(a_title_ends_where_the_first_sentence_does),
        cmocka_unit_test(every_mistake_is_told_where_it_is),
        cmocka_unit_test(limits_are_told_and_not_crossed),
        cmocka_unit_test(words_hide_where_the_compiler_does_not_look),
        cmocka_unit_test(a_genome_has_one_text_and_the_text_one_genome),
        cmocka_unit_test(a_refusal_shows_its_arithmetic),
        cmocka_unit_test(what_cannot_be_computed_is_infeasible),
        cmocka_unit_test(counting_agrees_with_trying_them_all),
        cmocka_unit_test(a_large_family_is_counted_without_walking_it),
        cmocka_unit_test(a_narrowed_gene_keeps_its_meaning),
        cmocka_unit_test(a_program_stands_without_its_family),
        cmocka_unit_test(a_program_travels_and_is_resolved),
        cmocka_unit_test(tensor_maps_are_declared_and_bring_requirements),
        cmocka_unit_test(a_recording_is_a_family_whose_rows_are_feasible),
        cmocka_unit_test(what_a_template_multiplies_is_known),
        cmocka_unit_test(what_a_recording_requires_is_known),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
