/*
 * products -- what a family's declarations multiply: threads of a block, rows of a tile times
 * columns, bytes of a ring. How a kernel does depends on such products as much as on the genes, and
 * the author has written down which ones matter: in what is required and in what is derived.
 *
 * Factors are genes that are numbers; constants of the problem are left out, and products in which
 * anything else takes part (a choice, a derived value that is no product) are not found.
 */
#ifndef EVO_GENOME_PRODUCTS_H
#define EVO_GENOME_PRODUCTS_H

#include "genome/family.h"

enum { FAMILY_PRODUCTS_MAX = 16 };

/*
 * Products of two or more genes of several values, all above 0; `slots` are indices of genes. In
 * the order declared, none twice, at most FAMILY_PRODUCTS_MAX; returns how many.
 */
int family_products(const struct family *family, struct product *products);

#endif
