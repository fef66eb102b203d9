#include "fitness/emu/tensormap.h"

#include <string.h>

enum {
    BOX_MAX = 256,
    ELEMENT_STRIDE_MAX = 8,
    ROW_ALIGN = 16, /* of addresses, strides and rows of the box */
};

static const struct {
    const char *name;
    uint32_t bytes;
} types[EMU_TENSOR_TYPES] = {
    [EMU_TENSOR_U8] = {"u8", 1},     [EMU_TENSOR_U16] = {"u16", 2}, [EMU_TENSOR_U32] = {"u32", 4},
    [EMU_TENSOR_S32] = {"s32", 4},   [EMU_TENSOR_U64] = {"u64", 8}, [EMU_TENSOR_S64] = {"s64", 8},
    [EMU_TENSOR_F16] = {"f16", 2},   [EMU_TENSOR_F32] = {"f32", 4}, [EMU_TENSOR_F64] = {"f64", 8},
    [EMU_TENSOR_BF16] = {"bf16", 2},
};

uint32_t emu_tensor_type_bytes(enum emu_tensor_type type)
{
    return (unsigned)type < EMU_TENSOR_TYPES ? types[type].bytes : 0;
}

const char *emu_tensor_type_name(enum emu_tensor_type type)
{
    return emu_tensor_type_bytes(type) != 0 ? types[type].name : "?";
}

static bool dimension_check(const struct emu_tensor_map *map, int i, struct err *err)
{
    if (map->dims[i] == 0 || map->dims[i] > UINT64_C(1) << 32) {
        return err_set(err, ERR_USER, "tensor map: dimension %d is %llu; it must be 1 to 2^32", i,
                       (unsigned long long)map->dims[i]);
    }
    if (map->box[i] == 0 || map->box[i] > BOX_MAX) {
        return err_set(err, ERR_USER, "tensor map: box dimension %d is %u; it must be 1 to %d", i,
                       map->box[i], BOX_MAX);
    }
    if (map->element_strides[i] == 0 || map->element_strides[i] > ELEMENT_STRIDE_MAX) {
        return err_set(err, ERR_USER, "tensor map: element stride %d is %u; it must be 1 to %d", i,
                       map->element_strides[i], ELEMENT_STRIDE_MAX);
    }
    if (i > 0 && (map->strides[i - 1] % ROW_ALIGN != 0 || map->strides[i - 1] >> 40 != 0)) {
        return err_set(
            err, ERR_USER,
            "tensor map: the stride of dimension %d is %llu bytes; it must be a multiple of "
            "%d below 2^40",
            i, (unsigned long long)map->strides[i - 1], ROW_ALIGN);
    }
    return true;
}

bool emu_tensor_map_check(const struct emu_tensor_map *map, struct err *err)
{
    uint32_t bytes = emu_tensor_type_bytes(map->type), row = map->box[0] * bytes;

    if (map->magic != EMU_TENSOR_MAP_MAGIC) {
        return err_set(err, ERR_USER, "tensor map: these 128 bytes are none");
    }
    if (map->rank == 0 || map->rank > EMU_TENSOR_RANK_MAX) {
        return err_set(err, ERR_USER, "tensor map: rank %u; it must be 1 to %d", map->rank,
                       EMU_TENSOR_RANK_MAX);
    }
    if (bytes == 0) {
        return err_set(err, ERR_USER, "tensor map: unsupported: data type %u", map->type);
    }
    if (map->address == 0 || map->address % ROW_ALIGN != 0) {
        return err_set(err, ERR_USER, "tensor map: the address 0x%llx is not a multiple of %d",
                       (unsigned long long)map->address, ROW_ALIGN);
    }
    for (int i = 0; i < map->rank; i++) {
        if (!dimension_check(map, i, err)) {
            return false;
        }
    }
    if (row % ROW_ALIGN != 0) {
        return err_set(err, ERR_USER,
                       "tensor map: a row of the box has %u bytes, no multiple of %d", row,
                       ROW_ALIGN);
    }
    if (map->swizzle > EMU_SWIZZLE_128B) {
        return err_set(err, ERR_USER, "tensor map: unsupported: swizzle %u", map->swizzle);
    }
    if (map->swizzle != EMU_SWIZZLE_NONE && row > 16u << map->swizzle) {
        return err_set(err, ERR_USER,
                       "tensor map: a row of the box has %u bytes, more than the swizzle's %u", row,
                       16u << map->swizzle);
    }
    if (map->swizzle != EMU_SWIZZLE_NONE && row < 16u << map->swizzle) {
        err_set(
            err, ERR_USER,
            "tensor map: unsupported: a row of the box has %u bytes, less than the swizzle's %u",
            row, 16u << map->swizzle);
        return err_hint(err, "take the swizzle of the row's size");
    }
    return true;
}

/* The arguments that leave no trace in the map: this machine knows one value of each. */
static bool request_check(const struct emu_tensor_request *request, struct err *err)
{
    if (request->rank == 0 || request->rank > EMU_TENSOR_RANK_MAX) {
        return err_set(err, ERR_USER, "tensor map: rank %u; it must be 1 to %d", request->rank,
                       EMU_TENSOR_RANK_MAX);
    }
    if ((unsigned)request->interleave > EMU_INTERLEAVE_32B ||
        (unsigned)request->promotion > EMU_PROMOTION_256B ||
        (unsigned)request->fill > EMU_FILL_NAN ||
        (unsigned)request->swizzle > EMU_SWIZZLE_128B_ATOM_64B ||
        (unsigned)request->type >= EMU_TENSOR_TYPES) {
        return err_set(err, ERR_USER, "tensor map: an argument is not of its enumeration");
    }
    if (request->interleave != EMU_INTERLEAVE_NONE) {
        return err_set(err, ERR_USER, "tensor map: unsupported: interleave %d",
                       request->interleave);
    }
    if (request->fill != EMU_FILL_ZERO) {
        return err_set(err, ERR_USER, "tensor map: unsupported: filling with NaN");
    }
    for (uint32_t i = 0; i < request->rank; i++) {
        if (request->box[i] > BOX_MAX || request->element_strides[i] > ELEMENT_STRIDE_MAX) {
            return err_set(err, ERR_USER,
                           "tensor map: box %u or element stride %u of dimension %u "
                           "is above %d or %d",
                           request->box[i], request->element_strides[i], i, BOX_MAX,
                           ELEMENT_STRIDE_MAX);
        }
    }
    return true;
}

bool emu_tensor_map_encode(struct emu_tensor_map *map, const struct emu_tensor_request *request,
                           struct err *err)
{
    if (!request_check(request, err)) {
        return false;
    }
    memset(map, 0, sizeof(*map));
    map->magic = EMU_TENSOR_MAP_MAGIC;
    map->address = request->address;
    map->type = (uint8_t)request->type;
    map->rank = (uint8_t)request->rank;
    map->swizzle = (uint8_t)request->swizzle;
    map->promotion = (uint8_t)request->promotion;
    for (uint32_t i = 0; i < request->rank; i++) {
        map->dims[i] = request->dims[i];
        map->box[i] = (uint16_t)request->box[i];
        map->element_strides[i] = (uint8_t)request->element_strides[i];
        if (i > 0) {
            map->strides[i - 1] = request->strides[i - 1];
        }
    }
    return emu_tensor_map_check(map, err);
}
