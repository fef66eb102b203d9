/*
 * scan -- C++ text as tokens, so that comments, strings and directives are never mistaken for code.
 *
 * Just enough of the language for what the engine reads out of a template: names, numbers, strings
 * (raw ones too), single signs, and whole preprocessor lines with their continuations. Comments and
 * blanks are skipped. The text is never changed, tokens are places in it. No memory, no state but
 * the struct.
 */
#ifndef EVO_GENOME_SCAN_H
#define EVO_GENOME_SCAN_H

#include <stdbool.h>
#include <stddef.h>

enum token_kind {
    TOKEN_END,
    TOKEN_NAME,
    TOKEN_NUMBER,
    TOKEN_STRING, /* with its prefix and quotes */
    TOKEN_CHARACTER,
    TOKEN_SIGN,      /* one character */
    TOKEN_DIRECTIVE, /* from # to the end of the line, continuations included */
    TOKEN_BAD,       /* `why` says what is wrong at `at`; the scan cannot go on */
};

struct token {
    enum token_kind kind;
    size_t at, length;
    const char *why;
};

struct scan {
    const char *text;
    size_t length, at;
    bool line_started; /* something stands before `at` on its line: a # is no directive */
};

struct token scan_next(struct scan *scan);
struct token scan_peek(const struct scan *scan);

bool token_is(const char *text, struct token token, const char *spelling);
/* The word of a directive: "include", "if"; TOKEN_END when there is none. */
struct token directive_word(const char *text, struct token directive);
/*
 * The name in #include "name" or "include/name" (the same file, seen from where a template lies);
 * false for any other directive, #include <name> among them.
 */
bool directive_include(const char *text, struct token directive, size_t *at, size_t *length);

/* Counted from 1. */
void scan_place(const char *text, size_t at, int *line, int *column);

#endif
