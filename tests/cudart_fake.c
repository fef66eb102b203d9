/*
 * cudart_fake -- a CUDA runtime for one exported attention kernel, on host memory.
 *
 * `nvcc -DEVO_MAIN -cudart none kernel.cu cudart_fake.o` makes a program that runs without a GPU.
 * Its only kernel is the textbook's attention, computed from the arguments that the exported
 * launcher gave: strides, heads, lengths, where to write. So launcher and main of an exported file
 * are tested against each other by arithmetic of a third hand. As a shared library, libcuda.so.1, it
 * is the driver for an exported Python module. The environment says what the kernel was made for and
 * how it goes wrong:
 *
 *     FAKE=causal,bf16,lse    the kernel's static properties
 *     FAKE=maps               its first four arguments are tensor maps, which the driver's function
 *                             of this file made: addresses and strides are theirs
 *     FAKE=...,bad_row        one element of the last row is off by a half
 *     FAKE=...,bad_lse        one log-sum-exp is off by a half
 *     FAKE=...,nan            one element is not a number
 */
#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct dim3 {
    unsigned x, y, z;
};

/* As templates/include/attention.cuh has it. */
struct problem {
    int batch, heads, kv_heads, q_len, kv_len, head_dim;
    float scale;
    int reserved;
    long long q[3], k[3], v[3], o[3];
};

static int bf16, capturing; /* a graph's calls are for timing: they compute nothing */

static int asked(const char *word)
{
    const char *text = getenv("FAKE");

    return text != NULL && strstr(text, word) != NULL;
}

static double get(uint16_t bits)
{
    int exponent = bits >> 10 & 31, mantissa = bits & 1023;
    double sign = bits >> 15 ? -1 : 1;
    uint32_t wide = (uint32_t)bits << 16;
    float value;

    if (bf16) {
        memcpy(&value, &wide, sizeof value);
        return value;
    }
    if (exponent == 31) {
        return mantissa ? NAN : sign * INFINITY;
    }
    return sign * (exponent ? ldexp(1024 + mantissa, exponent - 25) : ldexp(mantissa, -24));
}

/* The element nearest to x, found by bisection: elements are ordered as their bits are. */
static uint16_t put(double x)
{
    uint16_t sign = signbit(x) ? 0x8000 : 0, low = 0, high = bf16 ? 0x7f80 : 0x7c00;

    if (isnan(x)) {
        return 0x7fff;
    }
    x = fabs(x);
    while (high - low > 1) {
        uint16_t middle = (uint16_t)((low + high) / 2);

        if (get(middle) <= x) {
            low = middle;
        } else {
            high = middle;
        }
    }
    return sign | (x - get(low) <= get(high) - x ? low : high);
}

static void attend(const struct problem *p, const uint16_t *q, const uint16_t *k, const uint16_t *v,
                   uint16_t *o, float *lse, int row)
{
    int keys = asked("causal") ? p->kv_len - p->q_len + row + 1 : p->kv_len;
    double *weight = calloc((size_t)p->kv_len, sizeof *weight), sum = 0, peak = -INFINITY;

    keys = keys < 0 ? 0 : keys;
    for (int j = 0; j < keys; j++) {
        for (int d = 0; d < p->head_dim; d++) {
            weight[j] += get(q[d]) * get(k[j * p->k[2] + d]) * (double)p->scale;
        }
        peak = weight[j] > peak ? weight[j] : peak;
    }
    for (int j = 0; j < keys; j++) {
        weight[j] = exp(weight[j] - peak);
        sum += weight[j];
    }
    for (int d = 0; d < p->head_dim; d++) {
        double x = 0;

        for (int j = 0; j < keys; j++) {
            x += weight[j] / sum * get(v[j * p->v[2] + d]);
        }
        o[d] = put(x);
    }
    if (asked("lse")) {
        *lse = keys > 0 ? (float)(peak + log(sum)) : -INFINITY;
    }
    free(weight);
}

/* What a tensor map is here, in the 128 bytes of the driver's. */
struct map {
    uint16_t *at;
    uint64_t sizes[4], strides[3];
    uint32_t box[4];
};

enum { FLOAT16 = 6, BFLOAT16 = 9, SWIZZLE_128B = 3, L2_128B = 2 }; /* as the driver counts them */

