// attention_small n0, found by evo
//
// genes      BLOCK_M=32 BLOCK_N=128 KEY_SETS=4 CLUSTER=1 STAGES=1 PARTS=2 POLYNOMIALS=0 Product=by_mma Copy=copy_engine Asks=asks_own Values=values_at_once Meet=meet_barrier QkSum=as_float
// run        winners, place n0, operator founder, generation 0
// device     NVIDIA H200
// time       1x8x512x64: 4.132 us, 95 % interval [4.110, 4.155]
// promoted   timed again by a fresh judge: 4.132 us; the search saw 4.107 us and had tried 1
// gain       1.00x over the seed's founder
// numerics   fp32 accumulation
// hashes     source 895a813671e7, code b70b06036328, plan 0ac2c046ca2e
// evo        0.1.0
//
// Build:  nvcc -O3 -std=c++17 -gencode arch=compute_90a,code=sm_90a -c FILE.cu
// Try:    nvcc -O3 -std=c++17 -gencode arch=compute_90a,code=sm_90a -DEVO_MAIN FILE.cu -o try && ./try
// Verify: evo verify FILE.cu
// Call:   #include it in C or C++, where it is two prototypes; link -lcudart -lstdc++
//
// evo:program-begin
// evo: program
// evo: numerics 0
// evo: define BLOCK_M 32
// evo: define BLOCK_N 128
// evo: define KEY_SETS 4
// evo: define CLUSTER 1
// evo: define STAGES 1
// evo: define PARTS 2
// evo: define POLYNOMIALS 0
// evo: define Product 1
// evo: define Copy 0
// evo: define Asks 0
// evo: define Values 0
// evo: define Meet 0
// evo: define QkSum 0
// evo: define HEAD_DIM 64
// evo: define CAUSAL 0
// evo: define BF16 0
// evo: define LSE 0
// evo: define DEVICE_SMEM_MAX 232448
// evo: define DEVICE_ARCH 90
// evo: define SET_WARPS 2
// evo: define THREADS 256
// evo: define BLOCK_THREADS 256
// evo: define SHARES 4
// evo: define MERGED_ROWS 32
// evo: define PITCH 72
// evo: define Q_BYTES 4096
// evo: define TILE_BYTES 16384
// evo: define SET_BYTES 32768
// evo: define RESULT_BYTES 9472
// evo: define SHARE_BYTES 0
// evo: define RESULTS_AT 135168
// evo: define SHARES_AT 173056
// evo: define BARRIERS_AT 173056
// evo: define SET_BARRIERS 4
// evo: define SMEM_BYTES 173200
// evo: define REGISTERS 160
// evo: map q_map | Q | 64 | BLOCK_M | 128
// evo: map k_map | K | 64 | BLOCK_N / PARTS | 128
// evo: map v_map | V | 64 | BLOCK_N / PARTS | 128
// evo: kernel attention | CLUSTER * ceil_div(q_len, BLOCK_M) | heads | batch | BLOCK_THREADS | SMEM_BYTES | q_map k_map v_map Q K V O LSE problem
// evo: arch sm_90a
// evo: problem 1x8x512x64
// evo:program-end

// ---- what C and C++ call ----
#ifndef __CUDACC_RTC__
#include <stddef.h>
#ifdef __cplusplus
extern "C" {
#endif
// Attention over device memory without gaps: q and o [batch, heads, q_len, EVO_HEAD_DIM], k and v
// [batch, kv_heads, kv_len, EVO_HEAD_DIM] (or [batch, rows, heads, EVO_HEAD_DIM], if EVO_SEQUENCE_FIRST
// below is 1), lse [batch, heads, q_len]. Rows of K and V are shared by heads / kv_heads neighbouring heads.
// Returns a cudaError_t, or -1 for a shape that this kernel does not support. `workspace` holds
// evo_workspace_bytes() bytes, zeroed once at first, and may be NULL when that is 0; `lse` may be NULL
// unless the kernel was made to write it. `stream` is a cudaStream_t.
size_t evo_workspace_bytes(int batch, int heads, int kv_heads, int q_len, int kv_len);
int evo_attention(const void *q, const void *k, const void *v, void *o, float *lse, int batch, int heads,
                  int kv_heads, int q_len, int kv_len, void *workspace, void *stream);
#ifdef __cplusplus
}
#endif
#endif // !__CUDACC_RTC__

#ifdef __CUDACC__ // what follows is for nvcc

// evo:device-begin
// evo: attention_small BLOCK_M=32 BLOCK_N=128 KEY_SETS=4 CLUSTER=1 STAGES=1 PARTS=2 POLYNOMIALS=0 Product=by_mma Copy=copy_engine Asks=asks_own Values=values_at_once Meet=meet_barrier QkSum=as_float
#define EVO_VALUE_HEAD_DIM 64
#define EVO_VALUE_CAUSAL 0
#define EVO_VALUE_BF16 0
#define EVO_VALUE_LSE 0
#define EVO_VALUE_DEVICE_SMEM_MAX 232448
#define EVO_VALUE_DEVICE_ARCH 90
#define EVO_VALUE_BLOCK_M 32
#define EVO_VALUE_BLOCK_N 128
#define EVO_VALUE_KEY_SETS 4
#define EVO_VALUE_CLUSTER 1
#define EVO_VALUE_STAGES 1
#define EVO_VALUE_PARTS 2
#define EVO_VALUE_POLYNOMIALS 0
#define EVO_VALUE_Product by_mma
#define EVO_VALUE_Copy copy_engine
#define EVO_VALUE_Asks asks_own
#define EVO_VALUE_Values values_at_once
#define EVO_VALUE_Meet meet_barrier
#define EVO_VALUE_QkSum as_float
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
/*
 * evo.cuh -- the words a template is written in, as the compiler sees them.
 *
 * The engine reads these words in the template's text; the compiler reads them here, so a template
 * is ordinary CUDA C++ under nvcc and NVRTC alike. Before this file a rendered source defines
 * EVO_VALUE_NAME for every EVO_GIVEN, EVO_GENE and EVO_CHOICE. docs/TEMPLATES.md is the guide.
 *
 * Expressions inside words are compiled in namespace evo, where min, max, ceil_div, log2 and pow2
 * are the constant ones below and not CUDA's. Kernels may call them too, as evo::ceil_div(a, b).
 */
#ifndef EVO_CUH
#define EVO_CUH

#ifdef __CUDACC__
#define EVO_BOTH __host__ __device__ constexpr
#else
#define EVO_BOTH constexpr
#endif

/*
 * They are templates so that they fit a gene's own type exactly, and so better than CUDA's, which
 * the compiler finds as well because genes are declared beside them.
 */
namespace evo
{
template <typename A, typename B> EVO_BOTH int min(A a, B b) { return (int)b < (int)a ? (int)b : (int)a; }
template <typename A, typename B> EVO_BOTH int max(A a, B b) { return (int)a < (int)b ? (int)b : (int)a; }
template <typename A, typename B, typename C, typename... Rest>
EVO_BOTH int min(A a, B b, C c, Rest... rest)
{
    return evo::min(evo::min(a, b), c, rest...);
}
template <typename A, typename B, typename C, typename... Rest>
EVO_BOTH int max(A a, B b, C c, Rest... rest)
{
    return evo::max(evo::max(a, b), c, rest...);
}
/* The quotient rounded up; a >= 0, b > 0. Not (a + b - 1) / b, which overflows near the top. */
EVO_BOTH int ceil_div(int a, int b) { return a / b + (a % b != 0); }
/* The floor of the logarithm; a > 0. */
template <typename A> EVO_BOTH int log2(A a) { return (int)a < 2 ? 0 : 1 + evo::log2((int)a / 2); }
EVO_BOTH int pow2(int a) { return 1 << a; }

/* Rows of the box are multiples of 16 bytes and fit the swizzle; each side has at most 256. */
EVO_BOTH bool is_box(int columns, int rows, int swizzle)
{
    return columns >= 8 && columns <= 256 && columns % 8 == 0 && rows >= 1 && rows <= 256 &&
           (swizzle == 0 || ((swizzle == 32 || swizzle == 64 || swizzle == 128) && 2 * columns <= swizzle));
}

template <typename A, typename B> struct same {
    enum : int { value = 0 };
};
template <typename A> struct same<A, A> {
    enum : int { value = 1 };
};
template <typename... Types> struct labels; /* naming it checks that every label is a type */
} /* namespace evo */

#define EVO_LABELS(...) __VA_ARGS__

/*
 * Constants. Enumerators, not constexpr variables: NVRTC gives every variable at file scope a place
 * in global memory, which would make machine code depend on genes that it does not use, and would
 * be state between launches. They are int, so that indices computed from them stay 32 bits wide.
 */
#ifdef __GNUC__
#pragma GCC diagnostic ignored "-Wenum-compare" /* two genes are of two types, and may be compared */
#endif
#define EVO_CONSTANT(name, value) enum : int { name = (value) };
#define EVO_GIVEN(name, doc)        EVO_CONSTANT(name, EVO_VALUE_##name)
#define EVO_GENE(name, domain, doc) EVO_CONSTANT(name, EVO_VALUE_##name)
#define EVO_CHOICE(name, list, doc)                                                                \
    using evo_labels_##name [[maybe_unused]] = evo::labels<EVO_LABELS list>;                       \
    using name = EVO_VALUE_##name;
