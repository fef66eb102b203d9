/*
 * stamps -- how fast the multiprocessors' clock ran from one moment to another.
 *
 * At the power limit a device changes its clock many times a second, and the time of a long call
 * with it: on an H200 by 1 to 2 %, sometimes by 15, while its cycles stay the same within 0.1 %. So
 * a batch of calls stands between two stamps: of each multiprocessor, its count of cycles and the
 * time. Both are written where a candidate might find them, hence the seals: without the key, which
 * is a batch's own, a stamp can be destroyed but not made. Pure.
 */
#ifndef EVO_FITNESS_STAMPS_H
#define EVO_FITNESS_STAMPS_H

#include <stdint.h>

enum { STAMPS_MAX = 512 }; /* multiprocessors */

/* The device's own layout: own_cuda.c's kernel writes it, and makes the seal as stamp_seal. */
struct stamp {
    uint64_t cycles, ns, seal;
};

struct stamps {
    struct stamp at[2][STAMPS_MAX]; /* before and after; zeros where there is none */
};

uint64_t stamp_seal(uint64_t key, int which, int multiprocessor, uint64_t cycles, uint64_t ns);
/*
 * In MHz, the mean over all that have both; NAN: the time between them is too short for the
 * resolution of the device's timer, or they are too few, or do not agree.
 */
double stamps_mhz(const struct stamps *stamps, int multiprocessors, uint64_t key);

#endif