static int encode(void *place, int type, uint32_t rank, void *at, const uint64_t *sizes,
                  const uint64_t *strides, const uint32_t *box, const uint32_t *steps, int interleave,
                  int swizzle, int promotion, int fill)
{
    struct map map = {.at = at};
    int wrong = (uintptr_t)place % 64 != 0 || rank != 4 || interleave != 0 || fill != 0 ||
                type != (asked("bf16") ? BFLOAT16 : FLOAT16) || promotion != L2_128B ||
                swizzle < 0 || swizzle > SWIZZLE_128B || (uintptr_t)at % 16 != 0;

    for (int i = 0; i < 4 && !wrong; i++) {
        map.sizes[i] = sizes[i];
        map.box[i] = box[i];
        wrong = box[i] == 0 || box[i] > 256 || steps[i] != 1 || (i > 1 && box[i] != 1);
        if (i < 3) {
            map.strides[i] = strides[i];
            wrong = wrong || strides[i] % 16 != 0;
        }
    }
    wrong = wrong || (swizzle > 0 && box[0] * 2 > 16u << swizzle);
    memcpy(place, &map, sizeof map);
    return wrong;
}

int cudaGetDriverEntryPointByVersion(const char *symbol, void **function, unsigned version,
                                     unsigned long long flags, int *result)
{
    int (*found)() = encode;

    (void)flags;
    *result = strcmp(symbol, "cuTensorMapEncodeTiled") != 0 || version < 12000;
    memcpy(function, &found, sizeof found);
    return 0;
}

/* The tensor's address and strides are the map's; its sizes must be the problem's. */
static uint16_t *mapped(const struct map *map, const struct problem *p, int rows, int heads,
                        long long strides[3])
{
    for (int i = 0; i < 3; i++) {
        strides[i] = (long long)map->strides[2 - i] / 2;
    }
    if (map->sizes[0] != (uint64_t)p->head_dim || map->sizes[1] != (uint64_t)rows ||
        map->sizes[2] != (uint64_t)heads || map->sizes[3] != (uint64_t)p->batch) {
        abort();
    }
    return map->at;
}

int cudaLaunchKernel(const void *function, struct dim3 grid, struct dim3 block, void **args,
                     size_t smem, void *stream)
{
    struct problem whole = *(const struct problem *)args[5], *p = &whole;
    int maps = asked("maps");
    const uint16_t *q = maps ? mapped(args[0], p, p->q_len, p->heads, p->q) : *(uint16_t **)args[0],
                   *k = maps ? mapped(args[1], p, p->kv_len, p->kv_heads, p->k)
                             : *(uint16_t **)args[1],
                   *v = maps ? mapped(args[2], p, p->kv_len, p->kv_heads, p->v)
                             : *(uint16_t **)args[2];
    uint16_t *o = maps ? mapped(args[3], p, p->q_len, p->heads, p->o) : *(uint16_t **)args[3];
    uint16_t *last = NULL;
    float *lse = *(float **)args[4];

    (void)function, (void)smem, (void)stream;
    bf16 = asked("bf16");
    if (grid.y != (unsigned)p->heads || grid.z != (unsigned)p->batch || grid.x == 0 ||
        block.x == 0 || block.x > 1024 || (long long)grid.x * block.x < p->q_len) {
        return 9; /* cudaErrorInvalidConfiguration */
    }
    if (capturing) {
        return 0;
    }
    for (int batch = 0; batch < p->batch; batch++) {
        for (int head = 0; head < p->heads; head++) {
            int kv_head = head * p->kv_heads / p->heads;

            for (int row = 0; row < p->q_len; row++) {
                last = o + batch * p->o[0] + head * p->o[1] + row * p->o[2];
                attend(p, q + batch * p->q[0] + head * p->q[1] + row * p->q[2],
                       k + batch * p->k[0] + kv_head * p->k[1],
                       v + batch * p->v[0] + kv_head * p->v[1], last,
                       lse + ((long long)batch * p->heads + head) * p->q_len + row, row);
            }
        }
    }
    last[1] = asked("bad_row") ? put(get(last[1]) + 0.5) : asked("nan") ? 0x7fff : last[1];
    if (asked("bad_lse")) {
        lse[0] += 0.5f;
    }
    return 0;
}

/* The rest does what host memory and one thread ask for. */

