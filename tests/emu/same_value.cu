/* Everybody writes the same to one flag: whoever is last, it holds what all have written. */
// evo: launch kernel<<<1, 128>>>(in f32 in[128], out u32 out[128])
extern "C" __global__ void kernel(const float *in, unsigned *out)
{
    __shared__ unsigned found;

    found = 0; //= own_value: race @own_value | found = threadIdx.x; //@ own_value
    __syncthreads(); //- reset: race @own_value
    if (in[threadIdx.x] > 0.5f)
        found = 1; //@ set
    __syncthreads(); //- seen: race @read, race @set
    out[threadIdx.x] = found; //@ read
}
