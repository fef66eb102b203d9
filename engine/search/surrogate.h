/*
 * surrogate -- what was learned, as a function: a Gaussian process over points.
 *
 * A point has a coordinate for each gene (catalogue.h): numbers scaled to [0, 1], labels as they
 * are (two labels differ or do not). The covariance of two points is a product over coordinates of
 * (1 + 3u/2) / (1 + u/2)^3, u the distance in the coordinate times a scale of its own, which says
 * how much the gene matters: Matern 3/2 averaged over scales that nobody knows well, so that what
 * differs much in one gene may still be alike in the others. Scales and noise maximise the
 * posterior of what was seen under wide log-normal priors; the mean is a constant, estimated with
 * the rest.
 *
 * `struct posterior` is what points and their targets say. Points behind the solid ones are
 * pending: they are expected to come out as predicted, which narrows the posterior around them and
 * moves nothing. Candidates are asked about in three ways: one anywhere, quadratic in the points;
 * many at once by posterior_screen, linear, the sd being only what the nearest point leaves; and a
 * cloud that is watched, for which a row of L^-1 K(points, candidates) is kept for each point, with
 * L the Cholesky factor, so that one more point costs one pass over the rows.
 *
 * Every sum is taken in one fixed order, whether rows came one at a time or all at once, and no
 * operation depends on the compiler's options (see CMakeLists.txt: no contraction, no fast math),
 * so that a model rebuilt after a kill is the same to the last bit.
 *
 * Threads: one. Memory: 8 bytes for each pair of points_max, 4 for each point and candidate that is
 * watched.
 */
#ifndef EVO_SEARCH_SURROGATE_H
#define EVO_SEARCH_SURROGATE_H

#include <stdbool.h>
#include <stddef.h>

#include "genome/gene.h"

enum {
    SURROGATE_POINTS_MAX = 512, /* of a posterior: the factor is cubic in them */
    SURROGATE_FIT_MAX = 120,    /* points that scales are fitted to */
    SURROGATE_DIMS_MAX = 48,    /* coordinates: the genes, and what some of them have besides */
};

struct point {
    float at[SURROGATE_DIMS_MAX];
};

struct kernel {
    int dims;
    bool label[SURROGATE_DIMS_MAX]; /* of a coordinate: equal or not, instead of near or far */
    double scale[SURROGATE_DIMS_MAX]; /* 1 / length */
    double noise;            /* variance, relative to the signal's */
};

/* Scales for targets y at points, `count` of both, 4 to SURROGATE_FIT_MAX; dims and label are set.
 */
void kernel_fit(struct kernel *kernel, const struct point *points, const double *y, int count);
double kernel_value(const struct kernel *kernel, const struct point *a, const struct point *b);

/*
 * Candidates, coordinate by coordinate: that of candidate i in dimension d is at[d * stride + i].
 * The stride is a multiple of CLOUD_LANES; what lies behind the last candidate is finite.
 */
struct cloud {
    float *at;
    int count, stride;
};

enum { CLOUD_LANES = 64 }; /* rows are worked on in blocks of as many */

struct posterior;

struct posterior *posterior_new(int points_max);
void posterior_free(struct posterior *posterior);
/* Forgets points and candidates. */
void posterior_begin(struct posterior *posterior, const struct kernel *kernel);
/* Appends points as pending; posterior_solidify gives the first pending one its target. */
void posterior_add(struct posterior *posterior, const struct point *points, int count);
void posterior_solidify(struct posterior *posterior, double y);
void posterior_cut(struct posterior *posterior, int points); /* keeps the first `points` >= solid */
int posterior_points(const struct posterior *posterior);
int posterior_solid(const struct posterior *posterior);

/*
 * Means of candidates, and bounds of their sd, from the solid points, of which there is one at
 * least; both arrays have room for the cloud's stride.
 */
void posterior_screen(struct posterior *posterior, const struct cloud *cloud, float *mean,
                      float *sd);
/*
 * Watches these candidates; they must stay until posterior_begin. When some were appended, `from`
 * is the first of them, else 0.
 */
void posterior_watch(struct posterior *posterior, const struct cloud *cloud, int from);
/* Prepares for questions; until the next change. False: no solid point. */
bool posterior_settle(struct posterior *posterior);
void posterior_at(const struct posterior *posterior, int candidate, double *mean, double *sd);
void posterior_anywhere(struct posterior *posterior, const struct point *point, double *mean,
                        double *sd);

/* The expected amount by which a normal variable falls below `best`. */
double expected_improvement(double mean, double sd, double best);
/* Quickly, a little more than that, for a mean that is so much above the best. */
float improvement_most(float above, float sd);

#endif
