/*
 * alu_ops -- what the instructions compute, one line each.
 *
 * A list without include guard: alu_lanes.h makes functions of it, alu.c the table by which opcodes
 * are found. A line says: a name, the opcode, the types of the last part it is for, the further
 * parts that tell it from others, the kind of each operand (destination first: s as the type, w
 * twice as wide, i 32 bits, p a predicate), the class, the C types of destination and sources, and
 * the result in terms of x, y, z, w. Rounding modes, .sat and .relu are not here: alu.c adds them.
 */

/* ---- integers ---- */

LANE2(add16, "add", T16, "", "sss", CLASS_INTEGER, u16, u16, u16, x + y)
LANE2(add32, "add", T32, "", "sss", CLASS_INTEGER, u32, u32, u32, x + y)
LANE2(add64, "add", T64, "", "sss", CLASS_INTEGER, u64, u64, u64, x + y)
LANE2(sub16, "sub", T16, "", "sss", CLASS_INTEGER, u16, u16, u16, x - y)
LANE2(sub32, "sub", T32, "", "sss", CLASS_INTEGER, u32, u32, u32, x - y)
LANE2(sub64, "sub", T64, "", "sss", CLASS_INTEGER, u64, u64, u64, x - y)
LANE2(add_sat, "add", T(S32), "sat", "sss", CLASS_INTEGER, s32, s32, s32,
      clamp32((int64_t)x + y))
LANE2(sub_sat, "sub", T(S32), "sat", "sss", CLASS_INTEGER, s32, s32, s32,
      clamp32((int64_t)x - y))

LANE2(mul_lo16, "mul", T16, "lo", "sss", CLASS_INTEGER, u16, u16, u16, (uint32_t)x * y)
LANE2(mul_lo32, "mul", T32, "lo", "sss", CLASS_INTEGER, u32, u32, u32, x * y)
LANE2(mul_lo64, "mul", T64, "lo", "sss", CLASS_INTEGER, u64, u64, u64, x * y)
LANE2(mul_hi_u16, "mul", T(U16), "hi", "sss", CLASS_INTEGER, u16, u16, u16, (uint32_t)x * y >> 16)
LANE2(mul_hi_s16, "mul", T(S16), "hi", "sss", CLASS_INTEGER, s16, s16, s16, (int32_t)x * y >> 16)
LANE2(mul_hi_u32, "mul", T(U32), "hi", "sss", CLASS_INTEGER, u32, u32, u32, (uint64_t)x * y >> 32)
LANE2(mul_hi_s32, "mul", T(S32), "hi", "sss", CLASS_INTEGER, s32, s32, s32, (int64_t)x * y >> 32)
LANE2(mul_hi_u64, "mul", T(U64), "hi", "sss", CLASS_INTEGER, u64, u64, u64, high_u64(x, y))
LANE2(mul_hi_s64, "mul", T(S64), "hi", "sss", CLASS_INTEGER, s64, s64, s64, high_s64(x, y))
LANE2(mul_wide_u16, "mul", T(U16), "wide", "wss", CLASS_INTEGER, u32, u16, u16, (uint32_t)x * y)
LANE2(mul_wide_s16, "mul", T(S16), "wide", "wss", CLASS_INTEGER, s32, s16, s16, (int32_t)x * y)
LANE2(mul_wide_u32, "mul", T(U32), "wide", "wss", CLASS_INTEGER, u64, u32, u32, (uint64_t)x * y)
LANE2(mul_wide_s32, "mul", T(S32), "wide", "wss", CLASS_INTEGER, s64, s32, s32, (int64_t)x * y)

LANE3(mad_lo16, "mad", T16, "lo", "ssss", CLASS_INTEGER, u16, u16, u16, u16, (uint32_t)x * y + z)
LANE3(mad_lo32, "mad", T32, "lo", "ssss", CLASS_INTEGER, u32, u32, u32, u32, x * y + z)
LANE3(mad_lo64, "mad", T64, "lo", "ssss", CLASS_INTEGER, u64, u64, u64, u64, x * y + z)
LANE3(mad_hi_u16, "mad", T(U16), "hi", "ssss", CLASS_INTEGER, u16, u16, u16, u16,
      ((uint32_t)x * y >> 16) + z)
LANE3(mad_hi_s16, "mad", T(S16), "hi", "ssss", CLASS_INTEGER, u16, s16, s16, u16,
      (uint32_t)((int32_t)x * y >> 16) + z)
LANE3(mad_hi_u32, "mad", T(U32), "hi", "ssss", CLASS_INTEGER, u32, u32, u32, u32,
      (uint32_t)((uint64_t)x * y >> 32) + z)
LANE3(mad_hi_s32, "mad", T(S32), "hi", "ssss", CLASS_INTEGER, u32, s32, s32, u32,
      (uint32_t)((int64_t)x * y >> 32) + z)
LANE3(mad_hi_sat, "mad", T(S32), "hi sat", "ssss", CLASS_INTEGER, s32, s32, s32, s32,
      clamp32(((int64_t)x * y >> 32) + z))
LANE3(mad_hi_u64, "mad", T(U64), "hi", "ssss", CLASS_INTEGER, u64, u64, u64, u64,
      high_u64(x, y) + z)
LANE3(mad_hi_s64, "mad", T(S64), "hi", "ssss", CLASS_INTEGER, u64, s64, s64, u64,
      (uint64_t)high_s64(x, y) + z)
LANE3(mad_wide_u16, "mad", T(U16), "wide", "wssw", CLASS_INTEGER, u32, u16, u16, u32,
      (uint32_t)x * y + z)
LANE3(mad_wide_s16, "mad", T(S16), "wide", "wssw", CLASS_INTEGER, u32, s16, s16, u32,
      (uint32_t)((int32_t)x * y) + z)
LANE3(mad_wide_u32, "mad", T(U32), "wide", "wssw", CLASS_INTEGER, u64, u32, u32, u64,
      (uint64_t)x * y + z)
LANE3(mad_wide_s32, "mad", T(S32), "wide", "wssw", CLASS_INTEGER, u64, s32, s32, u64,
      (uint64_t)((int64_t)x * y) + z)

