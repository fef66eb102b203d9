/*
 * attention_mma -- fused attention on mma.sync: scores, softmax and output never leave registers.
 *
 * A warp holds 16 or more query rows. It multiplies them with a tile of keys, turns the scores into
 * weights where they are (two neighbouring products are an operand of the next one, as mma.cuh
 * tells) and multiplies these with the tile of values: the order of work of FlashAttention-2. Tiles
 * come by cp.async into a ring, swizzled, so that ldmatrix reads them without bank conflicts.
 *
 * Keys are shared out in four ways: a tile after another, over sets of warps of a block (KEY_SETS),
 * over the blocks of a cluster (CLUSTER), and over clusters (SPLITS). All have a softmax of their
 * own; results are merged in shared memory, in each other's shared memory, and by way of L2. With
 * few rows, sets and clusters keep more of the machine busy; with few tiles for each, all of them
 * fit the ring, and every load is under way before the first product.
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
#include "include/cluster.cuh"
#include "include/copy.cuh"
#include "include/merge.cuh"
#include "include/online.cuh"
#include "include/query.cuh"
#include "include/ring.cuh"

EVO_GIVEN(HEAD_DIM, "columns of Q, K and V")
EVO_GIVEN(CAUSAL, "1: a row sees the keys up to its own")
EVO_GIVEN(BF16, "1: bfloat16 in memory, 0: half")
EVO_GIVEN(LSE, "1: the log-sum-exp of each row is written too")
EVO_GIVEN(DEVICE_SMEM_MAX, "bytes of shared memory a block may ask for")
EVO_GIVEN(DEVICE_ARCH, "compute capability times ten")

/* Which rows a block takes. Under a causal mask the last rows have most work, and come first. */
struct rows_first;  /* blocks of one head run side by side, and share its keys in L2 */
struct heads_first; /* the same rows of all heads: blocks that run side by side are equally long */

/*
 * Which tiles have code of their own: none, and each asks whether it has hidden keys; the first,
 * which finds nothing to rescale; those with hidden keys, and others do not ask.
 */
struct loop_one;
struct loop_first;
struct loop_masked;

/* How wide a lane stores: what it has, 4 bytes or 8, or 16 bytes of a row after some exchange. */
struct store_narrow;
struct store_wide;

/* Who merges the results of splits: the block that comes last, or a second kernel. */
struct meet_last;
struct meet_kernel;

EVO_GENE(BLOCK_M, pow2(16, 256), "query rows in a block")
EVO_GENE(BLOCK_N, set(16, 32, 48, 64, 96, 128), "keys in a tile")
EVO_GENE(ROW_TILES, set(1, 2, 4), "times 16 rows that a warp holds: keys are read once for all")
EVO_GENE(KEY_SETS, pow2(1, 8), "sets of warps in a block, each with keys of its own")
EVO_GENE(CLUSTER, pow2(1, 4), "blocks that split the keys, and merge in each other's memory")
EVO_GENE(SPLITS, pow2(1, 8), "blocks, or clusters, that split the keys, and merge by way of L2")
EVO_GENE(STAGES, range(1, 4), "tiles of K and V in shared memory, for each set")
EVO_GENE(BLOCKS, range(1, 3), "blocks of a multiprocessor that must find registers")
EVO_GENE(PREFETCH, set(0, 128, 256), "bytes that a load brings to L2")
EVO_GENE(POLYNOMIALS, set(0, 1, 2, 4), "exponentials of eight that the FMA pipe does")
EVO_CHOICE(Query, (query_registers, query_shared, query_global), "where fragments of Q come from")
EVO_CHOICE(Arrival, (arrive_apart, arrive_halves, arrive_quarters, arrive_together, arrive_ahead),
           "what is waited for, when; and what is multiplied meanwhile")
EVO_CHOICE(Loop, (loop_one, loop_first, loop_masked), "which tiles have code of their own")
EVO_CHOICE(Rescale, (rescale_always, rescale_changed, rescale_lazy), "when the output is rescaled")
EVO_CHOICE(Store, (store_narrow, store_wide), "how wide the output is stored")
EVO_CHOICE(Order, (rows_first, heads_first), "which blocks run side by side")
EVO_CHOICE(Meet, (meet_last, meet_kernel), "who merges splits")
EVO_CHOICE(QkSum, (as_float, as_half), "what the tensor cores sum scores in")
EVO_CHOICE(PvSum, (as_float, as_half), "what they sum a tile's weighted V in")

