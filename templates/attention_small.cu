/*
 * attention_small -- short sequences on wgmma: every load under way at once, keys split over
 * warpgroups and over the blocks of a cluster.
 *
 * With few rows there are too few blocks of 64 rows to fill the machine, and a block's time is a
 * chain of latencies: launch, first load, scores, exponentials, output, store. So the keys of a
 * block's rows are shared out, over KEY_SETS sets of warpgroups and over CLUSTER blocks, until each
 * has a tile or two. All tiles find room in shared memory and set out before anything is waited
 * for. Every set then has a softmax and an output of its own, and these meet once: each warp sends
 * its result straight into the shared memory of the block that merges its rows, which waits for it
 * at an mbarrier. Nobody reads another block's memory, so nobody has to stay for others.
 *
 * A set is BLOCK_M / 64 warpgroups with 64 rows each. Longer sequences are walked in rounds: who
 * has used a tile fetches the one that follows in its place. That makes any length right, and none
 * fast: see attention_wgmma.
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

/*
 * Who copies: the copy engine, asked by one thread of a set; or all its threads, 16 bytes at a
 * time, which saves the way through the engine and costs instructions.
 */
struct copy_engine;
struct copy_threads;

/*
 * How blocks and sets meet: all threads at the cluster's barrier, or at an mbarrier of the block
 * that merges, where senders arrive and go their way.
 */
struct meet_barrier;
struct meet_arrivals;

EVO_GENE(BLOCK_M, set(64, 128), "query rows in a block, 64 for each warpgroup of a set")
EVO_GENE(BLOCK_N, range(32, 224, 32), "keys in a tile")
EVO_GENE(KEY_SETS, range(1, 4), "sets of warpgroups in a block, each with keys of its own")
EVO_GENE(CLUSTER, pow2(1, 8), "blocks that split the keys, and merge in each other's memory")
EVO_GENE(STAGES, range(1, 4), "tiles of K and V in shared memory, for each set")
EVO_GENE(PARTS, set(1, 2, 4), "parts of a tile that arrive, and are worked on, one by one")
EVO_GENE(POLYNOMIALS, set(0, 1, 2, 4), "exponentials of eight that the FMA pipe does")
EVO_CHOICE(Copy, (copy_engine, copy_threads), "who copies tiles to shared memory")
EVO_CHOICE(Meet, (meet_barrier, meet_arrivals), "how the merge waits for results")
EVO_CHOICE(QkSum, (as_float, as_half), "what the tensor cores sum scores in")

EVO_LET(GROUPS, BLOCK_M / 64, "warpgroups in a set")
EVO_LET(THREADS, 128 * GROUPS * KEY_SETS, "threads in a block")
EVO_LET(SHARES, KEY_SETS * CLUSTER, "sets that split the keys of a row")
EVO_LET(MERGED_ROWS, BLOCK_M / CLUSTER, "rows that a block of a cluster merges")
EVO_LET(PITCH, HEAD_DIM + 8, "floats from one row of a result to the next: no bank conflicts")
EVO_LET(Q_BYTES, 2 * BLOCK_M * HEAD_DIM, "the tile of Q")
EVO_LET(TILE_BYTES, 2 * BLOCK_N * HEAD_DIM, "a tile of K, or of V")
EVO_LET(SET_BYTES, 2 * STAGES * TILE_BYTES, "the tiles of a set")
EVO_LET(RESULT_BYTES, SHARES == 1 ? 0 : 4 * MERGED_ROWS * (PITCH + 2),
        "rows and statistics that a set sends to a block")
EVO_LET(RESULTS_AT, Q_BYTES + KEY_SETS * SET_BYTES, "where results begin")
EVO_LET(BARRIERS_AT, RESULTS_AT + SHARES * RESULT_BYTES, "where the mbarriers begin")
EVO_LET(SET_BARRIERS, 2 * PARTS * STAGES, "mbarriers of a set")
EVO_LET(SMEM_BYTES, BARRIERS_AT + 8 * (KEY_SETS * SET_BARRIERS + 2), "shared memory of a block")
EVO_LET(REGISTERS,
        48 + BLOCK_N / 2 + BLOCK_N / 4 + HEAD_DIM / 2 + (EVO_IS(QkSum, as_half) ? BLOCK_N / 8 : 0),
        "registers of a thread, about: scores, weights, output")