LANE2(mul24_lo_u, "mul24", T(U32), "lo", "sss", CLASS_INTEGER, u32, u32, u32,
      (x & 0xffffff) * (y & 0xffffff))
LANE2(mul24_lo_s, "mul24", T(S32), "lo", "sss", CLASS_INTEGER, u32, u32, u32,
      (uint32_t)((int64_t)low24(x) * low24(y)))
LANE2(mul24_hi_u, "mul24", T(U32), "hi", "sss", CLASS_INTEGER, u32, u32, u32,
      (uint64_t)(x & 0xffffff) * (y & 0xffffff) >> 16)
LANE2(mul24_hi_s, "mul24", T(S32), "hi", "sss", CLASS_INTEGER, u32, u32, u32,
      (uint32_t)((int64_t)low24(x) * low24(y) >> 16))
LANE3(mad24_lo_u, "mad24", T(U32), "lo", "ssss", CLASS_INTEGER, u32, u32, u32, u32,
      (x & 0xffffff) * (y & 0xffffff) + z)
LANE3(mad24_lo_s, "mad24", T(S32), "lo", "ssss", CLASS_INTEGER, u32, u32, u32, u32,
      (uint32_t)((int64_t)low24(x) * low24(y)) + z)
LANE3(mad24_hi_u, "mad24", T(U32), "hi", "ssss", CLASS_INTEGER, u32, u32, u32, u32,
      (uint32_t)((uint64_t)(x & 0xffffff) * (y & 0xffffff) >> 16) + z)
LANE3(mad24_hi_s, "mad24", T(S32), "hi", "ssss", CLASS_INTEGER, u32, u32, u32, u32,
      (uint32_t)((int64_t)low24(x) * low24(y) >> 16) + z)

/* Division by zero: all bits set, and the dividend as the rest, as the hardware. */
LANE2(div_u16, "div", T(U16), "", "sss", CLASS_INTEGER, u16, u16, u16, y ? x / y : 0xffff)
LANE2(div_s16, "div", T(S16), "", "sss", CLASS_INTEGER, s16, s16, s16,
      y ? (int32_t)x / y : -1)
LANE2(div_u32, "div", T(U32), "", "sss", CLASS_INTEGER, u32, u32, u32, y ? x / y : UINT32_MAX)
LANE2(div_s32, "div", T(S32), "", "sss", CLASS_INTEGER, s32, s32, s32,
      y ? (int64_t)x / y : -1)
LANE2(div_u64, "div", T(U64), "", "sss", CLASS_INTEGER, u64, u64, u64, y ? x / y : UINT64_MAX)
LANE2(div_s64, "div", T(S64), "", "sss", CLASS_INTEGER, s64, s64, s64,
      y == -1 ? (int64_t)(0 - (uint64_t)x) : y ? x / y : -1)
LANE2(rem_u16, "rem", T(U16), "", "sss", CLASS_INTEGER, u16, u16, u16, y ? x % y : x)
LANE2(rem_s16, "rem", T(S16), "", "sss", CLASS_INTEGER, s16, s16, s16, y ? (int32_t)x % y : x)
LANE2(rem_u32, "rem", T(U32), "", "sss", CLASS_INTEGER, u32, u32, u32, y ? x % y : x)
LANE2(rem_s32, "rem", T(S32), "", "sss", CLASS_INTEGER, s32, s32, s32, y ? (int64_t)x % y : x)
LANE2(rem_u64, "rem", T(U64), "", "sss", CLASS_INTEGER, u64, u64, u64, y ? x % y : x)
LANE2(rem_s64, "rem", T(S64), "", "sss", CLASS_INTEGER, s64, s64, s64,
      y == -1 ? 0 : y ? x % y : x)

LANE2(min_u16, "min", T(U16), "", "sss", CLASS_INTEGER, u16, u16, u16, x < y ? x : y)
LANE2(min_s16, "min", T(S16), "", "sss", CLASS_INTEGER, s16, s16, s16, x < y ? x : y)
LANE2(min_u32, "min", T(U32), "", "sss", CLASS_INTEGER, u32, u32, u32, x < y ? x : y)
LANE2(min_s32, "min", T(S32), "", "sss", CLASS_INTEGER, s32, s32, s32, x < y ? x : y)
LANE2(min_u64, "min", T(U64), "", "sss", CLASS_INTEGER, u64, u64, u64, x < y ? x : y)
LANE2(min_s64, "min", T(S64), "", "sss", CLASS_INTEGER, s64, s64, s64, x < y ? x : y)
LANE2(max_u16, "max", T(U16), "", "sss", CLASS_INTEGER, u16, u16, u16, x > y ? x : y)
LANE2(max_s16, "max", T(S16), "", "sss", CLASS_INTEGER, s16, s16, s16, x > y ? x : y)
LANE2(max_u32, "max", T(U32), "", "sss", CLASS_INTEGER, u32, u32, u32, x > y ? x : y)
LANE2(max_s32, "max", T(S32), "", "sss", CLASS_INTEGER, s32, s32, s32, x > y ? x : y)
LANE2(max_u64, "max", T(U64), "", "sss", CLASS_INTEGER, u64, u64, u64, x > y ? x : y)
LANE2(max_s64, "max", T(S64), "", "sss", CLASS_INTEGER, s64, s64, s64, x > y ? x : y)
LANE2(min_relu, "min", T(S32), "relu", "sss", CLASS_INTEGER, s32, s32, s32,
      (x < y ? x : y) < 0 ? 0 : x < y ? x : y)
LANE2(max_relu, "max", T(S32), "relu", "sss", CLASS_INTEGER, s32, s32, s32,
      (x > y ? x : y) < 0 ? 0 : x > y ? x : y)

LANE1(abs_s16, "abs", T(S16), "", "ss", CLASS_INTEGER, u16, u16, x >> 15 ? 0 - x : x)
LANE1(abs_s32, "abs", T(S32), "", "ss", CLASS_INTEGER, u32, u32, x >> 31 ? 0 - x : x)
LANE1(abs_s64, "abs", T(S64), "", "ss", CLASS_INTEGER, u64, u64, x >> 63 ? 0 - x : x)
LANE1(neg_s16, "neg", T(S16), "", "ss", CLASS_INTEGER, u16, u16, 0 - x)
LANE1(neg_s32, "neg", T(S32), "", "ss", CLASS_INTEGER, u32, u32, 0 - x)
LANE1(neg_s64, "neg", T(S64), "", "ss", CLASS_INTEGER, u64, u64, 0 - x)
LANE3(sad_u16, "sad", T(U16), "", "ssss", CLASS_INTEGER, u16, u16, u16, u16,
      z + (x < y ? y - x : x - y))
