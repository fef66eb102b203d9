/*
 * report -- a run as one JSON value: everything that the report page and the live page draw.
 *
 * docs/VIEWS.md tells the value's members. What grows with the run are columns of numbers
 * (column.h); beyond COLLECTOR_DOTS_MAX places they hold a part: every improvement and its
 * ancestors, and of the others as many as fit, evenly. Everything else is bounded.
 */
#ifndef EVO_CLI_REPORT_H
#define EVO_CLI_REPORT_H

#include <jansson.h>

#include "base/arena.h"
#include "cli/collector.h"
#include "db/query.h"

/* Of what the collector has read. NULL with err set. Reads only, in short transactions. */
json_t *report_json(struct store *store, struct arena *arena, const struct status_row *status,
                    struct collector *collector, struct err *err);
/* Of the whole run; 0: the latest. */
json_t *report_of_run(struct store *store, struct arena *arena, int64_t run, struct err *err);

#endif
