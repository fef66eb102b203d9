/*
 * The ring lies in local memory: 16 bytes a copy, of which 8 are the source's address, 4 the
 * target's, and 4 tell (lowest bits first) how many bytes come from the source, how many are
 * written in all, the rest of them zeros, and the number of the group. Head, tail and the number
 * of the open group are registers of the kernel: names that begin with %evo_ are the twin's.
 *
 * Predicates instead of branches where a copy is kept; the loop at a wait stands on its own.
 */
#include "fitness/latecopy.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

enum {
    STATEMENT_MAX = 512,
    OPERANDS_MAX = 16, /* coordinates of a box are cut apart too, and put together again */
    SIZE_BITS = 5,     /* for 0 to 16 bytes */
    GROUP_SHIFT = 2 * SIZE_BITS,
    WHOLE = 16 | 16 << SIZE_BITS, /* 16 bytes, all of them from the source */
};

/* A statement in its parts, without comments. */
struct parts {
    char text[STATEMENT_MAX];
    const char *guard; /* NULL: none */
    bool unless;       /* the guard is negated */
    const char *opcode;
    const char *operands[OPERANDS_MAX];
    int count;
};

static bool is_told_bulk(const char *opcode)
{
    static const char bulk[] = "cp.async.bulk.";

    return strncmp(opcode, bulk, sizeof bulk - 1) == 0 &&
           strstr(opcode, ".mbarrier::complete_tx") != NULL;
}

enum late_kind late_kind_of(const char *opcode)
{
    static const struct {
        const char *begins;
        enum late_kind kind;
    } kinds[] = {
        {"cp.async.ca", LATE_COPY},         {"cp.async.cg", LATE_COPY},
        {"cp.async.wait_group", LATE_WAIT}, {"cp.async.commit_group", LATE_COMMIT},
        {"cp.async.wait_all", LATE_ALL},    {"cp.async.mbarrier.arrive", LATE_ARRIVE},
    };

    if (is_told_bulk(opcode)) {
        return LATE_BULK;
    }
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++) {
        size_t length = strlen(kinds[i].begins);

        if (strncmp(opcode, kinds[i].begins, length) == 0 &&
            (opcode[length] == '\0' || opcode[length] == '.')) {
            return kinds[i].kind;
        }
    }
    return LATE_NONE;
}

/* ---- statements ---- */

/* Past the comment that begins at `at`, or `at`; never past the end. */
static const char *past_comment(const char *at, const char *end)
{
    if (end - at < 2 || at[0] != '/' || (at[1] != '/' && at[1] != '*')) {
        return at;
    }
    for (const char *to = at + 2; to < end; to++) {
        if (at[1] == '/' ? *to == '\n' : to[-1] == '*' && to[0] == '/' && to > at + 2) {
            return to + 1;
        }
    }
    return end;
}

/* Its text with a space for each comment and line end. False: too long. */
static bool clean(struct late_statement statement, char text[STATEMENT_MAX])
{
    const char *at = statement.text, *end = at + statement.length;
    size_t length = 0;

    while (at < end && *at != ';') {
        const char *past = past_comment(at, end);
        char c = past > at ? ' ' : *at++;

        at = past > at ? past : at;
        if (length + 1 == STATEMENT_MAX) {
            return false;
        }
        text[length++] = isspace((unsigned char)c) ? ' ' : c;
    }
    text[length] = '\0';
    return true;
}

static char *skip_spaces(char *at)
{
    while (*at == ' ') {
        at++;
    }
    return at;
}

/* Ends the word that begins here; what follows, without spaces. */
static char *cut_word(char *at)
{
    while (*at != ' ' && *at != '\0') {
        at++;
    }
    if (*at != '\0') {
        *at++ = '\0';
    }
    return skip_spaces(at);
}

static void trim(char *text)
{
    size_t length = strlen(text);

    while (length > 0 && text[length - 1] == ' ') {
        text[--length] = '\0';
    }
}

