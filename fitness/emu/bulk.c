/*
 * bulk -- copies of many bytes by the asynchronous proxy, plain or of boxes of tensors.
 *
 * A copy is a box of shared memory and the segments of consecutive bytes it comes from or goes to:
 * one for a plain copy, one a row inside the tensor for a box. Starting it checks everything and
 * marks both sides as in flight; landing moves the data. Sources are read when the copy lands.
 *
 * A box lies in shared memory row by row, dimension 0 innermost, without gaps. With a swizzle of
 * 32, 64 or 128 bytes a row is that long, and the number of a 16-byte chunk (address bits 4 and up)
 * is changed by exclusive or with as many bits of the address from bit 7 on: by the address in
 * shared memory, wherever the box begins. Elements outside of the tensor are loaded as zero and not
 * stored; the mbarrier counts the bytes of the whole box.
 */
#include "fitness/emu/async.h"
#include "fitness/emu/profile.h"
#include "fitness/emu/tensormap.h"

#include <string.h>

#include "base/arena.h"

enum { CHUNK = 16, TENSOR_ALIGN = 128 };

/* ---- reductions ---- */

struct reduction {
    const char *op, *type;
    unsigned bytes;
    memory_change *change; /* context is the operand */
};

#define REDUCE(NAME, TYPE, EXPRESSION)                                                             \
    static void NAME(void *context, const void *old, void *new)                                    \
    {                                                                                              \
        TYPE a, b, r;                                                                              \
        memcpy(&a, old, sizeof(a));                                                                \
        memcpy(&b, context, sizeof(b));                                                            \
        r = (TYPE)(EXPRESSION);                                                                    \
        memcpy(new, &r, sizeof(r));                                                                \
    }

REDUCE(add_32, uint32_t, a + b)
REDUCE(add_64, uint64_t, a + b)
REDUCE(add_f32, float, a + b)
REDUCE(add_f64, double, a + b)
REDUCE(min_u32, uint32_t, a < b ? a : b)
REDUCE(max_u32, uint32_t, a > b ? a : b)
REDUCE(min_s32, int32_t, a < b ? a : b)
REDUCE(max_s32, int32_t, a > b ? a : b)
REDUCE(min_u64, uint64_t, a < b ? a : b)
REDUCE(max_u64, uint64_t, a > b ? a : b)
REDUCE(min_s64, int64_t, a < b ? a : b)
REDUCE(max_s64, int64_t, a > b ? a : b)
REDUCE(inc_u32, uint32_t, a >= b ? 0 : a + 1)
REDUCE(dec_u32, uint32_t, a == 0 || a > b ? b : a - 1)
REDUCE(and_32, uint32_t, a &b)
REDUCE(or_32, uint32_t, a | b)
REDUCE(xor_32, uint32_t, a ^ b)
REDUCE(and_64, uint64_t, a &b)
REDUCE(or_64, uint64_t, a | b)
REDUCE(xor_64, uint64_t, a ^ b)

static const struct reduction reductions[] = {
    {"add", "u32", 4, add_32},  {"add", "s32", 4, add_32},  {"add", "u64", 8, add_64},
    {"add", "s64", 8, add_64},  {"add", "f32", 4, add_f32}, {"add", "f64", 8, add_f64},
    {"min", "u32", 4, min_u32}, {"max", "u32", 4, max_u32}, {"min", "s32", 4, min_s32},
    {"max", "s32", 4, max_s32}, {"min", "u64", 8, min_u64}, {"max", "u64", 8, max_u64},
    {"min", "s64", 8, min_s64}, {"max", "s64", 8, max_s64}, {"inc", "u32", 4, inc_u32},
    {"dec", "u32", 4, dec_u32}, {"and", "b32", 4, and_32},  {"or", "b32", 4, or_32},
    {"xor", "b32", 4, xor_32},  {"and", "b64", 8, and_64},  {"or", "b64", 8, or_64},
    {"xor", "b64", 8, xor_64},  {"and", "u32", 4, and_32},  {"or", "u32", 4, or_32},
    {"xor", "u32", 4, xor_32},  {"and", "u64", 8, and_64},  {"or", "u64", 8, or_64},
    {"xor", "u64", 8, xor_64},
};