#define EVO_LET(name, expr, doc)                                                                   \
    namespace evo                                                                                  \
    {                                                                                              \
    EVO_CONSTANT(let_##name, expr)                                                                 \
    }                                                                                              \
    EVO_CONSTANT(name, evo::let_##name)

/* 1 when the choice fell on the label. */
#define EVO_IS(name, label) (evo::same<name, label>::value)

/* Conditions on the genes hold at compile time. */
#define EVO_REQUIRE(expr, doc)                                                                     \
    namespace evo                                                                                  \
    {                                                                                              \
    static_assert(expr, doc);                                                                      \
    }
#define EVO_NUMERICS(expr)                                                                         \
    namespace evo                                                                                  \
    {                                                                                              \
    static_assert((expr) == 0 || (expr) == 1, "numerics is 0 (FP32) or 1 (FP16 accumulation)");    \
    }

/* The box and the swizzle of a tensor map, which the host makes: what the hardware takes. */
#define EVO_TENSOR_MAP(name, tensor, box, swizzle, doc)                                            \
    namespace evo                                                                                  \
    {                                                                                              \
    static_assert(evo::is_box(EVO_LABELS box, swizzle), "the box of a tensor map: " doc);          \
    }
#define EVO_LAUNCH(kernel, grid, threads, smem_bytes, args)

#endif
/*
 * cluster.cuh -- blocks that run side by side and read each other's shared memory (Hopper and
 * later).
 */
#ifndef EVO_CLUSTER_CUH
#define EVO_CLUSTER_CUH

/*
 * The attribute of a kernel whose blocks come in clusters of N neighbours along x. N is a literal,
 * as EVO_VALUE_CLUSTER is. Blocks that come alone get none: where there are no clusters the
 * compiler refuses the attribute, whatever it says.
 */
#define in_clusters_of(N)       in_clusters_of_value(N)
#define in_clusters_of_value(N) in_clusters_of_##N
#define in_clusters_of_1
#define in_clusters_of_2 __cluster_dims__(2, 1, 1)
#define in_clusters_of_4 __cluster_dims__(4, 1, 1)
#define in_clusters_of_8 __cluster_dims__(8, 1, 1)

/*
 * All threads of the cluster meet, and see what the others wrote before. Without a cluster this is
 * the block's barrier. A block must not end while others read its memory.
 */
template <int CLUSTER> __device__ inline void cluster_sync()
{
    if constexpr (CLUSTER == 1)
        __syncthreads();
    else
        asm volatile("barrier.cluster.arrive.release.aligned;\n"
                     "barrier.cluster.wait.acquire.aligned;" ::
                         : "memory");
}

/* The same in two steps, with work between them. */
__device__ inline void cluster_arrive()
{
    asm volatile("barrier.cluster.arrive.release.aligned;" ::: "memory");
}
__device__ inline void cluster_wait()
{
    asm volatile("barrier.cluster.wait.acquire.aligned;" ::: "memory");
}

/* The same place in the shared memory of the block with this rank. */
template <int CLUSTER> __device__ inline unsigned cluster_address(unsigned address, int rank)
{
    unsigned there = address;
    if constexpr (CLUSTER > 1)
        asm("mapa.shared::cluster.u32 %0, %1, %2;" : "=r"(there) : "r"(address), "r"(rank));
    return there;
}
/* 2 or 4 floats at such an address. */
template <int CLUSTER> __device__ inline float2 cluster_load2(unsigned address)
{
    float2 x;
    if constexpr (CLUSTER == 1)
        asm volatile("ld.shared.v2.f32 {%0, %1}, [%2];"
                     : "=f"(x.x), "=f"(x.y)
                     : "r"(address)
                     : "memory");
    else
        asm volatile("ld.shared::cluster.v2.f32 {%0, %1}, [%2];"
                     : "=f"(x.x), "=f"(x.y)
                     : "r"(address)
                     : "memory");
    return x;
}
template <int CLUSTER> __device__ inline float4 cluster_load4(unsigned address)
{
    float4 x;
    if constexpr (CLUSTER == 1)
        asm volatile("ld.shared.v4.f32 {%0, %1, %2, %3}, [%4];"
                     : "=f"(x.x), "=f"(x.y), "=f"(x.z), "=f"(x.w)
                     : "r"(address)
                     : "memory");
    else
        asm volatile("ld.shared::cluster.v4.f32 {%0, %1, %2, %3}, [%4];"
                     : "=f"(x.x), "=f"(x.y), "=f"(x.z), "=f"(x.w)
                     : "r"(address)
                     : "memory");
    return x;
}
/* 2 or 4 floats to such an address. */
template <int CLUSTER> __device__ inline void cluster_store2(unsigned address, float2 x)
{
    if constexpr (CLUSTER == 1)
        asm volatile("st.shared.v2.f32 [%0], {%1, %2};" ::"r"(address), "f"(x.x), "f"(x.y)
                     : "memory");
    else
        asm volatile("st.shared::cluster.v2.f32 [%0], {%1, %2};" ::"r"(address), "f"(x.x), "f"(x.y)
                     : "memory");
}
template <int CLUSTER> __device__ inline void cluster_store4(unsigned address, float4 x)
{
    if constexpr (CLUSTER == 1)
        asm volatile("st.shared.v4.f32 [%0], {%1, %2, %3, %4};" ::"r"(address), "f"(x.x), "f"(x.y),
                     "f"(x.z), "f"(x.w)
                     : "memory");
    else
        asm volatile("st.shared::cluster.v4.f32 [%0], {%1, %2, %3, %4};" ::"r"(address), "f"(x.x),
                     "f"(x.y), "f"(x.z), "f"(x.w)
                     : "memory");
}

#endif
/*
 * fragments.cuh -- a warp's 16 rows of a product on their way: to 16 bits, to and from panels in
 * shared memory (tma.cuh), to rows in global memory.
 *
 * Values are laid out as online.cuh tells. Words are two neighbours each: word 2 t + r of a lane is
 * columns 8 t + 2 q and the next of its row g + 8 r, and words 4 k … 4 k + 3 are what a product
 * takes as its A for the columns from 16 k on.
 */
#ifndef EVO_FRAGMENTS_CUH
#define EVO_FRAGMENTS_CUH

/*
 * mma.cuh -- products of a warp on the tensor cores by mma.sync, and the fragments it works on.
 *
 * mma.sync.m16n8k16 multiplies 16 rows of A by 8 columns of B, 16 deep. Unlike WMMA's, its
 * fragments are specified. With g = lane / 4 and q = lane % 4 a lane holds
 *
 *     A: 4 words   rows g and g + 8 in turn, columns 2q, 2q+1; then the same 8 columns further on
 *     B: 2 words   column g, rows 2q, 2q+1; then 8 rows further down
 *     C: 4 floats  row g, columns 2q, 2q+1; then row g + 8
 *
 * so the four lanes of a quad share two rows of a product, and what a lane holds of two
 * neighbouring products C is, packed to 16 bits, what it must hold of an A: scores become weights
 * of the next product where they are. A wgmma's accumulator is laid out in the same way.
 */
#ifndef EVO_MMA_CUH
#define EVO_MMA_CUH

/*
 * copy.cuh -- barriers, and tiles on their way from global to shared memory.
 */
#ifndef EVO_COPY_CUH
#define EVO_COPY_CUH

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

/*
 * A barrier of THREADS threads out of a block's OF, by number: 0 is the block's own, 15 is the last.
 * A warp needs none, but its lanes must see what the others of them copied.
 */
template <int THREADS, int OF> __device__ inline void evo_barrier_of(int number)
{
    if constexpr (THREADS == 32)
        __syncwarp();
    else if constexpr (THREADS == OF)
        __syncthreads();
    else
        asm volatile("bar.sync %0, %1;" ::"r"(number), "n"(THREADS) : "memory");
}

/* ---- tiles for ldmatrix (mma.cuh) ---- */

__device__ inline unsigned shared_address(const void *at)
{
    return (unsigned)__cvta_generic_to_shared(at);
}

/*
 * A tile's rows lie one after another, each cut into pieces of 16 bytes, and piece p of row r lies
 * where p ^ (r % 8) would: eight pieces of one column of pieces, which is what ldmatrix reads at a
 * time, then lie in eight different groups of banks, and so do eight neighbours of one row. No
 * padding, and the address of a piece 2k further on is one XOR away, since k moves bits of p alone:
 * address(row, p + 2k) = address(row, p) ^ (k << 5) for p < 2. Tiles begin at multiples of 256 bytes.
 */
template <int COLUMNS> __device__ inline unsigned swizzled(int row, int piece)
{
    return row * (COLUMNS * 2) + ((piece ^ (row & 7)) << 4);
}

/*
 * cp.async of a piece, zeros if it is not `inside`. A fetch may bring what lies beside it to L2 as
 * well: PREFETCH is 0, 128 or 256 bytes.
 */
template <int PREFETCH>
__device__ inline void copy_piece(unsigned to, const evo_half *from, bool inside)
{
    const int bytes = inside ? 16 : 0;
    if constexpr (PREFETCH == 256)
        asm volatile("cp.async.cg.shared.global.L2::256B [%0], [%1], 16, %2;" ::"r"(to), "l"(from),
                     "r"(bytes)
                     : "memory");
    else if constexpr (PREFETCH == 128)
        asm volatile("cp.async.cg.shared.global.L2::128B [%0], [%1], 16, %2;" ::"r"(to), "l"(from),
                     "r"(bytes)
                     : "memory");
    else
        asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(to), "l"(from),
                     "r"(bytes)
                     : "memory");
}

/*
 * THREADS threads, of which the caller is `rank`, copy ROWS rows, of which the first `rows` exist. A
 * thread keeps its piece and goes down the rows, so that its pointers move by constants.
 */
template <int THREADS, int ROWS, int COLUMNS, int PREFETCH>
__device__ inline void copy_swizzled(unsigned tile, const evo_half *from, long long stride, int rows,
                                     int rank)
{
    constexpr int PIECES = COLUMNS / 8, STEP = THREADS / PIECES; /* rows from one to the next */
    static_assert(STEP >= ROWS || ROWS % STEP == 0, "rows deal out evenly to the threads");
    const int row = rank / PIECES, piece = rank % PIECES;
    if (STEP > ROWS && row >= ROWS)
        return;
    const unsigned to = tile + swizzled<COLUMNS>(row, piece);
    from += row * stride + piece * 8;
    rows -= row;
#pragma unroll
    for (int i = 0; i < ROWS; i += STEP) /* row + i swizzles as row does, but for i % 8 */
        copy_piece<PREFETCH>((to ^ ((i & 7) << 4)) + i * (COLUMNS * 2), from + i * stride, i < rows);
}

#endif

/* ---- fragments from tiles ---- */

/*
 * ldmatrix reads four 8x8 matrices: lane l names the row l % 8 of matrix l / 8, and gets of each
 * matrix the neighbours 2q, 2q+1 of row g; transposed, of column g. Where a lane points for 16 rows
 * and two pieces of a tile; XOR a step along the columns, add 16 rows for the next ones.
 */
template <int COLUMNS> __device__ inline unsigned lane_by_rows() /* Q as A; V, transposed, as B */
{
    const int lane = threadIdx.x % 32;
    return swizzled<COLUMNS>(lane % 16, lane / 16);
}
template <int COLUMNS> __device__ inline unsigned lane_by_pieces() /* K as B: a row is a column */
{
    const int lane = threadIdx.x % 32;
    return swizzled<COLUMNS>(lane % 8 + lane / 16 * 8, lane / 8 % 2);
}

__device__ inline void ldmatrix(unsigned (&x)[4], unsigned address)
{
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];"
                 : "=r"(x[0]), "=r"(x[1]), "=r"(x[2]), "=r"(x[3])
                 : "r"(address)
                 : "memory");
}
__device__ inline void ldmatrix_transposed(unsigned (&x)[4], unsigned address)
{
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0, %1, %2, %3}, [%4];"
                 : "=r"(x[0]), "=r"(x[1]), "=r"(x[2]), "=r"(x[3])
                 : "r"(address)
                 : "memory");
}

/* ---- products ---- */

/*
 * What a lane holds of a 16x8 product: four sums, in FP32 or in FP16. A sum that starts from
 * constant zeros costs no instruction: the machine's takes "no C" for an operand.
 */
