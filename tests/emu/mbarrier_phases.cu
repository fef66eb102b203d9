/*
 * Two warps in turn through one buffer, handshakes by two mbarriers over many phases; who has
 * to wait for phase i waits for parity i % 2.
 */
// evo: launch kernel<<<1, 64>>>(in f32 in[256], out f32 out[256])
#include "sync.cuh"

extern "C" __global__ void kernel(const float *in, float *out)
{
    __shared__ float tile[32];
    __shared__ u64 full, empty;
    const int lane = threadIdx.x % 32;

    if (threadIdx.x == 0) {
        mbarrier_init(&full, 32); //= many: deadlock @empty | mbarrier_init(&full, 33); //= few: deadlock @empty | mbarrier_init(&full, 16);
        mbarrier_init(&empty, 1);
    }
    __syncthreads(); //- made: race @tell, race @used, race @empty
    for (int i = 0; i < 8; i++) {
        if (threadIdx.x < 32) {
            mbarrier_wait(&empty, i % 2 ^ 1); //@ empty //= empty_parity: deadlock @empty_parity | mbarrier_wait(&empty, i % 2); //@ empty_parity //- no_empty: deadlock @used
            tile[lane] = in[i * 32 + lane]; //@ write
            mbarrier_arrive(&full); //@ tell //- not_full: deadlock @empty
        } else {
            mbarrier_wait(&full, i % 2); //@ used //= full_parity: deadlock @empty, uninitialised @read | mbarrier_wait(&full, i % 2 ^ 1); //- no_full: deadlock @empty, uninitialised @read
            out[i * 32 + lane] = tile[31 - lane]; //@ read
            __syncwarp(); //- left: race @write
            if (lane == 0)
                mbarrier_arrive(&empty); //= not_empty: deadlock @empty | ;
        }
    }
}