LANE3(sad_s16, "sad", T(S16), "", "ssss", CLASS_INTEGER, u16, s16, s16, u16,
      z + (uint32_t)(x < y ? y - x : x - y))
LANE3(sad_u32, "sad", T(U32), "", "ssss", CLASS_INTEGER, u32, u32, u32, u32,
      z + (x < y ? y - x : x - y))
LANE3(sad_s32, "sad", T(S32), "", "ssss", CLASS_INTEGER, u32, s32, s32, u32,
      z + (x < y ? (uint32_t)y - (uint32_t)x : (uint32_t)x - (uint32_t)y))
LANE3(sad_u64, "sad", T(U64), "", "ssss", CLASS_INTEGER, u64, u64, u64, u64,
      z + (x < y ? y - x : x - y))
LANE3(sad_s64, "sad", T(S64), "", "ssss", CLASS_INTEGER, u64, s64, s64, u64,
      z + (x < y ? (uint64_t)y - (uint64_t)x : (uint64_t)x - (uint64_t)y))

/* ---- bits ---- */

LANE2(and16, "and", T(B16), "", "sss", CLASS_INTEGER, u16, u16, u16, x &y)
LANE2(and32, "and", T(B32), "", "sss", CLASS_INTEGER, u32, u32, u32, x &y)
LANE2(and64, "and", T(B64), "", "sss", CLASS_INTEGER, u64, u64, u64, x &y)
LANE2(or16, "or", T(B16), "", "sss", CLASS_INTEGER, u16, u16, u16, x | y)
LANE2(or32, "or", T(B32), "", "sss", CLASS_INTEGER, u32, u32, u32, x | y)
LANE2(or64, "or", T(B64), "", "sss", CLASS_INTEGER, u64, u64, u64, x | y)
LANE2(xor16, "xor", T(B16), "", "sss", CLASS_INTEGER, u16, u16, u16, x ^ y)
LANE2(xor32, "xor", T(B32), "", "sss", CLASS_INTEGER, u32, u32, u32, x ^ y)
LANE2(xor64, "xor", T(B64), "", "sss", CLASS_INTEGER, u64, u64, u64, x ^ y)
LANE1(not16, "not", T(B16), "", "ss", CLASS_INTEGER, u16, u16, ~x)
LANE1(not32, "not", T(B32), "", "ss", CLASS_INTEGER, u32, u32, ~x)
LANE1(not64, "not", T(B64), "", "ss", CLASS_INTEGER, u64, u64, ~x)
LANE1(cnot16, "cnot", T(B16), "", "ss", CLASS_INTEGER, u16, u16, x == 0)
LANE1(cnot32, "cnot", T(B32), "", "ss", CLASS_INTEGER, u32, u32, x == 0)
LANE1(cnot64, "cnot", T(B64), "", "ss", CLASS_INTEGER, u64, u64, x == 0)
/* Shifts of the whole width or more leave nothing, or the sign. */
LANE2(shl16, "shl", T(B16), "", "ssi", CLASS_INTEGER, u16, u16, u32,
      y < 16 ? (uint32_t)x << (y & 15) : 0)
LANE2(shl32, "shl", T(B32), "", "ssi", CLASS_INTEGER, u32, u32, u32, y < 32 ? x << (y & 31) : 0)
LANE2(shl64, "shl", T(B64), "", "ssi", CLASS_INTEGER, u64, u64, u32, y < 64 ? x << (y & 63) : 0)
LANE2(shr_u16, "shr", T(U16) | T(B16), "", "ssi", CLASS_INTEGER, u16, u16, u32,
      y < 16 ? x >> (y & 15) : 0)
LANE2(shr_u32, "shr", T(U32) | T(B32), "", "ssi", CLASS_INTEGER, u32, u32, u32,
      y < 32 ? x >> (y & 31) : 0)
LANE2(shr_u64, "shr", T(U64) | T(B64), "", "ssi", CLASS_INTEGER, u64, u64, u32,
      y < 64 ? x >> (y & 63) : 0)
LANE2(shr_s16, "shr", T(S16), "", "ssi", CLASS_INTEGER, s16, s16, u32, x >> (y < 15 ? y : 15))
LANE2(shr_s32, "shr", T(S32), "", "ssi", CLASS_INTEGER, s32, s32, u32, x >> (y < 31 ? y : 31))
LANE2(shr_s64, "shr", T(S64), "", "ssi", CLASS_INTEGER, s64, s64, u32, x >> (y < 63 ? y : 63))
LANE3(shf_l_wrap, "shf", T(B32), "l wrap", "sssi", CLASS_INTEGER, u32, u32, u32, u32,
      funnel(x, y) << (z & 31) >> 32)
LANE3(shf_r_wrap, "shf", T(B32), "r wrap", "sssi", CLASS_INTEGER, u32, u32, u32, u32,
      funnel(x, y) >> (z & 31))
LANE3(shf_l_clamp, "shf", T(B32), "l clamp", "sssi", CLASS_INTEGER, u32, u32, u32, u32,
      funnel(x, y) << (z < 32 ? z : 32) >> 32)
LANE3(shf_r_clamp, "shf", T(B32), "r clamp", "sssi", CLASS_INTEGER, u32, u32, u32, u32,
      funnel(x, y) >> (z < 32 ? z : 32))
LANE1(popc32, "popc", T(B32), "", "is", CLASS_INTEGER, u32, u32, (uint32_t)__builtin_popcount(x))
LANE1(popc64, "popc", T(B64), "", "is", CLASS_INTEGER, u32, u64, (uint32_t)__builtin_popcountll(x))
LANE1(clz32, "clz", T(B32), "", "is", CLASS_INTEGER, u32, u32, x ? (uint32_t)__builtin_clz(x) : 32)
LANE1(clz64, "clz", T(B64), "", "is", CLASS_INTEGER, u32, u64,
      x ? (uint32_t)__builtin_clzll(x) : 64)
