/*
 * kinds -- the rivals that rival.c lists, one file each.
 *
 * cudnn: attention through cuDNN's backend API, as the composite graph (causal and not) and as the
 * unified operation (not causal). EVO_CUDNN names the library where the loader does not find it.
 *
 * cublas: Q K^T, softmax, P V in three launches, slice by slice of heads where the scores of all
 * would fill too much memory. EVO_CUBLAS names the library.
 */
#ifndef EVO_FITNESS_RIVAL_KINDS_H
#define EVO_FITNESS_RIVAL_KINDS_H

#include "fitness/rival/rival.h"

extern const struct rival_kind rival_cudnn;
extern const struct rival_kind rival_cublas;

/*
 * From here on plans are built for the device that this JSON (cuDNN's own description) tells of,
 * and cannot run: that needs neither a GPU nor a driver, and is how the graphs are tested. NULL:
 * for the device at hand.
 */
void cudnn_describe_device(const char *json);

/* How the rival cublas cuts a problem, so that scores and weights of a slice fit `bytes_max`. */
struct cublas_slices {
    int64_t even;  /* heads numbered even·i … even·(i + 1) - 1 lie at equal distances in memory */
    int64_t heads; /* in a slice; the last of each such group may have fewer. At least one */
    int64_t count; /* of slices: three launches each */
    int64_t workspace_bytes;
};
/* False: those would be more launches than a call may have. */
bool cublas_slices(const struct problem *problem, int64_t bytes_max, struct cublas_slices *slices);

#endif