int cudaMalloc(void **at, size_t size) { return (*at = malloc(size)) == NULL; }
int cudaMemcpy(void *to, const void *from, size_t size, int kind)
{
    (void)kind;
    memcpy(to, from, size);
    return 0;
}
int cudaMemset(void *at, int value, size_t size)
{
    memset(at, value, size);
    return 0;
}
int cudaMemsetAsync(void *at, int value, size_t size, void *stream)
{
    (void)stream;
    return cudaMemset(at, value, size);
}
int cudaGetDevice(int *device) { return *device = 0; }
int cudaDeviceGetAttribute(int *value, int attribute, int device)
{
    (void)attribute, (void)device;
    *value = 132;
    return 0;
}
int cudaFuncSetAttribute(const void *function, int attribute, int value)
{
    (void)function, (void)attribute;
    return value > 232448;
}
const char *cudaGetErrorString(int rc)
{
    static char text[32];

    snprintf(text, sizeof text, "error %d", rc);
    return text;
}
int cudaStreamCreate(void **stream) { return *stream = NULL, 0; }
int cudaStreamSynchronize(void *stream) { return (void)stream, 0; }
int cudaStreamBeginCapture(void *stream, int mode)
{
    (void)stream, (void)mode;
    capturing = 1;
    return 0;
}
int cudaStreamEndCapture(void *stream, void **graph)
{
    (void)stream;
    *graph = NULL;
    capturing = 0;
    return 0;
}
int cudaGraphInstantiate(void **exec, void *graph, unsigned long long flags)
{
    (void)graph, (void)flags;
    *exec = NULL;
    return 0;
}
int cudaGraphLaunch(void *exec, void *stream) { return (void)exec, (void)stream, 0; }
int cudaEventCreate(void **event) { return *event = NULL, 0; }
int cudaEventRecord(void *event, void *stream) { return (void)event, (void)stream, 0; }
int cudaEventElapsedTime_v2(float *ms, void *begin, void *end)
{
    (void)begin, (void)end;
    *ms = 1;
    return 0;
}
int cudaEventElapsedTime(float *ms, void *begin, void *end)
{
    return cudaEventElapsedTime_v2(ms, begin, end);
}

/* The driver, as a Python module asks it. */

int cuCtxGetCurrent(void **context) { return *context = NULL, 0; }
int cuDeviceGet(int *device, int ordinal) { return *device = ordinal, 0; }
int cuDevicePrimaryCtxRetain(void **context, int device)
{
    static int primary;

    *context = &primary;
    return device != 0;
}
int cuCtxSetCurrent(void *context) { return context == NULL; }
int cuModuleLoadData(void **module, const char *image)
{
    *module = NULL;
    return memcmp(image, "\177ELF", 4) != 0;
}
int cuModuleGetFunction(void **function, void *module, const char *name)
{
    (void)module;
    *function = NULL;
    return strcmp(name, "attention") != 0 && strcmp(name, "mapped") != 0;
}
int cuFuncSetAttribute(void *function, int attribute, int value)
{
    return attribute != 8 || cudaFuncSetAttribute(function, attribute, value);
}
int cuMemsetD8Async(void *at, unsigned char value, size_t size, void *stream)
{
    return cudaMemsetAsync(at, value, size, stream);
}
int cuTensorMapEncodeTiled(void *place, int type, uint32_t rank, void *at, const uint64_t *sizes,
                           const uint64_t *strides, const uint32_t *box, const uint32_t *steps,
                           int interleave, int swizzle, int promotion, int fill)
{
    return encode(place, type, rank, at, sizes, strides, box, steps, interleave, swizzle, promotion,
                  fill);
}
int cuLaunchKernel(void *function, unsigned grid_x, unsigned grid_y, unsigned grid_z,
                   unsigned block_x, unsigned block_y, unsigned block_z, unsigned smem, void *stream,
                   void **args, void **extra)
{
    struct dim3 grid = {grid_x, grid_y, grid_z}, block = {block_x, block_y, block_z};

    return block_y != 1 || block_z != 1 || extra != NULL
               ? 1
               : cudaLaunchKernel(function, grid, block, args, smem, stream);
}
int cuGetErrorString(int code, const char **text)
{
    *text = cudaGetErrorString(code);
    return 0;
}

/* What nvcc's own host code calls before main. */
void **__cudaRegisterFatBinary(void *binary) { return (void)binary, NULL; }
void __cudaRegisterFatBinaryEnd(void **handle) { (void)handle; }
void __cudaUnregisterFatBinary(void **handle) { (void)handle; }
void __cudaRegisterFunction(void **handle, const char *function, char *name, const char *device,
                            int threads, void *tid, void *bid, struct dim3 *block,
                            struct dim3 *grid, int *warp)
{
    (void)handle, (void)function, (void)name, (void)device, (void)threads, (void)tid, (void)bid,
        (void)block, (void)grid, (void)warp;
}

/* Behind `kernel<<<…>>>(…)`, which an exported file never says. */
int __cudaPopCallConfiguration(struct dim3 *grid, struct dim3 *block, size_t *smem, void *stream)
{
    (void)grid, (void)block, (void)smem, (void)stream;
    abort();
}
int __cudaLaunchKernel(void *kernel, struct dim3 grid, struct dim3 block, void **args, size_t smem,
                       void *stream)
{
    (void)kernel, (void)grid, (void)block, (void)args, (void)smem, (void)stream;
    abort();
}
int __cudaGetKernel(void **kernel, const void *function)
{
    (void)kernel, (void)function;
    abort();
}
