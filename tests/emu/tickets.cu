/* Blocks take tiles from a counter until there are none; one thread draws for all. */
// evo: launch kernel<<<3, 64>>>(in f32 in[1024], zero u32 next[1], out f32 out[1024])
extern "C" __global__ void kernel(const float *in, unsigned *next, float *out)
{
    __shared__ unsigned tile;

    for (;;) {
        if (threadIdx.x == 0)
            tile = atomicAdd(next, 1); //@ draw
        __syncthreads(); //- drawn: race @use, uninitialised @use, race @draw, race @out
        const unsigned mine = tile; //@ use
        __syncthreads(); //- used: race @draw, race @use
        if (mine >= 16)
            break;
        out[mine * 64 + threadIdx.x] = 2 * in[mine * 64 + threadIdx.x]; //@ out
    }
}
