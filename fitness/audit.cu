/*
 * audit -- the judge's own kernels: what is too large to be read back is looked at where it lies.
 *
 *     audit_scan       a keyed digest of a buffer; 16-bit elements that hold poison or an infinity
 *     audit_gather     rows out of a tensor, one after another
 *     audit_draw       a tensor of unit normals, the bits that the host would draw (inputs.h)
 *     audit_baseline   attention as a right kernel of the class FP32 computes it, and for each row the
 *                      rms error that such a kernel must be expected to make (reference.h)
 *     audit_compare    a candidate's whole output against that, in units of the expected error
 *
 * They are trusted only so far: of the rows that the FP64 reference has, the baseline's are held to
 * the candidate's own limits each time (verify.c). Nothing here is tuned beyond tensor cores: a block
 * of four warps has 64 query rows, a warp 16, and takes 64 keys at a time through shared memory.
 * head_dim is a multiple of 8 up to 128; what is missing to 64 or 128 columns is zeros.
 *
 * `problem` is fitness/problem.h's problem_args, whose reserved word holds what a kernel needs besides:
 * bit 0: sums are FP16's (the expected error is larger), bit 1: causal.
 */
typedef unsigned short u16;
typedef unsigned u32;
typedef unsigned long long u64;
typedef long long i64;

struct problem {
    int batch, heads, kv_heads, q_len, kv_len, head_dim;
    float scale;
    int flags;
    i64 q[3], k[3], v[3], o[3];
};

enum : int { ROWS = 64, KEYS = 64, THREADS = 128, HALVES = 1, CAUSAL = 2 };

__device__ inline float minus_infinity() { return __int_as_float(0xff800000); }

/* ---- 16-bit types ---- */

template <bool BF16> __device__ inline float widen(u16 x)
{
    float wide;
    if (BF16)
        return __uint_as_float((u32)x << 16);
    asm("cvt.f32.f16 %0, %1;" : "=f"(wide) : "h"(x));
    return wide;
}
/* Two neighbours in a word; the instruction names the upper one first. */
template <bool BF16> __device__ inline u32 pack(float low, float high)
{
    u32 word;
    if (BF16)
        asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(word) : "f"(high), "f"(low));
    else
        asm("cvt.rn.f16x2.f32 %0, %1, %2;" : "=r"(word) : "f"(high), "f"(low));
    return word;
}
/* The distance of neighbouring values around x: of the exponent's size, and no less than the least. */
template <bool BF16> __device__ inline float step_at(float x)
{
    const int exponent = (int)(__float_as_uint(x) >> 23 & 255);
    return BF16 ? __uint_as_float((u32)max(exponent, 1) << 23) * 0.0078125f
                : __uint_as_float((u32)max(exponent, 127 - 14) << 23) * 0.0009765625f;
}

/* ---- tiles and products (the layouts are those of mma.sync.m16n8k16) ---- */

/* Where piece `piece`, 16 bytes, of a row lies: turned, so that eight rows' pieces share no bank. */
template <int DIM> __device__ inline u32 place(int row, int piece)
{
    return row * (DIM * 2) + ((piece ^ (row & 7)) << 4);
}

/* 64 rows, of which `rows` exist, with `columns` of the tile's DIM columns. */
template <int DIM>
__device__ inline void fetch(unsigned char *tile, const u16 *from, i64 stride, int rows, int columns)
{
    constexpr int PIECES = DIM / 8;
#pragma unroll
    for (int i = 0; i < 64 * PIECES / THREADS; i++) {
        const int at = i * THREADS + threadIdx.x, row = at / PIECES, piece = at % PIECES;
        uint4 x = {0, 0, 0, 0};
        if (row < rows && piece * 8 < columns)
            x = *(const uint4 *)(from + row * stride + piece * 8);
        *(uint4 *)(tile + place<DIM>(row, piece)) = x;
    }
}

