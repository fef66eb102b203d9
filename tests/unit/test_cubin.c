#include <elf.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/str.h"
#include "fitness/cubin.h"

/* golden/cubin/make.sh makes the files. */
static struct buf load(const char *name)
{
    char path[512];
    struct buf file = {0};
    struct err err = {0};

    snprintf(path, sizeof path, EVO_SOURCE_DIR "/tests/golden/cubin/%s.cubin", name);
    if (!file_read(path, 1 << 20, &file, &err)) {
        fail_msg("%s", err.what);
    }
    return file;
}

static bool read_bytes(const void *data, size_t size, struct cubin_facts *facts)
{
    static char kept[8][64]; /* names outlive the arena */
    struct arena *arena = arena_new();
    char *exact = malloc(size ? size : 1); /* so that one byte too far is seen */
    struct err err = {0};
    bool ok;

    memcpy(exact, data, size);
    ok = cubin_read(arena, exact, size, facts, &err);
    if (ok) {
        assert_in_range(facts->entry_count, 0, JOB_ENTRIES_MAX);
        assert_true(facts->writable_state_bytes >= 0);
        for (int i = 0; i < facts->entry_count; i++) {
            snprintf(kept[i], sizeof kept[i], "%s", facts->entries[i].name);
            facts->entries[i].name = kept[i];
        }
        assert_true(strlen(facts->tool) < 64);
    } else {
        assert_int_not_equal(err.kind, ERR_NONE);
        assert_true(*err.what != '\0');
    }
    facts->calls_out = ok && *facts->calls_out ? "something" : "";
    facts->tool = ok && strcmp(facts->tool, "V13.0.88") == 0 ? "V13.0.88" : "";
    free(exact);
    arena_free(arena);
    return ok;
}

static struct cubin_facts read_file(const char *name)
{
    struct cubin_facts facts;
    struct buf file = load(name);

    assert_true(read_bytes(file.data, file.length, &facts));
    buf_free(&file);
    return facts;
}

static const struct entry_facts *entry_of(const struct cubin_facts *facts, const char *name)
{
    for (int i = 0; i < facts->entry_count; i++) {
        if (strcmp(facts->entries[i].name, name) == 0) {
            return &facts->entries[i];
        }
    }
    fail_msg("no kernel '%s'", name);
    return NULL;
}

static void facts_agree_with_ptxas_on_old_and_new_chips(void **state)
{
    /* the numbers are those of ptxas -v */
    static const struct {
        const char *file;
        int64_t arch, scale_registers, fold_registers;
    } chips[] = {
        {"pair_sm_80", 80, 10, 32}, {"pair_sm_90a", 90, 10, 32}, {"pair_sm_120", 120, 10, 40},
    };

    (void)state;
    for (size_t i = 0; i < sizeof chips / sizeof *chips; i++) {
        struct cubin_facts facts = read_file(chips[i].file);
        const struct entry_facts *scale = entry_of(&facts, "scale");
        const struct entry_facts *fold = entry_of(&facts, "fold");

        assert_int_equal(facts.entry_count, 2);
        assert_int_equal(facts.arch, chips[i].arch);
        assert_int_equal(facts.writable_state_bytes, 0);
        assert_string_equal(facts.calls_out, "");
        assert_string_equal(facts.tool, "V13.0.88");
        assert_int_equal(scale->registers, chips[i].scale_registers);
        assert_int_equal(scale->static_smem_bytes, 1024); /* without the system's 1024 */
        assert_int_equal(scale->stack_bytes, 0);
        assert_int_equal(scale->barriers, 1);
        assert_int_equal(scale->param_bytes, 24);
        assert_int_equal(scale->max_threads, 128);
        assert_true(scale->code_bytes >= 128);
        assert_int_equal(fold->registers, chips[i].fold_registers);
        assert_int_equal(fold->static_smem_bytes, 0);
        assert_int_equal(fold->stack_bytes, 64);
        assert_int_equal(fold->barriers, 0);
        assert_int_equal(fold->param_bytes, 12);
        assert_int_equal(fold->max_threads, 0);
    }
}

static void device_variables_are_counted_as_state(void **state)
{
    struct cubin_facts facts = read_file("state_sm_90a");

    (void)state;
    assert_int_equal(facts.writable_state_bytes, 404);
}

static void a_call_into_the_device_runtime_is_seen(void **state)
{
    struct cubin_facts facts = read_file("runtime_sm_90a");

    (void)state;
    assert_string_equal(facts.calls_out, "something");
}

