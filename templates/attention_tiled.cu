/*
 * attention_tiled -- tiles of Q, K and V in shared memory, products on the ordinary FMA units.
 *
 * FlashAttention's order of work (Dao et al. 2022, arXiv 2205.14135) without tensor cores. A block
 * keeps BLOCK_M rows of Q; tile by tile it brings BLOCK_N keys and values, computes the scores into
 * shared memory, turns them into weights there by an online softmax, and adds the weighted rows of
 * V to the output, which stays in registers.
 *
 * The policies BARRIERS say who works together on a row, and so how often a block must meet:
 *
 *     6  the block, every step of the softmax spread over all threads: tile, scores, maxima,
 *        weights, sums, free
 *     4  the block, but the lanes that find a row's maximum also make its weights and its sum:
 *        tile, scores, sums, free
 *     2  each warp keeps rows of its own, and in them __syncwarp is enough; only the tiles, which
 *        the block copies together, need it whole: tile, free
 *
 * A tree reduction adds its own meetings, one between two levels. Its threads keep no rows, so it
 * has no policy of 4.
 *
 * What makes it fast: register tiles (TILE_M, TILE_N, TILE_D) turn one load from shared memory into
 * several FMAs; padding and vector loads avoid bank conflicts; a second stage hides the copy behind
 * the arithmetic. What it cannot do: pass the FP32 peak, a fifteenth of the tensor cores'.
 */
#include "include/evo.cuh"
#include "include/dot.cuh"
#include "include/softmax.cuh"

EVO_GIVEN(HEAD_DIM, "columns of Q, K and V")
EVO_GIVEN(CAUSAL, "1: a row sees the keys up to its own")
EVO_GIVEN(BF16, "1: bfloat16 in memory, 0: half")
EVO_GIVEN(LSE, "1: the log-sum-exp of each row is written too")
EVO_GIVEN(DEVICE_SMEM_MAX, "bytes of shared memory a block may ask for")

EVO_GENE(BLOCK_M, pow2(16, 128), "query rows in a block")
EVO_GENE(BLOCK_N, pow2(32, 128), "keys in a tile")
EVO_GENE(WARPS, pow2(2, 16), "warps in a block")
EVO_GENE(BARRIERS, set(2, 4, 6), "barriers of the whole block in a tile")
EVO_GENE(STAGES, set(1, 2), "tiles of K and V in shared memory: 2 copies one ahead")
EVO_GENE(VEC, pow2(1, 8), "elements moved by one load or copy")
EVO_GENE(PAD, set(0, 8), "elements added to a row of Q, K, V against bank conflicts")
EVO_GENE(SCORE_PAD, set(0, 1, 4), "floats added to a row of scores against bank conflicts")
EVO_GENE(TILE_M, pow2(1, 8), "rows of scores a thread computes at once")
EVO_GENE(TILE_N, pow2(1, 8), "keys of scores a thread computes at once")
EVO_GENE(TILE_D, pow2(2, 16), "columns of the output a thread owns in a row")
EVO_GENE(UNROLL, set(1, 4), "steps of the inner loops laid out in a row")
EVO_CHOICE(Copy, (copy_registers, copy_async), "how tiles come to shared memory")
EVO_CHOICE(Dot, (dot_float, dot_half2), "how scores are multiplied: FP32, or pairs in FP16")
EVO_CHOICE(Reduce, (reduce_serial, reduce_octet, reduce_warp, reduce_tree),
           "who reduces a row: 1, 8 or 32 lanes, or the team in a tree")
EVO_CHOICE(Exp, (softmax_exp, softmax_exp2), "which exponential the softmax uses")
EVO_CHOICE(Guard, (guard_none, guard_finite), "numerical guards off or on")

EVO_LET(THREADS, 32 * WARPS, "threads in a block")
EVO_LET(TEAM_THREADS, BARRIERS == 2 ? 32 : THREADS, "threads that share rows")
EVO_LET(TEAM_ROWS, BARRIERS == 2 ? BLOCK_M / WARPS : BLOCK_M, "rows they share")
EVO_LET(PITCH, HEAD_DIM + PAD, "elements from one row of Q, K, V to the next")
EVO_LET(SCORE_PITCH, BLOCK_N + SCORE_PAD, "floats from one row of scores to the next")
EVO_LET(TILE_BYTES, 2 * PITCH * (BLOCK_M + 2 * STAGES * BLOCK_N), "Q, and K and V of every stage")
EVO_LET(SCORE_BYTES, 4 * BLOCK_M * SCORE_PITCH, "scores, then weights")
EVO_LET(ROW_BYTES, 4 * 4 * BLOCK_M, "statistics of the softmax")
EVO_LET(TREE_BYTES, EVO_IS(Reduce, reduce_tree) ? 4 * BLOCK_M * BLOCK_N / 2 : 0,
        "levels of the tree")
