/* A shuffle among the lanes that are there: its mask says which. */
// evo: launch kernel<<<1, 32>>>(in f32 in[32], out f32 out[32])
extern "C" __global__ void kernel(const float *in, float *out)
{
    const int lane = threadIdx.x;
    float value = in[lane];

    if (lane < 16) {
        value += __shfl_xor_sync(0x0000ffff, value, 8); //= full_mask: deadlock @together | value += __shfl_xor_sync(0xffffffff, value, 8); //@ full_mask
    } else {
        value *= in[lane ^ 1];
        __syncwarp(0xffff0000); //= not_in: barrier @not_in | __syncwarp(0x0000ffff); //@ not_in
    }
    __syncwarp(); //@ together
    out[lane] = value;
}
