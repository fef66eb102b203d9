/*
 * honest.cuh -- correct attention in three kinds, with the places where a lie can be put.
 *
 * A planted kernel is an honest kernel and one lie. The lie is a struct derived from `honest` that
 * replaces one of its members, or a few lines around the call of attend(); so a cheat's file holds
 * the cheat and nothing else. The kinds stand for the kinds of templates:
 *
 *     in_scalar   keys and values straight from global memory
 *     in_tiled    tiles of 32 keys in shared memory, copied asynchronously one ahead
 *     in_wmma     the same tiles, both products on tensor cores
 *
 * All run with 64 threads on 32 query rows: two neighbouring lanes share a row, each holds one half
 * of its columns. They are written for being read, not for speed. HEAD_DIM, CAUSAL, BF16 and LSE
 * are the template's givens, declared above the include; there are 64 columns.
 */
#ifndef EVO_HONEST_CUH
#define EVO_HONEST_CUH

#include "copy.cuh"
#include "reduce.cuh"
#include "wmma.cuh"

enum : int {
    CHEAT_THREADS = 64,
    CHEAT_ROWS = 32,  /* query rows in a block */
    CHEAT_TILE = 32,  /* keys in a tile */
    CHEAT_HALF = HEAD_DIM / 2,
    CHEAT_PITCH = HEAD_DIM + 8,       /* elements from one row of a tile to the next */
    CHEAT_SUM_PITCH = HEAD_DIM + 4,   /* floats from one row of scores or products to the next */
    CHEAT_WEIGHT_PITCH = CHEAT_TILE + 8,
};

static_assert(HEAD_DIM == 64, "planted kernels are written for 64 columns");

using cheat_type = as_input<BF16>;

/* The truth, in the places where it is usually bent. */
struct honest {
    /* How many keys a row sees: the first so many. */
    __device__ static int keys(const evo_problem &p, int row) { return evo_visible<CAUSAL>(p, row); }
    /* A key that is left out though it is seen. */
    __device__ static bool skips(int) { return false; }
    /* In which order tiles are taken. */
    __device__ static int tile(int step, int) { return step; }
    /* What a row's maximum becomes when a score comes along; -inf before the first. */
    __device__ static float raise(float maximum, float score, float) { return fmaxf(maximum, score); }
    /* 2^x for x that are at most 0, or a little more. */
    __device__ static float power(float x) { return exp2f(x); }
    /* Roundings: of a score's partial sums, of a weight, of the output's partial sums, at the end. */
    __device__ static float score(float x) { return x; }
    __device__ static float weight(float x) { return x; }
    __device__ static float sum(float x) { return x; }
    __device__ static float output(float x) { return x; }
    using score_type = as_float; /* what tensor cores sum scores in */
    using sum_type = as_float;   /* and the output of a tile */
    /* Whether the block copies this tile, and meets before reading it. */
    __device__ static bool copies(int) { return true; }
    enum : int { MEETS = 1 };
    /* How it copies a tile. */
    template <class Tiles>
    __device__ static void fetch(Tiles &tiles, const attention_head &head, const evo_problem &p,
                                 int step, int first)
    {
        tiles.copy_pieces(head, p, step, first);
    }
    /* How it awaits its copies before it reads a tile; all but the next one's. And afterwards. */
    __device__ static void await(int, int) { copy_async::wait<1>(); }
    __device__ static void done(int, int) {}
};

/*
 * Keeps a computation whose result nobody wants: the store never happens, but no compiler knows.
 * An empty asm volatile is not enough: it is gone in PTX, and what fed it goes when that is assembled.
 */
__device__ inline void cheat_keep(float x, evo_half *O)
{
    if (x == -1.2345e-30f)
        O[0] = O[1];
}

/* Time that passes: dependent FMAs of 4 cycles each, whatever the clock. Never negative. */
__device__ inline float cheat_burn(int steps)
{
    float x = threadIdx.x;
#pragma unroll 16
    for (int i = 0; i < steps; i++)
        x = fmaf(x, x, x);
    return x;
}

/* Of Q and of the output; of K and of V. */
__device__ inline long long cheat_q_elements(const evo_problem &p)
{
    return (long long)p.batch * p.heads * p.q_len * HEAD_DIM;
}
__device__ inline long long cheat_k_elements(const evo_problem &p)
{
    return (long long)p.batch * p.kv_heads * p.kv_len * HEAD_DIM;
}

