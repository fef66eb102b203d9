/*
 * global -- memory beyond L1: how much can be read, and how long a word takes to come.
 *
 * The rate is that of all multiprocessors reading 16 bytes a thread, around L1: again and again a
 * buffer that L2 holds, or once through one that it cannot hold. The latency is that of a chain: an
 * address is known when the word before it has come.
 */
#include "include/evo.cuh"
#include "include/probe.cuh"

EVO_GENE(WARPS, set(1, 16), "warps in a block; 1: the chain")
EVO_GENE(STREAM, flag, "1: a buffer as long as the rounds, 0: 16 MiB again and again")
EVO_LET(LOADS, 8, "of a thread in a round")
EVO_LET(CHUNK, WARPS * 32 * 16 * LOADS, "bytes that a block reads in a round")
EVO_LET(BLOCKS, WARPS == 1 ? 1 : 2, "on a multiprocessor")
EVO_LET(FAR, 16384 * 8 + 128, "bytes from a word of a streaming chain to the next")
EVO_LET(PER_ROUND, WARPS == 1 ? LOADS : CHUNK * BLOCKS,
        "bytes that a multiprocessor reads in a round; of a chain, words")
EVO_WORKSPACE(report, 4 * 32 * WARPS * BLOCKS * sms, poison,
              "1 from each thread that has the right result")
EVO_WORKSPACE(data,
              STREAM == 0  ? 16777216
              : WARPS == 1 ? LOADS * FAR * kv_len + 16
                           : CHUNK * BLOCKS * sms * kv_len,
              zero_once, "what is read: zeros")
EVO_WORKSPACE(flush, STREAM == 1 && WARPS == 1 ? 134217728 : 0, poison,
              "written before each call, so that L2 holds nothing of a streaming chain")
EVO_LAUNCH(probe, (WARPS == 1 ? 1 : BLOCKS * sms), 32 * WARPS, 0, (O, report, data, problem))

__device__ inline uint4 load(const char *at)
{
    uint4 x;
    asm volatile("ld.global.cg.v4.u32 {%0, %1, %2, %3}, [%4];"
                 : "=r"(x.x), "=r"(x.y), "=r"(x.z), "=r"(x.w)
                 : "l"(at)
                 : "memory");
    return x;
}

/* In each round the blocks read chunks side by side; in the next, those behind. */
__device__ bool read_much(const char *data, const evo_problem &problem)
{
    unsigned sum = 0;
    for (int round = 0; round < problem.kv_len; round++) {
        const unsigned chunk = blockIdx.x + round * gridDim.x;
        const char *from = data + (STREAM ? chunk : chunk % (16777216 / CHUNK)) * (size_t)CHUNK;
        uint4 x[LOADS];
#pragma unroll
        for (int i = 0; i < LOADS; i++)
            x[i] = load(from + (i * 32 * WARPS + threadIdx.x) * 16);
#pragma unroll
        for (int i = 0; i < LOADS; i++)
            sum |= x[i].x | x[i].y | x[i].z | x[i].w;
    }
    return sum == 0;
}

__device__ bool follow(const char *data, const evo_problem &problem)
{
    unsigned long long at = 0, word = 0;
    for (int round = 0; round < problem.kv_len; round++)
#pragma unroll
        for (int i = 0; i < LOADS; i++) {
            unsigned x;
            asm volatile("ld.global.cg.u32 %0, [%1];" : "=r"(x) : "l"(data + at + word) : "memory");
            word = x;
            at = STREAM ? at + FAR : (at + 4224) & 1048575;
        }
    return word == 0;
}

extern "C" __global__ void __launch_bounds__(32 * WARPS)
    probe(evo_half *, unsigned *report, const char *data, evo_problem problem)
{
    probe_report(report, WARPS > 1 ? read_much(data, problem) : follow(data, problem));
}
