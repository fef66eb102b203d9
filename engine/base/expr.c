/*
 * The parser descends by the table of binary operators and emits code for a stack machine as it
 * goes; the machine is a loop over that code. `&&`, `||` and `?:` are jumps, so that what is not
 * needed is not evaluated (BLOCKS > 0 && 100 / BLOCKS > 3).
 *
 * Stack: within one level of nesting at most one operand waits for each of the six precedences, so
 * EXPR_STACK_MAX cannot be exceeded; the parser counts nevertheless.
 */
#include "base/expr.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "base/str.h"

enum { EXPR_STACK_MAX = 8 * EXPR_DEPTH_MAX };

enum code {
    OP_PUSH, /* arg */
    OP_LOAD, /* values[arg] */
    OP_NEGATE,
    OP_NOT,
    OP_TRUTH,      /* 0 or 1 */
    OP_AND_JUMP,   /* top is 0: leave 0 and go to arg; else drop it */
    OP_OR_JUMP,    /* top is not 0: leave 1 and go to arg; else drop it */
    OP_FALSE_JUMP, /* drop top; it was 0: go to arg */
    OP_JUMP,
    OP_ADD,
    OP_SUBTRACT,
    OP_MULTIPLY,
    OP_DIVIDE,
    OP_REMAINDER,
    OP_EQUAL,
    OP_UNEQUAL,
    OP_LESS,
    OP_LESS_EQUAL,
    OP_GREATER,
    OP_GREATER_EQUAL,
    OP_MIN,
    OP_MAX,
    OP_CEIL_DIV,
    OP_LOG2,
    OP_POW2,
};

struct op {
    enum code code;
    int64_t arg;
};

/* Where the text reads a symbol. */
struct reading {
    int slot, at, length;
};

struct expr {
    const char *text;
    struct op *ops;
    int op_count;
    struct reading *readings; /* in the order of the text */
    int reading_count;
};

/* Longer signs first, so that `<=` is not read as `<`. */
static const struct binary {
    const char *sign;
    int precedence;
    enum code code;
} binary_table[] = {
    {"||", 1, OP_OR_JUMP},  {"&&", 2, OP_AND_JUMP},   {"==", 3, OP_EQUAL},
    {"!=", 3, OP_UNEQUAL},  {"<=", 4, OP_LESS_EQUAL}, {">=", 4, OP_GREATER_EQUAL},
    {"<", 4, OP_LESS},      {">", 4, OP_GREATER},     {"+", 5, OP_ADD},
    {"-", 5, OP_SUBTRACT},  {"*", 6, OP_MULTIPLY},    {"/", 6, OP_DIVIDE},
    {"%", 6, OP_REMAINDER},
};

static const struct function {
    const char *name;
    int args_min, args_max;
    enum code code;
} function_table[] = {
    {"min", 2, EXPR_OPS_MAX, OP_MIN}, {"max", 2, EXPR_OPS_MAX, OP_MAX},
    {"ceil_div", 2, 2, OP_CEIL_DIV},  {"log2", 1, 1, OP_LOG2},
    {"pow2", 1, 1, OP_POW2},
};

#define COUNT(table) (sizeof(table) / sizeof(table)[0])

struct symbols *symbols_new(struct arena *arena)
{
    struct symbols *symbols = arena_alloc(arena, sizeof *symbols);
    symbols->arena = arena;
    return symbols;
}

int symbols_find(const struct symbols *symbols, const char *name, size_t length)
{
    for (int i = 0; i < symbols->count; i++)
        if (strncmp(symbols->names[i], name, length) == 0 && symbols->names[i][length] == '\0')
            return i;
    return -1;
}

int symbols_add(struct symbols *symbols, const char *name)
{
    int slot = symbols_find(symbols, name, strlen(name));
    if (slot >= 0)
        return slot;
    if (symbols->count == symbols->room) {
        int room = symbols->room == 0 ? 16 : 2 * symbols->room;
        const char **names = arena_alloc(symbols->arena, (size_t)room * sizeof *names);
        if (symbols->count > 0)
            memcpy(names, symbols->names, (size_t)symbols->count * sizeof *names);
        symbols->names = names;
        symbols->room = room;
    }
    symbols->names[symbols->count] = arena_dup(symbols->arena, name);
    return symbols->count++;
}

/* Parsing ------------------------------------------------------------------------------------- */

