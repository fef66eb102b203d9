/*
 * shared -- shared memory: how much can be read, and how long a word takes to come.
 *
 * The rate is that of 16-byte loads without conflicts. The latency is that of a chain in which each
 * word says where the next one is.
 */
#include "include/evo.cuh"
#include "include/probe.cuh"

EVO_GENE(WARPS, set(1, 16), "warps in a block; 1: the chain")
EVO_GENE(EVERYWHERE, flag, "1: a block on each multiprocessor, 0: one block")
EVO_LET(LOADS, 8, "of a thread in a round")
EVO_LET(ROW, WARPS * 32 * 16, "bytes that a load of all threads reads")
EVO_LET(BYTES, ROW * (LOADS + 1), "of shared memory that is read")
EVO_LET(PER_ROUND, WARPS == 1 ? LOADS : WARPS * 32 * 16 * LOADS,
        "bytes that a block reads in a round; of a chain, words")
EVO_WORKSPACE(report, 4 * 32 * WARPS * sms, poison, "1 from each thread that has the right result")
EVO_LAUNCH(probe, (EVERYWHERE == 1 ? sms : 1), 32 * WARPS, BYTES, (O, report, problem))

__device__ inline uint4 load(unsigned address)
{
    uint4 x;
    asm volatile("ld.shared.v4.u32 {%0, %1, %2, %3}, [%4];"
                 : "=r"(x.x), "=r"(x.y), "=r"(x.z), "=r"(x.w)
                 : "r"(address)
                 : "memory");
    return x;
}

/*
 * All words are 1. Where a round begins depends on what no compiler knows: a word that was read
 * before, and not written since, would not be read again.
 */
__device__ bool read_much(unsigned *words, const evo_problem &problem)
{
    const unsigned base = (unsigned)__cvta_generic_to_shared(words) + threadIdx.x * 16;
    const unsigned step = probe_one(problem) * 48;
    unsigned begin = 0, sum = 0;
    for (int round = 0; round < problem.kv_len; round++) {
#pragma unroll
        for (int i = 0; i < LOADS; i++) {
            const uint4 x = load(base + begin + i * ROW);
            sum += x.x + x.y;
            sum += x.z + x.w;
        }
        begin = (begin + step) % ROW;
    }
    return sum == 4u * LOADS * problem.kv_len;
}

/* Word i holds the address of word i + 33, in a ring. */
__device__ bool follow(unsigned *words, const evo_problem &problem)
{
    const unsigned base = (unsigned)__cvta_generic_to_shared(words);
    unsigned at = base;
    for (int round = 0; round < problem.kv_len; round++)
#pragma unroll
        for (int i = 0; i < LOADS; i++)
            asm volatile("ld.shared.u32 %0, [%0];" : "+r"(at)::"memory");
    return at == base + 4 * (33u * LOADS * problem.kv_len % (BYTES / 4));
}

extern "C" __global__ void __launch_bounds__(32 * WARPS)
    probe(evo_half *, unsigned *report, evo_problem problem)
{
    extern __shared__ uint4 evo_shared[];
    unsigned *words = (unsigned *)evo_shared;
    const unsigned base = (unsigned)__cvta_generic_to_shared(words);
    for (int i = threadIdx.x; i < BYTES / 4; i += 32 * WARPS)
        words[i] = WARPS > 1 ? probe_one(problem) : base + 4 * ((i + 33) % (BYTES / 4));
    __syncthreads();
    probe_report(report, WARPS > 1 ? read_much(words, problem) : follow(words, problem));
}
