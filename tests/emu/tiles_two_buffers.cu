/* With two buffers one barrier a tile is enough: who writes a buffer knows all have left it. */
// evo: launch kernel<<<1, 128>>>(in f32 in[1024], out f32 out[1024])
extern "C" __global__ void kernel(const float *in, float *out)
{
    __shared__ float tiles[2][128];
    const int t = threadIdx.x;

    for (int i = 0; i < 8; i++) {
        float *tile = tiles[i % 2]; //= one_buffer: race @write, race @read | float *tile = tiles[0];
        tile[t] = in[i * 128 + t];  //@ write
        __syncthreads();            //- barrier: race @read, uninitialised @read, race @write
        out[i * 128 + t] = tile[127 - t]; //@ read
    }
}
