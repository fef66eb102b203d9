/*
 * attention_wgmma -- Hopper's own way: tiles by TMA, products by wgmma, warpgroups with different
 * jobs.
 *
 * One thread of a block asks the copy engine for tiles of Q, K and V; one to three warpgroups, of
 * 64 query rows each, multiply them. They meet at mbarriers alone. Scores never leave the
 * registers: the fragment that Q K^T leaves in a thread is what P V takes from it.
 * (FlashAttention-3, Shah et al. 2024, arXiv 2407.08608, is the paper; lazy rescaling and
 * polynomial exponentials are FlashAttention-4's.)
 *
 * The exponentials of a tile take the special function unit half as long as its products take the
 * tensor cores with 128 columns, and just as long with 64. What makes it fast is to do both at
 * once:
 *
 *     OVERLAP    within a warpgroup: the softmax of a tile under the products of its neighbours
 *     PINGPONG   between warpgroups: products in turns, so that one's softmax is the other's turn
 *     CARRY      between the rows of blocks: the next rows' first scores under these rows' output
 *
 * What it cannot do: run anywhere but on sm_90a. Short sequences of few heads leave it without
 * work.
 */
#include "include/evo.cuh"
#include "include/fragments.cuh"
#include "include/mbarrier.cuh"
#include "include/online.cuh"
#include "include/schedule.cuh"
#include "include/wgmma.cuh"

EVO_GIVEN(HEAD_DIM, "columns of Q, K and V")
EVO_GIVEN(CAUSAL, "1: a row sees the keys up to its own")
EVO_GIVEN(BF16, "1: bfloat16 in memory, 0: half")
EVO_GIVEN(LSE, "1: the log-sum-exp of each row is written too")
EVO_GIVEN(DEVICE_SMEM_MAX, "bytes of shared memory a block may ask for")
EVO_GIVEN(DEVICE_ARCH, "90 has wgmma")

EVO_GENE(BLOCK_M, set(64, 128, 192), "query rows in a block, 64 for each warpgroup that computes")
EVO_GENE(BLOCK_N, range(32, 224, 16), "keys in a tile")
EVO_GENE(STAGES, range(1, 4), "tiles of K, and of V, in shared memory")
EVO_GENE(Q_STAGES, set(1, 2), "tiles of Q: 2 fetch the next rows while these are computed")
EVO_GENE(BLOCKS, range(1, 3), "blocks that share a multiprocessor")
EVO_GENE(CLUSTER, set(1, 2), "blocks that fetch K and V together, each a half for both")
EVO_GENE(PRODUCER_WARPS, set(1, 4), "4: a warpgroup that gives its registers to the others")
EVO_GENE(SECTION, pow2(1, 64), "heads worked on together, whose K and V shall stay in L2")
EVO_GENE(OVERLAP, flag, "1: a tile's softmax runs under the products of its neighbours")
EVO_GENE(PINGPONG, flag, "1: warpgroups issue products in turns")
EVO_GENE(CARRY, flag, "1: the next rows' first scores are computed under these rows' output")
EVO_GENE(SKIP, flag, "1: a warpgroup passes over tiles that none of its own rows sees")
EVO_GENE(POLYNOMIALS, set(0, 1, 2, 4), "exponentials of eight that the FMA pipe does")
EVO_GENE(UNROLL, set(1, 2), "tiles in the body of the loop")
/* Labels without a meaning of their own: the code asks for them by EVO_IS. */
struct query_shared {
};
struct query_registers {
};
struct weights_shared {
};
struct weights_registers {
};
struct mask_branch {
};
struct mask_loops {
};
struct output_direct {
};
struct output_over_queries {
};
struct output_apart {
};

EVO_CHOICE(Schedule, (schedule_once, schedule_static, schedule_dynamic),
           "a block for each tile of rows, or lasting blocks that take one after another")
EVO_CHOICE(Query, (query_shared, query_registers), "where Q K^T reads Q")
EVO_CHOICE(Weights, (weights_shared, weights_registers), "where P V reads the weights")
EVO_CHOICE(Rescale, (rescale_always, rescale_changed, rescale_lazy), "when the output is rescaled")
EVO_CHOICE(Mask, (mask_branch, mask_loops), "masked tiles: asked for in the loop, or a loop apart")
EVO_CHOICE(Output, (output_direct, output_over_queries, output_apart),
           "how it leaves: from registers, by TMA from Q's place, or from a place of its own")