struct parser {
    const char *text;
    size_t length, at;
    size_t mistake; /* offset of what the error is about */
    const struct symbols *symbols;
    struct err *err;
    int op_count, reading_count;
    int depth; /* of nesting */
    int stack; /* values on the machine's stack at this point of the code */
    struct op ops[EXPR_OPS_MAX];
    struct reading readings[EXPR_OPS_MAX];
};

static bool parse_expression(struct parser *parser);

static bool is_blank(char c) { return c == ' ' || (c >= '\t' && c <= '\r'); }
static bool is_digit(char c) { return c >= '0' && c <= '9'; }
static bool is_letter(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_';
}

static void skip_blanks(struct parser *parser)
{
    while (parser->at < parser->length && is_blank(parser->text[parser->at]))
        parser->at++;
}

/* The length of the run of letters and digits at `at`. */
static size_t word_length(const struct parser *parser, size_t at)
{
    size_t end = at;
    while (end < parser->length && (is_letter(parser->text[end]) || is_digit(parser->text[end])))
        end++;
    return end - at;
}

static bool accept(struct parser *parser, const char *sign)
{
    size_t length = strlen(sign);
    skip_blanks(parser);
    if (parser->length - parser->at < length ||
        memcmp(parser->text + parser->at, sign, length) != 0)
        return false;
    parser->at += length;
    return true;
}

static bool fail_unexpected(struct parser *parser, const char *wanted)
{
    skip_blanks(parser);
    parser->mistake = parser->at;
    if (parser->at == parser->length)
        return err_set(parser->err, ERR_USER, "expected %s, but the expression ends", wanted);
    char found = parser->text[parser->at];
    size_t length = word_length(parser, parser->at);
    if (length > 0)
        return err_set(parser->err, ERR_USER, "expected %s, not '%.*s'", wanted,
                       length > 64 ? 64 : (int)length, parser->text + parser->at);
    if (found < ' ' || found > '~')
        return err_set(parser->err, ERR_USER, "expected %s, not the byte 0x%02x", wanted,
                       (unsigned char)found);
    return err_set(parser->err, ERR_USER, "expected %s, not '%c'", wanted, found);
}

static bool expect(struct parser *parser, const char *sign, const char *wanted)
{
    return accept(parser, sign) || fail_unexpected(parser, wanted);
}

/* Appends an operation that takes `pops` values and leaves `pushes`. */
static bool emit(struct parser *parser, enum code code, int64_t arg, int pops, int pushes)
{
    if (parser->op_count == EXPR_OPS_MAX) {
        parser->mistake = parser->at;
        return err_set(parser->err, ERR_USER, "the expression has more than %d operations",
                       EXPR_OPS_MAX);
    }
    parser->ops[parser->op_count++] = (struct op){code, arg};
    parser->stack += pushes - pops;
    assert(parser->stack >= 0 && parser->stack <= EXPR_STACK_MAX);
    return true;
}

static bool emit_load(struct parser *parser, int slot, size_t at, size_t length)
{
    if (!emit(parser, OP_LOAD, slot, 0, 1))
        return false;
    parser->readings[parser->reading_count++] =
        (struct reading){slot, (int)at, (int)length}; /* no more of them than operations */
    return true;
}

static bool parse_number(struct parser *parser)
{
    size_t start = parser->at, length = word_length(parser, start);
    const char *digits = parser->text + start;
    int base = 10;
    int64_t value = 0;
    parser->mistake = start;
    if (length > 2 && digits[0] == '0' && (digits[1] == 'x' || digits[1] == 'X')) {
        base = 16;
    } else if (length > 1 && digits[0] == '0') { /* C++ would read octal */
        return err_set(parser->err, ERR_USER, "a number may not begin with 0");
    }
    for (size_t i = base == 16 ? 2 : 0; i < length; i++) {
        char c = digits[i];
        int digit = is_digit(c)              ? c - '0'
                    : (c >= 'a' && c <= 'f') ? c - 'a' + 10
                    : (c >= 'A' && c <= 'F') ? c - 'A' + 10
                                             : 99;
        if (digit >= base)
            return err_set(parser->err, ERR_USER, "'%.*s' is not a number",
                           length > 64 ? 64 : (int)length, digits);
        if (__builtin_mul_overflow(value, (int64_t)base, &value) ||
            __builtin_add_overflow(value, (int64_t)digit, &value))
            return err_set(parser->err, ERR_USER, "the number is above 2^63 - 1");
    }
    parser->at += length;
    return emit(parser, OP_PUSH, value, 0, 1);
}

