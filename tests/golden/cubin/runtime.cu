// Needs a function that only the device runtime has.
extern "C" __global__ void runtime(void **out) { *out = malloc(8); }
