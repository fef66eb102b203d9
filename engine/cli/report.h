/*
 * report -- a run as one JSON value: everything that the report page and the live page draw.
 *
 * docs/VIEWS.md tells the value's members. What grows with the run are columns of numbers, packed
 * little-endian and in base64; beyond REPORT_ROWS_MAX places they hold a part: every improvement
 * and its ancestors, and of the others as many as fit, evenly. Everything else is bounded.
 */
#ifndef EVO_CLI_REPORT_H
#define EVO_CLI_REPORT_H

#include <jansson.h>

#include "base/arena.h"
#include "db/query.h"

enum { REPORT_ROWS_MAX = 100000 };

/* NULL with err set. `run` 0: the latest. Reads only, in short transactions. */
json_t *report_json(struct store *store, struct arena *arena, int64_t run, struct err *err);

#endif
