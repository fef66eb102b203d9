/* The first block publishes a value for the others in global memory: fence, then flag. */
// evo: launch kernel<<<2, 32>>>(in f32 in[32], data f32 box[32], zero u32 flag[1], out f32 out[64])
extern "C" __global__ void kernel(const float *in, float *box, unsigned *flag, float *out)
{
    const int lane = threadIdx.x;

    if (blockIdx.x == 0) {
        box[lane] = in[lane]; //@ write
        __threadfence(); //- fence: race @read //= narrow: race @read | __threadfence_block();
        __syncwarp(); //- warp: race @read
        if (lane == 0)
            atomicExch(flag, 1);
    } else {
        while (atomicAdd(flag, 0) == 0) //- no_spin: race @read
            ;
        out[lane] = box[31 - lane]; //@ read
    }
}
