/*
 * attention_small -- short sequences: every load under way at once, keys split over sets of warps
 * and over the blocks of a cluster.
 *
 * With few rows a block's time is a chain of latencies: launch, first load, scores, exponentials,
 * output, merge, store. So the keys of a block's rows are shared out, over KEY_SETS sets of warps
 * and over CLUSTER blocks, until each has a tile or two. All tiles find room in shared memory and
 * set out before anything is waited for; the copy engine brings them without an instruction, and
 * every part of a tile has an mbarrier of its own, so that work begins with what is there. Every
 * set has a softmax and an output of its own. These are merged in the block, and once more between
 * the blocks of a cluster: each sends its rows into the shared memory of the block that stores
 * them.
 *
 * A set has a warp for every 16 rows. Four warps make products of 64 rows by wgmma; with fewer
 * rows, and so more blocks, each makes its own by mma.sync. Longer sequences are walked in rounds:
 * who has used a tile fetches another in its place. That makes any length right, and none fast: see
 * attention_wgmma.
 *
 * What it cannot do: run anywhere but on sm_90a.
 */
#include "include/evo.cuh"
#include "include/cluster.cuh"
#include "include/fragments.cuh"
#include "include/mbarrier.cuh"
#include "include/merge.cuh"
#include "include/online.cuh"
#include "include/wgmma.cuh"

EVO_GIVEN(HEAD_DIM, "columns of Q, K and V")
EVO_GIVEN(CAUSAL, "1: a row sees the keys up to its own")
EVO_GIVEN(BF16, "1: bfloat16 in memory, 0: half")
EVO_GIVEN(LSE, "1: the log-sum-exp of each row is written too")
EVO_GIVEN(DEVICE_SMEM_MAX, "bytes of shared memory a block may ask for")
EVO_GIVEN(DEVICE_ARCH, "90 has wgmma")

/* Products of 64 rows by a warpgroup, or of 16 by a warp: see wgmma.cuh and mma.cuh. */
struct by_wgmma;
struct by_mma;

/*
 * Who copies: the copy engine, asked by one thread of a set; or all its threads, 16 bytes at a
 * time, which saves the way through the engine and costs instructions; or they Q and K, and the
 * engine V.
 */
struct copy_engine;
struct copy_threads;
struct copy_both;

/*
 * Who asks the engine for the first tiles: a thread of each set, at the same time; or a warp that
 * does nothing else, K of all sets before V. The engine works on all boxes that it has been asked
 * for at once, so what comes first is what was asked for well before the rest.
 */
struct asks_own;
struct asks_apart;

/* When V sets out: with K, or when K has come, which then comes sooner. */
struct values_at_once;
struct values_later;

/*
 * How blocks and sets meet: all threads at the cluster's barrier, or at an mbarrier of the block
 * that merges, where senders arrive and go their way.
 */
struct meet_barrier;
struct meet_arrivals;

EVO_GENE(BLOCK_M, pow2(16, 128), "query rows in a block; a set has a warp for every 16")
EVO_GENE(BLOCK_N, range(32, 224, 32), "keys in a tile")
EVO_GENE(KEY_SETS, range(1, 8), "sets of warps in a block, each with keys of its own")
EVO_GENE(CLUSTER, pow2(1, 8), "blocks that split the keys, and merge in each other's memory")
EVO_GENE(STAGES, range(1, 4), "tiles of K and V in shared memory, for each set")
EVO_GENE(PARTS, set(1, 2, 4), "parts of a tile that arrive, and are worked on, one by one")
EVO_GENE(POLYNOMIALS, set(0, 1, 2, 4), "exponentials of eight that the FMA pipe does")
EVO_CHOICE(Product, (by_wgmma, by_mma), "which instruction multiplies")
EVO_CHOICE(Copy, (copy_engine, copy_threads, copy_both), "who copies tiles to shared memory")
EVO_CHOICE(Asks, (asks_own, asks_apart), "who asks the engine for the first tiles")
EVO_CHOICE(Values, (values_at_once, values_later), "when V sets out")
EVO_CHOICE(Meet, (meet_barrier, meet_arrivals), "how the merge waits for results")
EVO_CHOICE(QkSum, (as_float, as_half), "what the tensor cores sum scores in")

