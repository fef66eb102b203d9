/* Rendering: which bytes come out, for which folder, and which mistakes are told. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/str.h"
#include "genome/render.h"

static const struct givens givens = {{[GIVEN_HEAD_DIM] = 128, [GIVEN_CAUSAL] = 1}};
static const char small[] = "// small -- a template.\n"
                            "#include \"evo.cuh\"\n"
                            "#include <cuda_fp16.h>\n"
                            "#include \"include/helper.cuh\" // helps\n"
                            "EVO_GENE(BLOCK_M, pow2(16, 64), \"rows\")\n"
                            "EVO_GIVEN(HEAD_DIM, \"columns\")\n"
                            "#include \"helper.cuh\"\n"
                            "EVO_CHOICE(Exp, (slow, fast), \"which\")\n"
                            "// #include \"nothing.cuh\"\n"
                            "EVO_LAUNCH(small, (q_len), BLOCK_M, 0, (Q, K, V, O))";

static struct arena *arena;

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

static void add(struct template_set *set, const char *name, const char *text)
{
    template_set_add(set, name, arena_printf(arena, "there/%s", name), text, strlen(text));
}

static struct template_set *small_set(void)
{
    struct template_set *set = template_set_new(arena);
    add(set, "small.cu", small);
    add(set, "include/evo.cuh", "#pragma once\n// the words\n");
    add(set, "include/helper.cuh", "#include \"evo.cuh\"\n#include \"slow.cuh\"\nstruct fast;\n");
    add(set, "include/slow.cuh", "struct slow;");
    return set;
}

static struct family *family_in(const struct template_set *set, const char *name)
{
    struct family *family = NULL;
    struct err err = {0};
    if (!template_set_family(set, name, &family, &err))
        fail_msg("%s (%s)", err.what, err.hint);
    return family;
}

static void a_source_is_these_bytes(void **state)
{
    struct template_set *set = small_set();
    struct family *family = family_in(set, "small");
    struct genome genome = {0};
    struct buf source = {0};
    struct err err = {0};
    (void)state;
    assert_true(genome_parse(family, "BLOCK_M=32 Exp=fast", &genome, &err));
    buf_puts(&source, "kept: ");
    assert_true(render_source(set, family, &genome, &givens, &source, &err));
    assert_string_equal(source.data, "kept: // evo: small BLOCK_M=32 Exp=fast\n"
                                     "#define EVO_VALUE_HEAD_DIM 128\n"
                                     "#define EVO_VALUE_BLOCK_M 32\n"
                                     "#define EVO_VALUE_Exp fast\n"
                                     "#line 1 \"small.cu\"\n"
                                     "// small -- a template.\n"
                                     "#line 1 \"include/evo.cuh\"\n"
                                     "\n"
                                     "// the words\n"
                                     "#line 3 \"small.cu\"\n"
                                     "#include <cuda_fp16.h>\n"
                                     "#line 1 \"include/helper.cuh\"\n"
                                     "\n"
                                     "#line 1 \"include/slow.cuh\"\n"
                                     "struct slow;\n"
                                     "#line 3 \"include/helper.cuh\"\n"
                                     "struct fast;\n"
                                     "#line 5 \"small.cu\"\n"
                                     "EVO_GENE(BLOCK_M, pow2(16, 64), \"rows\")\n"
                                     "EVO_GIVEN(HEAD_DIM, \"columns\")\n"
                                     "\n"
                                     "EVO_CHOICE(Exp, (slow, fast), \"which\")\n"
                                     "// #include \"nothing.cuh\"\n"
                                     "EVO_LAUNCH(small, (q_len), BLOCK_M, 0, (Q, K, V, O))\n");
    buf_free(&source);
}

static void the_key_is_of_the_bytes_and_not_of_the_folder(void **state)
{
    struct template_set *here = small_set(), *there = template_set_new(arena);
    struct genome genome = {0};
    struct buf a = {0}, b = {0};
    struct err err = {0};
    (void)state;
    for (int i = here->count - 1; i >= 0; i--)
        template_set_add(there, here->files[i].name, "/elsewhere/file", here->files[i].text,
                         here->files[i].length);
    struct family *family = family_in(here, "small");
    assert_true(render_source(here, family, &genome, &givens, &a, &err));
    assert_true(render_source(there, family_in(there, "small"), &genome, &givens, &b, &err));
    assert_string_equal(a.data, b.data);
    struct hash key = source_hash(a.data, a.length), same = source_hash(b.data, b.length);
    assert_true(hash_equal(&key, &same));
    genome.at[0] = 1;
    buf_clear(&b);
    assert_true(render_source(here, family, &genome, &givens, &b, &err));
    same = source_hash(b.data, b.length);
    assert_false(hash_equal(&key, &same));
    buf_free(&a);
    buf_free(&b);
}

static bool renders(struct template_set *set, const char *text, struct err *err)
{
    struct genome genome = {0};
    struct buf source = {0};
    add(set, "bad.cu", text);
    bool ok = render_source(set, family_in(set, "bad"), &genome, &givens, &source, err);
    buf_free(&source);
    return ok;
}

#define WORDS "#include \"evo.cuh\"\nEVO_LAUNCH(k, (1), 1, 0, (O))\n"

static void a_missing_or_broken_include_is_told_where_it_is(void **state)
{
    struct template_set *set = small_set();
    struct err err = {0};
    (void)state;
    assert_false(renders(set, WORDS "int x;\n  # include \"missing.cuh\"\n", &err));
    assert_string_equal(err.what, "there/bad.cu:4:14: there is no include/missing.cuh");
    set = small_set();
    add(set, "include/broken.cuh", "\n /* open");
    assert_false(renders(set, WORDS "#include \"broken.cuh\"\n", &err));
    assert_string_equal(err.what, "there/include/broken.cuh:2:2: the comment is not closed");
    set = small_set();
    template_set_add(set, "include/nul.cuh", "nul.cuh", "a\0b", 3);
    assert_false(renders(set, WORDS "#include \"nul.cuh\"\n", &err));
    assert_string_equal(err.what, "nul.cuh:1:2: a NUL byte");
}

static void includes_that_include_each_other_come_once(void **state)
{
    struct template_set *set = small_set();
    struct err err = {0};
    (void)state;
    add(set, "include/a.cuh", "#include \"b.cuh\"\n");
    add(set, "include/b.cuh", "#include \"a.cuh\"\n#include \"b.cuh\"\n");
    assert_true(renders(set, WORDS "#include \"a.cuh\"\n", &err));
}

static void limits_are_told_and_not_crossed(void **state)
{
    struct template_set *set = small_set();
    struct err err = {0};
    struct buf text = {0};
    char *large = xcalloc(1, RENDER_BYTES_MAX + 1);
    (void)state;
    memset(large, ' ', RENDER_BYTES_MAX);
    add(set, "include/large.cuh", large);
    assert_false(renders(set, WORDS "#include \"large.cuh\"\n", &err));
    assert_string_equal(err.what, "the rendered source is longer than 1048576 bytes");
    free(large);

    set = small_set();
    buf_puts(&text, WORDS);
    for (int i = 0; i < RENDER_INCLUDES_MAX; i++) { /* evo.cuh is one more */
        add(set, arena_printf(arena, "include/i%d.cuh", i), "");
        buf_printf(&text, "#include \"i%d.cuh\"\n", i);
    }
    assert_false(renders(set, text.data, &err));
    assert_string_equal(err.what, "there/bad.cu:66:11: too many includes at include/i63.cuh");
    buf_free(&text);
}

