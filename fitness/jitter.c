/*
 * The text is read a token at a time, and copied as it is up to each place where something is put
 * in. A name with a dot that does not begin with one can only be an opcode: identifiers have none.
 * Before an instruction means before its guard, so the start of the statement is kept; after it
 * means after its semicolon.
 */
#include "fitness/jitter.h"

#include <ctype.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "fitness/latecopy.h"

enum {
    WORD_MAX = 128,    /* letters of a name that are looked at */
    VERSION_MIN = 603, /* nanosleep, in hundreds */
};

struct scan {
    const char *at, *end;
    const char *copied;    /* the text before this is in the twin */
    const char *statement; /* where the current one began; NULL: between statements */
    int line, depth;
    bool by_line;  /* the statement ends with its line, not with a semicolon */
    bool entry;    /* a kernel's head was read: the next { is its body */
    bool kernel;   /* inside of that body */
    bool delay;    /* the statement is to be followed by a delay */
    bool declares; /* it declares registers */
    enum late_kind late_kind; /* of the statement */
    bool targeted; /* .target was read */
    bool declared; /* the variable is in the twin */
    int version;
    bool survey; /* only look, put nothing in */
    int copies;  /* that a survey saw in kernels */
    int bulks;   /* and of those, of the other kind */
    bool apart;  /* a survey saw copies, or waits for them, in functions */
    bool holds;  /* copies are held back */
    struct latecopy *late;
    struct buf *twin;
    struct jitter_sites *sites;
    struct err *err;
};

static const char *const after[] = {"bar", "barrier", "mbarrier.arrive", "mbarrier.arrive_drop"};
static const char *const before[] = {"cp.async.wait_group",      "cp.async.wait_all",
                                     "cp.async.bulk.wait_group", "mbarrier.try_wait",
                                     "mbarrier.test_wait",       "wgmma.wait_group"};
/* Copies that go their own way once they are asked for: they are asked for late. */
static const char *const starts[] = {
    "cp.async.mbarrier.arrive", "cp.async.bulk.shared::cluster", "cp.async.bulk.shared::cta",
    "cp.async.bulk.global",     "cp.async.bulk.tensor",          "cp.reduce.async.bulk",
    "st.async",                 "red.async"};
/* Directives that have no semicolon. */
static const char *const lines[] = {".version", ".target", ".address_size", ".file", ".loc"};

#define COUNT(table) (sizeof(table) / sizeof(table)[0])

static bool fail(struct scan *scan, const char *format, ...) __attribute__((format(printf, 2, 3)));

static bool fail(struct scan *scan, const char *format, ...)
{
    char text[256];
    va_list ap;

    va_start(ap, format);
    vsnprintf(text, sizeof text, format, ap);
    va_end(ap);
    return err_set(scan->err, ERR_USER, "ptx: line %d: %s", scan->line, text);
}

/* ---- what is put in ---- */

static void copy_to(struct scan *scan, const char *place)
{
    if (scan->survey) {
        return;
    }
    buf_add(scan->twin, scan->copied, (size_t)(place - scan->copied));
    scan->copied = place;
}

static uint32_t mix32(uint32_t x)
{
    x = (x ^ x >> 16) * 0x7feb352du;
    x = (x ^ x >> 15) * 0x846ca68bu;
    return x ^ x >> 16;
}

/*
 * h hashes block, warp, place, seed and, for an odd seed, the clock. The warp sleeps for a time
 * below the amplitude, evenly spread, or, as often, not at all: where all are late nobody is.
 */