const struct reduction *reduction_find(const char *op, const char *type)
{
    for (size_t i = 0; i < sizeof(reductions) / sizeof(reductions[0]); i++) {
        if (strcmp(reductions[i].op, op) == 0 && strcmp(reductions[i].type, type) == 0) {
            return &reductions[i];
        }
    }
    return NULL;
}

/* ---- moving data ---- */

/* Between the box in shared memory and its unswizzled form. */
static void box_move(const struct work *work, bool out)
{
    uint8_t *shared = work->block->shared;
    uint32_t mask = (1u << work->swizzle) - 1;

    if (work->swizzle == 0) {
        memcpy(out ? work->data : shared + work->offset, out ? shared + work->offset : work->data,
               work->bytes);
        return;
    }
    for (uint32_t at = 0; at < work->bytes; at += CHUNK) {
        uint32_t offset = work->offset + at;

        offset ^= (offset >> 7 & mask) << 4;
        memcpy(out ? work->data + at : shared + offset, out ? shared + offset : work->data + at,
               CHUNK);
    }
}

static enum step reduce_elements(const struct work *work, uint64_t address, const uint8_t *data,
                                 uint32_t bytes, enum space space)
{
    uint64_t operand, old;

    for (uint32_t i = 0; i < bytes; i += work->reduction->bytes) {
        memcpy(&operand, data + i, work->reduction->bytes);
        enum step step =
            memory_atomic(work->warp, work->op, work->lane, address + i, space,
                          work->reduction->bytes, work->reduction->change, &operand, &old);
        if (step == STEP_FAULT) {
            return step;
        }
    }
    return STEP_NEXT;
}

static uint64_t box_address(const struct work *work)
{
    return shared_address(work->warp, work->block, work->offset);
}

enum step bulk_load_land(struct work *work)
{
    enum step step = STEP_NEXT;
    struct mbarrier *barrier = mbarrier_find(work->block, work->barrier);
    struct clock **clock = barrier == NULL ? NULL : &barrier->running;

    work->data = xcalloc(1, work->bytes); /* zero outside of the tensor */
    for (int i = 0; i < work->segment_count; i++) {
        const struct segment *segment = &work->segments[i];

        memcpy(work->data + segment->at, segment->host, segment->bytes);
        memory_flight_land(work->warp, work->op, work->lane, segment->address, work->space,
                           segment->bytes, false, PROXY_ASYNC, clock);
    }
    if (work->reduction != NULL) {
        step = reduce_elements(work, box_address(work), work->data, work->bytes, SPACE_GENERIC);
        if (clock != NULL) {
            memory_release(work->warp, UINT32_C(1) << work->lane, clock);
        }
    } else {
        box_move(work, false);
        memory_flight_land(work->warp, work->op, work->lane, box_address(work), SPACE_GENERIC,
                           work->bytes, true, PROXY_ASYNC, clock);
    }
    return step == STEP_FAULT ? step : mbarrier_complete_late(work);
}

void bulk_store_read(struct work *work)
{
    if (!work->read) {
        work->read = true;
        work->data = xmalloc(work->bytes);
        box_move(work, true);
        memory_flight_land(work->warp, work->op, work->lane, box_address(work), SPACE_GENERIC,
                           work->bytes, false, PROXY_ASYNC, NULL);
    }
}

enum step bulk_store_write(struct work *work)
{
    bulk_store_read(work);
    for (int i = 0; i < work->segment_count; i++) {
        const struct segment *segment = &work->segments[i];

        if (work->reduction != NULL) {
            enum step step = reduce_elements(work, segment->address, work->data + segment->at,
                                             segment->bytes, work->space);
            if (step == STEP_FAULT) {
                return step;
            }
            continue;
        }
        memcpy(segment->host, work->data + segment->at, segment->bytes);
        memory_flight_land(work->warp, work->op, work->lane, segment->address, work->space,
                           segment->bytes, true, PROXY_ASYNC, NULL);
    }
    return STEP_NEXT;
}