template <class Sum> struct mma_sum;
template <> struct mma_sum<as_float> {
    using word = float;
    enum : int { WORDS = 4 };
    __device__ static float get(const float *c, int i) { return c[i]; }
};
template <> struct mma_sum<as_half> {
    using word = unsigned;
    enum : int { WORDS = 2 };
    __device__ static float get(const unsigned *c, int i)
    {
        return as_half::get((evo_half)(c[i / 2] >> i % 2 * 16));
    }
};

/* c += a b, for elements of Type; c is a lane's part of one product. */
template <class Type>
__device__ inline void mma(float *c, const unsigned (&a)[4], unsigned b0, unsigned b1);

#define EVO_MMA(Type, name)                                                                        \
    template <>                                                                                    \
    __device__ inline void mma<Type>(float *c, const unsigned(&a)[4], unsigned b0, unsigned b1)    \
    {                                                                                              \
        asm("mma.sync.aligned.m16n8k16.row.col.f32." name "." name ".f32 "                         \
            "{%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%10, %11, %12, %13};"                  \
            : "=f"(c[0]), "=f"(c[1]), "=f"(c[2]), "=f"(c[3])                                       \
            : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1), "f"(c[0]), "f"(c[1]),  \
              "f"(c[2]), "f"(c[3]));                                                               \
    }
EVO_MMA(as_half, "f16")
EVO_MMA(as_bfloat16, "bf16")
#undef EVO_MMA

template <class Type>
__device__ inline void mma(unsigned *c, const unsigned (&a)[4], unsigned b0, unsigned b1)
{
    asm("mma.sync.aligned.m16n8k16.row.col.f16.f16.f16.f16 "
        "{%0, %1}, {%2, %3, %4, %5}, {%6, %7}, {%8, %9};"
        : "=r"(c[0]), "=r"(c[1])
        : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1), "r"(c[0]), "r"(c[1]));
}

/* Two neighbours as one word of 16-bit elements; the instruction names the upper half first. */
template <class Type> __device__ inline unsigned pack(float low, float high);
template <> __device__ inline unsigned pack<as_half>(float low, float high)
{
    unsigned word;
    asm("cvt.rn.f16x2.f32 %0, %1, %2;" : "=r"(word) : "f"(high), "f"(low));
    return word;
}
template <> __device__ inline unsigned pack<as_bfloat16>(float low, float high)
{
    unsigned word;
    asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(word) : "f"(high), "f"(low));
    return word;
}

#endif

template <class Type, int N>
__device__ inline void pack_fragment(const float (&x)[N], unsigned (&words)[N / 2])
{
#pragma unroll
    for (int i = 0; i < N / 2; i++)
        words[i] = pack<Type>(x[2 * i], x[2 * i + 1]);
}

/*
 * Fragments in a swizzled panel of 64 columns (tma.cuh): STEPS times 16 columns of a warp's 16
 * rows, four words a step and thread, by the instructions that move four 8x8 matrices at once. Each
 * lane names a row of 16 bytes: lane l row l % 16 and the left or right half of the 16 columns.
 * `panel` is where the warp's first row begins; panels are PANEL_BYTES apart.
 */
template <int PANEL_BYTES> __device__ inline unsigned fragment_row(unsigned panel, int step)
{
    const int lane = threadIdx.x % 32, row = lane % 16, piece = step % 4 * 2 + lane / 16;
    return panel + step / 4 * PANEL_BYTES + row * 128 + ((piece ^ row % 8) << 4);
}

template <int PANEL_BYTES, int N>
__device__ inline void load_fragments(unsigned panel, unsigned (&words)[N])
{
#pragma unroll
    for (int step = 0; step < N / 4; step++)
        asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];"
                     : "=r"(words[4 * step]), "=r"(words[4 * step + 1]), "=r"(words[4 * step + 2]),
                       "=r"(words[4 * step + 3])
                     : "r"(fragment_row<PANEL_BYTES>(panel, step))
                     : "memory");
}

/*
 * Fragments to rows in global memory, 16 bytes a store. A lane has two columns of each group of
 * eight; four groups later a quad has exchanged them (a 4 x 4 transposition in two rounds), and
 * lane q of the quad holds all of group q. `rows` exist below the warp's first one.
 */
template <int N>
__device__ inline void write_fragments(const unsigned (&words)[N], evo_half *to, long long stride,
                                       int rows)
{
    const int lane = threadIdx.x % 32, q = lane % 4;
#pragma unroll
    for (int r = 0; r < 2; r++) {
        const int row = lane / 4 + 8 * r;
#pragma unroll
        for (int i = 0; i < N; i += 8) {
            unsigned w[4] = {words[i + r], words[i + 2 + r], words[i + 4 + r], words[i + 6 + r]};
#pragma unroll
            for (int step = 1; step <= 2; step *= 2)
#pragma unroll
                for (int j = 0; j < 4; j++)
                    if ((j & step) == 0) {
                        const bool upper = q & step;
                        const unsigned send = upper ? w[j] : w[j + step];
                        const unsigned got = __shfl_xor_sync(0xffffffff, send, step);
                        w[j] = upper ? got : w[j];
                        w[j + step] = upper ? w[j + step] : got;
                    }
            if (row < rows)
                *(uint4 *)(to + row * stride + i * 4 + q * 8) = {w[0], w[1], w[2], w[3]};
        }
    }
}

#endif
/*
 * mbarrier.cuh -- who waits for whom when copies arrive by themselves: mbarriers, rings of tiles,
 * named barriers.
 *
 * An mbarrier is 8 bytes of shared memory that count arrivals, and bytes that the copy engine still
 * owes. When both counts reach zero a phase ends, the next begins, and everybody who waits for the
 * parity of the ended one goes on. The running phase of a fresh mbarrier has parity 0: waiting for
 * 1 returns at once, waiting for 0 waits for the first end.
 */
#ifndef EVO_MBARRIER_CUH
#define EVO_MBARRIER_CUH




__device__ inline void mbarrier_init(unsigned at, int arrivals)
{
    asm volatile("mbarrier.init.shared::cta.b64 [%0], %1;" ::"r"(at), "r"(arrivals) : "memory");
}

/*
 * By the thread that initialised, before the block (or cluster) meets: the copy engine and other
 * blocks of the cluster do not see initialisations otherwise.
 */
__device__ inline void mbarrier_publish()
{
    asm volatile("fence.mbarrier_init.release.cluster;" ::: "memory");
}

/* One arrival, and the promise of so many bytes by the copy engine. */
__device__ inline void mbarrier_expect(unsigned at, int bytes)
{
    asm volatile("mbarrier.arrive.expect_tx.shared::cta.b64 _, [%0], %1;" ::"r"(at), "r"(bytes)
                 : "memory");
}

/* One arrival of each thread, by itself when all cp.async that the thread began before have landed. */
__device__ inline void mbarrier_arrive_landed(unsigned at)
{
    asm volatile("cp.async.mbarrier.arrive.noinc.shared::cta.b64 [%0];" ::"r"(at) : "memory");
}

/* The same at a cluster_address: releases what was done before to the other block. */
__device__ inline void mbarrier_arrive_there(unsigned at, bool mine)
{
    asm volatile("{\n"
                 ".reg .pred mine;\n"
                 "setp.ne.u32 mine, %1, 0;\n"
                 "@mine mbarrier.arrive.release.cluster.shared::cluster.b64 _, [%0];\n"
                 "}" ::"r"(at),
                 "r"((unsigned)mine)
                 : "memory");
}

/*
 * Until the phase of this parity has ended. try_wait suspends the thread for a while in hardware,
 * so the loop is no spinning. A cluster's barrier acquires what the other block released.
 */
template <int CLUSTER> __device__ inline void mbarrier_wait(unsigned at, unsigned parity)
{
    if constexpr (CLUSTER > 1)
        asm volatile(
            "{\n"
            ".reg .pred ended;\n"
            "again: mbarrier.try_wait.parity.acquire.cluster.shared::cta.b64 ended, [%0], %1;\n"
            "@!ended bra again;\n"
            "}" ::"r"(at),
            "r"(parity)
            : "memory");
    else
        asm volatile("{\n"
                     ".reg .pred ended;\n"
                     "again: mbarrier.try_wait.parity.shared::cta.b64 ended, [%0], %1;\n"
                     "@!ended bra again;\n"
                     "}" ::"r"(at),
                     "r"(parity)
                     : "memory");
}

/*
 * Named barriers hand turns from one group of warps to another: who waits and who passes add up to
 * `threads`. Barrier 0 is __syncthreads.
 */
__device__ inline void named_barrier_wait(int id, int threads)
{
    asm volatile("bar.sync %0, %1;" ::"r"(id), "r"(threads) : "memory");
}

#endif
/*
 * merge.cuh -- one result of several partial ones: of sets of warps, of blocks, of a grid's splits.
 *
 * A partial result of a row is its output and its sum of weights, both on the scale of its own
 * maximum. Whoever merges takes WIDTH neighbouring columns of a row: 4, or 8 to store 16 bytes.
 */
#ifndef EVO_MERGE_CUH
#define EVO_MERGE_CUH


/*
 * online.cuh -- the online softmax of a tile whose scores are in registers.
 *
 * A lane holds two rows of 16, in the layout of mma.sync's and wgmma's sums: of a row of values,
 * x[4t + 2r + e] is column 8t + 2q + e of its row g + 8r (g = lane / 4, q = lane % 4). The four
 * lanes of a quad share two rows, so a row's maximum is two shuffles away, and its sum is left in
 * four parts until the end. softmax.cuh tells what the statistics mean.
 */
#ifndef EVO_ONLINE_CUH
#define EVO_ONLINE_CUH


/*
 * reduce.cuh -- who works on which rows, and how a row becomes its maximum or its sum.
 */
#ifndef EVO_REDUCE_CUH
#define EVO_REDUCE_CUH

struct max_of {
    __device__ static float none() { return evo_minus_infinity(); }
    __device__ static float of(float a, float b) { return fmaxf(a, b); }
};
struct sum_of {
    __device__ static float none() { return 0; }
    __device__ static float of(float a, float b) { return a + b; }
};

#endif

/*
 * Weights are 2^(factor · (score - maximum)), one FFMA and one MUFU.EX2: the scale and the change
 * of base are one factor. Without .ftz the compiler guards results below 2^-126 with two more
 * instructions; such a weight is nothing beside the row's largest, which is about 1.
 */
__device__ inline float exp2_fast(float x)
{
    float y;
    asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
    return y;
}

/*
 * The same on the FMA and integer pipes, for x < 128: 2^x = 2^n 2^f with n the nearest integer.
 * Adding 1.5 · 2^23 leaves n in the low bits of a float; 2^f, |f| <= 1/2, is a polynomial of degree
 * 3 that is right to 7.5e-5, a sixth of what rounding a weight to 16 bits costs at worst; n is
 * added to its exponent. Nine instructions where MUFU takes one, but that pipe has 16 lanes and a
 * warp waits eight cycles for it: a share of a tile's exponentials done here shortens the queue
 * there.
 */
