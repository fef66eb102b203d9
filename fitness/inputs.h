/*
 * inputs -- the input families of the gate, drawn from a key.
 *
 * Each family aims at a way of being wrong that another would not show. Q, K and V are independent
 * draws, always. The same (problem, family, key) gives the same bits on every machine and with any
 * number of threads. Values are 16-bit patterns of the problem's type, in its memory layout.
 */
#ifndef EVO_FITNESS_INPUTS_H
#define EVO_FITNESS_INPUTS_H

#include <stdint.h>

#include "fitness/problem.h"

enum input_family {
    INPUT_NORMAL,   /* unit normal everywhere */
    INPUT_ONE_HOT,  /* large Q: softmax close to one-hot */
    INPUT_MIXED,    /* scales drawn per row and head inside one tensor */
    INPUT_NEEDLE,   /* one dominant key per row block at first, last and tile-edge positions */
    INPUT_OFFSET,   /* a large common offset in every score: only a max subtraction survives it */
    INPUT_CODE,     /* V is a number for its column times a sign for its key */
    INPUT_INTEGERS, /* small integers: scores, weights and sums are exact */
    INPUT_LONE, /* each row sees one key only, through a score far below zero in half the heads */
    INPUT_FAMILIES,
};

extern const char *const input_family_names[INPUT_FAMILIES];

struct inputs {
    uint16_t *q, *k, *v; /* problem_q_elements, problem_kv_elements; the caller's memory */
};

/*
 * Unit normals as another machine can draw them: element e of a tensor, counted as it lies in
 * memory, takes bits 16 (e % 4) to 16 (e % 4) + 15 of inputs_mix(the tensor's key + e / 4).
 * The lowest 15 of them choose a pattern of the table, the highest is its sign. Where head_dim is a
 * multiple of 4 these are the bits that inputs_draw makes of INPUT_NORMAL.
 */
enum { INPUT_QUANTILES = 1 << 15 };

struct normal_recipe {
    uint64_t q, k, v; /* keys */
    const uint16_t *table;
};

void inputs_normal_recipe(const struct problem *problem, uint64_t key,
                          struct normal_recipe *recipe);
uint64_t inputs_mix(uint64_t x);

/* threads: how many may be used. */
void inputs_draw(const struct problem *problem, enum input_family family, uint64_t key,
                 struct inputs *inputs, int threads);
/* One of the three alone, the same bits: 0 is Q, 1 K, 2 V. */
void inputs_draw_one(const struct problem *problem, enum input_family family, uint64_t key,
                     int tensor, struct inputs *inputs, int threads);

double half_to_double(enum dtype dtype, uint16_t bits);
uint16_t half_from_double(enum dtype dtype,
                          double value); /* to nearest even; overflow to infinity */

#endif
