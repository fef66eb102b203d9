/*
 * attention.cuh -- the problem as a kernel sees it: element types, heads, rows, masks.
 *
 * Q, K, V and O are 16-bit words in memory, half or bfloat16 as the given BF16 says; arithmetic is
 * in FP32 unless a family says otherwise. Columns are contiguous, and every row starts at a
 * multiple of 16 bytes: the strides are multiples of HEAD_DIM, the buffers aligned by the host.
 */
#ifndef EVO_ATTENTION_CUH
#define EVO_ATTENTION_CUH

#include <cuda_fp16.h>

using evo_half = unsigned short;

/* Mirrors struct problem_args of fitness/problem.h, field by field. */
struct evo_problem {
    int batch, heads, kv_heads, q_len, kv_len, head_dim;
    float scale;
    int reserved;
    long long q[3], k[3], v[3], o[3]; /* element strides of batch, head and row */
};

/*
 * The parameter of a kernel for an EVO_TENSOR_MAP: `const __grid_constant__ evo_tensor_map name`.
 * Opaque, made by the host; a tile is addressed by (column, row, head, batch), and what lies outside
 * of the tensor loads as zero and is not stored.
 */
struct alignas(128) evo_tensor_map {
    unsigned long long opaque[16];
};

/* What a row maximum starts from, and the score of a key that a row does not see. */
__device__ inline float evo_minus_infinity() { return __int_as_float(0xff800000); }

/*
 * Element types of tiles: how a stored value becomes a float, and back. `pair` unpacks the two
 * elements of a 32-bit word, the first in the low half.
 */
struct as_float {
    using type = float;
    __device__ static float get(float x) { return x; }
    __device__ static float put(float x) { return x; }
};

struct as_half {
    using type = evo_half;
    __device__ static float get(evo_half x) { return __half2float(__ushort_as_half(x)); }
    __device__ static evo_half put(float x) { return __half_as_ushort(__float2half_rn(x)); }
    __device__ static void pair(unsigned word, float *x)
    {
        x[0] = get((evo_half)(word & 0xffff));
        x[1] = get((evo_half)(word >> 16));
    }
};

/* A bfloat16 is the upper half of a float, so no conversion instruction and no header is needed. */
struct as_bfloat16 {
    using type = evo_half;
    __device__ static float get(evo_half x) { return __uint_as_float((unsigned)x << 16); }
    __device__ static evo_half put(float x)
    {
        unsigned bits = __float_as_uint(x);
        if ((bits & 0x7fffffff) > 0x7f800000) /* NaN: rounding could carry it into infinity */
            return 0x7fff;
        return (evo_half)((bits + 0x7fff + (bits >> 16 & 1)) >> 16); /* to nearest, ties to even */
    }
    __device__ static void pair(unsigned word, float *x)
    {
        x[0] = __uint_as_float(word << 16);
        x[1] = __uint_as_float(word & 0xffff0000);
    }
};

template <int BF16> struct input_type {
    using type = as_half;
};
template <> struct input_type<1> {
    using type = as_bfloat16;
};
template <int BF16> using as_input = typename input_type<BF16>::type;

/* The machine word that moves N 16-bit elements in one instruction. */
template <int N> struct word_type;
template <> struct word_type<1> {
    using type = evo_half;
};
template <> struct word_type<2> {
    using type = unsigned;
};
template <> struct word_type<4> {
    using type = uint2;
};
template <> struct word_type<8> {
    using type = uint4;
};
template <int N> using word = typename word_type<N>::type;

/* N neighbouring elements as floats, by one load. The address is a multiple of the load's size. */
template <class Type, int N> struct vector_load {
    __device__ static void floats(const evo_half *from, float *x)
    {
        if constexpr (N == 1) {
            x[0] = Type::get(*from);
        } else if constexpr (N == 2) {
            Type::pair(*(const unsigned *)from, x);
        } else if constexpr (N == 4) {
            const uint2 w = *(const uint2 *)from;
            Type::pair(w.x, x);
            Type::pair(w.y, x + 2);
        } else {
            const uint4 w = *(const uint4 *)from;
            Type::pair(w.x, x);
            Type::pair(w.y, x + 2);
            Type::pair(w.z, x + 4);
            Type::pair(w.w, x + 6);
        }
    }
};
template <int N> struct vector_load<as_float, N> {
    __device__ static void floats(const float *from, float *x)
    {
        if constexpr (N % 4 == 0) {
#pragma unroll
            for (int i = 0; i < N; i += 4) {
                const float4 w = *(const float4 *)(from + i);
                x[i] = w.x, x[i + 1] = w.y, x[i + 2] = w.z, x[i + 3] = w.w;
            }
        } else {
#pragma unroll
            for (int i = 0; i < N; i++)
                x[i] = from[i];
        }
    }
};

template <class Type, int N> __device__ inline void store_floats(evo_half *to, const float *x)
{
    union {
        word<N> whole;
        evo_half part[N];
    } w;
#pragma unroll
    for (int i = 0; i < N; i++)
        w.part[i] = Type::put(x[i]);
    *(word<N> *)to = w.whole;
}

/* The memory of one query head, and of the key head it reads. */
struct attention_head {
    const evo_half *q, *k, *v;
    evo_half *o;
    float *lse; /* [q_len]; meaningless unless the given LSE is 1 */
};

__device__ inline attention_head evo_head(const evo_problem &problem, int batch, int head,
                                          const evo_half *Q, const evo_half *K, const evo_half *V,
                                          evo_half *O, float *LSE)
{
    const int kv_head = /* divisions are a hundred instructions, and nothing can start before them */
        problem.heads == problem.kv_heads ? head : head / (problem.heads / problem.kv_heads);
    return {
        Q + batch * problem.q[0] + head * problem.q[1],
        K + batch * problem.k[0] + kv_head * problem.k[1],
        V + batch * problem.v[0] + kv_head * problem.v[1],
        O + batch * problem.o[0] + head * problem.o[1],
        LSE + ((long long)batch * problem.heads + head) * problem.q_len,
    };
}

/* How many keys a row sees: keys 0 … n-1. The causal mask is aligned to the bottom right. */
template <int CAUSAL> __device__ inline int evo_visible(const evo_problem &problem, int row)
{
    const int hidden = CAUSAL ? problem.q_len - 1 - row : 0;
    return hidden <= 0 ? problem.kv_len : hidden < problem.kv_len ? problem.kv_len - hidden : 0;
}

/*
 * A row that saw no key has a sum of 0, and gives zeros. One instruction, right to a unit in the
 * last place, where a division takes twenty and a branch.
 */
__device__ inline float evo_inverse(float sum)
{
    float inverse;
    asm("rcp.approx.ftz.f32 %0, %1;" : "=f"(inverse) : "f"(sum));
    return sum > 0 ? inverse : 0;
}

/* The natural log-sum-exp of a row from its largest raw score and its sum of weights. */
__device__ inline float evo_log_sum_exp(float maximum, float sum, float scale)
{
    return sum > 0 ? maximum * scale + logf(sum) : evo_minus_infinity();
}

#endif
