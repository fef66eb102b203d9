/*
 * other -- a second small family, which no device of today can hold.
 */
#include "include/evo.cuh"

EVO_GIVEN(DEVICE_SMEM_MAX, "bytes of shared memory a block may ask for")
EVO_GENE(ROWS, pow2(16, 64), "rows of a block")
EVO_REQUIRE(ROWS * 65536 <= DEVICE_SMEM_MAX, "the tile must fit in shared memory")
EVO_LAUNCH(other, (heads), 32, ROWS * 65536, (Q, K, V, O, problem))
