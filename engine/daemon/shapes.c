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
    FEW_ROWS = 19,
    FEW_KEYS = 23,
    FEWEST_ROWS = 7,
    MANY_KEYS = 1549,
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
    struct problem longer = *from, square = *from, many = *from, deep = *from;
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
    /* Every stride another; where the problem is causal, whole blocks of rows that see no key. */
    many.batch = many.kv_heads = 2;
    many.heads = share * many.kv_heads;
    many.q_len = from->causal ? SQUARE : FEW_ROWS;
    many.kv_len = FEW_KEYS;
    add(shapes, &many, image);
    /* Tiles enough for loops to run, where keys are split among blocks and warps. */
    deep.batch = deep.heads = deep.kv_heads = 1;
    deep.q_len = FEWEST_ROWS;
    deep.kv_len = MANY_KEYS;
    add(shapes, &deep, image);
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

/* ---- shapes that the search never sees ---- */

enum held {
    HELD_UNDER,
    HELD_OVER,
    HELD_TILE,
    HELD_PART,
    HELD_LONG,
    HELD_ODD,
    HELD_BLIND, /* rows that see no key, where the problem is causal */
    HELD_COUNT
};

enum { HELD_TRIES = 8 }; /* draws until one is new and supported */

struct tile {
    int64_t rows, keys;
};

static int64_t draw(struct rng *rng, int64_t low, int64_t high)
{
    return low + rng_below(rng, (uint32_t)(high - low + 1));
}

static int64_t edge(const struct program *program, const char *name, struct rng *rng)
{
    int64_t drawn = INT64_C(16) << draw(rng, 0, 3);

    for (int i = 0; program != NULL && i < program->constant_count; i++) {
        if (strcmp(program->constants[i].name, name) == 0 && program->constants[i].value > 1) {
            return program->constants[i].value;
        }
    }
    return drawn;
}

static struct problem held_problem(enum held held, const struct problem *like,
                                   const struct tile *tile, bool slow, struct rng *rng)
{
    int64_t shared = like->heads / like->kv_heads, share = slow && shared > 2 ? 2 : shared;
    int64_t rows = tile->rows * draw(rng, 1, slow ? 1 : 4);
    int64_t keys = tile->keys * draw(rng, 1, slow ? 1 : 4);
    struct problem problem = *like;

    problem.batch = problem.kv_heads = 1;
    switch (held) {
    case HELD_UNDER:
        rows--;
        keys--;
        break;
    case HELD_OVER:
        rows++;
        keys++;
        break;
    case HELD_PART:
        rows = draw(rng, 1, tile->rows - 1);
        keys = draw(rng, 1, tile->keys - 1);
        break;
    case HELD_LONG:
        rows = draw(rng, 1, slow ? 8 : tile->rows);
        keys = slow ? draw(rng, 600, 900) : draw(rng, 9000, 20000);
        break;
    case HELD_ODD:
        problem.batch = draw(rng, 1, 2) * 2 + 1;
        problem.kv_heads = 3;
        rows = draw(rng, 1, slow ? 24 : 2 * tile->rows);
        keys = draw(rng, 1, slow ? 24 : 2 * tile->keys);
        break;
    case HELD_BLIND:
        rows = tile->rows + draw(rng, 1, tile->rows);
        keys = draw(rng, 1, tile->rows - 1);
        break;
    default: /* whole tiles */
        break;
    }
    problem.heads = share * problem.kv_heads;
    problem.q_len = rows;
    problem.kv_len = keys;
    return problem;
}

static bool is_supported(const struct program *program, const struct problem *problem, int64_t sms)
{
    struct arena *arena = arena_new();
    struct plan plan;
    struct err ignored;
    bool supported;
    bool ok = plan_resolve(arena, program, problem, sms, &plan, &supported, &ignored);

    arena_free(arena);
    return ok;
}

static bool is_new(const struct shapes *shapes, const struct problem *problem)
{
    for (int i = 0; i < shapes->count; i++) {
        if (problem_equal(&shapes->list[i].problem, problem)) {
            return false;
        }
    }
    return true;
}

static int64_t up_to(int64_t value, int64_t multiple)
{
    return (value + multiple - 1) / multiple * multiple;
}

/* A program may do multiples of something only: the finest that it does is taken. */
static bool coarsen(struct problem *problem, const struct program *program, int64_t sms)
{
    struct problem exact = *problem;

    for (int64_t multiple = 1; multiple <= 256; multiple *= 2) {
        problem->q_len = up_to(exact.q_len, multiple);
        problem->kv_len = up_to(exact.kv_len, multiple);
        if (program == NULL || is_supported(program, problem, sms)) {
            return true;
        }
    }
    return false;
}

void shapes_hold_out(struct shapes *shapes, const struct program *const *programs, int64_t sms,
                     bool slow, struct rng *rng)
{
    for (enum held held = 0; held < HELD_COUNT; held++) {
        for (int image = 0; image < JOB_IMAGES_MAX; image++) {
            const struct problem *like = first_of_image(shapes, image);
            bool found = like == NULL || (held == HELD_BLIND && !like->causal);

            for (int i = 0; i < HELD_TRIES && !found && shapes->count < JOB_PROBLEMS_MAX; i++) {
                const struct program *program = programs[image];
                struct tile tile = {edge(program, "BLOCK_M", rng), edge(program, "BLOCK_N", rng)};
                struct problem problem = held_problem(held, like, &tile, slow, rng);

                if (coarsen(&problem, program, sms) && is_new(shapes, &problem)) {
                    add(shapes, &problem, image);
                    found = true;
                }
            }
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