EVO_REQUIRE(DEVICE_ARCH == 90, "wgmma exists on sm_90a alone")
EVO_REQUIRE(HEAD_DIM == 64 || HEAD_DIM == 128, "a head has 64 or 128 columns")
EVO_REQUIRE(THREADS <= 512, "more warpgroups would have too few registers each")
EVO_REQUIRE(MERGED_ROWS >= 16, "a warp's 16 rows are merged by one block")
EVO_REQUIRE(BLOCK_N % (16 * PARTS) == 0, "a part of a tile is a multiple of 16 keys")
EVO_REQUIRE(EVO_IS(Copy, copy_engine) || BLOCK_N % (16 * GROUPS * PARTS) == 0,
            "a part of a tile must deal out evenly to the set's threads")
EVO_REQUIRE(SMEM_BYTES <= DEVICE_SMEM_MAX, "Q, all tiles and results must fit in shared memory")
EVO_REQUIRE(REGISTERS <= min(255, 65536 / THREADS / 8 * 8),
            "scores, weights and output must fit in registers")
EVO_REQUIRE(SHARES > 1 || EVO_IS(Meet, meet_barrier), "a set alone has nobody to meet")
EVO_REQUIRE(BF16 == 0 || EVO_IS(QkSum, as_float), "bfloat16 is summed in FP32")
EVO_NUMERICS(EVO_IS(QkSum, as_half))

EVO_TENSOR_MAP(q_map, Q, (64, BLOCK_M), 128, "64 columns of the block's rows")
EVO_TENSOR_MAP(k_map, K, (64, BLOCK_N / PARTS), 128, "64 columns of a part of a tile")
EVO_TENSOR_MAP(v_map, V, (64, BLOCK_N / PARTS), 128, "the same of V")
EVO_LAUNCH(attention, (CLUSTER * ceil_div(q_len, BLOCK_M), heads, batch), THREADS, SMEM_BYTES,
           (q_map, k_map, v_map, Q, K, V, O, LSE, problem))

using Type = as_input<BF16>;
enum : int {
    SET_THREADS = 128 * GROUPS,
    PART_KEYS = BLOCK_N / PARTS,
    PART_STEPS = PART_KEYS / 16, /* of a product of weights and values */
};

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

    /* ROWS rows from `first` on; panels of TILE_ROWS rows. The caller is `rank` of the set. */
    template <int ROWS, int TILE_ROWS>
    __device__ void fetch(int first, unsigned to, unsigned full, int rank) const
    {
        if constexpr (EVO_IS(Copy, copy_engine)) {
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
        }
    }
};

/*
 * The tiles of a set, from its last keys to its first. Each part of a tile has an mbarrier; threads
 * that copy themselves count their groups as well, a group for each part, even of no tile.
 */
struct set_tiles {
    row_source k, v;
    unsigned memory, barriers;
    int set, rank; /* the thread's set, and its number there */
    int count, last;

    enum : int { GROUPS_BEHIND = 2 * PARTS * STAGES - 1 };

    __device__ int first_key(int j) const { return (last - j * SHARES) * BLOCK_N; }
    __device__ unsigned keys_at(int j) const { return memory + j % STAGES * (2 * TILE_BYTES); }
    __device__ unsigned values_at(int j) const { return keys_at(j) + TILE_BYTES; }
    __device__ unsigned full(int j, int part) const /* parts of V come after those of K */
    {
        return barriers + 8 * (j % STAGES * (2 * PARTS) + part);
    }