static bool put_delay(struct scan *scan, const char *place, int *count)
{
    const struct jitter_sites *sites = scan->sites;
    int number = sites->entries + sites->barriers + sites->waits + sites->starts;

    if (scan->survey) {
        return true;
    }
    if (number == JITTER_SITES_MAX) {
        return fail(scan, "there are more than %d places to delay", JITTER_SITES_MAX);
    }
    copy_to(scan, place);
    buf_printf(scan->twin,
               "\n{\n"
               ".reg .b32 %%evo_h, %%evo_t, %%evo_a, %%evo_s;\n"
               "mov.u32 %%evo_h, %%tid.z;\n"
               "mov.u32 %%evo_t, %%ntid.y;\n"
               "mov.u32 %%evo_a, %%tid.y;\n"
               "mad.lo.u32 %%evo_h, %%evo_h, %%evo_t, %%evo_a;\n"
               "mov.u32 %%evo_t, %%ntid.x;\n"
               "mov.u32 %%evo_a, %%tid.x;\n"
               "mad.lo.u32 %%evo_h, %%evo_h, %%evo_t, %%evo_a;\n"
               "shr.u32 %%evo_h, %%evo_h, 5;\n"
               "mov.u32 %%evo_t, %%ctaid.x;\n"
               "mad.lo.u32 %%evo_h, %%evo_t, 0x9E3779B1, %%evo_h;\n"
               "mov.u32 %%evo_t, %%ctaid.y;\n"
               "mad.lo.u32 %%evo_h, %%evo_t, 0x85EBCA77, %%evo_h;\n"
               "mov.u32 %%evo_t, %%ctaid.z;\n"
               "mad.lo.u32 %%evo_h, %%evo_t, 0xC2B2AE3D, %%evo_h;\n"
               "ld.global.v2.u32 {%%evo_a, %%evo_s}, [" JITTER_VARIABLE "];\n"
               "xor.b32 %%evo_h, %%evo_h, %%evo_s;\n"
               "add.u32 %%evo_h, %%evo_h, 0x%08X;\n"
               "and.b32 %%evo_s, %%evo_s, 1;\n"
               "neg.s32 %%evo_s, %%evo_s;\n"
               "mov.u32 %%evo_t, %%clock;\n"
               "shr.u32 %%evo_t, %%evo_t, 6;\n"
               "and.b32 %%evo_t, %%evo_t, %%evo_s;\n"
               "xor.b32 %%evo_h, %%evo_h, %%evo_t;\n"
               "mul.lo.u32 %%evo_h, %%evo_h, 0x85EBCA6B;\n"
               "shr.u32 %%evo_t, %%evo_h, 15;\n"
               "xor.b32 %%evo_h, %%evo_h, %%evo_t;\n"
               "mul.lo.u32 %%evo_h, %%evo_h, 0xC2B2AE35;\n"
               "shr.u32 %%evo_t, %%evo_h, 13;\n"
               "xor.b32 %%evo_h, %%evo_h, %%evo_t;\n"
               "mul.hi.u32 %%evo_t, %%evo_h, %%evo_a;\n"
               "shl.b32 %%evo_h, %%evo_h, 31;\n"
               "shr.s32 %%evo_h, %%evo_h, 31;\n"
               "and.b32 %%evo_t, %%evo_t, %%evo_h;\n"
               "nanosleep.u32 %%evo_t;\n"
               "}\n",
               (unsigned)mix32((uint32_t)number + 1));
    ++*count;
    return true;
}

static void declare(struct scan *scan, const char *place)
{
    scan->declared = true;
    if (scan->survey) {
        return;
    }
    copy_to(scan, place);
    buf_printf(scan->twin, "\n.visible .global .align 8 .u32 " JITTER_VARIABLE "[%d];\n",
               JITTER_WORDS);
}

/* ---- tokens ---- */

static bool is_letter(char c)
{
    return isalnum((unsigned char)c) || c == '_' || c == '$' || c == '.' || c == '%';
}

/* Past a comment that begins here; false when there is none. */
static bool skip_comment(struct scan *scan)
{
    if (scan->end - scan->at < 2 || scan->at[0] != '/') {
        return false;
    }
    if (scan->at[1] == '/') {
        while (scan->at < scan->end && *scan->at != '\n') {
            scan->at++;
        }
        return true;
    }
    if (scan->at[1] != '*') {
        return false;
    }
    for (scan->at += 2; scan->at < scan->end; scan->at++) {
        scan->line += *scan->at == '\n';
        if (scan->end - scan->at > 1 && scan->at[0] == '*' && scan->at[1] == '/') {
            scan->at += 2;
            break;
        }
    }
    return true;
}

static bool skip_string(struct scan *scan)
{
    for (scan->at++; scan->at < scan->end && *scan->at != '\n'; scan->at++) {
        if (*scan->at == '"') {
            scan->at++;
            return true;
        }
    }
    return fail(scan, "a string does not end");
}

/* "shared::cta" is one word, "label:" is not. Longer words are none that mean anything here. */
static void take_word(struct scan *scan, char word[WORD_MAX])
{
    const char *start = scan->at;
    size_t length;

    while (scan->at < scan->end) {
        if (is_letter(*scan->at)) {
            scan->at++;
        } else if (scan->end - scan->at > 2 && scan->at[0] == ':' && scan->at[1] == ':' &&
                   is_letter(scan->at[2])) {
            scan->at += 2;
        } else {
            break;
        }
    }
    length = (size_t)(scan->at - start);
    length = length < WORD_MAX ? length : WORD_MAX - 1;
    memcpy(word, start, length);
    word[length] = '\0';
}

