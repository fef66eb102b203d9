/* One warp publishes, another spins on a flag: a fence on the way out, a strong read on the way in. */
// evo: launch kernel<<<1, 64>>>(in f32 in[32], out f32 out[32])
extern "C" __global__ void kernel(const float *in, float *out)
{
    __shared__ float values[32];
    __shared__ unsigned flag;
    const int lane = threadIdx.x % 32;

    if (threadIdx.x == 0)
        flag = 0; //@ zero
    __syncthreads(); //- zeroed: race @spin
    if (threadIdx.x < 32) {
        values[lane] = in[lane]; //@ write
        __threadfence_block(); //- fence: race @read
        __syncwarp(); //- warp: race @read
        if (lane == 0)
            atomicExch(&flag, 1); //@ set
    } else {
        while (*(volatile unsigned *)&flag == 0) //@ spin //- no_spin: race @write, uninitialised @read
            ;
        out[lane] = values[31 - lane]; //@ read
    }
}