    __device__ void fetch(int j) const
    {
#pragma unroll
        for (int i = 0; i < 2 * PARTS; i++) {
            const int row = i % PARTS * PART_KEYS;
            const unsigned to = (i < PARTS ? keys_at(j) : values_at(j)) + row * 128;
            if (j < count)
                (i < PARTS ? k : v)
                    .fetch<PART_KEYS, BLOCK_N>(first_key(j) + row, to, full(j, i), rank);
            if constexpr (EVO_IS(Copy, copy_threads))
                copy_async::commit();
        }
    }
    template <int PART> __device__ void await(int j) const
    {
        arrive<GROUPS_BEHIND - PART, 1>(full(j, PART));
        mbarrier_wait<1>(full(j, PART), j / STAGES % 2);
    }
    /*
     * What this thread has copied itself, but for the last groups, is there; and if the next
     * thing is a wgmma, is there for it, as is what others said to have copied before.
     */
    template <int PENDING, int FENCE> __device__ static void arrive(unsigned full)
    {
        if constexpr (EVO_IS(Copy, copy_threads)) {
            copy_async::wait<PENDING>();
            if (FENCE)
                async_proxy_fence();
            __syncwarp();
            mbarrier_arrive(full, threadIdx.x % 32 == 0);
        }
    }
    __device__ void sync() const { evo_barrier_of<SET_THREADS, THREADS>(1 + set); }
};

/* A warpgroup's 64 rows on their way through the tiles of its set, two of them in each thread. */
struct group_rows {
    const evo_problem &problem;
    const set_tiles &tiles;
    const unsigned query;
    const int first_row; /* of the warpgroup */
    const int row = first_row + threadIdx.x % 128 / 32 * 16 + threadIdx.x % 32 / 4;
    const int visible[2] = {evo_visible<CAUSAL>(problem, row),
                            evo_visible<CAUSAL>(problem, row + 8)};
    const int clear = evo_visible<CAUSAL>(problem, first_row); /* keys that all of the rows see */
    const float factor = problem.scale * 1.4426950408889634f;

    online_rows softmax = {};
    float scores[BLOCK_N / 2], output[HEAD_DIM / 2] = {};
    unsigned half_scores[BLOCK_N / 4], weights[BLOCK_N / 4];

    __device__ void run()
    {
#pragma unroll 1
        for (int j = 0; j < tiles.count; j++) {
            if constexpr (EVO_IS(QkSum, as_half)) {
                make_scores(j, half_scores);
                unpack_fragment<Type>(half_scores, scores);
            } else {
                make_scores(j, scores);
            }
            make_weights(j);
            add_values(j);
            if (GROUPS > 1 && j + STAGES < tiles.count)
                tiles.sync(); /* all groups have used the tile: another takes its place */
            tiles.fetch(j + STAGES);
        }
        online_finish(softmax);
    }

    /* S = Q K^T, as parts of K arrive. */
    template <class Sum, int N> __device__ void make_scores(int j, Sum (&sums)[N])
    {
        tiles.await<0>(j);
        wgmma_begin(sums);
        part_scores<0>(j, sums);
        wgmma_commit();
        wgmma_wait<0>();
        pinned(sums);
    }
    template <int PART, class Sum, int N> __device__ void part_scores(int j, Sum (&sums)[N])
    {
        using part_sums = Sum[N / PARTS];
        const auto a = wgmma_matrix(query, 0);
        const auto b = wgmma_matrix(tiles.keys_at(j) + PART * PART_KEYS * 128, 0);
        if constexpr (PART > 0)
            tiles.await<PART>(j);
#pragma unroll
        for (int step = 0; step < HEAD_DIM / 16; step++)
            wgmma_shape<PART_KEYS>::template product<Type, 0>(
                (part_sums &)sums[PART * (N / PARTS)], a + wgmma_along<BLOCK_M * 128>(step),
                b + wgmma_along<BLOCK_N * 128>(step), step > 0);
        if constexpr (PART + 1 < PARTS)
            part_scores<PART + 1>(j, sums);
    }

    __device__ void make_weights(int j)
    {
        const int first = tiles.first_key(j);
        float shrink[2];
        if (first + BLOCK_N > clear)
            online_mask(scores, {visible[0] - first, visible[1] - first});
        online_weights<rescale_always, 0, CAUSAL, POLYNOMIALS>(scores, softmax, factor, shrink);
        if (j > 0)
            online_scale(output, shrink);
        pack_fragment<Type>(scores, weights);
    }

