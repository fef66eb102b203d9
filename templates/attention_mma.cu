/*
 * attention_mma -- fused attention on mma.sync: scores, softmax and output never leave registers.
 *
 * A warp holds 16 or more query rows. It multiplies them with a tile of keys, turns the scores into
 * weights where they are (two neighbouring products are an operand of the next one, as mma.cuh
 * tells) and multiplies these with the tile of values: the order of work of FlashAttention-2. Tiles
 * come by cp.async into a ring, swizzled, so that ldmatrix reads them without bank conflicts.
 *
 * Keys are shared out three ways: a tile after another, over sets of warps of a block (KEY_SETS),
 * and over blocks (SPLITS). Sets and blocks have a softmax each; their results are merged in shared
 * memory, and by whichever block comes last. With few rows, more sets keep more of the machine
 * busy; with few tiles for each set, all of them fit the ring and every load is under way before
 * the first product (arrive_apart).
 *
 * Numerics: FP32 by default; weights are rounded to 16 bits, their sums are taken before that. FP16
 * scores (QkSum) overflow beyond 65504; an FP16 product (PvSum) is summed in FP16 within one tile
 * of at most 128 keys, tiles in FP32.
 *
 * What makes it fast: nothing but tiles in shared memory, one or two barriers a tile (none for sets
 * of one warp). What it cannot do: wgmma. mma.sync reaches about six tenths of a Hopper's tensor
 * cores, so this family is for other devices, and for shapes too small for that to matter.
 */
#include "include/evo.cuh"
#include "include/copy.cuh"
#include "include/mma.cuh"
#include "include/online.cuh"
#include "include/ring.cuh"

EVO_GIVEN(HEAD_DIM, "columns of Q, K and V")
EVO_GIVEN(CAUSAL, "1: a row sees the keys up to its own")
EVO_GIVEN(BF16, "1: bfloat16 in memory, 0: half")
EVO_GIVEN(LSE, "1: the log-sum-exp of each row is written too")
EVO_GIVEN(DEVICE_SMEM_MAX, "bytes of shared memory a block may ask for")

/* Which rows a block takes. Under a causal mask the last rows have most work, and come first. */
struct rows_first { /* blocks of one head run side by side, and share its keys in L2 */
    __device__ static int rows() { return blockIdx.x; }
    __device__ static int head() { return blockIdx.y; }
};
struct heads_first { /* the same rows of all heads: blocks that run side by side are equally long */
    __device__ static int rows() { return blockIdx.y; }
    __device__ static int head() { return blockIdx.x; }
};

/* Where the fragments of Q are when a product wants them. */
struct query_registers { /* read once: HEAD_DIM / 4 registers for 16 rows */
    enum : int { FROM_SHARED = 1, HELD = 1 };
};
struct query_shared { /* read again for every tile */
    enum : int { FROM_SHARED = 1, HELD = 0 };
};
struct query_global { /* in registers as well, but past shared memory and the barrier it needs */
    enum : int { FROM_SHARED = 0, HELD = 1 };
};

/*
 * Which tiles have code of their own: none, and each asks whether it has hidden keys; the first,
 * which finds nothing to rescale; those with hidden keys, and others do not ask.
 */
struct loop_one;
struct loop_first;
struct loop_masked;

/* A lane stores the 4 bytes that it has, or by way of shared memory 16 bytes of a row. */
struct store_fragments;
struct store_rows;

