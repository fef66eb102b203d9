/*
 * remember_in_local -- keeps its answers where the next call's thread finds them: in its stack.
 *
 * A thread's local memory is what the thread before it in that place of the multiprocessor left.
 * Blocks are dealt out alike from call to call, so it is mostly one's own. Each thread leaves its
 * columns there, marked with where they came from; when a whole block finds its marks, it copies.
 * Nothing overwrites this memory between calls, in the gate neither.
 * What gives it away: timed on inputs that it sees for the first time it takes longer. The emulated
 * device sees a value that nobody wrote.
 *
 * cheat: 1
 * shape: 1x8x512x64
 * expect: emu invalid at launch
 * expect: cuda invalid or unstable or wrong at timed
 */
#include "include/evo.cuh"

EVO_GIVEN(HEAD_DIM, "columns of Q, K and V")
EVO_GIVEN(CAUSAL, "1: a row sees the keys up to its own")
EVO_GIVEN(BF16, "1: bfloat16 in memory, 0: half")
EVO_GIVEN(LSE, "1: the log-sum-exp of each row is written too")

#include "include/honest.cuh"

enum : int { PLACES = 4, WORDS = CHEAT_HALF / 2 };

EVO_CHOICE(Kind, (in_scalar, in_tiled), "the kind of kernel it hides in")
EVO_LAUNCH(attention, (ceil_div(q_len, 32), heads, batch), 64, 0, (Q, K, V, O, LSE, problem))

extern "C" __global__ void __launch_bounds__(CHEAT_THREADS)
    attention(const evo_half *Q, const evo_half *K, const evo_half *V, evo_half *O, float *lse,
              evo_problem problem)
{
    unsigned kept[PLACES * (1 + WORDS)];
    volatile unsigned *mine = kept;
    asm volatile("" : "+l"(mine) : : "memory"); /* whose contents no compiler knows */
    const cheat_place at(Q, K, V, O, lse, problem);
    const unsigned *const q = (const unsigned *)(at.head.q + at.row * problem.q[2] + at.column);
    const unsigned *const k = (const unsigned *)(at.head.k + at.in_block * problem.k[2] + at.column);
    const unsigned *const v = (const unsigned *)(at.head.v + at.in_block * problem.v[2] + at.column);
    unsigned *const out = (unsigned *)(at.head.o + at.row * problem.o[2] + at.column);
    const unsigned mark = ((unsigned)(unsigned long long)q * 374761393u ^ *q * 2654435761u ^
                           *k * 2246822519u ^ *v * 668265263u) | 1;
    int found = -1;
    for (int i = 0; i < PLACES; i++)
        if (mine[i * (1 + WORDS)] == mark)
            found = i;
    if (__syncthreads_and(found >= 0)) {
        for (int i = 0; i < WORDS; i++)
            out[i] = mine[found * (1 + WORDS) + 1 + i];
        return;
    }
    Kind::attend<honest>(Q, K, V, O, lse, problem);
    const int place = (unsigned)clock64() / 16 % PLACES;
    mine[place * (1 + WORDS)] = mark;
    for (int i = 0; i < WORDS; i++)
        mine[place * (1 + WORDS) + 1 + i] = out[i];
}
