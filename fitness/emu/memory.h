/*
 * memory -- what addresses mean, and a shadow that knows who touched them.
 *
 * Global memory is a set of buffers, each with its own guard: an address belongs to one buffer or
 * to none. Shared and local memory are windows of the generic address space, as on the hardware:
 *
 *     0x0000_0100_0000_0000 + …   global buffers, 1 GiB apart at least: no overrun is another's
 * byte 0x0000_7000_0000_0000       shared memory, a window of 16 MiB a block of the cluster (below)
 *     0x0000_7800_0000_0000       local memory, the thread's own
 *     0x0000_7a00_0000_0000       the kernel's arguments
 *
 * Every access goes through memory_load, memory_store, memory_atomic or, for the units that copy
 * on their own (async.c, tensor.c), memory_span. They check bounds and alignment always;
 * initialised bytes and races as the launch asks.
 *
 * Races are found by happens-before. Each warp has a clock; barriers, mbarriers, fences with
 * flags, warp-level syncs and async completions join clocks by memory_release, memory_acquire and
 * their kin, called by whoever implements them. Two accesses to a byte, one a write, by different
 * threads, neither ordered before the other, are a race, told with both places. Accesses of
 * different lanes of a warp are ordered only by warp-level synchronisation (or by being one
 * instruction: then two writes of different values race). Writing what is there already is no
 * race, whoever does it. Blocks of different clusters are ordered by flags alone (strong accesses
 * behind fences); what races between them is told when the launch is over, and not at all when it
 * was stopped, as then chance decides which blocks have run.
 */
#ifndef EVO_EMU_MEMORY_H
#define EVO_EMU_MEMORY_H

#include "fitness/emu/machine.h"

enum space { SPACE_GENERIC, SPACE_GLOBAL, SPACE_SHARED, SPACE_LOCAL, SPACE_PARAM, SPACE_CONST };

/* Who touches: ordinary instructions, or the asynchronous proxy (bulk copies, wgmma). */
enum proxy { PROXY_GENERIC, PROXY_ASYNC };

/*
 * The windows of shared memory: a generic address is MEMORY_SHARED + window * MEMORY_SHARED_WINDOW
 * + offset, and the address in the shared space is that less MEMORY_SHARED (32 bits). Window 0 is
 * the own block, window 1 + r the block of rank r in the cluster: mapa and getctarank are this
 * arithmetic. Where blocks come in clusters a variable's own address has its rank's window, as on
 * the hardware: who puts addresses into fields of fewer bits has to cut them.
 */
#define MEMORY_SHARED        UINT64_C(0x700000000000)
#define MEMORY_SHARED_WINDOW UINT64_C(0x1000000)
#define MEMORY_GLOBAL        UINT64_C(0x010000000000)
#define MEMORY_LOCAL         UINT64_C(0x780000000000) /* from 0 in the local space */
#define MEMORY_PARAM         UINT64_C(0x7a0000000000) /* read only */

struct memory *memory_new(void);
void memory_free(struct memory *memory);

/* ---- buffers of global memory (also the module's own variables) ---- */

enum buffer_access { BUFFER_READ_WRITE, BUFFER_READ_ONLY };

/* A new buffer; its bytes are uninitialised for the sanitizer. Returns its address. */
uint64_t memory_buffer(struct memory *memory, uint64_t bytes, const char *name);
/* What findings call it from now on. */
void memory_buffer_name(struct memory *memory, uint64_t address, const char *name);
void memory_buffer_free(struct memory *memory, uint64_t address);
void memory_buffer_access(struct memory *memory, uint64_t address, enum buffer_access access);
/* From the host: writing makes bytes initialised; both fail outside a buffer. */
bool memory_host_write(struct memory *memory, uint64_t address, const void *from, uint64_t bytes);
bool memory_host_read(struct memory *memory, uint64_t address, void *to, uint64_t bytes);
bool memory_host_fill(struct memory *memory, uint64_t address, uint32_t pattern, uint64_t bytes);
/* As memory_host_fill, but the sanitizer goes on taking the bytes for uninitialised: for poison. */
bool memory_host_poison(struct memory *memory, uint64_t address, uint32_t pattern, uint64_t bytes);

/*
 * Kernels may touch only this part of the buffer (at first: all of it); the host goes on seeing
 * the whole.
 */
void memory_buffer_window(struct memory *memory, uint64_t address, uint64_t offset, uint64_t bytes);
/* The sanitizer takes these bytes for uninitialised again; what they hold stays. */
bool memory_host_forget(struct memory *memory, uint64_t address, uint64_t bytes);
/* What shared memory holds at a block's start; 0 at first. Clocks begin at it as well: nobody may
 * rely on either. */
void memory_shared_garbage(struct memory *memory, uint32_t pattern);
uint32_t memory_garbage(const struct memory *memory);

/* A place of a block's shared memory, for findings: "tile+128", or "shared+16". */
struct shared_text {
    char text[64];
};
struct shared_text memory_shared_text(const struct machine *machine, uint64_t offset);

/* ---- a launch's life, called by run.c ---- */