EVO_LET(SET_WARPS, BLOCK_M / (16 * ROW_TILES), "warps of a set")
EVO_LET(WARPS, SET_WARPS * KEY_SETS, "warps in a block")
EVO_LET(THREADS, 32 * WARPS, "threads in a block")
EVO_LET(SHARES, KEY_SETS * CLUSTER * SPLITS, "shares into which the keys of a row go")
EVO_LET(PARTS, 1 + EVO_IS(Arrival, arrive_halves) + 3 * EVO_IS(Arrival, arrive_quarters),
        "parts of a tile that are waited for one by one")
EVO_LET(TILE_BYTES, 2 * BLOCK_N * HEAD_DIM, "a tile of K, or of V")
EVO_LET(QUERY_BYTES,
        EVO_IS(Query, query_global) && (SHARES > 1 || EVO_IS(Store, store_narrow))
            ? 0
            : 2 * BLOCK_M * HEAD_DIM,
        "the tile of Q, where the output may be staged later")
EVO_LET(PITCH, HEAD_DIM + 8, "floats from one row of a set's result to the next: no bank conflicts")
EVO_LET(RESULT_BYTES, SHARES == 1 ? 0 : 4 * BLOCK_M * (PITCH + 2), "result and statistics of a set")
EVO_LET(SET_BYTES, max(2 * STAGES * TILE_BYTES, RESULT_BYTES), "a set's ring, then its result")
EVO_LET(SMEM_BYTES, QUERY_BYTES + KEY_SETS * SET_BYTES, "shared memory of a block")
EVO_LET(REGISTERS,
        48 + ROW_TILES * (HEAD_DIM / 2 + BLOCK_N / 2 * (EVO_IS(Arrival, arrive_ahead) ? 2 : 1) +
                          (EVO_IS(Query, query_shared) ? 4 : HEAD_DIM / 4) +
                          (EVO_IS(PvSum, as_half) ? HEAD_DIM / 4 : 0)),
        "registers of a thread, about: output, scores, queries, a tile's product")
EVO_LET(COMBINE_THREADS, 256, "threads in a block of the second kernel")
EVO_LET(COMBINE_ROWS, 4 * COMBINE_THREADS / HEAD_DIM, "rows that it merges")
EVO_LET(RESULT_ROW_BYTES, 4 * SPLITS * (HEAD_DIM + 2), "bytes that all splits keep of a row")

EVO_REQUIRE(HEAD_DIM == 64 || HEAD_DIM == 128, "a head has 64 or 128 columns")
EVO_REQUIRE(SET_WARPS >= 1 && WARPS <= 16, "a block has a warp for its rows, and at most 16 in all")
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
EVO_REQUIRE(CLUSTER == 1 || DEVICE_ARCH >= 90, "clusters came with Hopper")
EVO_REQUIRE(STAGES >= 2 || !EVO_IS(Arrival, arrive_together) && !EVO_IS(Arrival, arrive_ahead),
            "to wait for K and V together, or to work ahead, needs a second tile")
EVO_REQUIRE(SPLITS > 1 || EVO_IS(Meet, meet_last), "without splits there is nothing to meet for")
EVO_REQUIRE(EVO_IS(PvSum, as_float) || !EVO_IS(Rescale, rescale_lazy),
            "FP16 sums of lazily scaled weights, up to 256 each, could overflow")
EVO_REQUIRE(BF16 == 0 || EVO_IS(QkSum, as_float) && EVO_IS(PvSum, as_float),
            "bfloat16 is summed in FP32")
EVO_NUMERICS(EVO_IS(QkSum, as_half) || EVO_IS(PvSum, as_half))
EVO_SUPPORTS(SPLITS == 1 || RESULT_ROW_BYTES * batch * heads * q_len <= pow2(30),
             "the results of all splits fit in 1 GiB")
EVO_WORKSPACE(results, SPLITS == 1 ? 0 : RESULT_ROW_BYTES * batch * heads * q_len, poison,
              "of each split: output rows, then maxima and sums")
EVO_WORKSPACE(arrivals,
              SPLITS > 1 && EVO_IS(Meet, meet_last)
                  ? 4 * CLUSTER * batch * heads * ceil_div(q_len, BLOCK_M)
                  : 0,
              zero_once, "of each block's rows: how many of the splits are done")
