/*
 * torn -- a template with a mistake, to see it told where it is.
 */
#include "include/evo.cuh"

EVO_GENE(ROWS, pow2(16, 64), "rows of a block")
EVO_REQUIRE(ROWS <= COLUMNS, "a name nobody declared")
EVO_LAUNCH(torn, (heads), 32, 0, (Q, K, V, O, problem))