EVO_LET(SET_WARPS, BLOCK_M / 16, "warps in a set")
EVO_LET(THREADS, 32 * SET_WARPS * KEY_SETS, "threads that compute")
EVO_LET(BLOCK_THREADS, THREADS + (EVO_IS(Asks, asks_apart) ? 32 : 0), "threads in a block")
EVO_LET(SHARES, KEY_SETS * CLUSTER, "sets that split the keys of a row")
EVO_LET(MERGED_ROWS, BLOCK_M / CLUSTER, "rows that a block of a cluster merges")
EVO_LET(PITCH, HEAD_DIM + 8, "floats from one row of a result to the next: no bank conflicts")
EVO_LET(Q_BYTES, 2 * BLOCK_M * HEAD_DIM, "the tile of Q")
EVO_LET(TILE_BYTES, 2 * BLOCK_N * HEAD_DIM, "a tile of K, or of V")
EVO_LET(SET_BYTES, 2 * STAGES * TILE_BYTES, "the tiles of a set")
EVO_LET(RESULT_BYTES, SHARES == 1 ? 0 : 4 * BLOCK_M * (PITCH + 2),
        "result of a set, statistics behind")
EVO_LET(SHARE_BYTES, CLUSTER == 1 ? 0 : 4 * MERGED_ROWS * (PITCH + 2),
        "what a block sends to another")
EVO_LET(RESULTS_AT, Q_BYTES + KEY_SETS * SET_BYTES, "where results begin")
EVO_LET(SHARES_AT, RESULTS_AT + KEY_SETS * RESULT_BYTES, "where results of blocks begin")
EVO_LET(BARRIERS_AT, SHARES_AT + CLUSTER * SHARE_BYTES, "where the mbarriers begin")
EVO_LET(SET_BARRIERS, 2 * PARTS * STAGES, "mbarriers of a set")
EVO_LET(SMEM_BYTES, BARRIERS_AT + 8 * (KEY_SETS * SET_BARRIERS + 2), "shared memory of a block")
EVO_LET(REGISTERS,
        48 + HEAD_DIM / 2 + BLOCK_N / 2 + (EVO_IS(Product, by_mma) ? HEAD_DIM / 4 : BLOCK_N / 4) +
            (EVO_IS(QkSum, as_half) ? BLOCK_N / 8 : 0),
        "registers of a thread, about: output, scores, queries or weights")

EVO_REQUIRE(DEVICE_ARCH == 90, "wgmma exists on sm_90a alone")
EVO_REQUIRE(HEAD_DIM == 64 || HEAD_DIM == 128, "a head has 64 or 128 columns")
EVO_REQUIRE(EVO_IS(Product, by_mma) || BLOCK_M % 64 == 0, "a warpgroup has 64 rows")
EVO_REQUIRE(THREADS <= 512, "more warps would have too few registers each")
EVO_REQUIRE(BLOCK_N % (16 * PARTS) == 0, "a part of a tile is a multiple of 16 keys")
EVO_REQUIRE(EVO_IS(Copy, copy_engine) || BLOCK_N % (max(16, BLOCK_M / 4) * PARTS) == 0,
            "a part of a tile must deal out evenly to the set's threads")
EVO_REQUIRE(EVO_IS(Asks, asks_own) || EVO_IS(Copy, copy_engine) && KEY_SETS > 1,
            "a warp asks for the tiles of several sets, if nobody else copies")
EVO_REQUIRE(SMEM_BYTES <= DEVICE_SMEM_MAX, "Q, all tiles and results must fit in shared memory")
EVO_REQUIRE(REGISTERS <= min(255, 65536 / (128 * ceil_div(BLOCK_THREADS, 128)) / 8 * 8),
            "scores, weights and output must fit in registers")
