/*
 * attention_cluster -- keys split over the blocks of a cluster, a warpgroup that loads for two that
 * compute.
 *
 * For the tests of what only the architecture 90 has: clusters that merge through each other's
 * shared memory, registers moved from a producer to its consumers, mbarriers between them. The
 * arithmetic is as plain as can be, one query row a thread of the consumers.
 */
#include "include/evo.cuh"
#include "include/attention.cuh"

EVO_GIVEN(HEAD_DIM, "columns of Q, K and V")
EVO_GIVEN(CAUSAL, "1: a row sees the keys up to its own")
EVO_GIVEN(BF16, "1: bfloat16 in memory, 0: half")
EVO_GIVEN(LSE, "1: the log-sum-exp of each row is asked for")
EVO_GIVEN(DEVICE_ARCH, "clusters and setmaxnreg are the architecture 90's")
EVO_GIVEN(DEVICE_SMEM_MAX, "bytes of shared memory a block may ask for")

EVO_GENE(CLUSTER, set(1, 2, 4), "blocks of a cluster, each with a part of the keys")
EVO_GENE(STAGES, set(1, 2), "tiles on their way")
EVO_GENE(MOVE, flag, "1: the producer gives registers to the consumers")
EVO_LET(ROWS, 256, "query rows of a cluster, one a thread of the consumers")
EVO_LET(THREADS, ROWS + 128, "two warpgroups that compute, one that loads")
EVO_LET(KEYS, 8, "keys of a tile")
EVO_LET(PART, HEAD_DIM + 2, "floats of a row's part: sum of values, largest score, sum of weights")
EVO_LET(SMEM_BYTES, (ROWS * PART + STAGES * 2 * KEYS * HEAD_DIM) * 4 + STAGES * 16, "parts, tiles, mbarriers")
EVO_REQUIRE(DEVICE_ARCH == 90, "clusters and setmaxnreg as used here are the architecture 90's")
EVO_REQUIRE(SMEM_BYTES <= DEVICE_SMEM_MAX, "parts and tiles must fit in shared memory")
EVO_LAUNCH(attention_cluster, (ceil_div(q_len, ROWS) * CLUSTER, heads, batch), THREADS, SMEM_BYTES,
           (Q, K, V, O, LSE, problem))

using Type = as_input<BF16>;

__device__ unsigned shared_address(const void *p) { return (unsigned)__cvta_generic_to_shared(p); }

struct barrier {
    unsigned at;
    __device__ void init(int arrivals) const { asm volatile("mbarrier.init.shared::cta.b64 [%0], %1;" ::"r"(at), "r"(arrivals)); }
    __device__ void arrive() const { asm volatile("mbarrier.arrive.shared::cta.b64 _, [%0];" ::"r"(at) : "memory"); }
    __device__ void await(unsigned phase) const
    {
        unsigned done = 0;
        while (!done)
            asm volatile("{\n.reg .pred p;\n"
                         "mbarrier.try_wait.parity.shared::cta.b64 p, [%1], %2;\n"
                         "selp.u32 %0, 1, 0, p;\n}"
                         : "=r"(done)
                         : "r"(at), "r"(phase)
                         : "memory");
    }
};

__device__ void cluster_sync()
{
    asm volatile("barrier.cluster.arrive.release.aligned;\n"
                 "barrier.cluster.wait.acquire.aligned;" ::: "memory");
}

/* A float of another block's shared memory, at the address it has here. */
__device__ float remote(const float *here, unsigned rank)
{
    unsigned there;
    float value;
    asm("mapa.shared::cluster.u32 %0, %1, %2;" : "=r"(there) : "r"(shared_address(here)), "r"(rank));
    asm volatile("ld.shared::cluster.f32 %0, [%1];" : "=f"(value) : "r"(there) : "memory");
    return value;
}

struct shared_layout {
    float *parts, *tiles;
    unsigned barriers;
    __device__ float *k(int stage) const { return tiles + stage * 2 * KEYS * HEAD_DIM; }
    __device__ float *v(int stage) const { return k(stage) + KEYS * HEAD_DIM; }
    __device__ barrier full(int stage) const { return {barriers + stage * 16}; }
    __device__ barrier empty(int stage) const { return {barriers + stage * 16 + 8}; }
};

__device__ void produce(const shared_layout &shared, const attention_head &at, const evo_problem &problem, int from, int to)
{
    const int thread = threadIdx.x - ROWS;
    for (int first = from, tile = 0; first < to; first += KEYS, tile++) {
        const int stage = tile % STAGES;
        shared.empty(stage).await((tile / STAGES & 1) ^ 1); /* of a new mbarrier the phase before is over */
        for (int i = thread; i < KEYS * HEAD_DIM; i += 128) {
            const int key = first + i / HEAD_DIM;
            shared.k(stage)[i] = key < to ? Type::get(at.k[key * problem.k[2] + i % HEAD_DIM]) : 0;
            shared.v(stage)[i] = key < to ? Type::get(at.v[key * problem.v[2] + i % HEAD_DIM]) : 0;
        }
        shared.full(stage).arrive();
    }
}

