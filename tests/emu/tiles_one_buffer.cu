/* Tiles pass one after another through one buffer: a barrier before each is read, one behind. */
// evo: launch kernel<<<2, 128>>>(in f32 in[1024], out f32 out[1024])
extern "C" __global__ void kernel(const float *in, float *out)
{
    __shared__ float tile[128];
    const int t = threadIdx.x;

    for (int i = 0; i < 4; i++) {
        const int first = (blockIdx.x * 4 + i) * 128;
        tile[t] = in[first + t]; //@ write
        __syncthreads();         //- published: race @read, uninitialised @read, race @write
        out[first + t] = tile[127 - t]; //@ read
        __syncthreads(); //- freed: race @write, race @read
    }
}
