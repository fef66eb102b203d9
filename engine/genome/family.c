/*
 * How a template is read: one pass over its tokens. A name that begins with EVO_ and stands at file
 * scope is a word; its arguments are cut out by their tokens and given to the word's row in
 * word_table. Everything else is skipped, but for the names of kernels, which launches must match.
 *
 * Each name gets its slot in family->symbols when it is declared, so that "unknown name" is also
 * the answer to a name used above its declaration. The slots of a choice's labels follow the slot
 * of the choice at once; as symbols they are called "Name=label", which only EVO_IS can say.
 */
#include "genome/family.h"

#include <assert.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/str.h"
#include "fitness/space.h"
#include "genome/scan.h"

const char *const given_names[GIVEN_COUNT] = {
    [GIVEN_HEAD_DIM] = "HEAD_DIM",
    [GIVEN_CAUSAL] = "CAUSAL",
    [GIVEN_BF16] = "BF16",
    [GIVEN_LSE] = "LSE",
    [GIVEN_DEVICE_SMEM_MAX] = "DEVICE_SMEM_MAX",
    [GIVEN_DEVICE_ARCH] = "DEVICE_ARCH",
};

enum {
    WORD_ARGS_MAX = 5,
    DECLARED_MAX = GIVEN_COUNT + FAMILY_LETS_MAX + PROGRAM_WORKSPACES_MAX + PROGRAM_MAPS_MAX +
                   GENES_MAX * (1 + FAMILY_LABELS_MAX),
    KERNELS_SEEN_MAX = 64, /* more are not checked against the launches */
    DOC_BYTES_MAX = 300,
};

struct span {
    size_t at, length;
};

struct word {
    const struct rule *rule;
    size_t at;
    int line;
    struct span args[WORD_ARGS_MAX];
    int arg_count;
};

struct declared {
    const char *name;
    const char *choice; /* whose label it is; NULL: a name of its own */
    int line;
};

struct kernel_seen {
    struct span name;
    bool c_linkage;
};

struct parser {
    struct arena *arena;
    struct family *family;
    const char *text;
    struct scan scan;
    struct err *err;

    struct symbols *symbols;        /* family->symbols */
    struct symbols *launch_symbols; /* and the launch variables: for texts that a judge evaluates */
    struct declared declared[DECLARED_MAX];
    int declared_count;

    bool includes_words; /* #include "evo.cuh" was seen */
    int conditions;      /* open #if */
    bool c_block;        /* extern "C" { was seen: what follows may be in it */
    size_t launch_at[PROGRAM_KERNELS_MAX];
    struct kernel_seen kernels[KERNELS_SEEN_MAX];
    int kernel_count;
};

struct rule {
    const char *name, *usage;
    int args;
    bool (*read)(struct parser *parser, const struct word *word);
};

/* Telling mistakes ----------------------------------------------------------------------------- */

