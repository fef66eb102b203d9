/*
 * tensormap -- what a tensor map is on this machine: the 128 bytes that cp.async.bulk.tensor reads.
 *
 * The driver's form is secret, so this is one of our own, for the same place: a kernel parameter
 * (or 128 bytes of global memory) aligned to 64. emu_tensor_map_encode takes what
 * cuTensorMapEncodeTiled takes and refuses what it refuses; what this machine cannot do is
 * "unsupported".
 */
#ifndef EVO_EMU_TENSORMAP_H
#define EVO_EMU_TENSORMAP_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"

#define EMU_TENSOR_MAP_MAGIC UINT64_C(0x70616d726f736e74) /* "tnsormap" */

enum { EMU_TENSOR_RANK_MAX = 5 };

/* Values and order are the driver's. */
enum emu_tensor_type {
    EMU_TENSOR_U8,
    EMU_TENSOR_U16,
    EMU_TENSOR_U32,
    EMU_TENSOR_S32,
    EMU_TENSOR_U64,
    EMU_TENSOR_S64,
    EMU_TENSOR_F16,
    EMU_TENSOR_F32,
    EMU_TENSOR_F64,
    EMU_TENSOR_BF16,
    EMU_TENSOR_F32_FTZ, /* unsupported from here on */
    EMU_TENSOR_TF32,
    EMU_TENSOR_TF32_FTZ,
    EMU_TENSOR_U4_ALIGN8,
    EMU_TENSOR_U4_ALIGN16,
    EMU_TENSOR_U6_ALIGN16,
    EMU_TENSOR_TYPES,
};
enum emu_tensor_interleave { EMU_INTERLEAVE_NONE, EMU_INTERLEAVE_16B, EMU_INTERLEAVE_32B };
enum emu_tensor_swizzle {
    EMU_SWIZZLE_NONE,
    EMU_SWIZZLE_32B,
    EMU_SWIZZLE_64B,
    EMU_SWIZZLE_128B,
    EMU_SWIZZLE_128B_ATOM_32B,
    EMU_SWIZZLE_128B_ATOM_32B_FLIP_8B,
    EMU_SWIZZLE_128B_ATOM_64B,
};
enum emu_tensor_promotion {
    EMU_PROMOTION_NONE,
    EMU_PROMOTION_64B,
    EMU_PROMOTION_128B,
    EMU_PROMOTION_256B,
};
enum emu_tensor_fill { EMU_FILL_ZERO, EMU_FILL_NAN };

/* Dimension 0 is the innermost; strides[i] is the distance in bytes along dimension i + 1. */
struct emu_tensor_map {
    uint64_t magic;
    uint64_t address;
    uint64_t dims[EMU_TENSOR_RANK_MAX];
    uint64_t strides[EMU_TENSOR_RANK_MAX - 1];
    uint16_t box[EMU_TENSOR_RANK_MAX];
    uint8_t element_strides[EMU_TENSOR_RANK_MAX];
    uint8_t type, rank, swizzle, promotion;
    uint8_t zero[21];
};
_Static_assert(sizeof(struct emu_tensor_map) == 128,
               "a tensor map takes the place of the driver's");

/* What cuTensorMapEncodeTiled is given. Arrays have `rank` entries, strides one less. */
struct emu_tensor_request {
    enum emu_tensor_type type;
    uint32_t rank;
    uint64_t address;
    const uint64_t *dims, *strides;
    const uint32_t *box, *element_strides;
    enum emu_tensor_interleave interleave;
    enum emu_tensor_swizzle swizzle;
    enum emu_tensor_promotion promotion;
    enum emu_tensor_fill fill;
};

bool emu_tensor_map_encode(struct emu_tensor_map *map, const struct emu_tensor_request *request,
                           struct err *err);
/* Is this a map that emu_tensor_map_encode could have made? Kernels may pass any bytes. */
bool emu_tensor_map_check(const struct emu_tensor_map *map, struct err *err);

uint32_t emu_tensor_type_bytes(enum emu_tensor_type type);   /* of an element; 0: unsupported */
const char *emu_tensor_type_name(enum emu_tensor_type type); /* as in PTX: "f16" */

#endif