/* ---- starting a copy ---- */

/* For the profile a copy is a warp's accesses of a chunk a lane. */
static void segment_profile(const struct work *work, const struct segment *segment, bool write)
{
    for (uint32_t at = 0; at < segment->bytes; at += LANES * CHUNK) {
        uint32_t chunks = (segment->bytes - at + CHUNK - 1) / CHUNK;
        uint64_t address[LANES];
        lanes active = chunks >= LANES ? UINT32_MAX : (UINT32_C(1) << chunks) - 1;

        FOR_LANES(lane, active) { address[lane] = segment->address + at + (uint32_t)lane * CHUNK; }
        profile_access(work->warp, work->op, active, address, work->space, CHUNK, write);
    }
}

/* Checks the segments for the copy, finds their bytes, and marks them as in flight. */
static enum step segments_begin(struct work *work, bool write)
{
    enum step step = STEP_NEXT;
    int kept = 0;

    for (int i = 0; i < work->segment_count; i++) {
        struct segment segment = work->segments[i];

        segment.host = memory_span(work->warp, work->op, work->lane, segment.address, work->space,
                                   segment.bytes, write, PROXY_ASYNC, &step);
        if (step == STEP_FAULT) {
            return step;
        }
        if (segment.host != NULL) { /* else a finding has said so, and the copy goes without it */
            memory_flight_begin(work->warp, work->op, work->lane, segment.address, work->space,
                                segment.bytes, write, PROXY_ASYNC);
            if (work->warp->block->profile != NULL) {
                segment_profile(work, &segment, write);
            }
            work->segments[kept++] = segment;
        }
    }
    work->segment_count = kept;
    return STEP_NEXT;
}

/* Of a store: what lies outside of the tensor is read too, but nobody need have written it. */
static bool box_used(const struct work *work, enum step *step)
{
    uint32_t mask = (1u << work->swizzle) - 1;

    for (int i = 0; i < work->segment_count; i++) {
        const struct segment *segment = &work->segments[i];
        uint32_t end = segment->at + segment->bytes, next;

        for (uint32_t at = segment->at; at < end; at = next) {
            uint32_t offset = work->offset + at;
            uint64_t address;

            next = (at / CHUNK + 1) * CHUNK < end ? (at / CHUNK + 1) * CHUNK : end;
            address = shared_address(work->warp, work->block,
                                     offset ^ (offset >> 7 & mask) << 4);
            if (memory_span(work->warp, work->op, work->lane, address, SPACE_GENERIC, next - at,
                            false, PROXY_ASYNC, step) == NULL) {
                return false;
            }
        }
    }
    return true;
}

static bool box_is_whole(const struct work *work)
{
    uint64_t inside = 0;

    for (int i = 0; i < work->segment_count; i++) {
        inside += work->segments[i].bytes;
    }
    return inside == work->bytes;
}

/* As segments_begin, for the box in shared memory. False: there is a finding. */
static bool box_begin(struct work *work, bool write, enum step *step)
{
    if (!write && !box_is_whole(work)) {
        if (memory_reach(work->warp, work->op, work->lane, box_address(work), SPACE_GENERIC,
                         work->bytes, PROXY_ASYNC, step) == NULL ||
            !box_used(work, step)) {
            return false;
        }
    } else if (memory_span(work->warp, work->op, work->lane, box_address(work), SPACE_GENERIC,
                           work->bytes, write, PROXY_ASYNC, step) == NULL) {
        return false;
    }
    memory_flight_begin(work->warp, work->op, work->lane, box_address(work), SPACE_GENERIC,
                        work->bytes, write, PROXY_ASYNC);
    return true;
}

/* Sends a load's work to one block; takes it over. */
static enum step load_send(struct work *work)
{
    struct warp *warp = work->warp;
    enum step step = STEP_NEXT;
    struct mbarrier *barrier =
        mbarrier_at(warp, work->op, work->lane, work->block, work->barrier, &step);

