/*
 * screen -- the full-screen view of a search, on a terminal that can do it.
 *
 * Reads the database every half second, in short transactions of its own, and draws panels. It may
 * be stopped, resized, suspended or killed at any time: the search does not know of it.
 */
#ifndef EVO_CLI_SCREEN_H
#define EVO_CLI_SCREEN_H

#include "cli/progress.h"

enum screen_end {
    SCREEN_ENDED, /* the search has ended; *ok and err say how */
    SCREEN_LEFT,  /* the user left; the search goes on */
};

/* Whether stdin and stderr are a terminal that curses can paint on. */
bool screen_possible(void);
enum screen_end screen_follow(struct cli *cli, const struct follow *follow, bool *ok,
                              struct err *err);

#endif