EVO_REQUIRE(CLUSTER > 1 || EVO_IS(Meet, meet_barrier), "a block alone has nobody to meet")
EVO_REQUIRE(BF16 == 0 || EVO_IS(QkSum, as_float), "bfloat16 is summed in FP32")
EVO_NUMERICS(EVO_IS(QkSum, as_half))

EVO_TENSOR_MAP(q_map, Q, (64, BLOCK_M), 128, "64 columns of the block's rows")
EVO_TENSOR_MAP(k_map, K, (64, BLOCK_N / PARTS), 128, "64 columns of a part of a tile")
EVO_TENSOR_MAP(v_map, V, (64, BLOCK_N / PARTS), 128, "the same of V")
EVO_LAUNCH(attention, (CLUSTER * ceil_div(q_len, BLOCK_M), heads, batch), BLOCK_THREADS, SMEM_BYTES,
           (q_map, k_map, v_map, Q, K, V, O, LSE, problem))

using Type = as_input<BF16>;
using Scores = mma_sum<QkSum>;
enum : int {
    SET_THREADS = 32 * SET_WARPS,
    KEYS_BY_ENGINE = EVO_IS(Copy, copy_engine),
    VALUES_BY_ENGINE = !EVO_IS(Copy, copy_threads),
    STEPS = HEAD_DIM / 16, /* of a product of queries and keys */
    PART_KEYS = BLOCK_N / PARTS,
    PART_STEPS = PART_KEYS / 16, /* of a product of weights and values */
};

/* Weights are powers of 2: the scale and the change of base are one factor of the exponent. */
__device__ inline float softmax_factor(const evo_problem &problem)
{
    return problem.scale * 1.4426950408889634f;
}

/* Where a block works. */
struct block_place {
    int first_row, head, kv_head, batch, rank;

    __device__ explicit block_place(const evo_problem &problem)
    {
        const int x = blockIdx.x / CLUSTER;
        first_row = (CAUSAL ? (int)gridDim.x / CLUSTER - 1 - x : x) * BLOCK_M; /* long ones first */
        head = blockIdx.y;
        kv_head =
            problem.heads == problem.kv_heads ? head : head / (problem.heads / problem.kv_heads);
        batch = blockIdx.z;
        rank = blockIdx.x % CLUSTER;
    }
};

/* Rows of a head on their way to shared memory, as panels of 64 columns (tma.cuh). */
struct row_source {
    const evo_tensor_map &map;
    const evo_half *from;
    long long stride;
    int rows, head, batch;

    /*
     * ROWS rows from `first` on; panels of TILE_ROWS rows; by the engine, or else by all threads
     * of the set, of which the caller is `rank`. `full` is told when they have landed.
     */
    template <int ENGINE, int ROWS, int TILE_ROWS>
    __device__ void fetch(int first, unsigned to, unsigned full, int rank) const
    {
        if constexpr (ENGINE) {
            if (rank == 0) {
                mbarrier_expect(full, ROWS * 2 * HEAD_DIM);
#pragma unroll
                for (int panel = 0; panel < HEAD_DIM / 64; panel++)
                    tma_load<cache_unhinted, 1>(to + panel * TILE_ROWS * 128, map,
                                                {panel * 64, first, head, batch}, full, 0);
            }
        } else {
#pragma unroll
            for (int panel = 0; panel < HEAD_DIM / 64; panel++)
                copy_swizzled<SET_THREADS, ROWS, 64, 0>(to + panel * TILE_ROWS * 128,
                                                        from + first * stride + panel * 64, stride,
                                                        rows - first, rank);
            mbarrier_arrive_landed(full);
        }
    }
};

/* The tiles of a set, from its last keys to its first. Each part of a tile has an mbarrier. */
struct set_tiles {
    row_source k, v;
    unsigned memory, barriers;
    int set, rank; /* the set, and the thread's number there */
    int count, last;

