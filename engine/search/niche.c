#include "search/niche.h"

/* Of a multiprocessor, on all architectures that evo knows. */
enum { THREADS = 2048, BLOCKS = 32, SMEM_RESERVED = 1024, LANES = 32 };

int niche_blocks(const struct plan_kernel *kernel, int64_t smem_max)
{
    int64_t threads = (kernel->threads + LANES - 1) / LANES * LANES, blocks = BLOCKS;
    int64_t by_smem = (smem_max + SMEM_RESERVED) / (kernel->smem_bytes + SMEM_RESERVED);

    blocks = blocks < THREADS / threads ? blocks : THREADS / threads;
    return (int)(blocks < by_smem ? blocks : by_smem);
}

int niche_of(const struct search_space *space, const struct genome *genome)
{
    const struct family *family = space->families[genome->family];
    const struct givens *givens = &space->statics[space->problems[0].image].givens;
    int64_t values[FAMILY_SYMBOLS_MAX];
    struct program program;
    struct plan plan;
    struct arena *arena;
    bool supported;
    int bucket = 0;

    if (family->space != NULL) {
        return genome->family * NICHE_BUCKETS; /* a recording has no launch */
    }
    arena = arena_new();
    if (family_feasible(family, genome, givens, values, NULL) &&
        family_program(arena, family, values, &program, &(struct err){.kind = ERR_NONE}) &&
        plan_resolve(arena, &program, &space->problems[0].problem, space->sms, &plan, &supported,
                     &(struct err){.kind = ERR_NONE}) &&
        plan.kernel_count > 0) {
        int blocks = niche_blocks(&plan.kernels[0], givens->values[GIVEN_DEVICE_SMEM_MAX]);

        for (; bucket < NICHE_BUCKETS - 1 && blocks > (1 << bucket) / 2; bucket++) {
            continue;
        }
    }
    arena_free(arena);
    return genome->family * NICHE_BUCKETS + bucket;
}
