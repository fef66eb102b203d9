/*
 * catalogue -- the genomes of one family that a model is asked about, as points.
 *
 * Of a family that is small enough: every legal genome, listed once. Of a larger one a pool that is
 * drawn anew from time to time: neighbours of the best, crossovers, random ones.
 *
 * Coordinates: a number is scaled to [0, 1] over its gene's values, by its logarithm where all are
 * positive and the largest is at least four times the smallest; a label keeps its index. Genes with
 * one value have none. A gene that offers powers of two and other numbers has a second coordinate,
 * the logarithm of what is left of its value without its factors of two: whether tiles divide
 * evenly and rows stay aligned is another question than how large they are. A product of genes that
 * the family's requirements or derived values speak of (products.h) has a coordinate too, its
 * logarithm. Where earlier runs are remembered (memory.h), the last coordinate says of which run a
 * point is: what was found there is like what will be found here, as far as it proves to be.
 *
 * Memory: about 44 + 4 * genes bytes a genome. Threads: one.
 */
#ifndef EVO_SEARCH_CATALOGUE_H
#define EVO_SEARCH_CATALOGUE_H

#include "genome/products.h"
#include "search/population.h"
#include "search/surrogate.h"

enum {
    CATALOGUE_MAX = 20000,     /* legal genomes of a family that are listed */
    CATALOGUE_LOOK_MAX = 1 << 19, /* combinations that are tried to list them */
};

struct axes {
    int dims, plain; /* the first `plain` coordinates are the genes themselves */
    int single;      /* so many, those included, are of one gene; then come products */
    int origin;      /* the last: which run it comes from (0: this one); -1: there is none */
    int gene[SURROGATE_DIMS_MAX]; /* of each coordinate of one gene */
    bool label[SURROGATE_DIMS_MAX];
    float at[SURROGATE_DIMS_MAX][GENE_VALUES_MAX]; /* [coordinate][index of the value] */
    struct {
        int count, genes[EXPR_FACTORS_MAX];
        float weights[EXPR_FACTORS_MAX], from; /* of logarithms; what is subtracted of their sum */
    } products[FAMILY_PRODUCTS_MAX];
    float logs[GENES_MAX][GENE_VALUES_MAX]; /* of the factors' values */
};

void axes_of_family(const struct family *family, bool origin, struct axes *axes);
struct point axes_point(const struct axes *axes, const struct genome *genome);
/* How many genes that offer powers of two have another value. */
int axes_odd(const struct axes *axes, const struct genome *genome);

struct catalogue {
    struct axes axes;
    struct genome *genomes;
    uint8_t *numerics;
    bool *taken; /* proposed before, or found not to be admitted after all */
    struct cloud cloud;
    int count, room;
    uint32_t *slots; /* index + 1 by hash; 0: empty */
    uint32_t mask;
};

struct catalogue *catalogue_new(const struct family *family, bool origin);
void catalogue_free(struct catalogue *catalogue);

/*
 * Adds a genome; false: it is in it already. catalogue_close makes points of them, with room for
 * `room` in all; then catalogue_append adds genome and point, if there is room.
 */
bool catalogue_add(struct catalogue *catalogue, const struct genome *genome, int numerics);
void catalogue_close(struct catalogue *catalogue, int room);
bool catalogue_append(struct catalogue *catalogue, const struct genome *genome, int numerics);
void catalogue_clear(struct catalogue *catalogue);
int catalogue_find(const struct catalogue *catalogue, const struct genome *genome); /* or -1 */

/*
 * Lists every genome of the family that meets the requirements. False: more than CATALOGUE_MAX, or
 * too many combinations to look through.
 */
bool catalogue_list(struct catalogue *catalogue, const struct search_space *space, int family);

/* A hash of a genome's bytes, never 0. */
uint64_t genome_key(const struct genome *genome);

#endif