LANE1(brev32, "brev", T(B32), "", "ss", CLASS_INTEGER, u32, u32, reverse32(x))
LANE1(brev64, "brev", T(B64), "", "ss", CLASS_INTEGER, u64, u64,
      (uint64_t)reverse32((uint32_t)x) << 32 | reverse32((uint32_t)(x >> 32)))
LANE1(bfind_u32, "bfind", T(U32), "", "is", CLASS_INTEGER, u32, u32, highest(x))
LANE1(bfind_s32, "bfind", T(S32), "", "is", CLASS_INTEGER, u32, u32, highest(x >> 31 ? ~x : x))
LANE1(bfind_u64, "bfind", T(U64), "", "is", CLASS_INTEGER, u32, u64, highest(x))
LANE1(bfind_s64, "bfind", T(S64), "", "is", CLASS_INTEGER, u32, u64, highest(x >> 63 ? ~x : x))
LANE1(bfind_shift_u32, "bfind", T(U32), "shiftamt", "is", CLASS_INTEGER, u32, u32,
      x ? 31 - highest(x) : UINT32_MAX)
LANE1(bfind_shift_s32, "bfind", T(S32), "shiftamt", "is", CLASS_INTEGER, u32, u32,
      (x >> 31 ? ~x : x) ? 31 - highest(x >> 31 ? ~x : x) : UINT32_MAX)
LANE1(bfind_shift_u64, "bfind", T(U64), "shiftamt", "is", CLASS_INTEGER, u32, u64,
      x ? 63 - highest(x) : UINT32_MAX)
LANE1(bfind_shift_s64, "bfind", T(S64), "shiftamt", "is", CLASS_INTEGER, u32, u64,
      (x >> 63 ? ~x : x) ? 63 - highest(x >> 63 ? ~x : x) : UINT32_MAX)
LANE3(fns, "fns", T(B32), "", "ssss", CLASS_INTEGER, u32, u32, u32, u32, nth_set(x, y, (int32_t)z))
LANE3(bfe_u32, "bfe", T(U32), "", "ssii", CLASS_INTEGER, u32, u32, u32, u32,
      extract(x, y & 0xff, z & 0xff, 32, false))
LANE3(bfe_s32, "bfe", T(S32), "", "ssii", CLASS_INTEGER, u32, u32, u32, u32,
      extract((uint64_t)(int64_t)(int32_t)x, y & 0xff, z & 0xff, 32, true))
LANE3(bfe_u64, "bfe", T(U64), "", "ssii", CLASS_INTEGER, u64, u64, u32, u32,
      extract(x, y & 0xff, z & 0xff, 64, false))
LANE3(bfe_s64, "bfe", T(S64), "", "ssii", CLASS_INTEGER, u64, u64, u32, u32,
      extract(x, y & 0xff, z & 0xff, 64, true))
LANE4(bfi32, "bfi", T(B32), "", "sssii", CLASS_INTEGER, u32, u32, u32,
      insert(x, y, z & 0xff, w & 0xff, 32))
LANE4(bfi64, "bfi", T(B64), "", "sssii", CLASS_INTEGER, u64, u32, u32,
      insert(x, y, z & 0xff, w & 0xff, 64))
LANE2(bmsk_clamp, "bmsk", T(B32), "clamp", "sss", CLASS_INTEGER, u32, u32, u32,
      x >= 32 || y == 0 ? 0 : low_ones(y < 32 ? y : 32) << (x & 31))
LANE2(bmsk_wrap, "bmsk", T(B32), "wrap", "sss", CLASS_INTEGER, u32, u32, u32,
      low_ones(y & 31) << (x & 31))
LANE2(szext_clamp_u, "szext", T(U32), "clamp", "sss", CLASS_INTEGER, u32, u32, u32,
      y >= 32 ? x : x & low_ones(y))
LANE2(szext_wrap_u, "szext", T(U32), "wrap", "sss", CLASS_INTEGER, u32, u32, u32,
      x &low_ones(y & 31))
LANE2(szext_clamp_s, "szext", T(S32), "clamp", "sss", CLASS_INTEGER, u32, u32, u32,
      extract((uint64_t)(int64_t)(int32_t)x, 0, y < 32 ? y : 32, 32, true))
LANE2(szext_wrap_s, "szext", T(S32), "wrap", "sss", CLASS_INTEGER, u32, u32, u32,
      extract((uint64_t)(int64_t)(int32_t)x, 0, y & 31, 32, true))

LANE3(prmt, "prmt", T(B32), "", "ssss", CLASS_INTEGER, u32, u32, u32, u32,
      permute_byte(x, y, z, 0) | permute_byte(x, y, z >> 4, 8) | permute_byte(x, y, z >> 8, 16) |
          permute_byte(x, y, z >> 12, 24))
LANE3(prmt_f4e, "prmt", T(B32), "f4e", "ssss", CLASS_INTEGER, u32, u32, u32, u32,
      funnel(x, y) >> 8 * (z & 3))
LANE3(prmt_b4e, "prmt", T(B32), "b4e", "ssss", CLASS_INTEGER, u32, u32, u32, u32,
      permute_back(x, y, z & 3))
LANE3(prmt_rc8, "prmt", T(B32), "rc8", "ssss", CLASS_INTEGER, u32, u32, u32, u32,
      (x >> 8 * (z & 3) & 0xff) * 0x01010101u + (y & 0))
LANE3(prmt_ecl, "prmt", T(B32), "ecl", "ssss", CLASS_INTEGER, u32, u32, u32, u32,
      permute_edge(x, z & 3, false) + (y & 0))
LANE3(prmt_ecr, "prmt", T(B32), "ecr", "ssss", CLASS_INTEGER, u32, u32, u32, u32,
      permute_edge(x, z & 3, true) + (y & 0))
LANE3(prmt_rc16, "prmt", T(B32), "rc16", "ssss", CLASS_INTEGER, u32, u32, u32, u32,
      (x >> 16 * (z & 1) & 0xffff) * 0x00010001u + (y & 0))

/* ---- pairs of 16-bit integers ---- */

