/*
 * The parser reads the text once, a statement at a time. Names are interned, so that a name is a
 * pointer; what a name stands for is kept in one hash table under (name, scope). A scope is a { }
 * of a function: inline assembly opens one for its own registers and labels, and the same names
 * come back in the next. Operands that name a symbol are looked up when their function has ended,
 * as labels may follow; what is still unknown then is looked up when the module has ended.
 *
 * Lists that grow are on the heap while they do, and copied into the arena when they are complete.
 */
#include <ctype.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "fitness/emu/ptx.h"

enum {
    DECLARATIONS_MAX = 4096, /* of registers, visible at one place */
    LOCS_KEPT = 32,          /* places remembered to follow inlined_at outwards */
    VARIABLE_BYTES_MAX = 1 << 28,
    INITIAL_BYTES_MAX = 1 << 24,
    OPERAND_DEPTH_MAX = 6,
    PARAMS_MAX = 1024,
    MODULE_SCOPE = 0,
};

/* A growing array of anything. */
struct list {
    char *data;
    size_t count, room;
};

struct declaration { /* .reg .b32 %r<count>; or .reg .pred p; */
    const char *name;
    size_t length;
    int first, count; /* count -1: a single register */
};

struct symbol {
    const char *name; /* interned; NULL: free */
    int scope;
    enum ptx_symbol kind;
    int index;
};

/* A symbol operand, and the scope in which it was written. */
struct reference {
    struct ptx_operand *operand;
    int scope;
};

struct parser {
    struct arena *arena;
    const char *at, *end;
    int line;
    struct err *err;
    struct ptx_module *module;

    const char **interned;
    size_t intern_count, intern_room;
    struct symbol *symbols;
    size_t symbol_count, symbol_room;
    struct list parents; /* int: the scope around each scope */
    int scope;

    struct list variables, functions, files;                            /* of the module */
    struct list registers, names, instructions, labels, locals, tables; /* of the function */
    struct list declarations, marks; /* visible ones, and how many there were at each { */
    struct list references;          /* of the function */
    struct list unknown;             /* of the module */
    const struct ptx_place *places[LOCS_KEPT], *here; /* the last ones, and the last */
    int place_count;
};

static const struct {
    const char *name;
    enum ptx_type type;
    int bytes;
} types[] = {
    {"pred", PTX_PRED, 1},     {"b8", PTX_B8, 1},       {"b16", PTX_B16, 2},
    {"b32", PTX_B32, 4},       {"b64", PTX_B64, 8},     {"b128", PTX_B128, 16},
    {"u8", PTX_U8, 1},         {"u16", PTX_U16, 2},     {"u32", PTX_U32, 4},
    {"u64", PTX_U64, 8},       {"s8", PTX_S8, 1},       {"s16", PTX_S16, 2},
    {"s32", PTX_S32, 4},       {"s64", PTX_S64, 8},     {"f16", PTX_F16, 2},
    {"f16x2", PTX_F16X2, 4},   {"bf16", PTX_BF16, 2},   {"bf16x2", PTX_BF16X2, 4},
    {"tf32", PTX_TF32, 4},     {"f32", PTX_F32, 4},     {"f64", PTX_F64, 8},
    {"u16x2", PTX_U16X2, 4},   {"s16x2", PTX_S16X2, 4}, {"e4m3x2", PTX_E4M3X2, 2},
    {"e5m2x2", PTX_E5M2X2, 2},
};

bool ptx_type_find(const char *name, enum ptx_type *type)
{
    for (size_t i = 0; i < sizeof types / sizeof *types; i++) {
        if (strcmp(types[i].name, name) == 0) {
            *type = types[i].type;
            return true;
        }
    }
    return false;
}

int ptx_type_bytes(enum ptx_type type) { return types[type].bytes; }

const char *ptx_type_name(enum ptx_type type) { return types[type].name; }

/* ---- lists, names, symbols ---- */

static void *list_add(struct list *list, const void *item, size_t size)
{
    if (list->count == list->room) {
        list->room = list->room == 0 ? 16 : list->room * 2;
        list->data = xrealloc(list->data, list->room * size);
    }
    return memcpy(list->data + list->count++ * size, item, size);
}

static void *list_keep(struct arena *arena, struct list *list, size_t size)
{
    void *kept = list->count == 0 ? NULL : arena_copy(arena, list->data, list->count * size);
    list->count = 0;
    return kept;
}

