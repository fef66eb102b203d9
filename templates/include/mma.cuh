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

#include "copy.cuh"

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
