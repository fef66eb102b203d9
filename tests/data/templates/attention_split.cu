/*
 * attention_split -- keys split over blocks that fetch their work, and a second kernel that merges.
 *
 * For the tests of launches: kernels in a row, workspaces of every kind, blocks that stay and take
 * one item after another (by a counter that each call finds zeroed, by one that the kernel itself
 * leaves at zero, or in a fixed order), a kernel and memory that some genomes do without, and more
 * shared memory than a launch gets unasked. One query row a thread.
 */
#include "include/evo.cuh"
#include "include/attention.cuh"

EVO_GIVEN(HEAD_DIM, "columns of Q, K and V")
EVO_GIVEN(CAUSAL, "1: a row sees the keys up to its own")
EVO_GIVEN(BF16, "1: bfloat16 in memory, 0: half")
EVO_GIVEN(LSE, "1: the log-sum-exp of each row is asked for")
EVO_GIVEN(DEVICE_SMEM_MAX, "bytes of shared memory a block may ask for")

struct fixed {};
struct zeroed {};
struct restored {};

EVO_GENE(ROWS, set(32, 64), "query rows in a block, one a thread")
EVO_GENE(KEYS, set(16, 128), "keys of a tile")
EVO_GENE(SPLITS, set(1, 2, 3), "parts of the keys, each a piece of work")
EVO_GENE(SHARE, set(1, 3), "pieces of work for a block, on average")
EVO_CHOICE(Next, (fixed, zeroed, restored), "how a block finds its next piece")
EVO_LET(SMEM_BYTES, 2 * KEYS * HEAD_DIM * 4, "tiles of K and V as floats")
EVO_LET(PART_BYTES, (HEAD_DIM + 2) * 4, "a row's part: its sum of values, largest score, sum of weights")
EVO_REQUIRE(SMEM_BYTES <= DEVICE_SMEM_MAX, "the tiles must fit in shared memory")
EVO_WORKSPACE(parts, SPLITS > 1 ? batch * heads * q_len * SPLITS * PART_BYTES : 0, poison, "parts of rows")
EVO_WORKSPACE(counter, EVO_IS(Next, zeroed) ? 4 : 0, zero_call, "the next piece of work")
EVO_WORKSPACE(kept, EVO_IS(Next, restored) ? 8 : 0, zero_once, "the next piece, and blocks that are done")
EVO_LAUNCH(attention_parts, (min(sms, ceil_div(ceil_div(q_len, ROWS) * heads * batch * SPLITS, SHARE))), ROWS,
           SMEM_BYTES, (Q, K, V, O, LSE, parts, counter, kept, problem))
EVO_LAUNCH(attention_merge, (SPLITS > 1 ? ceil_div(q_len, ROWS) : 0, heads, batch), ROWS, 0,
           (O, LSE, parts, problem))

using Type = as_input<BF16>;

/* The pieces of work of a block, one after another. */
__device__ int next_piece(int last, int *counter, int *kept)
{
    __shared__ int next;
    if constexpr (EVO_IS(Next, fixed))
        return last < 0 ? (int)blockIdx.x : last + (int)gridDim.x;
    __syncthreads(); /* the last one has been read by all */
    if (threadIdx.x == 0)
        next = atomicAdd(EVO_IS(Next, zeroed) ? counter : kept, 1);
    __syncthreads();
    return next;
}

/* The last block to be done leaves zeros for the next call. */
__device__ void restore(int *kept)
{
    if (EVO_IS(Next, restored) && threadIdx.x == 0) {
        __threadfence();
        if (atomicAdd(kept + 1, 1) == (int)gridDim.x - 1) {
            __threadfence();
            kept[0] = kept[1] = 0;
        }
    }
}

__device__ void write_row(evo_half *out, float *lse, const float *o, float maximum, float sum)
{
    const float inverse = evo_inverse(sum);
    for (int d = 0; d < HEAD_DIM; d++)
        out[d] = Type::put(o[d] * inverse);
    if (LSE)
        *lse = sum > 0 ? maximum + logf(sum) : evo_minus_infinity();
}

/* The part's place: [batch, head, split, row], a row being HEAD_DIM + 2 floats. */
__device__ float *part_of(float *parts, const evo_problem &problem, int batch, int head, int split, int row)
{
    return parts + (((long long)(batch * problem.heads + head) * SPLITS + split) * problem.q_len + row) * (HEAD_DIM + 2);
}

