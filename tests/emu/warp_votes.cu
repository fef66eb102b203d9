/* Everything lanes can do together: votes, matches, an elected writer, a sum by shuffles. */
// evo: launch kernel<<<2, 128>>>(in u32 in[256], out u32 out[256])
extern "C" __global__ void kernel(const unsigned *in, unsigned *out)
{
    const unsigned lane = threadIdx.x % 32, i = blockIdx.x * 128 + threadIdx.x;
    const unsigned value = in[i] % 5, same = __match_any_sync(0xffffffff, value);
    const unsigned odd = __ballot_sync(0xffffffff, value & 1);
    unsigned sum = value;

    if (value & 1) /* those lanes alone, and they say so */
        sum += __popc(__activemask() & odd) + __shfl_sync(odd, value, __ffs(odd) - 1);
    __syncwarp();
    for (int step = 1; step < 32; step *= 2) {
        const unsigned other = __shfl_up_sync(0xffffffff, sum, step);
        if (lane >= step)
            sum += other;
    }
    if (lane == __ffs(same) - 1)
        sum += __reduce_add_sync(__activemask(), value);
    out[i] = sum;
}
