#include "search/mutate.h"

#include <string.h>

const char *const operator_names[OPERATOR_COUNT] = {
    [OPERATOR_FOUNDER] = "founder",     [OPERATOR_STEP] = "step",
    [OPERATOR_MULTI] = "multi",         [OPERATOR_CROSSOVER] = "crossover",
    [OPERATOR_IMMIGRANT] = "immigrant", [OPERATOR_JUMP] = "jump",
    [OPERATOR_PREDICT] = "predict",     [OPERATOR_REFINE] = "refine",
    [OPERATOR_RECALL] = "recall",       [OPERATOR_CLIMB] = "climb",
    [OPERATOR_DRAW] = "draw",
};

bool operator_parse(const char *name, enum operator_kind *kind)
{
    for (int i = 0; i < OPERATOR_COUNT; i++) {
        if (strcmp(operator_names[i], name) == 0) {
            *kind = (enum operator_kind)i;
            return true;
        }
    }
    return false;
}

static const struct family *family_of(const struct search_space *space,
                                      const struct genome *genome)
{
    return space->families[genome->family];
}

struct genome mutate_random(const struct search_space *space, int family, struct rng *rng)
{
    const struct family *fam = space->families[family];
    struct genome genome = {.family = (uint16_t)family};

    for (int i = 0; i < fam->gene_count; i++) {
        genome.at[i] = (uint8_t)rng_below(rng, (uint32_t)fam->genes[i].count);
    }
    return genome;
}

bool genome_next(const struct family *family, struct genome *genome)
{
    for (int i = family->gene_count - 1; i >= 0; i--) {
        if (++genome->at[i] < family->genes[i].count) {
            return true;
        }
        genome->at[i] = 0;
    }
    return false;
}

/* The genes that have another value to go to; returns how many. */
static int open_genes(const struct family *family, int open[GENES_MAX])
{
    int count = 0;

    for (int i = 0; i < family->gene_count; i++) {
        if (family->genes[i].count > 1) {
            open[count++] = i;
        }
    }
    return count;
}

/* Numbers go one place up or down, sometimes two; labels have no order, so any other will do. */
static void move_gene(const struct gene *gene, uint8_t *at, struct rng *rng)
{
    if (gene->kind == GENE_CHOICE) {
        *at = (uint8_t)((*at + 1 + rng_below(rng, (uint32_t)gene->count - 1)) %
                        (uint32_t)gene->count);
        return;
    }
    int reach = rng_below(rng, 4) == 0 ? 2 : 1;
    int to = *at + (rng_below(rng, 2) ? reach : -reach);

    if (to < 0 || to >= gene->count) {
        to = *at > 0 ? *at - 1 : *at + 1; /* at an end there is one way to go */
    }
    *at = (uint8_t)to;
}

static bool apply_step(const struct search_space *space, const struct genome *parents,
                       struct rng *rng, struct genome *child)
{
    const struct family *family = family_of(space, parents);
    int open[GENES_MAX], count = open_genes(family, open), gene;

    if (count == 0) {
        return false;
    }
    gene = open[rng_below(rng, (uint32_t)count)];
    *child = parents[0];
    move_gene(&family->genes[gene], &child->at[gene], rng);
    return true;
}

static bool apply_multi(const struct search_space *space, const struct genome *parents,
                        struct rng *rng, struct genome *child)
{
    const struct family *family = family_of(space, parents);
    int open[GENES_MAX], count = open_genes(family, open);
    int moves = 2 + (int)rng_below(rng, 3);

    if (count < 2) {
        return false;
    }
    *child = parents[0];
    for (; moves > 0 && count > 0; moves--) {
        uint32_t pick = rng_below(rng, (uint32_t)count);
        int gene = open[pick];

        move_gene(&family->genes[gene], &child->at[gene], rng);
        open[pick] = open[--count]; /* each gene once: none moves back */
    }
    return true;
}

static uint64_t distance(int64_t a, int64_t b)
{
    return a > b ? (uint64_t)a - (uint64_t)b : (uint64_t)b - (uint64_t)a;
}

/* The index in `gene` that stands for value `at` of `other`, or the nearest number; -1: none. */
static int same_value(const struct gene *gene, const struct gene *other, int at)
{
    int nearest = -1;

    if (gene->kind != other->kind) {
        return -1;
    }
    for (int i = 0; i < gene->count; i++) {
        if (gene->kind == GENE_CHOICE) {
            if (strcmp(gene->labels[i], other->labels[at]) == 0) {
                return i;
            }
        } else if (nearest < 0 || distance(gene->values[i], other->values[at]) <
                                      distance(gene->values[nearest], other->values[at])) {
            nearest = i;
        }
    }
    return nearest;
}

/* child's gene takes the value that a genome of any family has under the same name. */
static bool inherit(const struct search_space *space, struct genome *child, int gene,
                    const struct genome *from)
{
    const struct family *to_family = family_of(space, child);
    const struct family *from_family = family_of(space, from);
    int source = family_gene(from_family, to_family->genes[gene].name);
    int at = source < 0 ? -1
                        : same_value(&to_family->genes[gene], &from_family->genes[source],
                                     from->at[source]);

    if (at >= 0) {
        child->at[gene] = (uint8_t)at;
    }
    return at >= 0;
}

static bool apply_crossover(const struct search_space *space, const struct genome *parents,
                            struct rng *rng, struct genome *child)
{
    const struct family *family = family_of(space, parents);

    *child = parents[0];
    for (int i = 0; i < family->gene_count; i++) {
        if (rng_below(rng, 2)) {
            inherit(space, child, i, &parents[1]);
        }
    }
    return true;
}

static bool apply_immigrant(const struct search_space *space, const struct genome *parents,
                            struct rng *rng, struct genome *child)
{
    (void)parents;
    *child = mutate_random(space, (int)rng_below(rng, (uint32_t)space->family_count), rng);
    return true;
}

static bool apply_jump(const struct search_space *space, const struct genome *parents,
                       struct rng *rng, struct genome *child)
{
    uint32_t step;
    int family;

    if (space->family_count < 2) {
        return false;
    }
    step = 1 + rng_below(rng, (uint32_t)space->family_count - 1);
    family = (int)((parents[0].family + step) % (uint32_t)space->family_count);
    *child = mutate_random(space, family, rng); /* genes that are not inherited stay random */
    for (int i = 0; i < space->families[family]->gene_count; i++) {
        inherit(space, child, i, &parents[0]);
    }
    return true;
}

const struct operator_row operator_table[OPERATOR_COUNT] = {
    [OPERATOR_FOUNDER] = {0, NULL},
    [OPERATOR_STEP] = {1, apply_step},
    [OPERATOR_MULTI] = {1, apply_multi},
    [OPERATOR_CROSSOVER] = {2, apply_crossover},
    [OPERATOR_IMMIGRANT] = {0, apply_immigrant},
    [OPERATOR_JUMP] = {1, apply_jump},
    [OPERATOR_PREDICT] = {1, NULL}, /* these four are guide.c's and population.c's to apply */
    [OPERATOR_REFINE] = {1, NULL},
    [OPERATOR_RECALL] = {0, NULL},
    [OPERATOR_CLIMB] = {1, NULL},
    [OPERATOR_DRAW] = {0, apply_immigrant},
};