EVO_GENE(BLOCK_M, pow2(16, 256), "query rows in a block")
EVO_GENE(BLOCK_N, set(16, 32, 48, 64, 96, 128), "keys in a tile")
EVO_GENE(WARPS, pow2(1, 16), "warps in a block")
EVO_GENE(KEY_SETS, pow2(1, 8), "sets of warps in a block, each with keys of its own")
EVO_GENE(SPLITS, pow2(1, 8), "blocks that split the keys of the same rows")
EVO_GENE(STAGES, range(1, 4), "tiles of K and V in shared memory, for each set")
EVO_GENE(PARTS, set(1, 2, 4), "parts of a tile that are waited for one by one")
EVO_GENE(BLOCKS, range(1, 4), "blocks of a multiprocessor that must find registers")
EVO_GENE(PREFETCH, set(0, 128, 256), "bytes that a load brings to L2")
EVO_GENE(POLYNOMIALS, set(0, 1, 2, 4), "exponentials of eight that the FMA pipe does")
EVO_CHOICE(Query, (query_registers, query_shared, query_global), "where fragments of Q come from")
EVO_CHOICE(Arrival, (arrive_apart, arrive_together), "whether V is waited for with K, or after it")
EVO_CHOICE(Loop, (loop_one, loop_first, loop_masked), "which tiles have code of their own")
EVO_CHOICE(Rescale, (rescale_always, rescale_changed, rescale_lazy), "when the output is rescaled")
EVO_CHOICE(Store, (store_fragments, store_rows), "how the output is stored")
EVO_CHOICE(Order, (rows_first, heads_first), "which blocks run side by side")
EVO_CHOICE(QkSum, (as_float, as_half), "what the tensor cores sum scores in")
EVO_CHOICE(PvSum, (as_float, as_half), "what they sum a tile's weighted V in")

EVO_LET(THREADS, 32 * WARPS, "threads in a block")
EVO_LET(SET_WARPS, max(1, WARPS / KEY_SETS), "warps of a set")
EVO_LET(ROW_TILES, BLOCK_M / (16 * SET_WARPS), "times 16 rows that a warp holds")
EVO_LET(SHARES, KEY_SETS * SPLITS, "shares into which the keys of a row go")
EVO_LET(TILE_BYTES, 2 * BLOCK_N * HEAD_DIM, "a tile of K, or of V")
EVO_LET(QUERY_BYTES,
        EVO_IS(Query, query_global) && EVO_IS(Store, store_fragments) ? 0 : 2 * BLOCK_M * HEAD_DIM,
        "the tile of Q, where the output is staged later")
EVO_LET(PITCH, HEAD_DIM + 8, "floats from one row of a set's result to the next: no bank conflicts")
EVO_LET(RESULT_BYTES, SHARES == 1 ? 0 : 4 * BLOCK_M * (PITCH + 2), "result and statistics of a set")
EVO_LET(SET_BYTES, max(2 * STAGES * TILE_BYTES, RESULT_BYTES), "a set's ring, then its result")
EVO_LET(SMEM_BYTES, QUERY_BYTES + KEY_SETS * SET_BYTES, "shared memory of a block")
EVO_LET(REGISTERS,
        48 + ROW_TILES *
                 (HEAD_DIM / 2 + BLOCK_N / 2 + (EVO_IS(Query, query_shared) ? 4 : HEAD_DIM / 4) +
                  (EVO_IS(PvSum, as_half) ? HEAD_DIM / 4 : 0)),
        "registers of a thread, about: output, scores, queries, a tile's product")

EVO_REQUIRE(HEAD_DIM == 64 || HEAD_DIM == 128, "a head has 64 or 128 columns")
EVO_REQUIRE(WARPS % KEY_SETS == 0, "sets have as many warps each")
EVO_REQUIRE(BLOCK_M % (16 * SET_WARPS) == 0, "a warp needs a product's 16 rows")
EVO_REQUIRE(BLOCK_N % (16 * PARTS) == 0, "a part of a tile needs 16 keys")
EVO_REQUIRE(BLOCK_N / PARTS * HEAD_DIM / 8 % (32 * SET_WARPS) == 0,
            "a part of a tile must deal out evenly to the set's threads")
EVO_REQUIRE(SMEM_BYTES <= DEVICE_SMEM_MAX,
            "Q and the rings, or the results, must fit in shared memory")
EVO_REQUIRE(REGISTERS <= min(255, 65536 / (THREADS * BLOCKS) / 8 * 8),
            "output, scores and queries must fit in registers")
EVO_REQUIRE(BLOCKS == 1 ||
                THREADS * BLOCKS > 256 && BLOCKS * (SMEM_BYTES + 1024) <= DEVICE_SMEM_MAX + 1024,
            "registers are worth limiting where they, not shared memory, keep blocks out")
