/*
 * The backend's own kernels: one that holds the stream, one that fills shared memory.
 */
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "fitness/device_cuda.h"
#include "fitness/stamps.h"

enum {
    SCRUB_THREADS = 1024,
    SCRUB_LIMIT_NS = 1000 * 1000,
};

/*
 * The backend's own kernels, in PTX so that the driver can compile them for any device.
 *
 * evo_own_hold spins until the word at `flag` reaches `ticket`, or the limit is over.
 *
 * evo_own_scrub fills a block's dynamic shared memory: the word at byte offset i becomes
 * pattern + i * 0x9E3779B1. A block asks for all the memory that a block may have, so no two share
 * a multiprocessor, and each waits until all have come: hence every multiprocessor gets exactly
 * one.
 */
static const char own_ptx[] =
    ".version 7.0\n"
    ".target sm_70\n"
    ".address_size 64\n"
    ".visible .entry " CUDA_HOLD_NAME "(.param .u64 flag, .param .u32 ticket,\n"
    "                               .param .u64 limit_ns)\n"
    "{\n"
    "    .reg .pred %p;\n"
    "    .reg .b32 %seen, %want, %ahead;\n"
    "    .reg .b64 %word, %start, %now, %spent, %limit;\n"
    "    ld.param.u64 %word, [flag];\n"
    "    ld.param.u32 %want, [ticket];\n"
    "    ld.param.u64 %limit, [limit_ns];\n"
    "    mov.u64 %start, %globaltimer;\n"
    "WAIT:\n"
    "    ld.acquire.sys.global.u32 %seen, [%word];\n"
    "    sub.s32 %ahead, %seen, %want;\n"
    "    setp.ge.s32 %p, %ahead, 0;\n"
    "    @%p bra DONE;\n"
    "    nanosleep.u32 200;\n"
    "    mov.u64 %now, %globaltimer;\n"
    "    sub.u64 %spent, %now, %start;\n"
    "    setp.lt.u64 %p, %spent, %limit;\n"
    "    @%p bra WAIT;\n"
    "DONE:\n"
    "    ret;\n"
    "}\n"
    ".visible .entry " CUDA_STAMP_NAME "(.param .u64 to, .param .u64 key, .param .u32 which)\n"
    "{\n"
    "    .reg .pred %p;\n"
    "    .reg .b32 %sm, %which, %number;\n"
    "    .reg .b64 %to, %key, %cycles, %now, %x, %y;\n"
    "    mov.u64 %cycles, %clock64;\n"
    "    mov.u64 %now, %globaltimer;\n"
    "    mov.u32 %sm, %smid;\n"
    "    setp.ge.u32 %p, %sm, 512;\n"
    "    @%p ret;\n"
    "    ld.param.u64 %to, [to];\n"
    "    ld.param.u64 %key, [key];\n"
    "    ld.param.u32 %which, [which];\n"
    "    xor.b64 %x, %cycles, %key;\n"
    "    shr.u64 %y, %x, 30;\n"
    "    xor.b64 %x, %x, %y;\n"
    "    mul.lo.u64 %x, %x, 0xbf58476d1ce4e5b9;\n"
    "    xor.b64 %x, %x, %now;\n"
    "    shr.u64 %y, %x, 27;\n"
    "    xor.b64 %x, %x, %y;\n"
    "    mul.lo.u64 %x, %x, 0x94d049bb133111eb;\n"
    "    mad.lo.u32 %number, %sm, 2, %which;\n"
    "    cvt.u64.u32 %y, %number;\n"
    "    add.u64 %x, %x, %y;\n"
    "    shr.u64 %y, %x, 31;\n"
    "    xor.b64 %x, %x, %y;\n"
    "    mul.lo.u64 %x, %x, 0xbf58476d1ce4e5b9;\n"
    "    xor.b64 %x, %x, %key;\n"
    "    shr.u64 %y, %x, 29;\n"
    "    xor.b64 %x, %x, %y;\n"
    "    mul.lo.u64 %x, %x, 0x94d049bb133111eb;\n"
    "    shr.u64 %y, %x, 32;\n"
    "    xor.b64 %x, %x, %y;\n"
    "    mad.lo.u32 %number, %which, 512, %sm;\n"
    "    mad.wide.u32 %to, %number, 24, %to;\n"
    "    st.global.u64 [%to], %cycles;\n"
    "    st.global.u64 [%to+8], %now;\n"
    "    st.global.u64 [%to+16], %x;\n"
    "    ret;\n"
    "}\n"
    ".extern .shared .align 16 .b8 evo_own_shared[];\n"
    ".visible .entry evo_own_scrub(.param .u32 pattern, .param .u32 bytes,\n"
    "                              .param .u64 arrived, .param .u64 limit_ns)\n"
    "{\n"
    "    .reg .pred %p;\n"
    "    .reg .b32 %pattern, %bytes, %thread, %step, %at, %word, %address, %base, %blocks, %seen;\n"
    "    .reg .b64 %arrived, %start, %now, %spent, %limit;\n"
    "    ld.param.u32 %pattern, [pattern];\n"
    "    ld.param.u32 %bytes, [bytes];\n"
    "    ld.param.u64 %arrived, [arrived];\n"
    "    ld.param.u64 %limit, [limit_ns];\n"
    "    mov.u32 %thread, %tid.x;\n"
    "    mov.u32 %step, %ntid.x;\n"
    "    mov.u32 %blocks, %nctaid.x;\n"
    "    shl.b32 %step, %step, 2;\n"
    "    shl.b32 %at, %thread, 2;\n"
    "    mov.u32 %base, evo_own_shared;\n"
    "FILL:\n"
    "    setp.ge.u32 %p, %at, %bytes;\n"
    "    @%p bra FILLED;\n"
    "    mad.lo.u32 %word, %at, 0x9E3779B1, %pattern;\n"
    "    add.u32 %address, %base, %at;\n"
    "    st.volatile.shared.u32 [%address], %word;\n"
    "    add.u32 %at, %at, %step;\n"
    "    bra FILL;\n"
    "FILLED:\n"
    "    bar.sync 0;\n"
    "    setp.ne.u32 %p, %thread, 0;\n"
    "    @%p bra DONE;\n"
    "    red.global.add.u32 [%arrived], 1;\n"
    "    mov.u64 %start, %globaltimer;\n"
    "WAIT:\n"
    "    ld.relaxed.gpu.global.u32 %seen, [%arrived];\n"
    "    setp.ge.u32 %p, %seen, %blocks;\n"
    "    @%p bra DONE;\n"
    "    mov.u64 %now, %globaltimer;\n"
    "    sub.u64 %spent, %now, %start;\n"
    "    setp.lt.u64 %p, %spent, %limit;\n"
    "    @%p bra WAIT;\n"
    "DONE:\n"
    "    ret;\n"
    "}\n";