/* What a raw score is multiplied with in the exponent of 2. */
__device__ inline float cheat_factor(const evo_problem &p) { return p.scale * 1.4426950408889634f; }

/* 2^(factor (score - maximum)), 0 for what is hidden. */
template <class Lie> __device__ inline float cheat_weight(float score, float maximum, float factor)
{
    if (score == evo_minus_infinity())
        return 0;
    return Lie::power((score - maximum) * factor);
}

/* One half of a row: its columns of the output, and with the other half its statistics. */
struct cheat_row {
    float o[CHEAT_HALF], maximum, sum;

    __device__ cheat_row() : o{}, maximum(evo_minus_infinity()), sum(0) {}

    template <class Lie> __device__ void raise(float raised, float factor)
    {
        const float shrink = cheat_weight<Lie>(maximum, raised, factor);
        maximum = raised;
        sum *= shrink;
#pragma unroll
        for (int d = 0; d < CHEAT_HALF; d++)
            o[d] *= shrink;
    }

    /* Takes one key and its value; q, k and v are the half that this lane holds. */
    template <class Lie>
    __device__ void take(const float *q, const evo_half *k, const evo_half *v, bool seen,
                         float factor)
    {
        float part[8], score = 0;
#pragma unroll
        for (int d = 0; d < CHEAT_HALF; d += 8) {
            vector_load<cheat_type, 8>::floats(k + d, part);
#pragma unroll
            for (int i = 0; i < 8; i++)
                score = Lie::score(fmaf(q[d + i], part[i], score));
        }
        score = Lie::score(score + __shfl_xor_sync(3u << (threadIdx.x & 30), score, 1));
        if (!seen)
            score = evo_minus_infinity();
        const float raised = Lie::raise(maximum, score, factor);
        if (raised != maximum)
            raise<Lie>(raised, factor);
        const float weight = Lie::weight(cheat_weight<Lie>(score, maximum, factor));
        sum += weight;
#pragma unroll
        for (int d = 0; d < CHEAT_HALF; d += 8) {
            vector_load<cheat_type, 8>::floats(v + d, part);
#pragma unroll
            for (int i = 0; i < 8; i++)
                o[d + i] = Lie::sum(fmaf(weight, part[i], o[d + i]));
        }
    }

    template <class Lie>
    __device__ void store(const attention_head &head, const evo_problem &p, int row, int column)
    {
        const float inverse = evo_inverse(sum);
#pragma unroll
        for (int d = 0; d < CHEAT_HALF; d++)
            o[d] = Lie::output(o[d] * inverse);
#pragma unroll
        for (int d = 0; d < CHEAT_HALF; d += 8)
            store_floats<cheat_type, 8>(head.o + row * p.o[2] + column + d, o + d);
        if (LSE && column == 0)
            head.lse[row] = evo_log_sum_exp(maximum, sum, p.scale);
    }
};

/* Where a thread stands in the problem. */
struct cheat_place {
    attention_head head;
    int in_block, row, column; /* its row in the block and in the problem, its first column */

    __device__ cheat_place(const evo_half *Q, const evo_half *K, const evo_half *V, evo_half *O,
                           float *lse, const evo_problem &p)
        : head(evo_head(p, blockIdx.z, blockIdx.y, Q, K, V, O, lse)), in_block(threadIdx.x / 2),
          row(blockIdx.x * CHEAT_ROWS + in_block), column(threadIdx.x % 2 * CHEAT_HALF)
    {
    }
    __device__ void query(const evo_problem &p, float *q) const
    {
#pragma unroll
        for (int d = 0; d < CHEAT_HALF; d += 8)
            vector_load<cheat_type, 8>::floats(head.q + row * p.q[2] + column + d, q + d);
    }
};