    if (barrier != NULL && !barrier->fenced && (warp->machine->launch->sanitize & SANITIZE_ASYNC)) {
        barrier->fenced = true; /* told once */
        step = finding_add(warp, work->op, FINDING_PROXY, work->lane, work->barrier, NULL,
                           "the copy counts its bytes at the mbarrier at %s, whose "
                           "initialisation no fence (fence.mbarrier_init or fence.proxy.async) has "
                           "shown to the asynchronous proxy",
                           memory_shared_text(warp->machine, work->barrier).text);
    }
    if (barrier != NULL && step != STEP_FAULT) {
        step = segments_begin(work, false);
    }
    if (barrier == NULL || step == STEP_FAULT ||
        (work->reduction == NULL && !box_begin(work, true, &step))) {
        work_free(work);
        return step;
    }
    work->phase = barrier->phase;
    work->lands = profile_lands(warp);
    work_queue(work->block, work);
    return STEP_NEXT;
}

static struct work *work_copy(const struct work *work, struct block *block)
{
    struct work *copy = work_new(work->warp, work->op, work->lane, work->kind);

    *copy = *work;
    copy->block = block;
    copy->segments = xcalloc((size_t)work->segment_count + 1, sizeof(*copy->segments));
    memcpy(copy->segments, work->segments, (size_t)work->segment_count * sizeof(*copy->segments));
    return copy;
}

/* A load as described goes to its block, or to the same place of every block of the mask. */
static enum step load_start(struct work *work)
{
    const struct async_operands *operands = operands_of(work->op);
    struct warp *warp = work->warp;
    enum step step = STEP_NEXT;

    if (operands->multicast == SLOT_NONE) {
        return load_send(work);
    }
    uint32_t mask = reg16(warp, operands->multicast)[work->lane];
    if (mask == 0 || mask >> warp->block->cluster_size != 0) {
        step = finding_add(warp, work->op, FINDING_OUT_OF_BOUNDS, work->lane, mask, NULL,
                           "the mask 0x%x does not name blocks of a cluster of %u", mask,
                           warp->block->cluster_size);
    }
    for (uint32_t rank = 0; rank < warp->block->cluster_size && step != STEP_FAULT; rank++) {
        if (mask >> rank & 1) {
            step = load_send(work_copy(work, warp->block->cluster[rank]));
        }
    }
    work_free(work);
    return step;
}

static enum step store_start(struct work *work)
{
    enum step step = STEP_NEXT;

    if (!box_begin(work, false, &step)) {
        work_free(work);
        return step;
    }
    if (work->reduction == NULL && segments_begin(work, true) == STEP_FAULT) {
        work_free(work);
        return STEP_FAULT;
    }
    work->group = work->warp->async->bulk_groups[work->lane];
    work_queue(work->block, work);
    return STEP_NEXT;
}

/* ---- what a copy's operands say ---- */

/* The box, and for a load the mbarrier beside it. False: a finding, and *step. */
static bool box_named(struct work *work, int box, int barrier, uint32_t alignment, enum step *step)
{
    uint32_t offset;

    work->block = place_shared(work->warp, work->op, work->lane, box, &work->offset, step);
    if (work->block == NULL) {
        return false;
    }
    *step = check_aligned(work->warp, work->op, work->lane, work->offset, alignment,
                          "copy's place in shared memory");
    if (work->offset % alignment != 0) {
        return false;
    }
    if (barrier < 0) {
        return true;
    }
    struct block *block = place_shared(work->warp, work->op, work->lane, barrier, &offset, step);
    if (block != NULL && block != work->block) {
        *step =
            finding_add(work->warp, work->op, FINDING_BARRIER, work->lane, offset, NULL,
                        "the copy goes to block %u of the cluster and its mbarrier is in block %u",
                        work->block->cluster_rank, block->cluster_rank);
        return false;
    }
    work->barrier = offset;
    return block != NULL;
}