static bool take_apart(struct late_statement statement, struct parts *parts)
{
    char *at = parts->text;

    *parts = (struct parts){0};
    if (!clean(statement, at)) {
        return false;
    }
    at = skip_spaces(at);
    if (*at == '@') {
        at = skip_spaces(at + 1);
        parts->unless = *at == '!';
        at = skip_spaces(at + parts->unless);
        parts->guard = at;
        at = cut_word(at);
    }
    parts->opcode = at;
    at = cut_word(at);
    while (*at != '\0') {
        char *comma = strchr(at, ',');

        if (parts->count == OPERANDS_MAX) {
            return false;
        }
        parts->operands[parts->count++] = at;
        if (comma != NULL) {
            *comma = '\0';
        }
        trim(at);
        at = comma != NULL ? skip_spaces(comma + 1) : at + strlen(at);
    }
    return *parts->opcode != '\0';
}

/* ---- registers ---- */

static bool is_name(char c)
{
    return isalnum((unsigned char)c) || c == '_' || c == '$' || c == '%';
}

/* ".b32": 32. */
static int bits_of(const char *type)
{
    if (strncmp(type, ".pred", 5) == 0) {
        return 1;
    }
    while (*type != '\0' && !isdigit((unsigned char)*type)) {
        type++;
    }
    return (int)strtol(type, NULL, 10);
}

void late_declare(struct latecopy *late, struct late_statement statement, int depth)
{
    const char *at = statement.text, *end = at + statement.length;
    int bits = 0;

    while (at < end && *at != ';') {
        struct late_register *one = &late->registers[late->count];
        const char *start = at;

        if (*at == '.') {
            char type[8] = "";

            for (size_t i = 0; at < end && (i == 0 || is_name(*at)); i++, at++) {
                type[i < sizeof type - 1 ? i : sizeof type - 2] = *at;
            }
            bits = bits_of(type);
            continue;
        }
        while (at < end && is_name(*at)) {
            at++;
        }
        if (at == start) {
            at++;
            continue;
        }
        if (late->count == LATE_REGISTERS_MAX) {
            return; /* copies that name others are not held back */
        }
        *one = (struct late_register){
            .name = start, .length = (int)(at - start), .depth = depth, .bits = bits, .count = -1};
        if (at < end && *at == '<') {
            one->count = strtol(at + 1, NULL, 10);
            while (at < end && *at != '>') {
                at++;
            }
        }
        late->count++;
    }
}

void late_leave(struct latecopy *late, int depth)
{
    while (late->count > 0 && late->registers[late->count - 1].depth >= depth) {
        late->count--;
    }
}

/* How many bits a register has; 0: there is none of that name. */
static int register_bits(const struct latecopy *late, const char *name)
{
    size_t length = strlen(name), digits = 0;

    while (digits < length && isdigit((unsigned char)name[length - 1 - digits])) {
        digits++;
    }
    for (int i = late->count - 1; i >= 0; i--) {
        const struct late_register *one = &late->registers[i];
        size_t own = (size_t)one->length;

        if (one->count < 0
                ? own == length && memcmp(one->name, name, own) == 0
                : own < length && own >= length - digits && memcmp(one->name, name, own) == 0 &&
                      strtol(name + own, NULL, 10) < one->count) {
            return one->bits;
        }
    }
    return 0;
}

/* ---- what is put in ---- */

void late_entry(struct buf *twin, const char *variable)
{
    buf_printf(twin,
               "\n.local .align 16 .b8 evo_late[%d];\n"
               ".reg .b32 %%evo_head, %%evo_tail, %%evo_group, %%evo_room;\n"
               "mov.u32 %%evo_head, 0;\n"
               "mov.u32 %%evo_tail, 0;\n"
               "mov.u32 %%evo_group, 0;\n"
               "ld.global.u32 %%evo_room, [%s+8];\n"
               "min.u32 %%evo_room, %%evo_room, %d;\n",
               LATE_COPIES_MAX * 16, variable, LATE_COPIES_MAX);
}

