/* A product of one warp from shared memory by ldmatrix and mma, written by another warp. */
// evo: launch kernel<<<1, 64>>>(in u32 in[192], out f32 out[128])
#include "sync.cuh"

INLINE void load_4(u32 r[4], const void *row)
{
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];"
                 : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
                 : "r"(address_of(row))
                 : "memory");
}

extern "C" __global__ void kernel(const unsigned *in, float *out)
{
    __shared__ __align__(16) unsigned a[128], b[64];
    const int t = threadIdx.x, lane = t % 32;

    if (t >= 32) {
        for (int i = lane; i < 128; i += 32)
            a[i] = in[i]; //@ fill_a
        for (int i = lane; i < 64; i += 32)
            b[i] = in[128 + i]; //@ fill_b
    }
    __syncthreads(); //- barrier: race @fill_a, uninitialised @rows, uninitialised @columns, race @fill_b
    if (t < 32) {
        u32 r[4];
        float d[4] = {0, 0, 0, 0};
        load_4(r, a + lane % 16 * 8 + lane / 16 * 4); //@ rows //= odd: misaligned @rows | load_4(r, a + lane % 16 * 8 + lane / 16 * 4 + 1); //= behind: out of bounds @rows | load_4(r, a + lane % 16 * 8 + lane / 16 * 4 + 128);
        asm volatile("mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 {%0, %1, %2, %3}, "
                     "{%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"
                     : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
                     : "r"(r[0]), "r"(r[1]), "r"(r[2]), "r"(r[3]), "r"(b[lane]), "r"(b[32 + lane])); //@ columns
        for (int i = 0; i < 4; i++)
            out[4 * lane + i] = d[i];
    }
}
