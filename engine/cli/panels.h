/*
 * panels -- the status screen as text in cells: what stands where, at any size of terminal.
 *
 * Pure: a view goes in, a canvas comes out. screen.c shows it with curses; the tests look at it as
 * it is. A canvas holds one character (UTF-8) and a style in each cell.
 */
#ifndef EVO_CLI_PANELS_H
#define EVO_CLI_PANELS_H

#include "cli/chronicle.h"
#include "cli/text.h"

struct cell {
    char text[5]; /* one character; "" is a blank */
    enum style style;
};

struct canvas {
    int width, height;
    bool ascii; /* no character beyond ASCII: for terminals that have none */
    struct cell *cells;
};

void canvas_new(struct canvas *canvas, struct arena *arena, int width, int height, bool ascii);
/* Cut at the canvas's edges. Returns the column behind the last character. */
int canvas_put(struct canvas *canvas, int row, int column, enum style style, const char *text);
/* A row as text, without trailing blanks. */
const char *canvas_row(struct arena *arena, const struct canvas *canvas, int row);

/* What the screen shows; all of one moment. */
struct view {
    struct status_row status;
    const struct chronicle *chronicle;
    bool catching_up;           /* the chronicle is still behind */
    struct kernel_row *kernels; /* the fastest, in order */
    int64_t kernel_count;
    int64_t selected; /* among them */
    struct in_flight_row *in_flight;
    int64_t in_flight_count;
    struct device_state device;
    int64_t now;       /* wall clock, ms */
    const char *state; /* running, paused, ended: ... */
};

/* Draws the whole screen. */
void panels_draw(struct canvas *canvas, struct arena *arena, const struct view *view);

/* The best over evaluations in `width` columns, one line high; "" while there is none. */
const char *panels_sparkline(struct arena *arena, const struct chronicle *chronicle, int numerics,
                             int64_t evaluations, int width, bool ascii);

#endif