EVO_LAUNCH(attention,
           (CLUSTER * (EVO_IS(Order, rows_first) ? SPLITS * ceil_div(q_len, BLOCK_M) : heads),
            EVO_IS(Order, rows_first) ? heads : SPLITS * ceil_div(q_len, BLOCK_M), batch),
           THREADS, SMEM_BYTES, (Q, K, V, O, LSE, results, arrivals, problem))
EVO_LAUNCH(combine,
           (SPLITS > 1 && EVO_IS(Meet, meet_kernel) ? ceil_div(q_len, COMBINE_ROWS) : 0, heads,
            batch),
           COMBINE_THREADS, 0, (O, LSE, results, problem))

using Type = as_input<BF16>;
using Scores = mma_sum<QkSum>;
using Products = mma_sum<PvSum>;
using Schedule = Arrival::schedule<STAGES>;
enum : int {
    SET_THREADS = 32 * SET_WARPS,
    STEPS = HEAD_DIM / 16, /* of a product of queries and keys */
    PART_STEPS = BLOCK_N / 16 / PARTS,
    ROW_BYTES = 2 * HEAD_DIM,
    MERGED_ROWS = BLOCK_M / CLUSTER,           /* a block of a cluster merges some of its rows */
    WIDTH = EVO_IS(Store, store_wide) ? 8 : 4, /* columns that a thread merges at a time */
};
enum { MASK_NEVER, MASK_ALWAYS, MASK_ASK };

/* Weights are powers of 2: the scale and the change of base are one factor of the exponent. */
__device__ inline float softmax_factor(const evo_problem &problem)
{
    return problem.scale * 1.4426950408889634f;
}

/* Where a block works. */
struct block_place {
    int batch, head, row_block, first_row, split, rank;
    long long row_of_all; /* its first row, counted over all heads and batches */

    __device__ explicit block_place(const evo_problem &problem)
    {
        const int x = blockIdx.x / CLUSTER, y = blockIdx.y;
        const int rows = EVO_IS(Order, rows_first) ? x : y, above = rows / SPLITS;
        batch = blockIdx.z;
        head = EVO_IS(Order, rows_first) ? y : x;
        row_block = CAUSAL ? evo::ceil_div(problem.q_len, BLOCK_M) - 1 - above : above;
        first_row = row_block * BLOCK_M;
        split = rows % SPLITS;
        rank = blockIdx.x % CLUSTER;
        row_of_all = head_of_all(problem) * problem.q_len + first_row;
    }
    __device__ long long head_of_all(const evo_problem &problem) const
    {
        return (long long)batch * problem.heads + head;
    }
    /* Of the rows that the block merges: where its splits count themselves. */
    __device__ long long counter(const evo_problem &problem) const
    {
        const int row_blocks = evo::ceil_div(problem.q_len, BLOCK_M);
        return (head_of_all(problem) * row_blocks + row_block) * CLUSTER + rank;
    }
};

/* The tiles that a set works through, from the last keys to the first: masked ones come first. */
struct key_ring {
    const evo_half *k, *v;
    long long k_stride, v_stride;
    int kv_len, set, rank; /* the thread's set, and its number there */
    int count, last;       /* tiles of the set; number of its first one */
    unsigned memory;

    __device__ key_ring(const evo_problem &problem, const attention_head &head,
                        const block_place &place, unsigned memory)
        : k(head.k), v(head.v), k_stride(problem.k[2]), v_stride(problem.v[2]),
          kv_len(problem.kv_len), set(threadIdx.x / SET_THREADS), rank(threadIdx.x % SET_THREADS),
          memory(memory + set * SET_BYTES)
    {
        const int last_row = place.first_row + BLOCK_M - 1; /* it sees most */
        const int tiles = evo::ceil_div(evo_visible<CAUSAL>(problem, last_row), BLOCK_N);
        const int share = (place.split * CLUSTER + place.rank) * KEY_SETS + set;
        count = (tiles + SHARES - 1 - share) / SHARES;
        last = tiles - 1 - share;
    }

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

/* A warp's rows on their way through the set's tiles. */
struct warp_rows {
    using score_sums = Scores::word[ROW_TILES][BLOCK_N / 8 * Scores::WORDS];