static bool parse_call(struct parser *parser, const struct function *function, size_t start)
{
    int args = 0;
    if (!expect(parser, "(", "'(' and the arguments of the function"))
        return false;
    do {
        if (!parse_expression(parser))
            return false;
        args++;
        if (args > 1 && args <= function->args_max && !emit(parser, function->code, 0, 2, 1))
            return false;
    } while (accept(parser, ","));
    if (!expect(parser, ")", "',' or ')'"))
        return false;
    if (args < function->args_min || args > function->args_max) {
        parser->mistake = start;
        return err_set(parser->err, ERR_USER, "'%s' takes %s%d argument%s, not %d", function->name,
                       function->args_max > function->args_min ? "at least " : "",
                       function->args_min, function->args_min == 1 ? "" : "s", args);
    }
    return function->args_min > 1 || emit(parser, function->code, 0, 1, 1);
}

static bool take_name(struct parser *parser, const char *wanted, size_t *at, size_t *length)
{
    skip_blanks(parser);
    *at = parser->at;
    *length = word_length(parser, parser->at);
    if (*length == 0 || is_digit(parser->text[parser->at]))
        return fail_unexpected(parser, wanted);
    parser->at += *length;
    return true;
}

/* EVO_IS(Name, label), behind the word. */
static bool parse_is(struct parser *parser, size_t start)
{
    size_t name, name_length, label, label_length;
    char key[160];
    if (!expect(parser, "(", "'(' after EVO_IS") ||
        !take_name(parser, "the name of a choice", &name, &name_length) ||
        !expect(parser, ",", "','") ||
        !take_name(parser, "a label of the choice", &label, &label_length) ||
        !expect(parser, ")", "')'"))
        return false;
    int slot = -1;
    if (name_length + label_length + 1 < sizeof key) {
        memcpy(key, parser->text + name, name_length);
        key[name_length] = '=';
        memcpy(key + name_length + 1, parser->text + label, label_length);
        slot = symbols_find(parser->symbols, key, name_length + 1 + label_length);
    }
    if (slot < 0) {
        parser->mistake = start;
        return err_set(parser->err, ERR_USER, "there is no choice '%.*s' with a label '%.*s'",
                       name_length > 64 ? 64 : (int)name_length, parser->text + name,
                       label_length > 64 ? 64 : (int)label_length, parser->text + label);
    }
    return emit_load(parser, slot, start, parser->at - start);
}

static bool parse_name(struct parser *parser)
{
    size_t start = parser->at, length = word_length(parser, start);
    const char *name = parser->text + start;
    parser->at += length;
    if (length == 4 && memcmp(name, "true", 4) == 0)
        return emit(parser, OP_PUSH, 1, 0, 1);
    if (length == 5 && memcmp(name, "false", 5) == 0)
        return emit(parser, OP_PUSH, 0, 0, 1);
    if (length == 6 && memcmp(name, "EVO_IS", 6) == 0)
        return parse_is(parser, start);
    for (size_t i = 0; i < COUNT(function_table); i++)
        if (strlen(function_table[i].name) == length &&
            memcmp(name, function_table[i].name, length) == 0)
            return parse_call(parser, &function_table[i], start);
    int slot = symbols_find(parser->symbols, name, length);
    if (slot >= 0)
        return emit_load(parser, slot, start, length);
    parser->mistake = start;
    bool called = accept(parser, "(");
    err_set(parser->err, ERR_USER, "unknown %s '%.*s'", called ? "function" : "name",
            length > 64 ? 64 : (int)length, name);
    if (called)
        err_hint(parser->err, "the functions are min, max, ceil_div, log2 and pow2");
    return false;
}

static bool parse_primary(struct parser *parser)
{
    skip_blanks(parser);
    if (accept(parser, "("))
        return parse_expression(parser) && expect(parser, ")", "')'");
    char c = parser->at < parser->length ? parser->text[parser->at] : '\0';
    if (is_digit(c))
        return parse_number(parser);
    if (is_letter(c))
        return parse_name(parser);
    return fail_unexpected(parser, "a value");
}

static bool enter(struct parser *parser)
{
    if (parser->depth == EXPR_DEPTH_MAX) {
        parser->mistake = parser->at;
        return err_set(parser->err, ERR_USER, "the expression nests deeper than %d levels",
                       EXPR_DEPTH_MAX);
    }
    parser->depth++;
    return true;
}