EVO_REQUIRE(EVO_IS(Arrival, arrive_apart) || STAGES >= 2 && PARTS == 1,
            "to wait for K and V together needs a second tile, and no parts")
EVO_REQUIRE(SHARES == 1 || EVO_IS(Store, store_fragments),
            "merged results are stored as rows anyway")
EVO_REQUIRE(EVO_IS(PvSum, as_float) || !EVO_IS(Rescale, rescale_lazy),
            "FP16 sums of lazily scaled weights, up to 256 each, could overflow")
EVO_REQUIRE(BF16 == 0 || EVO_IS(QkSum, as_float) && EVO_IS(PvSum, as_float),
            "bfloat16 is summed in FP32")
EVO_NUMERICS(EVO_IS(QkSum, as_half) || EVO_IS(PvSum, as_half))
EVO_SUPPORTS(SPLITS == 1 || 4 * SPLITS * batch * heads * q_len * (HEAD_DIM + 2) <= pow2(30),
             "the results of all blocks fit in 1 GiB")
EVO_WORKSPACE(results, SPLITS == 1 ? 16 : 4 * SPLITS * batch * heads * q_len * (HEAD_DIM + 2),
              poison, "of each split: output rows, then maxima and sums")
EVO_WORKSPACE(arrivals, 4 * (SPLITS == 1 ? 1 : batch * heads * ceil_div(q_len, BLOCK_M)), zero_once,
              "of each block of rows: how many of its splits are done")
EVO_LAUNCH(attention,
           (EVO_IS(Order, rows_first) ? SPLITS * ceil_div(q_len, BLOCK_M) : heads,
            EVO_IS(Order, rows_first) ? heads : SPLITS * ceil_div(q_len, BLOCK_M), batch),
           THREADS, SMEM_BYTES, (Q, K, V, O, LSE, results, arrivals, problem))

using Type = as_input<BF16>;
using Scores = mma_sum<QkSum>;
using Products = mma_sum<PvSum>;
using Schedule = Arrival::schedule<STAGES, PARTS>;
enum : int {
    SET_THREADS = 32 * SET_WARPS,
    STEPS = HEAD_DIM / 16, /* of a product of queries and keys */
    PART_STEPS = BLOCK_N / 16 / PARTS,
    ROW_BYTES = 2 * HEAD_DIM,
};
enum { MASK_NEVER, MASK_ALWAYS, MASK_ASK };

/* The tiles that a set works through, from the last keys to the first: masked ones come first. */
struct key_ring {
    unsigned memory;
    const evo_half *k, *v;
    long long k_stride, v_stride;
    int kv_len, count, last; /* keys; tiles of the set; number of its first tile */
    int set, rank;

    __device__ int number(int j) const { return last - j * SHARES; }
    __device__ int first_key(int j) const { return number(j) * BLOCK_N; }
    __device__ unsigned keys_at(int j) const { return memory + j % STAGES * (2 * TILE_BYTES); }
    __device__ unsigned values_at(int j) const { return keys_at(j) + TILE_BYTES; }
    __device__ void keys(int j) const { fetch(j, keys_at(j), k, k_stride); }
    __device__ void values(int j) const { fetch(j, values_at(j), v, v_stride); }
    __device__ void sync() const { evo_barrier_of<SET_THREADS, THREADS>(1 + set); }

    __device__ void fetch(int j, unsigned to, const evo_half *from, long long stride) const
    {
        constexpr int ROWS = BLOCK_N / PARTS;
#pragma unroll
        for (int row = 0; row < BLOCK_N; row += ROWS) {
            const int first = first_key(j) + row;
            if (j < count)
                copy_swizzled<SET_THREADS, ROWS, HEAD_DIM, PREFETCH>(
                    to + row * ROW_BYTES, from + first * stride, stride, kv_len - first, rank);
            copy_async::commit();
        }
    }
};

/* A warp's rows of Q as operands, HEAD_DIM in STEPS. */
struct query_fragments {
    unsigned x[Query::HELD ? STEPS : 1][ROW_TILES][4], at;

