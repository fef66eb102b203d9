/*
 * The seed parser, and what seeds say of families: any bytes are a seed or a located refusal with a
 * hint. What was accepted keeps the limits that others rely on.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/seed.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const char template_text[] =
    "/*\n * toy -- a family.\n */\n"
    "#include \"include/evo.cuh\"\n"
    "EVO_GIVEN(DEVICE_SMEM_MAX, \"bytes\")\n"
    "EVO_GENE(ROWS, pow2(16, 256), \"rows\")\n"
    "EVO_GENE(WARPS, set(1, 2, 4), \"warps\")\n"
    "EVO_CHOICE(Order, (forwards, backwards), \"order\")\n"
    "EVO_REQUIRE(ROWS * 1024 <= DEVICE_SMEM_MAX, \"it must fit\")\n"
    "EVO_LAUNCH(toy, (heads), 32 * WARPS, 0, (Q, K, V, O, problem))\n";

static void require(bool holds)
{
    if (!holds) {
        abort();
    }
}

static void check_limits(const struct seed *seed)
{
    double weights = 0;

    require(seed->problem_count >= 1 && seed->problem_count <= SEED_PROBLEMS_MAX);
    require(seed->family_count >= 1 && seed->family_count <= SEED_FAMILIES_MAX);
    require(seed->founder_count >= 0 && seed->founder_count <= SEED_FOUNDERS_MAX);
    require(seed->restriction_count <= SEED_RESTRICTIONS_MAX);
    require(seed->judge_count <= SEED_JUDGES_MAX);
    require(seed->islands >= 1 && seed->islands <= SEED_ISLANDS_MAX);
    require(seed->elites >= 1 && seed->elites <= POPULATION_ELITES_MAX);
    require(seed->tournament >= 1 && seed->lag >= 1 && seed->lag <= SEED_LAG_MAX);
    require(seed->migration >= 0 && seed->migration <= 1);
    require(seed->numerics[0] || seed->numerics[1]);
    require(seed->budget_evaluations >= 0 && seed->budget_wall_ms >= 0);
    require(seed->device != NULL && seed->name != NULL && seed->about != NULL);
    for (int i = 0; i < OPERATOR_DRAWN; i++) {
        require(seed->weights[i] >= 0);
        weights += seed->weights[i];
    }
    require(weights > 0);
}

static void check_families(struct arena *arena, const struct seed *seed)
{
    struct template_set *set = template_set_new(arena);
    struct family *families[SEED_FAMILIES_MAX];
    struct genome founders[SEED_FOUNDERS_MAX];
    struct err err;
    int count;

    template_set_add(set, "toy.cu", "toy.cu", template_text, sizeof template_text - 1);
    if (seed_families(arena, seed, set, NULL, families, &count, founders, &err)) {
        require(count == seed->family_count);
        for (int i = 0; i < seed->founder_count; i++) {
            const struct family *family = families[founders[i].family];

            for (int j = 0; j < family->gene_count; j++) {
                require(founders[i].at[j] < family->genes[j].count);
            }
        }
    } else {
        require(strncmp(err.what, "fuzz:", 5) == 0);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct arena *arena = arena_new();
    struct seed *seed = arena_alloc(arena, sizeof *seed);
    struct err err = {.kind = ERR_NONE};

    if (seed_parse(arena, "fuzz", (const char *)data, size, seed, &err)) {
        check_limits(seed);
        check_families(arena, seed);
    } else if (size <= SEED_BYTES_MAX) {
        require(err.kind == ERR_USER && strncmp(err.what, "fuzz:", 5) == 0);
        require(err.hint[0] != '\0');
    }
    arena_free(arena);
    return 0;
}
