/*
 * kinds -- the rivals that rival.c lists, one file each.
 *
 * cudnn: attention through cuDNN's backend API, as the composite graph (causal and not) and as the
 * unified operation (not causal). EVO_CUDNN names the library where the loader does not find it.
 */
#ifndef EVO_FITNESS_RIVAL_KINDS_H
#define EVO_FITNESS_RIVAL_KINDS_H

#include "fitness/rival/rival.h"

extern const struct rival_kind rival_cudnn;

/*
 * From here on plans are built for the device that this JSON (cuDNN's own description) tells of,
 * and cannot run: that needs neither a GPU nor a driver, and is how the graphs are tested. NULL:
 * for the device at hand.
 */
void cudnn_describe_device(const char *json);

#endif
