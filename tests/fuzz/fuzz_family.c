/*
 * Templates: any text is a family or is refused with its place. Of a family, every genome tried has
 * a text that reads back, one answer to "feasible", a program whose texts need nothing but their
 * constants and the launch variables, and a source or a located reason why not.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/rng.h"
#include "genome/render.h"

enum { GENOMES = 8 };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const struct givens givens = {
    {[GIVEN_HEAD_DIM] = 64, [GIVEN_DEVICE_SMEM_MAX] = 232448, [GIVEN_DEVICE_ARCH] = 90}};

static void require(bool holds)
{
    if (!holds)
        abort();
}

static void check_text(struct arena *arena, const char *text, const struct symbols *symbols)
{
    struct expr *expr;
    struct err err;
    require(expr_parse(arena, text, strlen(text), symbols, &expr, NULL, &err));
}

static void check_program(struct arena *arena, const struct family *family, const int64_t *values)
{
    struct program program;
    struct err err;
    struct symbols *symbols = symbols_new(arena);
    require(family_program(arena, family, values, &program, &err));
    require(program.kernel_count > 0);
    for (int i = 0; i < program.constant_count; i++)
        require(symbols_add(symbols, program.constants[i].name) == i);
    for (int i = 0; i < LAUNCH_VARIABLES; i++)
        require(symbols_add(symbols, launch_variable_names[i]) == program.constant_count + i);
    for (int i = 0; i < program.kernel_count; i++) {
        for (int j = 0; j < 3; j++)
            check_text(arena, program.kernels[i].grid[j], symbols);
        check_text(arena, program.kernels[i].threads, symbols);
        check_text(arena, program.kernels[i].smem, symbols);
    }
    for (int i = 0; i < program.workspace_count; i++)
        check_text(arena, program.workspaces[i].bytes, symbols);
    for (int i = 0; i < program.map_count; i++) {
        check_text(arena, program.maps[i].columns, symbols);
        check_text(arena, program.maps[i].rows, symbols);
        check_text(arena, program.maps[i].swizzle, symbols);
    }
    for (int i = 0; i < program.supports_count; i++)
        check_text(arena, program.supports[i].condition, symbols);
}

static void check_genome(struct arena *arena, const struct family *family,
                         const struct genome *genome, int64_t *values)
{
    struct genome again = {.family = genome->family};
    struct refusal refusal = {.text = ""};
    struct err err;
    const char *text = genome_text(arena, family, genome);
    require(genome_parse(family, text + strlen(family->name), &again, &err));
    require(memcmp(genome, &again, sizeof again) == 0);
    bool feasible = family_feasible(family, genome, &givens, values, &refusal);
    require(feasible == (refusal.text[0] == '\0'));
    require(family_feasible(family, genome, &givens, values, NULL) == feasible);
    if (feasible)
        check_program(arena, family, values);
}

static void check_family(struct arena *arena, const struct template_set *set,
                         const struct family *family)
{
    int64_t *values = arena_alloc(arena, (size_t)family->symbols->count * sizeof *values + 1);
    int64_t feasible, total;
    struct genome genome = {0};
    struct rng rng = rng_at(1, 0, 0);
    bool whole = family_count(family, &givens, 1000, &feasible, &total);
    require(feasible >= 0 && feasible <= total);
    for (int i = 0; i < GENOMES; i++) {
        check_genome(arena, family, &genome, values);
        require(!whole || feasible > 0 || !family_feasible(family, &genome, &givens, values, NULL));
        for (int j = 0; j < family->gene_count; j++)
            genome.at[j] = (uint8_t)rng_below(&rng, (uint32_t)family->genes[j].count);
    }
    struct buf source = {0};
    struct err err = {0};
    if (!render_source(set, family, &genome, &givens, &source, &err))
        require(err.kind == ERR_USER);
    buf_free(&source);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct arena *arena = arena_new();
    struct template_set *set = template_set_new(arena);
    struct family *family;
    struct err err = {0};
    template_set_add(set, "f.cu", "f.cu", (const char *)data, size);
    template_set_add(set, "include/evo.cuh", "evo.cuh", "", 0);
    template_set_add(set, "include/f.cuh", "f.cuh", (const char *)data, size);
    if (template_set_family(set, "f", &family, &err))
        check_family(arena, set, family);
    else
        require(err.kind == ERR_USER && strncmp(err.what, "f.cu:", 5) == 0);
    arena_free(arena);
    return 0;
}
