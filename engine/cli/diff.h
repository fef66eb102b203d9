/*
 * diff -- two texts compared line by line, printed as a unified diff.
 */
#ifndef EVO_CLI_DIFF_H
#define EVO_CLI_DIFF_H

#include <stdbool.h>
#include <stdio.h>

/* Prints nothing when they are equal. True if they differ. */
bool diff_print(FILE *out, const char *name_a, const char *a, const char *name_b, const char *b);

#endif