static bool parse_unary(struct parser *parser)
{
    bool negate = accept(parser, "-");
    if (!negate && !accept(parser, "!"))
        return parse_primary(parser);
    if (negate && parser->at >= 2 && parser->text[parser->at - 2] == '-') {
        parser->mistake = parser->at - 2;
        return err_set(parser->err, ERR_USER, "'--' means something else in C++: write '- -'");
    }
    if (!enter(parser) || !parse_unary(parser))
        return false;
    parser->depth--;
    return emit(parser, negate ? OP_NEGATE : OP_NOT, 0, 1, 1);
}

static const struct binary *peek_binary(struct parser *parser)
{
    for (size_t i = 0; i < COUNT(binary_table); i++) {
        if (accept(parser, binary_table[i].sign)) {
            parser->at -= strlen(binary_table[i].sign);
            return &binary_table[i];
        }
    }
    return NULL;
}

static bool parse_binary(struct parser *parser, int precedence)
{
    const struct binary *binary;
    if (!parse_unary(parser))
        return false;
    while ((binary = peek_binary(parser)) != NULL && binary->precedence >= precedence) {
        bool jumps = binary->code == OP_AND_JUMP || binary->code == OP_OR_JUMP;
        int jump = parser->op_count;
        parser->at += strlen(binary->sign);
        if (jumps && !emit(parser, binary->code, 0, 1, 0))
            return false;
        if (!parse_binary(parser, binary->precedence + 1) ||
            !(jumps ? emit(parser, OP_TRUTH, 0, 1, 1) : emit(parser, binary->code, 0, 2, 1)))
            return false;
        if (jumps)
            parser->ops[jump].arg = parser->op_count;
    }
    return true;
}

static bool parse_expression(struct parser *parser)
{
    if (!enter(parser) || !parse_binary(parser, 1))
        return false;
    if (accept(parser, "?")) {
        int other = parser->op_count;
        if (!emit(parser, OP_FALSE_JUMP, 0, 1, 0) || !parse_expression(parser) ||
            !expect(parser, ":", "':'"))
            return false;
        int end = parser->op_count;
        if (!emit(parser, OP_JUMP, 0, 1, 0)) /* the other branch leaves this branch's value */
            return false;
        parser->ops[other].arg = parser->op_count;
        if (!parse_expression(parser))
            return false;
        parser->ops[end].arg = parser->op_count;
    }
    parser->depth--;
    return true;
}

/* Blanks folded to one; the readings follow. */
static char *fold_text(struct arena *arena, struct parser *parser)
{
    char *folded = arena_alloc(arena, parser->length + 1);
    size_t out = 0;
    int reading = 0;
    for (size_t i = 0; i < parser->length; i++) {
        struct reading *next = &parser->readings[reading];
        if (is_blank(parser->text[i])) {
            if (out > 0 && folded[out - 1] != ' ')
                folded[out++] = ' ';
            continue;
        }
        if (reading < parser->reading_count && (size_t)next->at == i) {
            size_t end = i + (size_t)next->length, start = out;
            for (; i < end; i++) /* an EVO_IS may hold blanks */
                if (!is_blank(parser->text[i]))
                    folded[out++] = parser->text[i];
                else if (folded[out - 1] != ' ')
                    folded[out++] = ' ';
            *next = (struct reading){next->slot, (int)start, (int)(out - start)};
            reading++;
            i--;
            continue;
        }
        folded[out++] = parser->text[i];
    }
    while (out > 0 && folded[out - 1] == ' ')
        out--;
    folded[out] = '\0';
    return folded;
}

bool expr_parse(struct arena *arena, const char *text, size_t length, const struct symbols *symbols,
                struct expr **expr, size_t *at, struct err *err)
{
    struct parser *parser = xmalloc(sizeof *parser); /* tens of kilobytes: not for the stack */
    memset(parser, 0, offsetof(struct parser, ops)); /* the arrays are filled as they are used */
    parser->text = text;
    parser->length = length;
    parser->symbols = symbols;
    parser->err = err;
    bool ok = length <= EXPR_BYTES_MAX ||
              err_set(err, ERR_USER, "the expression is longer than %d bytes", EXPR_BYTES_MAX);
    ok = ok && parse_expression(parser);
    skip_blanks(parser);
    if (ok && parser->at < length)
        ok = fail_unexpected(parser, "an operator or the end of the expression");
    if (ok) {
        struct expr *parsed = arena_alloc(arena, sizeof *parsed);
        parsed->text = fold_text(arena, parser);
        parsed->op_count = parser->op_count;
        parsed->ops =
            arena_copy(arena, parser->ops, (size_t)parser->op_count * sizeof *parsed->ops);
        parsed->reading_count = parser->reading_count;
        parsed->readings = arena_copy(arena, parser->readings,
                                      (size_t)parser->reading_count * sizeof *parsed->readings);
        *expr = parsed;
    } else if (at != NULL) {
        *at = parser->mistake;
    }
    free(parser);
    return ok;
}