    __device__ int first_key(int j) const { return (last - j * SHARES) * BLOCK_N; }
    __device__ unsigned keys_at(int j) const { return memory + j % STAGES * (2 * TILE_BYTES); }
    __device__ unsigned values_at(int j) const { return keys_at(j) + TILE_BYTES; }
    __device__ unsigned full(int j, int part) const /* parts of V come after those of K */
    {
        return barriers + 8 * (j % STAGES * (2 * PARTS) + part);
    }

    __device__ void fetch_keys(int j, int rank) const
    {
        fetch_parts<KEYS_BY_ENGINE, 0>(k, j, keys_at(j), rank);
    }
    __device__ void fetch_values(int j, int rank) const
    {
        fetch_parts<VALUES_BY_ENGINE, PARTS>(v, j, values_at(j), rank);
    }
    template <int ENGINE, int FIRST>
    __device__ void fetch_parts(const row_source &source, int j, unsigned to, int rank) const
    {
#pragma unroll
        for (int part = 0; part < PARTS; part++)
            fetch_part<ENGINE, FIRST>(source, j, part, to, rank);
    }
    template <int ENGINE, int FIRST>
    __device__ void fetch_part(const row_source &source, int j, int part, unsigned to,
                               int rank) const
    {
        if (j < count)
            source.fetch<ENGINE, PART_KEYS, BLOCK_N>(first_key(j) + part * PART_KEYS,
                                                     to + part * PART_KEYS * 128,
                                                     full(j, FIRST + part), rank);
    }

    template <int PART> __device__ void await_keys(int j) const
    {
        await<KEYS_BY_ENGINE>(full(j, PART), j);
        if (EVO_IS(Values, values_later) && PART == PARTS - 1)
            fetch_values(j, rank);
    }
    template <int PART> __device__ void await_values(int j) const
    {
        await<VALUES_BY_ENGINE>(full(j, PARTS + PART), j);
    }
    template <int ENGINE> __device__ static void await(unsigned full, int j)
    {
        mbarrier_wait<1>(full, j / STAGES % 2);
        if (!ENGINE && EVO_IS(Product, by_wgmma))
            async_proxy_fence(); /* what threads have stored, wgmma reads */
    }
    __device__ void sync() const { named_barrier_wait(1 + set, SET_THREADS); }
};

/* A warp's 16 rows on their way through the tiles of its set, two of them in each thread. */
struct warp_rows {
    const evo_problem &problem;
    const set_tiles &tiles;
    const unsigned query; /* Q: of the warp, or of its warpgroup */
    const int first_row;  /* of the warp */
    const int row = first_row + threadIdx.x % 32 / 4;
    const int visible[2] = {evo_visible<CAUSAL>(problem, row),
                            evo_visible<CAUSAL>(problem, row + 8)};
    const int clear = evo_visible<CAUSAL>(problem, first_row); /* keys that all of the rows see */

    online_rows softmax = {};
    Scores::word sums[BLOCK_N / 8 * Scores::WORDS];
    float scores[BLOCK_N / 2], output[HEAD_DIM / 2] = {};
    unsigned weights[BLOCK_N / 4], q[HEAD_DIM / 4];

    __device__ void run()
    {
        if constexpr (EVO_IS(Product, by_mma))
            load_fragments<BLOCK_M * 128>(query, q);
        int j = 0;
        if (EVO_IS(Product, by_mma) && tiles.count > 0)
            work<1>(j++);
#pragma unroll 1
        for (; j < tiles.count; j++)
            work<0>(j);
        online_finish(softmax);
    }

    /* The j-th tile. FIRST: nothing was gathered before it, so nothing has to be rescaled. */
    template <int FIRST> __device__ void work(int j)
    {
        const int first = tiles.first_key(j);
        float shrink[2];

        make_scores(j);
        if (first + BLOCK_N > clear)
            online_mask(scores, {visible[0] - first, visible[1] - first});
        if (online_weights<rescale_always, FIRST, CAUSAL, POLYNOMIALS>(
                scores, softmax, softmax_factor(problem), shrink))
            online_scale(output, shrink);
        pack_fragment<Type>(scores, weights);
        add_values(j);
        if (j + STAGES < tiles.count && (EVO_IS(Product, by_mma) || BLOCK_M > 64))
            tiles.sync(); /* all have used the tile: another takes its place */
        tiles.fetch_keys(j + STAGES, tiles.rank);
        if (EVO_IS(Values, values_at_once))
            tiles.fetch_values(j + STAGES, tiles.rank);
    }

