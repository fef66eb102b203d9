#include "genome/scan.h"

#include <string.h>

static bool is_blank(char c) { return c == ' ' || (c >= '\t' && c <= '\r'); }
static bool is_digit(char c) { return c >= '0' && c <= '9'; }
static bool is_name(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_' || is_digit(c);
}

static bool starts(const struct scan *scan, size_t at, const char *with)
{
    size_t length = strlen(with);
    return scan->length - at >= length && memcmp(scan->text + at, with, length) == 0;
}

/* The offset behind `with` at or after `at`; 0: it does not come. */
static size_t behind(const struct scan *scan, size_t at, const char *with)
{
    for (; at < scan->length; at++)
        if (starts(scan, at, with))
            return at + strlen(with);
    return 0;
}

/* The length of a backslash and the line end behind it, or 0. */
static size_t splice(const struct scan *scan, size_t at)
{
    return starts(scan, at, "\\\n") ? 2 : starts(scan, at, "\\\r\n") ? 3 : 0;
}

/* The end of a // comment, which a backslash carries onto the next line. */
static size_t line_comment_end(const struct scan *scan, size_t at)
{
    for (size_t step; at < scan->length && scan->text[at] != '\n'; at += step)
        step = splice(scan, at) > 0 ? splice(scan, at) : 1;
    return at;
}

static struct token bad(size_t at, const char *why)
{
    return (struct token){TOKEN_BAD, at, 0, why};
}

static struct token take(struct scan *scan, enum token_kind kind, size_t end)
{
    struct token token = {kind, scan->at, end - scan->at, NULL};
    scan->at = end;
    return token;
}

/* Skips blanks and comments; false, with *token set, at a comment that is not closed. */
static bool skip(struct scan *scan, struct token *token)
{
    while (scan->at < scan->length) {
        if (starts(scan, scan->at, "//")) {
            scan->at = line_comment_end(scan, scan->at);
        } else if (starts(scan, scan->at, "/*")) {
            size_t end = behind(scan, scan->at + 2, "*/");
            if (end == 0) {
                *token = bad(scan->at, "the comment is not closed");
                return false;
            }
            scan->at = end;
        } else if (splice(scan, scan->at) > 0) {
            scan->at += splice(scan, scan->at);
        } else if (is_blank(scan->text[scan->at])) {
            if (scan->text[scan->at] == '\n')
                scan->line_started = false;
            scan->at++;
        } else {
            break;
        }
    }
    return true;
}

static struct token scan_directive(struct scan *scan)
{
    size_t at = scan->at;
    while (at < scan->length && scan->text[at] != '\n') {
        if (splice(scan, at) > 0) {
            at += splice(scan, at);
        } else if (starts(scan, at, "/*")) { /* may run over line ends */
            size_t end = behind(scan, at + 2, "*/");
            if (end == 0)
                return bad(at, "the comment is not closed");
            at = end;
        } else if (starts(scan, at, "//")) {
            at = line_comment_end(scan, at);
        } else if (scan->text[at] == '"') { /* a string may hold what looks like a comment */
            size_t close = at + 1;
            while (close < scan->length && scan->text[close] != '"' && scan->text[close] != '\n')
                close += scan->text[close] == '\\' && close + 1 < scan->length ? 2 : 1;
            at = close < scan->length && scan->text[close] == '"' ? close + 1 : at + 1;
        } else {
            at++;
        }
    }
    return take(scan, TOKEN_DIRECTIVE, at);
}

/* A string or character whose opening quote stands at `at`. */
static struct token scan_quoted(struct scan *scan, size_t at)
{
    char quote = scan->text[at];
    for (at++; at < scan->length && scan->text[at] != '\n'; at++) {
        if (scan->text[at] == '\\' && at + 1 < scan->length)
            at++;
        else if (scan->text[at] == quote)
            return take(scan, quote == '"' ? TOKEN_STRING : TOKEN_CHARACTER, at + 1);
    }
    return bad(scan->at, quote == '"' ? "the string is not closed" : "the quote is not closed");
}

