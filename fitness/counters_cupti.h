/*
 * counters_cupti -- the host's half of hardware counters: in how many passes a set is counted, and
 * what the counted bytes mean.
 *
 * It needs CUPTI's library, but neither a driver nor a GPU: a chip is told by its name. A set is
 * added to a configuration in one call, because passes are packed for each call.
 */
#ifndef EVO_FITNESS_COUNTERS_CUPTI_H
#define EVO_FITNESS_COUNTERS_CUPTI_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "fitness/counters.h"

struct counter_host;

/* chip: "GH100". False: CUPTI does not know it, or not these metrics. */
bool counter_host_open(enum counter_set set, const char *chip, struct counter_host **host,
                       struct err *err);
void counter_host_close(struct counter_host *host); /* NULL is fine */
int counter_host_passes(const struct counter_host *host);
const uint8_t *counter_host_config(const struct counter_host *host, size_t *bytes);
/* CUPTI's names, in the order of counters_of. */
const char *const *counter_host_names(const struct counter_host *host, size_t *count);
/* The values of a range, in that order; NAN for what CUPTI could not tell. */
bool counter_host_values(const struct counter_host *host, const uint8_t *data, size_t bytes,
                         size_t range, double values[COUNTERS_MAX], struct err *err);

/* "what: the code's name" in err; false. */
bool counter_error(int code, struct err *err, const char *what);

#endif
