/*
 * attention_wmma -- both products on tensor cores through WMMA, or either of them without.
 *
 * The order of work is attention_tiled's. WMMA does not say which lane holds which element of a
 * fragment, so whatever is done row by row passes through shared memory: scores are stored,
 * weighted by an online softmax, stored again as 16-bit weights, multiplied with V; the product of
 * one tile is stored and added, rescaled, to the FP32 output that the threads keep in registers.
 *
 * Each product may fall back on the ordinary FMA units: tensor cores for the scores alone are the
 * classic first step, and the classic lesson (softmax and the other product take the time).
 *
 * Numerics: FP32 accumulation by default. FP16 scores (QkSum) overflow beyond 65504. An FP16
 * product (PvSum) is accumulated in FP16 within one tile of at most 128 keys; tiles are summed in
 * FP32. The sums of weights are always FP32, over weights before they are rounded to 16 bits.
 *
 * What makes it fast: tensor cores, warps that keep their rows to themselves (rows_private needs 2
 * barriers a tile, rows_shared 4), a second stage of copies. What it cannot do: keep scores in
 * registers, or use wgmma: it ends at a tenth of what the hardware could do.
 */
#include "include/evo.cuh"
#include "include/dot.cuh"
#include "include/wmma.cuh"
#include "include/softmax.cuh"

EVO_GIVEN(HEAD_DIM, "columns of Q, K and V")
EVO_GIVEN(CAUSAL, "1: a row sees the keys up to its own")
EVO_GIVEN(BF16, "1: bfloat16 in memory, 0: half")
EVO_GIVEN(LSE, "1: the log-sum-exp of each row is written too")
EVO_GIVEN(DEVICE_SMEM_MAX, "bytes of shared memory a block may ask for")

EVO_GENE(BLOCK_M, pow2(16, 128), "query rows in a block")
EVO_GENE(BLOCK_N, pow2(16, 128), "keys in a tile")
EVO_GENE(WARPS, pow2(1, 16), "warps in a block")
EVO_GENE(STAGES, set(1, 2), "tiles of K and V in shared memory: 2 copies one ahead")
EVO_GENE(WMMA_QK, flag, "1: scores on tensor cores")
EVO_GENE(WMMA_PV, flag, "1: weights times V on tensor cores")
EVO_GENE(SPAN, set(1, 2, 4), "neighbouring fragments of a product that a warp makes at once")
EVO_GENE(TILE_D, pow2(2, 16), "columns of the output a thread owns in a row")
EVO_GENE(PAD, set(0, 8, 16), "elements added to a row of Q, K, V against bank conflicts")
EVO_GENE(SCORE_PAD, set(0, 4, 8), "floats added to a row of scores against bank conflicts")
EVO_CHOICE(Rows, (rows_shared, rows_private), "every warp works on every row, or each on its own")
EVO_CHOICE(Copy, (copy_registers, copy_async), "how tiles come to shared memory")
EVO_CHOICE(Reduce, (reduce_serial, reduce_octet, reduce_warp),
           "how many lanes take a row's softmax: 1, 8 or 32")
EVO_CHOICE(QkSum, (as_float, as_half), "what the tensor cores sum scores in")
EVO_CHOICE(PvSum, (as_float, as_half), "what they sum a tile's weighted V in")
EVO_CHOICE(Exp, (softmax_exp, softmax_exp2), "which exponential the softmax uses")

EVO_LET(THREADS, 32 * WARPS, "threads in a block")
EVO_LET(TEAM_THREADS, EVO_IS(Rows, rows_private) ? 32 : THREADS, "threads that share rows")
EVO_LET(TEAM_ROWS, EVO_IS(Rows, rows_private) ? BLOCK_M / WARPS : BLOCK_M, "rows they share")
EVO_LET(PITCH, HEAD_DIM + PAD, "elements from one row of Q, K, V to the next")
EVO_LET(WEIGHT_PITCH, BLOCK_N + 8, "elements from one row of weights to the next")
EVO_LET(SUM_PITCH, max(BLOCK_N, HEAD_DIM) + SCORE_PAD,
        "floats from one row of scores, or of the product, to the next")