    const evo_problem &problem;
    const key_ring &ring;
    query_fragments<Query, HEAD_DIM, ROW_TILES> query;
    int first_row, whole; /* of the warp; tiles below `whole` hide no key from the block's rows */
    float output[ROW_TILES][HEAD_DIM / 2];
    online_rows rows[ROW_TILES];
    score_sums ahead; /* of the tile that comes next, if the schedule works ahead */

    __device__ void run()
    {
        const int end = ring.count - Schedule::AHEAD; /* from there on no tile follows */
        int j = 0;
        if constexpr (Schedule::AHEAD)
            if (ring.count > 0)
                multiply_keys<0>(0, ahead, false);
        if constexpr (EVO_IS(Loop, loop_first))
            if (j < end)
                work<1, MASK_ASK, Schedule::AHEAD>(j++);
        if constexpr (EVO_IS(Loop, loop_masked))
#pragma unroll 1
            for (; j < end && ring.number(j) >= whole; j++)
                work<0, MASK_ALWAYS, Schedule::AHEAD>(j);
#pragma unroll 1
        for (; j < end; j++)
            work<0, EVO_IS(Loop, loop_masked) ? MASK_NEVER : MASK_ASK, Schedule::AHEAD>(j);
        if constexpr (Schedule::AHEAD)
            if (j < ring.count)
                work<0, MASK_ASK, 0>(j);
#pragma unroll
        for (int i = 0; i < ROW_TILES; i++)
            online_finish(rows[i]);
    }

    /* The j-th tile. FIRST: nothing was gathered before it. MORE: one that follows is begun. */
    template <int FIRST, int MASK, int MORE> __device__ void work(int j)
    {
        score_sums sums = {};
        if constexpr (Schedule::AHEAD)
            take_ahead(sums);
        else
            multiply_keys<0>(j, sums, !FIRST && j > 0);
        if constexpr (MORE)
            multiply_keys<0>(j + 1, ahead, true);

        unsigned weights[ROW_TILES][BLOCK_N / 16][4];
        const bool masked = MASK == MASK_ASK ? ring.number(j) >= whole : MASK;
#pragma unroll
        for (int i = 0; i < ROW_TILES; i++) {
            float score[BLOCK_N / 2];
#pragma unroll
            for (int n = 0; n < BLOCK_N / 2; n++)
                score[n] = Scores::get(sums[i] + n / 4 * Scores::WORDS, n % 4);
            if (masked) {
                const int row = first_row + i * 16 + threadIdx.x % 32 / 4, key = ring.first_key(j);
                online_mask(score, {evo_visible<CAUSAL>(problem, row) - key,
                                    evo_visible<CAUSAL>(problem, row + 8) - key});
            }
            online_softmax<Rescale, FIRST, CAUSAL, POLYNOMIALS>(score, output[i], rows[i],
                                                                softmax_factor(problem));
#pragma unroll
            for (int n = 0; n < BLOCK_N / 4; n++)
                weights[i][n / 4][n % 4] = pack<Type>(score[2 * n], score[2 * n + 1]);
        }

        if constexpr (EVO_IS(PvSum, as_float)) {
            multiply_values<0, MORE>(j, weights, output);
        } else { /* a tile's product by itself, so that FP16 sums stay short */
            Products::word products[ROW_TILES][HEAD_DIM / 8 * Products::WORDS] = {};
            multiply_values<0, MORE>(j, weights, products);
#pragma unroll
            for (int i = 0; i < ROW_TILES * HEAD_DIM / 2; i++) {
                const int tile = i / (HEAD_DIM / 2), n = i % (HEAD_DIM / 2);
                output[tile][n] += Products::get(products[tile] + n / 4 * Products::WORDS, n % 4);
            }
        }
    }

    __device__ void take_ahead(score_sums &sums)
    {
#pragma unroll
        for (int i = 0; i < ROW_TILES * BLOCK_N / 8 * Scores::WORDS; i++) {
            (&sums[0][0])[i] = (&ahead[0][0])[i];
            (&ahead[0][0])[i] = 0;
        }
    }

    /* Scores of this PART of the j-th tile's keys and those behind it; 16 keys are two products. */
    template <int PART> __device__ void multiply_keys(int j, score_sums &sums, bool wait)
    {
        const unsigned keys = ring.keys_at(j) + lane_by_pieces<HEAD_DIM>();
        if (PART > 0 || wait)
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
            multiply_keys<PART + 1>(j, sums, wait);
    }