__device__ inline float exp2_polynomial(float x)
{
    const float shifted = x + 12582912.0f, f = x - (shifted - 12582912.0f);
    const float y = fmaf(fmaf(fmaf(0.05517167f, f, 0.24261112f), f, 0.69326099f), f, 0.99992807f);
    const float z = __int_as_float(__float_as_int(y) + (__float_as_int(shifted) << 23));
    return x < -126 ? 0 : z; /* nothing: the exponent has wrapped around, or x is -inf */
}

/* The statistics of a lane's two rows: largest raw score, and this lane's part of the sum. */
struct online_rows {
    float maximum[2], sum[2];
    __device__ online_rows() : maximum{evo_minus_infinity(), evo_minus_infinity()}, sum{0, 0} {}
};

/* When what was gathered before a tile is put on the scale of the tile's larger maximum. */
struct rescale_always {
    enum : int { VOTES = 0 };
    __device__ static bool stays(float, float, float) { return false; }
};

/* What a maximum of nothing is replaced by, where rows may see no key: -inf - -inf is no number. */
template <int GUARD> __device__ inline float online_shift(float maximum)
{
    return GUARD && maximum == evo_minus_infinity() ? 0 : maximum;
}

/* Columns from limit[r] on are hidden from row g + 8r. */
template <int N> __device__ inline void online_mask(float (&score)[N], const int (&limit)[2])
{
    const int mine = threadIdx.x % 4 * 2;
#pragma unroll
    for (int i = 0; i < N; i++)
        if (i / 4 * 8 + i % 2 >= limit[i / 2 % 2] - mine)
            score[i] = evo_minus_infinity();
}

/* All lanes of a quad get what its four lanes have. The whole warp takes part, and says so. */
template <class Op> __device__ inline void online_share(float (&x)[2])
{
#pragma unroll
    for (int step = 2; step > 0; step /= 2)
#pragma unroll
        for (int r = 0; r < 2; r++)
            x[r] = Op::of(x[r], __shfl_xor_sync(0xffffffff, x[r], step));
}

/*
 * What the columns of a lane's two rows come to. A chain of dependent instructions takes four
 * cycles a link, and a warpgroup has only one warp on each scheduler to fill them: each row is
 * gathered in up to four chains at once.
 */
template <class Op, int N> __device__ inline void online_gather(const float (&x)[N], float (&row)[2])
{
    constexpr int CHAINS = N % 8 == 0 ? 4 : 2;
    float chain[2][CHAINS];
#pragma unroll
    for (int i = 0; i < N; i++) {
        float &link = chain[i / 2 % 2][(i / 4 * 2 + i % 2) % CHAINS];
        link = i < 2 * CHAINS ? x[i] : Op::of(link, x[i]);
    }
#pragma unroll
    for (int r = 0; r < 2; r++) {
        row[r] = Op::of(chain[r][0], chain[r][1]);
        if constexpr (CHAINS == 4)
            row[r] = Op::of(row[r], Op::of(chain[r][2], chain[r][3]));
    }
}

/*
 * Scores become weights, and are added to the sums. FIRST: nothing was gathered before; otherwise
 * the sums are put on the new scale, and whether the output has to follow (by `shrink`) is the
 * answer, the same in the whole warp. Of eight exponentials POLYNOMIALS take the FMA pipe.
 */
template <class Rescale, int FIRST, int GUARD, int POLYNOMIALS, int N>
__device__ inline bool online_weights(float (&score)[N], online_rows &rows, float factor,
                                      float (&shrink)[2])
{
    float peak[2], shift[2], sum[2];
    online_gather<max_of>(score, peak);
#pragma unroll
    for (int r = 0; r < 2; r++)
        peak[r] = FIRST ? peak[r] : fmaxf(peak[r], rows.maximum[r]);
    online_share<max_of>(peak);
#pragma unroll
    for (int r = 0; r < 2; r++) {
        if (!FIRST && Rescale::stays(rows.maximum[r], peak[r], factor))
            peak[r] = rows.maximum[r];
        shrink[r] = FIRST ? 0 : exp2_fast((rows.maximum[r] - online_shift<GUARD>(peak[r])) * factor);
        shift[r] = online_shift<GUARD>(peak[r]) * factor;
        rows.maximum[r] = peak[r];
    }
#pragma unroll
    for (int i = 0; i < N; i++) {
        const float x = score[i] * factor - shift[i / 2 % 2];
        score[i] = i % 8 < POLYNOMIALS ? exp2_polynomial(x) : exp2_fast(x);
    }
    online_gather<sum_of>(score, sum);
#pragma unroll
    for (int r = 0; r < 2; r++)
        rows.sum[r] = FIRST ? sum[r] : rows.sum[r] * shrink[r] + sum[r];
    return !FIRST &&
           (!Rescale::VOTES || __any_sync(0xffffffff, shrink[0] != 1 || shrink[1] != 1));
}

/* The rows' factors times what a lane holds of the rows. */
template <int N> __device__ inline void online_scale(float (&x)[N], const float (&factor)[2])
{
#pragma unroll
    for (int i = 0; i < N; i++)
        x[i] *= factor[i / 2 % 2];
}

/* The four lanes' parts of the sums, added up. */
__device__ inline void online_finish(online_rows &rows)
{
    online_share<sum_of>(rows.sum);
}

#endif

template <int WIDTH> struct merged_columns {
    float maximum, sum;
    float4 x[WIDTH / 4];
};

/* Of N partial results, statistics(n) has maximum and sum, columns(n, i) the i-th four columns. */
template <int N, int WIDTH, class Statistics, class Columns>
__device__ inline merged_columns<WIDTH> merge_columns(float factor, Statistics statistics,
                                                      Columns columns)
{
    merged_columns<WIDTH> all = {evo_minus_infinity(), 0, {}};
    float2 one[N];
#pragma unroll
    for (int n = 0; n < N; n++) {
        one[n] = statistics(n);
        all.maximum = fmaxf(all.maximum, one[n].x);
    }
    const float shift = online_shift<1>(all.maximum);
#pragma unroll
    for (int n = 0; n < N; n++) {
        const float weight = exp2_fast((one[n].x - shift) * factor);
        all.sum += weight * one[n].y;
#pragma unroll
        for (int i = 0; i < WIDTH / 4; i++) {
            const float4 x = columns(n, i);
            all.x[i].x += weight * x.x, all.x[i].y += weight * x.y;
            all.x[i].z += weight * x.z, all.x[i].w += weight * x.w;
        }
    }
    return all;
}

/*
 * Deals out ROWS rows, of which `rows` exist, to THREADS threads: each(row, column, turn). Of eight
 * columns every other group of four threads takes the second half first (`turn` is 1): eight
 * neighbours, which read 16 bytes each at a time, then meet in no bank of shared memory.
 */
template <int THREADS, int ROWS, int COLUMNS, int WIDTH, class Each>
__device__ inline void merge_each(int rows, Each each)
{
    constexpr int LANES = COLUMNS / WIDTH, UNITS = ROWS * LANES;
#pragma unroll 4
    for (int i = 0; i < evo::ceil_div(UNITS, THREADS); i++) {
        const int unit = i * THREADS + threadIdx.x, lane = unit % LANES;
        if (unit / LANES < min(rows, ROWS))
            each(unit / LANES, lane * WIDTH, WIDTH == 8 ? lane / 4 % 2 : 0);
    }
}

/* The merged columns as output; the row's log-sum-exp goes with its first ones. */
template <class Type, int LSE_ASKED, int WIDTH>
__device__ inline void merge_store(const attention_head &head, const evo_problem &problem, int row,
                                   int column, int turn, const merged_columns<WIDTH> &merged)
{
    const float inverse = evo_inverse(merged.sum);
    uint2 part[WIDTH / 4];
#pragma unroll
    for (int i = 0; i < WIDTH / 4; i++)
        part[i] = {pack<Type>(merged.x[i].x * inverse, merged.x[i].y * inverse),
                   pack<Type>(merged.x[i].z * inverse, merged.x[i].w * inverse)};
    evo_half *const to = head.o + row * problem.o[2] + column;
    if constexpr (WIDTH == 4)
        *(uint2 *)to = part[0];
    else
        *(uint4 *)to = turn ? uint4{part[1].x, part[1].y, part[0].x, part[0].y}
                            : uint4{part[0].x, part[0].y, part[1].x, part[1].y};
    if (LSE_ASKED && column == 0)
        head.lse[row] = evo_log_sum_exp(merged.maximum, merged.sum, problem.scale);
}

#endif

/*
 * wgmma.cuh -- products of a warpgroup: 64 rows, asynchronously, with B (and A) in shared memory.
 *
 * Four warps (128 threads from a multiple of 128 on) issue one instruction together: 64 rows, 16 to
 * 256 columns, a depth of 16. It reads shared memory by itself and works on while the threads do
 * something else: the only way to the full rate of Hopper's tensor cores, which mma.sync misses by
 * a third. In return the threads owe it three things:
 *
 *     wgmma_begin    registers (or shared memory, with async_proxy_fence) were written before
 *     … products …
 *     wgmma_commit   closes a group
 *     wgmma_wait<n>  all but the n last groups are done
 *
 * and between issue and wait nobody reads or writes the accumulators, or A's registers. The
 * compiler does not know that the wait is what makes them ready, so `pinned` follows each wait.
 * Everything from the first product to the last wait stays in one function, or ptxas gives up and
 * makes each product wait for itself (it says so: C7510 and its neighbours, in the log of the
 * compilation).
 */
#ifndef EVO_WGMMA_CUH
#define EVO_WGMMA_CUH

/*
 * tma.cuh -- tiles by the tensor memory accelerator.
 *
 * One thread asks for a box of a tensor; the copy engine computes the addresses, fetches, swizzles,
 * and counts its bytes on an mbarrier. Rows outside of the tensor come as zeros and are not stored,
 * so no tile has a ragged case. Registers and issue slots are not involved: the reason for Hopper's
 * kernels to keep a warp for nothing but asking.
 *
 * All tiles are panels: 64 columns of 16 bits are 128 bytes, a row of the 128-byte swizzle, which
 * puts the 16-byte piece p of row r at piece p ^ (r % 8). Eight rows then touch all banks once
 * whether they are read along or across. A tile of 128 columns is two panels, one behind the other,
 * and every panel starts at a multiple of 1024 bytes, the pattern's period.
 */
#ifndef EVO_TMA_CUH
#define EVO_TMA_CUH



/* Where a box begins. */
struct tma_corner {
    int column, row, head, batch;
};

/*
 * How long the second-level cache is asked to keep what passes. The values are the ones that
 * createpolicy makes for all of an access (fraction 1).
 */
struct cache_unhinted {
    enum : int { HINTS = 0 };
    __device__ static unsigned long long once() { return 0; }
    __device__ static unsigned long long often() { return 0; }
};