static const struct rule *find_rule(const struct parser *parser, struct token token);
static bool mistake(struct parser *parser, size_t at, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

static bool mistake(struct parser *parser, size_t at, const char *format, ...)
{
    char what[1024];
    int line, column;
    va_list ap;
    va_start(ap, format);
    vsnprintf(what, sizeof what, format, ap);
    va_end(ap);
    scan_place(parser->text, at, &line, &column);
    return err_set(parser->err, ERR_USER, "%s:%d:%d: %s", parser->family->path, line, column, what);
}

/* The number of letters to change, leave out or insert to come from a to b; above `limit`: more. */
static int distance(const char *a, size_t a_length, const char *b)
{
    enum { LONG = 40 };
    int row[LONG + 1];
    size_t b_length = strlen(b);
    if (a_length > LONG || b_length > LONG)
        return LONG;
    for (size_t j = 0; j <= b_length; j++)
        row[j] = (int)j;
    for (size_t i = 1; i <= a_length; i++) {
        int diagonal = row[0];
        row[0] = (int)i;
        for (size_t j = 1; j <= b_length; j++) {
            int change = diagonal + (a[i - 1] != b[j - 1]);
            diagonal = row[j];
            row[j] = row[j] + 1 < change ? row[j] + 1 : change;
            row[j] = row[j - 1] + 1 < row[j] ? row[j - 1] + 1 : row[j];
        }
    }
    return row[b_length];
}

/* The name closest to a misspelt one, or NULL when none is close. */
static const char *closest(const char *const *names, int count, const char *name, size_t length)
{
    const char *best = NULL;
    int least = length < 6 ? 1 + (int)length / 3 : 3; /* changes that are too many */
    for (int i = 0; i < count; i++) {
        int changes = distance(name, length, names[i]);
        if (changes < least) {
            least = changes;
            best = names[i];
        }
    }
    return best;
}

/* Adds "did you mean" or the list of what there is. */
static bool hint_names(struct parser *parser, const char *what, const char *const *names, int count,
                       const char *name, size_t length)
{
    const char *best = closest(names, count, name, length);
    struct buf list = {0};
    if (best != NULL)
        return err_hint(parser->err, "did you mean '%s'?", best);
    for (int i = 0; i < count && list.length < 600; i++)
        if (strchr(names[i], '=') == NULL) /* not the labels among the symbols */
            buf_printf(&list, " %s", names[i]);
    err_hint(parser->err, "%s are%s", what, list.length == 0 ? ": none" : list.data);
    buf_free(&list);
    return false;
}

/* Arguments of words --------------------------------------------------------------------------- */

static struct scan scan_span(const struct parser *parser, struct span span)
{
    return (struct scan){parser->text, span.at + span.length, span.at, true};
}

static bool span_is(const struct parser *parser, struct span span, const char *spelling)
{
    return token_is(parser->text, (struct token){TOKEN_NAME, span.at, span.length, NULL}, spelling);
}

static char *span_text(const struct parser *parser, struct span span)
{
    return arena_text(parser->arena, parser->text + span.at, span.length);
}

/* The span without its comments, of the same length. */
static char *span_code(const struct parser *parser, struct span span)
{
    char *code = arena_alloc(parser->arena, span.length + 1);
    struct scan scan = scan_span(parser, span);
    struct token token;
    memset(code, ' ', span.length);
    while ((token = scan_next(&scan)).kind != TOKEN_END && token.kind != TOKEN_BAD)
        memcpy(code + (token.at - span.at), parser->text + token.at, token.length);
    return code;
}

static char opening(char sign) { return sign == ')' ? '(' : sign == ']' ? '[' : '{'; }

/* What ends a list of arguments that should not. */
static bool not_closed(struct parser *parser, const char *what, size_t at, struct token token)
{
    if (token.kind == TOKEN_BAD)
        return mistake(parser, token.at, "%s", token.why);
    if (token.kind == TOKEN_DIRECTIVE)
        return mistake(parser, token.at, "a preprocessor line inside %s", what);
    return mistake(parser, at, "%s is not closed", what);
}

/*
 * Cuts "( a , b )" at the scan's place into its parts, each from its first token to its last.
 * *count goes on counting beyond `room`; it is 0 for "()".
 */
static bool split(struct parser *parser, struct scan *scan, const char *what, struct span *parts,
                  int room, int *count)
{
    char nest[64];
    int depth = 0, tokens = 0;
    size_t open = scan_next(scan).at; /* '(', as the caller saw */
    struct span part = {0, 0};
    *count = 0;
    for (;;) {
        struct token token = scan_next(scan);
        char sign = token.kind == TOKEN_SIGN ? parser->text[token.at] : '\0';
        bool closes = sign == ')' || sign == ']' || sign == '}';
        bool next_word = token.kind == TOKEN_NAME && find_rule(parser, token) != NULL;
        if (next_word || token.kind == TOKEN_END || token.kind == TOKEN_BAD ||
            token.kind == TOKEN_DIRECTIVE || sign == ';')
            return not_closed(parser, what, open, token);
        if (depth == 0 && (sign == ',' || sign == ')')) {
            bool empty = tokens == 0;
            if (sign == ')' && empty && *count == 0)
                return true;
            if (empty)
                return mistake(parser, token.at, "%s has an empty part", what);
            if (*count < room)
                parts[*count] = part;
            ++*count;
            tokens = 0;
            if (sign == ')')
                return true;
            continue;
        }
        if (closes && (depth == 0 || nest[--depth] != opening(sign)))
            return mistake(parser, token.at, "'%c' closes nothing", sign);
        if (sign == '(' || sign == '[' || sign == '{') {
            if (depth == (int)sizeof nest)
                return mistake(parser, token.at, "%s nests deeper than %d levels", what, depth);
            nest[depth++] = sign;
        }
        if (tokens++ == 0)
            part.at = token.at;
        part.length = token.at + token.length - part.at;
    }
}

/* The span is "( ... )" as a whole; it is cut into its parts. */
static bool split_list(struct parser *parser, struct span span, const char *what,
                       struct span *parts, int room, int *count)
{
    struct scan scan = scan_span(parser, span);
    bool is_list = parser->text[span.at] == '(';
    if (is_list && !split(parser, &scan, what, parts, room, count))
        return false;
    if (!is_list || scan_next(&scan).kind != TOKEN_END)
        return mistake(parser, span.at, "%s is a list in parentheses", what);
    return true;
}

/* Strings side by side, as C++ joins them. */
static const char *read_doc(struct parser *parser, struct span span)
{
    char doc[DOC_BYTES_MAX + 1];
    size_t length = 0;
    struct scan scan = scan_span(parser, span);
    struct token token;
    while ((token = scan_next(&scan)).kind != TOKEN_END) {
        if (token.kind != TOKEN_STRING || parser->text[token.at] != '"') {
            mistake(parser, token.at, "expected a \"text\" that explains");
            return NULL;
        }
        for (size_t i = token.at + 1; i < token.at + token.length - 1; i++) {
            bool escaped = parser->text[i] == '\\';
            char c = parser->text[escaped ? ++i : i];
            if ((unsigned char)c < ' ' || (escaped && c != '"' && c != '\\')) {
                mistake(parser, i, "this text may escape only \\\" and \\\\, and holds no tabs");
                return NULL;
            }
            if (length == DOC_BYTES_MAX) {
                mistake(parser, span.at, "the text is longer than %d bytes", DOC_BYTES_MAX);
                return NULL;
            }
            doc[length++] = c;
        }
    }
    return arena_text(parser->arena, doc, length);
}

/* Names ---------------------------------------------------------------------------------------- */

static bool is_name(struct parser *parser, struct span span, const char *what)
{
    struct scan scan = scan_span(parser, span);
    if (scan_next(&scan).kind != TOKEN_NAME || scan_next(&scan).kind != TOKEN_END)
        return mistake(parser, span.at, "%s is one name", what);
    if (span.length > FAMILY_NAME_MAX)
        return mistake(parser, span.at, "%s is longer than %d letters", what, FAMILY_NAME_MAX);
    return true;
}

/* What a name of a template may not be, and why. */
static const char *reserved(const char *name)
{
    static const char *const words[] = {"min", "max", "ceil_div", "log2", "pow2", "true", "false"};
    for (size_t i = 0; i < sizeof words / sizeof words[0]; i++)
        if (strcmp(words[i], name) == 0)
            return "is a word of expressions";
    for (int i = 0; i < LAUNCH_VARIABLES; i++)
        if (strcmp(launch_variable_names[i], name) == 0)
            return "is a launch variable";
    return strstr(name, "EVO_") != NULL ? "holds EVO_, which is for the words" : NULL;
}

/* Notes a name, refusing one that is taken. `choice`: the name is a label of it. */
static const char *declare(struct parser *parser, struct span span, const char *what,
                           const char *choice)
{
    if (!is_name(parser, span, what))
        return NULL;
    const char *name = span_text(parser, span), *why = reserved(name);
    if (why != NULL) {
        mistake(parser, span.at, "'%s' %s", name, why);
        return NULL;
    }
    for (int i = 0; i < parser->declared_count; i++) {
        const struct declared *old = &parser->declared[i];
        bool both_labels = choice != NULL && old->choice != NULL; /* choices may share a type */
        if (strcmp(old->name, name) != 0 || (both_labels && strcmp(old->choice, choice) != 0))
            continue;
        mistake(parser, span.at, "'%s' is declared twice", name);
        err_hint(parser->err, "line %d declares it first%s%s", old->line,
                 old->choice == NULL ? "" : ", as a label of ",
                 old->choice == NULL ? "" : old->choice);
        return NULL;
    }
    int line, column;
    scan_place(parser->text, span.at, &line, &column);
    assert(parser->declared_count < DECLARED_MAX); /* each kind of name has its own, lower limit */
    parser->declared[parser->declared_count++] = (struct declared){name, choice, line};
    return name;
}

static int add_symbol(struct parser *parser, const char *name)
{
    symbols_add(parser->launch_symbols, name);
    return symbols_add(parser->symbols, name);
}

/* Why a name is not among `symbols`, better than "unknown". */
static bool explain_name(struct parser *parser, size_t at, const struct symbols *symbols)
{
    struct scan scan = {parser->text, parser->scan.length, at, true};
    struct token token = scan_next(&scan);
    if (token.kind != TOKEN_NAME || token_is(parser->text, token, "EVO_IS") ||
        token_is(parser->text, scan_next(&scan), "(") || token.length > FAMILY_NAME_MAX ||
        symbols_find(symbols, parser->text + token.at, token.length) >= 0)
        return false;
    char *name = span_text(parser, (struct span){token.at, token.length});
    int gene = family_gene(parser->family, name);
    if (gene >= 0) {
        mistake(parser, at, "'%s' is a choice, not a number", name);
        return err_hint(parser->err, "EVO_IS(%s, %s) is 1 when it fell on that label", name,
                        parser->family->genes[gene].labels[0]);
    }
    if (symbols_find(parser->launch_symbols, name, token.length) >= 0) {
        mistake(parser, at, "'%s' is known only at the launch", name);
        return err_hint(parser->err, "EVO_SUPPORTS, EVO_WORKSPACE and EVO_LAUNCH may read it");
    }
    for (int i = 0; i < GIVEN_COUNT; i++) {
        if (strcmp(given_names[i], name) == 0)
            return err_hint(parser->err, "declare it first: EVO_GIVEN(%s, \"...\")", name);
    }
    return hint_names(parser, "the names declared above it", symbols->names, symbols->count, name,
                      token.length);
}

static struct expr *read_expr(struct parser *parser, struct span span,
                              const struct symbols *symbols)
{
    struct expr *expr;
    size_t at = 0;
    int line, column;
    if (expr_parse(parser->arena, span_code(parser, span), span.length, symbols, &expr, &at,
                   parser->err))
        return expr;
    scan_place(parser->text, span.at + at, &line, &column);
    err_in(parser->err, "%s:%d:%d", parser->family->path, line, column);
    explain_name(parser, span.at + at, symbols);
    return NULL;
}

static const char *read_launch_expr(struct parser *parser, struct span span)
{
    struct expr *expr = read_expr(parser, span, parser->launch_symbols);
    return expr == NULL ? NULL : expr_text(expr);
}

/* The words ------------------------------------------------------------------------------------ */

static bool read_given(struct parser *parser, const struct word *word)
{
    const char *name = declare(parser, word->args[0], "a given", NULL);
    if (name == NULL || read_doc(parser, word->args[1]) == NULL)
        return false;
    for (int i = 0; i < GIVEN_COUNT; i++) {
        if (strcmp(given_names[i], name) == 0) {
            parser->family->given_slots[i] = add_symbol(parser, name);
            return true;
        }
    }
    mistake(parser, word->args[0].at, "nothing gives '%s'", name);
    return hint_names(parser, "the givens", given_names, GIVEN_COUNT, name, strlen(name));
}

/* A constant of a domain. It becomes an int of the kernel. */
static bool read_constant(struct parser *parser, struct span span, int64_t *value)
{
    struct symbols none = {parser->arena, NULL, 0, 0};
    struct expr *expr = read_expr(parser, span, &none);
    struct err why;
    if (expr == NULL)
        return false;
    if (!expr_eval(expr, NULL, value, &why))
        return mistake(parser, span.at, "%s", why.what);
    if (*value < INT32_MIN || *value > INT32_MAX)
        return mistake(parser, span.at, "%lld does not fit an int", (long long)*value);
    return true;
}

struct domain {
    int64_t values[GENE_VALUES_MAX];
    int64_t count; /* beyond GENE_VALUES_MAX: too many, the rest not kept */
};

static void domain_add(struct domain *domain, int64_t value)
{
    if (domain->count < GENE_VALUES_MAX)
        domain->values[domain->count] = value;
    domain->count++;
}

static bool domain_range(struct parser *parser, const struct span *parts, const int64_t *args,
                         int count, struct domain *domain)
{
    int64_t step = count == 3 ? args[2] : 1;
    if (step <= 0)
        return mistake(parser, parts[2].at, "the step of a range is above 0");
    for (int64_t value = args[0]; value <= args[1] && domain->count <= GENE_VALUES_MAX;
         value += step)
        domain_add(domain, value);
    return true;
}

static bool domain_pow2(struct parser *parser, const struct span *parts, const int64_t *args,
                        int count, struct domain *domain)
{
    for (int i = 0; i < count; i++)
        if (args[i] <= 0 || (args[i] & (args[i] - 1)) != 0)
            return mistake(parser, parts[i].at, "%lld is not a power of two", (long long)args[i]);
    for (int64_t value = args[0]; value <= args[1]; value *= 2)
        domain_add(domain, value);
    return true;
}

static bool domain_set(struct parser *parser, const struct span *parts, const int64_t *args,
                       int count, struct domain *domain)
{
    for (int i = 0; i < count; i++) {
        if (i > 0 && args[i] <= args[i - 1])
            return mistake(parser, parts[i].at, "the values of a set ascend: %lld after %lld",
                           (long long)args[i], (long long)args[i - 1]);
        domain_add(domain, args[i]);
    }
    return true;
}

static const struct domain_rule {
    const char *name, *usage;
    int args_min, args_max;
    bool (*fill)(struct parser *parser, const struct span *parts, const int64_t *args, int count,
                 struct domain *domain);
} domain_table[] = {
    {"range", "range(lo, hi, step)", 2, 3, domain_range},
    {"pow2", "pow2(lo, hi)", 2, 2, domain_pow2},
    {"set", "set(a, b, ...)", 0, GENE_VALUES_MAX, domain_set},
};

/* The domain's arguments, behind its name. */
static bool fill_domain(struct parser *parser, const struct domain_rule *rule, struct scan *scan,
                        size_t at, struct domain *domain)
{
    struct span parts[GENE_VALUES_MAX] = {{0, 0}};
    int64_t args[GENE_VALUES_MAX];
    int count = 0;
    bool list = token_is(parser->text, scan_peek(scan), "(");
    if (list && !split(parser, scan, "a domain", parts, GENE_VALUES_MAX, &count))
        return false;
    domain->count = count;
    if (count > GENE_VALUES_MAX)
        return true; /* too many to look at; the caller says so */
    if (!list || scan_next(scan).kind != TOKEN_END || count < rule->args_min ||
        count > rule->args_max)
        return mistake(parser, at, "'%s' is written %s", rule->name, rule->usage);
    for (int i = 0; i < count; i++)
        if (!read_constant(parser, parts[i], &args[i]))
            return false;
    domain->count = 0;
    return rule->fill(parser, parts, args, count, domain);
}

static bool read_domain(struct parser *parser, struct span span, struct gene *gene)
{
    static const char *const names[] = {"range", "pow2", "set", "flag"};
    struct scan scan = scan_span(parser, span);
    struct token token = scan_next(&scan);
    struct domain domain = {.count = 0};
    bool known = false;
    if (token_is(parser->text, token, "flag") && scan_peek(&scan).kind == TOKEN_END) {
        domain_add(&domain, 0);
        domain_add(&domain, 1);
        known = true;
    }
    for (size_t i = 0; i < sizeof domain_table / sizeof domain_table[0] && !known; i++) {
        known = token_is(parser->text, token, domain_table[i].name);
        if (known && !fill_domain(parser, &domain_table[i], &scan, span.at, &domain))
            return false;
    }
    if (!known) {
        mistake(parser, span.at, "'%.*s' is no domain", token.length > 64 ? 64 : (int)token.length,
                parser->text + token.at);
        return hint_names(parser, "the domains", names, 4, parser->text + token.at, token.length);
    }
    if (domain.count == 0)
        return mistake(parser, span.at, "the domain is empty");
    if (domain.count > GENE_VALUES_MAX)
        return mistake(parser, span.at, "the domain has more than %d values", GENE_VALUES_MAX);
    gene->count = (int)domain.count;
    gene->values = arena_copy(parser->arena, domain.values, (size_t)domain.count * sizeof(int64_t));
    return true;
}

/* The next gene's place, not yet counted, or NULL when there are too many. */
static struct gene *new_gene(struct parser *parser, const struct word *word)
{
    struct family *family = parser->family;
    if (family->gene_count == GENES_MAX) {
        mistake(parser, word->at, "more than %d genes", GENES_MAX);
        return NULL;
    }
    struct gene *gene = &family->genes[family->gene_count];
    gene->line = word->line;
    return gene;
}

/* Indices as values, and every value declared where it stands. */
static void count_gene(struct arena *arena, struct family *family, int slot)
{
    struct gene *gene = &family->genes[family->gene_count];
    uint8_t declared[GENE_VALUES_MAX];
    int64_t indices[GENE_VALUES_MAX];
    for (int i = 0; i < gene->count; i++) {
        declared[i] = (uint8_t)i;
        indices[i] = i;
    }
    if (gene->kind == GENE_CHOICE)
        gene->values = arena_copy(arena, indices, (size_t)gene->count * sizeof indices[0]);
    family->declared[family->gene_count] = arena_copy(arena, declared, (size_t)gene->count);
    family->gene_slots[family->gene_count++] = slot;
}

static bool read_gene(struct parser *parser, const struct word *word)
{
    struct gene *gene = new_gene(parser, word);
    if (gene == NULL || (gene->name = declare(parser, word->args[0], "a gene", NULL)) == NULL ||
        !read_domain(parser, word->args[1], gene) ||
        (gene->doc = read_doc(parser, word->args[2])) == NULL)
        return false;
    gene->kind = GENE_NUMBER;
    count_gene(parser->arena, parser->family, add_symbol(parser, gene->name));
    return true;
}

static bool read_choice(struct parser *parser, const struct word *word)
{
    struct gene *gene = new_gene(parser, word);
    struct span parts[FAMILY_LABELS_MAX];
    const char *labels[FAMILY_LABELS_MAX];
    int count;
    if (gene == NULL || (gene->name = declare(parser, word->args[0], "a choice", NULL)) == NULL ||
        !split_list(parser, word->args[1], "the labels of a choice", parts, FAMILY_LABELS_MAX,
                    &count))
        return false;
    if (count == 0 || count > FAMILY_LABELS_MAX)
        return mistake(parser, word->args[1].at, "a choice has 1 to %d labels, not %d",
                       FAMILY_LABELS_MAX, count);
    for (int i = 0; i < count; i++)
        if ((labels[i] = declare(parser, parts[i], "a label", gene->name)) == NULL)
            return false;
    if ((gene->doc = read_doc(parser, word->args[2])) == NULL)
        return false;
    gene->kind = GENE_CHOICE;
    gene->count = count;
    gene->labels = arena_copy(parser->arena, labels, (size_t)count * sizeof labels[0]);
    int slot = add_symbol(parser, arena_printf(parser->arena, "%s=", gene->name));
    for (int i = 0; i < count; i++)
        add_symbol(parser, arena_printf(parser->arena, "%s=%s", gene->name, labels[i]));
    count_gene(parser->arena, parser->family, slot);
    return true;
}

static bool read_let(struct parser *parser, const struct word *word)
{
    struct family *family = parser->family;
    struct let *let = &family->lets[family->let_count];
    if (family->let_count == FAMILY_LETS_MAX)
        return mistake(parser, word->at, "more than %d derived values", FAMILY_LETS_MAX);
    if ((let->expr = read_expr(parser, word->args[1], parser->symbols)) == NULL ||
        (let->name = declare(parser, word->args[0], "a derived value", NULL)) == NULL ||
        (let->doc = read_doc(parser, word->args[2])) == NULL)
        return false;
    let->line = word->line;
    let->slot = add_symbol(parser, let->name);
    family->let_count++;
    return true;
}

static bool read_require(struct parser *parser, const struct word *word)
{
    struct family *family = parser->family;
    struct requirement *require = &family->requires[family->require_count];
    if (family->require_count == FAMILY_REQUIRES_MAX)
        return mistake(parser, word->at, "more than %d requirements", FAMILY_REQUIRES_MAX);
    if ((require->expr = read_expr(parser, word->args[0], parser->symbols)) == NULL ||
        (require->doc = read_doc(parser, word->args[1])) == NULL)
        return false;
    require->line = word->line;
    family->require_count++;
    return true;
}

static bool read_supports(struct parser *parser, const struct word *word)
{
    struct program *program = &parser->family->program;
    struct program_supports *supports = &program->supports[program->supports_count];
    if (program->supports_count == PROGRAM_SUPPORTS_MAX)
        return mistake(parser, word->at, "more than %d EVO_SUPPORTS", PROGRAM_SUPPORTS_MAX);
    if ((supports->condition = read_launch_expr(parser, word->args[0])) == NULL ||
        (supports->doc = read_doc(parser, word->args[1])) == NULL)
        return false;
    program->supports_count++;
    return true;
}

static bool read_numerics(struct parser *parser, const struct word *word)
{
    if (parser->family->numerics != NULL)
        return mistake(parser, word->at, "EVO_NUMERICS stands twice");
    parser->family->numerics = read_expr(parser, word->args[0], parser->symbols);
    return parser->family->numerics != NULL;
}

static const char *const argument_names[] = {"Q", "K", "V", "O", "LSE", "problem"};
enum { ARGUMENTS = sizeof argument_names / sizeof argument_names[0] };

/* Says so when the name to be declared is an argument of the problem's. */
static bool is_argument(struct parser *parser, struct span span)
{
    for (int i = 0; i < ARGUMENTS; i++)
        if (span_is(parser, span, argument_names[i])) {
            mistake(parser, span.at, "'%s' is an argument already", argument_names[i]);
            return true;
        }
    return false;
}

static bool read_workspace(struct parser *parser, const struct word *word)
{
    static const char *const kinds[] = {[WORKSPACE_POISON] = "poison",
                                        [WORKSPACE_ZERO_CALL] = "zero_call",
                                        [WORKSPACE_ZERO_ONCE] = "zero_once"};
    struct program *program = &parser->family->program;
    struct program_workspace *workspace = &program->workspaces[program->workspace_count];
    if (program->workspace_count == PROGRAM_WORKSPACES_MAX)
        return mistake(parser, word->at, "more than %d workspaces", PROGRAM_WORKSPACES_MAX);
    if (is_argument(parser, word->args[0]))
        return false;
    int kind = 0;
    while (kind < 3 && !span_is(parser, word->args[2], kinds[kind]))
        kind++;
    if (kind == 3) {
        mistake(parser, word->args[2].at, "'%s' is no kind of workspace",
                span_text(parser, word->args[2]));
        return hint_names(parser, "the kinds", kinds, 3, parser->text + word->args[2].at,
                          word->args[2].length);
    }
    workspace->kind = (enum workspace_kind)kind;
    if ((workspace->name = declare(parser, word->args[0], "a workspace", NULL)) == NULL ||
        (workspace->bytes = read_launch_expr(parser, word->args[1])) == NULL ||
        read_doc(parser, word->args[3]) == NULL)
        return false;
    program->workspace_count++;
    return true;
}

static bool read_map_tensor(struct parser *parser, struct span span, enum map_tensor *tensor)
{
    for (int i = 0; i < MAP_TENSORS; i++) {
        if (span_is(parser, span, map_tensor_names[i])) {
            *tensor = (enum map_tensor)i;
            return true;
        }
    }
    mistake(parser, span.at, "'%s' cannot be mapped", span_text(parser, span));
    return hint_names(parser, "the tensors", map_tensor_names, MAP_TENSORS, parser->text + span.at,
                      span.length);
}

/* An expression over the constants, which the judge evaluates. */
static const char *read_map_expr(struct parser *parser, struct span span)
{
    struct expr *expr = read_expr(parser, span, parser->symbols);
    return expr == NULL ? NULL : expr_text(expr);
}

/*
 * A requirement that a word brings along, once, unless it holds for every genome. Its text names
 * what is declared, so the only mistake left is to be too long.
 */
static bool imply(struct parser *parser, const struct word *word, const char *text, const char *doc)
{
    struct family *family = parser->family;
    struct symbols none = {parser->arena, NULL, 0, 0};
    struct expr *expr;
    struct err err;
    int64_t holds;
    if (expr_parse(parser->arena, text, strlen(text), &none, &expr, NULL, &err) &&
        expr_eval(expr, NULL, &holds, &err))
        return holds || mistake(parser, word->at, "%s: %s is false", doc, text);
    if (!expr_parse(parser->arena, text, strlen(text), parser->symbols, &expr, NULL, &err))
        return mistake(parser, word->at, "%s: %s", doc, err.what);
    for (int i = 0; i < family->require_count; i++)
        if (strcmp(expr_text(family->requires[i].expr), expr_text(expr)) == 0)
            return true;
    if (family->require_count == FAMILY_REQUIRES_MAX)
        return mistake(parser, word->at, "more than %d requirements", FAMILY_REQUIRES_MAX);
    family->requires[family->require_count++] = (struct requirement){expr, doc, word->line};
    return true;
}

/* The text as an operand: in parentheses, unless it is a name or a number. */
static const char *operand(struct parser *parser, const char *text)
{
    struct scan scan = {text, strlen(text), 0, true};
    scan_next(&scan);
    return scan_peek(&scan).kind == TOKEN_END ? text : arena_printf(parser->arena, "(%s)", text);
}

/* What the hardware takes for a box. plan_resolve asks the same, but of what was rendered. */
static bool imply_box(struct parser *parser, const struct word *word,
                      const struct program_map *map)
{
    struct arena *arena = parser->arena;
    const char *c = operand(parser, map->columns), *r = operand(parser, map->rows),
               *s = operand(parser, map->swizzle);
    return imply(parser, word,
                 arena_printf(arena, "%s >= 8 && %s <= 256 && %s %% 8 == 0", c, c, c),
                 "a tensor map's box has 8 to 256 columns, a multiple of 8") &&
           imply(parser, word, arena_printf(arena, "%s >= 1 && %s <= 256", r, r),
                 "a tensor map's box has 1 to 256 rows") &&
           imply(parser, word,
                 arena_printf(arena, "%s == 0 || %s == 32 || %s == 64 || %s == 128", s, s, s, s),
                 "a tensor map's swizzle is 0, 32, 64 or 128 bytes") &&
           imply(parser, word, arena_printf(arena, "%s == 0 || 2 * %s <= %s", s, c, s),
                 "a row of a tensor map's box fits its swizzle");
}

static bool read_tensor_map(struct parser *parser, const struct word *word)
{
    struct program *program = &parser->family->program;
    struct program_map *map = &program->maps[program->map_count];
    struct span box[2];
    int count;
    if (program->map_count == PROGRAM_MAPS_MAX)
        return mistake(parser, word->at, "more than %d tensor maps", PROGRAM_MAPS_MAX);
    if (is_argument(parser, word->args[0]) ||
        !read_map_tensor(parser, word->args[1], &map->tensor) ||
        !split_list(parser, word->args[2], "the box", box, 2, &count))
        return false;
    if (count != 2)
        return mistake(parser, word->args[2].at, "the box has columns and rows, not %d part%s",
                       count, count == 1 ? "" : "s");
    if ((map->columns = read_map_expr(parser, box[0])) == NULL ||
        (map->rows = read_map_expr(parser, box[1])) == NULL ||
        (map->swizzle = read_map_expr(parser, word->args[3])) == NULL ||
        (map->name = declare(parser, word->args[0], "a tensor map", NULL)) == NULL ||
        (parser->family->map_docs[program->map_count] = read_doc(parser, word->args[4])) == NULL)
        return false;
    program->map_count++;
    return imply_box(parser, word, map);
}

static bool read_argument(struct parser *parser, struct span span, const char **argument)
{
    const char *names[ARGUMENTS + PROGRAM_WORKSPACES_MAX + PROGRAM_MAPS_MAX];
    const struct program *program = &parser->family->program;
    int count = 0;
    for (int i = 0; i < ARGUMENTS; i++)
        names[count++] = argument_names[i];
    for (int i = 0; i < program->workspace_count; i++)
        names[count++] = program->workspaces[i].name;
    for (int i = 0; i < program->map_count; i++)
        names[count++] = program->maps[i].name;
    for (int i = 0; i < count; i++) {
        if (span_is(parser, span, names[i])) {
            *argument = names[i];
            return true;
        }
    }
    mistake(parser, span.at, "unknown argument '%.*s'", span.length > 64 ? 64 : (int)span.length,
            parser->text + span.at);
    return hint_names(parser, "the arguments", names, count, parser->text + span.at, span.length);
}

static bool read_grid(struct parser *parser, struct span span, struct program_kernel *kernel)
{
    struct span parts[3];
    int count;
    if (!split_list(parser, span, "the grid", parts, 3, &count))
        return false;
    if (count < 1 || count > 3)
        return mistake(parser, span.at, "the grid has 1 to 3 dimensions, not %d", count);
    for (int i = 0; i < 3; i++) {
        kernel->grid[i] = i < count ? read_launch_expr(parser, parts[i]) : "1";
        if (kernel->grid[i] == NULL)
            return false;
    }
    return true;
}

static bool read_launch(struct parser *parser, const struct word *word)
{
    struct program *program = &parser->family->program;
    struct program_kernel *kernel = &program->kernels[program->kernel_count];
    struct span args[PROGRAM_ARGS_MAX];
    if (program->kernel_count == PROGRAM_KERNELS_MAX)
        return mistake(parser, word->at, "more than %d launches", PROGRAM_KERNELS_MAX);
    if (!is_name(parser, word->args[0], "a kernel") || !read_grid(parser, word->args[1], kernel) ||
        (kernel->threads = read_launch_expr(parser, word->args[2])) == NULL ||
        (kernel->smem = read_launch_expr(parser, word->args[3])) == NULL ||
        !split_list(parser, word->args[4], "the arguments", args, PROGRAM_ARGS_MAX,
                    &kernel->arg_count))
        return false;
    if (kernel->arg_count > PROGRAM_ARGS_MAX)
        return mistake(parser, word->args[4].at, "more than %d arguments", PROGRAM_ARGS_MAX);
    for (int i = 0; i < kernel->arg_count; i++)
        if (!read_argument(parser, args[i], &kernel->args[i]))
            return false;
    kernel->name = span_text(parser, word->args[0]);
    parser->launch_at[program->kernel_count++] = word->args[0].at;
    return true;
}

static const struct rule word_table[] = {
    {"EVO_GIVEN", "EVO_GIVEN(NAME, \"doc\")", 2, read_given},
    {"EVO_GENE", "EVO_GENE(NAME, domain, \"doc\")", 3, read_gene},
    {"EVO_CHOICE", "EVO_CHOICE(Name, (label, ...), \"doc\")", 3, read_choice},
    {"EVO_LET", "EVO_LET(NAME, expression, \"doc\")", 3, read_let},
    {"EVO_REQUIRE", "EVO_REQUIRE(expression, \"doc\")", 2, read_require},
    {"EVO_SUPPORTS", "EVO_SUPPORTS(expression, \"doc\")", 2, read_supports},
    {"EVO_NUMERICS", "EVO_NUMERICS(expression)", 1, read_numerics},
    {"EVO_WORKSPACE", "EVO_WORKSPACE(name, bytes, kind, \"doc\")", 4, read_workspace},
    {"EVO_TENSOR_MAP", "EVO_TENSOR_MAP(name, tensor, (columns, rows), swizzle, \"doc\")", 5,
     read_tensor_map},
    {"EVO_LAUNCH", "EVO_LAUNCH(kernel, (x, y, z), threads, smem_bytes, (argument, ...))", 5,
     read_launch},
};
enum { WORDS = sizeof word_table / sizeof word_table[0] };

/* The text as a whole -------------------------------------------------------------------------- */

static bool is_word(const struct parser *parser, struct token token)
{
    return token.kind == TOKEN_NAME && token.length > 4 &&
           memcmp(parser->text + token.at, "EVO_", 4) == 0;
}

static const struct rule *find_rule(const struct parser *parser, struct token token)
{
    for (int i = 0; i < WORDS; i++)
        if (token_is(parser->text, token, word_table[i].name))
            return &word_table[i];
    return NULL;
}

/* Whether a word may stand where it stands. */
static bool check_place(struct parser *parser, struct token token, const struct rule *rule,
                        int depth)
{
    if (depth > 0)
        return mistake(parser, token.at,
                       "%s stands inside braces or parentheses; words stand at "
                       "file scope",
                       rule->name);
    if (parser->conditions > 0)
        return mistake(parser, token.at,
                       "%s stands under an #if, which the engine does not evaluate", rule->name);
    if (!parser->includes_words)
        return mistake(parser, token.at, "%s stands above #include \"evo.cuh\"", rule->name);
    if (parser->family->program.kernel_count > 0 && rule->read != read_launch)
        return mistake(parser, token.at,
                       "%s stands below an EVO_LAUNCH; launches are the last "
                       "words",
                       rule->name);
    return true;
}

static bool read_word(struct parser *parser, struct token token, const struct rule *rule)
{
    struct word word = {.rule = rule, .at = token.at};
    int column;
    scan_place(parser->text, token.at, &word.line, &column);
    if (!token_is(parser->text, scan_peek(&parser->scan), "("))
        return mistake(parser, token.at, "%s is written %s", rule->name, rule->usage);
    if (!split(parser, &parser->scan, rule->name, word.args, WORD_ARGS_MAX, &word.arg_count))
        return false;
    if (word.arg_count != rule->args) {
        mistake(parser, token.at, "%s takes %d argument%s, not %d", rule->name, rule->args,
                rule->args == 1 ? "" : "s", word.arg_count);
        return err_hint(parser->err, "it is written %s", rule->usage);
    }
    return rule->read(parser, &word);
}

/* EVO_IS in code: a label that its choice does not have would silently be 0. */
static bool check_is(struct parser *parser)
{
    struct scan ahead = parser->scan;
    struct span parts[2];
    int count;
    if (!token_is(parser->text, scan_peek(&ahead), "("))
        return true;
    if (!split(parser, &ahead, "EVO_IS", parts, 2, &count))
        return false;
    char *name = count == 2 ? span_text(parser, parts[0]) : NULL;
    int gene = name == NULL ? -1 : family_gene(parser->family, name);
    if (gene < 0 || parser->family->genes[gene].kind != GENE_CHOICE)
        return true; /* another type: the compiler's business */
    const struct gene *choice = &parser->family->genes[gene];
    for (int i = 0; i < choice->count; i++)
        if (span_is(parser, parts[1], choice->labels[i]))
            return true;
    mistake(parser, parts[1].at, "'%s' has no label '%s'", name, span_text(parser, parts[1]));
    return hint_names(parser, "its labels", choice->labels, choice->count,
                      parser->text + parts[1].at, parts[1].length);
}

static bool read_directive(struct parser *parser, struct token token)
{
    size_t at, length;
    struct token word = directive_word(parser->text, token);
    if (directive_include(parser->text, token, &at, &length) &&
        span_is(parser, (struct span){at, length}, "evo.cuh"))
        parser->includes_words = true;
    if (token_is(parser->text, word, "if") || token_is(parser->text, word, "ifdef") ||
        token_is(parser->text, word, "ifndef"))
        parser->conditions++;
    if (token_is(parser->text, word, "endif"))
        parser->conditions--;
    return parser->conditions >= 0 || mistake(parser, token.at, "#endif without #if");
}

static bool read_evo_name(struct parser *parser, struct token token, int depth)
{
    const struct rule *rule = find_rule(parser, token);
    const char *names[WORDS];
    if (rule != NULL)
        return check_place(parser, token, rule, depth) && read_word(parser, token, rule);
    if (token_is(parser->text, token, "EVO_IS"))
        return check_is(parser);
    if (depth > 0 || !token_is(parser->text, scan_peek(&parser->scan), "("))
        return true; /* a macro in code: the compiler's business */
    for (int i = 0; i < WORDS; i++)
        names[i] = word_table[i].name;
    mistake(parser, token.at, "unknown word '%.*s'", token.length > 64 ? 64 : (int)token.length,
            parser->text + token.at);
    return hint_names(parser, "the words", names, WORDS, parser->text + token.at, token.length);
}

/* What is known of the declaration being read, for finding kernels in it. */
struct statement {
    bool external, c_linkage, global;
    struct span name; /* of the last "name(" */
};

static void note_kernel(struct parser *parser, const struct statement *statement)
{
    if (statement->global && statement->name.length > 0 && parser->kernel_count < KERNELS_SEEN_MAX)
        parser->kernels[parser->kernel_count++] =
            (struct kernel_seen){statement->name, statement->c_linkage || parser->c_block};
}

static void note_name(struct parser *parser, struct token token, struct statement *statement)
{
    if (token_is(parser->text, token, "extern"))
        statement->external = true;
    else if (token_is(parser->text, token, "__global__"))
        statement->global = true;
    else if (token_is(parser->text, scan_peek(&parser->scan), "("))
        statement->name = (struct span){token.at, token.length};
}

/* Reads words and notes kernels up to the end of the text. */
static bool read_text(struct parser *parser)
{
    struct statement statement = {0};
    int braces = 0, parens = 0;
    for (;;) {
        struct token token = scan_next(&parser->scan);
        char sign = token.kind == TOKEN_SIGN ? parser->text[token.at] : '\0';
        if (token.kind == TOKEN_END)
            return true;
        if (token.kind == TOKEN_BAD)
            return mistake(parser, token.at, "%s", token.why);
        if (token.kind == TOKEN_DIRECTIVE && !read_directive(parser, token))
            return false;
        if (is_word(parser, token) && !read_evo_name(parser, token, braces + parens))
            return false;
        if (token.kind == TOKEN_NAME && parens == 0)
            note_name(parser, token, &statement);
        if (token_is(parser->text, token, "\"C\"") && statement.external)
            statement.c_linkage = true;
        if ((sign == '{' || sign == ';') && parens == 0) {
            note_kernel(parser, &statement);
            if (sign == '{' && statement.c_linkage && statement.name.length == 0)
                parser->c_block = true;
            statement = (struct statement){0};
        }
        parens += (sign == '(') - (sign == ')' && parens > 0);
        braces += (sign == '{') - (sign == '}' && braces > 0);
    }
}

/* Launches and kernels fit each other, as far as this file shows the kernels. */
static bool check_kernel(struct parser *parser, int launch)
{
    const struct program_kernel *kernel = &parser->family->program.kernels[launch];
    const char *names[KERNELS_SEEN_MAX];
    bool seen = false;
    for (int i = 0; i < parser->kernel_count; i++) {
        names[i] = span_text(parser, parser->kernels[i].name);
        bool same = strcmp(names[i], kernel->name) == 0;
        if (same && parser->kernels[i].c_linkage)
            return true;
        seen = seen || same;
    }
    if (seen)
        return mistake(parser, parser->launch_at[launch],
                       "kernel '%s' is not declared extern \"C\"", kernel->name);
    if (parser->kernel_count == 0 || parser->kernel_count == KERNELS_SEEN_MAX)
        return true; /* they stand in an include, perhaps: compiling will tell */
    mistake(parser, parser->launch_at[launch], "there is no kernel '%s'", kernel->name);
    return hint_names(parser, "the kernels", names, parser->kernel_count, kernel->name,
                      strlen(kernel->name));
}

/* The output itself, or a tensor map of it. */
static bool is_output(const struct program *program, const char *argument)
{
    for (int i = 0; i < program->map_count; i++)
        if (strcmp(program->maps[i].name, argument) == 0)
            return program->maps[i].tensor == MAP_O;
    return strcmp(argument, "O") == 0;
}

static bool check_whole(struct parser *parser)
{
    const struct program *program = &parser->family->program;
    bool output = false;
    if (program->kernel_count == 0) {
        mistake(parser, parser->scan.length, "the template has no EVO_LAUNCH");
        return err_hint(parser->err, "it is written %s", word_table[WORDS - 1].usage);
    }
    for (int i = 0; i < program->kernel_count; i++) {
        if (!check_kernel(parser, i))
            return false;
        for (int j = 0; j < program->kernels[i].arg_count; j++)
            output = output || is_output(program, program->kernels[i].args[j]);
    }
    return output || mistake(parser, parser->launch_at[0], "no launch is given O to write to");
}

/* The first sentence of the comment the text begins with, without the "name -- " it may open with.
 */
static const char *read_title(struct arena *arena, const char *text, size_t length)
{
    struct scan scan = {text, length, 0, false};
    size_t end = scan_peek(&scan).at, at = 0; /* the comments in front of the first token */
    struct buf title = {0};
    bool margin = true; /* only blanks and the comment's ornament so far on this line */
    for (; at < end && title.length < DOC_BYTES_MAX; at++) {
        char c = text[at];
        bool ornament = c == '/' || c == '*';
        if (c == '\n' && margin && title.length > 0)
            break; /* an empty line */
        if (c == '.' && (at + 1 == end || strchr(" \r\n*", text[at + 1]) != NULL))
            break;
        if (!margin && c == '*' && at + 1 < end && text[at + 1] == '/')
            break;
        if ((unsigned char)c <= ' ') {
            if (title.length > 0 && title.data[title.length - 1] != ' ')
                buf_puts(&title, " ");
        } else if (!margin || !ornament) {
            buf_add(&title, &c, 1);
        }
        margin = c == '\n' || (margin && ((unsigned char)c <= ' ' || ornament));
    }
    while (title.length > 0 && title.data[title.length - 1] == ' ')
        title.data[--title.length] = '\0';
    const char *start = title.data == NULL ? "" : title.data;
    const char *dashes = strstr(start, " -- ");
    const char *kept = arena_dup(arena, dashes == NULL ? start : dashes + 4);
    buf_free(&title);
    return kept;
}

static struct family *new_family(struct arena *arena, const char *name, const char *path)
{
    struct family *family = arena_alloc(arena, sizeof *family);
    family->name = arena_dup(arena, name);
    family->path = arena_dup(arena, path);
    family->symbols = symbols_new(arena);
    for (int i = 0; i < GIVEN_COUNT; i++)
        family->given_slots[i] = -1;
    return family;
}

bool family_parse(struct arena *arena, const char *name, const char *path, const char *text,
                  size_t length, struct family **family, struct err *err)
{
    if (length > FAMILY_BYTES_MAX)
        return err_set(err, ERR_USER, "%s: the template is longer than %d bytes", path,
                       FAMILY_BYTES_MAX);
    struct parser *parser = xcalloc(1, sizeof *parser);
    parser->arena = arena;
    parser->family = new_family(arena, name, path);
    parser->family->text = parser->text = arena_text(arena, text, length);
    parser->family->text_bytes = length;
    parser->family->title = read_title(arena, parser->text, length);
    parser->scan = (struct scan){parser->text, length, 0, false};
    parser->err = err;
    parser->symbols = parser->family->symbols;
    parser->launch_symbols = symbols_new(arena);
    for (int i = 0; i < LAUNCH_VARIABLES; i++)
        symbols_add(parser->launch_symbols, launch_variable_names[i]);
    const char *nul = memchr(parser->text, '\0', length);
    bool ok =
        nul == NULL || mistake(parser, (size_t)(nul - parser->text), "a NUL byte in the template");
    ok = ok && read_text(parser) && check_whole(parser);
    if (ok)
        *family = parser->family;
    free(parser);
    return ok;
}

/* Other ways to a family ----------------------------------------------------------------------- */

static bool ascends(const int64_t *values, int count)
{
    for (int i = 1; i < count; i++)
        if (values[i] <= values[i - 1])
            return false;
    return true;
}

static const char name_bytes[] =
    "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz_0123456789";

/* The words of a constraint as other people's languages have them, in ours. */
static char *translated(struct arena *arena, const char *text)
{
    static const struct {
        const char *word, *sign;
    } words[] = {{"and", "&&"}, {"or", "||"}, {"not", "!"}, {"//", "/"},
                 {"True", "true"}, {"False", "false"}};
    const size_t words_count = sizeof words / sizeof *words;
    struct buf out = {0};
    while (*text != '\0') {
        size_t length = strspn(text, name_bytes);
        if (length == 0)
            length = text[0] == '/' && text[1] == '/' ? 2 : 1;
        size_t at = 0;
        while (at < words_count && !(strlen(words[at].word) == length &&
                                      memcmp(words[at].word, text, length) == 0))
            at++;
        if (at < words_count)
            buf_puts(&out, words[at].sign);
        else
            buf_add(&out, text, length);
        text += length;
    }
    char *translated = arena_text(arena, out.data == NULL ? "" : out.data, out.length);
    buf_free(&out);
    return translated;
}

/* What a recording says of its rows becomes requirements, for those who want to know what was
   required; what cannot be read is left out, because the rows alone decide. */
static void read_constraints(struct arena *arena, struct family *family)
{
    const struct space *space = family->space;
    for (int i = 0; i < space->const_count; i++)
        symbols_add(family->symbols,
                    arena_text(arena, space->consts[i], strcspn(space->consts[i], " ")));
    for (int i = 0; i < space->constraint_count; i++) {
        const char *text = translated(arena, space->constraints[i]);
        struct expr *expr;
        if (family->require_count < FAMILY_REQUIRES_MAX &&
            expr_parse(arena, text, strlen(text), family->symbols, &expr, NULL, &(struct err){0}))
            family->requires[family->require_count++] =
                (struct requirement){expr, "a constraint of the recording", 0};
    }
}

bool family_of_space(struct arena *arena, const struct space *space, struct family **out,
                     struct err *err)
{
    const char *name = space->family[0] != '\0' ? space->family : space->name;
    struct family *family = new_family(arena, name, space->name);
    family->space = space;
    family->title = arena_printf(arena, "recorded on %s", space->device);
    for (int i = 0; i < space->param_count; i++) {
        const struct space_param *param = &space->params[i];
        struct gene *gene = &family->genes[i];
        if (param->count < 1 || param->count > GENE_VALUES_MAX)
            return err_set(err, ERR_USER, "recording '%s': '%s' has %d values, not 1 to %d",
                           space->name, param->name, param->count, GENE_VALUES_MAX);
        bool numbers = param->values != NULL && ascends(param->values, param->count);
        *gene = (struct gene){.name = param->name,
                              .doc = "a parameter of the recording",
                              .kind = numbers ? GENE_NUMBER : GENE_CHOICE,
                              .count = param->count,
                              .values = param->values,
                              .labels = numbers ? NULL : param->labels};
        if (family_gene(family, param->name) >= 0)
            return err_set(err, ERR_USER, "recording '%s': '%s' is declared twice", space->name,
                           param->name);
        count_gene(arena, family, symbols_add(family->symbols, param->name));
    }
    read_constraints(arena, family);
    *out = family;
    return true;
}

int family_gene(const struct family *family, const char *name)
{
    for (int i = 0; i < family->gene_count; i++)
        if (strcmp(family->genes[i].name, name) == 0)
            return i;
    return -1;
}

bool family_restrict(struct arena *arena, const struct family *family, const char *name,
                     const char *const *values, int count, struct family **out, struct err *err)
{
    bool keep[GENE_VALUES_MAX] = {false};
    int at, value;
    if (!family_find_gene(family, name, &at, err))
        return false;
    for (int i = 0; i < count; i++) {
        if (!gene_find_value(&family->genes[at], values[i], &value, err))
            return false;
        keep[value] = true;
    }
    if (count == 0)
        return err_set(err, ERR_USER, "no value is left for gene '%s'", name);

    struct family *copy = arena_copy(arena, family, sizeof *family);
    struct gene *gene = &copy->genes[at];
    int64_t kept_values[GENE_VALUES_MAX];
    const char *kept_labels[GENE_VALUES_MAX];
    uint8_t declared[GENE_VALUES_MAX];
    int kept = 0;
    for (int i = 0; i < gene->count; i++) {
        if (!keep[i])
            continue;
        kept_values[kept] = gene->kind == GENE_CHOICE ? kept : gene->values[i];
        kept_labels[kept] = gene->labels == NULL ? NULL : gene->labels[i];
        declared[kept++] = family->declared[at][i];
    }
    gene->count = kept;
    gene->values = arena_copy(arena, kept_values, (size_t)kept * sizeof kept_values[0]);
    if (gene->labels != NULL)
        gene->labels = arena_copy(arena, kept_labels, (size_t)kept * sizeof kept_labels[0]);
    copy->declared[at] = arena_copy(arena, declared, (size_t)kept);
    *out = copy;
    return true;
}