struct in_scalar {
    template <class Lie>
    __device__ static void attend(const evo_half *Q, const evo_half *K, const evo_half *V,
                                  evo_half *O, float *lse, const evo_problem &p)
    {
        const cheat_place at(Q, K, V, O, lse, p);
        if (at.row >= p.q_len)
            return;
        const int keys = Lie::keys(p, at.row), tiles = evo::ceil_div(keys, CHEAT_TILE);
        const float factor = cheat_factor(p);
        float q[CHEAT_HALF];
        cheat_row mine;
        at.query(p, q);
#pragma unroll 1
        for (int step = 0; step < tiles; step++) {
            const int first = Lie::tile(step, tiles) * CHEAT_TILE;
#pragma unroll 1
            for (int key = first; key < min(first + CHEAT_TILE, keys); key++)
                mine.take<Lie>(q, at.head.k + key * p.k[2] + at.column,
                               at.head.v + key * p.v[2] + at.column, !Lie::skips(key), factor);
        }
        mine.store<Lie>(at.head, p, at.row, at.column);
    }
};

/* Tiles of K and V on their way through shared memory, the next one under way while one is used. */
struct cheat_tiles {
    evo_half keys[2][CHEAT_TILE * CHEAT_PITCH], values[2][CHEAT_TILE * CHEAT_PITCH];

    __device__ void copy_pieces(const attention_head &head, const evo_problem &p, int step,
                                int first)
    {
        copy_tile<copy_async, CHEAT_THREADS, CHEAT_TILE, HEAD_DIM, CHEAT_PITCH, 8>(
            keys[step % 2], head.k + first * p.k[2], p.k[2], p.kv_len - first);
        copy_tile<copy_async, CHEAT_THREADS, CHEAT_TILE, HEAD_DIM, CHEAT_PITCH, 8>(
            values[step % 2], head.v + first * p.v[2], p.v[2], p.kv_len - first);
    }
    template <class Lie>
    __device__ void copy(const attention_head &head, const evo_problem &p, int step, int tile)
    {
        if (Lie::copies(step))
            Lie::fetch(*this, head, p, step, tile * CHEAT_TILE);
        copy_async::commit();
    }
};

/* Calls each(step, tile) for every tile that the block sees, when it is there. */
template <class Lie, class Each>
__device__ inline void cheat_each_tile(cheat_tiles &tiles, const attention_head &head,
                                       const evo_problem &p, Each each)
{
    const int last = min(blockIdx.x * CHEAT_ROWS + CHEAT_ROWS - 1, p.q_len - 1);
    const int count = evo::ceil_div(Lie::keys(p, last), CHEAT_TILE);
    if (count > 0)
        tiles.copy<Lie>(head, p, 0, Lie::tile(0, count));
#pragma unroll 1
    for (int step = 0; step < count; step++) {
        if (step + 1 < count)
            tiles.copy<Lie>(head, p, step + 1, Lie::tile(step + 1, count));
        else
            copy_async::commit(); /* an empty group: the wait below counts groups */
        Lie::await(step, count);
        if (Lie::MEETS)
            evo_barrier<0>(); /* pieces were copied by all, rows are read whole */
        each(step, Lie::tile(step, count));
        Lie::done(step, count);
        evo_barrier<1>(); /* all have read, before the next copy into this place */
    }
}

struct in_tiled {
    template <class Lie>
    __device__ static void attend(const evo_half *Q, const evo_half *K, const evo_half *V,
                                  evo_half *O, float *lse, const evo_problem &p)
    {
        __shared__ __align__(16) cheat_tiles tiles;
        const cheat_place at(Q, K, V, O, lse, p);
        const bool exists = at.row < p.q_len;
        const int keys = exists ? Lie::keys(p, at.row) : 0;
        const float factor = cheat_factor(p);
        float q[CHEAT_HALF];
        cheat_row mine;
        if (exists)
            at.query(p, q);
        cheat_each_tile<Lie>(tiles, at.head, p, [&](int step, int tile) {
            const int first = tile * CHEAT_TILE, from = at.column;
#pragma unroll 1
            for (int i = 0; i < CHEAT_TILE; i++)
                if (first + i < keys)
                    mine.take<Lie>(q, tiles.keys[step % 2] + i * CHEAT_PITCH + from,
                                   tiles.values[step % 2] + i * CHEAT_PITCH + from,
                                   !Lie::skips(first + i), factor);
        });
        if (exists)
            mine.store<Lie>(at.head, p, at.row, at.column);
    }
};

