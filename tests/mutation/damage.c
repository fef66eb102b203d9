#include "mutation/damage.h"

#include <ctype.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { SITES_MAX = 1 << 16 };

const char *const damage_names[DAMAGE_KINDS] = {"operator", "comparison", "constant", "index",
                                                "statement"};

/* Longer ones first: the first that the text begins with is meant. NULL: not touched. */
static const struct {
    const char *token, *by;
    enum damage_kind kind;
} swaps[] = {
    {"<<<", NULL, 0},
    {">>>", NULL, 0},
    {"->", NULL, 0},
    {"::", NULL, 0},
    {"++", NULL, 0}, /* loops that never end are all alike */
    {"--", NULL, 0},
    {"<<", ">>", DAMAGE_OPERATOR},
    {">>", "<<", DAMAGE_OPERATOR},
    {"&&", "||", DAMAGE_OPERATOR},
    {"||", "&&", DAMAGE_OPERATOR},
    {"<=", "<", DAMAGE_COMPARISON},
    {">=", ">", DAMAGE_COMPARISON},
    {"==", "!=", DAMAGE_COMPARISON},
    {"!=", "==", DAMAGE_COMPARISON},
    {"+=", "-=", DAMAGE_OPERATOR},
    {"-=", "+=", DAMAGE_OPERATOR},
    {"*=", "+=", DAMAGE_OPERATOR},
    {"/=", "*=", DAMAGE_OPERATOR},
    {"|=", "&=", DAMAGE_OPERATOR},
    {"&=", "|=", DAMAGE_OPERATOR},
    {"^=", "|=", DAMAGE_OPERATOR},
    {" < ", " <= ", DAMAGE_COMPARISON}, /* without blanks it is a template's */
    {" > ", " >= ", DAMAGE_COMPARISON},
    {" + ", " - ", DAMAGE_OPERATOR}, /* without blanks it is a sign */
    {" - ", " + ", DAMAGE_OPERATOR},
    {" * ", " + ", DAMAGE_OPERATOR}, /* without blanks it is a pointer */
    {" / ", " * ", DAMAGE_OPERATOR},
    {" % ", " / ", DAMAGE_OPERATOR},
    {" & ", " | ", DAMAGE_OPERATOR},
    {" | ", " & ", DAMAGE_OPERATOR},
    {" ^ ", " & ", DAMAGE_OPERATOR},
    {"fmaxf", "fminf", DAMAGE_OPERATOR},
    {"fminf", "fmaxf", DAMAGE_OPERATOR},
    {"max(", "min(", DAMAGE_OPERATOR},
    {"min(", "max(", DAMAGE_OPERATOR},
};

struct search {
    struct arena *arena;
    const char *source;
    struct damage *sites;
    int count;
    const char *file;
    int line; /* of the character at `line_at` */
    size_t line_at;
};

static bool is_name(char c) { return isalnum((unsigned char)c) || c == '_'; }

static bool starts(const char *text, const char *with)
{
    return strncmp(text, with, strlen(with)) == 0;
}

static void add(struct search *search, enum damage_kind kind, size_t at, size_t length,
                const char *by)
{
    struct damage *site = &search->sites[search->count];
    const char *line = search->source + search->line_at, *end = strchr(line, '\n');
    const char *from = search->source + at;

    if (search->count == SITES_MAX || from + length > end) {
        return;
    }
    search->count++;
    line += strspn(line, " \t");
    *site = (struct damage){
        .kind = kind, .at = at, .length = length, .by = by, .file = search->file,
        .line = search->line,
        .before = arena_text(search->arena, line, (size_t)(end - line)),
        .after = arena_printf(search->arena, "%.*s%s%.*s", (int)(from - line), line, by,
                              (int)(end - from) - (int)length, from + length)};
}

/* "#line 12 "include/x.cuh"" */
static void take_line_directive(struct search *search, const char *text)
{
    const char *quote;

    search->line = atoi(text + strlen("#line ")) - 1; /* the next line counts it up */
    quote = strchr(text, '"');
    if (quote != NULL && quote < strchr(text, '\n')) {
        search->file = arena_text(search->arena, quote + 1, strcspn(quote + 1, "\""));
    }
}

static size_t number_length(const char *text)
{
    size_t length = 0;

    while (is_name(text[length]) || text[length] == '.' ||
           ((text[length] == '-' || text[length] == '+') && length > 0 &&
            text[length - 1] == 'e' && text[1] != 'x')) {
        length++;
    }
    return length;
}

/* 7 becomes 8, 1 becomes 0; 1.5f two per cent more; 0xff and the like stay. */
static void damage_number(struct search *search, size_t at, size_t length)
{
    const char *number = arena_text(search->arena, search->source + at, length);

    if (strpbrk(number, ".ef") != NULL && number[1] != 'x') {
        double value = strtod(number, NULL);

        add(search, DAMAGE_CONSTANT, at, length,
            arena_printf(search->arena, "%.9ef", value == 0 ? 0.02 : value * 1.02));
    } else if (strspn(number, "0123456789") == length) {
        int value = atoi(number);

        add(search, DAMAGE_CONSTANT, at, length,
            arena_printf(search->arena, "%d", value == 1 || value > 15 ? value - 1 : value + 1));
    }
}