    /* S = Q K^T, as parts of K arrive. */
    __device__ void make_scores(int j)
    {
        if constexpr (EVO_IS(Product, by_wgmma)) {
            tiles.await_keys<0>(j);
            wgmma_begin(sums);
            wgmma_scores<0>(j);
            wgmma_commit();
            wgmma_wait<0>();
            pinned(sums);
        } else {
#pragma unroll
            for (int i = 0; i < BLOCK_N / 8 * Scores::WORDS; i++)
                sums[i] = 0;
            mma_scores<0>(j);
        }
#pragma unroll
        for (int i = 0; i < BLOCK_N / 2; i++)
            scores[i] = Scores::get(sums + i / 4 * Scores::WORDS, i % 4);
    }
    template <int PART> __device__ void wgmma_scores(int j)
    {
        using part_sums = Scores::word[PART_KEYS / 8 * Scores::WORDS];
        const auto a = wgmma_matrix(query, 0);
        const auto b = wgmma_matrix(tiles.keys_at(j) + PART * PART_KEYS * 128, 0);
        if constexpr (PART > 0)
            tiles.await_keys<PART>(j);
#pragma unroll
        for (int step = 0; step < STEPS; step++)
            wgmma_shape<PART_KEYS>::template product<Type, 0>(
                (part_sums &)sums[PART * (PART_KEYS / 8 * Scores::WORDS)],
                a + wgmma_along<BLOCK_M * 128>(step), b + wgmma_along<BLOCK_N * 128>(step),
                step > 0);
        if constexpr (PART + 1 < PARTS)
            wgmma_scores<PART + 1>(j);
    }
    /* 16 keys are two products. */
    template <int PART> __device__ void mma_scores(int j)
    {
        const unsigned keys = tiles.keys_at(j) + lane_by_pieces<64>();
        tiles.await_keys<PART>(j);
#pragma unroll
        for (int step = 0; step < STEPS; step++)
#pragma unroll
            for (int n = PART * PART_STEPS; n < (PART + 1) * PART_STEPS; n++) {
                unsigned b[4];
                ldmatrix(b, column_step(keys, step) + n * (16 * 128));
                mma<Type>(sums + 2 * n * Scores::WORDS, fragment(q, step), b[0], b[1]);
                mma<Type>(sums + (2 * n + 1) * Scores::WORDS, fragment(q, step), b[2], b[3]);
            }
        if constexpr (PART + 1 < PARTS)
            mma_scores<PART + 1>(j);
    }

    /* O += P V, as parts of V arrive. */
    __device__ void add_values(int j)
    {
        if constexpr (EVO_IS(Product, by_wgmma)) {
            tiles.await_values<0>(j);
            wgmma_begin(output, weights);
            wgmma_values<0>(j);
            wgmma_commit();
            wgmma_wait<0>();
            pinned(output);
        } else {
            mma_values<0>(j);
        }
    }
    template <int PART> __device__ void wgmma_values(int j)
    {
        const auto b = wgmma_matrix(tiles.values_at(j), BLOCK_N * 128);
        if constexpr (PART > 0)
            tiles.await_values<PART>(j);
#pragma unroll
        for (int n = PART * PART_STEPS; n < (PART + 1) * PART_STEPS; n++)
            wgmma_shape<HEAD_DIM>::product<Type, 1>(output, weights + 4 * n, b + wgmma_across(n),
                                                    1);
        if constexpr (PART + 1 < PARTS)
            wgmma_values<PART + 1>(j);
    }
    /* 16 keys are a step deep, 16 columns are two products. */
    template <int PART> __device__ void mma_values(int j)
    {
        const unsigned values = tiles.values_at(j) + lane_by_rows<64>();
        tiles.await_values<PART>(j);
#pragma unroll
        for (int n = PART * PART_STEPS; n < (PART + 1) * PART_STEPS; n++)
#pragma unroll
            for (int step = 0; step < STEPS; step++) {
                unsigned b[4];
                ldmatrix_transposed(b, column_step(values, step) + n * (16 * 128));
                mma<Type>(output + 8 * step, fragment(weights, n), b[0], b[1]);
                mma<Type>(output + 8 * step + 4, fragment(weights, n), b[2], b[3]);
            }
        if constexpr (PART + 1 < PARTS)
            mma_values<PART + 1>(j);
    }