static struct {
    void *cubin;
    CUmodule module;
    CUfunction hold, stamp, scrub;
    int sms, smem_max;
    uint32_t *flag; /* host memory that the device sees */
    struct stamps *stamps; /* the same */
    uint64_t stamp_key;
    CUdeviceptr flag_device, stamps_device, arrived;
    uint32_t ticket;
} own;

static bool succeeded(CUresult code, struct err *err, const char *what)
{
    return cuda_status(code, err, what) == DEVICE_OK;
}

/* Compiles the backend's own kernels, once; cuda_own_reload loads the result as often as needed. */
static bool own_compile(struct err *err)
{
    CUlinkState link = NULL;
    void *cubin;
    size_t size;
    bool ok =
        succeeded(cuLinkCreate(0, NULL, NULL, &link), err, "cannot start the driver's linker") &&
        succeeded(cuLinkAddData(link, CU_JIT_INPUT_PTX, (void *)own_ptx, sizeof own_ptx, "evo_own",
                                0, NULL, NULL),
                  err, "cannot compile the judge's own kernels") &&
        succeeded(cuLinkComplete(link, &cubin, &size), err, "cannot link the judge's own kernels");

    if (ok) {
        own.cubin = memcpy(xmalloc(size), cubin, size);
    }
    if (link != NULL) {
        cuLinkDestroy(link);
    }
    return ok;
}