/* Evaluation ---------------------------------------------------------------------------------- */

static bool fail(struct err *err, const char *why)
{
    return err == NULL ? false : err_set(err, ERR_USER, "%s", why);
}

static int64_t floor_log2(int64_t value) { return 63 - __builtin_clzll((unsigned long long)value); }

/* The operations that take one value; `top` is replaced. */
static bool apply_unary(enum code code, int64_t *top, struct err *err)
{
    switch (code) {
    case OP_NEGATE:
        return !__builtin_sub_overflow((int64_t)0, *top, top) || fail(err, "overflow in '-'");
    case OP_NOT: *top = *top == 0; return true;
    case OP_TRUTH: *top = *top != 0; return true;
    case OP_LOG2:
        if (*top <= 0)
            return fail(err, "log2 of a number that is not above 0");
        *top = floor_log2(*top);
        return true;
    case OP_POW2:
        if (*top < 0 || *top > 62)
            return fail(err, "pow2 of a number outside 0 to 62");
        *top = (int64_t)1 << *top;
        return true;
    default: break;
    }
    assert(!"an operation of one value");
    return false;
}

static bool divide(enum code code, int64_t *a, int64_t b, struct err *err)
{
    if (b == 0)
        return fail(err, "division by zero");
    if (code == OP_CEIL_DIV && (*a < 0 || b < 0))
        return fail(err, "ceil_div of a negative number");
    if (*a == INT64_MIN && b == -1)
        return fail(err, "overflow in a division");
    *a = code == OP_REMAINDER ? *a % b : *a / b + (code == OP_CEIL_DIV && *a % b != 0);
    return true;
}

/* a = a OP b */
static bool apply_binary(enum code code, int64_t *a, int64_t b, struct err *err)
{
    switch (code) {
    case OP_ADD: return !__builtin_add_overflow(*a, b, a) || fail(err, "overflow in '+'");
    case OP_SUBTRACT: return !__builtin_sub_overflow(*a, b, a) || fail(err, "overflow in '-'");
    case OP_MULTIPLY: return !__builtin_mul_overflow(*a, b, a) || fail(err, "overflow in '*'");
    case OP_DIVIDE:
    case OP_REMAINDER:
    case OP_CEIL_DIV: return divide(code, a, b, err);
    case OP_EQUAL: *a = *a == b; return true;
    case OP_UNEQUAL: *a = *a != b; return true;
    case OP_LESS: *a = *a < b; return true;
    case OP_LESS_EQUAL: *a = *a <= b; return true;
    case OP_GREATER: *a = *a > b; return true;
    case OP_GREATER_EQUAL: *a = *a >= b; return true;
    case OP_MIN: *a = *a < b ? *a : b; return true;
    case OP_MAX: *a = *a > b ? *a : b; return true;
    default: break;
    }
    assert(!"an operation of two values");
    return false;
}

static bool is_unary(enum code code)
{
    return code == OP_NEGATE || code == OP_NOT || code == OP_TRUTH || code == OP_LOG2 ||
           code == OP_POW2;
}

bool expr_eval(const struct expr *expr, const int64_t *values, int64_t *value, struct err *err)
{
    int64_t stack[EXPR_STACK_MAX];
    int top = -1, at = 0;
    while (at < expr->op_count) {
        const struct op *op = &expr->ops[at++];
        switch (op->code) {
        case OP_PUSH: stack[++top] = op->arg; break;
        case OP_LOAD: stack[++top] = values[op->arg]; break;
        case OP_JUMP: at = (int)op->arg; break;
        case OP_FALSE_JUMP:
            if (stack[top--] == 0)
                at = (int)op->arg;
            break;
        case OP_AND_JUMP:
            if (stack[top] == 0)
                at = (int)op->arg;
            else
                top--;
            break;
        case OP_OR_JUMP:
            if (stack[top] != 0) {
                stack[top] = 1;
                at = (int)op->arg;
            } else {
                top--;
            }
            break;
        default:
            if (is_unary(op->code)) {
                if (!apply_unary(op->code, &stack[top], err))
                    return false;
            } else {
                top--;
                if (!apply_binary(op->code, &stack[top], stack[top + 1], err))
                    return false;
            }
        }
    }
    assert(top == 0);
    *value = stack[0];
    return true;
}

