/* A transposition in shared memory, columns turned by their row so that no bank is met twice. */
// evo: launch kernel<<<1, 256>>>(in f32 in[32x32], out f32 out[32x32])
extern "C" __global__ void kernel(const float *in, float *out)
{
    __shared__ float tile[32 * 32];
    const int x = threadIdx.x % 32, y = threadIdx.x / 32;

    for (int row = y; row < 32; row += 8)
        tile[row * 32 + (x ^ row)] = in[row * 32 + x]; //@ write //= fold: race @write, uninitialised @read | tile[row * 32 + (x & 15)] = in[row * 32 + x];
    __syncthreads(); //- barrier: race @read, uninitialised @read, race @write
    for (int row = y; row < 32; row += 8)
        out[row * 32 + x] = tile[x * 32 + (row ^ x)]; //@ read
}
