// Two kernels with different needs: what cubin.c must read out of their machine code.
__constant__ float table[4] = {1, 2, 3, 5};

extern "C" __global__ void __launch_bounds__(128) scale(const float *x, float *y, int n, float a)
{
    __shared__ float tile[256];
    int i = blockIdx.x * 128 + threadIdx.x;

    tile[threadIdx.x] = i < n ? x[i] : 0.0f;
    __syncthreads();
    if (i < n)
        y[i] = a * tile[127 - threadIdx.x] + table[i & 3];
}

extern "C" __global__ void fold(float *x, int n)
{
    float v[16]; // indexed at run time: lives on the stack

    for (int i = 0; i < 16; i++)
        v[i] = x[i * n];
    for (int i = 0; i < n; i++)
        v[i & 15] += v[(i * 7) & 15];
    x[0] = v[n & 15];
}