bool own_open(int sms, int smem_max, struct err *err)
{
    const unsigned mapped = CU_MEMHOSTALLOC_DEVICEMAP;
    void *flag = NULL, *stamps = NULL;

    own.sms = sms;
    own.smem_max = smem_max;
    if (!succeeded(cuMemAlloc(&own.arrived, sizeof(uint32_t)), err, "cannot allocate") ||
        !succeeded(cuMemHostAlloc(&flag, sizeof(uint32_t), mapped), err,
                   "cannot share memory with the device") ||
        !succeeded(cuMemHostAlloc(&stamps, sizeof(struct stamps), mapped), err,
                   "cannot share memory with the device")) {
        return false;
    }
    own.flag = flag;
    *own.flag = 0;
    own.stamps = stamps;
    return succeeded(cuMemHostGetDevicePointer(&own.flag_device, flag, 0), err,
                     "cannot share memory with the device") &&
           succeeded(cuMemHostGetDevicePointer(&own.stamps_device, stamps, 0), err,
                     "cannot share memory with the device") &&
           own_compile(err);
}

void own_close(void)
{
    if (own.module != NULL) {
        cuModuleUnload(own.module);
    }
    if (own.flag != NULL) {
        cuMemFreeHost(own.flag);
    }
    if (own.stamps != NULL) {
        cuMemFreeHost(own.stamps);
    }
    if (own.arrived != 0) {
        cuMemFree(own.arrived);
    }
    free(own.cubin);
    memset(&own, 0, sizeof own);
}

enum device_status cuda_own_reload(struct err *err)
{
    const char *what = "cannot load the judge's own kernels";
    CUresult code;

    if (own.module != NULL) {
        cuModuleUnload(own.module);
        own.module = NULL;
    }
    code = cuModuleLoadData(&own.module, own.cubin);
    if (code == CUDA_SUCCESS) {
        code = cuModuleGetFunction(&own.hold, own.module, CUDA_HOLD_NAME);
    }
    if (code == CUDA_SUCCESS) {
        code = cuModuleGetFunction(&own.stamp, own.module, CUDA_STAMP_NAME);
    }
    if (code == CUDA_SUCCESS) {
        code = cuModuleGetFunction(&own.scrub, own.module, "evo_own_scrub");
    }
    if (code == CUDA_SUCCESS) {
        code = cuFuncSetAttribute(own.scrub, CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES,
                                  own.smem_max);
    }
    return cuda_status(code, err, what) == DEVICE_OK ? DEVICE_OK : DEVICE_LOST;
}

enum device_status cuda_hold(struct err *err)
{
    uint64_t limit_ns = CUDA_HOLD_LIMIT_NS;
    uint32_t ticket = ++own.ticket;
    void *args[] = {&own.flag_device, &ticket, &limit_ns};

    return cuda_launch(own.hold, (uint32_t[3]){1, 1, 1}, 1, 0, args, err, "cannot hold the stream");
}

void cuda_release(void) { __atomic_store_n(own.flag, own.ticket, __ATOMIC_RELEASE); }

/* A block for each multiprocessor: all are idle then, and each gets one. */
enum device_status cuda_stamp(int which, struct err *err)
{
    void *args[] = {&own.stamps_device, &own.stamp_key, &which};

    if (which == 0) {
        memset(own.stamps, 0, sizeof *own.stamps);
        if (getrandom(&own.stamp_key, sizeof own.stamp_key, 0) != sizeof own.stamp_key) {
            err_sys(err, "cannot draw a key");
            return DEVICE_LOST;
        }
    }
    return cuda_launch(own.stamp, (uint32_t[3]){(uint32_t)own.sms, 1, 1}, 1, 0, args, err,
                       "cannot stamp a batch");
}

double cuda_stamped(void) { return stamps_mhz(own.stamps, own.sms, own.stamp_key); }

enum device_status device_scrub_shared(uint32_t pattern, struct err *err)
{
    uint64_t limit_ns = SCRUB_LIMIT_NS;
    uint32_t bytes = (uint32_t)own.smem_max;
    void *args[] = {&pattern, &bytes, &own.arrived, &limit_ns};
    CUresult code = cuMemsetD32Async(own.arrived, 0, 1, cuda_stream());

    if (code != CUDA_SUCCESS) {
        return cuda_status(code, err, "cannot scrub shared memory");
    }
    return cuda_launch(own.scrub, (uint32_t[3]){(uint32_t)own.sms, 1, 1}, SCRUB_THREADS, bytes,
                       args, err, "cannot scrub shared memory");
}