static bool is_one_of(const char *word, const char *const *table, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        size_t length = strlen(table[i]);

        if (strncmp(word, table[i], length) == 0 && (word[length] == '\0' || word[length] == '.')) {
            return true;
        }
    }
    return false;
}

/* ---- statements ---- */

static void statement_end(struct scan *scan)
{
    scan->statement = NULL;
    scan->by_line = false;
    scan->declares = false;
    scan->late_kind = LATE_NONE;
}

/* ".version 8.4": 804. The number is the next word. */
static bool read_version(struct scan *scan)
{
    int major = 0, minor = 0;
    char number[16] = "";
    const char *at = scan->at;
    size_t length = 0;

    while (at < scan->end && (*at == ' ' || *at == '\t')) {
        at++;
    }
    while (at < scan->end && length + 1 < sizeof number &&
           (isdigit((unsigned char)*at) || *at == '.')) {
        number[length++] = *at++;
    }
    if (sscanf(number, "%3d.%3d", &major, &minor) != 2) {
        return fail(scan, "'.version' without a number");
    }
    scan->version = major * 100 + minor;
    return scan->version >= VERSION_MIN ||
           fail(scan, "PTX %d.%d cannot sleep: 6.3 is the first that can", major, minor);
}

/* The first word of a statement. */
static bool statement_begin(struct scan *scan, const char *word)
{
    scan->by_line = is_one_of(word, lines, COUNT(lines));
    if (scan->depth > 0) {
        return true;
    }
    if (strcmp(word, ".version") == 0) {
        return read_version(scan);
    }
    scan->targeted = scan->targeted || strcmp(word, ".target") == 0;
    if (!scan->by_line && !scan->declared) {
        if (scan->version == 0 || !scan->targeted) {
            return fail(scan, "'.version' and '.target' must come first");
        }
        declare(scan, scan->statement);
    }
    return true;
}

/* A ring belongs to a kernel; what its functions wait for could not be found in it. */
static void take_kind(struct scan *scan, const char *word)
{
    static const char *const asks[] = {"mbarrier.try_wait", "mbarrier.test_wait"};
    enum late_kind kind = late_kind_of(word);

    scan->late->asked = scan->late->asked || is_one_of(word, asks, COUNT(asks));
    if (kind == LATE_NONE || (kind == LATE_BULK && !scan->kernel)) {
        return;
    }
    scan->late_kind = kind;
    scan->copies += kind == LATE_COPY && scan->kernel;
    scan->bulks += kind == LATE_BULK;
    scan->apart = scan->apart || !scan->kernel;
}

static bool word_read(struct scan *scan, const char *start)
{
    char word[WORD_MAX];
    bool first = scan->statement == NULL;

    take_word(scan, word);
    if (strcmp(word, JITTER_VARIABLE) == 0 || strcmp(word, "evo_late") == 0 ||
        strncmp(word, "%evo_", 5) == 0 || strncmp(word, "$evo_", 5) == 0) {
        return fail(scan, "'%s' is a name that only a twin has", word);
    }
    if (first) {
        scan->statement = start;
        if (!statement_begin(scan, word)) {
            return false;
        }
    }
    if (scan->depth == 0) {
        scan->entry = scan->entry || strcmp(word, ".entry") == 0;
        return true;
    }
    scan->declares = scan->declares || (first && strcmp(word, ".reg") == 0);
    if (strchr(word, '.') == NULL || *word == '.' || *word == '%') {
        return true;
    }
    scan->delay = scan->delay || is_one_of(word, after, COUNT(after));
    take_kind(scan, word);
    if (is_one_of(word, starts, COUNT(starts))) {
        return put_delay(scan, scan->statement, &scan->sites->starts);
    }
    return !is_one_of(word, before, COUNT(before)) ||
           put_delay(scan, scan->statement, &scan->sites->waits);
}

static bool open_scope(struct scan *scan)
{
    bool body = scan->entry && scan->depth == 0;

    scan->depth++;
    statement_end(scan);
    scan->entry = scan->entry && !body;
    scan->kernel = scan->kernel || body;
    if (body && scan->holds) {
        copy_to(scan, scan->at);
        late_entry(scan->twin, JITTER_VARIABLE);
    }
    return !body || put_delay(scan, scan->at, &scan->sites->entries);
}

static bool close_scope(struct scan *scan)
{
    statement_end(scan);
    late_leave(scan->late, scan->depth);
    scan->kernel = scan->kernel && scan->depth > 1;
    return scan->depth-- > 0 || fail(scan, "a '}' closes nothing");
}