/*
 * A box to shared memory; its bytes are counted by the mbarrier `full`. In a cluster it goes to the
 * same place in every block, and is counted by the mbarrier at the same place in each. By one
 * thread.
 */
template <class Cache, int CLUSTER>
__device__ inline void tma_load(unsigned to, const evo_tensor_map &map, tma_corner from,
                                unsigned full, unsigned long long policy)
{
#define TMA_LOAD(qualifiers, operands, ...)                                                        \
    asm volatile("cp.async.bulk.tensor.4d.shared::cluster.global.tile"                             \
                 ".mbarrier::complete_tx::bytes" qualifiers                                        \
                 " [%0], [%1, {%3, %4, %5, %6}], [%2]" operands ";" ::"r"(to),                     \
                 "l"(&map), "r"(full), "r"(from.column), "r"(from.row), "r"(from.head),            \
                 "r"(from.batch), ##__VA_ARGS__                                                    \
                 : "memory")
    constexpr short ALL = (1 << CLUSTER) - 1;
    if constexpr (CLUSTER > 1 && Cache::HINTS)
        TMA_LOAD(".multicast::cluster.L2::cache_hint", ", %7, %8", "h"(ALL), "l"(policy));
    else if constexpr (CLUSTER > 1)
        TMA_LOAD(".multicast::cluster", ", %7", "h"(ALL));
    else if constexpr (Cache::HINTS)
        TMA_LOAD(".L2::cache_hint", ", %7", "l"(policy));
    else
        TMA_LOAD("", "");
#undef TMA_LOAD
}

/*
 * wgmma and the copy engine read shared memory behind the ordinary loads and stores ("the
 * asynchronous proxy"): who stored something there for them says so, then lets them begin.
 */
__device__ inline void async_proxy_fence()
{
    asm volatile("fence.proxy.async.shared::cta;" ::: "memory");
}

#endif
/*
 * wgmma_shapes.cuh -- lists of registers for wgmma; written by wgmma_shapes.awk, used by wgmma.cuh.
 */
#ifndef EVO_WGMMA_SHAPES_CUH
#define EVO_WGMMA_SHAPES_CUH

#define WGMMA_NUMBERS_4 "%0, %1, %2, %3"
#define WGMMA_NUMBERS_8 WGMMA_NUMBERS_4 ", %4, %5, %6, %7"
#define WGMMA_NUMBERS_12 WGMMA_NUMBERS_8 ", %8, %9, %10, %11"
#define WGMMA_NUMBERS_16 WGMMA_NUMBERS_12 ", %12, %13, %14, %15"
#define WGMMA_NUMBERS_20 WGMMA_NUMBERS_16 ", %16, %17, %18, %19"
#define WGMMA_NUMBERS_24 WGMMA_NUMBERS_20 ", %20, %21, %22, %23"
#define WGMMA_NUMBERS_28 WGMMA_NUMBERS_24 ", %24, %25, %26, %27"
#define WGMMA_NUMBERS_32 WGMMA_NUMBERS_28 ", %28, %29, %30, %31"
#define WGMMA_NUMBERS_36 WGMMA_NUMBERS_32 ", %32, %33, %34, %35"
#define WGMMA_NUMBERS_40 WGMMA_NUMBERS_36 ", %36, %37, %38, %39"
#define WGMMA_NUMBERS_44 WGMMA_NUMBERS_40 ", %40, %41, %42, %43"
#define WGMMA_NUMBERS_48 WGMMA_NUMBERS_44 ", %44, %45, %46, %47"
#define WGMMA_NUMBERS_52 WGMMA_NUMBERS_48 ", %48, %49, %50, %51"
#define WGMMA_NUMBERS_56 WGMMA_NUMBERS_52 ", %52, %53, %54, %55"
#define WGMMA_NUMBERS_60 WGMMA_NUMBERS_56 ", %56, %57, %58, %59"
#define WGMMA_NUMBERS_64 WGMMA_NUMBERS_60 ", %60, %61, %62, %63"
#define WGMMA_NUMBERS_68 WGMMA_NUMBERS_64 ", %64, %65, %66, %67"
#define WGMMA_NUMBERS_72 WGMMA_NUMBERS_68 ", %68, %69, %70, %71"
#define WGMMA_NUMBERS_76 WGMMA_NUMBERS_72 ", %72, %73, %74, %75"
#define WGMMA_NUMBERS_80 WGMMA_NUMBERS_76 ", %76, %77, %78, %79"
#define WGMMA_NUMBERS_84 WGMMA_NUMBERS_80 ", %80, %81, %82, %83"
#define WGMMA_NUMBERS_88 WGMMA_NUMBERS_84 ", %84, %85, %86, %87"
#define WGMMA_NUMBERS_92 WGMMA_NUMBERS_88 ", %88, %89, %90, %91"
#define WGMMA_NUMBERS_96 WGMMA_NUMBERS_92 ", %92, %93, %94, %95"
#define WGMMA_NUMBERS_100 WGMMA_NUMBERS_96 ", %96, %97, %98, %99"
#define WGMMA_NUMBERS_104 WGMMA_NUMBERS_100 ", %100, %101, %102, %103"
#define WGMMA_NUMBERS_108 WGMMA_NUMBERS_104 ", %104, %105, %106, %107"
#define WGMMA_NUMBERS_112 WGMMA_NUMBERS_108 ", %108, %109, %110, %111"
#define WGMMA_NUMBERS_116 WGMMA_NUMBERS_112 ", %112, %113, %114, %115"
#define WGMMA_NUMBERS_120 WGMMA_NUMBERS_116 ", %116, %117, %118, %119"
#define WGMMA_NUMBERS_124 WGMMA_NUMBERS_120 ", %120, %121, %122, %123"
#define WGMMA_NUMBERS_128 WGMMA_NUMBERS_124 ", %124, %125, %126, %127"

#define WGMMA_FLOATS_4(d) "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
#define WGMMA_FLOATS_8(d) WGMMA_FLOATS_4(d), "+f"(d[4]), "+f"(d[5]), "+f"(d[6]), "+f"(d[7])
#define WGMMA_FLOATS_12(d) WGMMA_FLOATS_8(d), "+f"(d[8]), "+f"(d[9]), "+f"(d[10]), "+f"(d[11])
#define WGMMA_FLOATS_16(d) WGMMA_FLOATS_12(d), "+f"(d[12]), "+f"(d[13]), "+f"(d[14]), "+f"(d[15])
#define WGMMA_FLOATS_20(d) WGMMA_FLOATS_16(d), "+f"(d[16]), "+f"(d[17]), "+f"(d[18]), "+f"(d[19])
#define WGMMA_FLOATS_24(d) WGMMA_FLOATS_20(d), "+f"(d[20]), "+f"(d[21]), "+f"(d[22]), "+f"(d[23])
#define WGMMA_FLOATS_28(d) WGMMA_FLOATS_24(d), "+f"(d[24]), "+f"(d[25]), "+f"(d[26]), "+f"(d[27])
#define WGMMA_FLOATS_32(d) WGMMA_FLOATS_28(d), "+f"(d[28]), "+f"(d[29]), "+f"(d[30]), "+f"(d[31])
#define WGMMA_FLOATS_36(d) WGMMA_FLOATS_32(d), "+f"(d[32]), "+f"(d[33]), "+f"(d[34]), "+f"(d[35])
#define WGMMA_FLOATS_40(d) WGMMA_FLOATS_36(d), "+f"(d[36]), "+f"(d[37]), "+f"(d[38]), "+f"(d[39])
#define WGMMA_FLOATS_44(d) WGMMA_FLOATS_40(d), "+f"(d[40]), "+f"(d[41]), "+f"(d[42]), "+f"(d[43])
#define WGMMA_FLOATS_48(d) WGMMA_FLOATS_44(d), "+f"(d[44]), "+f"(d[45]), "+f"(d[46]), "+f"(d[47])
#define WGMMA_FLOATS_52(d) WGMMA_FLOATS_48(d), "+f"(d[48]), "+f"(d[49]), "+f"(d[50]), "+f"(d[51])
#define WGMMA_FLOATS_56(d) WGMMA_FLOATS_52(d), "+f"(d[52]), "+f"(d[53]), "+f"(d[54]), "+f"(d[55])
#define WGMMA_FLOATS_60(d) WGMMA_FLOATS_56(d), "+f"(d[56]), "+f"(d[57]), "+f"(d[58]), "+f"(d[59])
#define WGMMA_FLOATS_64(d) WGMMA_FLOATS_60(d), "+f"(d[60]), "+f"(d[61]), "+f"(d[62]), "+f"(d[63])
#define WGMMA_FLOATS_68(d) WGMMA_FLOATS_64(d), "+f"(d[64]), "+f"(d[65]), "+f"(d[66]), "+f"(d[67])
#define WGMMA_FLOATS_72(d) WGMMA_FLOATS_68(d), "+f"(d[68]), "+f"(d[69]), "+f"(d[70]), "+f"(d[71])
#define WGMMA_FLOATS_76(d) WGMMA_FLOATS_72(d), "+f"(d[72]), "+f"(d[73]), "+f"(d[74]), "+f"(d[75])
#define WGMMA_FLOATS_80(d) WGMMA_FLOATS_76(d), "+f"(d[76]), "+f"(d[77]), "+f"(d[78]), "+f"(d[79])
#define WGMMA_FLOATS_84(d) WGMMA_FLOATS_80(d), "+f"(d[80]), "+f"(d[81]), "+f"(d[82]), "+f"(d[83])
#define WGMMA_FLOATS_88(d) WGMMA_FLOATS_84(d), "+f"(d[84]), "+f"(d[85]), "+f"(d[86]), "+f"(d[87])
#define WGMMA_FLOATS_92(d) WGMMA_FLOATS_88(d), "+f"(d[88]), "+f"(d[89]), "+f"(d[90]), "+f"(d[91])
#define WGMMA_FLOATS_96(d) WGMMA_FLOATS_92(d), "+f"(d[92]), "+f"(d[93]), "+f"(d[94]), "+f"(d[95])
#define WGMMA_FLOATS_100(d) WGMMA_FLOATS_96(d), "+f"(d[96]), "+f"(d[97]), "+f"(d[98]), "+f"(d[99])
#define WGMMA_FLOATS_104(d) WGMMA_FLOATS_100(d), "+f"(d[100]), "+f"(d[101]), "+f"(d[102]), "+f"(d[103])
#define WGMMA_FLOATS_108(d) WGMMA_FLOATS_104(d), "+f"(d[104]), "+f"(d[105]), "+f"(d[106]), "+f"(d[107])
#define WGMMA_FLOATS_112(d) WGMMA_FLOATS_108(d), "+f"(d[108]), "+f"(d[109]), "+f"(d[110]), "+f"(d[111])
#define WGMMA_FLOATS_116(d) WGMMA_FLOATS_112(d), "+f"(d[112]), "+f"(d[113]), "+f"(d[114]), "+f"(d[115])
#define WGMMA_FLOATS_120(d) WGMMA_FLOATS_116(d), "+f"(d[116]), "+f"(d[117]), "+f"(d[118]), "+f"(d[119])
#define WGMMA_FLOATS_124(d) WGMMA_FLOATS_120(d), "+f"(d[120]), "+f"(d[121]), "+f"(d[122]), "+f"(d[123])
#define WGMMA_FLOATS_128(d) WGMMA_FLOATS_124(d), "+f"(d[124]), "+f"(d[125]), "+f"(d[126]), "+f"(d[127])

