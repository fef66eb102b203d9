/*
 * damage -- one small change to a CUDA source, of the kind that a tired programmer makes.
 *
 * Sites are found in the tokens of a rendered source: comments, strings, preprocessor lines, the
 * words of a template (EVO_…) and the file evo.cuh are left alone. Each site has one change. The
 * order of sites is that of the text, so a site's number names it as long as the text is the same.
 */
#ifndef EVO_TESTS_DAMAGE_H
#define EVO_TESTS_DAMAGE_H

#include <stddef.h>

#include "base/arena.h"

enum damage_kind {
    DAMAGE_OPERATOR,   /* + for -, & for |, && for ||, += for -=, fmaxf for fminf, … */
    DAMAGE_COMPARISON, /* < for <=, == for !=, … */
    DAMAGE_CONSTANT,   /* an integer one more or one less, a float two per cent more */
    DAMAGE_INDEX,      /* [i] becomes [i + 1] */
    DAMAGE_STATEMENT,  /* an assignment or a call left out */
    DAMAGE_KINDS,
};

extern const char *const damage_names[DAMAGE_KINDS];

struct damage {
    enum damage_kind kind;
    size_t at, length;  /* of the text that is replaced */
    const char *by;
    const char *file;   /* "include/softmax.cuh" */
    int line;
    const char *before; /* the line, without the blanks around it */
    const char *after;  /* the same, damaged */
};

/* All sites of a source. */
int damage_find(struct arena *arena, const char *source, struct damage **sites);
/* The source with one of them done. */
const char *damage_do(struct arena *arena, const char *source, const struct damage *damage);

#endif