EVO_LET(TILE_BYTES, 2 * PITCH * (BLOCK_M + 2 * STAGES * BLOCK_N), "Q, and K and V of every stage")
EVO_LET(WEIGHT_BYTES, 2 * BLOCK_M * WEIGHT_PITCH, "weights")
EVO_LET(SUM_BYTES, 4 * BLOCK_M * SUM_PITCH, "scores, then the product")
EVO_LET(ROW_BYTES, 4 * 4 * BLOCK_M, "statistics of the softmax")
EVO_LET(SMEM_BYTES, TILE_BYTES + WEIGHT_BYTES + SUM_BYTES + ROW_BYTES, "shared memory of a block")

EVO_REQUIRE(HEAD_DIM == 64 || HEAD_DIM == 128, "a head has 64 or 128 columns")
EVO_REQUIRE(SMEM_BYTES <= DEVICE_SMEM_MAX,
            "the tiles, weights, scores and statistics must fit in shared memory")
EVO_REQUIRE(TEAM_ROWS >= 16, "a team needs a fragment's 16 rows")
EVO_REQUIRE(WARPS >= 2 || EVO_IS(Rows, rows_private), "one warp has nobody to share its rows with")
EVO_REQUIRE(BLOCK_N % (16 * SPAN) == 0, "a span of fragments must fit in a tile's keys")
EVO_REQUIRE(WMMA_QK == 1 || WMMA_PV == 1 || SPAN == 1,
            "without tensor cores there are no fragments to span")
EVO_REQUIRE(WMMA_QK == 1 || EVO_IS(QkSum, as_float), "only tensor cores sum scores in FP16")
EVO_REQUIRE(WMMA_PV == 1 || EVO_IS(PvSum, as_float), "only tensor cores sum weighted V in FP16")
EVO_REQUIRE(BF16 == 0 || EVO_IS(QkSum, as_float) && EVO_IS(PvSum, as_float),
            "bfloat16 is summed in FP32")
EVO_REQUIRE(HEAD_DIM / TILE_D <= TEAM_THREADS, "a row of the output must fit in the team")
EVO_REQUIRE(TEAM_ROWS * HEAD_DIM % (TEAM_THREADS * TILE_D) == 0,
            "the output must deal out evenly to the threads")
EVO_REQUIRE(BLOCK_M * HEAD_DIM <= 64 * THREADS,
            "a thread's part of the output must fit in registers")
EVO_NUMERICS(EVO_IS(QkSum, as_half) || EVO_IS(PvSum, as_half))
EVO_LAUNCH(attention, (ceil_div(q_len, BLOCK_M), heads, batch), THREADS, SMEM_BYTES,
           (Q, K, V, O, LSE, problem))

/* Each barrier, and what it orders; rows_private needs the first and the last only. */
enum {
    BARRIER_TILE,    /* K, V (and Q) were copied piecewise by all → products read whole rows */
    BARRIER_SCORES,  /* scores of any warp → the lanes that take the row */
    BARRIER_WEIGHTS, /* their weights and rescale factors → the product, and the output */
    BARRIER_OUTPUT,  /* all have read K and V → the next copy; the product → the output */
};

using Type = as_input<BF16>;
using Team = Rows::team<THREADS, BLOCK_M>;
enum : int { OUTPUT_VEC = 8 }; /* elements of V that the scalar product loads at once */

/* One tile's scores, unmasked, in shared memory. */
__device__ inline void make_scores(const evo_half *q, const evo_half *k, float *sums)
{
    if constexpr (WMMA_QK)
        wmma_product<Team, Type, QkSum, b_transposed, BLOCK_N, HEAD_DIM, PITCH, PITCH,
                     SUM_PITCH * 4 / sizeof(QkSum::type), SPAN>(q, k, (QkSum::type *)sums);
    else
        dot_scores<Team, dot_float, Type, BLOCK_N, HEAD_DIM, PITCH, 1, 1, 8, 1>(
            q, k, [&](int row, int key, float score) { sums[row * SUM_PITCH + key] = score; });
}