/* What the statement that ends here is for copies. */
static bool hold_copies(struct scan *scan)
{
    struct late_statement statement = {scan->statement, (size_t)(scan->at - scan->statement)};
    enum late_kind kind = scan->late_kind;

    if (scan->declares) {
        late_declare(scan->late, statement, scan->depth);
    }
    if (kind == LATE_NONE || !scan->holds || (kind == LATE_BULK && scan->late->asked)) {
        return true;
    }
    if (scan->sites->held + scan->late->labels == JITTER_SITES_MAX) {
        return fail(scan, "there are more than %d copies and waits for them", JITTER_SITES_MAX);
    }
    copy_to(scan, kind == LATE_COMMIT ? scan->at : scan->statement);
    if (kind == LATE_COMMIT) {
        late_commit(statement, scan->twin);
    } else if (kind != LATE_COPY && kind != LATE_BULK) {
        late_wait(scan->late, kind, statement, scan->twin);
    } else if (kind == LATE_BULK ? late_bulk(statement, scan->twin)
                                 : late_copy(scan->late, statement, scan->twin)) {
        scan->copied = scan->at;
        scan->sites->held++;
    }
    return true;
}

static bool semicolon(struct scan *scan)
{
    bool delay = scan->delay;

    if (scan->statement != NULL && !hold_copies(scan)) {
        return false;
    }
    statement_end(scan);
    scan->delay = false;
    if (scan->depth == 0) {
        scan->entry = false; /* it was declared, not defined */
        return true;
    }
    return !delay || put_delay(scan, scan->at, &scan->sites->barriers);
}

static bool take_token(struct scan *scan)
{
    const char *start = scan->at;
    char c = *start;

    if (skip_comment(scan)) {
        return true;
    }
    if (c == '"') {
        return skip_string(scan);
    }
    if (is_letter(c)) {
        return word_read(scan, start);
    }
    scan->at++;
    switch (c) {
    case '\n':
        scan->line++;
        if (scan->by_line) {
            statement_end(scan);
        }
        return true;
    case ' ':
    case '\t':
    case '\r':
    case '\f':
    case '\v': return true;
    case ';': return semicolon(scan);
    case ':': statement_end(scan); return true;
    case '{': return open_scope(scan);
    case '}': return close_scope(scan);
    default:
        if (scan->statement == NULL && scan->depth > 0) {
            scan->statement = start; /* a guard */
        }
        return true;
    }
}

static bool scan_all(struct scan *scan)
{
    while (scan->at < scan->end) {
        if (!take_token(scan)) {
            return false;
        }
    }
    return scan->depth == 0 || fail(scan, "a '}' is missing");
}

bool jitter_twin(const char *ptx, size_t length, struct buf *twin, struct jitter_sites *sites,
                 struct err *err)
{
    struct latecopy late = {.count = 0};
    struct scan scan = {.at = ptx,
                        .end = ptx + length,
                        .copied = ptx,
                        .line = 1,
                        .survey = true,
                        .late = &late,
                        .twin = twin,
                        .sites = sites,
                        .err = err},
                again;

    *sites = (struct jitter_sites){0};
    if (length > JITTER_BYTES_MAX) {
        return fail(&scan, "the text has %zu bytes, of at most %d", length, JITTER_BYTES_MAX);
    }
    /* NVRTC counts the zero at the end of its text. */
    while (scan.end > ptx && scan.end[-1] == '\0') {
        scan.end--;
    }
    again = scan;
    if (!scan_all(&scan)) {
        return false;
    }
    again.survey = false;
    again.holds = (scan.copies > 0 || (scan.bulks > 0 && !late.asked)) && !scan.apart;
    if (!scan_all(&again)) {
        return false;
    }
    if (sites->entries == 0) {
        return fail(&again, "there is no kernel");
    }
    copy_to(&again, again.end);
    return true;
}

void jitter_words(int n, uint64_t key, uint32_t words[JITTER_WORDS])
{
    uint32_t drawn = mix32((uint32_t)key ^ mix32((uint32_t)(key >> 32) + (uint32_t)n));
    int step = (n - 1) % JITTER_AMPLITUDES, clock = (n - 1) / JITTER_AMPLITUDES;

    /* 64 ns, 512 ns, 4 us and 33 us, without the clock and then with it; late copies by turns. */
    words[0] = n == 0 ? 0 : UINT32_C(64) << 3 * step;
    words[1] = (drawn & ~UINT32_C(1)) | (uint32_t)(n > 0 && clock);
    words[2] = n == 0 || (step + clock) % 2 != 0 ? LATE_COPIES_MAX : 0;
    words[3] = 0;
}