    /* The same of weights and values: 16 keys are a step deep, 16 columns are two products. */
    template <int PART, int MORE, class Sums>
    __device__ void multiply_values(int j, const unsigned (&weights)[ROW_TILES][BLOCK_N / 16][4],
                                    Sums &sums)
    {
        const unsigned values = ring.values_at(j) + lane_by_rows<HEAD_DIM>();
        Schedule::values<PART, MORE>(ring, j);
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
            multiply_values<PART + 1, MORE>(j, weights, sums);
    }
};

/* Calls each(tile, r, row) for the rows of the warp that a lane holds a part of. */
template <class Each> __device__ inline void each_row(int my_row, Each each)
{
#pragma unroll
    for (int i = 0; i < ROW_TILES * 2; i++)
        each(i / 2, i % 2, my_row + i * 8 + (int)threadIdx.x % 32 / 4);
}

/* The output of a block that has all keys of its rows to itself. `tile` was that of Q. */
__device__ inline void store_output(const warp_rows &mine, unsigned char *tile,
                                    const attention_head &head, int first_row, int my_row)
{
    const int lane = threadIdx.x % 32, column = lane % 4 * 2;
    const long long stride = mine.problem.o[2];
    evo_half *const to = head.o + first_row * stride;
    const int rows_left = mine.problem.q_len - first_row;
    if constexpr (EVO_IS(Store, store_wide))
        __syncwarp(); /* all lanes have read Q, of which the warp's own rows are overwritten */
    each_row(my_row, [&](int i, int r, int row) {
        const float sum = mine.rows[i].sum[r], inverse = evo_inverse(sum);
#pragma unroll
        for (int n = 0; n < HEAD_DIM / 8; n++) {
            const float *x = mine.output[i] + 4 * n + 2 * r;
            const unsigned pair = pack<Type>(x[0] * inverse, x[1] * inverse);
            if constexpr (EVO_IS(Store, store_wide))
                *(unsigned *)(tile + swizzled<HEAD_DIM>(row, n) + 2 * column) = pair;
            else if (row < rows_left)
                *(unsigned *)(to + row * stride + n * 8 + column) = pair;
        }
        if (LSE && column == 0 && row < rows_left)
            head.lse[first_row + row] =
                evo_log_sum_exp(mine.rows[i].maximum[r], sum, mine.problem.scale);
    });
    if constexpr (EVO_IS(Store, store_wide)) {
        __syncwarp();
#pragma unroll
        for (int i = lane; i < ROW_TILES * 2 * HEAD_DIM; i += 32) {
            const int row = my_row + i / (HEAD_DIM / 8), piece = i % (HEAD_DIM / 8);
            if (row < rows_left)
                *(uint4 *)(to + row * stride + piece * 8) =
                    *(const uint4 *)(tile + swizzled<HEAD_DIM>(row, piece));
        }
    }
}

/* A set's result, with its statistics behind it. */
__device__ inline void put_result(const warp_rows &mine, float *to, int my_row)
{
    const int column = threadIdx.x % 4 * 2;
    each_row(my_row, [&](int i, int r, int row) {
#pragma unroll
        for (int n = 0; n < HEAD_DIM / 8; n++)
            *(float2 *)(to + row * PITCH + n * 8 + column) = {mine.output[i][4 * n + 2 * r],
                                                              mine.output[i][4 * n + 2 * r + 1]};
        if (column == 0)
            ((float2 *)(to + BLOCK_M * PITCH))[row] = {mine.rows[i].maximum[r],
                                                       mine.rows[i].sum[r]};
    });
}

using Splits = split_results<SPLITS, HEAD_DIM, WIDTH>;

/* Merges the results of all sets of the cluster, of which each block takes some rows. */
__device__ inline void merge_sets(const attention_head &head, const evo_problem &problem,
                                  const block_place &place, unsigned results, const Splits &splits)
{
    const int skipped = place.rank * MERGED_ROWS, first_row = place.first_row + skipped;
    /* The i-th float of the n-th result. */
    const auto at = [&](int n, int i) {
        return cluster_address<CLUSTER>(results + n % KEY_SETS * SET_BYTES + 4 * i, n / KEY_SETS);
    };
    const auto merge = [&](int row, int column, int turn) {
        const auto merged = merge_columns<KEY_SETS * CLUSTER, WIDTH>(
            softmax_factor(problem),
            [&](int n) {
                return cluster_load2<CLUSTER>(at(n, BLOCK_M * PITCH + 2 * (skipped + row)));
            },
            [&](int n, int i) {
                return cluster_load4<CLUSTER>(
                    at(n, (skipped + row) * PITCH + column + 4 * (i ^ turn)));
            });
        if constexpr (SPLITS == 1)
            merge_store<Type, LSE>(head, problem, first_row + row, column, turn, merged);
        else
            splits.put(place.split, place.row_of_all + skipped + row, column, turn, merged);
    };
    merge_each<THREADS, MERGED_ROWS, HEAD_DIM, WIDTH>(problem.q_len - first_row, merge);
    if constexpr (CLUSTER > 1)
        cluster_sync<CLUSTER>(); /* others may still read this block's results */
}

/* Merges ROWS rows of all splits, from the first one on. */
template <int COUNT, int ROWS>
__device__ inline void merge_splits(const attention_head &head, const evo_problem &problem,
                                    int first_row, long long row_of_all, const Splits &splits)
{
    const auto merge = [&](int row, int column, int turn) {
        merge_store<Type, LSE>(
            head, problem, first_row + row, column, turn,
            splits.merge(row_of_all + row, column, turn, softmax_factor(problem)));
    };
    merge_each<COUNT, ROWS, HEAD_DIM, WIDTH>(problem.q_len - first_row, merge);
}

extern "C" __global__ void __launch_bounds__(THREADS, BLOCKS) in_clusters_of(EVO_VALUE_CLUSTER)
    attention(const evo_half *Q, const evo_half *K, const evo_half *V, evo_half *O, float *lse,
              float *results, unsigned *arrivals, evo_problem problem)
{
    extern __shared__ __align__(1024) unsigned char memory[];
    const unsigned shared = shared_address(memory), rings = shared + QUERY_BYTES;
    const block_place place(problem);
    const attention_head head = evo_head(problem, place.batch, place.head, Q, K, V, O, lse);
    const evo_half *const q = head.q + place.first_row * problem.q[2];
    const int rows_left = problem.q_len - place.first_row;
    const int my_row = threadIdx.x / 32 % SET_WARPS * (16 * ROW_TILES); /* the warp's first */

    /* Everything that finds room sets out. */
    const key_ring ring(problem, head, place, rings);
    if constexpr (Query::FROM_SHARED)
        copy_swizzled<THREADS, BLOCK_M, HEAD_DIM, PREFETCH>(shared, q, problem.q[2], rows_left,
                                                            threadIdx.x);
    Schedule::begin(ring);
    if constexpr (Query::FROM_SHARED)
        __syncthreads(); /* Q is the work of the whole block */
    else
        ring.sync();

    warp_rows mine = {problem,
                      ring,
                      {},
                      place.first_row + my_row,
                      evo_visible<CAUSAL>(problem, place.first_row) / BLOCK_N};
    mine.query.begin(shared + my_row * ROW_BYTES, q + my_row * problem.q[2], problem.q[2],
                     rows_left - my_row);
    mine.run();
    if constexpr (SHARES == 1) {
        store_output(mine, memory, head, place.first_row, my_row);
    } else {
        const Splits splits(results, problem);
        ring.sync(); /* the set's result takes the place of its ring */
        put_result(mine, (float *)(memory + QUERY_BYTES + ring.set * SET_BYTES), my_row);
        cluster_sync<CLUSTER>();
        merge_sets(head, problem, place, rings, splits);
        if constexpr (SPLITS > 1 && EVO_IS(Meet, meet_last))
            if (splits.came_last(arrivals + place.counter(problem)))
                merge_splits<THREADS, MERGED_ROWS>(
                    head, problem, place.first_row + place.rank * MERGED_ROWS,
                    place.row_of_all + place.rank * MERGED_ROWS, splits);
    }
}

/* The merge of splits as a kernel of its own. */
extern "C" __global__ void __launch_bounds__(COMBINE_THREADS)
    combine(evo_half *O, float *lse, float *results, evo_problem problem)
{
    const int first_row = blockIdx.x * COMBINE_ROWS;
    const long long head_of_all = (long long)blockIdx.z * problem.heads + blockIdx.y;
    merge_splits<COMBINE_THREADS, COMBINE_ROWS>(
        evo_head(problem, blockIdx.z, blockIdx.y, O, O, O, O, lse), problem, first_row,
        head_of_all * problem.q_len + first_row, Splits(results, problem));
}