__device__ inline u32 shared_address(const void *at)
{
    return (u32)__cvta_generic_to_shared(at);
}
__device__ inline void load4(u32 (&x)[4], u32 at)
{
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];"
                 : "=r"(x[0]), "=r"(x[1]), "=r"(x[2]), "=r"(x[3])
                 : "r"(at)
                 : "memory");
}
__device__ inline void load4_transposed(u32 (&x)[4], u32 at)
{
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0, %1, %2, %3}, [%4];"
                 : "=r"(x[0]), "=r"(x[1]), "=r"(x[2]), "=r"(x[3])
                 : "r"(at)
                 : "memory");
}
template <bool BF16> __device__ inline void multiply(float (&c)[4], const u32 (&a)[4], u32 b0, u32 b1)
{
    if (BF16)
        asm("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0, %1, %2, %3}, "
            "{%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"
            : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
            : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
    else
        asm("mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 {%0, %1, %2, %3}, "
            "{%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"
            : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
            : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
}

/* Over the four lanes that share a row. */
__device__ inline float quad_sum(float x)
{
    x += __shfl_xor_sync(0xffffffff, x, 1);
    return x + __shfl_xor_sync(0xffffffff, x, 2);
}
__device__ inline float quad_max(float x)
{
    x = fmaxf(x, __shfl_xor_sync(0xffffffff, x, 1));
    return fmaxf(x, __shfl_xor_sync(0xffffffff, x, 2));
}

/* ---- the baseline ---- */

/* What a lane knows of one of its two rows: sums over its own columns of the unnormalised weights. */
struct row_sums {
    float top, sum, p2, p2a, p3a; /* highest score; of p, p², p²a, p³a, a: V's mean squares */
    float a;                      /* of a alone: never faded, whatever was the maximum then */

    __device__ void fade(float by)
    {
        sum *= by;
        p2 *= by * by;
        p2a *= by * by;
        p3a *= by * by * by;
    }
    __device__ void take(float p, float a)
    {
        const float square = p * p;
        sum += p;
        p2 += square;
        p2a += square * a;
        p3a += square * p * a;
        this->a += p > 0 ? a : 0.0f;
    }
    __device__ void gather()
    {
        sum = quad_sum(sum);
        p2 = quad_sum(p2);
        p2a = quad_sum(p2a);
        p3a = quad_sum(p3a);
        a = quad_sum(a);
    }
    /*
     * Of an element's error before it is rounded, as reference.c predicts it. That leaves out what
     * its baseline shows and no other part of the prediction can: weights below FP16's normal range
     * are off by half of its least step at most, whatever their size, and so is each rounding of an
     * FP16 sum. Where the large weights' V is zero, nothing else is there.
     */
    template <bool BF16> __device__ float variance(const problem &p) const
    {
        const bool halves = p.flags & HALVES;
        const float unit = BF16 ? 0.00390625f : 0.00048828125f, score_unit = halves ? 0x1p-11f : 0x1p-24f;
        const float steps = halves ? p.head_dim / 16 : p.head_dim, size = top * p.scale * score_unit;
        const float w2 = p2 / sum / sum, w2a = p2a / sum / sum, w3a = p3a / sum / sum / sum;
        const float distance = fmaxf(w2a - 2 * w3a + w2 * w2a, 0.0f);
        const float rounding = 0.18f * unit * unit + (halves ? 0.18f * 0x1p-22f * 4 : 0.0f);
        const float least = 0x1p-24f / sum, tail = least * least / 12;
        const float lost = (BF16 ? 0.0f : tail * a) + (halves ? tail * (p.kv_len / 16) : 0.0f);
        return rounding * w2a + 0.18f * size * size * (steps + 1) / 2 * distance + lost;
    }
};

template <int DIM, bool BF16>
__device__ inline void baseline(const u16 *Q, const u16 *K, const u16 *V, u16 *O, float *lse,
                                float *expected, const problem &p)
{
    __shared__ __align__(128) unsigned char k_tile[KEYS * DIM * 2], v_tile[KEYS * DIM * 2];
    __shared__ float squares[KEYS];
    const int b = blockIdx.z, h = blockIdx.y, g = h / (p.heads / p.kv_heads), first = blockIdx.x * ROWS;
    const int lane = threadIdx.x % 32, warp_row = threadIdx.x / 32 * 16, pair = lane % 4 * 2;
    const u16 *q = Q + b * p.q[0] + h * p.q[1], *k = K + b * p.k[0] + g * p.k[1];
    const u16 *v = V + b * p.v[0] + g * p.v[1];
    const float factor = p.scale * 1.4426950408889634f;
    const int ahead = p.flags & CAUSAL ? p.kv_len - p.q_len + 1 : p.kv_len; /* keys that row 0 sees */
    const int slope = p.flags & CAUSAL ? 1 : 0;
    const int last = min(first + ROWS, p.q_len) - 1, end = min(p.kv_len, ahead + slope * last);
    float out[DIM / 8][4] = {};
    u32 query[DIM / 16][4];
    row_sums mine[2];

    fetch<DIM>(k_tile, q + first * p.q[2], p.q[2], p.q_len - first, p.head_dim);
    __syncthreads();
#pragma unroll
    for (int i = 0; i < DIM / 16; i++)
        load4(query[i], shared_address(k_tile) + place<DIM>(warp_row + lane % 16, 2 * i + lane / 16));
#pragma unroll
    for (int r = 0; r < 2; r++)
        mine[r] = row_sums{minus_infinity(), 0, 0, 0, 0, 0};

#pragma unroll 1
    for (int j = 0; j < end; j += KEYS) {
        float s[KEYS / 8][4] = {};
        __syncthreads(); /* all have read what was in the tiles */
        fetch<DIM>(k_tile, k + j * p.k[2], p.k[2], p.kv_len - j, p.head_dim);
        fetch<DIM>(v_tile, v + j * p.v[2], p.v[2], p.kv_len - j, p.head_dim);
        __syncthreads();
        /* V's mean squares: two threads a row. */
        float square = 0;
#pragma unroll
        for (int i = 0; i < DIM / 16; i++) {
            const uint4 x = *(const uint4 *)(v_tile + place<DIM>(threadIdx.x / 2, threadIdx.x % 2 * (DIM / 16) + i));
            const u32 words[4] = {x.x, x.y, x.z, x.w};
#pragma unroll
            for (int w = 0; w < 4; w++) {
                const float low = widen<BF16>((u16)words[w]), high = widen<BF16>((u16)(words[w] >> 16));
                square += low * low + high * high;
            }
        }
        square += __shfl_xor_sync(0xffffffff, square, 1);
        if (threadIdx.x % 2 == 0)
            squares[threadIdx.x / 2] = square / p.head_dim;

#pragma unroll
        for (int i = 0; i < DIM / 16; i++)
#pragma unroll
            for (int n = 0; n < KEYS / 16; n++) {
                u32 x[4];
                load4(x, shared_address(k_tile) +
                             place<DIM>(n * 16 + lane % 8 + lane / 16 * 8, 2 * i + lane / 8 % 2));
                multiply<BF16>(s[2 * n], query[i], x[0], x[1]);
                multiply<BF16>(s[2 * n + 1], query[i], x[2], x[3]);
            }
        float fades[2];
#pragma unroll
        for (int r = 0; r < 2; r++) {
            const int seen = min(p.kv_len, ahead + slope * (first + warp_row + lane / 4 + 8 * r)) - j;
            float top = mine[r].top;
#pragma unroll
            for (int n = 0; n < KEYS / 8; n++)
#pragma unroll
                for (int c = 0; c < 2; c++) {
                    float &score = s[n][2 * r + c];
                    score = n * 8 + pair + c < seen ? score : minus_infinity();
                    top = fmaxf(top, score);
                }
            top = quad_max(top);
            /* Nothing seen so far: all weights are 2^-infinity, from whatever they are taken. */
            const float from = top == minus_infinity() ? 0.0f : top;
            fades[r] = exp2f((mine[r].top - from) * factor);
            mine[r].fade(fades[r]);
            mine[r].top = top;
#pragma unroll
            for (int n = 0; n < KEYS / 8; n++)
#pragma unroll
                for (int c = 0; c < 2; c++)
                    s[n][2 * r + c] = exp2f((s[n][2 * r + c] - from) * factor);
        }
        __syncthreads(); /* the squares are there */
#pragma unroll
        for (int n = 0; n < KEYS / 8; n++)
#pragma unroll
            for (int c = 0; c < 4; c++)
                mine[c / 2].take(s[n][c], squares[n * 8 + pair + c % 2]);
#pragma unroll
        for (int d = 0; d < DIM / 8; d++)
#pragma unroll
            for (int c = 0; c < 4; c++)
                out[d][c] *= fades[c / 2];
#pragma unroll
        for (int n = 0; n < KEYS / 16; n++) {
            const u32 weights[4] = {
                pack<BF16>(s[2 * n][0], s[2 * n][1]), pack<BF16>(s[2 * n][2], s[2 * n][3]),
                pack<BF16>(s[2 * n + 1][0], s[2 * n + 1][1]), pack<BF16>(s[2 * n + 1][2], s[2 * n + 1][3])};
#pragma unroll
            for (int d = 0; d < DIM / 16; d++) {
                u32 x[4];
                load4_transposed(x, shared_address(v_tile) +
                                        place<DIM>(n * 16 + lane % 16, 2 * d + lane / 16));
                multiply<BF16>(out[2 * d], weights, x[0], x[1]);
                multiply<BF16>(out[2 * d + 1], weights, x[2], x[3]);
            }
        }
    }

#pragma unroll
    for (int r = 0; r < 2; r++) {
        const int row = first + warp_row + lane / 4 + 8 * r;
        const i64 index = ((i64)b * p.heads + h) * p.q_len + row;
        mine[r].gather();
        const bool none = mine[r].sum == 0;
        const float inverse = none ? 0.0f : 1 / mine[r].sum;
        float steps = 0;
#pragma unroll
        for (int d = 0; d < DIM / 8; d++) {
            const int column = d * 8 + pair;
            const u32 word = pack<BF16>(out[d][2 * r] * inverse, out[d][2 * r + 1] * inverse);
            const float low = step_at<BF16>(widen<BF16>((u16)word)), high = step_at<BF16>(widen<BF16>((u16)(word >> 16)));
            if (column < p.head_dim) {
                steps += low * low + high * high;
                if (row < p.q_len)
                    *(u32 *)(O + b * p.o[0] + h * p.o[1] + row * p.o[2] + column) = word;
            }
        }
        steps = quad_sum(steps) / p.head_dim;
        if (row < p.q_len && pair == 0) {
            expected[index] = sqrtf((none ? 0.0f : mine[r].variance<BF16>(p)) + steps / 12);
            if (lse)
                lse[index] = none ? minus_infinity() : mine[r].top * p.scale + logf(mine[r].sum);
        }
    }
}

#define BASELINE(name, DIM, BF16)                                                                  \
    extern "C" __global__ void __launch_bounds__(THREADS, 3)                                       \
        audit_baseline_##name(const u16 *Q, const u16 *K, const u16 *V, u16 *O, float *lse,        \
                              float *expected, problem p)                                          \
    {                                                                                              \
        baseline<DIM, BF16>(Q, K, V, O, lse, expected, p);                                         \
    }
BASELINE(f16_64, 64, false)
BASELINE(f16_128, 128, false)
BASELINE(bf16_64, 64, true)
BASELINE(bf16_128, 128, true)

/* ---- comparison ---- */

/* device.h's struct device_comparison. A worst one: its float's bits above the row's index. */
struct comparison {
    u64 element; /* largest (|got - base| - 2 steps) / expected */
    u64 row;     /* largest (rms difference - 2 steps) / expected */
    u64 lse;     /* largest |got - base| - 2^-20 |base|; infinite where one is and the other is not */
    double difference, expected; /* sums over rows of mean squares */
};

__device__ inline float warp_sum(float x)
{
    for (int d = 16; d; d /= 2)
        x += __shfl_xor_sync(0xffffffff, x, d);
    return x;
}
__device__ inline float warp_max(float x)
{
    for (int d = 16; d; d /= 2)
        x = fmaxf(x, __shfl_xor_sync(0xffffffff, x, d));
    return x;
}
/* What is no number is the worst. */
__device__ inline void worse(u64 *worst, float ratio, i64 row)
{
    const u32 bits = ratio >= 0 ? __float_as_uint(ratio) : ratio < 0 ? 0u : 0x7f800000u;
    atomicMax(worst, (u64)bits << 32 | (u64)row);
}

template <bool BF16>
__device__ inline void compare(const u16 *got, const u16 *base, const float *expected,
                               const float *got_lse, const float *base_lse, const problem &p,
                               comparison *to)
{
    const i64 rows = (i64)p.batch * p.heads * p.q_len, warps = (i64)gridDim.x * (blockDim.x / 32);
    const int lane = threadIdx.x % 32;
    double differences = 0, expectations = 0;

    for (i64 row = (i64)blockIdx.x * (blockDim.x / 32) + threadIdx.x / 32; row < rows; row += warps) {
        const i64 i = row % p.q_len, h = row / p.q_len % p.heads, b = row / p.q_len / p.heads;
        const i64 at = b * p.o[0] + h * p.o[1] + i * p.o[2];
        const float unit = expected[row];
        float squares = 0, steps = 0, most = 0;
        for (int c = lane; c < p.head_dim; c += 32) {
            const float x = widen<BF16>(base[at + c]), off = fabsf(widen<BF16>(got[at + c]) - x);
            const float step = step_at<BF16>(x);
            squares += off * off;
            steps += step * step;
            most = off - 2 * step <= most ? most : off - 2 * step;
        }
        squares = warp_sum(squares) / p.head_dim;
        steps = warp_sum(steps) / p.head_dim;
        most = warp_max(most);
        if (lane == 0) {
            worse(&to->element, squares == squares ? most / unit : squares, row);
            worse(&to->row, (sqrtf(squares) - 2 * sqrtf(steps)) / unit, row);
            differences += squares;
            expectations += (double)unit * unit;
            if (got_lse) {
                const float x = base_lse[row], y = got_lse[row];
                const bool same = x == y; /* infinities too */
                worse(&to->lse, same ? 0.0f : fabsf(y - x) - 0x1p-20f * fabsf(x), row);
            }
        }
    }
    if (lane == 0) {
        atomicAdd(&to->difference, differences);
        atomicAdd(&to->expected, expectations);
    }
}

extern "C" __global__ void audit_compare_f16(const u16 *got, const u16 *base, const float *expected,
                                             const float *got_lse, const float *base_lse, problem p,
                                             comparison *to)
{
    compare<false>(got, base, expected, got_lse, base_lse, p, to);
}
extern "C" __global__ void audit_compare_bf16(const u16 *got, const u16 *base, const float *expected,
                                              const float *got_lse, const float *base_lse, problem p,
                                              comparison *to)
{
    compare<true>(got, base, expected, got_lse, base_lse, p, to);
}

/* ---- buffers ---- */

__device__ inline u64 mix64(u64 x)
{
    x += 0x9e3779b97f4a7c15u;
    x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9u;
    x = (x ^ x >> 27) * 0x94d049bb133111ebu;
    return x ^ x >> 31;
}

/* device.h's struct device_scan; the caller zeroes it. */
struct scan {
    u64 digest, poisoned, infinite;
};

/*
 * The digest is a sum over 8-byte words of a hash of word, place and key, so any order gives the same.
 * No 16-bit element equals a poison of 0x10000, or has all bits of an `infinite` of that.
 */
extern "C" __global__ void audit_scan(const uint4 *data, u64 count, u64 key, u32 poison, u32 infinite,
                                      scan *to)
{
    u64 digest = 0, poisoned = 0, infinities = 0;

    for (u64 i = (u64)blockIdx.x * blockDim.x + threadIdx.x; i < count; i += (u64)gridDim.x * blockDim.x) {
        const uint4 x = data[i];
        const u32 words[4] = {x.x, x.y, x.z, x.w};
        digest += mix64(((u64)x.y << 32 | x.x) ^ mix64(key + 2 * i));
        digest += mix64(((u64)x.w << 32 | x.z) ^ mix64(key + 2 * i + 1));
#pragma unroll
        for (int w = 0; w < 4; w++) {
            const u32 low = words[w] & 0xffff, high = words[w] >> 16;
            poisoned += (low == poison) + (high == poison);
            infinities += ((low & infinite) == infinite) + ((high & infinite) == infinite);
        }
    }
    for (int d = 16; d; d /= 2) {
        digest += __shfl_xor_sync(0xffffffff, digest, d);
        poisoned += __shfl_xor_sync(0xffffffff, poisoned, d);
        infinities += __shfl_xor_sync(0xffffffff, infinities, d);
    }
    if (threadIdx.x % 32 == 0) {
        atomicAdd(&to->digest, digest);
        if (poisoned | infinities) {
            atomicAdd(&to->poisoned, poisoned);
            atomicAdd(&to->infinite, infinities);
        }
    }
}

/* Row r of `to` is what begins at element offsets[r] of `from`; a warp a row, `columns` elements. */
extern "C" __global__ void audit_gather(const u16 *from, const i64 *offsets, u64 rows, u64 columns, u16 *to)
{
    const u64 row = (u64)blockIdx.x * (blockDim.x / 32) + threadIdx.x / 32;

    if (row < rows)
        for (u64 c = threadIdx.x % 32; c < columns; c += 32)
            to[row * columns + c] = from[offsets[row] + c];
}

/* Four elements of 16 bits for each of `count` words; the table's patterns have no sign. */
extern "C" __global__ void audit_draw(uint2 *to, u64 count, u64 key, const u16 *table)
{
    for (u64 i = (u64)blockIdx.x * blockDim.x + threadIdx.x; i < count; i += (u64)gridDim.x * blockDim.x) {
        const u64 word = mix64(key + i);
        u32 halves[4];
#pragma unroll
        for (int k = 0; k < 4; k++) {
            const u32 bits = (u32)(word >> 16 * k) & 0xffff;
            halves[k] = table[bits & 0x7fff] | (bits & 0x8000);
        }
        to[i] = make_uint2(halves[0] | halves[1] << 16, halves[2] | halves[3] << 16);
    }
}