    /* Where a lane that points into a tile points 16 columns further, `step` times. */
    __device__ static unsigned column_step(unsigned lane, int step)
    {
        return (lane ^ (step % 4 << 5)) + step / 4 * (BLOCK_N * 128);
    }
    __device__ static const unsigned (&fragment(const unsigned *words, int step))[4]
    {
        return (const unsigned(&)[4])words[4 * step];
    }
};

/* A set that has all keys of its rows to itself stores them as they are. */
__device__ inline void store_output(warp_rows &mine, const attention_head &head)
{
    const evo_problem &problem = mine.problem;
    unsigned words[HEAD_DIM / 4];

    online_scale(mine.output, {evo_inverse(mine.softmax.sum[0]), evo_inverse(mine.softmax.sum[1])});
    pack_fragment<Type>(mine.output, words);
    write_fragments(words, head.o + mine.first_row * problem.o[2], problem.o[2],
                    problem.q_len - mine.first_row);
    if (LSE && threadIdx.x % 4 == 0)
#pragma unroll
        for (int r = 0; r < 2; r++)
            if (mine.row + 8 * r < problem.q_len)
                head.lse[mine.row + 8 * r] =
                    evo_log_sum_exp(mine.softmax.maximum[r], mine.softmax.sum[r], problem.scale);
}

/*
 * Results meet twice: those of a block's sets in its own memory; and what a block makes of them, in
 * that of the block of the cluster that has the row. Between blocks less than 20 bytes pass in a
 * cycle, so there is one result a block, in whole rows.
 */
struct result_exchange {
    const evo_problem &problem;
    unsigned memory; /* the block's shared memory */

    __device__ unsigned of_set(int set) const { return memory + RESULTS_AT + set * RESULT_BYTES; }
    __device__ unsigned of_block(int rank) const { return memory + SHARES_AT + rank * SHARE_BYTES; }
    __device__ unsigned arrived() const
    {
        return memory + BARRIERS_AT + 8 * (KEY_SETS * SET_BARRIERS + 1);
    }
    __device__ void init() const { mbarrier_init(arrived(), CLUSTER * THREADS / 32); }

    /* COUNT results of ROWS rows become one: columns of a row, in the order that `turn` tells. */
    template <int COUNT, int ROWS>
    __device__ merged_columns<8> merge(unsigned results, int row, int column, int turn) const
    {
        constexpr int BYTES = 4 * ROWS * (PITCH + 2);
        return merge_columns<COUNT, 8>(
            softmax_factor(problem),
            [&](int n) {
                return cluster_load2<1>(results + n * BYTES + 4 * ROWS * PITCH + 8 * row);
            },
            [&](int n, int i) {
                return cluster_load4<1>(results + n * BYTES +
                                        4 * (row * PITCH + column + 4 * (i ^ turn)));
            });
    }

    /* A warp's 16 rows, the first of which is the block's `row`. */
    __device__ void put(const warp_rows &mine, int set, int row) const
    {
        const int lane = threadIdx.x % 32;
#pragma unroll
        for (int r = 0; r < 2; r++) {
            const unsigned at = row + lane / 4 + 8 * r, to = of_set(set);
#pragma unroll
            for (int n = 0; n < HEAD_DIM / 8; n++)
                cluster_store2<1>(to + 4 * (at * PITCH + n * 8 + lane % 4 * 2),
                                  {mine.output[4 * n + 2 * r], mine.output[4 * n + 2 * r + 1]});
            if (lane % 4 == 0)
                cluster_store2<1>(to + 4 * BLOCK_M * PITCH + 8 * at,
                                  {mine.softmax.maximum[r], mine.softmax.sum[r]});
        }
    }