static bool fail(struct parser *parser, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

static bool fail(struct parser *parser, const char *format, ...)
{
    char text[512];
    va_list ap;
    va_start(ap, format);
    vsnprintf(text, sizeof text, format, ap);
    va_end(ap);
    return err_set(parser->err, ERR_USER, "ptx: line %d: %s", parser->line, text);
}

static uint64_t mix(uint64_t x)
{
    x *= UINT64_C(0x9e3779b97f4a7c15);
    return x ^ x >> 29;
}

static uint64_t text_hash(const char *text, size_t length)
{
    uint64_t h = UINT64_C(14695981039346656037);
    for (size_t i = 0; i < length; i++) {
        h = (h ^ (unsigned char)text[i]) * UINT64_C(1099511628211);
    }
    return mix(h);
}

static void intern_grow(struct parser *parser)
{
    const char **old = parser->interned;
    size_t old_room = parser->intern_room;
    parser->intern_room = old_room == 0 ? 1024 : old_room * 2;
    parser->interned = xcalloc(parser->intern_room, sizeof *parser->interned);
    for (size_t i = 0; i < old_room; i++) {
        if (old[i] != NULL) {
            size_t at = text_hash(old[i], strlen(old[i])) & (parser->intern_room - 1);
            while (parser->interned[at] != NULL) {
                at = (at + 1) & (parser->intern_room - 1);
            }
            parser->interned[at] = old[i];
        }
    }
    free(old);
}

static const char *intern(struct parser *parser, const char *text, size_t length)
{
    if (parser->intern_count * 2 >= parser->intern_room) {
        intern_grow(parser);
    }
    size_t at = text_hash(text, length) & (parser->intern_room - 1);
    for (; parser->interned[at] != NULL; at = (at + 1) & (parser->intern_room - 1)) {
        const char *known = parser->interned[at];
        if (strncmp(known, text, length) == 0 && known[length] == '\0') {
            return known;
        }
    }
    parser->intern_count++;
    return parser->interned[at] = arena_text(parser->arena, text, length);
}

static size_t symbol_start(const struct parser *parser, const char *name, int scope)
{
    return mix((uint64_t)(uintptr_t)name + mix((uint64_t)(unsigned)scope + 1)) &
           (parser->symbol_room - 1);
}

static struct symbol *symbol_at(struct parser *parser, const char *name, int scope)
{
    size_t at = symbol_start(parser, name, scope);
    while (parser->symbols[at].name != NULL &&
           (parser->symbols[at].name != name || parser->symbols[at].scope != scope)) {
        at = (at + 1) & (parser->symbol_room - 1);
    }
    return &parser->symbols[at];
}

static void symbols_grow(struct parser *parser)
{
    struct symbol *old = parser->symbols;
    size_t old_room = parser->symbol_room;
    parser->symbol_room = old_room == 0 ? 256 : old_room * 2;
    parser->symbols = xcalloc(parser->symbol_room, sizeof *parser->symbols);
    for (size_t i = 0; i < old_room; i++) {
        if (old[i].name != NULL) {
            *symbol_at(parser, old[i].name, old[i].scope) = old[i];
        }
    }
    free(old);
}

static bool symbol_add(struct parser *parser, const char *name, enum ptx_symbol kind, int index)
{
    if (parser->symbol_count * 2 >= parser->symbol_room) {
        symbols_grow(parser);
    }
    struct symbol *symbol = symbol_at(parser, name, parser->scope);
    if (symbol->name != NULL) {
        return fail(parser, "'%.100s' is declared twice", name);
    }
    *symbol = (struct symbol){name, parser->scope, kind, index};
    parser->symbol_count++;
    return true;
}

/* From the scope outwards, ends before the module's unless it starts there. */
static const struct symbol *symbol_find(struct parser *parser, const char *name, int scope)
{
    if (parser->symbol_room == 0) {
        return NULL;
    }
    for (;;) {
        const struct symbol *symbol = symbol_at(parser, name, scope);
        if (symbol->name != NULL) {
            return symbol;
        }
        if (scope == MODULE_SCOPE) {
            return NULL;
        }
        scope = ((int *)(void *)parser->parents.data)[scope];
        if (scope == MODULE_SCOPE) {
            return NULL;
        }
    }
}

static bool scope_open(struct parser *parser)
{
    if (parser->marks.count >= PTX_DEPTH_MAX) {
        return fail(parser, "scopes are nested deeper than %d", PTX_DEPTH_MAX);
    }
    list_add(&parser->marks, &parser->declarations.count, sizeof(size_t));
    list_add(&parser->parents, &parser->scope, sizeof(int));
    parser->scope = (int)parser->parents.count - 1;
    return true;
}

static void scope_close(struct parser *parser)
{
    parser->declarations.count = ((size_t *)(void *)parser->marks.data)[--parser->marks.count];
    parser->scope = ((int *)(void *)parser->parents.data)[parser->scope];
}

/* ---- characters and words ---- */

static void skip_blank(struct parser *parser)
{
    const char *at = parser->at, *end = parser->end;
    for (; at < end; at++) {
        if (*at == '\n') {
            parser->line++;
        } else if (*at == '/' && end - at > 1 && at[1] == '/') {
            while (at + 1 < end && at[1] != '\n') {
                at++;
            }
        } else if (*at == '/' && end - at > 1 && at[1] == '*') {
            for (at += 2; end - at > 1 && !(at[0] == '*' && at[1] == '/'); at++) {
                parser->line += *at == '\n';
            }
            if (end - at < 2) {
                at = end;
                break;
            }
            at++;
        } else if (*at != ' ' && *at != '\t' && *at != '\r' && *at != '\f' && *at != '\v') {
            break;
        }
    }
    parser->at = at;
}

static char peek(struct parser *parser)
{
    skip_blank(parser);
    return parser->at < parser->end ? *parser->at : '\0';
}

static bool take(struct parser *parser, char c)
{
    if (peek(parser) != c || parser->at == parser->end) {
        return false;
    }
    parser->at++;
    return true;
}

static bool expect(struct parser *parser, char c)
{
    if (take(parser, c)) {
        return true;
    }
    if (parser->at == parser->end) {
        return fail(parser, "'%c' is missing at the end of the text", c);
    }
    char found = *parser->at;
    return isprint((unsigned char)found)
               ? fail(parser, "'%c' expected, not '%c'", c, found)
               : fail(parser, "'%c' expected, not byte %d", c, (unsigned char)found);
}

static bool is_name(char c)
{
    return isalnum((unsigned char)c) || c == '_' || c == '$' || c == '%';
}

/* Letters of a name, and with `dots` those of an opcode or a special register: '.' and "::". */
static size_t word_length(const struct parser *parser, bool dots)
{
    const char *at = parser->at, *end = parser->end;
    while (at < end) {
        if (is_name(*at) || (dots && *at == '.')) {
            at++;
        } else if (dots && *at == ':' && end - at > 2 && at[1] == ':' && is_name(at[2])) {
            at += 2;
        } else {
            break;
        }
    }
    return (size_t)(at - parser->at);
}

static bool take_name(struct parser *parser, const char **name)
{
    char c = peek(parser);
    size_t length = word_length(parser, false);
    if (length == 0 || isdigit((unsigned char)c)) {
        return fail(parser, "a name is expected");
    }
    if (length > PTX_NAME_MAX) {
        return fail(parser, "a name is longer than %d letters", PTX_NAME_MAX);
    }
    *name = intern(parser, parser->at, length);
    parser->at += length;
    return true;
}

/* Takes the word if it stands here and ends here. */
static bool take_word(struct parser *parser, const char *word)
{
    size_t length = strlen(word);
    skip_blank(parser);
    if ((size_t)(parser->end - parser->at) < length || memcmp(parser->at, word, length) != 0) {
        return false;
    }
    if ((size_t)(parser->end - parser->at) > length && is_name(parser->at[length])) {
        return false;
    }
    parser->at += length;
    return true;
}

/* ---- numbers ---- */

static int digit(char c)
{
    return isdigit((unsigned char)c) ? c - '0'
           : c >= 'a' && c <= 'f'    ? c - 'a' + 10
           : c >= 'A' && c <= 'F'    ? c - 'A' + 10
                                     : 99;
}

static bool digits_read(const char *text, size_t length, int base, uint64_t *value)
{
    *value = 0;
    for (size_t i = 0; i < length; i++) {
        int d = digit(text[i]);
        if (d >= base || *value > (UINT64_MAX - (unsigned)d) / (unsigned)base) {
            return false;
        }
        *value = *value * (unsigned)base + (unsigned)d;
    }
    return length > 0;
}

/* 12, 0x1F, 0b101, 017, with U behind; without a sign. */
static bool integer_read(const char *text, size_t length, uint64_t *value)
{
    if (length > 1 && (text[length - 1] == 'U' || text[length - 1] == 'u')) {
        length--;
    }
    if (length > 2 && text[0] == '0' && (text[1] == 'x' || text[1] == 'X')) {
        return digits_read(text + 2, length - 2, 16, value);
    }
    if (length > 2 && text[0] == '0' && (text[1] == 'b' || text[1] == 'B')) {
        return digits_read(text + 2, length - 2, 2, value);
    }
    return digits_read(text, length, length > 1 && text[0] == '0' ? 8 : 10, value);
}

/* The letters of a number: 1.5e-3 has a sign inside, 0x1e+3 is a sum. */
static size_t number_length(const struct parser *parser)
{
    const char *at = parser->at, *end = parser->end;
    bool hex = end - at > 1 && at[0] == '0' && strchr("xXbBfFdD", at[1]) != NULL && at[1] != '\0';
    while (at < end && (isalnum((unsigned char)*at) || (*at == '.' && !hex) ||
                        (!hex && (*at == '-' || *at == '+') && at > parser->at &&
                         (at[-1] == 'e' || at[-1] == 'E')))) {
        at++;
    }
    return (size_t)(at - parser->at);
}

static bool float_read(const char *text, size_t length, struct ptx_operand *operand)
{
    char copy[64], *rest;
    uint64_t bits;
    operand->kind = PTX_OPERAND_FLOAT;
    if (length > 2 && text[0] == '0' && (text[1] == 'f' || text[1] == 'F')) {
        operand->wide = false;
        return length == 10 && digits_read(text + 2, 8, 16, &operand->bits);
    }
    operand->wide = true;
    if (length > 2 && text[0] == '0' && (text[1] == 'd' || text[1] == 'D')) {
        return length == 18 && digits_read(text + 2, 16, 16, &operand->bits);
    }
    if (length >= sizeof copy || !isdigit((unsigned char)text[0])) {
        return false;
    }
    memcpy(copy, text, length);
    copy[length] = '\0';
    double value = strtod(copy, &rest);
    memcpy(&bits, &value, sizeof bits);
    operand->bits = bits;
    return *rest == '\0';
}

/* A literal, with a sign in front or not. */
static bool number(struct parser *parser, struct ptx_operand *operand)
{
    bool minus = take(parser, '-');
    if (!minus) {
        take(parser, '+');
    }
    skip_blank(parser);
    size_t length = number_length(parser);
    const char *text = parser->at;
    bool hex = length > 1 && text[0] == '0' && (text[1] == 'x' || text[1] == 'X');
    bool real = length > 1 && text[0] == '0' && strchr("fFdD", text[1]) != NULL;
    for (size_t i = 0; i < length && !hex; i++) {
        real |= text[i] == '.' || text[i] == 'e' || text[i] == 'E';
    }
    *operand = (struct ptx_operand){.kind = PTX_OPERAND_INTEGER, .reg = -1};
    if (length == 0 ||
        (real ? !float_read(text, length, operand) : !integer_read(text, length, &operand->bits))) {
        return fail(parser, "'%.*s' is not a number", (int)(length < 40 ? length : 40), text);
    }
    parser->at += length;
    if (minus) {
        operand->bits = !real           ? 0 - operand->bits
                        : operand->wide ? operand->bits ^ UINT64_C(1) << 63
                                        : operand->bits ^ UINT64_C(1) << 31;
    }
    return true;
}

static bool integer(struct parser *parser, int64_t min, int64_t max, int64_t *value)
{
    struct ptx_operand operand;
    peek(parser);
    if (!number(parser, &operand)) {
        return false;
    }
    *value = (int64_t)operand.bits;
    if (operand.kind != PTX_OPERAND_INTEGER || *value < min || *value > max) {
        return fail(parser, "an integer from %lld to %lld is expected", (long long)min,
                    (long long)max);
    }
    return true;
}

/* ---- operands ---- */

static bool register_find(struct parser *parser, const char *name, int *reg)
{
    const struct declaration *all = (const void *)parser->declarations.data;
    size_t length = strlen(name), stem = length;
    uint64_t number_behind = 0;
    while (stem > 0 && isdigit((unsigned char)name[stem - 1])) {
        stem--;
    }
    bool numbered = stem < length && (name[stem] != '0' || length - stem == 1) &&
                    digits_read(name + stem, length - stem, 10, &number_behind);
    for (size_t i = parser->declarations.count; i-- > 0;) {
        if (all[i].count < 0) {
            if (all[i].name == name) {
                *reg = all[i].first;
                return true;
            }
        } else if (numbered && all[i].length == stem && memcmp(all[i].name, name, stem) == 0 &&
                   number_behind < (uint64_t)all[i].count) {
            *reg = all[i].first + (int)number_behind;
            return true;
        }
    }
    return false;
}

static bool operand(struct parser *parser, struct ptx_operand *out, int depth);

/* Items up to `close`, which is taken too. */
static bool items(struct parser *parser, struct ptx_operand *out, char close, int depth)
{
    struct list list = {0};
    bool done = false;
    if (take(parser, close)) {
        return true;
    }
    do {
        struct ptx_operand item;
        if (list.count == PTX_VECTOR_MAX) {
            fail(parser, "a vector has more than %d items", PTX_VECTOR_MAX);
            goto out;
        }
        if (!operand(parser, &item, depth + 1)) {
            goto out;
        }
        list_add(&list, &item, sizeof item);
    } while (take(parser, ','));
    if (!expect(parser, close)) {
        goto out;
    }
    out->count = (int)list.count;
    out->items = list_keep(parser->arena, &list, sizeof *out->items);
    done = true;
out:
    free(list.data);
    return done;
}

/* "+ 16", "- 16", "+-16" behind a base; there may be several. */
static bool offsets(struct parser *parser, int64_t *offset)
{
    while (peek(parser) == '+' || peek(parser) == '-') {
        struct ptx_operand by;
        bool plus = *parser->at == '+';
        if (plus) {
            parser->at++;
        }
        if (!number(parser, &by)) {
            return false;
        }
        if (by.kind != PTX_OPERAND_INTEGER || (int64_t)by.bits > INT64_C(1) << 40 ||
            (int64_t)by.bits < -(INT64_C(1) << 40)) {
            return fail(parser, "an address offset is not an integer, or too large");
        }
        *offset += (int64_t)by.bits;
        if (*offset > INT64_C(1) << 42 || *offset < -(INT64_C(1) << 42)) {
            return fail(parser, "an address offset is too large");
        }
    }
    return true;
}

static bool address(struct parser *parser, struct ptx_operand *out, int depth)
{
    struct ptx_operand base;
    *out = (struct ptx_operand){.kind = PTX_OPERAND_ADDRESS, .reg = -1};
    if (!operand(parser, &base, depth + 1)) {
        return false;
    }
    if (base.kind == PTX_OPERAND_SYMBOL) {
        out->offset = base.offset;
        base.offset = 0;
    }
    if (!offsets(parser, &out->offset)) {
        return false;
    }
    struct ptx_operand rest = {0};
    if (take(parser, ',')) {
        if (!items(parser, &rest, ']', depth)) {
            return false;
        }
    } else if (!expect(parser, ']')) {
        return false;
    }
    out->count = 1 + rest.count;
    out->items = arena_alloc(parser->arena, (size_t)out->count * sizeof *out->items);
    out->items[0] = base;
    if (rest.count > 0) {
        memcpy(out->items + 1, rest.items, (size_t)rest.count * sizeof *rest.items);
    }
    return true;
}

static bool named(struct parser *parser, struct ptx_operand *out)
{
    size_t length = word_length(parser, peek(parser) == '%');
    if (length == 0 || length > PTX_NAME_MAX) {
        return length == 0 ? fail(parser, "an operand is expected")
                           : fail(parser, "a name is longer than %d letters", PTX_NAME_MAX);
    }
    const char *name = intern(parser, parser->at, length);
    parser->at += length;
    *out = (struct ptx_operand){.kind = PTX_OPERAND_REGISTER, .reg = -1, .name = name};
    if (strcmp(name, "_") == 0) {
        out->kind = PTX_OPERAND_SINK;
        return true;
    }
    if (register_find(parser, name, &out->reg)) {
        ((const char **)(void *)parser->names.data)[out->reg] = name;
        return true;
    }
    if (name[0] == '%') {
        out->kind = PTX_OPERAND_SPECIAL; /* or a register that was not declared: decode says so */
        return true;
    }
    if (strcmp(name, "WARP_SZ") == 0) {
        out->kind = PTX_OPERAND_INTEGER;
        out->bits = 32;
        return true;
    }
    out->kind = PTX_OPERAND_SYMBOL;
    out->index = -1;
    return offsets(parser, &out->offset);
}

static bool operand(struct parser *parser, struct ptx_operand *out, int depth)
{
    char c = peek(parser);
    if (depth > OPERAND_DEPTH_MAX) {
        return fail(parser, "operands are nested deeper than %d", OPERAND_DEPTH_MAX);
    }
    if (c == '!') {
        parser->at++;
        if (!operand(parser, out, depth + 1)) {
            return false;
        }
        out->negated = !out->negated;
        return out->kind == PTX_OPERAND_REGISTER || fail(parser, "'!' is for predicates");
    }
    if (c == '[') {
        parser->at++;
        return address(parser, out, depth);
    }
    if (c == '{' || c == '(') {
        parser->at++;
        *out = (struct ptx_operand){.kind = PTX_OPERAND_VECTOR, .reg = -1};
        return items(parser, out, c == '{' ? '}' : ')', depth);
    }
    if (isdigit((unsigned char)c) || c == '-' || c == '+') {
        return number(parser, out);
    }
    if (!named(parser, out)) {
        return false;
    }
    if (peek(parser) == '|') {
        struct ptx_operand first = *out, second;
        parser->at++;
        if (!operand(parser, &second, depth + 1)) {
            return false;
        }
        *out =
            (struct ptx_operand){.kind = PTX_OPERAND_VECTOR, .reg = -1, .pair = true, .count = 2};
        out->items = arena_alloc(parser->arena, 2 * sizeof *out->items);
        out->items[0] = first;
        out->items[1] = second;
    }
    return true;
}

/* Remembers the symbols among an instruction's operands, now that they lie where they stay. */
static void references_add(struct parser *parser, struct ptx_operand *operands, int count)
{
    for (int i = 0; i < count; i++) {
        if (operands[i].kind == PTX_OPERAND_SYMBOL) {
            struct reference reference = {&operands[i], parser->scope};
            list_add(&parser->references, &reference, sizeof reference);
        }
        references_add(parser, operands[i].items, operands[i].count);
    }
}

static void references_resolve(struct parser *parser)
{
    struct reference *all = (void *)parser->references.data;
    for (size_t i = 0; i < parser->references.count; i++) {
        const struct symbol *symbol = symbol_find(parser, all[i].operand->name, all[i].scope);
        if (symbol == NULL) {
            list_add(&parser->unknown, &all[i], sizeof all[i]);
        } else {
            all[i].operand->symbol = symbol->kind;
            all[i].operand->index = symbol->index;
        }
    }
    parser->references.count = 0;
}

/* ---- variables ---- */

static bool take_type(struct parser *parser, enum ptx_type *type)
{
    char text[16];
    if (!expect(parser, '.')) {
        return false;
    }
    size_t length = word_length(parser, false);
    if (length > 0 && length < sizeof text) {
        memcpy(text, parser->at, length);
        text[length] = '\0';
        if (ptx_type_find(text, type)) {
            parser->at += length;
            return true;
        }
    }
    return fail(parser, "'.%.*s' is not a type", (int)(length < 40 ? length : 40), parser->at);
}

static void initial_put(struct list *bytes, uint64_t bits, size_t size)
{
    for (size_t i = 0; i < size; i++) {
        uint8_t byte = (uint8_t)(i < 8 ? bits >> 8 * i : 0);
        list_add(bytes, &byte, 1);
    }
}

static uint64_t literal_as(const struct ptx_operand *literal, enum ptx_type type)
{
    uint64_t bits = literal->bits;
    if (literal->kind == PTX_OPERAND_FLOAT && literal->wide && type == PTX_F32) {
        double wide;
        float narrow;
        uint32_t low;
        memcpy(&wide, &bits, sizeof wide);
        narrow = (float)wide;
        memcpy(&low, &narrow, sizeof low);
        bits = low;
    }
    return bits;
}

/* { { 1, 2 }, 3 }: rows are not padded, as compilers write every element. */
static bool initial(struct parser *parser, struct ptx_variable *variable, struct list *bytes,
                    int depth)
{
    if (depth > OPERAND_DEPTH_MAX) {
        return fail(parser, "values are nested deeper than %d", OPERAND_DEPTH_MAX);
    }
    if (take(parser, '{')) {
        if (take(parser, '}')) {
            return true;
        }
        do {
            if (!initial(parser, variable, bytes, depth + 1)) {
                return false;
            }
        } while (take(parser, ','));
        return expect(parser, '}');
    }
    struct ptx_operand value;
    if (!operand(parser, &value, 1)) {
        return false;
    }
    if (bytes->count > INITIAL_BYTES_MAX) {
        return fail(parser, "a variable has more than %d bytes of values", INITIAL_BYTES_MAX);
    }
    if (value.kind != PTX_OPERAND_INTEGER && value.kind != PTX_OPERAND_FLOAT) {
        variable->addresses = true; /* sym, generic(sym), 0xff(sym) */
        struct ptx_operand inside;
        if (take(parser, '(') && (!operand(parser, &inside, 1) || !expect(parser, ')'))) {
            return false;
        }
    }
    initial_put(bytes, literal_as(&value, variable->type), (size_t)ptx_type_bytes(variable->type));
    return true;
}

static bool take_dimensions(struct parser *parser, int64_t *count, bool *open)
{
    *count = 1;
    *open = false;
    while (take(parser, '[')) {
        int64_t n = 0;
        if (take(parser, ']')) {
            *open = true;
            continue;
        }
        if (!integer(parser, 0, VARIABLE_BYTES_MAX, &n) || !expect(parser, ']')) {
            return false;
        }
        *count *= n;
        if (*count > VARIABLE_BYTES_MAX) {
            return fail(parser, "a variable is larger than %d bytes", VARIABLE_BYTES_MAX);
        }
    }
    return true;
}

static bool take_initial(struct parser *parser, struct ptx_variable *variable, bool open)
{
    struct list bytes = {0};
    bool done = initial(parser, variable, &bytes, 0);
    if (done && open) {
        variable->bytes = (int64_t)bytes.count;
    }
    if (done && (int64_t)bytes.count > variable->bytes) {
        done = fail(parser, "'%.100s' has more values than elements", variable->name);
    }
    if (done && variable->bytes > INITIAL_BYTES_MAX) {
        done = fail(parser, "'%.100s' has values and is larger than %d bytes", variable->name,
                    INITIAL_BYTES_MAX);
    }
    if (done && variable->bytes > 0) {
        uint8_t *kept = arena_alloc(parser->arena, (size_t)variable->bytes);
        if (bytes.count > 0) {
            memcpy(kept, bytes.data, bytes.count);
        }
        variable->initial = kept;
    }
    free(bytes.data);
    return done;
}

/* Behind .shared and its like: [.align 16] [.v4] .b8 name[64] [= {…}]. */
static bool variable(struct parser *parser, enum ptx_space space, struct ptx_variable *out)
{
    int64_t align = 0, vector = 1, count;
    bool open;
    *out = (struct ptx_variable){.space = space, .line = parser->line};
    for (;;) {
        if (take_word(parser, ".align")) {
            if (!integer(parser, 1, 1 << 16, &align)) {
                return false;
            }
            if ((align & (align - 1)) != 0) {
                return fail(parser, "an alignment of %lld is not a power of two", (long long)align);
            }
        } else if (take_word(parser, ".v2")) {
            vector = 2;
        } else if (take_word(parser, ".v4")) {
            vector = 4;
        } else if (take_word(parser, ".attribute")) {
            struct ptx_operand ignored = {0};
            if (!expect(parser, '(') || !take(parser, '.') || !items(parser, &ignored, ')', 1)) {
                return fail(parser, "'.attribute' is malformed");
            }
        } else {
            break;
        }
    }
    if (!take_type(parser, &out->type)) {
        return false;
    }
    while (take_word(parser, ".ptr") || take_word(parser, ".global") ||
           take_word(parser, ".shared") || take_word(parser, ".const") ||
           take_word(parser, ".local") || take_word(parser, ".align")) {
        int64_t pointed;
        if (isdigit((unsigned char)peek(parser)) && !integer(parser, 1, 1 << 16, &pointed)) {
            return false;
        }
    }
    int64_t bytes = ptx_type_bytes(out->type) * vector;
    out->align = (int)(align > 0 ? align : bytes);
    if (!take_name(parser, &out->name) || !take_dimensions(parser, &count, &open)) {
        return false;
    }
    out->bytes = open ? 0 : count * bytes;
    if (out->bytes > VARIABLE_BYTES_MAX) {
        return fail(parser, "'%.100s' is larger than %d bytes", out->name, VARIABLE_BYTES_MAX);
    }
    return !take(parser, '=') || take_initial(parser, out, open);
}

static bool take_space(struct parser *parser, enum ptx_space *space)
{
    static const struct {
        const char *word;
        enum ptx_space space;
    } spaces[] = {{".global", PTX_GLOBAL},
                  {".shared", PTX_SHARED},
                  {".const", PTX_CONST},
                  {".local", PTX_LOCAL},
                  {".param", PTX_PARAM}};
    for (size_t i = 0; i < sizeof spaces / sizeof *spaces; i++) {
        if (take_word(parser, spaces[i].word)) {
            *space = spaces[i].space;
            return true;
        }
    }
    return false;
}

/* One or more variables up to the ';', into the function's list or the module's. */
static bool variables(struct parser *parser, enum ptx_space space)
{
    bool global = parser->scope == MODULE_SCOPE;
    struct list *list = global ? &parser->variables : &parser->locals;
    do {
        struct ptx_variable new;
        if (list->count == PTX_VARIABLES_MAX) {
            return fail(parser, "there are more than %d variables", PTX_VARIABLES_MAX);
        }
        if (!variable(parser, space, &new) ||
            !symbol_add(parser, new.name, global ? PTX_SYMBOL_MODULE : PTX_SYMBOL_VARIABLE,
                        (int)list->count)) {
            return false;
        }
        list_add(list, &new, sizeof new);
    } while (take(parser, ','));
    return expect(parser, ';');
}

/* ---- registers, places, directives of a body ---- */

static bool registers_add(struct parser *parser, enum ptx_type type, const char *name, int count)
{
    struct declaration new = {name, strlen(name), (int)parser->registers.count, count};
    if (parser->declarations.count == DECLARATIONS_MAX) {
        return fail(parser, "there are more than %d declarations of registers", DECLARATIONS_MAX);
    }
    int single = count < 0 ? 1 : count;
    if (parser->registers.count + (size_t)single > PTX_REGISTERS_MAX) {
        return fail(parser, "there are more than %d registers", PTX_REGISTERS_MAX);
    }
    for (int i = 0; i < single; i++) {
        list_add(&parser->registers, &type, sizeof type);
        list_add(&parser->names, &name, sizeof name);
    }
    list_add(&parser->declarations, &new, sizeof new);
    return true;
}

static bool registers(struct parser *parser)
{
    enum ptx_type type;
    if (!take_type(parser, &type)) {
        return false;
    }
    do {
        const char *name;
        int64_t count = -1;
        if (!take_name(parser, &name)) {
            return false;
        }
        if (take(parser, '<') &&
            (!integer(parser, 0, PTX_REGISTERS_MAX, &count) || !expect(parser, '>'))) {
            return false;
        }
        if (!registers_add(parser, type, name, (int)count)) {
            return false;
        }
    } while (take(parser, ','));
    return expect(parser, ';');
}

/* The place with its own caller, when it was written not long ago; else it alone. */
static const struct ptx_place *place_find(const struct parser *parser, struct ptx_place wanted)
{
    for (int i = 1; i <= LOCS_KEPT && i <= parser->place_count; i++) {
        const struct ptx_place *known = parser->places[(parser->place_count - i) % LOCS_KEPT];
        if (known->file == wanted.file && known->line == wanted.line &&
            known->column == wanted.column) {
            return known;
        }
    }
    return arena_copy(parser->arena, &wanted, sizeof wanted);
}

static void place_keep(struct parser *parser, struct ptx_place new)
{
    const struct ptx_place *here = parser->here;
    if (here != NULL && here->file == new.file && here->line == new.line &&
        here->column == new.column && here->caller == new.caller) {
        return;
    }
    parser->here = arena_copy(parser->arena, &new, sizeof new);
    parser->places[parser->place_count++ % LOCS_KEPT] = parser->here;
}

/* .loc file line column [, function_name label, inlined_at file line column] */
static bool place(struct parser *parser)
{
    int64_t n[6] = {0};
    for (int i = 0; i < 3; i++) {
        if (!integer(parser, 0, INT_MAX, &n[i])) {
            return false;
        }
    }
    while (take(parser, ',')) {
        const char *name;
        struct ptx_operand label;
        if (take_word(parser, "function_name")) {
            if (!take_name(parser, &name) || !offsets(parser, &label.offset)) {
                return false;
            }
        } else if (take_word(parser, "inlined_at")) {
            for (int i = 3; i < 6; i++) {
                if (!integer(parser, 0, INT_MAX, &n[i])) {
                    return false;
                }
            }
        } else {
            return fail(parser, "'.loc' is malformed");
        }
    }
    struct ptx_place new = {.file = (int)n[0], .line = (int)n[1], .column = (int)n[2]};
    if (n[4] > 0) {
        new.caller = place_find(
            parser,
            (struct ptx_place){.file = (int)n[3], .line = (int)n[4], .column = (int)n[5]});
    }
    place_keep(parser, new);
    return true;
}

/* Past a directive that means nothing here, to its ';'. */
static bool skip_statement(struct parser *parser)
{
    while (peek(parser) != ';') {
        if (parser->at == parser->end || *parser->at == '{' || *parser->at == '}') {
            return fail(parser, "';' is missing");
        }
        if (*parser->at == '"') {
            do {
                parser->at++;
            } while (parser->at < parser->end && *parser->at != '"' && *parser->at != '\n');
            if (parser->at == parser->end || *parser->at != '"') {
                return fail(parser, "a text is not ended");
            }
        }
        parser->at++;
    }
    parser->at++;
    return true;
}

static bool branch_targets(struct parser *parser, const char *name)
{
    struct ptx_operand all = {0};
    struct ptx_table table = {.name = name};
    if (!items(parser, &all, ';', 1)) {
        return false;
    }
    table.targets = all.items;
    table.count = all.count;
    references_add(parser, table.targets, table.count);
    if (!symbol_add(parser, name, PTX_SYMBOL_TABLE, (int)parser->tables.count)) {
        return false;
    }
    list_add(&parser->tables, &table, sizeof table);
    return true;
}

static bool label(struct parser *parser, const char *name)
{
    if (take_word(parser, ".branchtargets")) {
        return branch_targets(parser, name);
    }
    if (take_word(parser, ".callprototype") || take_word(parser, ".calltargets")) {
        return skip_statement(parser);
    }
    struct ptx_label new = {name, (int)parser->instructions.count};
    if (!symbol_add(parser, name, PTX_SYMBOL_LABEL, (int)parser->labels.count)) {
        return false;
    }
    list_add(&parser->labels, &new, sizeof new);
    return true;
}

/* ---- instructions ---- */

static bool opcode(struct parser *parser, struct ptx_instruction *out)
{
    char text[PTX_OPCODE_MAX + 1], *at = text;
    size_t length = word_length(parser, true);
    if (length == 0 || length > PTX_OPCODE_MAX) {
        return fail(parser, "an instruction is expected");
    }
    out->opcode = intern(parser, parser->at, length);
    memcpy(text, parser->at, length);
    text[length] = '\0';
    parser->at += length;
    while (at != NULL) {
        char *dot = strchr(at, '.');
        size_t part = dot != NULL ? (size_t)(dot - at) : strlen(at);
        if (part == 0 || out->part_count == PTX_PARTS_MAX) {
            return fail(parser, "'%s' is not an opcode", out->opcode);
        }
        out->parts[out->part_count++] = intern(parser, at, part);
        at = dot != NULL ? dot + 1 : NULL;
    }
    return true;
}

static bool guard(struct parser *parser, struct ptx_instruction *out)
{
    const char *name;
    out->guard = -1;
    if (!take(parser, '@')) {
        return true;
    }
    out->guard_negated = take(parser, '!');
    if (!take_name(parser, &name)) {
        return false;
    }
    const enum ptx_type *all = (const void *)parser->registers.data;
    if (!register_find(parser, name, &out->guard) || all[out->guard] != PTX_PRED) {
        return fail(parser, "'%.100s' is not a predicate register", name);
    }
    ((const char **)(void *)parser->names.data)[out->guard] = name;
    skip_blank(parser);
    return true;
}

static bool instruction(struct parser *parser)
{
    struct ptx_instruction new = {.line = parser->line};
    struct ptx_operand all[PTX_OPERANDS_MAX];
    if (parser->instructions.count == PTX_INSTRUCTIONS_MAX) {
        return fail(parser, "a function has more than %d instructions", PTX_INSTRUCTIONS_MAX);
    }
    if (!guard(parser, &new) || !opcode(parser, &new)) {
        return false;
    }
    if (parser->here != NULL) {
        new.file = parser->here->file;
        new.source_line = parser->here->line;
        new.caller = parser->here->caller;
    }
    if (!take(parser, ';')) {
        do {
            if (new.operand_count == PTX_OPERANDS_MAX) {
                return fail(parser, "'%s' has more than %d operands", new.opcode, PTX_OPERANDS_MAX);
            }
            if (!operand(parser, &all[new.operand_count++], 0)) {
                return false;
            }
        } while (take(parser, ','));
        if (!expect(parser, ';')) {
            return false;
        }
        new.operands = arena_copy(parser->arena, all, (size_t) new.operand_count * sizeof *all);
        references_add(parser, new.operands, new.operand_count);
    }
    list_add(&parser->instructions, &new, sizeof new);
    return true;
}

static bool directive(struct parser *parser)
{
    enum ptx_space space;
    if (take_word(parser, ".reg")) {
        return registers(parser);
    }
    if (take_word(parser, ".loc")) {
        return place(parser);
    }
    if (take_word(parser, ".pragma")) {
        return skip_statement(parser);
    }
    if (take_space(parser, &space)) {
        return variables(parser, space);
    }
    size_t length = word_length(parser, true);
    return fail(parser, "unknown directive '%.*s'", (int)(length < 60 ? length : 60), parser->at);
}

static bool statement(struct parser *parser)
{
    char c = peek(parser);
    if (c == '.') {
        return directive(parser);
    }
    if (c != '@') {
        size_t length = word_length(parser, false);
        const char *behind = parser->at + length;
        if (length > 0 && length <= PTX_NAME_MAX && behind < parser->end && *behind == ':' &&
            !(parser->end - behind > 1 && behind[1] == ':')) {
            const char *name = intern(parser, parser->at, length);
            parser->at = behind + 1;
            return label(parser, name);
        }
    }
    return instruction(parser);
}

/* ---- functions ---- */

static bool params(struct parser *parser, enum ptx_symbol kind, struct ptx_variable **out,
                   int *count)
{
    struct list list = {0};
    bool done = false;
    if (take(parser, ')')) {
        return true;
    }
    do {
        struct ptx_variable new;
        if (!take_word(parser, ".param")) {
            fail(parser, "'.param' is expected");
            goto out;
        }
        if (list.count == PARAMS_MAX) {
            fail(parser, "a function has more than %d parameters", PARAMS_MAX);
            goto out;
        }
        if (!variable(parser, PTX_PARAM, &new) ||
            !symbol_add(parser, new.name, kind, (int)list.count)) {
            goto out;
        }
        list_add(&list, &new, sizeof new);
    } while (take(parser, ','));
    if (!expect(parser, ')')) {
        goto out;
    }
    *count = (int)list.count;
    *out = list_keep(parser->arena, &list, sizeof **out);
    done = true;
out:
    free(list.data);
    return done;
}

static bool take_triple(struct parser *parser, int64_t triple[3], int64_t max)
{
    triple[0] = triple[1] = triple[2] = 1;
    for (int i = 0; i < 3; i++) {
        if (!integer(parser, 0, max, &triple[i])) {
            return false;
        }
        if (i == 2 || !take(parser, ',')) {
            return true;
        }
    }
    return true;
}

/* .maxntid and the like, between the head of a function and its body. */
static bool tuning(struct parser *parser, struct ptx_function *function)
{
    int64_t n[3];
    while (peek(parser) == '.') {
        if (take_word(parser, ".maxntid")) {
            if (!take_triple(parser, n, 1 << 16)) {
                return false;
            }
            int64_t threads = n[0] * n[1] * n[2];
            function->max_threads = threads > INT_MAX ? INT_MAX : (int)threads;
        } else if (take_word(parser, ".reqntid")) {
            if (!take_triple(parser, n, 1 << 16)) {
                return false;
            }
            for (int i = 0; i < 3; i++) {
                function->required_threads[i] = (int)n[i];
            }
        } else if (take_word(parser, ".reqnctapercluster")) {
            if (!take_triple(parser, n, 1 << 16)) {
                return false;
            }
            for (int i = 0; i < 3; i++) {
                function->cluster[i] = (int)n[i];
            }
        } else if (take_word(parser, ".minnctapersm") || take_word(parser, ".maxnreg") ||
                   take_word(parser, ".maxclusterrank") || take_word(parser, ".maxnctapersm")) {
            if (!integer(parser, 0, INT_MAX, &n[0])) {
                return false;
            }
        } else if (take_word(parser, ".pragma")) {
            if (!skip_statement(parser)) {
                return false;
            }
        } else if (!take_word(parser, ".explicitcluster") && !take_word(parser, ".noreturn") &&
                   !take_word(parser, ".blocksareclusters")) {
            size_t length = word_length(parser, true);
            return fail(parser, "unknown directive '%.*s'", (int)(length < 60 ? length : 60),
                        parser->at);
        }
    }
    return true;
}

static bool body(struct parser *parser)
{
    size_t outside = parser->marks.count;
    for (;;) {
        char c = peek(parser);
        if (parser->at == parser->end) {
            return fail(parser, "'}' is missing at the end of the text");
        }
        if (c == '{') {
            parser->at++;
            if (!scope_open(parser)) {
                return false;
            }
        } else if (c == '}') {
            parser->at++;
            if (parser->marks.count == outside) {
                return true;
            }
            scope_close(parser);
        } else if (c == ';') {
            parser->at++; /* inline assembly leaves empty statements */
        } else if (!statement(parser)) {
            return false;
        }
    }
}

static void function_keep(struct parser *parser, struct ptx_function *function)
{
    struct arena *arena = parser->arena;
    references_resolve(parser);
    function->register_count = (int)parser->registers.count;
    function->registers = list_keep(arena, &parser->registers, sizeof *function->registers);
    function->register_names = list_keep(arena, &parser->names, sizeof *function->register_names);
    function->variable_count = (int)parser->locals.count;
    function->variables = list_keep(arena, &parser->locals, sizeof *function->variables);
    function->instruction_count = (int)parser->instructions.count;
    function->instructions =
        list_keep(arena, &parser->instructions, sizeof *function->instructions);
    function->label_count = (int)parser->labels.count;
    function->labels = list_keep(arena, &parser->labels, sizeof *function->labels);
    function->table_count = (int)parser->tables.count;
    function->tables = list_keep(arena, &parser->tables, sizeof *function->tables);
}

/* A function may be declared first and defined later: the definition takes its place. */
static bool function_add(struct parser *parser, const struct ptx_function *new)
{
    const struct symbol *known = symbol_find(parser, new->name, MODULE_SCOPE);
    if (known == NULL) {
        if (!symbol_add(parser, new->name, PTX_SYMBOL_FUNCTION, (int)parser->functions.count)) {
            return false;
        }
        list_add(&parser->functions, new, sizeof *new);
        return true;
    }
    struct ptx_function *old = (struct ptx_function *)(void *)parser->functions.data + known->index;
    if (known->kind != PTX_SYMBOL_FUNCTION || (!new->external && !old->external)) {
        return fail(parser, "'%.100s' is declared twice", new->name);
    }
    if (!new->external) {
        *old = *new;
    }
    return true;
}

static bool function(struct parser *parser, bool entry)
{
    struct ptx_function new = {.entry = entry};
    parser->here = NULL;
    if (!scope_open(parser)) {
        return false;
    }
    if (!entry && take(parser, '(') &&
        !params(parser, PTX_SYMBOL_RETURN, &new.returns, &new.return_count)) {
        return false;
    }
    if (!take_name(parser, &new.name)) {
        return false;
    }
    if (take(parser, '(') && !params(parser, PTX_SYMBOL_PARAM, &new.params, &new.param_count)) {
        return false;
    }
    if (!tuning(parser, &new)) {
        return false;
    }
    if (take(parser, ';')) {
        new.external = true;
    } else {
        if (!expect(parser, '{') || !body(parser)) {
            return false;
        }
        function_keep(parser, &new);
    }
    scope_close(parser);
    return function_add(parser, &new);
}

/* ---- the module ---- */

/* .file 1 "path" [, timestamp, size] */
static bool file(struct parser *parser)
{
    int64_t number_of, ignored;
    const char *none = NULL;
    if (!integer(parser, 0, PTX_FILES_MAX, &number_of) || !expect(parser, '"')) {
        return false;
    }
    const char *start = parser->at;
    while (parser->at < parser->end && *parser->at != '"' && *parser->at != '\n') {
        parser->at++;
    }
    size_t length = (size_t)(parser->at - start);
    if (!expect(parser, '"')) {
        return false;
    }
    while (parser->files.count <= (size_t)number_of) {
        list_add(&parser->files, &none, sizeof none);
    }
    ((const char **)(void *)parser->files.data)[number_of] =
        arena_text(parser->arena, start, length);
    while (take(parser, ',')) {
        if (!integer(parser, 0, INT64_MAX, &ignored)) {
            return false;
        }
    }
    return true;
}

/* .section .debug_str { … }: what is inside is for debuggers. */
static bool section(struct parser *parser)
{
    while (parser->at < parser->end && *parser->at != '{') {
        parser->line += *parser->at++ == '\n';
    }
    if (!expect(parser, '{')) {
        return false;
    }
    while (parser->at < parser->end && *parser->at != '}') {
        parser->line += *parser->at++ == '\n';
    }
    return expect(parser, '}');
}

static bool take_version(struct parser *parser)
{
    struct ptx_operand ignored;
    skip_blank(parser);
    int major = 0, minor = 0;
    size_t length = number_length(parser);
    char text[16];
    if (length < sizeof text) {
        memcpy(text, parser->at, length);
        text[length] = '\0';
        if (sscanf(text, "%3d.%2d", &major, &minor) == 2) {
            parser->at += length;
            parser->module->version = major * 10 + minor;
            return true;
        }
    }
    return number(parser, &ignored) && fail(parser, "'.version' is malformed");
}

static bool take_target(struct parser *parser)
{
    do {
        const char *name;
        int arch;
        if (!take_name(parser, &name)) {
            return false;
        }
        if (sscanf(name, "sm_%4d", &arch) == 1) {
            parser->module->target = arch;
        }
    } while (take(parser, ','));
    return true;
}

static bool module_statement(struct parser *parser)
{
    int64_t bits;
    enum ptx_space space;
    if (take_word(parser, ".version")) {
        return take_version(parser);
    }
    if (take_word(parser, ".target")) {
        return take_target(parser);
    }
    if (take_word(parser, ".address_size")) {
        return integer(parser, 64, 64, &bits);
    }
    if (take_word(parser, ".file")) {
        return file(parser);
    }
    if (take_word(parser, ".section")) {
        return section(parser);
    }
    if (take_word(parser, ".loc")) {
        return place(parser);
    }
    if (take_word(parser, ".pragma") || take_word(parser, ".alias")) {
        return skip_statement(parser);
    }
    while (take_word(parser, ".visible") || take_word(parser, ".extern") ||
           take_word(parser, ".weak") || take_word(parser, ".common")) {
    }
    if (take_word(parser, ".entry")) {
        return function(parser, true);
    }
    if (take_word(parser, ".func")) {
        while (take_word(parser, ".noreturn")) {
        }
        return function(parser, false);
    }
    if (take_space(parser, &space) && space != PTX_PARAM) {
        return variables(parser, space);
    }
    size_t length = word_length(parser, true);
    return fail(parser, "'%.*s' is not expected here", (int)(length < 60 ? length : 60),
                parser->at);
}

static void module_keep(struct parser *parser)
{
    struct ptx_module *module = parser->module;
    struct reference *unknown = (void *)parser->unknown.data;
    for (size_t i = 0; i < parser->unknown.count; i++) {
        const struct symbol *symbol = symbol_find(parser, unknown[i].operand->name, MODULE_SCOPE);
        if (symbol != NULL) {
            unknown[i].operand->symbol = symbol->kind;
            unknown[i].operand->index = symbol->index;
        }
    }
    module->variable_count = (int)parser->variables.count;
    module->variables = list_keep(parser->arena, &parser->variables, sizeof *module->variables);
    module->function_count = (int)parser->functions.count;
    module->functions = list_keep(parser->arena, &parser->functions, sizeof *module->functions);
    module->file_count = (int)parser->files.count;
    module->files = list_keep(parser->arena, &parser->files, sizeof *module->files);
}

static void parser_free(struct parser *parser)
{
    struct list *lists[] = {
        &parser->parents,    &parser->variables, &parser->functions,    &parser->files,
        &parser->registers,  &parser->names,     &parser->instructions, &parser->labels,
        &parser->locals,     &parser->tables,    &parser->declarations, &parser->marks,
        &parser->references, &parser->unknown,
    };
    for (size_t i = 0; i < sizeof lists / sizeof *lists; i++) {
        free(lists[i]->data);
    }
    free(parser->interned);
    free(parser->symbols);
}

bool ptx_parse(struct arena *arena, const char *text, size_t length, struct ptx_module **module,
               struct err *err)
{
    struct parser parser = {
        .arena = arena, .at = text, .end = text + length, .line = 1, .err = err};
    bool done = true;
    int outside = MODULE_SCOPE;
    *module = NULL;
    if (length > PTX_BYTES_MAX) {
        return err_set(err, ERR_USER, "ptx: the text is longer than %d bytes", PTX_BYTES_MAX);
    }
    parser.module = arena_alloc(arena, sizeof *parser.module);
    list_add(&parser.parents, &outside, sizeof outside);
    while (done && (peek(&parser), parser.at < parser.end)) {
        done = module_statement(&parser);
    }
    if (done && parser.module->version == 0) {
        parser.line = 1;
        done = fail(&parser, "'.version' is missing");
    }
    if (done) {
        module_keep(&parser);
        *module = parser.module;
    }
    parser_free(&parser);
    return done;
}
