#include "genome/products.h"

#include <stdlib.h>
#include <string.h>

enum { EXPR_PRODUCTS_MAX = 64 }; /* read of one expression */

/* What each symbol is, as a product of genes. */
struct meaning {
    struct product product;
    bool known; /* else nothing with it is a product of genes */
};

struct search {
    const struct family *family;
    struct meaning *meanings; /* of each slot */
    struct product *found;
    int count;
};

/* ---- what symbols are ---- */

static bool is_factor(const struct gene *gene)
{
    return gene->kind == GENE_NUMBER && gene->values[0] > 0;
}

static void know_genes(struct search *search)
{
    const struct family *family = search->family;

    for (int i = 0; i < GIVEN_COUNT; i++) {
        if (family->given_slots[i] >= 0) {
            search->meanings[family->given_slots[i]].known = true;
        }
    }
    for (int i = family->gene_count; family->space != NULL && i < family->symbols->count; i++) {
        search->meanings[i].known = true; /* behind its parameters a recording has constants */
    }
    for (int i = 0; i < family->gene_count; i++) {
        struct meaning *meaning = &search->meanings[family->gene_slots[i]];

        meaning->known = is_factor(&family->genes[i]);
        meaning->product = (struct product){.count = 0};
        if (family->genes[i].count > 1) { /* else it is a constant */
            meaning->product = (struct product){1, {i}, {1}};
        }
    }
}

/* Genes in place of symbols; false: it is no product of genes. */
static bool understand(const struct search *search, const struct product *read,
                       struct product *product)
{
    product->count = 0;
    for (int i = 0; i < read->count; i++) {
        const struct meaning *meaning = &search->meanings[read->slots[i]];

        if (!meaning->known) {
            return false;
        }
        for (int power = abs(read->powers[i]); power > 0; power--) {
            if (!product_join(product, &meaning->product, read->powers[i] < 0)) {
                return false;
            }
        }
    }
    return true;
}

/* ---- those that are worth a look ---- */

static int power_of(const struct product *product, int gene)
{
    for (int i = 0; i < product->count; i++) {
        if (product->slots[i] == gene) {
            return product->powers[i];
        }
    }
    return 0;
}

/* The same up to a common power: x / y says what y / x says. */
static bool alike(const struct product *a, const struct product *b)
{
    if (a->count != b->count) {
        return false;
    }
    for (int i = 1; i < a->count; i++) {
        if (power_of(b, a->slots[i]) * a->powers[0] != power_of(b, a->slots[0]) * a->powers[i]) {
            return false;
        }
    }
    return power_of(b, a->slots[0]) != 0;
}

static void keep(struct search *search, const struct product *product)
{
    for (int i = 0; i < search->count; i++) {
        if (alike(&search->found[i], product)) {
            return;
        }
    }
    if (product->count > 1 && search->count < FAMILY_PRODUCTS_MAX) {
        search->found[search->count++] = *product;
    }
}

/* Keeps an expression's products; what it is itself, if it is one, is the meaning of a slot. */
static void read_expr(struct search *search, const struct expr *expr, struct meaning *meaning)
{
    struct product read[EXPR_PRODUCTS_MAX], product;
    bool whole;
    int count = expr_products(expr, read, EXPR_PRODUCTS_MAX, &whole);

    for (int i = 0; i < count; i++) {
        bool understood = understand(search, &read[i], &product);

        if (understood) {
            keep(search, &product);
        }
        if (meaning != NULL && whole && i == count - 1) {
            *meaning = (struct meaning){product, understood};
        }
    }
}

int family_products(const struct family *family, struct product *products)
{
    struct search search = {.family = family, .found = products};

    search.meanings = xcalloc((size_t)family->symbols->count + 1, sizeof *search.meanings);
    know_genes(&search);
    for (int i = 0; i < family->let_count; i++) {
        read_expr(&search, family->lets[i].expr, &search.meanings[family->lets[i].slot]);
    }
    for (int i = 0; i < family->require_count; i++) {
        read_expr(&search, family->requires[i].expr, NULL);
    }
    free(search.meanings);
    return search.count;
}