    /* The sets' results, as one, to the blocks that have the rows. */
    __device__ void send(int rank) const
    {
        const auto each = [&](int row, int column, int turn) {
            const auto merged = merge<KEY_SETS, BLOCK_M>(of_set(0), row, column, turn);
            const int at = row % MERGED_ROWS;
            const unsigned to = cluster_address<CLUSTER>(of_block(rank), row / MERGED_ROWS);
#pragma unroll
            for (int i = 0; i < 2; i++)
                cluster_store4<CLUSTER>(to + 4 * (at * PITCH + column + 4 * (i ^ turn)),
                                        merged.x[i]);
            if (column == 0)
                cluster_store2<CLUSTER>(to + 4 * MERGED_ROWS * PITCH + 8 * at,
                                        {merged.maximum, merged.sum});
        };
        merge_each<THREADS, BLOCK_M, HEAD_DIM, 8>(BLOCK_M, each);
        if constexpr (EVO_IS(Meet, meet_arrivals)) {
            __syncwarp();
#pragma unroll
            for (int owner = 0; owner < CLUSTER; owner++)
                mbarrier_arrive_there(cluster_address<CLUSTER>(arrived(), owner),
                                      threadIdx.x % 32 == 0);
        }
    }

    /* All results of rows become output. */
    template <int COUNT, int ROWS>
    __device__ void finish(unsigned results, const attention_head &head, int first_row) const
    {
        const auto each = [&](int row, int column, int turn) {
            merge_store<Type, LSE>(head, problem, first_row + row, column, turn,
                                   merge<COUNT, ROWS>(results, row, column, turn));
        };
        merge_each<THREADS, ROWS, HEAD_DIM, 8>(problem.q_len - first_row, each);
    }

    __device__ void run(const warp_rows &mine, const attention_head &head, const block_place &place,
                        int set, int row) const
    {
        put(mine, set, row);
        evo_barrier_of<THREADS, BLOCK_THREADS>(15);
        if constexpr (CLUSTER == 1) {
            finish<KEY_SETS, BLOCK_M>(of_set(0), head, place.first_row);
        } else {
            cluster_wait(); /* all blocks of the cluster are there, and so are their mbarriers */
            send(place.rank);
            if constexpr (EVO_IS(Meet, meet_barrier))
                cluster_sync<CLUSTER>();
            else
                mbarrier_wait<CLUSTER>(arrived(), 0);
            finish<CLUSTER, MERGED_ROWS>(of_block(0), head,
                                         place.first_row + place.rank * MERGED_ROWS);
        }
    }
};

/* The first tiles of all sets: a part of K for each, the next part, then V. */
template <class Tiles> __device__ inline void ask_for_all(Tiles tiles_of, int asker)
{
#pragma unroll 1
    for (int j = 0; j < STAGES; j++)
#pragma unroll 1
        for (int i = 0; i < PARTS * (EVO_IS(Values, values_at_once) ? 2 : 1); i++)
#pragma unroll 1
            for (int set = 0; set < KEY_SETS; set++) {
                const set_tiles tiles = tiles_of(set);
                if (i < PARTS)
                    tiles.fetch_part<1, 0>(tiles.k, j, i, tiles.keys_at(j), asker);
                else
                    tiles.fetch_part<1, PARTS>(tiles.v, j, i - PARTS, tiles.values_at(j), asker);
            }
}