/* "[%r1+16]" to a register of 32 or 64 bits: base, then what is added. */
static bool put_address(const struct latecopy *late, const char *operand, const char *to, int bits,
                        struct buf *twin)
{
    char base[STATEMENT_MAX], *at = base, *rest;
    size_t length = strlen(operand);
    int known;

    if (length < 3 || operand[0] != '[' || operand[length - 1] != ']') {
        return false;
    }
    memcpy(base, operand + 1, length - 2);
    base[length - 2] = '\0';
    at = skip_spaces(base);
    for (rest = at; is_name(*rest);) {
        rest++;
    }
    char sign = *skip_spaces(rest);
    char *added = sign != '\0' ? skip_spaces(skip_spaces(rest) + 1) : NULL;
    if (rest == at || (sign != '\0' && ((sign != '+' && sign != '-') || *added == '\0'))) {
        return false;
    }
    *rest = '\0';
    known = register_bits(late, at);
    if (known == 0 && *at == '%') {
        return false;
    }
    if (known == 0 || known == bits) { /* a variable's address, a number, a register */
        buf_printf(twin, "mov.b%d %s, %s;\n", bits, to, at);
    } else if ((known == 64 && bits == 32) || (known == 32 && bits == 64)) {
        buf_printf(twin, "cvt.u%d.u%d %s, %s;\n", bits, known, to, at);
    } else {
        return false;
    }
    if (added != NULL) {
        trim(added);
        buf_printf(twin, "%s.s%d %s, %s, %s;\n", sign == '+' ? "add" : "sub", bits, to, to, added);
    }
    return true;
}

/* Bytes that come from the source, in %evo_f. */
static bool put_size(const struct latecopy *late, const struct parts *parts, long size,
                     struct buf *twin)
{
    const char *fourth = parts->count > 3 ? parts->operands[3] : NULL;
    bool hint = strstr(parts->opcode, ".L2::cache_hint") != NULL;
    int bits = fourth != NULL ? register_bits(late, fourth) : 0;

    if (fourth == NULL || (hint && parts->count == 4)) {
        buf_printf(twin, "mov.b32 %%evo_f, %ld;\n", size);
        return true;
    }
    if (bits == 1) { /* ignore-src */
        buf_printf(twin, "selp.b32 %%evo_f, 0, %ld, %s;\n", size, fourth);
        return true;
    }
    if (bits != 32 && !isdigit((unsigned char)*fourth)) {
        return false;
    }
    buf_printf(twin, "mov.b32 %%evo_f, %s;\nmin.u32 %%evo_f, %%evo_f, %ld;\n", fourth, size);
    return true;
}

/* The ring's place number `from` as an address in %evo_a. */
static void put_place(const char *from, struct buf *twin)
{
    buf_printf(twin,
               "and.b32 %%evo_n, %s, %d;\n"
               "mul.wide.u32 %%evo_b, %%evo_n, 16;\n"
               "mov.u64 %%evo_a, evo_late;\n"
               "add.u64 %%evo_a, %%evo_a, %%evo_b;\n",
               from, LATE_COPIES_MAX - 1);
}

/* The instruction as it was, where %evo_x says so; the end of the scope. */
static void put_unless_held(const struct parts *parts, struct buf *twin)
{
    buf_printf(twin, "@%%evo_x %s %s", parts->opcode, parts->operands[0]);
    for (int i = 1; i < parts->count; i++) {
        buf_printf(twin, ", %s", parts->operands[i]);
    }
    buf_puts(twin, ";\n}\n");
}