SHORT(add_x2, 0, T(U16X2) | T(S16X2), "add", "", "sss", CLASS_INTEGER, 2, x + y)
SHORT(min_u16x2, 0, T(U16X2), "min", "", "sss", CLASS_INTEGER, 2, x < y ? x : y)
SHORT(max_u16x2, 0, T(U16X2), "max", "", "sss", CLASS_INTEGER, 2, x > y ? x : y)
SHORT(min_s16x2, 0, T(S16X2), "min", "", "sss", CLASS_INTEGER, 2,
      (int16_t)x < (int16_t)y ? x : y)
SHORT(max_s16x2, 0, T(S16X2), "max", "", "sss", CLASS_INTEGER, 2,
      (int16_t)x > (int16_t)y ? x : y)

/* ---- moves and choices ---- */

LANE1(mov16, "mov", T16 | T(B16) | T(F16) | T(BF16), "", "ss", CLASS_OTHER, u16, u16, x)
LANE1(mov32, "mov", T32 | T(B32) | T(F32) | T(F16X2) | T(BF16X2), "", "ss", CLASS_OTHER, u32, u32,
      x)
LANE1(mov64, "mov", T64 | T(B64) | T(F64), "", "ss", CLASS_OTHER, u64, u64, x)
SELECT(selp16, "selp", T16 | T(B16) | T(F16) | T(BF16), "", "sssp", CLASS_INTEGER, u16)
SELECT(selp32, "selp", T32 | T(B32) | T(F32) | T(F16X2) | T(BF16X2), "", "sssp", CLASS_INTEGER, u32)
SELECT(selp64, "selp", T64 | T(B64) | T(F64), "", "sssp", CLASS_INTEGER, u64)
LANE3(slct16_s, "slct16", T(S32), "", "sssi", CLASS_INTEGER, u16, u16, u16, s32, z >= 0 ? x : y)
LANE3(slct32_s, "slct32", T(S32), "", "sssi", CLASS_INTEGER, u32, u32, u32, s32, z >= 0 ? x : y)
LANE3(slct64_s, "slct64", T(S32), "", "sssi", CLASS_INTEGER, u64, u64, u64, s32, z >= 0 ? x : y)
LANE3(slct16_f, "slct16", T(F32), "", "sssi", CLASS_INTEGER, u16, u16, u16, f32, z >= 0 ? x : y)
LANE3(slct32_f, "slct32", T(F32), "", "sssi", CLASS_INTEGER, u32, u32, u32, f32, z >= 0 ? x : y)
LANE3(slct64_f, "slct64", T(F32), "", "sssi", CLASS_INTEGER, u64, u64, u64, f32, z >= 0 ? x : y)

/* ---- widths of integers: cvt, narrow loads, addresses ---- */

LANE1(widen_u16_32, "widen", T(U16), "32", "is", CLASS_CONVERT, u32, u16, x)
LANE1(widen_s16_32, "widen", T(S16), "32", "is", CLASS_CONVERT, u32, s16, (uint32_t)(int32_t)x)
LANE1(widen_u16_64, "widen", T(U16), "64", "is", CLASS_CONVERT, u64, u16, x)
LANE1(widen_s16_64, "widen", T(S16), "64", "is", CLASS_CONVERT, u64, s16, (uint64_t)(int64_t)x)
LANE1(widen_u32_64, "widen", T(U32), "64", "is", CLASS_CONVERT, u64, u32, x)
LANE1(widen_s32_64, "widen", T(S32), "64", "is", CLASS_CONVERT, u64, s32, (uint64_t)(int64_t)x)
LANE1(narrow_32_16, "narrow", T(B32), "16", "is", CLASS_CONVERT, u16, u32, x)
LANE1(narrow_64_16, "narrow", T(B64), "16", "is", CLASS_CONVERT, u16, u64, x)
LANE1(narrow_64_32, "narrow", T(B64), "32", "is", CLASS_CONVERT, u32, u64, x)
/* The sign of the low 8, 16 or 32 bits, in place. */
LANE1(sign8_16, "sign", T(B16), "8", "is", CLASS_CONVERT, u16, u16, (uint16_t)(int8_t)x)
LANE1(sign8_32, "sign", T(B32), "8", "is", CLASS_CONVERT, u32, u32, (uint32_t)(int8_t)x)
LANE1(sign8_64, "sign", T(B64), "8", "is", CLASS_CONVERT, u64, u64, (uint64_t)(int8_t)x)
LANE1(sign16_32, "sign", T(B32), "16", "is", CLASS_CONVERT, u32, u32, (uint32_t)(int16_t)x)
LANE1(sign16_64, "sign", T(B64), "16", "is", CLASS_CONVERT, u64, u64, (uint64_t)(int16_t)x)
LANE1(sign32_64, "sign", T(B64), "32", "is", CLASS_CONVERT, u64, u64, (uint64_t)(int32_t)x)

/* ---- comparisons ---- */