static void write_file(const char *folder, const char *name, const char *text)
{
    struct err err = {0};
    if (!file_write(arena_printf(arena, "%s/%s", folder, name), text, strlen(text), FILE_WHOLE, &err))
        fail_msg("%s", err.what);
}

static char *new_folder(void)
{
    char *folder = arena_dup(arena, "/tmp/evo-render-XXXXXX");
    assert_non_null(mkdtemp(folder));
    assert_int_equal(mkdir(arena_printf(arena, "%s/include", folder), 0755), 0);
    return folder;
}

static void remove_folder(const char *folder, const char *const *names, int count)
{
    for (int i = 0; i < count; i++)
        assert_int_equal(unlink(arena_printf(arena, "%s/%s", folder, names[i])), 0);
    assert_int_equal(rmdir(arena_printf(arena, "%s/include", folder)), 0);
    assert_int_equal(rmdir(folder), 0);
}

static void folders_are_loaded_in_order_and_the_first_wins(void **state)
{
    static const char *const names[] = {"b.cu", "a.cu", "notes.txt", ".hidden.cu", "include/x.cuh"};
    struct template_set *set = template_set_new(arena);
    struct err err = {0};
    struct family *family;
    char *mine = new_folder(), *theirs = new_folder();
    (void)state;
    for (int i = 0; i < 5; i++)
        write_file(mine, names[i], "// mine\n");
    write_file(theirs, "a.cu", "// theirs\n");
    write_file(theirs, "c.cu", WORDS);
    assert_true(template_set_load(set, mine, &err));
    assert_true(template_set_load(set, theirs, &err));
    assert_int_equal(set->count, 4);
    assert_string_equal(set->files[0].name, "a.cu");
    assert_string_equal(set->files[1].name, "b.cu");
    assert_string_equal(set->files[2].name, "include/x.cuh");
    assert_string_equal(set->files[3].name, "c.cu");
    assert_string_equal(template_set_find(set, "a.cu")->text, "// mine\n");
    assert_true(template_set_family(set, "c", &family, &err));
    assert_false(template_set_family(set, "a", &family, &err));
    assert_string_equal(err.what,
                        arena_printf(arena, "%s/a.cu:2:1: the template has no EVO_LAUNCH", mine));
    assert_false(template_set_family(set, "d", &family, &err));
    assert_string_equal(err.what, "unknown family 'd'");
    assert_string_equal(err.hint, "the families are a b c");
    assert_false(template_set_family(set, "include/x", &family, &err));

    write_file(mine, "my kernel.cu", "");
    assert_false(template_set_load(template_set_new(arena), mine, &err));
    assert_non_null(strstr(err.what, "/my kernel.cu' is not a name for a template"));
    assert_int_equal(unlink(arena_printf(arena, "%s/my kernel.cu", mine)), 0);
    remove_folder(mine, names, 5);
    remove_folder(theirs, (const char *const[]){"a.cu", "c.cu"}, 2);
    assert_false(template_set_load(set, mine, &err));
    assert_int_equal(err.kind, ERR_USER);
    char *empty = new_folder();
    assert_false(template_set_load(set, empty, &err));
    assert_non_null(strstr(err.what, "holds no templates"));
    remove_folder(empty, NULL, 0);
}