static void put_keep(const struct parts *parts, long size, struct buf *twin)
{
    buf_printf(twin,
               "shl.b32 %%evo_i, %%evo_group, %d;\n"
               "or.b32 %%evo_i, %%evo_i, %ld;\n"
               "or.b32 %%evo_i, %%evo_i, %%evo_f;\n"
               "sub.u32 %%evo_f, %%evo_tail, %%evo_head;\n"
               "setp.lt.u32 %%evo_p, %%evo_f, %%evo_room;\n"
               "not.pred %%evo_x, %%evo_p;\n",
               GROUP_SHIFT, size << SIZE_BITS);
    if (parts->guard != NULL) {
        buf_printf(twin,
                   "%s.pred %%evo_g, %s;\n"
                   "and.pred %%evo_p, %%evo_p, %%evo_g;\n"
                   "and.pred %%evo_x, %%evo_x, %%evo_g;\n",
                   parts->unless ? "not" : "mov", parts->guard);
    }
    put_place("%evo_tail", twin);
    buf_puts(twin, "@%evo_p st.local.u64 [%evo_a], %evo_s;\n"
                   "@%evo_p st.local.v2.u32 [%evo_a+8], {%evo_d, %evo_i};\n"
                   "@%evo_p add.u32 %evo_tail, %evo_tail, 1;\n");
    put_unless_held(parts, twin);
}

bool late_copy(struct latecopy *late, struct late_statement statement, struct buf *twin)
{
    struct parts parts;
    size_t before = twin->length;
    long size;

    if (!take_apart(statement, &parts) || parts.count < 3) {
        return false;
    }
    size = strtol(parts.operands[2], NULL, 0);
    buf_puts(twin, "\n{\n.reg .pred %evo_p, %evo_x, %evo_g;\n"
                   ".reg .b32 %evo_d, %evo_f, %evo_i, %evo_n;\n"
                   ".reg .b64 %evo_s, %evo_a, %evo_b;\n");
    if ((size == 4 || size == 8 || size == 16) &&
        put_address(late, parts.operands[0], "%evo_d", 32, twin) &&
        put_address(late, parts.operands[1], "%evo_s", 64, twin) &&
        put_size(late, &parts, size, twin)) {
        put_keep(&parts, size, twin);
        return true;
    }
    twin->length = before; /* what was begun is taken back */
    twin->data[before] = '\0';
    return false;
}

bool late_bulk(struct late_statement statement, struct buf *twin)
{
    struct parts parts;

    if (!take_apart(statement, &parts) || parts.count < 3) {
        return false;
    }
    buf_puts(twin, "\n{\n.reg .pred %evo_x, %evo_g;\nsetp.eq.u32 %evo_x, %evo_room, 0;\n");
    if (parts.guard != NULL) {
        buf_printf(twin, "%s.pred %%evo_g, %s;\nand.pred %%evo_x, %%evo_x, %%evo_g;\n",
                   parts.unless ? "not" : "mov", parts.guard);
    }
    put_unless_held(&parts, twin);
    return true;
}

void late_commit(struct late_statement statement, struct buf *twin)
{
    struct parts parts;

    /* Too many groups only make copies come sooner. */
    if (take_apart(statement, &parts) && parts.guard != NULL) {
        buf_printf(twin, "\n@%s%s", parts.unless ? "!" : "", parts.guard);
    }
    buf_puts(twin, "\nadd.u32 %evo_group, %evo_group, 1;\n");
}

/* The oldest copy of the ring is taken out of it, done here and now, and the next one is due. */
static void put_move(int n, struct buf *twin)
{
    buf_printf(twin,
               "setp.ne.u32 %%evo_p, %%evo_n, %d;\n"
               "@%%evo_p bra $evo_part%d;\n"
               "ld.global.v4.u32 {%%evo_w0, %%evo_w1, %%evo_w2, %%evo_w3}, [%%evo_s];\n"
               "st.shared.v4.u32 [%%evo_d], {%%evo_w0, %%evo_w1, %%evo_w2, %%evo_w3};\n"
               "bra $evo_next%d;\n"
               "$evo_part%d:\n" /* byte by byte */
               "and.b32 %%evo_f, %%evo_n, %d;\n"
               "shr.u32 %%evo_n, %%evo_n, %d;\n",
               WHOLE, n, n, n, (1 << SIZE_BITS) - 1, SIZE_BITS);
    buf_printf(twin,
               "$evo_byte%d:\n"
               "setp.ne.u32 %%evo_p, %%evo_f, 0;\n"
               "mov.u16 %%evo_c, 0;\n"
               "@%%evo_p ld.global.u8 %%evo_c, [%%evo_s];\n"
               "@%%evo_p sub.u32 %%evo_f, %%evo_f, 1;\n"
               "st.shared.u8 [%%evo_d], %%evo_c;\n"
               "add.u64 %%evo_s, %%evo_s, 1;\n"
               "add.u32 %%evo_d, %%evo_d, 1;\n"
               "sub.u32 %%evo_n, %%evo_n, 1;\n"
               "setp.ne.u32 %%evo_p, %%evo_n, 0;\n"
               "@%%evo_p bra $evo_byte%d;\n"
               "bra $evo_next%d;\n",
               n, n, n);
}