    /* O += P V, as parts of V arrive. */
    __device__ void add_values(int j)
    {
        tiles.await<PARTS>(j);
        wgmma_begin(output, weights);
        part_values<0>(j);
        wgmma_commit();
        wgmma_wait<0>();
        pinned(output);
    }
    template <int PART> __device__ void part_values(int j)
    {
        const auto b = wgmma_matrix(tiles.values_at(j), BLOCK_N * 128);
        if constexpr (PART > 0)
            tiles.await<PARTS + PART>(j);
#pragma unroll
        for (int step = PART * PART_STEPS; step < (PART + 1) * PART_STEPS; step++)
            wgmma_shape<HEAD_DIM>::product<Type, 1>(output, weights + 4 * step,
                                                    b + wgmma_across(step), 1);
        if constexpr (PART + 1 < PARTS)
            part_values<PART + 1>(j);
    }
};

/* A set that has all keys of its rows to itself stores them as they are. */
__device__ inline void store_output(group_rows &mine, const attention_head &head)
{
    const evo_problem &problem = mine.problem;
    const int first = mine.first_row + threadIdx.x % 128 / 32 * 16; /* of the warp */
    unsigned words[HEAD_DIM / 4];

    online_scale(mine.output, {evo_inverse(mine.softmax.sum[0]), evo_inverse(mine.softmax.sum[1])});
    pack_fragment<Type>(mine.output, words);
    write_fragments(words, head.o + first * problem.o[2], problem.o[2], problem.q_len - first);
    if (LSE && threadIdx.x % 4 == 0)
#pragma unroll
        for (int r = 0; r < 2; r++)
            if (mine.row + 8 * r < problem.q_len)
                head.lse[mine.row + 8 * r] =
                    evo_log_sum_exp(mine.softmax.maximum[r], mine.softmax.sum[r], problem.scale);
}

/* Results on their way to the blocks that merge them, and their merge. */
struct result_exchange {
    unsigned memory; /* the block's shared memory */

    __device__ unsigned result(int share) const
    {
        return memory + RESULTS_AT + share * RESULT_BYTES;
    }
    __device__ unsigned arrived() const
    {
        return memory + BARRIERS_AT + 8 * (KEY_SETS * SET_BARRIERS + 1);
    }
    __device__ void init() const /* every warp that sends arrives */
    {
        mbarrier_init(arrived(), SHARES * MERGED_ROWS / 16);
    }

    /* A warp's 16 rows, the first of which is the block's `row`, go to the block that has them. */
    __device__ void send(const group_rows &mine, int share, int row) const
    {
        const int owner = row / MERGED_ROWS, first = row % MERGED_ROWS, lane = threadIdx.x % 32;
        const unsigned to = cluster_address<CLUSTER>(result(share), owner);
#pragma unroll
        for (int r = 0; r < 2; r++) {
            const int at = first + lane / 4 + 8 * r;
#pragma unroll
            for (int n = 0; n < HEAD_DIM / 8; n++)
                cluster_store2<CLUSTER>(
                    to + 4 * (at * PITCH + n * 8 + lane % 4 * 2),
                    {mine.output[4 * n + 2 * r], mine.output[4 * n + 2 * r + 1]});
            if (lane % 4 == 0)
                cluster_store2<CLUSTER>(to + 4 * MERGED_ROWS * PITCH + 8 * at,
                                        {mine.softmax.maximum[r], mine.softmax.sum[r]});
        }
        if constexpr (EVO_IS(Meet, meet_arrivals)) {
            __syncwarp();
            mbarrier_arrive_there(cluster_address<CLUSTER>(arrived(), owner), lane == 0);
        }
    }