EVO_CHOICE(Cache, (cache_unhinted, cache_hinted), "what L2 is told of Q, K, V")
EVO_CHOICE(QkSum, (as_float, as_half), "what the tensor cores sum scores in")

EVO_LET(GROUPS, BLOCK_M / 64, "warpgroups that compute")
EVO_LET(THREADS, 128 * GROUPS + 32 * PRODUCER_WARPS, "threads in a block")
EVO_LET(LAUNCH_REGISTERS, min(255, 65536 / (BLOCKS * 128 * ceil_div(THREADS, 128)) / 8 * 8),
        "a thread begins with: warps are dealt to four parts of 16384")
EVO_LET(TRADE, PRODUCER_WARPS == 4 && LAUNCH_REGISTERS < 240, "1: registers change hands")
EVO_LET(LIVE,
        BLOCK_N / 2 + HEAD_DIM / 2 + (EVO_IS(Weights, weights_registers) ? BLOCK_N / 4 : 0) +
            (EVO_IS(Query, query_registers) ? HEAD_DIM / 4 + 4 + 8 * CARRY : 0) + 32,
        "registers for scores, output, weights, queries and all else")
EVO_LET(PRODUCER_REGISTERS,
        LIVE <= ((GROUPS + 1) * LAUNCH_REGISTERS - 40) / GROUPS / 8 * 8 ? 40
        : GROUPS == 3                                                   ? 32
                                                                        : 24,
        "what the producer keeps: 40 if it can be")
EVO_LET(REGISTERS,
        TRADE ? min(240, ((GROUPS + 1) * LAUNCH_REGISTERS - PRODUCER_REGISTERS) / GROUPS / 8 * 8)
              : LAUNCH_REGISTERS,
        "what a thread that computes has")

EVO_LET(Q_BYTES, 64 * 2 * HEAD_DIM, "a warpgroup's tile of Q, or of O")
EVO_LET(TILE_BYTES, BLOCK_N * 2 * HEAD_DIM, "a tile of K or V")
EVO_LET(WEIGHT_BYTES, EVO_IS(Weights, weights_shared) ? ceil_div(BLOCK_N, 64) * 8192 : 0,
        "a warpgroup's weights")
EVO_LET(OUTPUT_BYTES, EVO_IS(Output, output_apart) ? Q_BYTES : 0, "a warpgroup's output")
EVO_LET(K_AT, GROUPS *Q_STAGES *Q_BYTES, "where K begins")
EVO_LET(V_AT, K_AT + STAGES * TILE_BYTES, "where V begins")
EVO_LET(WEIGHTS_AT, V_AT + STAGES * TILE_BYTES, "where the weights begin")
EVO_LET(OUTPUT_AT, WEIGHTS_AT + GROUPS * WEIGHT_BYTES, "where the output begins")
EVO_LET(BARRIERS_AT, OUTPUT_AT + GROUPS * OUTPUT_BYTES, "where the mbarriers begin")
EVO_LET(SMEM_BYTES, BARRIERS_AT + 16 * (GROUPS * Q_STAGES + 2 * STAGES + 2),
        "shared memory of a block")

EVO_REQUIRE(DEVICE_ARCH == 90, "wgmma exists on sm_90a alone")
EVO_REQUIRE(HEAD_DIM == 64 || HEAD_DIM == 128, "a head has 64 or 128 columns")
EVO_REQUIRE(BLOCKS *(SMEM_BYTES + 1024) <= DEVICE_SMEM_MAX + 1024,
            "the tiles of all blocks of a multiprocessor must fit in its shared memory")
EVO_REQUIRE(LIVE <= REGISTERS, "scores, output, weights and queries must fit in registers")
EVO_REQUIRE(max(BLOCK_N, HEAD_DIM) / 2 + 30 <= LAUNCH_REGISTERS,
            "one product must fit in the registers of the launch: ptxas counts no others there")
EVO_REQUIRE(PRODUCER_WARPS == 1 || GROUPS * BLOCKS > 1,
            "a block that has the multiprocessor to itself has registers enough")
EVO_REQUIRE(PINGPONG == 0 || GROUPS > 1, "turns need two warpgroups")
EVO_REQUIRE(UNROLL == 1 || OVERLAP == 1, "two tiles in a row are worth it if they overlap")
EVO_REQUIRE(CARRY == 0 || OVERLAP == 1 && !EVO_IS(Schedule, schedule_once),
            "only a block that lasts, with overlap, has next rows to carry on with")
