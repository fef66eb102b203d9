/*
 * dispatch_table -- which kernel for which shape of a run, and what one kernel for all of them
 * costs.
 *
 * The regret of a shape is how much longer the kernel that is best on all shapes together takes
 * than the one that is best on this shape; the mean is geometric. Times are those of the judgements
 * that count; the best of a shape is the least of many of them, so a small regret is luck.
 */
#ifndef EVO_CLI_DISPATCH_TABLE_H
#define EVO_CLI_DISPATCH_TABLE_H

#include "base/str.h"
#include "cli/cli.h"

/* Appends it as CSV with a line of '#' that sums it up, or as JSON. ERR_USER: nothing passed. */
bool dispatch_table_write(struct cli *cli, bool json, struct buf *out, struct err *err);

#endif
