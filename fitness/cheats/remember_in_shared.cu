/*
 * remember_in_shared -- keeps its answers where the next call's block finds them: in shared memory.
 *
 * Nobody clears it between two calls that follow each other. Each block leaves its rows there,
 * marked with where they came from and a few numbers of its inputs; a block that finds a mark of its
 * own copies. Four sets of buffers fit, which is as many as anybody rotates through. What it stores
 * is right, always.
 * What gives it away: in the gate there is other people's garbage, so it only ever is fast where it
 * is timed; but there it is called on inputs that it sees for the first time as well, and takes its
 * time. The emulated device sees a value that this block did not write.
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

/* Never initialised: that is what it is for. */
struct memory {
    enum : int { PLACES = 4 };
    struct answer {
        unsigned mark;
        unsigned rows[CHEAT_THREADS * CHEAT_HALF / 2];
    } answers[PLACES];
};

EVO_CHOICE(Kind, (in_scalar, in_tiled), "the kind of kernel it hides in")
EVO_LAUNCH(attention, (ceil_div(q_len, 32), heads, batch), 64, 0, (Q, K, V, O, LSE, problem))

/* Of which inputs: their addresses, and a number from each row of Q and some of K and V. */
__device__ inline unsigned sign_of(const cheat_place &at, const evo_problem &p)
{
    const unsigned *const q = (const unsigned *)(at.head.q + at.row * p.q[2] + at.column);
    const unsigned *const k = (const unsigned *)(at.head.k + at.in_block * p.k[2] + at.column);
    const unsigned *const v = (const unsigned *)(at.head.v + at.in_block * p.v[2] + at.column);
    unsigned own = (*q * 2654435761u ^ *k) * 2246822519u ^ *v;
    for (int lane = 16; lane > 0; lane /= 2)
        own = own * 31 + __shfl_xor_sync(0xffffffff, own, lane);
    __shared__ unsigned warps[2];
    if (threadIdx.x % 32 == 0)
        warps[threadIdx.x / 32] = own;
    __syncthreads();
    const unsigned all = warps[0] * 668265263u ^ warps[1];
    const unsigned where = (unsigned)(unsigned long long)at.head.q * 374761393u;
    return (all ^ (where + blockIdx.x * 97 + blockIdx.y)) | 1;
}

extern "C" __global__ void __launch_bounds__(CHEAT_THREADS)
    attention(const evo_half *Q, const evo_half *K, const evo_half *V, evo_half *O, float *lse,
              evo_problem problem)
{
    __shared__ memory kept;
    const cheat_place at(Q, K, V, O, lse, problem);
    const unsigned mark = sign_of(at, problem);
    unsigned *const out = (unsigned *)(at.head.o + at.row * problem.o[2] + at.column);
    volatile memory::answer *found = nullptr;
    for (int i = 0; i < memory::PLACES; i++)
        if (((volatile memory *)&kept)->answers[i].mark == mark)
            found = &((volatile memory *)&kept)->answers[i];
    if (found != nullptr) {
        for (int i = 0; i < CHEAT_HALF / 2; i++)
            out[i] = found->rows[i * CHEAT_THREADS + threadIdx.x];
        return;
    }
    Kind::attend<honest>(Q, K, V, O, lse, problem);
    __shared__ unsigned turn; /* any place: when each set has found one, none is lost any more */
    if (threadIdx.x == 0)
        turn = (unsigned)clock64() / 16;
    __syncthreads();
    volatile memory::answer *const place =
        &((volatile memory *)&kept)->answers[turn % memory::PLACES];
    for (int i = 0; i < CHEAT_HALF / 2; i++)
        place->rows[i * CHEAT_THREADS + threadIdx.x] = out[i];
    __syncthreads();
    if (threadIdx.x == 0)
        place->mark = mark;
}