struct in_wmma {
    template <class Lie>
    __device__ static void attend(const evo_half *Q, const evo_half *K, const evo_half *V,
                                  evo_half *O, float *lse, const evo_problem &p)
    {
        using Team = team_warp<CHEAT_THREADS, CHEAT_ROWS>; /* a warp, with 16 rows of its own */
        using Score = typename Lie::score_type;
        using Sum = typename Lie::sum_type;
        constexpr int SCORE_PITCH = CHEAT_SUM_PITCH * 4 / sizeof(typename Score::type);
        constexpr int SUM_PITCH = CHEAT_SUM_PITCH * 4 / sizeof(typename Sum::type);
        __shared__ __align__(128) cheat_tiles tiles;
        __shared__ __align__(128) evo_half q_tile[CHEAT_ROWS * CHEAT_PITCH];
        __shared__ __align__(128) float sums[CHEAT_ROWS * CHEAT_SUM_PITCH];
        __shared__ __align__(128) evo_half weights[CHEAT_ROWS * CHEAT_WEIGHT_PITCH];

        const cheat_place at(Q, K, V, O, lse, p);
        const bool exists = at.row < p.q_len;
        const int keys = exists ? Lie::keys(p, at.row) : 0, first_row = Team::first_row();
        const float factor = cheat_factor(p);
        cheat_row mine;
        copy_tile<copy_registers, CHEAT_THREADS, CHEAT_ROWS, HEAD_DIM, CHEAT_PITCH, 8>(
            q_tile, at.head.q + (at.row - at.in_block) * p.q[2], p.q[2],
            p.q_len - (at.row - at.in_block));
        evo_barrier<2>(); /* the copy deals rows out to all threads */

        /* Of the row: scores of a tile, then its weighted values. */
        auto *const scores = (typename Score::type *)(sums + at.in_block * CHEAT_SUM_PITCH);
        auto *const product = (typename Sum::type *)(sums + at.in_block * CHEAT_SUM_PITCH);
        evo_half *const row_weights = weights + at.in_block * CHEAT_WEIGHT_PITCH;
        const int lane = threadIdx.x % 2;

        cheat_each_tile<Lie>(tiles, at.head, p, [&](int step, int tile) {
            wmma_product<Team, cheat_type, Score, b_transposed, CHEAT_TILE, HEAD_DIM, CHEAT_PITCH,
                         CHEAT_PITCH, SCORE_PITCH, 1>(
                q_tile + first_row * CHEAT_PITCH, tiles.keys[step % 2],
                (typename Score::type *)(sums + first_row * CHEAT_SUM_PITCH));
            __syncwarp();

            /* The two lanes of a row take the keys in turn. */
            float seen[CHEAT_TILE / 2], raised = mine.maximum, total = 0;
#pragma unroll
            for (int i = 0; i < CHEAT_TILE / 2; i++) {
                const int key = tile * CHEAT_TILE + 2 * i + lane;
                seen[i] = key < keys && !Lie::skips(key) ? Score::get(scores[2 * i + lane])
                                                          : evo_minus_infinity();
                raised = Lie::raise(raised, seen[i], factor);
            }
            const float theirs = __shfl_xor_sync(0xffffffff, raised, 1);
            raised = Lie::raise(fminf(raised, theirs), fmaxf(raised, theirs), factor);
            mine.raise<Lie>(raised, factor);
#pragma unroll
            for (int i = 0; i < CHEAT_TILE / 2; i++) {
                const float weight = Lie::weight(cheat_weight<Lie>(seen[i], raised, factor));
                total += weight;
                row_weights[2 * i + lane] = cheat_type::put(weight);
            }
            mine.sum += total + __shfl_xor_sync(0xffffffff, total, 1);
            __syncwarp();

            wmma_product<Team, cheat_type, Sum, b_as_stored, HEAD_DIM, CHEAT_TILE,
                         CHEAT_WEIGHT_PITCH, CHEAT_PITCH, SUM_PITCH, 1>(
                weights + first_row * CHEAT_WEIGHT_PITCH, tiles.values[step % 2],
                (typename Sum::type *)(sums + first_row * CHEAT_SUM_PITCH));
            __syncwarp();
#pragma unroll
            for (int d = 0; d < CHEAT_HALF; d++)
                mine.o[d] = Lie::sum(mine.o[d] + Sum::get(product[at.column + d]));
            __syncwarp();
        });
        if (exists)
            mine.store<Lie>(at.head, p, at.row, at.column);
    }
};

#endif
