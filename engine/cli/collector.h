/*
 * collector -- what a report keeps of every candidate: a dot for the drawings, and what each value
 * of a gene and each pair of values brought.
 *
 * Rows are read once, in order of place, in pieces; whoever shows a run for long keeps the
 * collector and reads on, as the chronicle in it does. Twenty bytes a candidate, and tables that do
 * not grow with the run.
 */
#ifndef EVO_CLI_COLLECTOR_H
#define EVO_CLI_COLLECTOR_H

#include <jansson.h>

#include "cli/chronicle.h"

/* Dots that a story holds at most, besides improvements and their ancestors. */
enum { COLLECTOR_DOTS_MAX = 100000 };

struct collector;

struct collector *collector_new(int64_t run);
void collector_free(struct collector *collector); /* NULL is fine */
/* Reads at most `limit` further places; *behind: there may be more to read at once. */
bool collector_advance(struct collector *collector, struct store *store, int64_t limit,
                       bool *behind, struct err *err);
const struct chronicle *collector_chronicle(const struct collector *collector);
json_t *collector_story(struct collector *collector);
json_t *collector_heat(struct collector *collector);

#endif
