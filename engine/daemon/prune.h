/*
 * prune -- of a rendered source what it needs: who reads an exported kernel reads no helper that
 * another kernel was written for.
 *
 * Declarations at the outermost level of included files (.cuh, as the #line directives tell) stay
 * if something that stays names them; the template's own all stay. Names are compared as words,
 * whatever they mean, so what is left compiles to what all of it did. The comment above a
 * declaration goes with it. Where a text cannot be cut into declarations all of it stays.
 */
#ifndef EVO_DAEMON_PRUNE_H
#define EVO_DAEMON_PRUNE_H

#include "base/str.h"

/* The source without those declarations and without #line directives. */
void prune_source(const char *source, struct buf *out);

#endif