/* The position of a section in the file, for changing what is in it. */
static Elf64_Shdr find_section(const struct buf *file, const char *name)
{
    Elf64_Shdr names, section = {0};
    Elf64_Ehdr head;

    memcpy(&head, file->data, sizeof head);
    memcpy(&names, file->data + head.e_shoff + head.e_shstrndx * sizeof names, sizeof names);
    for (int i = 0; i < head.e_shnum; i++) {
        memcpy(&section, file->data + head.e_shoff + (size_t)i * sizeof section, sizeof section);
        if (strcmp(file->data + names.sh_offset + section.sh_name, name) == 0) {
            return section;
        }
    }
    fail_msg("no section '%s'", name);
    return section;
}

static bool key_changes_with(const char *section_name, size_t offset)
{
    struct buf file = load("pair_sm_90a");
    Elf64_Shdr section = find_section(&file, section_name);
    struct cubin_facts before, after;
    bool same;

    assert_true(section.sh_type != SHT_NOBITS && offset < section.sh_size);
    assert_true(read_bytes(file.data, file.length, &before));
    file.data[section.sh_offset + offset] ^= 1;
    assert_true(read_bytes(file.data, file.length, &after));
    same = hash_equal(&before.code_key, &after.code_key);
    buf_free(&file);
    return !same;
}

static void the_code_key_covers_what_runs_and_nothing_else(void **state)
{
    (void)state;
    assert_true(key_changes_with(".text.scale", 200));
    assert_true(key_changes_with(".text.fold", 0));
    assert_true(key_changes_with(".nv.constant3", 5));
    assert_true(key_changes_with(".nv.info", 8));         /* registers */
    assert_true(key_changes_with(".nv.info.scale", 106)); /* launch bounds and the like */
    assert_false(key_changes_with(".note.nv.tkinfo", 150)); /* the command line */
    assert_false(key_changes_with(".debug_frame", 20));
    assert_false(key_changes_with(".nv.callgraph", 3));
}

static void line_tables_do_not_change_the_code_key(void **state)
{
    struct cubin_facts plain = read_file("pair_sm_90a"), lines = read_file("pair_lineinfo_sm_90a"),
                       other = read_file("pair_sm_80");

    (void)state;
    assert_true(hash_equal(&plain.code_key, &lines.code_key));
    assert_false(hash_equal(&plain.code_key, &other.code_key));
}

static void a_cubin_cut_anywhere_is_refused(void **state)
{
    static const char *const names[] = {"pair_sm_90a", "state_sm_90a"};

    (void)state;
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        struct buf file = load(names[i]);
        Elf64_Ehdr head;
        struct cubin_facts facts;

        memcpy(&head, file.data, sizeof head);
        for (size_t size = 0; size < head.e_shoff + (size_t)head.e_shnum * 64; size += 7) {
            assert_false(read_bytes(file.data, size, &facts));
        }
        buf_free(&file);
    }
}

static void any_damaged_byte_is_survived(void **state)
{
    static const unsigned char values[] = {0x00, 0x7f, 0x80, 0xff};
    struct buf file = load("state_sm_90a");
    struct cubin_facts facts;
    int refused = 0;

    (void)state;
    for (size_t at = 0; at < file.length; at++) {
        char saved = file.data[at];

        for (size_t i = 0; i < sizeof values; i++) {
            file.data[at] = (char)values[i];
            refused += !read_bytes(file.data, file.length, &facts);
        }
        file.data[at] = saved;
    }
    assert_true(refused > 100);
    buf_free(&file);
}

static void other_files_are_refused(void **state)
{
    static const char *const others[] = {"", "hello", "\177ELF", "\177ELF\2\1\1"};
    struct cubin_facts facts;
    struct buf file = load("pair_sm_90a");
    char program[8192];
    FILE *self = fopen("/proc/self/exe", "rb");

    (void)state;
    for (size_t i = 0; i < sizeof others / sizeof *others; i++) {
        assert_false(read_bytes(others[i], strlen(others[i]), &facts));
    }
    assert_non_null(self);
    assert_int_equal(fread(program, 1, sizeof program, self), sizeof program);
    fclose(self);
    assert_false(read_bytes(program, sizeof program, &facts)); /* ELF of another machine */
    file.data[EI_CLASS] = ELFCLASS32;
    assert_false(read_bytes(file.data, file.length, &facts));
    buf_free(&file);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(facts_agree_with_ptxas_on_old_and_new_chips),
        cmocka_unit_test(device_variables_are_counted_as_state),
        cmocka_unit_test(a_call_into_the_device_runtime_is_seen),
        cmocka_unit_test(the_code_key_covers_what_runs_and_nothing_else),
        cmocka_unit_test(line_tables_do_not_change_the_code_key),
        cmocka_unit_test(a_cubin_cut_anywhere_is_refused),
        cmocka_unit_test(any_damaged_byte_is_survived),
        cmocka_unit_test(other_files_are_refused),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
