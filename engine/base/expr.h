/*
 * expr -- the integer expressions of templates: requirements, derived values, launches.
 *
 * The language, loosest binding first:
 *
 *     a ? b : c      ||      &&      == !=      < <= > >=      + -      * / %      ! -      ( )
 *     min(a, b, ...)  max(a, b, ...)  ceil_div(a, b)  log2(a)  pow2(a)
 *     decimal and 0x literals, with 'true' and 'false'; names
 *     EVO_IS(Name, label): the value of the symbol called "Name=label"
 *
 * Values are int64_t; comparisons and logic give 0 or 1; `&&`, `||` and `?:` evaluate only what
 * they need. `/` and `%` truncate as in C, ceil_div rounds up (both operands >= 0, divisor > 0),
 * log2 is the floor of the logarithm (a > 0), pow2 is 2^a (0 <= a <= 62). The subset is valid C++
 * too, which is why a template's requirement can be a static_assert.
 *
 * Overflow, division by zero and the limits above make an evaluation fail: they never make a value.
 * An expression is parsed once against a table of names and evaluated many times without
 * allocating.
 */
#ifndef EVO_BASE_EXPR_H
#define EVO_BASE_EXPR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/err.h"

enum {
    EXPR_BYTES_MAX = 4096, /* of text */
    EXPR_DEPTH_MAX = 64,   /* of nesting, so that a parser's stack is bounded */
    EXPR_OPS_MAX = 1024,   /* of compiled code */
    EXPR_FACTORS_MAX = 4,  /* of a product */
};

/* Names and the slot of a value array each stands for. Grows; names are copied into its arena. */
struct symbols {
    struct arena *arena;
    const char **names;
    int count, room;
};

struct symbols *symbols_new(struct arena *arena);
int symbols_add(struct symbols *symbols,
                const char *name); /* the slot; an old name keeps its own */
int symbols_find(const struct symbols *symbols, const char *name, size_t length); /* -1: unknown */

struct expr;

/*
 * Parses the whole text. On failure *at (may be NULL) is the offset of the offending character, and
 * err says what is wrong without the place.
 */
bool expr_parse(struct arena *arena, const char *text, size_t length,
                const struct symbols *symbols, struct expr **expr, size_t *at, struct err *err);
/* err may be NULL here: whoever tries many genomes does not ask why one fails. */
bool expr_eval(const struct expr *expr, const int64_t *values, int64_t *value, struct err *err);

/* The text as written (blanks folded), for messages and records. */
const char *expr_text(const struct expr *expr);
/* True if the expression reads the slot. */
bool expr_reads(const struct expr *expr, int slot);
/*
 * The arithmetic shown with values in place of names, for explaining a refusal:
 * "2 * 128 * 64 * 4 <= 49152".
 */
char *expr_filled(struct arena *arena, const struct expr *expr, const int64_t *values);

/* Symbols multiplied by each other, or divided where the power is below 0; no slot twice. */
struct product {
    int count;
    int slots[EXPR_FACTORS_MAX], powers[EXPR_FACTORS_MAX];
};

/* a *= b, or a /= b; false: there is no room for the factors. */
bool product_join(struct product *a, const struct product *b, bool divide);
/*
 * The products that an expression is made of, constant factors left out: those that are no part of
 * a larger one. A remainder counts as a quotient: how often one goes into the other is what it asks
 * about. At most `room` are written; *whole: the last is the expression itself.
 */
int expr_products(const struct expr *expr, struct product *products, int room, bool *whole);

#endif