/* The same, asked for anew: the thread does not wait, so neither may the bytes be there. */
static void put_again(int n, struct buf *twin)
{
    buf_printf(twin, "and.b32 %%evo_f, %%evo_n, %d;\nshr.u32 %%evo_n, %%evo_n, %d;\n",
               (1 << SIZE_BITS) - 1, SIZE_BITS);
    for (int size = 4; size <= 16; size *= 2) {
        buf_printf(twin,
                   "setp.eq.u32 %%evo_p, %%evo_n, %d;\n"
                   "@%%evo_p cp.async.ca.shared.global [%%evo_d], [%%evo_s], %d, %%evo_f;\n",
                   size, size);
    }
    buf_printf(twin, "bra $evo_next%d;\n", n);
}

void late_wait(struct latecopy *late, enum late_kind kind, struct late_statement statement,
               struct buf *twin)
{
    struct parts parts;
    int n;

    if (kind == LATE_ARRIVE && !late->asked) {
        return; /* whatever it is told, nobody hears it */
    }
    n = late->labels++;
    bool understood = take_apart(statement, &parts);
    buf_puts(twin, "\n{\n.reg .pred %evo_p;\n.reg .b16 %evo_c;\n"
                   ".reg .b32 %evo_d, %evo_f, %evo_i, %evo_n, %evo_w<4>;\n"
                   ".reg .b64 %evo_s, %evo_a, %evo_b;\n");
    if (understood && parts.guard != NULL) {
        buf_printf(twin, "@%s%s bra $evo_done%d;\n", parts.unless ? "" : "!", parts.guard, n);
    }
    buf_printf(twin,
               "$evo_next%d:\n"
               "setp.eq.u32 %%evo_p, %%evo_head, %%evo_tail;\n"
               "@%%evo_p bra $evo_done%d;\n",
               n, n);
    put_place("%evo_head", twin);
    buf_puts(twin, "ld.local.u64 %evo_s, [%evo_a];\n"
                   "ld.local.v2.u32 {%evo_d, %evo_i}, [%evo_a+8];\n");
    if (understood && kind == LATE_WAIT && parts.count == 1) {
        buf_printf(twin,
                   "shl.b32 %%evo_n, %%evo_group, %d;\n"
                   "sub.u32 %%evo_n, %%evo_n, %%evo_i;\n"
                   "add.u32 %%evo_n, %%evo_n, %d;\n"
                   "shr.u32 %%evo_n, %%evo_n, %d;\n" /* groups since, this one included */
                   "setp.le.u32 %%evo_p, %%evo_n, %s;\n"
                   "@%%evo_p bra $evo_done%d;\n",
                   GROUP_SHIFT, (1 << GROUP_SHIFT) - 1, GROUP_SHIFT, parts.operands[0], n);
    }
    buf_printf(twin,
               "add.u32 %%evo_head, %%evo_head, 1;\n"
               "and.b32 %%evo_n, %%evo_i, %d;\n",
               (1 << GROUP_SHIFT) - 1);
    (kind == LATE_ARRIVE ? put_again : put_move)(n, twin);
    buf_printf(twin, "$evo_done%d:\n}\n", n);
}