EVO_REQUIRE(CARRY == 0 || Q_STAGES == 2 || !EVO_IS(Output, output_over_queries),
            "the next Q must have a place while the output leaves")
EVO_REQUIRE(Q_STAGES == 1 || !EVO_IS(Schedule, schedule_once), "there is no next Q")
EVO_REQUIRE(EVO_IS(Query, query_shared) || !EVO_IS(Output, output_over_queries),
            "what is in registers gives its place to the next Q, not to the output")
EVO_REQUIRE(CLUSTER == 1 || !EVO_IS(Schedule, schedule_dynamic),
            "the blocks of a cluster take their tiles without asking")
EVO_REQUIRE(CAUSAL == 1 || EVO_IS(Mask, mask_branch) && SKIP == 0,
            "without a causal mask only the last tile can need one, and all rows need it")
EVO_REQUIRE(SKIP == 0 || GROUPS * CLUSTER > 1, "other rows there are none")
EVO_REQUIRE(SKIP == 0 || STAGES >= ceil_div(CLUSTER * BLOCK_M - 64, BLOCK_N),
            "keys pass by ahead of their values: the tiles between must have a place")
EVO_REQUIRE(BF16 == 0 || EVO_IS(QkSum, as_float), "bfloat16 is summed in FP32")
EVO_NUMERICS(EVO_IS(QkSum, as_half))

EVO_WORKSPACE(counters, 8, zero_once, "tiles given out, and blocks that have left")
EVO_TENSOR_MAP(q_map, Q, (64, 64), 128, "a panel of a warpgroup's rows")
EVO_TENSOR_MAP(k_map, K, (64, BLOCK_N / CLUSTER), 128, "a panel of a tile, or of a block's half")
EVO_TENSOR_MAP(v_map, V, (64, BLOCK_N / CLUSTER), 128, "the same of V")
EVO_TENSOR_MAP(o_map, O, (64, 16), 128, "a panel of a warp's rows")
EVO_LAUNCH(attention,
           (CLUSTER *
            (EVO_IS(Schedule, schedule_once)
                 ? ceil_div(q_len, CLUSTER *BLOCK_M) * heads * batch
                 : min(ceil_div(q_len, CLUSTER *BLOCK_M) * heads * batch, sms *BLOCKS / CLUSTER))),
           THREADS, SMEM_BYTES, (q_map, k_map, v_map, o_map, O, LSE, problem, counters))

using Type = as_input<BF16>;
using q_ring = tile_ring<Q_STAGES, 1>;
using kv_ring = tile_ring<STAGES, CLUSTER>;

/* The block's work, and where in its shared memory everything lies. */
struct block_view {
    const evo_problem &problem;
    unsigned memory;
    int tiles, workers, *counters;

    __device__ unsigned barrier(int index) const { return memory + BARRIERS_AT + 16 * index; }
    __device__ q_ring queries(int group) const { return q_ring(barrier(group * Q_STAGES)); }
    __device__ kv_ring keys() const { return kv_ring(barrier(GROUPS * Q_STAGES)); }
    __device__ kv_ring values() const { return kv_ring(barrier(GROUPS * Q_STAGES + STAGES)); }
    __device__ tile_news<Schedule> news() const
    {
        const int at = GROUPS * Q_STAGES + 2 * STAGES;
        return tile_news<Schedule>(barrier(at), barrier(at + 1), workers, tiles, counters);
    }
    __device__ unsigned q_tile(int group, int stage) const
    {
        return memory + (group * Q_STAGES + stage) * Q_BYTES;
    }
    __device__ unsigned k_tile(int stage) const { return memory + K_AT + stage * TILE_BYTES; }
    __device__ unsigned v_tile(int stage) const { return memory + V_AT + stage * TILE_BYTES; }

    /* One tile of rows goes to a whole cluster; of that, this group of this block has 64. */
    __device__ row_tile rows(int tile) const
    {
        return row_tile_of<CLUSTER * BLOCK_M, CAUSAL, SECTION>(problem, tile);
    }
    __device__ static int group_row(const row_tile &rows, int group)
    {
        return rows.first_row + (CLUSTER > 1 ? cluster_rank() * BLOCK_M : 0) + 64 * group;
    }
    /* Tiles of keys that a row sees. At least one: rows that see none end as zeros. */
    __device__ int key_tiles(int row) const
    {
        return max(1, evo::ceil_div(evo_visible<CAUSAL>(problem, row), BLOCK_N));
    }
    __device__ int key_tiles(const row_tile &rows) const
    {
        return key_tiles(rows.first_row + CLUSTER * BLOCK_M - 1);
    }
};

