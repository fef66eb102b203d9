/*
 * gene -- what may vary in a kernel, and one choice of it.
 *
 * A gene has a name and a finite, ordered domain. A genome is a family and one index into each
 * gene's domain: small, comparable with memcmp (unused places are zero), meaningless without its
 * family. Everything that outlives the process (database, messages, seeds) holds the text form:
 *
 *     attention_tiled BLOCK_M=32 BLOCK_N=64 EXP=softmax_exp2
 *
 * with every gene of the family in the order declared, so that equal genomes have equal texts.
 */
#ifndef EVO_GENOME_GENE_H
#define EVO_GENOME_GENE_H

#include <stdint.h>

enum {
    GENES_MAX = 32,        /* of a family; a genome stays one cache line or two */
    GENE_VALUES_MAX = 256, /* of a gene: an index fits a byte */
};

enum gene_kind {
    GENE_NUMBER, /* values are integers with an order that means something */
    GENE_CHOICE, /* values are labels: types or functions of the template; index = value */
};

struct gene {
    const char *name, *doc;
    enum gene_kind kind;
    int count;
    const int64_t *values;     /* ascending for numbers; 0 … count-1 for choices */
    const char *const *labels; /* of a choice; NULL for numbers */
    int line;                  /* where the template declares it; 0: nowhere */
};

struct genome {
    uint16_t family; /* index among the run's families */
    uint8_t at[GENES_MAX];
};

#endif