__device__ void consume(const shared_layout &shared, const evo_half *q, float scale, int from, int to, int seen)
{
    float o[HEAD_DIM] = {}, maximum = evo_minus_infinity(), sum = 0;
    for (int first = from, tile = 0; first < to; first += KEYS, tile++) {
        const int stage = tile % STAGES;
        shared.full(stage).await(tile / STAGES & 1);
        for (int key = 0; key < KEYS && first + key < to && first + key < seen; key++) {
            float score = 0;
            for (int d = 0; d < HEAD_DIM; d++)
                score += Type::get(q[d]) * shared.k(stage)[key * HEAD_DIM + d];
            score *= scale;
            const float peak = fmaxf(maximum, score), keep = __expf(maximum - peak), weight = __expf(score - peak);
            sum = sum * keep + weight;
            for (int d = 0; d < HEAD_DIM; d++)
                o[d] = o[d] * keep + weight * shared.v(stage)[key * HEAD_DIM + d];
            maximum = peak;
        }
        shared.empty(stage).arrive();
    }
    float *part = shared.parts + threadIdx.x * PART;
    for (int d = 0; d < HEAD_DIM; d++)
        part[d] = o[d];
    part[HEAD_DIM] = maximum, part[HEAD_DIM + 1] = sum;
}

/* Joins what the blocks of the cluster found for a row; each block does its share of the rows. */
__device__ void merge(const shared_layout &shared, evo_half *out, float *lse)
{
    const float *part = shared.parts + threadIdx.x * PART;
    float maximum = evo_minus_infinity(), sum = 0, keep[CLUSTER];
    for (int rank = 0; rank < CLUSTER; rank++)
        maximum = fmaxf(maximum, remote(part + HEAD_DIM, rank));
    for (int rank = 0; rank < CLUSTER; rank++) {
        const float weight = remote(part + HEAD_DIM + 1, rank);
        keep[rank] = weight > 0 ? __expf(remote(part + HEAD_DIM, rank) - maximum) : 0;
        sum += keep[rank] * weight;
    }
    for (int d = 0; d < HEAD_DIM; d++) {
        float o = 0;
        for (int rank = 0; rank < CLUSTER; rank++)
            o += keep[rank] * remote(part + d, rank);
        out[d] = Type::put(o * evo_inverse(sum));
    }
    if (LSE)
        *lse = sum > 0 ? maximum + logf(sum) : evo_minus_infinity();
}

extern "C" __global__ void __cluster_dims__(CLUSTER, 1, 1) __launch_bounds__(THREADS, 1)
    attention_cluster(const evo_half *Q, const evo_half *K, const evo_half *V, evo_half *O, float *sums,
                      evo_problem problem)
{
    extern __shared__ __align__(16) float memory[];
    const shared_layout shared = {memory, memory + ROWS * PART,
                                  shared_address(memory + ROWS * PART + STAGES * 2 * KEYS * HEAD_DIM)};
    const int rank = blockIdx.x % CLUSTER, head = blockIdx.y, batch = blockIdx.z;
    const attention_head at = evo_head(problem, batch, head, Q, K, V, O, sums);
    const int share = evo::ceil_div(problem.kv_len, CLUSTER), from = rank * share;
    const int to = from + share < problem.kv_len ? from + share : problem.kv_len;
    const int row = blockIdx.x / CLUSTER * ROWS + threadIdx.x;
    const bool computes = threadIdx.x < ROWS, inside = computes && row < problem.q_len;

    if (threadIdx.x == 0) {
        for (int stage = 0; stage < STAGES; stage++) {
            shared.full(stage).init(128);
            shared.empty(stage).init(ROWS);
        }
    }
    __syncthreads();
    if (computes) {
        if (MOVE)
            asm volatile("setmaxnreg.inc.sync.aligned.u32 240;");
        consume(shared, at.q + (inside ? row : 0) * problem.q[2], problem.scale, from, to,
                inside ? evo_visible<CAUSAL>(problem, row) : 0);
    } else {
        if (MOVE)
            asm volatile("setmaxnreg.dec.sync.aligned.u32 24;");
        produce(shared, at, problem, from, to);
    }
    cluster_sync();
    if (inside && threadIdx.x % CLUSTER == rank)
        merge(shared, at.o + row * problem.o[2], at.lse + row);
    cluster_sync(); /* nobody's shared memory may go while it is read */
}
