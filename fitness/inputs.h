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

/* threads: how many may be used. */
void inputs_draw(const struct problem *problem, enum input_family family, uint64_t key,
                 struct inputs *inputs, int threads);

double half_to_double(enum dtype dtype, uint16_t bits);
uint16_t half_from_double(enum dtype dtype,
                          double value); /* to nearest even; overflow to infinity */

#endif
