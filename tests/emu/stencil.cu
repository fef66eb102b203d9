/* A row with a halo in dynamic shared memory: exactly as many bytes as it takes. */
// evo: launch kernel<<<2, 64, 264>>>(in f32 in[130], out f32 out[128])
extern "C" __global__ void kernel(const float *in, float *out)
{
    extern __shared__ float row[];
    const int t = threadIdx.x, first = blockIdx.x * 64;

    row[t] = in[first + t]; //@ fill
    if (t < 2) //= no_halo: uninitialised @sum | if (t > 64) //= long_halo: out of bounds @halo | if (t < 3)
        row[64 + t] = in[first + 64 + t]; //@ halo
    __syncthreads(); //- barrier: race @sum, uninitialised @sum, race @fill
    out[first + t] = row[t] + row[t + 1] + row[t + 2]; //@ sum //= behind: out of bounds @sum | out[first + t] = row[t] + row[t + 1] + row[t + 3]; //= before: out of bounds @sum | out[first + t] = row[t - 1] + row[t] + row[t + 1];
}