void memory_launch_begin(struct memory *memory, const struct launch *launch);
void memory_launch_end(struct memory *memory);
void memory_block_begin(struct block *block); /* makes block->shared and its shadow */
void memory_block_end(struct block *block);
/* Before its blocks end, all its threads having ended: who touched another block's shared memory
 * must have done so before that block's end. */
void memory_cluster_end(const struct block *first);
void memory_warp_begin(struct warp *warp);
void memory_warp_end(struct warp *warp);

/* ---- accesses of a warp ---- */

/*
 * Each active lane reads (writes) op->vector elements of op->bytes at address[lane] +
 * op->immediate; elements go to (come from) op->dst (op->src + first_src) slots. Narrow elements
 * are zero-extended here; sign extension is the op's own. op->mode2 is the bytes of one register
 * (2, 4, 8, 16); 0: as the element, but at least 2. A slot of SLOT_NONE is a sink. Lanes that a
 * finding concerns read zero and write nothing. Addresses of the shared and local spaces are 32
 * bits: they wrap. Returns STEP_NEXT or STEP_FAULT.
 */
enum step memory_load(struct warp *warp, const struct op *op, lanes active,
                      const uint64_t address[LANES], enum space space);
enum step memory_store(struct warp *warp, const struct op *op, lanes active,
                       const uint64_t address[LANES], enum space space, int first_src);
/*
 * One lane's read-modify-write of `bytes` (2, 4, 8, 16): `change` maps old to new; *old is what
 * was there.
 */
typedef void memory_change(void *context, const void *old, void *new);
enum step memory_atomic(struct warp *warp, const struct op *op, int lane, uint64_t address,
                        enum space space, unsigned bytes, memory_change *change, void *context,
                        void *old);

/*
 * A host pointer to `bytes` at an address, after all checks, for units that move data themselves;
 * NULL after a finding (then *step is what to return). `write`, `proxy`: for the shadow. `lane`
 * -1: the whole warp.
 */
uint8_t *memory_span(struct warp *warp, const struct op *op, int lane, uint64_t address,
                     enum space space, uint64_t bytes, bool write, enum proxy proxy,
                     enum step *step);
/* As memory_span for reading, of bytes that are read and not all used: some may be unwritten. */
uint8_t *memory_reach(struct warp *warp, const struct op *op, int lane, uint64_t address,
                      enum space space, uint64_t bytes, enum proxy proxy, enum step *step);

/* ---- order: who may see whose accesses ---- */

/*
 * A release puts the warp's clock into `*clock` (made on first use, in the block's lifetime); an
 * acquire takes it over. Named barriers and mbarriers are each two such clocks, one for the
 * generations (phases) of each parity: with one alone, a warp that leaves a barrier late would
 * take over what others released into the next generation, and races between the two would be
 * missed. Exactly the lanes of `active` release and acquire: when one lane waits for all, the
 * others know nothing before a memory_warp_sync.
 */
struct clock;
void memory_release(struct warp *warp, lanes active, struct clock **clock);
void memory_acquire(struct warp *warp, lanes active, struct clock *clock);
/*
 * Adds what `from` (NULL: nothing) has seen to `*into`: a phase of an mbarrier that ends
 * (async.c).
 */
void memory_clock_join(struct block *block, struct clock **into, const struct clock *from);
/* A warp-level synchronisation: lanes of the set are ordered from here on. */
void memory_warp_sync(struct warp *warp, lanes set);
/* fence.proxy.async: generic writes so far by these lanes may be touched by the async proxy. */
void memory_proxy_fence(struct warp *warp, lanes active);
/*
 * A copy on its way: from begin to land nobody may touch its destination (`write`), nobody may
 * change its source (not `write`). `lane` is the thread that asked; -1: the warp as one, which any
 * of its lanes can then pass on. Landing makes a destination initialised. With `clock` (of the
 * mbarrier that counts the copy) those are ordered behind it who acquire that clock; without, it
 * is as if the lane (warp) had made the access itself at the time of landing (cp.async at its
 * wait, a source that has been read). While bytes are in flight, memory_span by the same op of the
 * same warp is taken for the copy itself.
 */
void memory_flight_begin(struct warp *warp, const struct op *op, int lane, uint64_t address,
                         enum space space, uint64_t bytes, bool write, enum proxy proxy);
void memory_flight_land(struct warp *warp, const struct op *op, int lane, uint64_t address,
                        enum space space, uint64_t bytes, bool write, enum proxy proxy,
                        struct clock **clock);
/*
 * fence, membar: what these lanes have done and seen may be released by a relaxed write or atomic
 * from now on. Fences and strong accesses (op->access) order threads by themselves: memory_load,
 * memory_store and memory_atomic keep a clock for every address that a strong write or an atomic
 * touched. A strong read or an atomic acquires at once, fence behind it or not (NVIDIA's own
 * samples leave it out); a release without its fence is none. `gpu`: scope gpu or sys; false: cta
 * or cluster.
 */
void memory_fence(struct warp *warp, lanes active, bool gpu);

/* Registers: marks a slot written; checks that sources were (SANITIZE_INITIALISED). */
void memory_register_written(struct warp *warp, uint32_t slot, lanes active);
bool memory_register_known(struct warp *warp, uint32_t slot, lanes active);

#endif