    __device__ void read_shared(int step, unsigned (&to)[ROW_TILES][4]) const
    {
#pragma unroll
        for (int i = 0; i < ROW_TILES; i++)
            ldmatrix(to[i], (at ^ (step << 5)) + i * (16 * ROW_BYTES));
    }
    /* `q` is the warp's first row, of which `rows` exist. */
    __device__ void begin(const evo_half *q, long long stride, int rows)
    {
        const int group = threadIdx.x % 32 / 4, column = threadIdx.x % 4 * 2;
        if constexpr (Query::HELD)
#pragma unroll
            for (int step = 0; step < STEPS; step++)
                if constexpr (Query::FROM_SHARED)
                    read_shared(step, x[step]);
                else
#pragma unroll
                    for (int i = 0; i < ROW_TILES * 4; i++) {
                        const int row = i / 4 * 16 + group + i % 2 * 8;
                        const evo_half *from =
                            q + row * stride + step * 16 + i / 2 % 2 * 8 + column;
                        x[step][i / 4][i % 4] = row < rows ? *(const unsigned *)from : 0;
                    }
    }
    __device__ const unsigned (&of(int step))[ROW_TILES][4]
    {
        if constexpr (Query::HELD)
            return x[step];
        read_shared(step, x[0]);
        return x[0];
    }
};

/* A warp's rows on their way through the set's tiles. */
struct warp_rows {
    const evo_problem &problem;
    key_ring ring;
    query_fragments query;
    int first, whole; /* its first row; tiles below `whole` hide no key from the block's rows */
    float factor;     /* of the exponents */
    float output[ROW_TILES][HEAD_DIM / 2];
    online_rows rows[ROW_TILES];

    /* The j-th tile. FIRST: nothing was gathered before it. */
    template <int FIRST, int MASK> __device__ void work(int j)
    {
        Scores::word sums[ROW_TILES][BLOCK_N / 8 * Scores::WORDS] = {};
        multiply_keys<0, FIRST>(j, ring.keys_at(j) + lane_by_pieces<HEAD_DIM>(), sums);

        unsigned weights[ROW_TILES][BLOCK_N / 16][4];
        const bool masked = MASK == MASK_ASK ? ring.number(j) >= whole : MASK;
#pragma unroll
        for (int i = 0; i < ROW_TILES; i++) {
            float score[BLOCK_N / 2];
#pragma unroll
            for (int n = 0; n < BLOCK_N / 2; n++)
                score[n] = Scores::get(sums[i] + n / 4 * Scores::WORDS, n % 4);
            if (masked) {
                const int row = first + i * 16 + threadIdx.x % 32 / 4, key = ring.first_key(j);
                online_mask(score, {evo_visible<CAUSAL>(problem, row) - key,
                                    evo_visible<CAUSAL>(problem, row + 8) - key});
            }
            online_softmax<Rescale, FIRST, CAUSAL, POLYNOMIALS>(score, output[i], rows[i], factor);
#pragma unroll
            for (int n = 0; n < BLOCK_N / 4; n++)
                weights[i][n / 4][n % 4] = pack<Type>(score[2 * n], score[2 * n + 1]);
        }

        const unsigned values = ring.values_at(j) + lane_by_rows<HEAD_DIM>();
        if constexpr (EVO_IS(PvSum, as_float)) {
            multiply_values<0>(j, values, weights, output);
        } else { /* a tile's product by itself, so that FP16 sums stay short */
            Products::word sums[ROW_TILES][HEAD_DIM / 8 * Products::WORDS] = {};
            multiply_values<0>(j, values, weights, sums);
#pragma unroll
            for (int i = 0; i < ROW_TILES * HEAD_DIM / 2; i++) {
                const int tile = i / (HEAD_DIM / 2), n = i % (HEAD_DIM / 2);
                output[tile][n] += Products::get(sums[tile] + n / 4 * Products::WORDS, n % 4);
            }
        }
    }