#define WGMMA_WORDS_4(d) "+r"(d[0]), "+r"(d[1]), "+r"(d[2]), "+r"(d[3])
#define WGMMA_WORDS_8(d) WGMMA_WORDS_4(d), "+r"(d[4]), "+r"(d[5]), "+r"(d[6]), "+r"(d[7])
#define WGMMA_WORDS_12(d) WGMMA_WORDS_8(d), "+r"(d[8]), "+r"(d[9]), "+r"(d[10]), "+r"(d[11])
#define WGMMA_WORDS_16(d) WGMMA_WORDS_12(d), "+r"(d[12]), "+r"(d[13]), "+r"(d[14]), "+r"(d[15])
#define WGMMA_WORDS_20(d) WGMMA_WORDS_16(d), "+r"(d[16]), "+r"(d[17]), "+r"(d[18]), "+r"(d[19])
#define WGMMA_WORDS_24(d) WGMMA_WORDS_20(d), "+r"(d[20]), "+r"(d[21]), "+r"(d[22]), "+r"(d[23])
#define WGMMA_WORDS_28(d) WGMMA_WORDS_24(d), "+r"(d[24]), "+r"(d[25]), "+r"(d[26]), "+r"(d[27])
#define WGMMA_WORDS_32(d) WGMMA_WORDS_28(d), "+r"(d[28]), "+r"(d[29]), "+r"(d[30]), "+r"(d[31])
#define WGMMA_WORDS_36(d) WGMMA_WORDS_32(d), "+r"(d[32]), "+r"(d[33]), "+r"(d[34]), "+r"(d[35])
#define WGMMA_WORDS_40(d) WGMMA_WORDS_36(d), "+r"(d[36]), "+r"(d[37]), "+r"(d[38]), "+r"(d[39])
#define WGMMA_WORDS_44(d) WGMMA_WORDS_40(d), "+r"(d[40]), "+r"(d[41]), "+r"(d[42]), "+r"(d[43])
#define WGMMA_WORDS_48(d) WGMMA_WORDS_44(d), "+r"(d[44]), "+r"(d[45]), "+r"(d[46]), "+r"(d[47])
#define WGMMA_WORDS_52(d) WGMMA_WORDS_48(d), "+r"(d[48]), "+r"(d[49]), "+r"(d[50]), "+r"(d[51])
#define WGMMA_WORDS_56(d) WGMMA_WORDS_52(d), "+r"(d[52]), "+r"(d[53]), "+r"(d[54]), "+r"(d[55])
#define WGMMA_WORDS_60(d) WGMMA_WORDS_56(d), "+r"(d[56]), "+r"(d[57]), "+r"(d[58]), "+r"(d[59])
#define WGMMA_WORDS_64(d) WGMMA_WORDS_60(d), "+r"(d[60]), "+r"(d[61]), "+r"(d[62]), "+r"(d[63])

/* Width, FP32 accumulators and the seven operands behind them, the same for FP16. */
#define WGMMA_SHAPES(each) \
    each(16, 8, 8, 9, 10, 11, 12, 13, 14, 4, 4, 5, 6, 7, 8, 9, 10) \
    each(32, 16, 16, 17, 18, 19, 20, 21, 22, 8, 8, 9, 10, 11, 12, 13, 14) \
    each(48, 24, 24, 25, 26, 27, 28, 29, 30, 12, 12, 13, 14, 15, 16, 17, 18) \
    each(64, 32, 32, 33, 34, 35, 36, 37, 38, 16, 16, 17, 18, 19, 20, 21, 22) \
    each(80, 40, 40, 41, 42, 43, 44, 45, 46, 20, 20, 21, 22, 23, 24, 25, 26) \
    each(96, 48, 48, 49, 50, 51, 52, 53, 54, 24, 24, 25, 26, 27, 28, 29, 30) \
    each(112, 56, 56, 57, 58, 59, 60, 61, 62, 28, 28, 29, 30, 31, 32, 33, 34) \
    each(128, 64, 64, 65, 66, 67, 68, 69, 70, 32, 32, 33, 34, 35, 36, 37, 38) \
    each(144, 72, 72, 73, 74, 75, 76, 77, 78, 36, 36, 37, 38, 39, 40, 41, 42) \
    each(160, 80, 80, 81, 82, 83, 84, 85, 86, 40, 40, 41, 42, 43, 44, 45, 46) \
    each(176, 88, 88, 89, 90, 91, 92, 93, 94, 44, 44, 45, 46, 47, 48, 49, 50) \
    each(192, 96, 96, 97, 98, 99, 100, 101, 102, 48, 48, 49, 50, 51, 52, 53, 54) \
    each(208, 104, 104, 105, 106, 107, 108, 109, 110, 52, 52, 53, 54, 55, 56, 57, 58) \
    each(224, 112, 112, 113, 114, 115, 116, 117, 118, 56, 56, 57, 58, 59, 60, 61, 62) \
    each(240, 120, 120, 121, 122, 123, 124, 125, 126, 60, 60, 61, 62, 63, 64, 65, 66) \
    each(256, 128, 128, 129, 130, 131, 132, 133, 134, 64, 64, 65, 66, 67, 68, 69, 70)

#endif

__device__ inline void wgmma_commit()
{
    asm volatile("wgmma.commit_group.sync.aligned;" ::: "memory");
}
template <int PENDING> __device__ inline void wgmma_wait()
{
    asm volatile("wgmma.wait_group.sync.aligned %0;" ::"n"(PENDING) : "memory");
}

/* No use of these registers moves across this place, and all of them have their values by now. */
template <class T, int N> __device__ inline void pinned(T (&x)[N])
{
#pragma unroll
    for (int i = 0; i < N; i++)
        if constexpr (evo::same<T, float>::value)
            asm volatile("" : "+f"(x[i])::"memory");
        else
            asm volatile("" : "+r"(x[i])::"memory");
}

/* `registers` are the arrays that the products will use: what is left to write is written first. */
template <class... Arrays> __device__ inline void wgmma_begin(Arrays &...registers)
{
    (pinned(registers), ...);
    asm volatile("wgmma.fence.sync.aligned;" ::: "memory");
}

/*
 * The instruction, in its two forms. Operands: accumulators, A, B, whether to add to them (it has
 * to be a predicate, and there is no separate C), the signs of A and B, and which of them lie
 * across. A in shared memory needs two immediates for that, A in registers one, because a fragment
 * cannot be turned. Any other list is "Arguments mismatch for instruction 'wgmma.mma_async'",
 * whatever is wrong with it. See docs/wgmma-ptxas.md.
 */
#define WGMMA_BEGIN(N, SUM, TYPE, add)                                                             \
    "{\n.reg .pred add;\nsetp.ne.b32 add, %" #add ", 0;\n"                                         \
    "wgmma.mma_async.sync.aligned.m64n" #N "k16." SUM "." TYPE "." TYPE
#define WGMMA_SS(N, SUM, TYPE, NUMBERS, D, a, b, add, across)                                      \
    asm volatile(WGMMA_BEGIN(N, SUM, TYPE, add) " {" NUMBERS "}, %" #a ", %" #b                    \
                                                ", add, 1, 1, 0, %" #across ";\n}"                 \
                 : D                                                                               \
                 : "l"(A), "l"(B), "r"(accumulate), "n"(ACROSS))
#define WGMMA_RS(N, SUM, TYPE, NUMBERS, D, a0, a1, a2, a3, b, add, across)                         \
    asm volatile(                                                                                  \
        WGMMA_BEGIN(N, SUM, TYPE, add) " {" NUMBERS "}, {%" #a0 ", %" #a1 ", %" #a2 ", %" #a3      \
                                       "}, %" #b ", add, 1, 1, %" #across ";\n}"                   \
        : D                                                                                        \
        : "r"(A[0]), "r"(A[1]), "r"(A[2]), "r"(A[3]), "l"(B), "r"(accumulate), "n"(ACROSS))

/*
 * wgmma_shape<N>::product<Type, ACROSS>(d, A, B, accumulate): d = A B, or d += A B. A is a
 * descriptor or four registers, B a descriptor; ACROSS: B's rows lie along its depth (V), not along
 * its columns (K). d are FP32, or FP16 in pairs.
 */