    __device__ void merge(const evo_problem &problem, const attention_head &head,
                          int first_row) const
    {
        if constexpr (EVO_IS(Meet, meet_barrier))
            cluster_sync<CLUSTER>();
        else
            mbarrier_wait<CLUSTER>(arrived(), 0); /* even for rows that do not exist */
        const auto each = [&](int row, int column, int turn) {
            merge_store<Type, LSE>(
                head, problem, first_row + row, column, turn,
                merge_columns<SHARES, 8>(
                    problem.scale * 1.4426950408889634f,
                    [&](int n) {
                        return cluster_load2<1>(result(n) + 4 * MERGED_ROWS * PITCH + 8 * row);
                    },
                    [&](int n, int i) {
                        return cluster_load4<1>(result(n) +
                                                4 * (row * PITCH + column + 4 * (i ^ turn)));
                    }));
        };
        merge_each<THREADS, MERGED_ROWS, HEAD_DIM, 8>(problem.q_len - first_row, each);
    }
};

extern "C" __global__ void __launch_bounds__(THREADS, 1) in_clusters_of(EVO_VALUE_CLUSTER)
    attention(const __grid_constant__ evo_tensor_map q_map,
              const __grid_constant__ evo_tensor_map k_map,
              const __grid_constant__ evo_tensor_map v_map, const evo_half *Q, const evo_half *K,
              const evo_half *V, evo_half *O, float *lse,
              const __grid_constant__ evo_problem problem)
{
    extern __shared__ __align__(1024) unsigned char shared[];
    const unsigned memory = shared_address(shared);
    const int group = __shfl_sync(0xffffffff, threadIdx.x / 128, 0); /* the same in all of a warp */
    const int set = group / GROUPS, rank = threadIdx.x % SET_THREADS;
    const block_place place(problem);
    const attention_head head = evo_head(problem, place.batch, place.head, Q, K, V, O, lse);
    const int visible = evo_visible<CAUSAL>(problem, place.first_row + BLOCK_M - 1);
    const int all = evo::ceil_div(visible, BLOCK_N), share = place.rank * KEY_SETS + set;
    const unsigned barriers = memory + BARRIERS_AT;
    const unsigned queries_full = barriers + 8 * KEY_SETS * SET_BARRIERS;
    const result_exchange results = {memory};
    const set_tiles tiles = {
        {k_map, head.k, problem.k[2], problem.kv_len, place.kv_head, place.batch},
        {v_map, head.v, problem.v[2], problem.kv_len, place.kv_head, place.batch},
        memory + Q_BYTES + set * SET_BYTES,
        barriers + 8 * set * SET_BARRIERS,
        set,
        rank,
        (all + SHARES - 1 - share) / SHARES,
        all - 1 - share};

    /* Everything sets out: by threads that made the mbarriers themselves, so before they meet. */
    constexpr int ARRIVALS = EVO_IS(Copy, copy_engine) ? 1 : SET_THREADS / 32;
    if (rank == 0) {
        for (int i = 0; i < SET_BARRIERS; i++)
            mbarrier_init(tiles.barriers + 8 * i, ARRIVALS);
        if (set == 0) {
            mbarrier_init(queries_full, ARRIVALS);
            results.init();
        }
        mbarrier_publish();
    }
    if (set == 0)
        row_source{q_map, head.q, problem.q[2], problem.q_len, place.head, place.batch}
            .fetch<BLOCK_M, BLOCK_M>(place.first_row, memory, queries_full, rank);
#pragma unroll 1
    for (int j = 0; j < STAGES; j++)
        tiles.fetch(j);
    __syncthreads();
    if constexpr (CLUSTER > 1)
        cluster_arrive();

    group_rows mine = {problem, tiles, memory + group % GROUPS * (64 * 128),
                       place.first_row + group % GROUPS * 64};
    if (set == 0)
        tiles.arrive<tiles.GROUPS_BEHIND, 0>(queries_full);
    mbarrier_wait<1>(queries_full, 0);
    mine.run();
    if constexpr (SHARES == 1) {
        store_output(mine, head);
    } else {
        if constexpr (CLUSTER > 1)
            cluster_wait(); /* all blocks of the cluster are there, and so are their mbarriers */
        results.send(mine, share, group % GROUPS * 64 + threadIdx.x % 128 / 32 * 16);
        results.merge(problem, head, place.first_row + place.rank * MERGED_ROWS);
    }
}