/* The thread that asks for tiles. The keys come from the last to the first: masked ones lead. */
struct producer {
    const block_view &block;
    const evo_tensor_map &q_map, &k_map, &v_map;
    kv_ring keys = block.keys(), values = block.values();

    /* Each block of a cluster fetches a share of the rows, for all of them. */
    __device__ void fetch(kv_ring &ring, const evo_tensor_map &map, unsigned to,
                          const row_tile &rows, int tile)
    {
        const int share = BLOCK_N / CLUSTER, first = CLUSTER > 1 ? cluster_rank() * share : 0;
        ring.await_empty();
        mbarrier_expect(ring.full(), TILE_BYTES);
#pragma unroll
        for (int panel = 0; panel < HEAD_DIM / 64; panel++)
            tma_load<Cache, CLUSTER>(to + (panel * BLOCK_N + first) * 128, map,
                                     {panel * 64, tile * BLOCK_N + first, rows.kv_head, rows.batch},
                                     ring.full(), Cache::often());
        ring.advance();
    }
    __device__ void fetch_keys(const row_tile &rows, int tile)
    {
        fetch(keys, k_map, block.k_tile(keys.stage), rows, tile);
    }
    __device__ void fetch_values(const row_tile &rows, int tile)
    {
        fetch(values, v_map, block.v_tile(values.stage), rows, tile);
    }
    __device__ void fetch_queries(const row_tile &rows, int round)
    {
#pragma unroll
        for (int group = 0; group < GROUPS; group++) {
            q_ring ring = block.queries(group);
            ring.stage = round % Q_STAGES;
            ring.parity = round / Q_STAGES % 2;
            ring.await_empty();
            mbarrier_expect(ring.full(), Q_BYTES);
#pragma unroll
            for (int panel = 0; panel < HEAD_DIM / 64; panel++)
                tma_load<Cache, 1>(
                    block.q_tile(group, ring.stage) + panel * 64 * 128, q_map,
                    {panel * 64, block.group_row(rows, group), rows.head, rows.batch}, ring.full(),
                    Cache::once());
        }
    }

    __device__ void run(int tile)
    {
        tile_news<Schedule> news = block.news();
#pragma unroll 1
        for (int round = 0; tile < block.tiles; round++) {
            const row_tile rows = block.rows(tile);
            int left = block.key_tiles(rows);
            fetch_keys(rows, --left);
            fetch_queries(rows, round);
#pragma unroll 1
            for (; left > 0; left--) {
                fetch_keys(rows, left - 1);
                fetch_values(rows, left);
            }
            tile = news.ask(tile); /* answered while the last values wait for a free place */
            fetch_values(rows, 0);
            news.tell(tile);
        }
        Schedule::leave(block.workers, block.counters);
    }
};

/* A warpgroup that computes: 64 rows, two of them in each thread. */
struct consumer {
    const block_view &block;
    const evo_tensor_map &o_map;
    evo_half *const O;
    float *const lse;
    const int group, warp = threadIdx.x / 32 % 4, lane = threadIdx.x % 32;
    q_ring queries = block.queries(group), kept = queries;
    kv_ring keys = block.keys(), values = block.values();
    const unsigned weight_tile = block.memory + WEIGHTS_AT + group * WEIGHT_BYTES;
    const float factor = block.problem.scale * 1.4426950408889634f;

    float scores[BLOCK_N / 2], output[HEAD_DIM / 2], shrink[2];
    unsigned half_scores[BLOCK_N / 4], weights[BLOCK_N / 4], q[HEAD_DIM / 4];
    online_rows softmax;
    int visible[2], clear; /* keys that the rows see; from tile `clear` on some are hidden */
    int left, over;        /* tiles of keys still to come, and those that none of the rows sees */

    /* Products in turns: a group waits for the one before it, and passes on. */
    __device__ void await_turn() const
    {
        if (PINGPONG)
            named_barrier_wait(1 + group, 256);
    }
    __device__ void pass_turn() const
    {
        if (PINGPONG)
            named_barrier_pass(1 + (group + 1) % GROUPS, 256);
    }