#define COMPARES_EQUAL(size, types, T)                                                             \
    COMPARE(setp_eq##size, "setp", types, "eq", "pss", CLASS_PREDICATE, T, x == y)                 \
    COMPARE(setp_ne##size, "setp", types, "ne", "pss", CLASS_PREDICATE, T, x != y)
#define COMPARES_ORDER(size, types, T)                                                             \
    COMPARE(setp_lt##size, "setp", types, "lt", "pss", CLASS_PREDICATE, T, x < y)                  \
    COMPARE(setp_le##size, "setp", types, "le", "pss", CLASS_PREDICATE, T, x <= y)                 \
    COMPARE(setp_gt##size, "setp", types, "gt", "pss", CLASS_PREDICATE, T, x > y)                  \
    COMPARE(setp_ge##size, "setp", types, "ge", "pss", CLASS_PREDICATE, T, x >= y)
#define COMPARES_FLOAT(size, types, T)                                                             \
    COMPARE(setp_eq_##size, "setp", types, "eq", "pss", CLASS_PREDICATE, T, x == y)                \
    COMPARE(setp_ne_##size, "setp", types, "ne", "pss", CLASS_PREDICATE, T, x < y || x > y)        \
    COMPARES_ORDER(_##size, types, T)                                                              \
    COMPARE(setp_equ_##size, "setp", types, "equ", "pss", CLASS_PREDICATE, T, !(x < y || x > y))   \
    COMPARE(setp_neu_##size, "setp", types, "neu", "pss", CLASS_PREDICATE, T, x != y)              \
    COMPARE(setp_ltu_##size, "setp", types, "ltu", "pss", CLASS_PREDICATE, T, !(x >= y))           \
    COMPARE(setp_leu_##size, "setp", types, "leu", "pss", CLASS_PREDICATE, T, !(x > y))            \
    COMPARE(setp_gtu_##size, "setp", types, "gtu", "pss", CLASS_PREDICATE, T, !(x <= y))           \
    COMPARE(setp_geu_##size, "setp", types, "geu", "pss", CLASS_PREDICATE, T, !(x < y))            \
    COMPARE(setp_num_##size, "setp", types, "num", "pss", CLASS_PREDICATE, T, x == x && y == y)    \
    COMPARE(setp_nan_##size, "setp", types, "nan", "pss", CLASS_PREDICATE, T, x != x || y != y)
COMPARES_EQUAL(16, T16 | T(B16), u16)
COMPARES_EQUAL(32, T32 | T(B32), u32)
COMPARES_EQUAL(64, T64 | T(B64), u64)
COMPARES_ORDER(_u16, T(U16), u16)
COMPARES_ORDER(_s16, T(S16), s16)
COMPARES_ORDER(_u32, T(U32), u32)
COMPARES_ORDER(_s32, T(S32), s32)
COMPARES_ORDER(_u64, T(U64), u64)
COMPARES_ORDER(_s64, T(S64), s64)
COMPARES_FLOAT(f32, T(F32), f32)
COMPARES_FLOAT(f64, T(F64), f64)
#undef COMPARES_EQUAL
#undef COMPARES_ORDER
#undef COMPARES_FLOAT

#define HALF_COMPARES(form, types)                                                                 \
    HALF_COMPARE(setp_eq_##form, form, types, "eq", x == y)                                        \
    HALF_COMPARE(setp_ne_##form, form, types, "ne", x < y || x > y)                                \
    HALF_COMPARE(setp_lt_##form, form, types, "lt", x < y)                                         \
    HALF_COMPARE(setp_le_##form, form, types, "le", x <= y)                                        \
    HALF_COMPARE(setp_gt_##form, form, types, "gt", x > y)                                         \
    HALF_COMPARE(setp_ge_##form, form, types, "ge", x >= y)                                        \
    HALF_COMPARE(setp_equ_##form, form, types, "equ", !(x < y || x > y))                           \
    HALF_COMPARE(setp_neu_##form, form, types, "neu", x != y)                                      \
    HALF_COMPARE(setp_ltu_##form, form, types, "ltu", !(x >= y))                                   \
    HALF_COMPARE(setp_leu_##form, form, types, "leu", !(x > y))                                    \
    HALF_COMPARE(setp_gtu_##form, form, types, "gtu", !(x <= y))                                   \
    HALF_COMPARE(setp_geu_##form, form, types, "geu", !(x < y))                                    \
    HALF_COMPARE(setp_num_##form, form, types, "num", x == x && y == y)                            \
    HALF_COMPARE(setp_nan_##form, form, types, "nan", x != x || y != y)
HALF_COMPARES(f16, T(F16))
HALF_COMPARES(bf16, T(BF16))
#undef HALF_COMPARES

COMPARE(testp_finite32, "testp", T(F32), "finite", "ps", CLASS_PREDICATE, u32,
        ((void)y, (x & 0x7fffffff) < 0x7f800000))
COMPARE(testp_infinite32, "testp", T(F32), "infinite", "ps", CLASS_PREDICATE, u32,
        ((void)y, (x & 0x7fffffff) == 0x7f800000))
COMPARE(testp_number32, "testp", T(F32), "number", "ps", CLASS_PREDICATE, u32,
        ((void)y, (x & 0x7fffffff) <= 0x7f800000))
COMPARE(testp_nan32, "testp", T(F32), "notanumber", "ps", CLASS_PREDICATE, u32,
        ((void)y, (x & 0x7fffffff) > 0x7f800000))
COMPARE(testp_normal32, "testp", T(F32), "normal", "ps", CLASS_PREDICATE, u32,
        ((void)y, (x & 0x7f800000) != 0 && (x & 0x7f800000) != 0x7f800000))
COMPARE(testp_subnormal32, "testp", T(F32), "subnormal", "ps", CLASS_PREDICATE, u32,
        ((void)y, (x & 0x7f800000) == 0 && (x & 0x7fffff) != 0))
COMPARE(testp_finite64, "testp", T(F64), "finite", "ps", CLASS_PREDICATE, u64,
        ((void)y, (x & ~SIGN64) < INFINITE64))
COMPARE(testp_infinite64, "testp", T(F64), "infinite", "ps", CLASS_PREDICATE, u64,
        ((void)y, (x & ~SIGN64) == INFINITE64))
COMPARE(testp_number64, "testp", T(F64), "number", "ps", CLASS_PREDICATE, u64,
        ((void)y, (x & ~SIGN64) <= INFINITE64))
COMPARE(testp_nan64, "testp", T(F64), "notanumber", "ps", CLASS_PREDICATE, u64,
        ((void)y, (x & ~SIGN64) > INFINITE64))
COMPARE(testp_normal64, "testp", T(F64), "normal", "ps", CLASS_PREDICATE, u64,
        ((void)y, (x & INFINITE64) != 0 && (x & INFINITE64) != INFINITE64))
COMPARE(testp_subnormal64, "testp", T(F64), "subnormal", "ps", CLASS_PREDICATE, u64,
        ((void)y, (x & INFINITE64) == 0 && (x & ~SIGN64) != 0))

/* ---- f32: each with and without .ftz, which takes subnormals for zero and gives none ---- */

#define FLOAT1(id, opcode, mods, class, ...)                                                       \
    LANE1(id##_f32, opcode, T(F32), mods, "ss", class, f32, f32, nan32(__VA_ARGS__))               \
    LANE1(id##_ftz, opcode, T(F32), mods " ftz", "ss", class, f32, f32,                            \
          (x = flush32(x), nan32(flush32(__VA_ARGS__))))
#define FLOAT2(id, opcode, mods, class, ...)                                                       \
    LANE2(id##_f32, opcode, T(F32), mods, "sss", class, f32, f32, f32, nan32(__VA_ARGS__))         \
    LANE2(id##_ftz, opcode, T(F32), mods " ftz", "sss", class, f32, f32, f32,                      \
          (x = flush32(x), y = flush32(y), nan32(flush32(__VA_ARGS__))))
#define FLOAT3(id, opcode, mods, class, ...)                                                       \
    LANE3(id##_f32, opcode, T(F32), mods, "ssss", class, f32, f32, f32, f32, nan32(__VA_ARGS__))   \
    LANE3(id##_ftz, opcode, T(F32), mods " ftz", "ssss", class, f32, f32, f32, f32,                \
          (x = flush32(x), y = flush32(y), z = flush32(z), nan32(flush32(__VA_ARGS__))))
FLOAT2(add, "add", "", CLASS_FMA, x + y)
FLOAT2(sub, "sub", "", CLASS_FMA, x - y)
FLOAT2(mul, "mul", "", CLASS_FMA, x *y)
FLOAT3(fma, "fma", "", CLASS_FMA, __builtin_fmaf(x, y, z))
FLOAT3(mad, "mad", "", CLASS_FMA, __builtin_fmaf(x, y, z))
FLOAT2(div, "div", "", CLASS_SPECIAL, x / y)
FLOAT1(rcp, "rcp", "", CLASS_SPECIAL, 1.0f / x)
FLOAT1(sqrt, "sqrt", "", CLASS_SPECIAL, __builtin_sqrtf(x))
FLOAT1(rsqrt, "rsqrt", "", CLASS_SPECIAL, (float)(1.0 / __builtin_sqrt((double)x)))
FLOAT1(ex2, "ex2", "", CLASS_SPECIAL, exponential(x))
FLOAT1(lg2, "lg2", "", CLASS_SPECIAL, logarithm(x))
FLOAT1(sin, "sin", "", CLASS_SPECIAL, (float)sin((double)x))
FLOAT1(cos, "cos", "", CLASS_SPECIAL, (float)cos((double)x))
LANE1(tanh_f32, "tanh", T(F32), "", "ss", CLASS_SPECIAL, f32, f32, nan32((float)tanh((double)x)))
FLOAT2(min, "min", "", CLASS_INTEGER, smaller(x, y))
FLOAT2(max, "max", "", CLASS_INTEGER, larger(x, y))
FLOAT2(min_nan, "min", "NaN", CLASS_INTEGER, x != x || y != y ? x + y : smaller(x, y))
FLOAT2(max_nan, "max", "NaN", CLASS_INTEGER, x != x || y != y ? x + y : larger(x, y))
FLOAT2(min_xor, "min", "xorsign abs", CLASS_INTEGER, sign_xor(smaller(fabs32(x), fabs32(y)), x, y))
FLOAT2(max_xor, "max", "xorsign abs", CLASS_INTEGER, sign_xor(larger(fabs32(x), fabs32(y)), x, y))
FLOAT2(min_nan_xor, "min", "NaN xorsign abs", CLASS_INTEGER,
       x != x || y != y ? x + y : sign_xor(smaller(fabs32(x), fabs32(y)), x, y))
FLOAT2(max_nan_xor, "max", "NaN xorsign abs", CLASS_INTEGER,
       x != x || y != y ? x + y : sign_xor(larger(fabs32(x), fabs32(y)), x, y))
#undef FLOAT1
#undef FLOAT2
#undef FLOAT3
LANE1(abs_f32, "abs", T(F32), "", "ss", CLASS_INTEGER, u32, u32, x & 0x7fffffff)
LANE1(abs_ftz, "abs", T(F32), "ftz", "ss", CLASS_INTEGER, f32, f32, fabs32(flush32(x)))
LANE1(neg_f32, "neg", T(F32), "", "ss", CLASS_INTEGER, u32, u32, x ^ 0x80000000)
LANE1(neg_ftz, "neg", T(F32), "ftz", "ss", CLASS_INTEGER, f32, f32, -flush32(x))
LANE2(copysign_f32, "copysign", T(F32), "", "sss", CLASS_INTEGER, u32, u32, u32,
      (x & 0x80000000) | (y & 0x7fffffff))

/* What follows an operation: .sat, and what .ftz does to a value. */
LANE1(saturate_f32, "saturate", T(F32), "", "ss", CLASS_INTEGER, f32, f32,
      x > 0 ? (x < 1 ? x : 1) : 0)
LANE1(saturate_f64, "saturate", T(F64), "", "ss", CLASS_INTEGER, f64, f64,
      x > 0 ? (x < 1 ? x : 1) : 0)
LANE1(flush_f32, "flush", T(F32), "", "ss", CLASS_INTEGER, f32, f32, flush32(x))
LANE1(relu_f32, "relu", T(F32), "", "ss", CLASS_INTEGER, f32, f32, x < 0 ? 0 : nan32(x))

/* ---- f64 ---- */

LANE2(add_f64, "add", T(F64), "", "sss", CLASS_FMA, f64, f64, f64, x + y)
LANE2(sub_f64, "sub", T(F64), "", "sss", CLASS_FMA, f64, f64, f64, x - y)
LANE2(mul_f64, "mul", T(F64), "", "sss", CLASS_FMA, f64, f64, f64, x *y)
LANE3(fma_f64, "fma", T(F64), "", "ssss", CLASS_FMA, f64, f64, f64, f64, __builtin_fma(x, y, z))
LANE3(mad_f64, "mad", T(F64), "", "ssss", CLASS_FMA, f64, f64, f64, f64, __builtin_fma(x, y, z))
LANE2(div_f64, "div", T(F64), "", "sss", CLASS_SPECIAL, f64, f64, f64, x / y)
LANE1(rcp_f64, "rcp", T(F64), "", "ss", CLASS_SPECIAL, f64, f64, 1.0 / x)
LANE1(rcp_approx_f64, "rcp", T(F64), "ftz", "ss", CLASS_SPECIAL, f64, f64,
      flush64(1.0 / flush64(x)))
LANE1(sqrt_f64, "sqrt", T(F64), "", "ss", CLASS_SPECIAL, f64, f64, __builtin_sqrt(x))
LANE1(rsqrt_f64, "rsqrt", T(F64), "", "ss", CLASS_SPECIAL, f64, f64, 1.0 / __builtin_sqrt(x))
LANE1(rsqrt_approx_f64, "rsqrt", T(F64), "ftz", "ss", CLASS_SPECIAL, f64, f64,
      1.0 / __builtin_sqrt(flush64(x)))
LANE2(min_f64, "min", T(F64), "", "sss", CLASS_INTEGER, f64, f64, f64, smaller64(x, y))
LANE2(max_f64, "max", T(F64), "", "sss", CLASS_INTEGER, f64, f64, f64, larger64(x, y))
LANE1(abs_f64, "abs", T(F64), "", "ss", CLASS_INTEGER, u64, u64, x & ~SIGN64)
LANE1(neg_f64, "neg", T(F64), "", "ss", CLASS_INTEGER, u64, u64, x ^ SIGN64)
LANE2(copysign_f64, "copysign", T(F64), "", "sss", CLASS_INTEGER, u64, u64, u64,
      (x & SIGN64) | (y & ~SIGN64))

/* ---- halves: in f32, where what is between is exact, or rounded so that it does not show ---- */

#define HALVES(id, opcode, mods, kinds, sources, ...)                                              \
    HALF(id##_f16, f16, T(F16), T(F16X2), opcode, mods, kinds, sources, __VA_ARGS__)               \
    HALF(id##_bf16, bf16, T(BF16), T(BF16X2), opcode, mods, kinds, sources, __VA_ARGS__)
HALVES(add, "add", "", "sss", 2, x + y)
HALVES(sub, "sub", "", "sss", 2, x - y)
HALF(mul_f16, f16, T(F16), T(F16X2), "mul", "", "sss", 2, x *y)
HALF(mul_bf16, bf16, T(BF16), T(BF16X2), "mul", "", "sss", 2, odd_float((double)x * (double)y))
HALF(fma_f16, f16, T(F16), T(F16X2), "fma", "", "ssss", 3, fma_odd(x, y, z))
HALF(fma_bf16, bf16, T(BF16), T(BF16X2), "fma", "", "ssss", 3,
     odd_float(sum_odd((double)x * (double)y, (double)z)))
HALVES(min, "min", "", "sss", 2, smaller(x, y))
HALVES(max, "max", "", "sss", 2, larger(x, y))
HALVES(min_nan, "min", "NaN", "sss", 2, x != x || y != y ? x + y : smaller(x, y))
HALVES(max_nan, "max", "NaN", "sss", 2, x != x || y != y ? x + y : larger(x, y))
HALVES(min_xor, "min", "xorsign abs", "sss", 2, sign_xor(smaller(fabs32(x), fabs32(y)), x, y))
HALVES(max_xor, "max", "xorsign abs", "sss", 2, sign_xor(larger(fabs32(x), fabs32(y)), x, y))
HALVES(min_nan_xor, "min", "NaN xorsign abs", "sss", 2,
       x != x || y != y ? x + y : sign_xor(smaller(fabs32(x), fabs32(y)), x, y))
HALVES(max_nan_xor, "max", "NaN xorsign abs", "sss", 2,
       x != x || y != y ? x + y : sign_xor(larger(fabs32(x), fabs32(y)), x, y))
HALVES(ex2, "ex2", "", "ss", 1, exponential(x))
HALVES(tanh, "tanh", "", "ss", 1, (float)tanh((double)x))
#undef HALVES
SHORT(abs, T(F16) | T(BF16), T(F16X2) | T(BF16X2), "abs", "", "ss", CLASS_HALF, 1, x & 0x7fff)
SHORT(neg, T(F16) | T(BF16), T(F16X2) | T(BF16X2), "neg", "", "ss", CLASS_HALF, 1, x ^ 0x8000)
SHORT(saturate_f16, T(F16), T(F16X2), "saturate", "", "ss", CLASS_HALF, 1,
      x > 0x7c00 ? 0 : x > 0x3c00 ? 0x3c00 : x)
SHORT(saturate_bf16, T(BF16), T(BF16X2), "saturate", "", "ss", CLASS_HALF, 1,
      x > 0x7f80 ? 0 : x > 0x3f80 ? 0x3f80 : x)
SHORT(relu_f16, T(F16), T(F16X2), "relu", "", "ss", CLASS_HALF, 1,
      (x & 0x7fff) > 0x7c00 ? 0x7fff : x & 0x8000 ? 0 : x)
SHORT(relu_bf16, T(BF16), T(BF16X2), "relu", "", "ss", CLASS_HALF, 1,
      (x & 0x7fff) > 0x7f80 ? 0x7fff : x & 0x8000 ? 0 : x)
SHORT(flush_f16, T(F16), T(F16X2), "flush", "", "ss", CLASS_HALF, 1, x & 0x7c00 ? x : x & 0x8000)
SHORT(flush_bf16, T(BF16), T(BF16X2), "flush", "", "ss", CLASS_HALF, 1,
      x & 0x7f80 ? x : x & 0x8000)

/* ---- conversions that are hot ---- */

LANE1(cvt_f32_s32, "cvt f32", T(S32), "", "is", CLASS_CONVERT, f32, s32, (float)x)
LANE1(cvt_f32_u32, "cvt f32", T(U32), "", "is", CLASS_CONVERT, f32, u32, (float)x)
LANE1(cvt_s32_f32, "cvt s32", T(F32), "rzi", "is", CLASS_CONVERT, s32, f32, float_s32(x))
LANE1(cvt_f64_f32, "cvt f64", T(F32), "", "is", CLASS_CONVERT, f64, f32, (double)x)
LANE1(cvt_f32_f64, "cvt f32", T(F64), "rn", "is", CLASS_CONVERT, f32, f64, nan32((float)x))
LANE1(cvt_f32_bf16, "cvt f32", T(BF16), "", "is", CLASS_CONVERT, f32, u16, nan32(bf16_float(x)))
LANE1(cvt_bf16_f32, "cvt bf16", T(F32), "rn", "is", CLASS_CONVERT, u16, f32, float_bf16(x))
