#include "daemon/shapes.h"

#include <string.h>

/* FLOP of a shape that the emulated device's gate can afford: in full, or a single launch. */
static const double WHOLE_FLOPS = 0x1p24;
static const double ONCE_FLOPS = 0x1p30;

enum {
    SHARE_MAX = 4, /* query heads for each key head of a derived shape */
    /* More than a tile of any size that templates have, and a multiple of none. */
    LONG_KEYS = 301,
    SHORT_ROWS = 71,
    SQUARE = 165,
};

static bool is_whole(const struct shapes *shapes, int image)
{
    for (int i = 0; i < shapes->timed; i++) {
        if (shapes->list[i].image == image && shapes->list[i].use != USE_WHOLE) {
            return false;
        }
    }
    return true;
}

static void add(struct shapes *shapes, const struct problem *problem, int image)
{
    for (int i = 0; i < shapes->count; i++) { /* one that the workload names itself */
        if (problem_equal(&shapes->list[i].problem, problem)) {
            shapes->list[i].use = i < shapes->timed ? USE_WHOLE : shapes->list[i].use;
            return;
        }
    }
    if (shapes->count < JOB_PROBLEMS_MAX) { /* the workload leaves room for as many */
        shapes->list[shapes->count++] =
            (struct shape){.problem = *problem, .image = image, .use = USE_GATE};
    }
}

static void derive(struct shapes *shapes, const struct problem *from, int image)
{
    struct problem longer = *from, square = *from;
    int64_t share = from->heads / from->kv_heads;

    share = share < SHARE_MAX ? share : SHARE_MAX;
    longer.batch = 1;
    longer.kv_heads = share > 1 ? 1 : 2;
    longer.heads = share * longer.kv_heads;
    longer.q_len = SHORT_ROWS;
    longer.kv_len = LONG_KEYS;
    square.batch = 2;
    square.kv_heads = 1;
    square.heads = share;
    square.q_len = square.kv_len = SQUARE;
    add(shapes, &longer, image);
    add(shapes, &square, image);
}

static const struct problem *first_of_image(const struct shapes *shapes, int image)
{
    for (int i = 0; i < shapes->timed; i++) {
        if (shapes->list[i].image == image) {
            return &shapes->list[i].problem;
        }
    }
    return NULL;
}

static bool add_own(struct shapes *shapes, const struct problem *like, int image,
                    const struct problem *own, int own_count)
{
    bool any = false;

    for (int i = 0; i < own_count; i++) {
        if (problem_same_static(like, &own[i])) {
            add(shapes, &own[i], image);
            any = true;
        }
    }
    return any;
}

void shapes_choose(struct shapes *shapes, const struct hello *judge, const struct problem *own,
                   int own_count)
{
    bool slow = strcmp(judge->backend, "emu") == 0;

    shapes->timed = shapes->count;
    for (int i = 0; i < shapes->timed; i++) {
        double flops = problem_flops(&shapes->list[i].problem);

        shapes->list[i].use = !slow || flops <= WHOLE_FLOPS ? USE_WHOLE
                              : flops <= ONCE_FLOPS         ? USE_ONCE
                                                            : USE_TIME;
    }
    for (int image = 0; slow && image < JOB_IMAGES_MAX; image++) {
        const struct problem *like = first_of_image(shapes, image);

        if (like != NULL && !add_own(shapes, like, image, own, own_count) &&
            !is_whole(shapes, image)) {
            derive(shapes, like, image);
        }
    }
}

struct hash shapes_hash(const struct shapes *shapes)
{
    struct hasher hasher;

    hash_begin(&hasher, "evo workload 1");
    for (int i = 0; i < shapes->count; i++) {
        char text[PROBLEM_TEXT_MAX];

        problem_text(&shapes->list[i].problem, text);
        hash_text(&hasher, "problem", text);
        if (shapes->list[i].use != USE_WHOLE) {
            hash_i64(&hasher, "use", shapes->list[i].use);
        }
    }
    return hash_end(&hasher);
}