    /* S = Q K^T */
    template <class Sums> __device__ void issue_scores(Sums &sums)
    {
        const auto a = wgmma_matrix(block.q_tile(group, queries.stage), 0);
        const auto b = wgmma_matrix(block.k_tile(keys.stage), 0);
        wgmma_begin(sums);
#pragma unroll
        for (int step = 0; step < HEAD_DIM / 16; step++)
            if constexpr (EVO_IS(Query, query_registers))
                wgmma_shape<BLOCK_N>::template product<Type, 0>(
                    sums, q + 4 * step, b + wgmma_along<BLOCK_N * 128>(step), step > 0);
            else
                wgmma_shape<BLOCK_N>::template product<Type, 0>(
                    sums, a + wgmma_along<64 * 128>(step), b + wgmma_along<BLOCK_N * 128>(step),
                    step > 0);
        wgmma_commit();
    }
    __device__ void issue_scores()
    {
        if constexpr (EVO_IS(QkSum, as_half))
            issue_scores(half_scores);
        else
            issue_scores(scores);
    }
    template <int PENDING> __device__ void await_scores()
    {
        wgmma_wait<PENDING>();
        if constexpr (EVO_IS(QkSum, as_half)) {
            pinned(half_scores);
            unpack_fragment<Type>(half_scores, scores);
        } else {
            pinned(scores);
        }
        keys.release(lane == 0);
        keys.advance();
    }

    /* O += P V */
    __device__ void issue_output()
    {
        const auto a = wgmma_matrix(weight_tile, 0);
        const auto b = wgmma_matrix(block.v_tile(values.stage), BLOCK_N * 128);
        wgmma_begin(output, weights);
#pragma unroll
        for (int step = 0; step < BLOCK_N / 16; step++)
            if constexpr (EVO_IS(Weights, weights_registers))
                wgmma_shape<HEAD_DIM>::product<Type, 1>(output, weights + 4 * step,
                                                        b + wgmma_across(step), 1);
            else
                wgmma_shape<HEAD_DIM>::product<Type, 1>(output, a + wgmma_along<64 * 128>(step),
                                                        b + wgmma_across(step), 1);
        wgmma_commit();
    }
    template <int PENDING> __device__ void await_output()
    {
        wgmma_wait<PENDING>();
        pinned(output);
        values.release(lane == 0);
        values.advance();
    }

    /* Scores to weights; true: the output has to follow, by `shrink`. */
    template <int FIRST, int MASKED> __device__ bool soften(int tile)
    {
        if (MASKED && tile >= clear) {
            const int limit[2] = {visible[0] - tile * BLOCK_N, visible[1] - tile * BLOCK_N};
            online_mask(scores, limit);
        }
        return online_weights<Rescale, FIRST, CAUSAL, POLYNOMIALS>(scores, softmax, factor, shrink);
    }
    __device__ void make_weights()
    {
        pack_fragment<Type>(scores, weights);
        if constexpr (EVO_IS(Weights, weights_shared)) {
            store_fragments<64 * 128>(weight_tile + warp * 16 * 128, weights);
            async_proxy_fence();
            __syncwarp(); /* a warp's rows of A are read for that warp alone */
        }
    }

    /* What the group does with one tile of keys. */
    template <int MASKED> __device__ void step_plain(int tile)
    {
        keys.await_full();
        issue_scores();
        pass_turn();
        await_scores<0>();
        drop_queries(tile);
        const bool follow = soften<0, MASKED>(tile);
        make_weights();
        if (follow)
            online_scale(output, shrink);
        values.await_full();
        await_turn();
        issue_output();
        await_output<0>();
    }
    /* With the tile before: its output is summed while this one's scores become weights. */
    template <int MASKED> __device__ void step_overlapped(int tile)
    {
        keys.await_full();
        await_turn();
        issue_scores();
        values.await_full();
        issue_output();
        pass_turn();
        await_scores<1>();
        drop_queries(tile);
        const bool follow = soften<0, MASKED>(tile);
        await_output<0>();
        pinned(scores); /* weights are packed below, when the old ones have been read */
        make_weights();
        if (follow)
            online_scale(output, shrink);
    }
    template <int MASKED> __device__ void step(int tile)
    {
        if constexpr (OVERLAP)
            step_overlapped<MASKED>(tile);
        else
            step_plain<MASKED>(tile);
    }
    __device__ void walk(int tile)
    {
        if constexpr (EVO_IS(Mask, mask_loops)) {
#pragma unroll 1
            for (; tile >= clear && tile >= 0; tile--)
                step<1>(tile);
        }
#pragma unroll UNROLL
        for (; tile >= 0; tile--)
            step<EVO_IS(Mask, mask_branch) && (CAUSAL || !OVERLAP)>(tile);
    }