/* The bracket's inside, when it ends on this line. */
static void damage_index(struct search *search, size_t at)
{
    const char *inside = search->source + at + 1;
    int depth = 1;
    size_t length = 0;

    if (at == 0 || (!is_name(inside[-2]) && inside[-2] != ']')) {
        return; /* a lambda's */
    }
    for (; inside[length] != '\n' && inside[length] != '\0'; length++) {
        depth += inside[length] == '[' ? 1 : inside[length] == ']' ? -1 : 0;
        if (depth == 0) {
            break;
        }
    }
    if (depth == 0 && length > 0) {
        add(search, DAMAGE_INDEX, at + 1, length,
            arena_printf(search->arena, "%.*s + 1", (int)length, inside));
    }
}

/* A whole line that is an assignment or a call, and no declaration. */
static void damage_statement(struct search *search)
{
    static const char *const others[] = {"return", "const ", "using ", "enum", "else", "if ",
                                         "for ", "static", "constexpr", "template", "struct",
                                         "auto ", "extern", "float ", "int ", "unsigned ", "break",
                                         "namespace", "private", "public", "bool ", "evo_half ",
                                         "long ", "word<", "uint"};
    const char *line = search->source + search->line_at, *end = strchr(line, '\n');
    size_t blanks, length;

    blanks = strspn(line, " ");
    line += blanks;
    length = (size_t)(end - line);
    if (blanks == 0 || length < 4 || end[-1] != ';' || memchr(line, '{', length) != NULL ||
        memchr(line, '}', length) != NULL) {
        return;
    }
    for (size_t i = 0; i < sizeof others / sizeof *others; i++) {
        if (starts(line, others[i])) {
            return;
        }
    }
    if (memchr(line, '=', length) == NULL && memchr(line, '(', length) == NULL) {
        return;
    }
    /* A statement that began on an earlier line has its closing bracket here. */
    int depth = 0;
    for (size_t i = 0; i < length; i++) {
        depth += line[i] == '(' ? 1 : line[i] == ')' ? -1 : 0;
        if (depth < 0) {
            return;
        }
    }
    add(search, DAMAGE_STATEMENT, search->line_at + blanks, length, ";");
}

static size_t damage_operator(struct search *search, size_t at)
{
    const char *text = search->source + at;

    for (size_t i = 0; i < sizeof swaps / sizeof *swaps; i++) {
        bool name = is_name(swaps[i].token[0]);
        size_t length = strlen(swaps[i].token);

        if (!starts(text, swaps[i].token) || (name && at > 0 && is_name(text[-1])) ||
            (name && is_name(text[length - 1]) && is_name(text[length]))) {
            continue;
        }
        if (swaps[i].by != NULL) {
            add(search, swaps[i].kind, at, length, swaps[i].by);
        }
        return length - (text[length - 1] == ' ' || text[length - 1] == '(');
    }
    return 0;
}

/* Comments and strings; 0: the text begins with neither. */
static size_t skip_length(const char *text)
{
    const char *end = text;

    if (starts(text, "//")) {
        return strcspn(text, "\n");
    }
    if (starts(text, "/*")) {
        end = strstr(text, "*/");
        return end == NULL ? strlen(text) : (size_t)(end - text) + 2;
    }
    if (*text == '"' || *text == '\'') {
        for (end = text + 1; *end != *text && *end != '\n' && *end != '\0'; end++) {
            end += *end == '\\' && end[1] != '\0';
        }
        return (size_t)(end - text) + 1;
    }
    return 0;
}

/* A new line begins: what the line as a whole is. Returns how much of it is not looked at. */
static size_t begin_line(struct search *search, size_t at)
{
    const char *text = search->source + at;

    search->line++;
    search->line_at = at;
    if (*text == '#') {
        if (starts(text, "#line ")) {
            take_line_directive(search, text);
        }
        return strcspn(text, "\n");
    }
    if (starts(text + strspn(text, " "), "EVO_") || starts(text, "static_assert") ||
        strcmp(search->file, "include/evo.cuh") == 0) {
        size_t length = strcspn(text, "\n"); /* a word may go on in further, indented lines */

        while (starts(text, "EVO_") && text[length] == '\n' && text[length + 1] == ' ') {
            length += 1 + strcspn(text + length + 1, "\n");
            search->line++;
        }
        return length;
    }
    damage_statement(search);
    return 0;
}

static size_t take(struct search *search, size_t at)
{
    const char *text = search->source + at;
    size_t length = skip_length(text);

    if (length > 0) {
        for (size_t i = 0; i < length; i++) {
            if (text[i] == '\n') {
                search->line++;
                search->line_at = at + i + 1;
            }
        }
        return length;
    }
    length = damage_operator(search, at);
    if (length > 0) {
        return length;
    }
    if (isdigit((unsigned char)*text) && (at == 0 || !is_name(text[-1]))) {
        length = number_length(text);
        damage_number(search, at, length);
        return length;
    }
    if (*text == '[') {
        damage_index(search, at);
    }
    if (is_name(*text)) {
        while (is_name(text[length])) {
            length++;
        }
        return length;
    }
    return 1;
}

int damage_find(struct arena *arena, const char *source, struct damage **sites)
{
    struct search search = {.arena = arena, .source = source, .file = ""};
    size_t at = 0;

    search.sites = *sites = arena_alloc(arena, SITES_MAX * sizeof **sites);
    at = begin_line(&search, 0);
    while (source[at] != '\0') {
        if (source[at] == '\n') {
            at++;
            at += source[at] != '\0' ? begin_line(&search, at) : 0;
        } else {
            at += take(&search, at);
        }
    }
    return search.count;
}

const char *damage_do(struct arena *arena, const char *source, const struct damage *damage)
{
    return arena_printf(arena, "%.*s%s%s", (int)damage->at, source, damage->by,
                        source + damage->at + damage->length);
}
