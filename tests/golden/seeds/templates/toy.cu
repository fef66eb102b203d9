/*
 * toy -- a small family for the tests of seeds: nothing here is fast, or about attention.
 */
#include "include/evo.cuh"

EVO_GIVEN(HEAD_DIM, "columns of Q, K and V")
EVO_GIVEN(DEVICE_SMEM_MAX, "bytes of shared memory a block may ask for")
EVO_GENE(ROWS, pow2(16, 256), "rows of a block")
EVO_GENE(WARPS, set(1, 2, 4), "warps of a block")
EVO_CHOICE(Order, (forwards, backwards), "which way the keys are walked")
EVO_LET(SMEM_BYTES, ROWS * HEAD_DIM * 16, "one tile")
EVO_REQUIRE(SMEM_BYTES <= DEVICE_SMEM_MAX, "the tile must fit in shared memory")
EVO_SUPPORTS(q_len <= 4096, "rows are counted in 12 bits")
EVO_LAUNCH(toy, (ceil_div(q_len, ROWS), heads), 32 * WARPS, SMEM_BYTES, (Q, K, V, O, problem))