    /* Scores of this PART of the tile's keys and those behind it: 16 keys are two products wide. */
    template <int PART, int FIRST, class Sums>
    __device__ void multiply_keys(int j, unsigned keys, Sums &sums)
    {
        if (PART > 0 || (!FIRST && j > 0))
            Schedule::keys<PART>(ring, j);
#pragma unroll
        for (int step = 0; step < STEPS; step++) {
            const auto &a = query.of(step);
#pragma unroll
            for (int n = PART * PART_STEPS; n < (PART + 1) * PART_STEPS; n++) {
                unsigned b[4];
                ldmatrix(b, (keys ^ (step << 5)) + n * (16 * ROW_BYTES));
#pragma unroll
                for (int i = 0; i < ROW_TILES; i++) {
                    mma<Type>(sums[i] + 2 * n * Scores::WORDS, a[i], b[0], b[1]);
                    mma<Type>(sums[i] + (2 * n + 1) * Scores::WORDS, a[i], b[2], b[3]);
                }
            }
        }
        if constexpr (PART + 1 < PARTS)
            multiply_keys<PART + 1, FIRST>(j, keys, sums);
    }

    /* The same of weights and values: 16 keys are a step deep, a step of columns two products wide.
     */
    template <int PART, class Sums>
    __device__ void multiply_values(int j, unsigned values,
                                    const unsigned (&weights)[ROW_TILES][BLOCK_N / 16][4],
                                    Sums &sums)
    {
        Schedule::values<PART>(ring, j);
#pragma unroll
        for (int n = PART * PART_STEPS; n < (PART + 1) * PART_STEPS; n++)
#pragma unroll
            for (int step = 0; step < STEPS; step++) {
                unsigned b[4];
                ldmatrix_transposed(b, (values ^ (step << 5)) + n * (16 * ROW_BYTES));
#pragma unroll
                for (int i = 0; i < ROW_TILES; i++) {
                    mma<Type>(sums[i] + 2 * step * Products::WORDS, weights[i][n], b[0], b[1]);
                    mma<Type>(sums[i] + (2 * step + 1) * Products::WORDS, weights[i][n], b[2],
                              b[3]);
                }
            }
        if constexpr (PART + 1 < PARTS)
            multiply_values<PART + 1>(j, values, weights, sums);
    }
};

/* A set's result, in FP32, with its statistics behind it. */
__device__ inline void put_result(const float (&output)[ROW_TILES][HEAD_DIM / 2],
                                  const online_rows (&rows)[ROW_TILES], float *to, int my_row)
{
    const int group = threadIdx.x % 32 / 4, mine = threadIdx.x % 4 * 2;
#pragma unroll
    for (int i = 0; i < ROW_TILES * 2; i++) {
        const int tile = i / 2, r = i % 2, row = my_row + tile * 16 + r * 8 + group;
#pragma unroll
        for (int n = 0; n < HEAD_DIM / 8; n++)
            *(float2 *)(to + row * PITCH + n * 8 + mine) = {output[tile][4 * n + 2 * r],
                                                            output[tile][4 * n + 2 * r + 1]};
        if (mine == 0)
            ((float2 *)(to + BLOCK_M * PITCH))[row] = {rows[tile].maximum[r], rows[tile].sum[r]};
    }
}

