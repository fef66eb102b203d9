// Remembers how often it ran: a candidate may not.
__device__ int count;
__device__ float seen[100] = {1};

extern "C" __global__ void remember(int *out) { *out = atomicAdd(&count, 1) + seen[*out % 100]; }