extern "C" __global__ void __launch_bounds__(ROWS)
    attention_parts(const evo_half *Q, const evo_half *K, const evo_half *V, evo_half *O, float *sums, float *parts,
                    int *counter, int *kept, evo_problem problem)
{
    extern __shared__ float shared[];
    float *k_tile = shared, *v_tile = shared + KEYS * HEAD_DIM;
    const int tiles = evo::ceil_div(problem.q_len, ROWS);
    const int pieces = tiles * problem.heads * problem.batch * SPLITS;

    for (int piece = next_piece(-1, counter, kept); piece < pieces; piece = next_piece(piece, counter, kept)) {
        const int split = piece % SPLITS, row = piece / SPLITS % tiles * ROWS + threadIdx.x;
        const int head = piece / SPLITS / tiles % problem.heads, batch = piece / SPLITS / tiles / problem.heads;
        const attention_head at = evo_head(problem, batch, head, Q, K, V, O, sums);
        const bool inside = row < problem.q_len;
        const evo_half *q = at.q + (inside ? row : 0) * problem.q[2];
        const int share = evo::ceil_div(problem.kv_len, SPLITS), from = split * share;
        const int to = from + share < problem.kv_len ? from + share : problem.kv_len;
        const int seen = inside ? evo_visible<CAUSAL>(problem, row) : 0;
        float o[HEAD_DIM] = {}, maximum = evo_minus_infinity(), sum = 0;

        for (int first = from; first < to; first += KEYS) {
            __syncthreads(); /* the tile before has been read */
            for (int i = threadIdx.x; i < KEYS * HEAD_DIM && first + i / HEAD_DIM < to; i += ROWS) {
                k_tile[i] = Type::get(at.k[(first + i / HEAD_DIM) * problem.k[2] + i % HEAD_DIM]);
                v_tile[i] = Type::get(at.v[(first + i / HEAD_DIM) * problem.v[2] + i % HEAD_DIM]);
            }
            __syncthreads();
            for (int key = 0; key < KEYS && first + key < to && first + key < seen; key++) {
                float score = 0;
                for (int d = 0; d < HEAD_DIM; d++)
                    score += Type::get(q[d]) * k_tile[key * HEAD_DIM + d];
                score *= problem.scale;
                const float peak = fmaxf(maximum, score), keep = __expf(maximum - peak), weight = __expf(score - peak);
                sum = sum * keep + weight;
                for (int d = 0; d < HEAD_DIM; d++)
                    o[d] = o[d] * keep + weight * v_tile[key * HEAD_DIM + d];
                maximum = peak;
            }
        }
        if (SPLITS == 1 && inside) {
            write_row(at.o + row * problem.o[2], at.lse + row, o, maximum, sum);
        } else if (inside) {
            float *part = part_of(parts, problem, batch, head, split, row);
            for (int d = 0; d < HEAD_DIM; d++)
                part[d] = o[d];
            part[HEAD_DIM] = maximum, part[HEAD_DIM + 1] = sum;
        }
    }
    restore(kept);
}

extern "C" __global__ void __launch_bounds__(ROWS)
    attention_merge(evo_half *O, float *sums, float *parts, evo_problem problem)
{
    const int row = blockIdx.x * ROWS + threadIdx.x, head = blockIdx.y, batch = blockIdx.z;
    if (row >= problem.q_len)
        return;
    const attention_head at = evo_head(problem, batch, head, O, O, O, O, sums);
    float o[HEAD_DIM] = {}, maximum = evo_minus_infinity(), sum = 0;
    for (int split = 0; split < SPLITS; split++)
        maximum = fmaxf(maximum, part_of(parts, problem, batch, head, split, row)[HEAD_DIM]);
    for (int split = 0; split < SPLITS; split++) {
        const float *part = part_of(parts, problem, batch, head, split, row);
        const float keep = part[HEAD_DIM + 1] > 0 ? __expf(part[HEAD_DIM] - maximum) : 0; /* 0: it saw no key */
        sum += keep * part[HEAD_DIM + 1];
        for (int d = 0; d < HEAD_DIM; d++)
            o[d] += keep * part[d];
    }
    write_row(at.o + row * problem.o[2], at.lse + row, o, maximum, sum);
}
