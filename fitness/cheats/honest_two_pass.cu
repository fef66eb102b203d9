/*
 * honest_two_pass -- correct: all maxima first, then all weights; nothing is ever rescaled.
 *
 * The textbook's softmax, one thread a row, each product in FP32. Shares no line with the others.
 *
 * control: correct in two passes
 * shape: 1x2x71/300x64
 * expect: any pass
 */
#include "include/evo.cuh"

EVO_GIVEN(HEAD_DIM, "columns of Q, K and V")
EVO_GIVEN(CAUSAL, "1: a row sees the keys up to its own")
EVO_GIVEN(BF16, "1: bfloat16 in memory, 0: half")
EVO_GIVEN(LSE, "1: the log-sum-exp of each row is written too")

#include "include/honest.cuh"
EVO_LAUNCH(attention, (ceil_div(q_len, 32), heads, batch), 64, 0, (Q, K, V, O, LSE, problem))

extern "C" __global__ void __launch_bounds__(CHEAT_THREADS)
    attention(const evo_half *Q, const evo_half *K, const evo_half *V, evo_half *O, float *lse,
              evo_problem problem)
{
    const attention_head head = evo_head(problem, blockIdx.z, blockIdx.y, Q, K, V, O, lse);
    const int row = blockIdx.x * CHEAT_ROWS + threadIdx.x;
    if (threadIdx.x >= CHEAT_ROWS || row >= problem.q_len)
        return;
    const int keys = evo_visible<CAUSAL>(problem, row);
    const auto score = [&](int key) {
        float dot = 0;
    #pragma unroll 16
        for (int d = 0; d < HEAD_DIM; d++)
            dot += cheat_type::get(head.q[row * problem.q[2] + d]) *
                   cheat_type::get(head.k[key * problem.k[2] + d]);
        return dot * problem.scale;
    };
    float maximum = evo_minus_infinity(), sum = 0, o[HEAD_DIM] = {};
    for (int key = 0; key < keys; key++)
        maximum = fmaxf(maximum, score(key));
    for (int key = 0; key < keys; key++) {
        const float weight = expf(score(key) - maximum);
        sum += weight;
    #pragma unroll
        for (int d = 0; d < HEAD_DIM; d++)
            o[d] += weight * cheat_type::get(head.v[key * problem.v[2] + d]);
    }
    for (int d = 0; d < HEAD_DIM; d++)
        head.o[row * problem.o[2] + d] = cheat_type::put(sum > 0 ? o[d] / sum : 0);
    if (LSE)
        head.lse[row] = sum > 0 ? maximum + logf(sum) : evo_minus_infinity();
}