/* The size and the other side of a plain copy. */
static bool plain_named(struct work *work, int other, enum step *step)
{
    const struct async_operands *operands = operands_of(work->op);
    uint64_t address = place_address(work->warp, operands->places[other], work->lane);
    uint32_t bytes = reg32(work->warp, operands->values[0])[work->lane];

    work->space = (enum space)work->op->space;
    if (work->space == SPACE_SHARED) {
        address = MEMORY_SHARED + (address & UINT32_MAX);
        work->space = SPACE_GENERIC;
    }
    if (bytes % CHUNK != 0 || bytes > COPY_BYTES_MAX) {
        *step =
            finding_add(work->warp, work->op, FINDING_MISALIGNED, work->lane, address, NULL,
                        "a bulk copy of %u bytes: the size must be a multiple of %d, at most %d",
                        bytes, CHUNK, COPY_BYTES_MAX);
        return false;
    }
    *step = check_aligned(work->warp, work->op, work->lane, address, CHUNK, "copy's other side");
    if (address % CHUNK != 0 || bytes == 0) {
        return false;
    }
    work->bytes = bytes;
    work->segments = xcalloc(1, sizeof(*work->segments));
    work->segments[0] = (struct segment){.address = address, .bytes = bytes};
    work->segment_count = 1;
    return true;
}

/* The segments of the rows of a box that begins at these coordinates. */
static void box_rows(struct work *work, const struct emu_tensor_map *map, const int32_t *begin)
{
    uint32_t element = emu_tensor_type_bytes(map->type), row = map->box[0] * element;
    int64_t first = begin[0] < 0 ? -(int64_t)begin[0] : 0;
    int64_t last = (int64_t)map->dims[0] - begin[0] < map->box[0] ? (int64_t)map->dims[0] - begin[0]
                                                                  : map->box[0];
    uint32_t step[TENSOR_RANK_MAX] = {0};

    work->segments = xcalloc(work->bytes / row, sizeof(*work->segments));
    for (uint32_t at = 0; at < work->bytes; at += row) {
        uint64_t address = map->address + (uint64_t)(begin[0] + first) * element;
        bool inside = first < last;

        for (int i = 1; i < map->rank; i++) {
            int64_t coordinate = (int64_t)begin[i] + step[i] * map->element_strides[i];

            inside = inside && coordinate >= 0 && coordinate < (int64_t)map->dims[i];
            address += (uint64_t)coordinate * map->strides[i - 1];
        }
        if (inside) {
            work->segments[work->segment_count++] =
                (struct segment){.address = address,
                                 .at = at + (uint32_t)first * element,
                                 .bytes = (uint32_t)(last - first) * element};
        }
        for (int i = 1; i < map->rank; i++) { /* the next row, like a counter's digits */
            if (++step[i] * map->element_strides[i] < map->box[i]) {
                break;
            }
            step[i] = 0;
        }
    }
}

/* The box of a tensor copy. */
static bool tensor_named(struct work *work, int place, enum step *step)
{
    const struct async_operands *operands = operands_of(work->op);
    struct warp *warp = work->warp;
    uint64_t at = place_address(warp, operands->places[place], work->lane), bytes;
    struct emu_tensor_map map;
    struct err err = {0};
    int32_t begin[TENSOR_RANK_MAX];

    *step = check_aligned(warp, work->op, work->lane, at, 64, "tensor map");
    const uint8_t *host = at % 64 != 0 ? NULL
                                       : memory_span(warp, work->op, work->lane, at, SPACE_GENERIC,
                                                     sizeof(map), false, PROXY_GENERIC, step);
    if (host == NULL) {
        return false;
    }
    memcpy(&map, host, sizeof(map));
    if (!emu_tensor_map_check(&map, &err)) {
        *step =
            finding_add(warp, work->op, FINDING_UNSUPPORTED, work->lane, at, NULL, "%s", err.what);
        return false;
    }
    bytes = (uint64_t)map.box[0] * emu_tensor_type_bytes(map.type);
    for (int i = 1; i < map.rank; i++) {
        bytes *= ((uint64_t)map.box[i] + map.element_strides[i] - 1) / map.element_strides[i];
    }
    if (map.rank != operands->rank || bytes > COPY_BYTES_MAX) {
        *step =
            finding_add(warp, work->op, FINDING_OUT_OF_BOUNDS, work->lane, at, NULL,
                        "the tensor map has %u dimensions and a box of %llu bytes; the copy names "
                        "%d dimensions, and the limit is %d bytes",
                        map.rank, (unsigned long long)bytes, operands->rank, COPY_BYTES_MAX);
        return false;
    }
    if (operands->reduction != NULL) {
        const char *type = emu_tensor_type_name(map.type);

        work->reduction = reduction_find(operands->reduction, type);
        if (work->reduction == NULL) {
            *step = finding_add(warp, work->op, FINDING_UNSUPPORTED, work->lane, at, NULL,
                                "unsupported: reduction %s of elements of type %s",
                                operands->reduction, type);
            return false;
        }
    }
    for (int i = 0; i < map.rank; i++) {
        begin[i] = (int32_t)reg32(warp, operands->coordinates[i])[work->lane];
    }
    work->space = SPACE_GLOBAL;
    work->swizzle = map.swizzle;
    work->bytes = (uint32_t)bytes;
    box_rows(work, &map, begin);
    return true;
}

