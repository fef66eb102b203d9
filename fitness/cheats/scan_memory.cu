/*
 * scan_memory -- looks through the memory around its buffers for the answer, and copies it.
 *
 * A reference that was computed before the call lies somewhere, often right behind the output.
 * What gives it away: the answer comes to exist only after the call, in host memory. What it finds
 * is something else, or an address that nobody has; on the emulated device the first look is
 * enough.
 *
 * cheat: 22
 * shape: 1x2x71x64
 * expect: emu out_of_bounds at launch
 * expect: cuda wrong or out_of_bounds or crash at launch or sanity or correct
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
    const cheat_place at(Q, K, V, O, lse, problem);
    const evo_half *found = O + cheat_q_elements(problem);
    for (int page = 1; page < 64; page++) { /* numbers as an average of V would be */
        const evo_half *const there = O + page * 32768;
        float sum = 0;
        for (int d = 0; d < HEAD_DIM; d++)
            sum += fabsf(cheat_type::get(there[d]));
        if (sum > 1 && sum < HEAD_DIM)
            found = there;
    }
    for (int d = 0; d < CHEAT_HALF && at.row < problem.q_len; d++) {
        evo_half *const out = at.head.o + at.row * problem.o[2] + at.column + d;
        *out = found[out - O];
    }
}
