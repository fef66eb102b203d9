/* Threads without work leave at once; the barrier behind waits for those that are left. */
// evo: launch kernel<<<1, 256>>>(in f32 in[100], out f32 out[100], 100)
extern "C" __global__ void kernel(const float *in, float *out, int n)
{
    __shared__ float tile[256];
    const int t = threadIdx.x;

    if (t >= n)
        return; //= wait: barrier @wait | __syncthreads(); //@ wait //- no_exit: out of bounds @read, out of bounds @write, uninitialised @sum
    tile[t] = in[t]; //@ read
    __syncthreads(); //- barrier: race @sum, uninitialised @sum, race @read
    out[t] = tile[n - 1 - t]; //@ sum //@ write
}