EVO_LET(SMEM_BYTES, TILE_BYTES + SCORE_BYTES + ROW_BYTES + TREE_BYTES, "shared memory of a block")

EVO_REQUIRE(HEAD_DIM == 64 || HEAD_DIM == 128, "a head has 64 or 128 columns")
EVO_REQUIRE(SMEM_BYTES <= DEVICE_SMEM_MAX,
            "the tiles, scores and statistics must fit in shared memory")
EVO_REQUIRE(BARRIERS != 2 || BLOCK_M >= WARPS, "with 2 barriers each warp keeps at least one row")
EVO_REQUIRE(BARRIERS != 4 || !EVO_IS(Reduce, reduce_tree),
            "4 barriers need lanes that keep their rows, which a tree's do not")
EVO_REQUIRE(PAD % VEC == 0, "padded rows must start where a vector may")
EVO_REQUIRE(VEC >= 2 || EVO_IS(Copy, copy_registers), "an asynchronous copy moves at least 4 bytes")
EVO_REQUIRE(VEC >= 2 || EVO_IS(Dot, dot_float), "FP16 pairs need vectors of two")
EVO_REQUIRE(BF16 == 0 || EVO_IS(Dot, dot_float), "bfloat16 is multiplied in FP32")
EVO_REQUIRE(TILE_M * TILE_N <= 32, "a tile of scores must fit in registers")
EVO_REQUIRE(UNROLL * TILE_M * TILE_N * VEC <= 512,
            "the loop over columns must stay quick to compile")
EVO_REQUIRE(TEAM_ROWS >= TILE_M, "a tile of scores must fit in the team's rows")
EVO_REQUIRE(2 * (TEAM_ROWS / TILE_M) <= TEAM_THREADS, "two threads or more share a row of scores")
EVO_REQUIRE(TEAM_ROWS / TILE_M * (BLOCK_N / TILE_N) % TEAM_THREADS == 0,
            "the tiles of scores must deal out evenly to the threads")
EVO_REQUIRE(HEAD_DIM / TILE_D <= TEAM_THREADS, "a row of the output must fit in the team")
EVO_REQUIRE(TEAM_ROWS * HEAD_DIM % (TEAM_THREADS * TILE_D) == 0,
            "the output must deal out evenly to the threads")
EVO_REQUIRE(BLOCK_M * HEAD_DIM <= 64 * THREADS,
            "a thread's part of the output must fit in registers")
EVO_REQUIRE(UNROLL * 4 * BLOCK_M * HEAD_DIM <= 512 * THREADS,
            "the loop over keys must stay quick to compile")
EVO_NUMERICS(EVO_IS(Dot, dot_half2))
EVO_LAUNCH(attention, (ceil_div(q_len, BLOCK_M), heads, batch), THREADS, SMEM_BYTES,
           (Q, K, V, O, LSE, problem))

/* Each barrier, and what it orders; no other barrier orders the same two steps. */
enum {
    BARRIER_TILE,    /* K, V (and Q) were copied piecewise by all → scores read whole rows */
    BARRIER_SCORES,  /* a row's scores come from all over the team → who reduces the row */
    BARRIER_MAXIMA,  /* (6) peaks of who reduced the row → exponentials, dealt out afresh */
    BARRIER_WEIGHTS, /* (6) weights of who exponentiated → who sums the row */
    BARRIER_SUMS,    /* rescale factors (4: weights too) of who summed the row → its outputs */
    BARRIER_FREE,    /* all have read K and V → the next copy into their place */
    BARRIER_TREE,    /* one level of a tree → the next, whose pairs go to other threads */
};

using Type = as_input<BF16>;
using Rows = evo_if<BARRIERS == 2, rows_private, rows_shared>;
using Team = Rows::team<THREADS, BLOCK_M>;

/* Scores to weights, in place: in one sweep where lanes keep their rows, else in steps. */
__device__ inline void softmax(softmax_rows rows, float *scores, float *scratch, float factor)
{
    if constexpr (BARRIERS == 6 || !Reduce::KEEPS_ROWS)
        softmax_in_steps<Exp, Guard, Reduce, Team, BLOCK_N, SCORE_PITCH, BARRIER_MAXIMA,
                         BARRIER_WEIGHTS, BARRIER_TREE>(rows, scores, scratch, factor);
    else
        softmax_in_one<Exp, Guard, Reduce, Team, BLOCK_N, as_float, SCORE_PITCH, as_float,
                       SCORE_PITCH>(rows, scores, scores, factor, [](int) { return BLOCK_N; });
}

