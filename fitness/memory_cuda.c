/*
 * Device memory, kept a while when it is freed, host memory that the device reads by itself, and
 * the copies between them.
 */
#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "fitness/device_cuda.h"

enum {
    IDLE_BLOCKS_MAX = 64,       /* of device memory: the buffers of some five calls */
    PINNED_BYTES_MIN = 1 << 20, /* less is copied as fast as it is */
};
static const size_t idle_bytes_max = (size_t)4 << 30;
static const size_t pinned_bytes_max = (size_t)1 << 30; /* locked pages are nobody else's */

struct block {
    struct block *next;
    CUdeviceptr at;
    size_t bytes;
};

struct pinned {
    struct pinned *next;
    void *at;
    size_t bytes;
    bool used;
};

static struct {
    struct block *used, *idle; /* of device memory; idle: the one freed last comes first */
    struct pinned *pinned;     /* host memory that the device reads by itself, used or kept */
    size_t pinned_bytes;
} heap;

/* Lets go of idle blocks, those freed longest ago first, down to `count` and `bytes`. */
static void trim_idle(int count, size_t bytes)
{
    struct block **at = &heap.idle;
    int kept = 0;
    size_t kept_bytes = 0;

    while (*at != NULL) {
        struct block *block = *at;

        if (kept < count && kept_bytes + block->bytes <= bytes) {
            kept++;
            kept_bytes += block->bytes;
            at = &block->next;
            continue;
        }
        *at = block->next;
        if (!cuda_lost()) {
            cuMemFree(block->at);
        }
        free(block);
    }
}

static struct block *take_idle(size_t bytes)
{
    for (struct block **at = &heap.idle; *at != NULL; at = &(*at)->next) {
        struct block *block = *at;

        if (block->bytes == bytes) {
            *at = block->next;
            return block;
        }
    }
    return NULL;
}

/*
 * Candidates of one workload ask for the same sizes again and again, and the driver takes some
 * 100 us for each: what is freed is kept a while. Nobody may count on what is in new memory.
 */
enum device_status device_alloc(size_t bytes, device_ptr *at, struct err *err)
{
    struct block *block = take_idle(bytes);

    *at = 0;
    if (block == NULL) {
        CUdeviceptr memory = 0;
        CUresult code = cuMemAlloc(&memory, bytes);
        char what[64];

        if (code == CUDA_ERROR_OUT_OF_MEMORY && heap.idle != NULL) {
            trim_idle(0, 0);
            code = cuMemAlloc(&memory, bytes);
        }
        if (code != CUDA_SUCCESS) {
            snprintf(what, sizeof what, "cannot allocate %zu bytes", bytes);
            return cuda_status(code, err, what);
        }
        block = xmalloc(sizeof *block);
        *block = (struct block){.at = memory, .bytes = bytes};
    }
    block->next = heap.used;
    heap.used = block;
    *at = block->at;
    return DEVICE_OK;
}

void device_free(device_ptr at)
{
    struct block **from = &heap.used, *block;

    while (*from != NULL && (*from)->at != at) {
        from = &(*from)->next;
    }
    block = *from;
    if (block == NULL) {
        assert(at == 0 && "freed what was not allocated");
        return;
    }
    *from = block->next;
    block->next = heap.idle;
    heap.idle = block;
    trim_idle(IDLE_BLOCKS_MAX, idle_bytes_max);
}

/* Pinning costs as much as copying: what was pinned stays so, for the next of its size. */
void *device_host_alloc(size_t bytes)
{
    void *at = NULL;

    for (struct pinned *one = heap.pinned; one != NULL; one = one->next) {
        if (!one->used && one->bytes == bytes) {
            one->used = true;
            return one->at;
        }
    }
    if (bytes < PINNED_BYTES_MIN || heap.pinned_bytes + bytes > pinned_bytes_max || cuda_lost() ||
        cuMemHostAlloc(&at, bytes, 0) != CUDA_SUCCESS) {
        return xmalloc(bytes);
    }
    struct pinned *made = xmalloc(sizeof *made);
    *made = (struct pinned){.next = heap.pinned, .at = at, .bytes = bytes, .used = true};
    heap.pinned = made;
    heap.pinned_bytes += bytes;
    return at;
}

void device_host_free(void *at)
{
    for (struct pinned *one = heap.pinned; one != NULL; one = one->next) {
        if (one->at == at) {
            one->used = false;
            return;
        }
    }
    free(at);
}

static void unpin_all(void)
{
    while (heap.pinned != NULL) {
        struct pinned *one = heap.pinned;

        heap.pinned = one->next;
        if (!cuda_lost()) {
            cuMemFreeHost(one->at);
        }
        free(one);
    }
}

/* Copies go through the stream, so that they keep their place among fills and calls. */
enum device_status device_write(device_ptr to, const void *from, size_t bytes, struct err *err)
{
    CUresult code = cuMemcpyHtoDAsync(to, from, bytes, cuda_stream());

    if (code == CUDA_SUCCESS) {
        code = cuStreamSynchronize(cuda_stream());
    }
    return cuda_status(code, err, "cannot write to the device");
}

enum device_status device_send(device_ptr to, const void *from, size_t bytes, struct err *err)
{
    return cuda_status(cuMemcpyHtoDAsync(to, from, bytes, cuda_stream()), err,
                       "cannot write to the device");
}

enum device_status device_read(void *to, device_ptr from, size_t bytes, struct err *err)
{
    CUresult code = cuMemcpyDtoHAsync(to, from, bytes, cuda_stream());

    if (code == CUDA_SUCCESS) {
        code = cuStreamSynchronize(cuda_stream());
    }
    return cuda_status(code, err, "cannot read from the device");
}

enum device_status device_fill(device_ptr to, uint32_t pattern, size_t bytes, struct err *err)
{
    assert(bytes % 4 == 0);
    return cuda_status(cuMemsetD32Async(to, pattern, bytes / 4, cuda_stream()), err,
                       "cannot fill device memory");
}

/* After a sticky error the end of the process is what cleans up. */
void memory_close(void)
{
    trim_idle(0, 0);
    unpin_all();
    memset(&heap, 0, sizeof heap);
}
