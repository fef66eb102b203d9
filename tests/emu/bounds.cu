/* One element a thread, the last block not full; each access one element too far on either side. */
// evo: launch kernel<<<2, 64>>>(in f32 in[100], in f32 more[104], data f32 own[100], out f32 out[100], 100)
extern "C" __global__ void kernel(const float *in, const float *more, float *own, float *out, int n)
{
    const int i = blockIdx.x * 64 + threadIdx.x;

    if (i < n) { //= no_guard: out of bounds @in, out of bounds @more, out of bounds @four, out of bounds @own, out of bounds @out | {
        const float a = in[i]; //@ in //= in_behind: out of bounds @in | const float a = in[i + 1]; //= in_before: out of bounds @in | const float a = in[i - 1];
        const float b = more[i + 4]; //@ more //= more_behind: out of bounds @more | const float b = more[i + 5]; //= more_before: out of bounds @more | const float b = more[i - 1];
        const float4 four = ((const float4 *)more)[i / 4]; //@ four //= four_odd: misaligned @four | const float4 four = *(const float4 *)(more + 1 + i / 4 * 4); //= four_behind: out of bounds @four | const float4 four = ((const float4 *)more)[i / 4 + 2];
        own[i] += a; //@ own //= own_behind: out of bounds @own | own[i + 1] += a; //= own_before: out of bounds @own | own[i - 1] += a; //= meets: race @own | own[i / 2] += a;
        out[i] = b + four.x + four.w; //@ out //= out_behind: out of bounds @out | out[i + 1] = b + four.x + four.w; //= out_before: out of bounds @out | out[i - 1] = b + four.x + four.w; //= read_out: uninitialised @out | out[i] += b + four.x + four.w; //= write_in: read only @out | ((float *)in)[i] = b + four.x + four.w;
    }
}