extern "C" __global__ void __launch_bounds__(THREADS)
    attention(const evo_half *Q, const evo_half *K, const evo_half *V, evo_half *O, float *lse,
              evo_problem problem)
{
    extern __shared__ __align__(16) unsigned char memory[];
    evo_half *const q_tile = (evo_half *)memory;
    evo_half *const k_tiles = q_tile + BLOCK_M * PITCH;
    evo_half *const v_tiles = k_tiles + STAGES * BLOCK_N * PITCH;
    float *const score_tile = (float *)(memory + TILE_BYTES);
    float *const row_table = (float *)(memory + TILE_BYTES + SCORE_BYTES);
    float *const tree = row_table + 4 * BLOCK_M;

    const attention_head head = evo_head(problem, blockIdx.z, blockIdx.y, Q, K, V, O, lse);
    const int first_row = blockIdx.x * BLOCK_M, rows_left = problem.q_len - first_row;
    /* The block's last row sees the most keys. At least one tile: empty rows end as zeros. */
    const int tiles =
        max(1, evo::ceil_div(evo_visible<CAUSAL>(problem, first_row + BLOCK_M - 1), BLOCK_N));
    const float factor = Exp::factor(problem.scale);

    /* The team's own rows. */
    const int team_row = Team::first_row();
    const evo_half *const my_q = q_tile + team_row * PITCH;
    float *const my_scores = score_tile + team_row * SCORE_PITCH;
    float *const my_tree = tree + team_row * (BLOCK_N / 2);
    const softmax_rows my_rows(row_table, BLOCK_M, team_row);
    output_tile<Team, Type, HEAD_DIM, TILE_D, VEC> output;

    const auto copy_keys = [&](int tile) {
        const int first = tile * BLOCK_N, at = tile % STAGES * BLOCK_N * PITCH;
        copy_tile<Copy, THREADS, BLOCK_N, HEAD_DIM, PITCH, VEC>(
            k_tiles + at, head.k + first * problem.k[2], problem.k[2], problem.kv_len - first);
        copy_tile<Copy, THREADS, BLOCK_N, HEAD_DIM, PITCH, VEC>(
            v_tiles + at, head.v + first * problem.v[2], problem.v[2], problem.kv_len - first);
    };

    softmax_begin<THREADS, BLOCK_M>(row_table);
    copy_tile<Copy, THREADS, BLOCK_M, HEAD_DIM, PITCH, VEC>(
        q_tile, head.q + first_row * problem.q[2], problem.q[2], rows_left);
    if (STAGES == 2)
        copy_keys(0);
    Copy::commit();

#pragma unroll 1
    for (int tile = 0; tile < tiles; tile++) {
        const evo_half *const k_tile = k_tiles + tile % STAGES * BLOCK_N * PITCH;
        const evo_half *const v_tile = v_tiles + tile % STAGES * BLOCK_N * PITCH;
        const int first_key = tile * BLOCK_N;

        if (tile + STAGES - 1 < tiles)
            copy_keys(tile + STAGES - 1);
        Copy::commit(); /* an empty group as well: the count below must not drift */
        Copy::template wait<STAGES - 1>();
        evo_barrier<BARRIER_TILE>();

        dot_scores<Team, Dot, Type, BLOCK_N, HEAD_DIM, PITCH, TILE_M, TILE_N, VEC, UNROLL>(
            my_q, k_tile, [&](int row, int key, float score) {
                const int visible = evo_visible<CAUSAL>(problem, first_row + team_row + row);
                my_scores[row * SCORE_PITCH + key] =
                    first_key + key < visible ? Guard::score(score) : evo_minus_infinity();
            });
        Team::sync<BARRIER_SCORES>();

        softmax(my_rows, my_scores, my_tree, factor);
        Team::sync<BARRIER_SUMS>();

        output.shrink(my_rows.rescale);
        output.add<as_float, BLOCK_N, SCORE_PITCH, PITCH, UNROLL>(my_scores, v_tile);
        evo_barrier<BARRIER_FREE>();
    }

    output.store(head.o + (first_row + team_row) * problem.o[2], problem.o[2], rows_left - team_row,
                 my_rows.sum);
    if (LSE)
        for (int row = Team::rank(); row < Team::ROWS && team_row + row < rows_left;
             row += Team::SIZE)
            head.lse[first_row + team_row + row] =
                evo_log_sum_exp(my_rows.maximum[row], my_rows.sum[row], problem.scale);
}