/* R"delimiter( ... )delimiter", its opening quote at `at`. */
static struct token scan_raw_string(struct scan *scan, size_t at)
{
    char close[20] = ")";
    size_t length = 1, open = at + 1;
    while (open < scan->length && scan->text[open] != '(' && length <= 16)
        close[length++] = scan->text[open++];
    close[length] = '"';
    size_t end = open < scan->length && scan->text[open] == '(' ? behind(scan, open + 1, close) : 0;
    return end == 0 ? bad(scan->at, "the raw string is not closed") : take(scan, TOKEN_STRING, end);
}

static bool is_prefix(const char *text, size_t length)
{
    static const char *const prefixes[] = {"R", "L", "u", "U", "u8", "LR", "uR", "UR", "u8R"};
    for (size_t i = 0; i < sizeof prefixes / sizeof prefixes[0]; i++)
        if (strlen(prefixes[i]) == length && memcmp(prefixes[i], text, length) == 0)
            return true;
    return false;
}

static struct token scan_name(struct scan *scan)
{
    size_t end = scan->at;
    while (end < scan->length && is_name(scan->text[end]))
        end++;
    if (end < scan->length && (scan->text[end] == '"' || scan->text[end] == '\'') &&
        is_prefix(scan->text + scan->at, end - scan->at)) {
        if (scan->text[end - 1] == 'R' && scan->text[end] == '"')
            return scan_raw_string(scan, end);
        return scan_quoted(scan, end);
    }
    return take(scan, TOKEN_NAME, end);
}

/* A preprocessing number: digits, letters, points, signs of exponents, ' between digits. */
static struct token scan_number(struct scan *scan)
{
    size_t end = scan->at;
    while (end < scan->length) {
        char c = scan->text[end], before = end > scan->at ? scan->text[end - 1] : '0';
        bool exponent = (c == '+' || c == '-') &&
                        (before == 'e' || before == 'E' || before == 'p' || before == 'P') &&
                        !starts(scan, scan->at, "0x");
        bool separator = c == '\'' && end + 1 < scan->length && is_name(scan->text[end + 1]);
        if (!is_name(c) && c != '.' && !exponent && !separator)
            break;
        end++;
    }
    return take(scan, TOKEN_NUMBER, end);
}

struct token scan_next(struct scan *scan)
{
    struct token token;
    if (!skip(scan, &token))
        return token;
    if (scan->at == scan->length)
        return (struct token){TOKEN_END, scan->at, 0, NULL};
    char c = scan->text[scan->at];
    if (c == '#' && !scan->line_started)
        return scan_directive(scan);
    scan->line_started = true;
    if (is_digit(c))
        return scan_number(scan);
    if (is_name(c))
        return scan_name(scan);
    if (c == '"' || c == '\'')
        return scan_quoted(scan, scan->at);
    return take(scan, TOKEN_SIGN, scan->at + 1);
}

struct token scan_peek(const struct scan *scan)
{
    struct scan copy = *scan;
    return scan_next(&copy);
}

bool token_is(const char *text, struct token token, const char *spelling)
{
    return token.length == strlen(spelling) && memcmp(text + token.at, spelling, token.length) == 0;
}

/* What follows # is scanned as a text of its own, in which nothing is a directive. */
static struct scan inside(const char *text, struct token directive)
{
    return (struct scan){text, directive.at + directive.length, directive.at + 1, true};
}

struct token directive_word(const char *text, struct token directive)
{
    struct scan scan = inside(text, directive);
    struct token word = scan_next(&scan);
    return word.kind == TOKEN_NAME ? word : (struct token){TOKEN_END, word.at, 0, NULL};
}

bool directive_include(const char *text, struct token directive, size_t *at, size_t *length)
{
    struct scan scan = inside(text, directive);
    if (!token_is(text, scan_next(&scan), "include"))
        return false;
    struct token name = scan_next(&scan);
    if (name.kind != TOKEN_STRING || text[name.at] != '"')
        return false;
    size_t folder = name.length > 9 && memcmp(text + name.at + 1, "include/", 8) == 0 ? 8 : 0;
    *at = name.at + 1 + folder;
    *length = name.length - 2 - folder;
    return true;
}

void scan_place(const char *text, size_t at, int *line, int *column)
{
    *line = *column = 1;
    for (size_t i = 0; i < at; i++) {
        *column = text[i] == '\n' ? 1 : *column + 1;
        *line += text[i] == '\n';
    }
}