    __device__ void pass_over(kv_ring &ring) const
    {
        ring.await_full(); /* or it would be released for the tile before */
        ring.release(lane == 0);
        ring.advance();
    }
    /* Rows begin. Tiles that none of the group's rows sees, though others of the block do, pass by.
     */
    __device__ void begin_rows(const row_tile &rows)
    {
        const int first = block.group_row(rows, group), row = first + 16 * warp + lane / 4;
        visible[0] = evo_visible<CAUSAL>(block.problem, row);
        visible[1] = evo_visible<CAUSAL>(block.problem, row + 8);
        clear = evo_visible<CAUSAL>(block.problem, first) / BLOCK_N;
        left = block.key_tiles(rows);
        over = SKIP ? left - block.key_tiles(first + 63) : 0;
        left -= over;
        queries.await_full();
        if constexpr (EVO_IS(Query, query_registers)) {
            load_fragments<64 * 128>(block.q_tile(group, queries.stage) + warp * 16 * 128, q);
            queries.release(lane == 0);
            queries.advance();
        }
        for (int i = 0; i < over; i++) {
            pass_over(keys);
            await_turn();
            pass_turn();
        }
        softmax = online_rows();
    }
    __device__ void begin_output()
    {
        for (int i = 0; i < over; i++)
            pass_over(values);
#pragma unroll
        for (int i = 0; i < HEAD_DIM / 2; i++)
            output[i] = 0;
    }
    /* Q's place is free for the next rows once the last scores are there. */
    __device__ void drop_queries(int tile)
    {
        if (EVO_IS(Query, query_shared) && tile == 0) {
            if (!EVO_IS(Output, output_over_queries))
                queries.release(lane == 0);
            queries.advance();
        }
    }

    /* Rows end: the output leaves. */
    __device__ void end_output(const row_tile &rows, online_rows &softmax)
    {
        const evo_problem &p = block.problem;
        const int first = block.group_row(rows, group) + 16 * warp; /* of the warp's rows */
        const long long head = (long long)rows.batch * p.heads + rows.head;
        unsigned words[HEAD_DIM / 4];

        online_finish(softmax);
        online_scale(output, {evo_inverse(softmax.sum[0]), evo_inverse(softmax.sum[1])});
        pack_fragment<Type>(output, words);
        if (LSE && lane % 4 == 0)
#pragma unroll
            for (int r = 0; r < 2; r++)
                if (first + lane / 4 + 8 * r < p.q_len)
                    lse[head * p.q_len + first + lane / 4 + 8 * r] =
                        evo_log_sum_exp(softmax.maximum[r], softmax.sum[r], p.scale);
        if constexpr (EVO_IS(Output, output_direct))
            write_fragments(words, O + rows.batch * p.o[0] + rows.head * p.o[1] + first * p.o[2],
                            p.o[2], p.q_len - first);
        else
            store_output(words, {0, first, rows.head, rows.batch});
    }
    template <int N> __device__ void store_output(const unsigned (&words)[N], tma_corner to)
    {
        const unsigned tile = EVO_IS(Output, output_apart)
                                  ? block.memory + OUTPUT_AT + group * OUTPUT_BYTES
                                  : block.q_tile(group, kept.stage);
        if (EVO_IS(Output, output_apart)) {
            tma_stores_read(); /* the rows before these */
            __syncwarp();
        }
        store_fragments<64 * 128>(tile + warp * 16 * 128, words);
        async_proxy_fence();
        __syncwarp();
        if (lane == 0) {
#pragma unroll
            for (; to.column < HEAD_DIM; to.column += 64)
                tma_store(o_map, to, tile + to.column / 64 * 64 * 128 + warp * 16 * 128);
            tma_store_commit();
            if (EVO_IS(Output, output_over_queries))
                tma_stores_read();
        }
        if (EVO_IS(Output, output_over_queries)) {
            kept.release(lane == 0);
            kept.advance();
        }
    }