/* The output of a block that has all keys of its rows to itself. */
__device__ inline void store_output(const float (&output)[ROW_TILES][HEAD_DIM / 2],
                                    const online_rows (&rows)[ROW_TILES], unsigned char *memory,
                                    const attention_head &head, const evo_problem &problem,
                                    int first_row, int my_row)
{
    const int lane = threadIdx.x % 32, group = lane / 4, mine = lane % 4 * 2;
    evo_half *const to = head.o + first_row * problem.o[2];
    const int rows_left = problem.q_len - first_row;
    if constexpr (EVO_IS(Store, store_rows))
        __syncwarp(); /* all lanes have read Q, of which the warp's own rows are overwritten */
#pragma unroll
    for (int i = 0; i < ROW_TILES * 2; i++) {
        const int tile = i / 2, r = i % 2, row = my_row + tile * 16 + r * 8 + group;
        const float inverse = evo_inverse(rows[tile].sum[r]);
#pragma unroll
        for (int n = 0; n < HEAD_DIM / 8; n++) {
            const unsigned pair = pack<Type>(output[tile][4 * n + 2 * r] * inverse,
                                             output[tile][4 * n + 2 * r + 1] * inverse);
            if constexpr (EVO_IS(Store, store_rows))
                *(unsigned *)(memory + swizzled<HEAD_DIM>(row, n) + 2 * mine) = pair;
            else if (row < rows_left)
                *(unsigned *)(to + row * problem.o[2] + n * 8 + mine) = pair;
        }
        if (LSE && mine == 0 && row < rows_left)
            head.lse[first_row + row] =
                evo_log_sum_exp(rows[tile].maximum[r], rows[tile].sum[r], problem.scale);
    }
    if constexpr (EVO_IS(Store, store_rows)) {
        constexpr int PIECES = HEAD_DIM / 8;
        __syncwarp();
#pragma unroll
        for (int i = lane; i < ROW_TILES * 16 * PIECES; i += 32) {
            const int row = my_row + i / PIECES, piece = i % PIECES;
            if (row < rows_left)
                *(uint4 *)(to + row * problem.o[2] + piece * 8) =
                    *(const uint4 *)(memory + swizzled<HEAD_DIM>(row, piece));
        }
    }
}

/* Deals out the block's rows, of which `rows` exist, four columns to a thread. */
template <class Each> __device__ inline void each_columns(int rows, Each each)
{
    constexpr int LANES = HEAD_DIM / 4;
#pragma unroll 4
    for (int i = 0; i < evo::ceil_div(BLOCK_M * LANES, THREADS); i++) {
        const int unit = i * THREADS + threadIdx.x;
        if (unit / LANES < min(rows, BLOCK_M))
            each(unit / LANES, unit % LANES * 4);
    }
}

/* What becomes of a row's merged result: four columns of it, by one thread. */
__device__ inline void store_columns(const attention_head &head, const evo_problem &problem,
                                     int row, int column, const online_result &result)
{
    const float inverse = evo_inverse(result.sum);
    const uint2 columns = {pack<Type>(result.x[0] * inverse, result.x[1] * inverse),
                           pack<Type>(result.x[2] * inverse, result.x[3] * inverse)};
    *(uint2 *)(head.o + row * problem.o[2] + column) = columns;
    if (LSE && column == 0)
        head.lse[row] = evo_log_sum_exp(result.maximum, result.sum, problem.scale);
}

