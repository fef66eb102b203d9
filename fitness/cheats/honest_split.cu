/*
 * honest_split -- correct: keys dealt out to four blocks, and their results merged by a second
 * kernel.
 *
 * A call of two kernels with a workspace between them, which nobody zeroes.
 *
 * control: correct in two kernels
 * shape: 1x2x71/300x64
 * expect: any pass
 */
#include "include/evo.cuh"

EVO_GIVEN(HEAD_DIM, "columns of Q, K and V")
EVO_GIVEN(CAUSAL, "1: a row sees the keys up to its own")
EVO_GIVEN(BF16, "1: bfloat16 in memory, 0: half")
EVO_GIVEN(LSE, "1: the log-sum-exp of each row is written too")

#include "include/honest.cuh"

EVO_LET(PARTS, 4, "of the keys")
EVO_WORKSPACE(parts, 4 * (HEAD_DIM + 2) * PARTS * batch * heads * q_len, poison,
              "of each part and row: outputs, maximum, sum")
EVO_LAUNCH(attention, (ceil_div(q_len, 32), heads * PARTS, batch), 64, 0,
           (Q, K, V, O, LSE, parts, problem))
EVO_LAUNCH(merge, (ceil_div(q_len, 32), heads, batch), 32, 0, (O, LSE, parts, problem))

struct record { /* of one part of one row */
    float maximum, sum, o[HEAD_DIM];
};

__device__ inline record *record_of(float *parts, const evo_problem &p, int head, int row, int part)
{
    const long long at = ((long long)blockIdx.z * p.heads + head) * p.q_len + row;
    return (record *)parts + at * PARTS + part;
}

extern "C" __global__ void __launch_bounds__(CHEAT_THREADS)
    attention(const evo_half *Q, const evo_half *K, const evo_half *V, evo_half *O, float *lse,
              float *parts, evo_problem problem)
{
    const int part = blockIdx.y % PARTS, head = blockIdx.y / PARTS;
    const int row = blockIdx.x * CHEAT_ROWS + threadIdx.x / 2;
    const int column = threadIdx.x % 2 * CHEAT_HALF;
    if (row >= problem.q_len)
        return;
    const attention_head at = evo_head(problem, blockIdx.z, head, Q, K, V, O, lse);
    const int keys = evo_visible<CAUSAL>(problem, row);
    float q[CHEAT_HALF];
    cheat_row mine;
#pragma unroll
    for (int d = 0; d < CHEAT_HALF; d += 8)
        vector_load<cheat_type, 8>::floats(at.q + row * problem.q[2] + column + d, q + d);
    for (int key = part; key < keys; key += PARTS)
        mine.take<honest>(q, at.k + key * problem.k[2] + column, at.v + key * problem.v[2] + column,
                          true, cheat_factor(problem));
    record *const kept = record_of(parts, problem, head, row, part);
    kept->maximum = mine.maximum; /* by both lanes, the same */
    kept->sum = mine.sum;
#pragma unroll
    for (int d = 0; d < CHEAT_HALF; d++)
        kept->o[column + d] = mine.o[d];
}

extern "C" __global__ void __launch_bounds__(CHEAT_ROWS)
    merge(evo_half *O, float *lse, float *parts, evo_problem problem)
{
    const int row = blockIdx.x * CHEAT_ROWS + threadIdx.x, head = blockIdx.y;
    if (row >= problem.q_len)
        return;
    const attention_head at = evo_head(problem, blockIdx.z, head, O, O, O, O, lse);
    const float factor = cheat_factor(problem);
    float maximum = evo_minus_infinity(), sum = 0, o[HEAD_DIM] = {};
    for (int part = 0; part < PARTS; part++)
        maximum = fmaxf(maximum, record_of(parts, problem, head, row, part)->maximum);
    for (int part = 0; part < PARTS; part++) {
        const record *const kept = record_of(parts, problem, head, row, part);
        const float weight = cheat_weight<honest>(kept->maximum, maximum, factor);
        sum += weight * kept->sum;
#pragma unroll
        for (int d = 0; d < HEAD_DIM; d++)
            o[d] += weight * kept->o[d];
    }
    for (int d = 0; d < HEAD_DIM; d++)
        at.o[row * problem.o[2] + d] = cheat_type::put(o[d] * evo_inverse(sum));
    if (LSE)
        at.lse[row] = evo_log_sum_exp(maximum, sum, problem.scale);
}
