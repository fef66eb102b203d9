/*
 * progress -- a search as a line and as a screen, and following it until it ends.
 */
#ifndef EVO_CLI_PROGRESS_H
#define EVO_CLI_PROGRESS_H

#include <stdbool.h>
#include <sys/types.h>

#include "base/arena.h"
#include "base/err.h"
#include "cli/cli.h"
#include "db/query.h"

/* Everything in one line, most important first, so that a narrow terminal may cut its end. */
const char *progress_line(struct arena *arena, const struct status_row *row);
/* What is left of each budget: "4 min 05 s, 766 evaluations"; "no limit". */
const char *progress_left(struct arena *arena, const struct status_row *row);
/* "passed 1100, wrong 12, ..." of those that occurred. */
const char *progress_verdicts(struct arena *arena, const struct status_row *row);
double progress_gain(const struct status_row *row); /* over the seed's founder; 0: unknown */
/* Evaluations a minute, of late, or of a finished run over all of it; 0: unknown. */
double progress_rate(const struct status_row *row);

/* Who to follow, and how its end is noticed. */
struct follow {
    pid_t pid;
    bool child; /* it is our child: reaped here */
    int report; /* where a child writes the struct err it failed with; -1: nowhere */
};

/*
 * Shows progress until the process ends (a failure it reports is ours) or Ctrl-C, which leaves it
 * running: the status screen on a terminal that can do it; with --line, or on a plain terminal, one
 * line kept up to date; elsewhere a line every 10 s.
 */
bool progress_follow(struct cli *cli, const struct follow *follow, struct err *err);

/* True when the child has ended; then *ok says how, with its error. */
bool follow_ended(const struct follow *follow, const char *lock, bool *ok, struct err *err);

#endif
