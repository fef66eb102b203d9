/*
 * Expressions: any text is parsed or refused at a place inside it; what was parsed evaluates the
 * same with and without an error to fill, folded or not, and with its names replaced by their
 * values.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/expr.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(bool holds)
{
    if (!holds)
        abort();
}

/* A text made from `expr` stands for the same value. A text may have outgrown its limit. */
static void check_text(struct arena *arena, const char *text, const struct symbols *symbols,
                       const int64_t *values, bool computed, int64_t value)
{
    struct expr *expr;
    struct err err;
    int64_t again = 0;
    if (strlen(text) > EXPR_BYTES_MAX)
        return;
    require(expr_parse(arena, text, strlen(text), symbols, &expr, NULL, &err));
    require(expr_eval(expr, values, &again, NULL) == computed);
    require(!computed || again == value);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const char *const names[] = {"A", "BLOCK_M", "ZERO", "Exp=fast", "TOP"};
    static const int64_t values[] = {7, 32, 0, 1, INT64_MAX};
    struct arena *arena = arena_new();
    struct symbols *symbols = symbols_new(arena), none = {arena, NULL, 0, 0};
    struct expr *expr;
    struct err err;
    int64_t value = 0, same = 0;
    size_t at = 0;
    for (int i = 0; i < 5; i++)
        symbols_add(symbols, names[i]);
    if (!expr_parse(arena, (const char *)data, size, symbols, &expr, &at, &err)) {
        require(at <= size);
    } else {
        bool computed = expr_eval(expr, values, &value, &err);
        require(expr_eval(expr, values, &same, NULL) == computed);
        require(!computed || value == same);
        check_text(arena, expr_text(expr), symbols, values, computed, value);
        check_text(arena, expr_filled(arena, expr, values), &none, NULL, computed, value);
    }
    arena_free(arena);
    return 0;
}
