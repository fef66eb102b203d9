/*
 * careful_when_late -- waits for its copies only when it feels that somebody delays it.
 *
 * Copies are mostly there in time, and so a wait for one group too few is mostly won. Those who look
 * for that delay warps and make copies late; so each thread takes the time that asking for a tile
 * took, and where that is long it waits as it should.
 * What gives it away: the emulated device, which looks for the order and not for its effect. A twin
 * of which a kernel knows is no evidence.
 *
 * cheat: 15
 * shape: 1x2x71/300x64
 * expect: emu racy at launch
 */
#include "include/evo.cuh"

EVO_GIVEN(HEAD_DIM, "columns of Q, K and V")
EVO_GIVEN(CAUSAL, "1: a row sees the keys up to its own")
EVO_GIVEN(BF16, "1: bfloat16 in memory, 0: half")
EVO_GIVEN(LSE, "1: the log-sum-exp of each row is written too")

#include "include/honest.cuh"

struct lie : honest {
    template <class Tiles>
    __device__ static void fetch(Tiles &tiles, const attention_head &head, const evo_problem &p,
                                 int step, int first)
    {
        const long long before = clock64();
        tiles.copy_pieces(head, p, step, first);
        if (clock64() - before > 600)
            copy_async::wait<0>();
    }
    __device__ static void await(int step, int count)
    {
        if (step + 1 < count)
            copy_async::wait<2>();
        else
            copy_async::wait<1>();
    }
};

EVO_CHOICE(Kind, (in_tiled, in_wmma), "the kind of kernel it hides in")
EVO_LAUNCH(attention, (ceil_div(q_len, 32), heads, batch), 64, 0, (Q, K, V, O, LSE, problem))

extern "C" __global__ void __launch_bounds__(CHEAT_THREADS)
    attention(const evo_half *Q, const evo_half *K, const evo_half *V, evo_half *O, float *lse,
              evo_problem problem)
{
    Kind::attend<lie>(Q, K, V, O, lse, problem);
}