    __device__ void first_weights()
    {
        keys.await_full();
        await_turn();
        issue_scores();
        pass_turn();
        await_scores<0>();
        drop_queries(--left);
        soften<1, 1>(left);
        make_weights();
    }
    __device__ void last_output()
    {
        values.await_full();
        issue_output();
        await_output<0>();
    }

    /* Rows after rows, each by itself. */
    __device__ void run_apart(int tile)
    {
        tile_news<Schedule> news = block.news();
#pragma unroll 1
        while (tile < block.tiles) {
            const row_tile rows = block.rows(tile);
            begin_rows(rows);
            begin_output();
            if constexpr (OVERLAP) {
                first_weights();
                walk(left - 1);
                last_output();
            } else {
                await_turn();
                walk(left - 1);
                pass_turn();
            }
            end_output(rows, softmax);
            tile = news.hear(tile);
        }
    }
    /* Without a gap: the last output of these rows is summed with the first scores of the next. */
    __device__ void run_carried(int tile)
    {
        tile_news<Schedule> news = block.news();
        row_tile rows = block.rows(tile);
        begin_rows(rows);
        begin_output();
        first_weights();
#pragma unroll 1
        for (;;) {
            walk(left - 1);
            tile = news.hear(tile);
            if (tile >= block.tiles)
                break;
            const row_tile next = block.rows(tile);
            online_rows done = softmax;
            begin_rows(next);
            keys.await_full();
            await_turn();
            issue_scores();
            values.await_full();
            issue_output();
            pass_turn();
            await_scores<1>();
            drop_queries(--left);
            soften<1, 1>(left);
            await_output<0>();
            pinned(scores);
            make_weights();
            end_output(rows, done);
            begin_output();
            rows = next;
        }
        last_output();
        end_output(rows, softmax);
    }

    __device__ void run(int tile)
    {
        if (PINGPONG && group == GROUPS - 1)
            pass_turn(); /* the first group begins */
        if constexpr (CARRY)
            run_carried(tile);
        else
            run_apart(tile);
        if (PINGPONG && group == 0)
            await_turn(); /* what the last group has passed on */
        if (!EVO_IS(Output, output_direct) && lane == 0)
            tma_stores_read(); /* shared memory lives as long as the block */
    }
};

extern "C" __global__ void __launch_bounds__(THREADS, BLOCKS) in_clusters_of(EVO_VALUE_CLUSTER)
    attention(const __grid_constant__ evo_tensor_map q_map,
              const __grid_constant__ evo_tensor_map k_map,
              const __grid_constant__ evo_tensor_map v_map,
              const __grid_constant__ evo_tensor_map o_map, evo_half *O, float *lse,
              const __grid_constant__ evo_problem problem, int *counters)
{
    extern __shared__ __align__(1024) unsigned char memory[];
    const int tiles =
        evo::ceil_div(problem.q_len, CLUSTER * BLOCK_M) * problem.heads * problem.batch;
    const block_view block = {problem, shared_address(memory), tiles, (int)gridDim.x / CLUSTER,
                              counters};
    const int group = __shfl_sync(0xffffffff, threadIdx.x / 128, 0); /* the same in all of a warp */

    if (threadIdx.x == 0) {
        for (int i = 0; i < GROUPS; i++)
            block.queries(i).init(1, 4);
        block.keys().init(1, 4 * GROUPS * CLUSTER);
        block.values().init(1, 4 * GROUPS * CLUSTER);
        block.news().ring.init(1, 4 * GROUPS);
        mbarrier_publish();
    } else if (threadIdx.x == 128 * GROUPS) {
        tma_prefetch_map(q_map);
        tma_prefetch_map(k_map);
        tma_prefetch_map(v_map);
    }
    cluster_sync<CLUSTER>();
    if (group == GROUPS) {
        if constexpr (TRADE)
            registers_give<PRODUCER_REGISTERS>();
        if (threadIdx.x == 128 * GROUPS)
            producer{block, q_map, k_map, v_map}.run(blockIdx.x / CLUSTER);
        __syncwarp();
    } else {
        if constexpr (TRADE)
            registers_take<REGISTERS>();
        consumer{block, o_map, O, lse, group}.run(blockIdx.x / CLUSTER);
    }
    if (CLUSTER > 1)
        cluster_sync<CLUSTER>(); /* others may still fill this block's memory, or arrive there */
}