template <int WIDTH> struct wgmma_shape;
#define WGMMA_SHAPE(N, F, f0, f1, f2, f3, f4, f5, f6, H, h0, h1, h2, h3, h4, h5, h6)               \
    template <> struct wgmma_shape<N> {                                                            \
        template <class Type, int ACROSS>                                                          \
        __device__ static void product(float (&d)[F], unsigned long long A, unsigned long long B,  \
                                       int accumulate)                                             \
        {                                                                                          \
            if constexpr (evo::same<Type, as_half>::value)                                         \
                WGMMA_SS(N, "f32", "f16", WGMMA_NUMBERS_##F, WGMMA_FLOATS_##F(d), f0, f1, f2, f3); \
            else                                                                                   \
                WGMMA_SS(N, "f32", "bf16", WGMMA_NUMBERS_##F, WGMMA_FLOATS_##F(d), f0, f1, f2,     \
                         f3);                                                                      \
        }                                                                                          \
        template <class Type, int ACROSS>                                                          \
        __device__ static void product(float (&d)[F], const unsigned *A, unsigned long long B,     \
                                       int accumulate)                                             \
        {                                                                                          \
            if constexpr (evo::same<Type, as_half>::value)                                         \
                WGMMA_RS(N, "f32", "f16", WGMMA_NUMBERS_##F, WGMMA_FLOATS_##F(d), f0, f1, f2, f3,  \
                         f4, f5, f6);                                                              \
            else                                                                                   \
                WGMMA_RS(N, "f32", "bf16", WGMMA_NUMBERS_##F, WGMMA_FLOATS_##F(d), f0, f1, f2, f3, \
                         f4, f5, f6);                                                              \
        }                                                                                          \
        template <class Type, int ACROSS>                                                          \
        __device__ static void product(unsigned (&d)[H], unsigned long long A,                     \
                                       unsigned long long B, int accumulate)                       \
        {                                                                                          \
            WGMMA_SS(N, "f16", "f16", WGMMA_NUMBERS_##H, WGMMA_WORDS_##H(d), h0, h1, h2, h3);      \
        }                                                                                          \
        template <class Type, int ACROSS>                                                          \
        __device__ static void product(unsigned (&d)[H], const unsigned *A, unsigned long long B,  \
                                       int accumulate)                                             \
        {                                                                                          \
            WGMMA_RS(N, "f16", "f16", WGMMA_NUMBERS_##H, WGMMA_WORDS_##H(d), h0, h1, h2, h3, h4,   \
                     h5, h6);                                                                      \
        }                                                                                          \
    };
WGMMA_SHAPES(WGMMA_SHAPE)

/*
 * A matrix in shared memory is told by 64 bits: where it begins, two strides, the swizzle;
 * addresses and strides in units of 16 bytes. For the panels of tma.cuh (128-byte swizzle, code 1
 * << 62) the "stride" field is the distance of groups of eight rows, 1024 bytes. The "leading"
 * field is of use only across, where it leads from one panel of columns to the next.
 *
 * A step along the depth moves the beginning: by 32 bytes inside a panel and on to the next panel
 * (columns are the depth: Q, K, weights), or by 16 rows (rows are: V).
 */
__device__ inline unsigned long long wgmma_matrix(unsigned address, int panel_bytes)
{
    return (unsigned long long)(address >> 4) | (unsigned long long)(panel_bytes >> 4) << 16 |
           (unsigned long long)(1024 >> 4) << 32 | 1ull << 62;
}
template <int PANEL_BYTES> __device__ constexpr int wgmma_along(int step)
{
    return ((step / 4) * PANEL_BYTES + (step % 4) * 32) >> 4;
}
__device__ constexpr int wgmma_across(int step) { return (step * 16 * 128) >> 4; }

#endif

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
// evo:device-end

#ifndef __CUDACC_RTC__
// ---- the host's side: tensor maps ----
#include <cuda.h>
#include <cuda_runtime.h>

// The driver's encoder, found at run time: nothing but the runtime library is linked.
namespace evo_host
{
typedef CUresult (*encode_tiled)(CUtensorMap *, CUtensorMapDataType, cuuint32_t, void *, const cuuint64_t *,
                                 const cuuint64_t *, const cuuint32_t *, const cuuint32_t *, CUtensorMapInterleave,
                                 CUtensorMapSwizzle, CUtensorMapL2promotion, CUtensorMapFloatOOBfill);

inline encode_tiled find_encoder(void)
{
    void *found = nullptr;
    cudaDriverEntryPointQueryResult how;
#if CUDART_VERSION >= 12050
    cudaError_t rc = cudaGetDriverEntryPointByVersion("cuTensorMapEncodeTiled", &found, 12000, cudaEnableDefault, &how);
#else
    cudaError_t rc = cudaGetDriverEntryPoint("cuTensorMapEncodeTiled", &found, cudaEnableDefault, &how);
#endif
    return rc == cudaSuccess && how == cudaDriverEntryPointSuccess ? (encode_tiled)found : nullptr;
}

// Boxes of columns x rows over (column, row, head, batch) of a tensor, whose strides are of batch, head and row.
inline cudaError_t make_map(evo_tensor_map *map, const void *tensor, CUtensorMapDataType type, int head_dim, int rows,
                            int heads, int batch, const long long *strides, long long box_columns, long long box_rows,
                            long long swizzle)
{
    static const encode_tiled encode = find_encoder();
    const cuuint64_t sizes[] = {(cuuint64_t)head_dim, (cuuint64_t)rows, (cuuint64_t)heads, (cuuint64_t)batch};
    const cuuint64_t bytes[] = {(cuuint64_t)strides[2] * 2, (cuuint64_t)strides[1] * 2, (cuuint64_t)strides[0] * 2};
    const cuuint32_t box[] = {(cuuint32_t)box_columns, (cuuint32_t)box_rows, 1, 1}, ones[] = {1, 1, 1, 1};
    if (!encode)
        return cudaErrorNotSupported;
    return encode((CUtensorMap *)map, type, 4, (void *)tensor, sizes, bytes, box, ones, CU_TENSOR_MAP_INTERLEAVE_NONE,
                  swizzle == 128  ? CU_TENSOR_MAP_SWIZZLE_128B
                  : swizzle == 64 ? CU_TENSOR_MAP_SWIZZLE_64B
                  : swizzle == 32 ? CU_TENSOR_MAP_SWIZZLE_32B
                                  : CU_TENSOR_MAP_SWIZZLE_NONE,
                  CU_TENSOR_MAP_L2_PROMOTION_L2_128B, CU_TENSOR_MAP_FLOAT_OOB_FILL_NONE) == CUDA_SUCCESS
               ? cudaSuccess
               : cudaErrorInvalidValue;
}
} // namespace evo_host
#endif // !__CUDACC_RTC__

#ifndef __CUDACC_RTC__
// ---- the host's side: a launcher that C can call ----
#include <cmath>
#include <cuda_runtime.h>

namespace evo_host
{
typedef long long i64;
template <typename A, typename B> constexpr i64 min(A a, B b) { return (i64)b < (i64)a ? (i64)b : (i64)a; }
template <typename A, typename B> constexpr i64 max(A a, B b) { return (i64)a < (i64)b ? (i64)b : (i64)a; }
template <typename A, typename B, typename C, typename... R> constexpr i64 min(A a, B b, C c, R... r) { return evo_host::min(evo_host::min(a, b), c, r...); }
template <typename A, typename B, typename C, typename... R> constexpr i64 max(A a, B b, C c, R... r) { return evo_host::max(evo_host::max(a, b), c, r...); }
inline constexpr i64 ceil_div(i64 a, i64 b) { return a / b + (a % b != 0); }
template <typename A> constexpr i64 log2(A a) { return (i64)a < 2 ? 0 : 1 + evo_host::log2((i64)a / 2); }
inline constexpr i64 pow2(i64 a) { return (i64)1 << a; }
enum : i64 { BLOCK_M = 32 };
enum : i64 { BLOCK_N = 128 };
enum : i64 { KEY_SETS = 4 };
enum : i64 { CLUSTER = 1 };
enum : i64 { STAGES = 1 };
enum : i64 { PARTS = 2 };
enum : i64 { POLYNOMIALS = 0 };
enum : i64 { Product = 1 };
enum : i64 { Copy = 0 };
enum : i64 { Asks = 0 };
enum : i64 { Values = 0 };
enum : i64 { Meet = 0 };
enum : i64 { QkSum = 0 };
enum : i64 { HEAD_DIM = 64 };
enum : i64 { CAUSAL = 0 };
enum : i64 { BF16 = 0 };
enum : i64 { LSE = 0 };
enum : i64 { DEVICE_SMEM_MAX = 232448 };
enum : i64 { DEVICE_ARCH = 90 };
enum : i64 { SET_WARPS = 2 };
enum : i64 { THREADS = 256 };
enum : i64 { BLOCK_THREADS = 256 };
enum : i64 { SHARES = 4 };
enum : i64 { MERGED_ROWS = 32 };
enum : i64 { PITCH = 72 };
enum : i64 { Q_BYTES = 4096 };
enum : i64 { TILE_BYTES = 16384 };
enum : i64 { SET_BYTES = 32768 };
enum : i64 { RESULT_BYTES = 9472 };
enum : i64 { SHARE_BYTES = 0 };
enum : i64 { RESULTS_AT = 135168 };
enum : i64 { SHARES_AT = 173056 };
enum : i64 { BARRIERS_AT = 173056 };
enum : i64 { SET_BARRIERS = 4 };
enum : i64 { SMEM_BYTES = 173200 };
enum : i64 { REGISTERS = 160 };
inline bool supports(const evo_problem &p, i64 sms)
{
    const i64 batch = p.batch, heads = p.heads, kv_heads = p.kv_heads, q_len = p.q_len,
              kv_len = p.kv_len;
    (void)batch, (void)heads, (void)kv_heads, (void)q_len, (void)kv_len, (void)sms;
    return true;
}
inline i64 workspace(const evo_problem &p, i64 sms, int upto)
{
    const i64 batch = p.batch, heads = p.heads, kv_heads = p.kv_heads, q_len = p.q_len,
              kv_len = p.kv_len;
    (void)batch, (void)heads, (void)kv_heads, (void)q_len, (void)kv_len, (void)sms;
    i64 bytes = 0;
    (void)upto;
    return bytes;
}
inline int launch(const void *q, const void *k, const void *v, void *o, float *lse, evo_problem problem,
                  char *scratch, cudaStream_t stream, i64 sms)
{
    const evo_problem &p = problem;
    const i64 batch = p.batch, heads = p.heads, kv_heads = p.kv_heads, q_len = p.q_len,
              kv_len = p.kv_len;
    (void)batch, (void)heads, (void)kv_heads, (void)q_len, (void)kv_len, (void)sms;
    cudaError_t rc = cudaSuccess;
    (void)scratch;
    evo_tensor_map m[3];
    if ((rc = make_map(&m[0], q, CU_TENSOR_MAP_DATA_TYPE_FLOAT16, p.head_dim, p.q_len, p.heads, p.batch, p.q,
                       64, BLOCK_M, 128)) != cudaSuccess)
        return (int)rc;
    if ((rc = make_map(&m[1], k, CU_TENSOR_MAP_DATA_TYPE_FLOAT16, p.head_dim, p.kv_len, p.kv_heads, p.batch, p.k,
                       64, BLOCK_N / PARTS, 128)) != cudaSuccess)
        return (int)rc;
    if ((rc = make_map(&m[2], v, CU_TENSOR_MAP_DATA_TYPE_FLOAT16, p.head_dim, p.kv_len, p.kv_heads, p.batch, p.v,
                       64, BLOCK_N / PARTS, 128)) != cudaSuccess)
        return (int)rc;
    if (const i64 evo_x = CLUSTER * ceil_div(q_len, BLOCK_M), evo_y = heads, evo_z = batch; evo_x > 0 && evo_y > 0 && evo_z > 0) {
        const i64 smem = SMEM_BYTES;
        void *args[] = {&m[0], &m[1], &m[2], &q, &k, &v, &o, &lse, &problem};
        rc = cudaFuncSetAttribute((const void *)attention, cudaFuncAttributeMaxDynamicSharedMemorySize, (int)smem);
        if (rc == cudaSuccess)
            rc = cudaLaunchKernel((const void *)attention,
                                  dim3((unsigned)evo_x, (unsigned)evo_y, (unsigned)evo_z),
                                  dim3((unsigned)(BLOCK_THREADS)), args, (size_t)smem, stream);
        if (rc != cudaSuccess)
            return (int)rc;
    }
    return 0;
}
} // namespace evo_host

#define EVO_HEAD_DIM 64
#define EVO_SEQUENCE_FIRST 0 // 1: memory is [batch, rows, heads, EVO_HEAD_DIM]
#define EVO_MAIN_SHAPE 1, 8, 8, 512, 512
#define EVO_MAIN_CAUSAL 0
#define EVO_MAIN_BF16 0
#define EVO_MAIN_LSE 0

static evo_problem evo_problem_of(int batch, int heads, int kv_heads, int q_len, int kv_len)
{
    evo_problem p = {};
    const long long d = EVO_HEAD_DIM;
    p.batch = batch, p.heads = heads, p.kv_heads = kv_heads, p.q_len = q_len, p.kv_len = kv_len;
    p.head_dim = (int)d;
    p.scale = (float)(1 / sqrt((double)d));
    p.q[0] = p.o[0] = (long long)heads * q_len * d;
    p.k[0] = p.v[0] = (long long)kv_heads * kv_len * d;
    p.q[1] = p.o[1] = EVO_SEQUENCE_FIRST ? d : q_len * d, p.q[2] = p.o[2] = EVO_SEQUENCE_FIRST ? heads * d : d;
    p.k[1] = p.v[1] = EVO_SEQUENCE_FIRST ? d : kv_len * d, p.k[2] = p.v[2] = EVO_SEQUENCE_FIRST ? kv_heads * d : d;
    return p;
}

static bool evo_is_shape(int batch, int heads, int kv_heads, int q_len, int kv_len)
{
    return batch > 0 && heads > 0 && kv_heads > 0 && q_len > 0 && kv_len > 0 && heads % kv_heads == 0;
}

static long long evo_multiprocessors(void)
{
    int device = 0, sms = 1;
    cudaGetDevice(&device);
    cudaDeviceGetAttribute(&sms, cudaDevAttrMultiProcessorCount, device);
    return sms;
}

extern "C" size_t evo_workspace_bytes(int batch, int heads, int kv_heads, int q_len, int kv_len)
{
    if (!evo_is_shape(batch, heads, kv_heads, q_len, kv_len))
        return 0;
    return (size_t)evo_host::workspace(evo_problem_of(batch, heads, kv_heads, q_len, kv_len), evo_multiprocessors(), 99);
}

extern "C" int evo_attention(const void *q, const void *k, const void *v, void *o, float *lse, int batch, int heads,
                             int kv_heads, int q_len, int kv_len, void *workspace, void *stream)
{
    if (!evo_is_shape(batch, heads, kv_heads, q_len, kv_len))
        return -1;
    const evo_problem p = evo_problem_of(batch, heads, kv_heads, q_len, kv_len);
    const long long sms = evo_multiprocessors();
    if (!evo_host::supports(p, sms))
        return -1;
    return evo_host::launch(q, k, v, o, lse, p, (char *)workspace, (cudaStream_t)stream, sms);
}
#endif // !__CUDACC_RTC__

#ifdef EVO_MAIN
// nvcc -O3 -DEVO_MAIN ... && ./a.out [batch heads kv_heads q_len kv_len]: compares with an FP64 reference
// on the CPU (a few thousand rows of it when there are more) and times by a CUDA graph of 20 calls.
#include <cstdio>
#include <cstdlib>
#include <vector>
#if EVO_MAIN_BF16
#include <cuda_bf16.h>
typedef __nv_bfloat16 evo_element;
#else
#include <cuda_fp16.h>
typedef __half evo_element;
#endif

#define EVO_TRY(call)                                                                          \
    do {                                                                                       \
        int rc_ = (int)(call);                                                                 \
        if (rc_ != 0) {                                                                        \
            fprintf(stderr, "%s: %s\n", #call, rc_ < 0 ? "shape not supported" : cudaGetErrorString((cudaError_t)rc_)); \
            exit(1);                                                                           \
        }                                                                                      \
    } while (0)

static std::vector<evo_element> evo_random(size_t count, unsigned long long state)
{
    std::vector<evo_element> values(count);
    for (auto &value : values) { // the sum of four uniforms, scaled to unit variance
        float sum = 0;
        for (int i = 0; i < 4; i++) {
            state = state * 6364136223846793005ull + 1442695040888963407ull;
            sum += (float)(state >> 40) / (1 << 24) - 0.5f;
        }
        value = (evo_element)(sum * 1.7320508f);
    }
    return values;
}

static void *evo_upload(const std::vector<evo_element> &values)
{
    void *device;
    EVO_TRY(cudaMalloc(&device, values.size() * sizeof(evo_element)));
    EVO_TRY(cudaMemcpy(device, values.data(), values.size() * sizeof(evo_element), cudaMemcpyHostToDevice));
    return device;
}

// The worst difference, and what the relative error is made of.
struct evo_errors {
    double worst, error, norm;
    void add(double got, double want)
    {
        const double off = got == want ? 0 : fabs(got - want); // infinities may be equal
        worst = off <= worst ? worst : off == off ? off : HUGE_VAL;
        error += off * off, norm += want * want;
    }
};

// One query row in FP64: D outputs, and the log-sum-exp behind them.
static void evo_exact_row(const evo_element *q, const evo_element *k, const evo_element *v, size_t stride, int visible,
                          std::vector<double> &exact)
{
    const int D = EVO_HEAD_DIM;
    std::vector<double> score(visible);
    double peak = -HUGE_VAL, sum = 0;
    for (int j = 0; j < visible; j++) {
        double dot = 0;
        for (int d = 0; d < D; d++)
            dot += (double)(float)q[d] * (double)(float)k[j * stride + d];
        score[j] = dot / sqrt((double)D);
        peak = score[j] > peak ? score[j] : peak;
    }
    exact.assign(D + 1, 0.0);
    for (int j = 0; j < visible; j++) {
        const double w = exp(score[j] - peak);
        sum += w;
        for (int d = 0; d < D; d++)
            exact[d] += w * (double)(float)v[j * stride + d];
    }
    for (int d = 0; d < D; d++)
        exact[d] = sum > 0 ? exact[d] / sum : 0;
    exact[D] = sum > 0 ? peak + log(sum) : -HUGE_VAL;
}

int main(int argc, char **argv)
{
    const int D = EVO_HEAD_DIM, causal = EVO_MAIN_CAUSAL;
    int shape[5] = {EVO_MAIN_SHAPE};
    for (int i = 0; i < 5 && argc == 6; i++)
        shape[i] = atoi(argv[i + 1]);
    const int B = shape[0], H = shape[1], KH = shape[2], Sq = shape[3], Sk = shape[4];
    if ((argc != 1 && argc != 6) || !evo_is_shape(B, H, KH, Sq, Sk)) {
        fprintf(stderr, "usage: %s [batch heads kv_heads q_len kv_len]\n", argv[0]);
        return 2;
    }
    const size_t rows = (size_t)B * H * Sq, keys = (size_t)B * KH * Sk;
    const auto q = evo_random(rows * D, 1), k = evo_random(keys * D, 2), v = evo_random(keys * D, 3);
    auto o = evo_random(rows * D, 4);
    void *dq = evo_upload(q), *dk = evo_upload(k), *dv = evo_upload(v), *d_o = evo_upload(o), *dw = nullptr;
    const size_t bytes = evo_workspace_bytes(B, H, KH, Sq, Sk);
    std::vector<float> lse(rows);
    float *d_lse;
    cudaStream_t stream;
    EVO_TRY(cudaMalloc(&d_lse, rows * sizeof(float)));
    EVO_TRY(cudaMalloc(&dw, bytes + 1));
    EVO_TRY(cudaMemset(dw, 0, bytes + 1));
    EVO_TRY(cudaStreamCreate(&stream));
    auto call = [&] { return evo_attention(dq, dk, dv, d_o, d_lse, B, H, KH, Sq, Sk, dw, stream); };
    EVO_TRY(call());
    EVO_TRY(cudaStreamSynchronize(stream));
    EVO_TRY(cudaMemcpy(o.data(), d_o, o.size() * sizeof(evo_element), cudaMemcpyDeviceToHost));
    EVO_TRY(cudaMemcpy(lse.data(), d_lse, rows * sizeof(float), cudaMemcpyDeviceToHost));

    const evo_problem p = evo_problem_of(B, H, KH, Sq, Sk);
    evo_errors outputs = {}, sums = {};
    std::vector<double> exact;
    for (size_t i = 0; i < rows; i += 1 + rows / 4096) {
        const size_t batch = i / Sq / H, head = i / Sq % H, row = i % Sq, kv_head = head / (H / KH);
        const size_t at = batch * p.q[0] + head * p.q[1] + row * p.q[2], key = batch * p.k[0] + kv_head * p.k[1];
        const int seen = causal ? (int)row + Sk - Sq + 1 : Sk;
        evo_exact_row(&q[at], &k[key], &v[key], p.k[2], seen < 0 ? 0 : seen > Sk ? Sk : seen, exact);
        for (int d = 0; d < D; d++)
            outputs.add((double)(float)o[at + d], exact[d]);
        if (EVO_MAIN_LSE)
            sums.add(lse[i], exact[D]);
    }

    cudaGraph_t graph;
    cudaGraphExec_t exec;
    cudaEvent_t begin, end;
    EVO_TRY(cudaEventCreate(&begin));
    EVO_TRY(cudaEventCreate(&end));
    EVO_TRY(cudaStreamBeginCapture(stream, cudaStreamCaptureModeGlobal));
    for (int i = 0; i < 20; i++)
        EVO_TRY(call());
    EVO_TRY(cudaStreamEndCapture(stream, &graph));
    EVO_TRY(cudaGraphInstantiate(&exec, graph, 0));
    float best[9], ms;
    for (int i = 0; i < 60; i++) { // the first fifty warm the clocks up; the median of the last nine
        EVO_TRY(cudaEventRecord(begin, stream));
        EVO_TRY(cudaGraphLaunch(exec, stream));
        EVO_TRY(cudaEventRecord(end, stream));
        EVO_TRY(cudaStreamSynchronize(stream));
        EVO_TRY(cudaEventElapsedTime(&ms, begin, end));
        int at = i < 51 ? 0 : i - 51;
        for (; at > 0 && best[at - 1] > ms; at--)
            best[at] = best[at - 1];
        best[at] = ms;
    }
    const double relative = outputs.norm > 0 ? sqrt(outputs.error / outputs.norm) : 0;
    const double allowed = EVO_MAIN_BF16 ? 4e-2 : 1e-2; // for finding blunders; evo verify applies the real gate
    const bool right = outputs.worst < allowed && relative < allowed && sums.worst < 1e-2;
    printf("%dx%d/%dx%d/%dx%d%s: max |diff| %.3g, relative error %.3g", B, H, KH, Sq, Sk, D, causal ? " causal" : "",
           outputs.worst, relative);
    if (EVO_MAIN_LSE)
        printf(", log-sum-exp %.3g", sums.worst);
    printf(": %s; %.2f us a call\n", right ? "ok" : "WRONG", best[4] * 1000 / 20);
    return right ? 0 : 1;
}
#endif // EVO_MAIN
#endif // __CUDACC__
