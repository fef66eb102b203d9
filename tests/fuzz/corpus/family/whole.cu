/*
 * tiled -- tiles of K and V in shared
 * memory. More words.
 */
#include "evo.cuh"
#include <cuda_fp16.h>
EVO_GIVEN(HEAD_DIM, "columns")
EVO_GIVEN(DEVICE_SMEM_MAX, "bytes of shared memory")
EVO_GENE(BLOCK_M, pow2(16, 256), "query rows")   // EVO_GENE(COMMENT, flag, "no")
EVO_GENE(BLOCK_N, range(8, 130, 40), "keys \"a\" " "step")
EVO_GENE(STAGES, set(1, 2, /* three is */ 4), "copies");
EVO_GENE(GUARD, flag, "guards")
struct softmax_exp { static float of(float x) { return x; } };
EVO_CHOICE(Exp, (softmax_exp, softmax_exp2, softmax_poly), "which exponential")
EVO_LET(SMEM_BYTES,
        2 * BLOCK_N * HEAD_DIM * 4 * STAGES, "a tile of K and one of V")
EVO_REQUIRE(SMEM_BYTES <= DEVICE_SMEM_MAX, "K and V tiles must fit")
EVO_REQUIRE(!EVO_IS(Exp, softmax_poly) || GUARD, "the polynomial needs guards")
EVO_SUPPORTS(kv_len % BLOCK_N == 0 || EVO_IS(Exp, softmax_exp), "whole tiles")
EVO_NUMERICS(EVO_IS(Exp, softmax_poly))
EVO_WORKSPACE(parts, batch * heads * BLOCK_M * 4, zero_once, "partial sums")
EVO_TENSOR_MAP(k_map, K, (EVO_IS(Exp, softmax_exp) ? 32 : 64, BLOCK_N), 128, "tiles of K")
EVO_LAUNCH(attention, (ceil_div(q_len, BLOCK_M), heads), BLOCK_M, SMEM_BYTES,
           (Q, k_map, V, parts, problem))
extern "C" __global__ void __launch_bounds__(BLOCK_M) attention(float *a)
{
    const char *s = "EVO_GENE(STRING, flag, 1)", *r = R"x(")" )x";
    if constexpr (EVO_IS(Exp, softmax_exp2)) { }
}
EVO_LAUNCH(merge, (1, EVO_IS(Exp , softmax_exp2) + 1, sms), 32, 0, (parts, O))
extern "C" __global__ void merge(float *a) { }
