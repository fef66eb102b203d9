/*
 * text -- numbers, tables and colours for people, and the same facts as JSON for programs.
 *
 * One place decides how a time, a count or a share is written, so that every command says it alike.
 * Texts live in the given arena; JSON values are new references.
 */
#ifndef EVO_CLI_TEXT_H
#define EVO_CLI_TEXT_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include "base/arena.h"
#include "base/hash.h"
#include "db/query.h"

/* "41 472" */
const char *text_count(struct arena *arena, int64_t count);
/* "1028 us", "123.4 us", "12.34 us": four digits; "-" when there is none (us <= 0) */
const char *text_us(struct arena *arena, double us);
/* "[122.9, 123.9]" with the digits of text_us */
const char *text_interval(struct arena *arena, const struct score *score);
/* "4 min 05 s", "2 h 10 min", "12.3 s" */
const char *text_duration(struct arena *arena, int64_t ms);
/* "92 %"; "-" when whole is 0 */
const char *text_share(struct arena *arena, double part, double whole);
/* "2.31x"; "-" when unknown (0) */
const char *text_gain(struct arena *arena, double gain);
const char *text_bytes(struct arena *arena, int64_t bytes); /* "20.7 KiB" */
/* The first 12 digits; "-" for a hash not known. */
const char *text_hash12(struct arena *arena, const struct hash *hash);
const char *text_when(struct arena *arena, int64_t wall_ms); /* "2026-11-20T07:12:03Z", "-" */
const char *text_numerics(int numerics);                     /* "fp32", "fp16" */

/* The value of a gene in "A=1 B=2", or NULL. */
const char *genes_value(struct arena *arena, const char *genes, const char *name);
/* What differs from the parent: "BLOCK_M 32 -> 64, EXP a -> b", "nothing". */
const char *genes_change(struct arena *arena, const char *from, const char *to);

/* Floating-point work of a call, geometric mean over the problems; 0 when unknown. */
double kernel_flops(const struct kernel_row *kernel);

/*
 * How what was promoted fares against libraries: "1.24x as fast as the best of cudnn, cublas (95 %
 * in [1.23, 1.25]); worst 0.97x, of cudnn on 1x8x512x64". "" where no duel was fought.
 */
const char *text_rivalry(struct arena *arena, const struct kernel_row *kernel);

/* Bold and colours when `out` is a terminal and NO_COLOR is not set. */
enum style { STYLE_PLAIN, STYLE_BOLD, STYLE_DIM, STYLE_GOOD, STYLE_BAD };
bool style_wanted(FILE *out);
const char *style_on(FILE *out, enum style style); /* "" when colours are not wanted */
const char *style_off(FILE *out);

/* A table whose columns are as wide as they need to be. */
struct table;
/* `align` has a letter for each column: l or r. */
struct table *table_new(struct arena *arena, const char *align, const char *const *heads);
/* One cell a column; NULL and "" are printed as "-". */
void table_row(struct table *table, enum style style, const char *const *cells);
void table_print(const struct table *table, FILE *out);

json_t *json_number(double value);   /* null when it is not finite */
json_t *json_text(const char *text); /* null for NULL; bytes that are not UTF-8 become '?' */
json_t *json_score(const struct score *score); /* null when there is none */
json_t *json_rivals(const struct kernel_row *kernel); /* a list, of duels in order */
json_t *json_promotion(const struct promotion_facts *facts); /* null when there was none */
json_t *json_hash(const struct hash *hash);    /* null when not known */
json_t *json_genes(const char *genes);         /* {"BLOCK_M": 32, "EXP": "softmax_exp2"} */
json_t *json_candidate(const struct candidate_row *row);

#endif