extern "C" __global__ void __launch_bounds__(BLOCK_THREADS, 1) in_clusters_of(EVO_VALUE_CLUSTER)
    attention(const __grid_constant__ evo_tensor_map q_map,
              const __grid_constant__ evo_tensor_map k_map,
              const __grid_constant__ evo_tensor_map v_map, const evo_half *Q, const evo_half *K,
              const evo_half *V, evo_half *O, float *lse,
              const __grid_constant__ evo_problem problem)
{
    extern __shared__ __align__(1024) unsigned char shared[];
    const unsigned memory = shared_address(shared);
    const int warp = __shfl_sync(0xffffffff, threadIdx.x / 32, 0); /* known to be the same in all */
    const int set = warp / SET_WARPS, rank = threadIdx.x % SET_THREADS;
    const int my_row = warp % SET_WARPS * 16; /* the warp's first, within the block */
    const block_place place(problem);
    const attention_head head = evo_head(problem, place.batch, place.head, Q, K, V, O, lse);
    const int visible = evo_visible<CAUSAL>(problem, place.first_row + BLOCK_M - 1);
    const int all = evo::ceil_div(visible, BLOCK_N);
    const unsigned barriers = memory + BARRIERS_AT;
    const unsigned queries_full = barriers + 8 * KEY_SETS * SET_BARRIERS;
    const result_exchange results = {problem, memory};
    const row_source q = {q_map, head.q, problem.q[2], problem.q_len, place.head, place.batch};
    const auto tiles_of = [&](int set) {
        const int share = place.rank * KEY_SETS + set;
        return set_tiles{{k_map, head.k, problem.k[2], problem.kv_len, place.kv_head, place.batch},
                         {v_map, head.v, problem.v[2], problem.kv_len, place.kv_head, place.batch},
                         memory + Q_BYTES + set * SET_BYTES,
                         barriers + 8 * set * SET_BARRIERS,
                         set,
                         rank,
                         (all + SHARES - 1 - share) / SHARES,
                         all - 1 - share};
    };
    const set_tiles tiles = tiles_of(set);

    const auto make_barriers = [&](const set_tiles &tiles) {
        for (int i = 0; i < SET_BARRIERS; i++)
            mbarrier_init(
                tiles.barriers + 8 * i,
                (i % (2 * PARTS) < PARTS ? KEYS_BY_ENGINE : VALUES_BY_ENGINE) ? 1 : SET_THREADS);
        if (tiles.set == 0) {
            mbarrier_init(queries_full, KEYS_BY_ENGINE ? 1 : SET_THREADS);
            results.init();
        }
        mbarrier_publish();
    };
    constexpr bool APART = EVO_IS(Asks, asks_apart);
    const int asker = threadIdx.x - THREADS; /* 0: the thread apart that asks */
    if (APART ? asker == 0 : rank == 0)
        for (int i = APART ? 0 : set; i < (APART ? KEY_SETS : set + 1); i++)
            make_barriers(tiles_of(i));
    if constexpr (!KEYS_BY_ENGINE)
        __syncthreads(); /* who asks the engine made the mbarriers; others come to them */

    /* Everything sets out. */
    if constexpr (APART) {
        q.fetch<1, BLOCK_M, BLOCK_M>(place.first_row, memory, queries_full, asker);
    } else {
        if (set == 0)
            q.fetch<KEYS_BY_ENGINE, BLOCK_M, BLOCK_M>(place.first_row, memory, queries_full, rank);
#pragma unroll 1
        for (int j = 0; j < STAGES; j++)
            tiles.fetch_keys(j, rank);
    }
    if constexpr (EVO_IS(Values, values_at_once) && !APART)
#pragma unroll 1
        for (int j = 0; j < STAGES; j++)
            tiles.fetch_values(j, rank);
    if constexpr (KEYS_BY_ENGINE)
        __syncthreads();
    if constexpr (CLUSTER > 1)
        cluster_arrive();
    if (APART && warp == THREADS / 32) {
        ask_for_all(tiles_of, asker);
        return;
    }

    warp_rows mine = {problem, tiles,
                      memory + (EVO_IS(Product, by_mma) ? my_row : my_row / 64 * 64) * 128,
                      place.first_row + my_row};
    mbarrier_wait<1>(queries_full, 0);
    mine.run();
    if constexpr (SHARES == 1) {
        store_output(mine, head);
    } else {
        results.run(mine, head, place, set, my_row);
    }
}