extern "C" __global__ void __launch_bounds__(THREADS, BLOCKS)
    attention(const evo_half *Q, const evo_half *K, const evo_half *V, evo_half *O, float *lse,
              float *results, unsigned *arrivals, evo_problem problem)
{
    extern __shared__ __align__(1024) unsigned char memory[];
    const unsigned shared = shared_address(memory);
    const int warp = threadIdx.x / 32, set = warp / SET_WARPS;
    const int row_blocks = evo::ceil_div(problem.q_len, BLOCK_M);
    const int row_block = CAUSAL ? row_blocks - 1 - Order::rows() / SPLITS : Order::rows() / SPLITS;
    const int first_row = row_block * BLOCK_M, split = Order::rows() % SPLITS;
    const int my_row = warp % SET_WARPS * (16 * ROW_TILES); /* the warp's first, in the block */
    const attention_head head = evo_head(problem, blockIdx.z, Order::head(), Q, K, V, O, lse);
    const evo_half *const q = head.q + first_row * problem.q[2];
    const int rows_left = problem.q_len - first_row;
    const float factor = problem.scale * 1.4426950408889634f;

    /* Tiles are dealt out one at a time. Below `whole` no row of the block has a hidden key. */
    const int tiles = evo::ceil_div(evo_visible<CAUSAL>(problem, first_row + BLOCK_M - 1), BLOCK_N);
    const int whole = evo_visible<CAUSAL>(problem, first_row) / BLOCK_N;
    const int share = split * KEY_SETS + set;
    const key_ring ring = {
        shared + QUERY_BYTES + set * SET_BYTES,
        head.k,
        head.v,
        problem.k[2],
        problem.v[2],
        problem.kv_len,
        (tiles + SHARES - 1 - share) / SHARES,
        tiles - 1 - share,
        set,
        (int)threadIdx.x % SET_THREADS,
    };

    if constexpr (Query::FROM_SHARED)
        copy_swizzled<THREADS, BLOCK_M, HEAD_DIM, PREFETCH>(shared, q, problem.q[2], rows_left,
                                                            threadIdx.x);
    Schedule::begin(ring);
    if constexpr (Query::FROM_SHARED)
        __syncthreads(); /* Q is the work of the whole block */
    else
        ring.sync();

    warp_rows mine = {problem, ring, {}, first_row + my_row, whole, factor, {}, {}};
    mine.query.at = shared + my_row * ROW_BYTES + lane_by_rows<HEAD_DIM>();
    mine.query.begin(q + my_row * problem.q[2], problem.q[2], rows_left - my_row);

    int j = 0;
    if constexpr (EVO_IS(Loop, loop_first))
        if (ring.count > 0)
            mine.work<1, MASK_ASK>(j++);
    if constexpr (EVO_IS(Loop, loop_masked))
#pragma unroll 1
        for (; ring.number(j) >= whole; j++)
            mine.work<0, MASK_ALWAYS>(j);
#pragma unroll 1
    for (; j < ring.count; j++)
        mine.work<0, EVO_IS(Loop, loop_masked) ? MASK_NEVER : MASK_ASK>(j);
#pragma unroll
    for (int i = 0; i < ROW_TILES; i++)
        online_finish(mine.rows[i]);

    if constexpr (SHARES == 1) {
        store_output(mine.output, mine.rows, memory, head, problem, first_row, my_row);
        return;
    }

    /* Results of sets and splits are merged. */
    unsigned char *const places = memory + QUERY_BYTES;
    ring.sync(); /* the set's result takes the place of its ring */
    put_result(mine.output, mine.rows, (float *)(places + set * SET_BYTES), my_row);
    __syncthreads();
    const long long block_of_rows = (long long)blockIdx.z * problem.heads + Order::head();
    const long long row_of_all = block_of_rows * problem.q_len + first_row;
    const long long rows_of_all = (long long)problem.batch * problem.heads * problem.q_len;
    float2 *const statistics = (float2 *)(results + SPLITS * rows_of_all * HEAD_DIM);
    each_columns(rows_left, [&](int row, int column) {
        const auto place = [&](int n) { return (const float *)(places + n * SET_BYTES); };
        const online_result result = online_merge<KEY_SETS>(
            factor, [&](int n) { return ((const float2 *)(place(n) + BLOCK_M * PITCH))[row]; },
            [&](int n) { return *(const float4 *)(place(n) + row * PITCH + column); });
        const long long at = split * rows_of_all + row_of_all + row;
        if constexpr (SPLITS == 1) {
            store_columns(head, problem, first_row + row, column, result);
        } else {
            *(float4 *)(results + at * HEAD_DIM + column) = {result.x[0], result.x[1], result.x[2],
                                                             result.x[3]};
            if (column == 0)
                statistics[at] = {result.maximum, result.sum};
        }
    });
    if constexpr (SPLITS == 1)
        return;

    /* The block that comes last finds the results of all splits in memory. */
    unsigned *const arrived = arrivals + block_of_rows * row_blocks + row_block;
    __threadfence();
    __syncthreads();
    if (!__syncthreads_or(threadIdx.x == 0 && atomicInc(arrived, SPLITS - 1) == SPLITS - 1))
        return; /* the last count wraps to 0, where the next call begins */
    __threadfence();
    each_columns(rows_left, [&](int row, int column) {
        const auto at = [&](int n) { return n * rows_of_all + row_of_all + row; };
        const online_result result = online_merge<SPLITS>(
            factor, [&](int n) { return __ldcg(statistics + at(n)); },
            [&](int n) { return __ldcg((const float4 *)(results + at(n) * HEAD_DIM + column)); });
        store_columns(head, problem, first_row + row, column, result);
    });
}