const char *expr_text(const struct expr *expr) { return expr->text; }

bool expr_reads(const struct expr *expr, int slot)
{
    for (int i = 0; i < expr->reading_count; i++)
        if (expr->readings[i].slot == slot)
            return true;
    return false;
}

char *expr_filled(struct arena *arena, const struct expr *expr, const int64_t *values)
{
    struct buf buf = {0};
    int at = 0;
    for (int i = 0; i < expr->reading_count; i++) {
        const struct reading *reading = &expr->readings[i];
        buf_add(&buf, expr->text + at, (size_t)(reading->at - at));
        buf_printf(&buf, "%lld", (long long)values[reading->slot]);
        at = reading->at + reading->length;
    }
    buf_puts(&buf, expr->text + at);
    char *filled = arena_text(arena, buf.data == NULL ? "" : buf.data, buf.length);
    buf_free(&buf);
    return filled;
}

/* Products ------------------------------------------------------------------------------------ */

static bool join_factor(struct product *a, int slot, int power)
{
    int at = 0;
    while (at < a->count && a->slots[at] != slot)
        at++;
    if (at == EXPR_FACTORS_MAX)
        return false;
    if (at == a->count) {
        a->slots[at] = slot;
        a->powers[a->count++] = 0;
    }
    a->powers[at] += power;
    if (a->powers[at] == 0) {
        a->count--;
        a->slots[at] = a->slots[a->count];
        a->powers[at] = a->powers[a->count];
    }
    return true;
}

bool product_join(struct product *a, const struct product *b, bool divide)
{
    for (int i = 0; i < b->count; i++)
        if (!join_factor(a, b->slots[i], divide ? -b->powers[i] : b->powers[i]))
            return false;
    return true;
}

/* What stands on the machine's stack: a product, or something else. */
struct operand {
    struct product product;
    bool pure;
};

struct collector {
    struct product *products;
    int count, room;
};

static void collect(struct collector *collector, const struct operand *operand)
{
    if (operand->pure && operand->product.count > 0 && collector->count < collector->room)
        collector->products[collector->count++] = operand->product;
}

/* a = a OP b */
static void multiply(struct collector *collector, enum code code, struct operand *a,
                     const struct operand *b)
{
    struct operand joined = *a;
    bool product = code == OP_MULTIPLY || code == OP_DIVIDE || code == OP_CEIL_DIV ||
                   code == OP_REMAINDER;
    if (product && a->pure && b->pure &&
        product_join(&joined.product, &b->product, code != OP_MULTIPLY)) {
        *a = joined;
    } else {
        collect(collector, a);
        collect(collector, b);
        a->pure = false;
    }
    if (code == OP_REMAINDER) {
        collect(collector, a);
        a->pure = false;
    }
}

int expr_products(const struct expr *expr, struct product *products, int room, bool *whole)
{
    struct collector collector = {.products = products, .room = room};
    struct operand *stack = xcalloc(EXPR_STACK_MAX, sizeof *stack);
    int ends[EXPR_DEPTH_MAX], end_count = 0, top = -1, before;
    for (int at = 0;; at++) { /* straight on: both branches are read */
        while (end_count > 0 && ends[end_count - 1] == at) { /* one or the other: no product */
            collect(&collector, &stack[top]);
            stack[top].pure = false;
            end_count--;
        }
        if (at == expr->op_count)
            break;
        const struct op *op = &expr->ops[at];
        switch (op->code) {
        case OP_PUSH: stack[++top] = (struct operand){.pure = true}; break;
        case OP_LOAD:
            stack[++top] = (struct operand){{1, {(int)op->arg}, {1}}, true};
            break;
        case OP_JUMP: ends[end_count++] = (int)op->arg; /* fall through */
        case OP_AND_JUMP:
        case OP_OR_JUMP:
        case OP_FALSE_JUMP: collect(&collector, &stack[top--]); break;
        default:
            if (is_unary(op->code)) {
                collect(&collector, &stack[top]);
                stack[top].pure = false;
            } else {
                top--;
                multiply(&collector, op->code, &stack[top], &stack[top + 1]);
            }
        }
    }
    assert(top == 0);
    before = collector.count;
    collect(&collector, &stack[0]);
    *whole = collector.count > before;
    free(stack);
    return collector.count;
}
