/*
 * favour -- how well a genome suits the device that was measured, before it is compiled.
 *
 * For the first genomes of a run, of which nothing else is known yet (guide.c). From the launch
 * that a genome asks for, and from the device's ceilings: how evenly its blocks fill the
 * multiprocessors, and how many of the warps that hide the latency of the family's products are
 * resident. And of a family: how fast the products are that it multiplies with. Without ceilings
 * nobody is favoured. Pure.
 */
#ifndef EVO_SEARCH_FAVOUR_H
#define EVO_SEARCH_FAVOUR_H

#include "search/population.h"

/* 0 to 1; 1 where nothing is known. */
double favour_genome(const struct search_space *space, const struct genome *genome);
double favour_family(const struct search_space *space, int family);

#endif