extern "C" __global__ void __launch_bounds__(THREADS)
    attention(const evo_half *Q, const evo_half *K, const evo_half *V, evo_half *O, float *lse,
              evo_problem problem)
{
    extern __shared__ __align__(128) unsigned char memory[];
    evo_half *const q_tile = (evo_half *)memory;
    evo_half *const k_tiles = q_tile + BLOCK_M * PITCH;
    evo_half *const v_tiles = k_tiles + STAGES * BLOCK_N * PITCH;
    evo_half *const weight_tile = (evo_half *)(memory + TILE_BYTES);
    float *const sum_tile = (float *)(memory + TILE_BYTES + WEIGHT_BYTES);
    float *const row_table = (float *)(memory + TILE_BYTES + WEIGHT_BYTES + SUM_BYTES);

    const attention_head head = evo_head(problem, blockIdx.z, blockIdx.y, Q, K, V, O, lse);
    const int first_row = blockIdx.x * BLOCK_M, rows_left = problem.q_len - first_row;
    /* The block's last row sees the most keys. At least one tile: empty rows end as zeros. */
    const int tiles =
        max(1, evo::ceil_div(evo_visible<CAUSAL>(problem, first_row + BLOCK_M - 1), BLOCK_N));
    const float factor = Exp::factor(problem.scale);

    /* The team's own rows. */
    const int team_row = Team::first_row();
    const evo_half *const my_q = q_tile + team_row * PITCH;
    evo_half *const my_weights = weight_tile + team_row * WEIGHT_PITCH;
    float *const my_sums = sum_tile + team_row * SUM_PITCH;
    const softmax_rows my_rows(row_table, BLOCK_M, team_row);
    output_tile<Team, Type, HEAD_DIM, TILE_D, OUTPUT_VEC> output;

    const auto copy_keys = [&](int tile) {
        const int first = tile * BLOCK_N, at = tile % STAGES * BLOCK_N * PITCH;
        copy_tile<Copy, THREADS, BLOCK_N, HEAD_DIM, PITCH, 8>(
            k_tiles + at, head.k + first * problem.k[2], problem.k[2], problem.kv_len - first);
        copy_tile<Copy, THREADS, BLOCK_N, HEAD_DIM, PITCH, 8>(
            v_tiles + at, head.v + first * problem.v[2], problem.v[2], problem.kv_len - first);
    };

    softmax_begin<THREADS, BLOCK_M>(row_table);
    copy_tile<Copy, THREADS, BLOCK_M, HEAD_DIM, PITCH, 8>(q_tile, head.q + first_row * problem.q[2],
                                                          problem.q[2], rows_left);
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

        make_scores(my_q, k_tile, my_sums);
        Team::sync<BARRIER_SCORES>();

        softmax_in_one<Exp, guard_none, Reduce, Team, BLOCK_N, QkSum,
                       SUM_PITCH * 4 / sizeof(QkSum::type), Type, WEIGHT_PITCH>(
            my_rows, (QkSum::type *)my_sums, my_weights, factor, [&](int row) {
                return evo_visible<CAUSAL>(problem, first_row + team_row + row) - first_key;
            });
        Team::sync<BARRIER_WEIGHTS>();

        output.shrink(my_rows.rescale);
        if constexpr (WMMA_PV)
            wmma_product<Team, Type, PvSum, b_as_stored, HEAD_DIM, BLOCK_N, WEIGHT_PITCH, PITCH,
                         SUM_PITCH * 4 / sizeof(PvSum::type), SPAN>(my_weights, v_tile,
                                                                    (PvSum::type *)my_sums);
        else
            output.add<Type, BLOCK_N, WEIGHT_PITCH, PITCH, 1>(my_weights, v_tile);
        evo_barrier<BARRIER_OUTPUT>();
        if constexpr (WMMA_PV)
            output.add_product<PvSum, SUM_PITCH * 4 / sizeof(PvSum::type)>((PvSum::type *)my_sums);
    }

    output.store(head.o + (first_row + team_row) * problem.o[2], problem.o[2], rows_left - team_row,
                 my_rows.sum);
    if (LSE)
        for (int row = Team::rank(); row < Team::ROWS && team_row + row < rows_left;
             row += Team::SIZE)
            head.lse[first_row + team_row + row] =
                evo_log_sum_exp(my_rows.maximum[row], my_rows.sum[row], problem.scale);
}