static void templates_are_found_by_the_environment(void **state)
{
    struct err err = {0};
    (void)state;
    setenv("EVO_TEMPLATES", EVO_SOURCE_DIR "/tests/../templates", 1);
    assert_string_equal(templates_folder(arena, &err), EVO_SOURCE_DIR "/templates");
    setenv("EVO_TEMPLATES", EVO_SOURCE_DIR "/tests", 1);
    assert_null(templates_folder(arena, &err));
    assert_int_equal(err.kind, ERR_USER);
    unsetenv("EVO_TEMPLATES");
}

/* What evo ships is read, and its first feasible genome rendered, wherever the tests run. */
static void every_template_of_the_tree_parses_and_renders(void **state)
{
    struct template_set *set = template_set_new(arena);
    struct givens h200 = {
        {[GIVEN_HEAD_DIM] = 64, [GIVEN_DEVICE_SMEM_MAX] = 232448, [GIVEN_DEVICE_ARCH] = 90}};
    struct err err = {0};
    int families = 0;
    (void)state;
    if (!template_set_load(set, EVO_SOURCE_DIR "/templates", &err))
        fail_msg("%s", err.what);
    for (int i = 0; i < set->count; i++) {
        const char *name = set->files[i].name;
        struct buf source = {0};
        struct genome genome = {0};
        if (strchr(name, '/') != NULL)
            continue;
        struct family *family =
            family_in(set, arena_text(arena, name, strlen(name) - strlen(".cu")));
        int64_t feasible, total;
        family_count(family, &h200, 1000000, &feasible, &total);
        assert_true(feasible > 0);
        assert_true(family->title[0] != '\0');
        if (!render_source(set, family, &genome, &h200, &source, &err))
            fail_msg("%s (%s)", err.what, err.hint);
        assert_null(strstr(source.data, EVO_SOURCE_DIR));
        buf_free(&source);
        families++;
    }
    assert_true(families > 0);
}

/* The guide's example is a template like any other. */
static void the_example_of_the_guide_parses_and_renders(void **state)
{
    struct template_set *set = template_set_new(arena);
    struct givens h200 = {{[GIVEN_HEAD_DIM] = 128, [GIVEN_DEVICE_SMEM_MAX] = 232448}};
    struct buf guide = {0}, source = {0};
    struct genome genome = {0};
    struct err err = {0};
    int64_t feasible, total;
    (void)state;
    if (!file_read(EVO_SOURCE_DIR "/docs/TEMPLATES.md", 1 << 20, &guide, &err) ||
        !template_set_load(set, EVO_SOURCE_DIR "/templates", &err))
        fail_msg("%s", err.what);
    const char *start = strstr(guide.data, "```c++\n") + strlen("```c++\n");
    template_set_add(set, "attention_rows.cu", "docs/TEMPLATES.md", start,
                     (size_t)(strstr(start, "```\n") - start));
    struct family *family = family_in(set, "attention_rows");
    assert_string_equal(family->title, "one query row a thread, online softmax");
    assert_true(family_count(family, &h200, 1000, &feasible, &total));
    assert_int_equal(total, 4 * 3 * 2);
    assert_int_equal(feasible, 3 * 3 * 2); /* 256 rows of 128 columns are too many */
    if (!render_source(set, family, &genome, &h200, &source, &err))
        fail_msg("%s", err.what);
    buf_free(&guide);
    buf_free(&source);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_source_is_these_bytes),
        cmocka_unit_test(the_key_is_of_the_bytes_and_not_of_the_folder),
        cmocka_unit_test(a_missing_or_broken_include_is_told_where_it_is),
        cmocka_unit_test(includes_that_include_each_other_come_once),
        cmocka_unit_test(limits_are_told_and_not_crossed),
        cmocka_unit_test(folders_are_loaded_in_order_and_the_first_wins),
        cmocka_unit_test(templates_are_found_by_the_environment),
        cmocka_unit_test(every_template_of_the_tree_parses_and_renders),
        cmocka_unit_test(the_example_of_the_guide_parses_and_renders),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
