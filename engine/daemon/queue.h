/*
 * queue -- the candidates in flight: what each waits for, and which moves are legal.
 *
 * A candidate is in flight from its proposal until it is settled, in the order of places. The
 * window of places in flight is bounded by the seed's lag, so a ring indexed by place holds them.
 *
 *     render ─► compile ⇄ compiling ─► judge ⇄ judging ─► decided ─► (settled)
 *                                 └──► twin ──────────────┘ │ ▲
 *                                                           ▼ │
 *                                                    promote ⇄ promoting
 *
 * Rendering and compiling may also end in `decided`: an image that does not build, a program that
 * is known. The way back is a worker's death. A twin waits for the judgement of the same program at
 * another place. One flight at a time is promoted: the oldest, or one that has overtaken it.
 *
 * Any other move is a bug, and an assert. Owner: engine.c.
 */
#ifndef EVO_DAEMON_QUEUE_H
#define EVO_DAEMON_QUEUE_H

#include <stdbool.h>
#include <stdint.h>

#include "base/arena.h"
#include "db/store.h"
#include "fitness/job.h"
#include "genome/gene.h"
#include "search/population.h"

enum stage {
    STAGE_NONE,
    STAGE_RENDER,    /* proposed; its source is not written yet */
    STAGE_COMPILE,   /* an image waits for a compile worker */
    STAGE_COMPILING, /* every image is built or with a worker */
    STAGE_JUDGE,     /* built; waits for a judge */
    STAGE_JUDGING,
    STAGE_TWIN,      /* the same program is being judged for another place */
    STAGE_DECIDED,   /* has its verdict; waits for the places before it */
    STAGE_PROMOTE,   /* may be the best: waits for a fresh judge */
    STAGE_PROMOTING,
    STAGE_COUNT,
};

enum image_state { IMAGE_WAITING, IMAGE_AT_WORK, IMAGE_BUILT };

struct image {
    enum image_state state;
    char *source; /* malloc; freed when the candidate is settled */
    size_t source_bytes;
    struct hash source_hash;
    struct arena *arena; /* of `built` */
    struct built built;
    struct program program;
    int deaths; /* workers that died with it */
};

struct flight {
    int64_t place;
    enum stage stage;
    struct proposal proposal;
    struct genome genome;
    struct image images[JOB_IMAGES_MAX];
    int image_count;
    struct judgement_key key; /* zero until it is built */
    int64_t lost;             /* hosts that died while it was tried */
    int deaths;               /* judges that died with it, since it was judged or promoted */
    struct arena *arena; /* of reason and what else it holds */

    /* The outcome, from STAGE_DECIDED on. */
    enum verdict verdict;
    const char *reason;
    int64_t judgement;
    struct score score;
    double device_ms;
    bool replayed;
    bool promoted;          /* judged twice; verdict and score are the second judgement's */
    const char *quarantine; /* why the first time is not believed; "": it is */
    bool doubted;           /* nor was a second, which is taken once more */
    bool recorded; /* its row is complete already (found so at a start) */
};

struct queue;

struct queue *queue_new(int window);
void queue_free(struct queue *queue);

/* A new flight at `place`, which must be the next one; the oldest must have room for it. */
struct flight *queue_add(struct queue *queue, int64_t place);
/* The flight at a place in the window, or NULL. */
struct flight *queue_at(struct queue *queue, int64_t place);
/* The lowest place in the given stage, or NULL. */
struct flight *queue_first(struct queue *queue, enum stage stage);
/* Another flight in the given stage with the same key, or NULL. */
struct flight *queue_twin(struct queue *queue, const struct flight *self, enum stage stage);
int queue_count(const struct queue *queue);
int queue_waiting(const struct queue *queue, enum stage stage); /* how many are in the stage */

/* Asserts that the move is legal. */
void queue_move(struct flight *flight, enum stage to);
/* Removes the oldest flight (which must be decided) and frees what it holds. */
void queue_settle(struct queue *queue, int64_t place);

#endif
