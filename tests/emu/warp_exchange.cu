/* Lanes of one warp hand values on through shared memory: __syncwarp between, no block barrier. */
// evo: launch kernel<<<2, 64>>>(in f32 in[128], out f32 out[128])
extern "C" __global__ void kernel(const float *in, float *out)
{
    __shared__ float rows[2][32];
    const int lane = threadIdx.x % 32, i = blockIdx.x * 64 + threadIdx.x;
    float *row = rows[threadIdx.x / 32]; //= one_row: race @write, race @again | float *row = rows[0];

    row[lane] = in[i]; //@ write
    __syncwarp();      //- first: race @read
    const float other = row[lane ^ 5]; //@ read
    __syncwarp();                      //- second: race @again
    row[lane] = other + 1;             //@ again
    __syncwarp();                      //= half_mask: barrier @half_mask, race @last | __syncwarp(0x0000ffff); //@ half_mask
    out[i] = row[31 - lane]; //@ last
}
