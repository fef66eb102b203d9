#include "search/favour.h"

#include <math.h>
#include <string.h>

#include "search/niche.h"

enum { LANES = 32 };
/* What a warp does in one instruction: a product of mma.sync, or multiplications and additions. */
enum { MMA_FLOPS = 2 * 16 * 8 * 16, FMA_FLOPS = 2 * LANES, WGMMA_FLOPS = 2 * 64 * 64 * 16 };

/* No launch is so bad that nothing of it could be learned. */
static const double least_favour = 0.1;

/* What families multiply with, by the header that they include; the fastest first. */
static const struct means {
    const char *header;
    enum ceiling rate, latency;
    double flops; /* of one instruction; warps that issue it together */
    int warps;
} products[] = {
    {"include/wgmma.cuh", CEILING_WGMMA_64, CEILING_WGMMA_64_LATENCY, WGMMA_FLOPS, 4},
    {"include/mma.cuh", CEILING_MMA_HALF, CEILING_MMA_LATENCY, MMA_FLOPS, 1},
    {"include/wmma.cuh", CEILING_WMMA_HALF, CEILING_MMA_LATENCY, MMA_FLOPS, 1},
    {"", CEILING_FMA, CEILING_FMA_LATENCY, FMA_FLOPS, 1},
};
enum { PRODUCTS = sizeof products / sizeof *products };

static const struct means *product_of(const struct family *family)
{
    int i = 0;

    while (i < PRODUCTS - 1 &&
           (family->text == NULL || strstr(family->text, products[i].header) == NULL)) {
        i++;
    }
    return &products[i];
}

/* FLOP of a multiprocessor in a clock; NAN: not measured. */
static double rate_of(const struct ceilings *ceilings, const struct means *product)
{
    double rate = ceilings->per_clock[product->rate];

    return product->rate == CEILING_FMA ? rate * FMA_FLOPS : rate;
}

double favour_family(const struct search_space *space, int family)
{
    double best = NAN, own;

    if (space->ceilings == NULL) {
        return 1;
    }
    for (int i = 0; i < space->family_count; i++) {
        best = fmax(best, rate_of(space->ceilings, product_of(space->families[i])));
    }
    own = rate_of(space->ceilings, product_of(space->families[family]));
    return isnan(own) || isnan(best) ? 1 : own / best;
}

/* ---- a launch ---- */

/*
 * Warps of a multiprocessor that keep its pipe busy while each waits for its own last product: the
 * latency over the time that one product takes the pipe.
 */
static double warps_wanted(const struct ceilings *ceilings, const struct means *product)
{
    double busy = product->flops / rate_of(ceilings, product);

    return ceilings->value[product->latency] / busy * product->warps;
}

/* A warp with several sums of its own needs fewer beside it; how many is not known: a root. */
static double hidden(const struct plan_kernel *kernel, int64_t smem_max, double wanted)
{
    double warps = (kernel->threads + LANES - 1) / LANES;

    return isnan(wanted) ? 1 : sqrt(fmin(1, niche_blocks(kernel, smem_max) * warps / wanted));
}

/* The share of the multiprocessors' time in which they have a block, if all blocks are alike. */
static double filled(const struct plan_kernel *kernel, int64_t sms)
{
    double blocks = (double)kernel->grid[0] * kernel->grid[1] * kernel->grid[2];

    return blocks / (ceil(blocks / (double)sms) * (double)sms);
}

double favour_genome(const struct search_space *space, const struct genome *genome)
{
    const struct family *family = space->families[genome->family];
    int64_t values[FAMILY_SYMBOLS_MAX];
    struct arena *arena;
    double favour = 1;

    if (space->ceilings == NULL || family->space != NULL) {
        return 1;
    }
    arena = arena_new();
    for (int i = 0; i < space->problem_count; i++) {
        const struct givens *givens = &space->statics[space->problems[i].image].givens;
        double wanted = warps_wanted(space->ceilings, product_of(family));
        struct program program;
        struct plan plan;
        struct err ignored;
        bool supported;

        if (family_feasible(family, genome, givens, values, NULL) &&
            family_program(arena, family, values, &program, &ignored) &&
            plan_resolve(arena, &program, &space->problems[i].problem, space->sms, &plan,
                         &supported, &ignored)) {
            favour *= hidden(&plan.kernels[0], givens->values[GIVEN_DEVICE_SMEM_MAX], wanted) *
                      filled(&plan.kernels[0], space->sms);
        }
        arena_reset(arena);
    }
    arena_free(arena);
    return fmax(least_favour, pow(favour, 1.0 / space->problem_count));
}