/* ---- instructions ---- */

enum { BOX_FIRST, BOX_SECOND }; /* which place is the box: of a load, of a store */

static enum step copy_start(struct warp *warp, const struct op *op, int lane, enum work_kind kind,
                            bool tensor)
{
    const struct async_operands *operands = operands_of(op);
    struct work *work = work_new(warp, op, lane, kind);
    int box = kind == WORK_LOAD ? BOX_FIRST : BOX_SECOND;
    enum step step = STEP_NEXT;

    if (operands->reduction != NULL && operands->type != NULL) {
        work->reduction = reduction_find(operands->reduction, operands->type);
    }
    if (!box_named(work, box, kind == WORK_LOAD ? 2 : -1, tensor ? TENSOR_ALIGN : CHUNK, &step) ||
        !(tensor ? tensor_named : plain_named)(work, 1 - box, &step)) {
        work_free(work);
        return step;
    }
    return kind == WORK_LOAD ? load_start(work) : store_start(work);
}

static enum step copies_start(struct warp *warp, const struct op *op, lanes active,
                              enum work_kind kind, bool tensor)
{
    FOR_LANES(lane, active)
    {
        if (copy_start(warp, op, lane, kind, tensor) == STEP_FAULT) {
            return STEP_FAULT;
        }
    }
    return STEP_NEXT;
}

enum step bulk_load_run(struct warp *warp, const struct op *op, lanes active)
{
    return copies_start(warp, op, active, WORK_LOAD, false);
}

enum step bulk_store_run(struct warp *warp, const struct op *op, lanes active)
{
    return copies_start(warp, op, active, WORK_STORE, false);
}

enum step tensor_load_run(struct warp *warp, const struct op *op, lanes active)
{
    return copies_start(warp, op, active, WORK_LOAD, true);
}

enum step tensor_store_run(struct warp *warp, const struct op *op, lanes active)
{
    return copies_start(warp, op, active, WORK_STORE, true);
}

enum step bulk_commit_run(struct warp *warp, const struct op *op, lanes active)
{
    (void)op;
    FOR_LANES(lane, active) { warp->async->bulk_groups[lane]++; }
    return STEP_NEXT;
}

/* The stores of each lane's groups but the last op->immediate are read, and written unless .read.
 */
enum step bulk_wait_run(struct warp *warp, const struct op *op, lanes active)
{
    struct work **link = &warp->block->async->queue;

    while (*link != NULL) {
        struct work *work = *link;
        enum step step = STEP_NEXT;

        if (work->kind != WORK_STORE || work->warp != warp || !(active >> work->lane & 1) ||
            work->group + (uint64_t)op->immediate >= warp->async->bulk_groups[work->lane]) {
            link = &work->next;
            continue;
        }
        if (op->mode & WAIT_READ) {
            bulk_store_read(work);
            link = &work->next;
            continue;
        }
        work_unlink(warp->block, link);
        step = bulk_store_write(work);
        work_free(work);
        if (step == STEP_FAULT) {
            return step;
        }
    }
    return STEP_NEXT;
}
