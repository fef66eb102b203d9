/*
 * contest -- two contenders, timed in turns by a judge: what `evo compare` and `evo gate` share.
 *
 * A contender is a candidate (n147, best), a file (winner.cu, or a template's first kernel), or a
 * library by name (cudnn, cublas). Each shape is a duel in a fresh judge: both go through the gate,
 * then run A B B A on the same inputs. What is said of them is said by intervals.
 *
 * PyTorch (torch, torch-flash, …) is a contender too, whose times are another process's: torch.h.
 */
#ifndef EVO_CLI_CONTEST_H
#define EVO_CLI_CONTEST_H

#include "cli/cli.h"
#include "fitness/job.h"
#include "fitness/stats.h"

enum { CONTEST_SHAPES_MAX = JOB_TIMED_MAX };

/* By which clock: a graph of calls, as a user's back-to-back calls; or the spans of the records. */
enum contest_clock { CONTEST_GRAPH, CONTEST_SPAN, CONTEST_CLOCKS };

struct contest_row {
    struct problem problem;
    char shape[PROBLEM_TEXT_MAX];
    bool timed; /* else one of the two is not right, or not to be had: see the duel's sides */
    bool apart; /* one's times are another process's, not taken in turns */
    double us[2][CONTEST_CLOCKS];            /* medians */
    struct estimate speedup[CONTEST_CLOCKS]; /* of A over B */
    struct duel_result duel;
};

struct contest {
    const char *a, *b; /* as the user wrote them */
    const char *title[2];
    struct contest_row rows[CONTEST_SHAPES_MAX];
    int count;
    struct hello judge;
};

/* The shapes are those of --shape, else those that A (or, if it is a library, B) was made for. */
bool contest_run(struct cli *cli, const char *a, const char *b, struct contest *contest,
                 struct err *err);

bool contest_clock_asked(const struct cli *cli, enum contest_clock *clock, struct err *err);
/* "1.71x faster [1.70, 1.72]", "1.02x slower [...]", "tie [0.99, 1.01]" */
const char *contest_words(struct arena *arena, const struct estimate *speedup);
/* Why a row has no times: which side, its verdict and reason. */
const char *contest_trouble(struct arena *arena, const struct contest *contest,
                            const struct contest_row *row);
json_t *contest_json_row(struct arena *arena, const struct contest *contest,
                         const struct contest_row *row);

#endif
