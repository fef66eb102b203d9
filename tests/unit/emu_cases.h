/*
 * Instructions and what they must give, for test_emu_core.c: CASE(name, instruction, widths, types,
 * value). The instruction names its registers d, x, y, z, w. `widths` has the bytes of each (p: a
 * predicate, true for odd values), `types` what inputs are drawn from: i integers, f f32, g f64,
 * h f16, b bf16, H and B pairs of them, s small shifts. The value is plain C of the inputs as
 * uint64_t x, y, z, w. NEAR is a CASE that may be a step of the last place away.
 */

/* ---- integers ---- */
CASE(add_u16, "add.u16 d, x, y;", "222", "ii", x + y)
CASE(add_s32, "add.s32 d, x, y;", "444", "ii", x + y)
CASE(add_u64, "add.u64 d, x, y;", "888", "ii", x + y)
CASE(add_sat, "add.sat.s32 d, x, y;", "444", "ii", saturated((int64_t)S32(x) + S32(y)))
CASE(sub_sat, "sub.sat.s32 d, x, y;", "444", "ii", saturated((int64_t)S32(x) - S32(y)))
CASE(sub_s16, "sub.s16 d, x, y;", "222", "ii", x - y)
CASE(sub_u32, "sub.u32 d, x, y;", "444", "ii", x - y)
CASE(sub_s64, "sub.s64 d, x, y;", "888", "ii", x - y)
CASE(mul_lo_u16, "mul.lo.u16 d, x, y;", "222", "ii", x *y)
CASE(mul_lo_s32, "mul.lo.s32 d, x, y;", "444", "ii", x *y)
CASE(mul_lo_u64, "mul.lo.u64 d, x, y;", "888", "ii", x *y)
CASE(mul_hi_u16, "mul.hi.u16 d, x, y;", "222", "ii", x *y >> 16)
CASE(mul_hi_s16, "mul.hi.s16 d, x, y;", "222", "ii", (uint64_t)(S16(x) * S16(y)) >> 16)
CASE(mul_hi_u32, "mul.hi.u32 d, x, y;", "444", "ii", x *y >> 32)
CASE(mul_hi_s32, "mul.hi.s32 d, x, y;", "444", "ii", (uint64_t)((int64_t)S32(x) * S32(y)) >> 32)
CASE(mul_hi_u64, "mul.hi.u64 d, x, y;", "888", "ii", (uint64_t)((wide_unsigned)x * y >> 64))
CASE(mul_hi_s64, "mul.hi.s64 d, x, y;", "888", "ii",
     (uint64_t)((wide_signed)(int64_t)x * (int64_t)y >> 64))
CASE(mul_wide_u16, "mul.wide.u16 d, x, y;", "422", "ii", x *y)
CASE(mul_wide_s16, "mul.wide.s16 d, x, y;", "422", "ii", (uint64_t)(S16(x) * S16(y)))
CASE(mul_wide_u32, "mul.wide.u32 d, x, y;", "844", "ii", x *y)
CASE(mul_wide_s32, "mul.wide.s32 d, x, y;", "844", "ii", (uint64_t)((int64_t)S32(x) * S32(y)))
CASE(mad_lo_u16, "mad.lo.u16 d, x, y, z;", "2222", "iii", x *y + z)
CASE(mad_lo_s32, "mad.lo.s32 d, x, y, z;", "4444", "iii", x *y + z)
CASE(mad_lo_u64, "mad.lo.u64 d, x, y, z;", "8888", "iii", x *y + z)
CASE(mad_hi_u16, "mad.hi.u16 d, x, y, z;", "2222", "iii", (x * y >> 16) + z)
CASE(mad_hi_s16, "mad.hi.s16 d, x, y, z;", "2222", "iii", ((uint64_t)(S16(x) * S16(y)) >> 16) + z)
CASE(mad_hi_u32, "mad.hi.u32 d, x, y, z;", "4444", "iii", (x * y >> 32) + z)
CASE(mad_hi_s32, "mad.hi.s32 d, x, y, z;", "4444", "iii",
     ((uint64_t)((int64_t)S32(x) * S32(y)) >> 32) + z)
CASE(mad_hi_sat, "mad.hi.sat.s32 d, x, y, z;", "4444", "iii",
     saturated(((int64_t)S32(x) * S32(y) >> 32) + S32(z)))
CASE(mad_hi_u64, "mad.hi.u64 d, x, y, z;", "8888", "iii",
     (uint64_t)((wide_unsigned)x * y >> 64) + z)
CASE(mad_hi_s64, "mad.hi.s64 d, x, y, z;", "8888", "iii",
     (uint64_t)((wide_signed)(int64_t)x * (int64_t)y >> 64) + z)
CASE(mad_wide_u16, "mad.wide.u16 d, x, y, z;", "4224", "iii", x *y + z)
CASE(mad_wide_s16, "mad.wide.s16 d, x, y, z;", "4224", "iii", (uint64_t)(S16(x) * S16(y)) + z)
CASE(mad_wide_u32, "mad.wide.u32 d, x, y, z;", "8448", "iii", x *y + z)
CASE(mad_wide_s32, "mad.wide.s32 d, x, y, z;", "8448", "iii",
     (uint64_t)((int64_t)S32(x) * S32(y)) + z)
CASE(mul24_lo_u, "mul24.lo.u32 d, x, y;", "444", "ii", (x & 0xffffff) * (y & 0xffffff))
CASE(mul24_lo_s, "mul24.lo.s32 d, x, y;", "444", "ii", (uint64_t)(S24(x) * S24(y)))
CASE(mul24_hi_u, "mul24.hi.u32 d, x, y;", "444", "ii", (x & 0xffffff) * (y & 0xffffff) >> 16)
CASE(mul24_hi_s, "mul24.hi.s32 d, x, y;", "444", "ii", (uint64_t)(S24(x) * S24(y)) >> 16)
CASE(mad24_lo_u, "mad24.lo.u32 d, x, y, z;", "4444", "iii", (x & 0xffffff) * (y & 0xffffff) + z)
CASE(mad24_hi_s, "mad24.hi.s32 d, x, y, z;", "4444", "iii",
     ((uint64_t)(S24(x) * S24(y)) >> 16) + z)
CASE(div_u16, "div.u16 d, x, y;", "222", "ii", y ? x / y : UINT64_MAX)
CASE(div_s16, "div.s16 d, x, y;", "222", "ii", y ? (uint64_t)(S16(x) / S16(y)) : UINT64_MAX)
CASE(div_u32, "div.u32 d, x, y;", "444", "ii", y ? x / y : UINT64_MAX)
CASE(div_s32, "div.s32 d, x, y;", "444", "ii",
     y ? (uint64_t)((int64_t)S32(x) / S32(y)) : UINT64_MAX)
CASE(div_u64, "div.u64 d, x, y;", "888", "ii", y ? x / y : UINT64_MAX)
CASE(div_s64, "div.s64 d, x, y;", "888", "ii",
     y ? (uint64_t)((wide_signed)(int64_t)x / (int64_t)y) : UINT64_MAX)
CASE(rem_u16, "rem.u16 d, x, y;", "222", "ii", y ? x % y : x)
CASE(rem_s32, "rem.s32 d, x, y;", "444", "ii", y ? (uint64_t)((int64_t)S32(x) % S32(y)) : x)
CASE(rem_u32, "rem.u32 d, x, y;", "444", "ii", y ? x % y : x)
CASE(rem_s64, "rem.s64 d, x, y;", "888", "ii",
     y ? (uint64_t)((wide_signed)(int64_t)x % (int64_t)y) : x)
CASE(min_s16, "min.s16 d, x, y;", "222", "ii", S16(x) < S16(y) ? x : y)
CASE(min_u32, "min.u32 d, x, y;", "444", "ii", x < y ? x : y)
CASE(min_s64, "min.s64 d, x, y;", "888", "ii", (int64_t)x < (int64_t)y ? x : y)
CASE(max_u16, "max.u16 d, x, y;", "222", "ii", x > y ? x : y)
CASE(max_s32, "max.s32 d, x, y;", "444", "ii", S32(x) > S32(y) ? x : y)
CASE(max_u64, "max.u64 d, x, y;", "888", "ii", x > y ? x : y)
CASE(min_relu, "min.relu.s32 d, x, y;", "444", "ii", relu(S32(x) < S32(y) ? S32(x) : S32(y)))
CASE(max_relu, "max.relu.s32 d, x, y;", "444", "ii", relu(S32(x) > S32(y) ? S32(x) : S32(y)))
CASE(add_u16x2, "add.u16x2 d, x, y;", "444", "ii", both16(x, y, (a + b) & 0xffff))
CASE(min_s16x2, "min.s16x2 d, x, y;", "444", "ii", both16(x, y, S16(a) < S16(b) ? a : b))
CASE(max_s16x2, "max.s16x2 d, x, y;", "444", "ii", both16(x, y, S16(a) > S16(b) ? a : b))
CASE(min_u16x2, "min.u16x2 d, x, y;", "444", "ii", both16(x, y, a < b ? a : b))
CASE(max_u16x2, "max.u16x2 d, x, y;", "444", "ii", both16(x, y, a > b ? a : b))
CASE(abs_s16, "abs.s16 d, x;", "22", "i", S16(x) < 0 ? 0 - x : x)
CASE(abs_s32, "abs.s32 d, x;", "44", "i", S32(x) < 0 ? 0 - x : x)
CASE(abs_s64, "abs.s64 d, x;", "88", "i", (int64_t)x < 0 ? 0 - x : x)
CASE(neg_s16, "neg.s16 d, x;", "22", "i", 0 - x)
CASE(neg_s32, "neg.s32 d, x;", "44", "i", 0 - x)
CASE(neg_s64, "neg.s64 d, x;", "88", "i", 0 - x)
CASE(sad_u16, "sad.u16 d, x, y, z;", "2222", "iii", z + (x > y ? x - y : y - x))
CASE(sad_s32, "sad.s32 d, x, y, z;", "4444", "iii", z + (S32(x) > S32(y) ? x - y : y - x))
CASE(sad_u64, "sad.u64 d, x, y, z;", "8888", "iii", z + (x > y ? x - y : y - x))
CASE(sad_s64, "sad.s64 d, x, y, z;", "8888", "iii",
     z + ((int64_t)x > (int64_t)y ? x - y : y - x))
CASE(dp4a_ss, "dp4a.s32.s32 d, x, y, z;", "4444", "iii", dot4(x, y, z, true, true))
CASE(dp4a_us, "dp4a.u32.s32 d, x, y, z;", "4444", "iii", dot4(x, y, z, false, true))
CASE(dp4a_uu, "dp4a.u32.u32 d, x, y, z;", "4444", "iii", dot4(x, y, z, false, false))
CASE(dp2a_lo, "dp2a.lo.s32.s32 d, x, y, z;", "4444", "iii", dot2(x, y, z, true, true, 0))
CASE(dp2a_hi, "dp2a.hi.u32.s32 d, x, y, z;", "4444", "iii", dot2(x, y, z, false, true, 2))
CASE(add_carry, "add.cc.u32 d, x, y; addc.u32 d, z, z;", "4444", "iii",
     2 * z + ((x + y) >> 32))
CASE(add_carry_64, "add.cc.u64 d, x, y; addc.u64 d, z, z;", "8888", "iii",
     2 * z + (x + y < x))
CASE(sub_borrow, "sub.cc.u32 d, x, y; subc.u32 d, z, y;", "4444", "iii", z - y - (x < y))
CASE(add_carry_chain, "add.cc.u32 d, x, y; addc.cc.u32 d, x, x; addc.u32 d, z, 0;", "4444", "iii",
     z + ((2 * x + ((x + y) >> 32)) >> 32))
CASE(mad_carry, "mad.lo.cc.u32 d, x, y, z; madc.hi.u32 d, x, y, 0;", "4444", "iii",
     (x * y + z) >> 32)
CASE(mad_carry_s, "mad.hi.cc.s32 d, x, y, z; addc.u32 d, z, 0;", "4444", "iii",
     z + ((U32((uint64_t)((int64_t)S32(x) * S32(y)) >> 32) + z) >> 32))

/* ---- bits ---- */
CASE(and_b16, "and.b16 d, x, y;", "222", "ii", x &y)
CASE(and_b32, "and.b32 d, x, y;", "444", "ii", x &y)
CASE(or_b64, "or.b64 d, x, y;", "888", "ii", x | y)
CASE(or_b32, "or.b32 d, x, y;", "444", "ii", x | y)
CASE(xor_b32, "xor.b32 d, x, y;", "444", "ii", x ^ y)
CASE(xor_b64, "xor.b64 d, x, y;", "888", "ii", x ^ y)
CASE(not_b16, "not.b16 d, x;", "22", "i", ~x)
CASE(not_b32, "not.b32 d, x;", "44", "i", ~x)
CASE(cnot_b32, "cnot.b32 d, x;", "44", "i", x == 0)
CASE(cnot_b64, "cnot.b64 d, x;", "88", "i", x == 0)
CASE(lop3_e8, "lop3.b32 d, x, y, z, 0xe8;", "4444", "iii", (x & y) | (x & z) | (y & z))
CASE(lop3_96, "lop3.b32 d, x, y, z, 0x96;", "4444", "iii", x ^ y ^ z)
CASE(lop3_2a, "lop3.b32 d, x, y, z, 0x2a;", "4444", "iii", ~(x & y) & z)
CASE(lop3_01, "lop3.b32 d, x, y, z, 0x01;", "4444", "iii", ~(x | y | z))
CASE(shl_b16, "shl.b16 d, x, y;", "224", "is", y > 15 ? 0 : x << y)
CASE(shl_b32, "shl.b32 d, x, y;", "444", "is", y > 31 ? 0 : x << y)
CASE(shl_b64, "shl.b64 d, x, y;", "884", "is", y > 63 ? 0 : x << y)
CASE(shr_u16, "shr.u16 d, x, y;", "224", "is", y > 15 ? 0 : x >> y)
CASE(shr_b32, "shr.b32 d, x, y;", "444", "is", y > 31 ? 0 : x >> y)
CASE(shr_u64, "shr.u64 d, x, y;", "884", "is", y > 63 ? 0 : x >> y)
CASE(shr_s16, "shr.s16 d, x, y;", "224", "is", (uint64_t)(S16(x) >> (y > 15 ? 15 : y)))
CASE(shr_s32, "shr.s32 d, x, y;", "444", "is", (uint64_t)(int64_t)(S32(x) >> (y > 31 ? 31 : y)))
CASE(shr_s64, "shr.s64 d, x, y;", "884", "is", (uint64_t)((int64_t)x >> (y > 63 ? 63 : y)))
CASE(shf_l_wrap, "shf.l.wrap.b32 d, x, y, z;", "4444", "iis",
     (y << 32 | x) << (z & 31) >> 32)
CASE(shf_r_wrap, "shf.r.wrap.b32 d, x, y, z;", "4444", "iis", (y << 32 | x) >> (z & 31))
CASE(shf_l_clamp, "shf.l.clamp.b32 d, x, y, z;", "4444", "iis",
     z >= 32 ? x : (y << 32 | x) << z >> 32)
CASE(shf_r_clamp, "shf.r.clamp.b32 d, x, y, z;", "4444", "iis",
     z >= 32 ? y : (y << 32 | x) >> z)
CASE(popc_b32, "popc.b32 d, x;", "44", "i", bits_count(x))
CASE(popc_b64, "popc.b64 d, x;", "48", "i", bits_count(x))
CASE(clz_b32, "clz.b32 d, x;", "44", "i", (uint64_t)(31 - top_bit(x)))
CASE(clz_b64, "clz.b64 d, x;", "48", "i", (uint64_t)(63 - top_bit(x)))
CASE(brev_b32, "brev.b32 d, x;", "44", "i", reversed(x, 32))
CASE(brev_b64, "brev.b64 d, x;", "88", "i", reversed(x, 64))
CASE(bfind_u32, "bfind.u32 d, x;", "44", "i", (uint64_t)top_bit(x))
CASE(bfind_s32, "bfind.s32 d, x;", "44", "i", (uint64_t)top_bit(S32(x) < 0 ? U32(~x) : x))
CASE(bfind_u64, "bfind.u64 d, x;", "48", "i", (uint64_t)top_bit(x))
CASE(bfind_s64, "bfind.s64 d, x;", "48", "i", (uint64_t)top_bit((int64_t)x < 0 ? ~x : x))
CASE(bfind_shift, "bfind.shiftamt.u32 d, x;", "44", "i", x ? 31 - (uint64_t)top_bit(x) : ~0ull)
CASE(bfe_u32, "bfe.u32 d, x, y, z;", "4444", "iss", field(x, y, z, 32, false))
CASE(bfe_s32, "bfe.s32 d, x, y, z;", "4444", "iss", field(x, y, z, 32, true))
CASE(bfe_u64, "bfe.u64 d, x, y, z;", "8844", "iss", field(x, y, z, 64, false))
CASE(bfe_s64, "bfe.s64 d, x, y, z;", "8844", "iss", field(x, y, z, 64, true))
CASE(bfi_b32, "bfi.b32 d, x, y, z, w;", "44444", "iiss", inserted(x, y, z, w, 32))
CASE(bfi_b64, "bfi.b64 d, x, y, z, w;", "88844", "iiss", inserted(x, y, z, w, 64))
CASE(fns_b32, "fns.b32 d, x, y, z;", "4444", "iss", nth_bit(x, y, S32(z)))
CASE(fns_back, "neg.s32 d, z; fns.b32 d, x, y, d;", "4444", "iss", nth_bit(x, y, -S32(z)))
CASE(bmsk, "bmsk.clamp.b32 d, x, y;", "444", "ss", mask_clamped(x, y))
CASE(szext_s, "szext.wrap.s32 d, x, y;", "444", "is", field(x, 0, y & 31, 32, true))
CASE(szext_u, "szext.clamp.u32 d, x, y;", "444", "is", y >= 32 ? x : x & ((1ull << y) - 1))
CASE(prmt, "prmt.b32 d, x, y, z;", "4444", "iii", permuted(x, y, z))
CASE(prmt_f4e, "prmt.b32.f4e d, x, y, z;", "4444", "iii",
     permuted(x, y, 0x3210 + 0x1111 * (z & 3)))
CASE(prmt_b4e, "prmt.b32.b4e d, x, y, z;", "4444", "iii",
     permuted(x, y, (uint32_t[]){0x5670, 0x6701, 0x7012, 0x0123}[z & 3]))
CASE(prmt_rc8, "prmt.b32.rc8 d, x, y, z;", "4444", "iii", permuted(x, y, 0x1111 * (z & 3)))
CASE(prmt_ecl, "prmt.b32.ecl d, x, y, z;", "4444", "iii",
     permuted(x, y, (uint32_t[]){0x3210, 0x3211, 0x3222, 0x3333}[z & 3]))
CASE(prmt_ecr, "prmt.b32.ecr d, x, y, z;", "4444", "iii",
     permuted(x, y, (uint32_t[]){0x0000, 0x1110, 0x2210, 0x3210}[z & 3]))
CASE(prmt_rc16, "prmt.b32.rc16 d, x, y, z;", "4444", "iii",
     permuted(x, y, z & 1 ? 0x3232 : 0x1010))

/* ---- moves, choices, predicates ---- */
CASE(mov_b16, "mov.b16 d, x;", "22", "i", x)
CASE(mov_f32, "mov.f32 d, x;", "44", "f", x)
CASE(mov_u64, "mov.u64 d, x;", "88", "i", x)
CASE(mov_float, "mov.f32 d, 0f3F800000;", "44", "i", 0x3f800000)
CASE(mov_double, "mov.f64 d, 0dBFF8000000000000;", "88", "i", 0xbff8000000000000)
CASE(mov_decimal, "mov.f32 d, 1.5;", "44", "i", 0x3fc00000)
CASE(mov_negative, "mov.s32 d, -7;", "44", "i", 0 - (uint64_t)7)
CASE(pack_2x16, "mov.b32 d, {x, y};", "422", "ii", x | y << 16)
CASE(pack_2x32, "mov.b64 d, {x, y};", "844", "ii", x | y << 32)
CASE(pack_4x16, "mov.b64 d, {x, y, z, w};", "82222", "iiii", x | y << 16 | z << 32 | w << 48)
CASE(unpack_low, "mov.b32 {d, _}, x;", "24", "i", x)
CASE(unpack_high, "mov.b32 {_, d}, x;", "24", "i", x >> 16)
CASE(unpack_64, "{ .reg .b32 t; mov.b64 {t, d}, x; xor.b32 d, d, t; }", "48", "i", x >> 32 ^ x)
CASE(unpack_4x16, "mov.b64 {_, _, d, _}, x;", "28", "i", x >> 32)
CASE(wide_128,
     "{ .reg .b128 t; .reg .b64 u, v; mov.b128 t, {x, y}; mov.b128 {u, v}, t; sub.s64 d, v, u; }",
     "888", "ii", y - x)
CASE(selp_b16, "selp.b16 d, x, y, z;", "222p", "iii", z & 1 ? x : y)
CASE(selp_f32, "selp.f32 d, x, y, z;", "444p", "ffi", z & 1 ? x : y)
CASE(selp_b64, "selp.b64 d, x, y, z;", "888p", "iii", z & 1 ? x : y)
CASE(slct_s, "slct.u32.s32 d, x, y, z;", "4444", "iii", S32(z) >= 0 ? x : y)
CASE(slct_f, "slct.b64.f32 d, x, y, z;", "8884", "iif", F(z) >= 0 ? x : y)
CASE(slct_ftz, "slct.ftz.b32.f32 d, x, y, z;", "4444", "iif", F(ftz(z)) >= 0 ? x : y)
CASE(and_pred, "{ .reg .pred t; and.pred t, x, y; selp.b32 d, 1, 0, t; }", "4pp", "ii", x &y & 1)
CASE(or_pred, "{ .reg .pred t; or.pred t, x, !y; selp.b32 d, 1, 0, t; }", "4pp", "ii",
     (x | ~y) & 1)
CASE(xor_pred, "{ .reg .pred t; xor.pred t, x, y; selp.b32 d, 1, 0, t; }", "4pp", "ii",
     (x ^ y) & 1)
CASE(not_pred, "{ .reg .pred t; not.pred t, x; selp.b32 d, 1, 0, t; }", "4p", "i", ~x & 1)
CASE(mov_pred, "{ .reg .pred t, u; mov.pred t, x; mov.pred u, 1; xor.pred t, t, u; "
               "selp.b32 d, 1, 0, t; }", "4p", "i", ~x & 1)

/* ---- comparisons ---- */
#define SETP(name, text, width, types, value)                                                      \
    CASE(name, "{ .reg .pred t; setp." text " t, x, y; selp.b32 d, 1, 0, t; }", "4" width width,   \
         types, value)
SETP(setp_eq_s16, "eq.s16", "2", "ii", x == y)
SETP(setp_ne_b32, "ne.b32", "4", "ii", x != y)
SETP(setp_eq_b64, "eq.b64", "8", "ii", x == y)
SETP(setp_lt_s16, "lt.s16", "2", "ii", S16(x) < S16(y))
SETP(setp_le_u16, "le.u16", "2", "ii", x <= y)
SETP(setp_lt_s32, "lt.s32", "4", "ii", S32(x) < S32(y))
SETP(setp_le_s32, "le.s32", "4", "ii", S32(x) <= S32(y))
SETP(setp_gt_s32, "gt.s32", "4", "ii", S32(x) > S32(y))
SETP(setp_ge_s32, "ge.s32", "4", "ii", S32(x) >= S32(y))
SETP(setp_lo_u32, "lo.u32", "4", "ii", x < y)
SETP(setp_ls_u32, "ls.u32", "4", "ii", x <= y)
SETP(setp_hi_u32, "hi.u32", "4", "ii", x > y)
SETP(setp_hs_u64, "hs.u64", "8", "ii", x >= y)
SETP(setp_gt_u32, "gt.u32", "4", "ii", x > y)
SETP(setp_gt_s64, "gt.s64", "8", "ii", (int64_t)x > (int64_t)y)
SETP(setp_lt_u64, "lt.u64", "8", "ii", x < y)
SETP(setp_eq_f32, "eq.f32", "4", "ff", F(x) == F(y))
SETP(setp_ne_f32, "ne.f32", "4", "ff", F(x) != F(y) && ordered(F(x), F(y)))
SETP(setp_lt_f32, "lt.f32", "4", "ff", F(x) < F(y))
SETP(setp_le_f32, "le.f32", "4", "ff", F(x) <= F(y))
SETP(setp_gt_f32, "gt.f32", "4", "ff", F(x) > F(y))
SETP(setp_ge_f32, "ge.f32", "4", "ff", F(x) >= F(y))
SETP(setp_equ_f32, "equ.f32", "4", "ff", F(x) == F(y) || !ordered(F(x), F(y)))
SETP(setp_neu_f32, "neu.f32", "4", "ff", F(x) != F(y))
SETP(setp_ltu_f32, "ltu.f32", "4", "ff", F(x) < F(y) || !ordered(F(x), F(y)))
SETP(setp_leu_f32, "leu.f32", "4", "ff", F(x) <= F(y) || !ordered(F(x), F(y)))
SETP(setp_gtu_f32, "gtu.f32", "4", "ff", F(x) > F(y) || !ordered(F(x), F(y)))
SETP(setp_geu_f32, "geu.f32", "4", "ff", F(x) >= F(y) || !ordered(F(x), F(y)))
SETP(setp_num_f32, "num.f32", "4", "ff", ordered(F(x), F(y)))
SETP(setp_nan_f32, "nan.f32", "4", "ff", !ordered(F(x), F(y)))
SETP(setp_eq_ftz, "eq.ftz.f32", "4", "ff", F(ftz(x)) == F(ftz(y)))
SETP(setp_lt_f64, "lt.f64", "8", "gg", D(x) < D(y))
SETP(setp_geu_f64, "geu.f64", "8", "gg", !(D(x) < D(y)))
SETP(setp_nan_f64, "nan.f64", "8", "gg", !ordered(D(x), D(y)))
SETP(setp_lt_f16, "lt.f16", "2", "hh", H(x) < H(y))
SETP(setp_neu_f16, "neu.f16", "2", "hh", H(x) != H(y))
SETP(setp_ge_bf16, "ge.bf16", "2", "bb", B(x) >= B(y))
#undef SETP
CASE(setp_and, "{ .reg .pred t, u; setp.lt.and.s32 t|u, x, y, z; selp.b32 d, 1, 0, t; "
               "@u add.s32 d, d, 2; }", "444p", "iii",
     ((S32(x) < S32(y)) & z & 1) + 2 * ((S32(x) >= S32(y)) & z & 1))
CASE(setp_or, "{ .reg .pred t, u; setp.eq.or.u32 t|u, x, y, !z; selp.b32 d, 1, 0, t; "
              "@u add.s32 d, d, 2; }", "444p", "iii",
     ((x == y) | (~z & 1)) + 2 * ((x != y) | (~z & 1)))
CASE(setp_xor, "{ .reg .pred t; setp.gt.xor.f32 t|_, x, y, z; selp.b32 d, 1, 0, t; }",
     "444p", "ffi", (F(x) > F(y)) ^ (z & 1))
CASE(setp_pairs, "{ .reg .pred t, u; setp.le.f16x2 t|u, x, y; selp.b32 d, 1, 0, t; "
                 "@u add.s32 d, d, 2; }", "444", "HH",
     (H(x & 0xffff) <= H(y & 0xffff)) + 2 * (H(x >> 16) <= H(y >> 16)))
CASE(set_u32, "set.lt.u32.s32 d, x, y;", "444", "ii", S32(x) < S32(y) ? UINT64_MAX : 0)
CASE(set_f32, "set.ge.f32.f32 d, x, y;", "444", "ff", F(x) >= F(y) ? 0x3f800000 : 0)
CASE(set_and, "set.ne.and.f32.u32 d, x, y, z;", "444p", "iii", x != y && (z & 1) ? 0x3f800000 : 0)
CASE(set_f16, "set.gt.f16.f16 d, x, y;", "222", "hh", H(x) > H(y) ? 0x3c00 : 0)
CASE(set_f16x2, "set.gtu.f16x2.f16x2 d, x, y;", "444", "HH",
     both16(x, y, !(H(a) <= H(b)) ? 0x3c00 : 0))
CASE(set_mask, "set.eq.u32.bf16x2 d, x, y;", "444", "BB", both16(x, y, B(a) == B(b) ? 0xffff : 0))
CASE(testp_finite, "{ .reg .pred t; testp.finite.f32 t, x; selp.b32 d, 1, 0, t; }", "44", "f",
     isfinite(F(x)))
CASE(testp_infinite, "{ .reg .pred t; testp.infinite.f64 t, x; selp.b32 d, 1, 0, t; }", "48", "g",
     isinf(D(x)) != 0)
CASE(testp_number, "{ .reg .pred t; testp.number.f32 t, x; selp.b32 d, 1, 0, t; }", "44", "f",
     !isnan(F(x)))
CASE(testp_nan, "{ .reg .pred t; testp.notanumber.f64 t, x; selp.b32 d, 1, 0, t; }", "48", "g",
     isnan(D(x)))
CASE(testp_normal, "{ .reg .pred t; testp.normal.f32 t, x; selp.b32 d, 1, 0, t; }", "44", "f",
     isnormal(F(x)))
CASE(testp_subnormal, "{ .reg .pred t; testp.subnormal.f32 t, x; selp.b32 d, 1, 0, t; }", "44", "f",
     fpclassify(F(x)) == FP_SUBNORMAL)

/* ---- f32 ---- */
CASE(add_f32, "add.f32 d, x, y;", "444", "ff", of_float(F(x) + F(y)))
CASE(add_ftz, "add.ftz.f32 d, x, y;", "444", "ff", ftz(of_float(F(ftz(x)) + F(ftz(y)))))
CASE(add_sat_f32, "add.sat.f32 d, x, y;", "444", "ff", unit(F(x) + F(y)))
CASE(add_rz, "add.rz.f32 d, x, y;", "444", "ff", rounded(FE_TOWARDZERO, F(x), '+', F(y)))
CASE(add_rm, "add.rm.f32 d, x, y;", "444", "ff", rounded(FE_DOWNWARD, F(x), '+', F(y)))
CASE(add_rp, "add.rp.f32 d, x, y;", "444", "ff", rounded(FE_UPWARD, F(x), '+', F(y)))
CASE(sub_f32, "sub.rn.f32 d, x, y;", "444", "ff", of_float(F(x) - F(y)))
CASE(mul_f32, "mul.f32 d, x, y;", "444", "ff", of_float(F(x) * F(y)))
CASE(mul_ftz, "mul.rn.ftz.f32 d, x, y;", "444", "ff", ftz(of_float(F(ftz(x)) * F(ftz(y)))))
CASE(mul_rz, "mul.rz.f32 d, x, y;", "444", "ff", rounded(FE_TOWARDZERO, F(x), '*', F(y)))
CASE(mul_sat_ftz, "mul.ftz.sat.f32 d, x, y;", "444", "ff",
     unit(F(ftz(of_float(F(ftz(x)) * F(ftz(y)))))))
CASE(fma_rn, "fma.rn.f32 d, x, y, z;", "4444", "fff", of_float(fmaf(F(x), F(y), F(z))))
CASE(fma_ftz, "fma.rn.ftz.f32 d, x, y, z;", "4444", "fff",
     ftz(of_float(fmaf(F(ftz(x)), F(ftz(y)), F(ftz(z))))))
CASE(fma_sat, "fma.rn.sat.f32 d, x, y, z;", "4444", "fff", unit(fmaf(F(x), F(y), F(z))))
CASE(fma_rm, "fma.rm.f32 d, x, y, z;", "4444", "fff", fma_rounded(FE_DOWNWARD, F(x), F(y), F(z)))
CASE(fma_rz, "fma.rz.f32 d, x, y, z;", "4444", "fff",
     fma_rounded(FE_TOWARDZERO, F(x), F(y), F(z)))
CASE(mad_f32, "mad.rn.f32 d, x, y, z;", "4444", "fff", of_float(fmaf(F(x), F(y), F(z))))
CASE(div_rn, "div.rn.f32 d, x, y;", "444", "ff", of_float(F(x) / F(y)))
CASE(div_rp, "div.rp.f32 d, x, y;", "444", "ff", rounded(FE_UPWARD, F(x), '/', F(y)))
CASE(div_approx, "div.approx.f32 d, x, y;", "444", "ff", of_float(F(x) / F(y)))
CASE(div_full, "div.full.ftz.f32 d, x, y;", "444", "ff", ftz(of_float(F(ftz(x)) / F(ftz(y)))))
CASE(rcp_rn, "rcp.rn.f32 d, x;", "44", "f", of_float(1 / F(x)))
CASE(rcp_approx, "rcp.approx.ftz.f32 d, x;", "44", "f", ftz(of_float(1 / F(ftz(x)))))
CASE(sqrt_rn, "sqrt.rn.f32 d, x;", "44", "f", of_float(sqrtf(F(x))))
CASE(sqrt_rz, "sqrt.rz.f32 d, x;", "44", "f", rounded(FE_TOWARDZERO, F(x), 'r', 0))
CASE(sqrt_approx, "sqrt.approx.f32 d, x;", "44", "f", of_float(sqrtf(F(x))))
CASE(rsqrt, "rsqrt.approx.f32 d, x;", "44", "f", of_float((float)(1 / sqrt((double)F(x)))))
CASE(min_f32, "min.f32 d, x, y;", "444", "ff", of_float(min_number(F(x), F(y))))
CASE(max_f32, "max.f32 d, x, y;", "444", "ff", of_float(max_number(F(x), F(y))))
CASE(min_nan, "min.NaN.f32 d, x, y;", "444", "ff",
     ordered(F(x), F(y)) ? of_float(min_number(F(x), F(y))) : 0x7fffffff)
CASE(max_ftz_nan, "max.ftz.NaN.f32 d, x, y;", "444", "ff",
     ordered(F(x), F(y)) ? of_float(max_number(F(ftz(x)), F(ftz(y)))) : 0x7fffffff)
CASE(max_xor, "max.xorsign.abs.f32 d, x, y;", "444", "ff",
     (of_float(max_number(fabsf(F(x)), fabsf(F(y)))) & 0x7fffffff) | ((x ^ y) & 0x80000000))
CASE(abs_f32, "abs.f32 d, x;", "44", "f", x & 0x7fffffff)
CASE(abs_ftz, "abs.ftz.f32 d, x;", "44", "f", ftz(x) & 0x7fffffff)
CASE(neg_f32, "neg.f32 d, x;", "44", "f", x ^ 0x80000000)
CASE(neg_ftz, "neg.ftz.f32 d, x;", "44", "f", ftz(x) ^ 0x80000000)
CASE(copysign_f32, "copysign.f32 d, x, y;", "444", "ff", (x & 0x80000000) | (y & 0x7fffffff))
/* To the last bit, but where the true value is nearly half way: those are compared with a step. */
NEAR(ex2, "ex2.approx.f32 d, x;", "44", "f", of_float((float)exp2((double)F(x))))
NEAR(ex2_ftz, "ex2.approx.ftz.f32 d, x;", "44", "f", ftz(of_float((float)exp2((double)F(ftz(x))))))
NEAR(lg2, "lg2.approx.f32 d, x;", "44", "f", of_float((float)log2((double)F(x))))
NEAR(lg2_ftz, "lg2.approx.ftz.f32 d, x;", "44", "f", of_float((float)log2((double)F(ftz(x)))))
NEAR(sin_f32, "sin.approx.f32 d, x;", "44", "f", of_float((float)sin((double)F(x))))
NEAR(cos_f32, "cos.approx.f32 d, x;", "44", "f", of_float((float)cos((double)F(x))))
NEAR(tanh_f32, "tanh.approx.f32 d, x;", "44", "f", of_float((float)tanh((double)F(x))))

/* ---- f64 ---- */
CASE(add_f64, "add.f64 d, x, y;", "888", "gg", of_double(D(x) + D(y)))
CASE(sub_f64, "sub.rn.f64 d, x, y;", "888", "gg", of_double(D(x) - D(y)))
CASE(mul_f64, "mul.f64 d, x, y;", "888", "gg", of_double(D(x) * D(y)))
CASE(mul_rz_f64, "mul.rz.f64 d, x, y;", "888", "gg", rounded_double(FE_TOWARDZERO, D(x), D(y)))
CASE(fma_f64, "fma.rn.f64 d, x, y, z;", "8888", "ggg", of_double(fma(D(x), D(y), D(z))))
CASE(div_f64, "div.rn.f64 d, x, y;", "888", "gg", of_double(D(x) / D(y)))
CASE(rcp_f64, "rcp.rn.f64 d, x;", "88", "g", of_double(1 / D(x)))
CASE(sqrt_f64, "sqrt.rn.f64 d, x;", "88", "g", of_double(sqrt(D(x))))
CASE(min_f64, "min.f64 d, x, y;", "888", "gg", of_double(fmin(D(x), D(y))))
CASE(max_f64, "max.f64 d, x, y;", "888", "gg", of_double(fmax(D(x), D(y))))
CASE(abs_f64, "abs.f64 d, x;", "88", "g", x & ~(1ull << 63))
CASE(neg_f64, "neg.f64 d, x;", "88", "g", x ^ 1ull << 63)

/* ---- halves ---- */
CASE(add_f16, "add.f16 d, x, y;", "222", "hh", of_half(H(x) + H(y)))
CASE(add_f16x2, "add.rn.f16x2 d, x, y;", "444", "HH", both16(x, y, of_half(H(a) + H(b))))
CASE(add_ftz_f16, "add.ftz.f16 d, x, y;", "222", "hh", ftz16(of_half(H(ftz16(x)) + H(ftz16(y)))))
CASE(add_sat_f16, "add.sat.f16 d, x, y;", "222", "hh", unit16(of_half(H(x) + H(y))))
CASE(sub_f16x2, "sub.f16x2 d, x, y;", "444", "HH", both16(x, y, of_half(H(a) - H(b))))
CASE(mul_f16, "mul.f16 d, x, y;", "222", "hh", of_half(H(x) * H(y)))
CASE(mul_f16x2, "mul.rn.f16x2 d, x, y;", "444", "HH", both16(x, y, of_half(H(a) * H(b))))
CASE(fma_f16, "fma.rn.f16 d, x, y, z;", "2222", "hhh", of_half_exact(x, y, z))
CASE(fma_f16x2, "fma.rn.f16x2 d, x, y, z;", "4444", "HHH",
     of_half_exact(x & 0xffff, y & 0xffff, z & 0xffff) |
         of_half_exact(x >> 16, y >> 16, z >> 16) << 16)
CASE(fma_relu, "fma.rn.relu.f16 d, x, y, z;", "2222", "hhh", relu16(of_half_exact(x, y, z), 0x7c00))
CASE(fma_sat_f16x2, "fma.rn.sat.f16x2 d, x, y, z;", "4444", "HHH",
     unit16(of_half_exact(x & 0xffff, y & 0xffff, z & 0xffff)) |
         unit16(of_half_exact(x >> 16, y >> 16, z >> 16)) << 16)
CASE(min_f16, "min.f16 d, x, y;", "222", "hh", of_half(min_number((float)H(x), (float)H(y))))
CASE(max_f16x2, "max.NaN.f16x2 d, x, y;", "444", "HH",
     both16(x, y, ordered(H(a), H(b)) ? of_half(max_number((float)H(a), (float)H(b))) : 0x7fff))
CASE(abs_f16x2, "abs.f16x2 d, x;", "44", "H", x & 0x7fff7fff)
CASE(neg_bf16, "neg.bf16 d, x;", "22", "b", x ^ 0x8000)
CASE(add_bf16, "add.rn.bf16 d, x, y;", "222", "bb", of_brain(B(x) + B(y)))
CASE(sub_bf16x2, "sub.bf16x2 d, x, y;", "444", "BB", both16(x, y, of_brain(B(a) - B(b))))
CASE(mul_bf16, "mul.bf16 d, x, y;", "222", "bb", of_brain(B(x) * B(y)))
CASE(fma_bf16, "fma.rn.bf16 d, x, y, z;", "2222", "bbb", of_brain_exact(x, y, z))
CASE(fma_bf16x2, "fma.rn.bf16x2 d, x, y, z;", "4444", "BBB",
     of_brain_exact(x & 0xffff, y & 0xffff, z & 0xffff) |
         of_brain_exact(x >> 16, y >> 16, z >> 16) << 16)
CASE(fma_relu_bf16, "fma.rn.relu.bf16 d, x, y, z;", "2222", "bbb",
     relu16(of_brain_exact(x, y, z), 0x7f80))
CASE(max_bf16x2, "max.bf16x2 d, x, y;", "444", "BB",
     both16(x, y, of_brain(max_number((float)B(a), (float)B(b)))))
CASE(ex2_f16, "ex2.approx.f16 d, x;", "22", "h", of_half(exp2(H(x))))
CASE(ex2_bf16x2, "ex2.approx.ftz.bf16x2 d, x;", "44", "B",
     both16(x, x, brain_ftz(of_brain(exp2(B(brain_ftz(a)))))))
CASE(tanh_f16x2, "tanh.approx.f16x2 d, x;", "44", "H", both16(x, x, of_half(tanh(H(a)))))

/* ---- conversions ---- */
CASE(cvt_u64_u32, "cvt.u64.u32 d, x;", "84", "i", x)
CASE(cvt_s64_s32, "cvt.s64.s32 d, x;", "84", "i", (uint64_t)(int64_t)S32(x))
CASE(cvt_u32_u64, "cvt.u32.u64 d, x;", "48", "i", x)
CASE(cvt_s32_s16, "cvt.s32.s16 d, x;", "42", "i", (uint64_t)S16(x))
CASE(cvt_u32_u16, "cvt.u32.u16 d, x;", "42", "i", x)
CASE(cvt_u16_u32, "cvt.u16.u32 d, x;", "24", "i", x)
CASE(cvt_s64_s16, "cvt.s64.s16 d, x;", "82", "i", (uint64_t)S16(x))
CASE(cvt_u16_u64, "cvt.u16.u64 d, x;", "28", "i", x)
CASE(cvt_s32_s8, "cvt.s32.s8 d, x;", "42", "i", (uint64_t)(int8_t)x)
CASE(cvt_u32_u8, "cvt.u32.u8 d, x;", "44", "i", x & 0xff)
CASE(cvt_s8_s32, "cvt.s8.s32 d, x;", "44", "i", (uint64_t)(int8_t)x)
CASE(cvt_u8_u16, "cvt.u8.u16 d, x;", "22", "i", x & 0xff)
CASE(cvt_s16_s8, "cvt.s16.s8 d, x;", "22", "i", (uint64_t)(int8_t)x)
CASE(cvt_sat_s8_s32, "cvt.sat.s8.s32 d, x;", "44", "i",
     (uint64_t)(S32(x) < -128 ? -128 : S32(x) > 127 ? 127 : S32(x)))
CASE(cvt_sat_u8_s32, "cvt.sat.u8.s32 d, x;", "44", "i",
     (uint64_t)(S32(x) < 0 ? 0 : S32(x) > 255 ? 255 : S32(x)))
CASE(cvt_sat_s32_u32, "cvt.sat.s32.u32 d, x;", "44", "i", x > INT32_MAX ? INT32_MAX : x)
CASE(cvt_sat_u32_s64, "cvt.sat.u32.s64 d, x;", "48", "i",
     (int64_t)x < 0 ? 0 : x > UINT32_MAX ? UINT32_MAX : x)
CASE(cvt_rn_f32_s32, "cvt.rn.f32.s32 d, x;", "44", "i", of_float((float)S32(x)))
CASE(cvt_rn_f32_u32, "cvt.rn.f32.u32 d, x;", "44", "i", of_float((float)U32(x)))
CASE(cvt_rz_f32_s32, "cvt.rz.f32.s32 d, x;", "44", "i", integer_rounded(FE_TOWARDZERO, S32(x)))
CASE(cvt_rp_f32_s64, "cvt.rp.f32.s64 d, x;", "48", "i", integer_rounded(FE_UPWARD, (int64_t)x))
CASE(cvt_rn_f32_u64, "cvt.rn.f32.u64 d, x;", "48", "i", of_float((float)x))
CASE(cvt_rn_f64_s64, "cvt.rn.f64.s64 d, x;", "88", "i", of_double((double)(int64_t)x))
CASE(cvt_rn_f64_u32, "cvt.rn.f64.u32 d, x;", "84", "i", of_double((double)U32(x)))
CASE(cvt_rn_f16_s32, "cvt.rn.f16.s32 d, x;", "24", "i", of_half((double)S32(x)))
CASE(cvt_rn_f16_u16, "cvt.rn.f16.u16 d, x;", "22", "i", of_half((double)x))
CASE(cvt_rzi_s32_f32, "cvt.rzi.s32.f32 d, x;", "44", "f",
     to_integer(trunc((double)F(x)), -0x1p31, 0x1p31 - 1, 0))
CASE(cvt_rni_s32_f32, "cvt.rni.s32.f32 d, x;", "44", "f",
     to_integer(rint((double)F(x)), -0x1p31, 0x1p31 - 1, 0))
CASE(cvt_rmi_s32_f32, "cvt.rmi.s32.f32 d, x;", "44", "f",
     to_integer(floor((double)F(x)), -0x1p31, 0x1p31 - 1, 0))
CASE(cvt_rpi_u32_f32, "cvt.rpi.u32.f32 d, x;", "44", "f",
     to_integer(ceil((double)F(x)), 0, 0x1p32 - 1, 0))
CASE(cvt_rzi_u16_f32, "cvt.rzi.u16.f32 d, x;", "24", "f",
     to_integer(trunc((double)F(x)), 0, 65535, 0))
CASE(cvt_rzi_s8_f32, "cvt.rzi.s8.f32 d, x;", "44", "f",
     to_integer(trunc((double)F(x)), -128, 127, 0))
CASE(cvt_rzi_s32_f64, "cvt.rzi.s32.f64 d, x;", "48", "g",
     to_integer(trunc(D(x)), -0x1p31, 0x1p31 - 1, 1ull << 31))
CASE(cvt_rzi_s64_f32, "cvt.rzi.s64.f32 d, x;", "84", "f", to_wide(truncf(F(x))))
CASE(cvt_rzi_u32_f16, "cvt.rzi.u32.f16 d, x;", "42", "h",
     to_integer(trunc(H(x)), 0, 0x1p32 - 1, 0))
CASE(cvt_rni_s16_f16, "cvt.rni.s16.f16 d, x;", "22", "h",
     to_integer(rint(H(x)), -32768, 32767, 0))
CASE(cvt_f64_f32, "cvt.f64.f32 d, x;", "84", "f", of_double((double)F(x)))
CASE(cvt_rn_f32_f64, "cvt.rn.f32.f64 d, x;", "48", "g", of_float((float)D(x)))
CASE(cvt_rm_f32_f64, "cvt.rm.f32.f64 d, x;", "48", "g", double_rounded(FE_DOWNWARD, D(x)))
CASE(cvt_f32_f16, "cvt.f32.f16 d, x;", "42", "h", of_float((float)H(x)))
CASE(cvt_f32_bf16, "cvt.f32.bf16 d, x;", "42", "b", of_float((float)B(x)))
CASE(cvt_rn_f16_f32, "cvt.rn.f16.f32 d, x;", "24", "f", of_half((double)F(x)))
CASE(cvt_rz_f16_f32, "cvt.rz.f16.f32 d, x;", "24", "f", half_towards_zero((double)F(x)))
CASE(cvt_rn_relu_f16_f32, "cvt.rn.relu.f16.f32 d, x;", "24", "f",
     F(x) < 0 ? 0 : relu16(of_half((double)F(x)), 0x7c00))
CASE(cvt_rn_bf16_f32, "cvt.rn.bf16.f32 d, x;", "24", "f", of_brain((double)F(x)))
CASE(cvt_rz_bf16_f32, "cvt.rz.bf16.f32 d, x;", "24", "f", isnan(F(x)) ? 0x7fff : x >> 16)
CASE(cvt_rn_f16_f64, "cvt.rn.f16.f64 d, x;", "28", "g", of_half(D(x)))
CASE(cvt_f16x2, "cvt.rn.f16x2.f32 d, x, y;", "444", "ff",
     of_half((double)F(x)) << 16 | of_half((double)F(y)))
CASE(cvt_rz_f16x2, "cvt.rz.f16x2.f32 d, x, y;", "444", "ff",
     half_towards_zero((double)F(x)) << 16 | half_towards_zero((double)F(y)))
CASE(cvt_bf16x2, "cvt.rn.bf16x2.f32 d, x, y;", "444", "ff",
     of_brain((double)F(x)) << 16 | of_brain((double)F(y)))
CASE(cvt_relu_bf16x2, "cvt.rn.relu.bf16x2.f32 d, x, y;", "444", "ff",
     (F(x) < 0 ? 0 : relu16(of_brain((double)F(x)), 0x7f80)) << 16 |
         (F(y) < 0 ? 0 : relu16(of_brain((double)F(y)), 0x7f80)))
CASE(cvt_sat_f32, "cvt.sat.f32.f32 d, x;", "44", "f", unit(F(x)))
CASE(cvt_sat_ftz_f32, "cvt.ftz.sat.f32.f32 d, x;", "44", "f", unit(F(ftz(x))))
CASE(cvt_rni_f32, "cvt.rni.f32.f32 d, x;", "44", "f", of_float(rintf(F(x))))
CASE(cvt_rzi_f32, "cvt.rzi.f32.f32 d, x;", "44", "f", of_float(truncf(F(x))))
CASE(cvt_rmi_f32, "cvt.rmi.f32.f32 d, x;", "44", "f", of_float(floorf(F(x))))
CASE(cvt_rpi_f64, "cvt.rpi.f64.f64 d, x;", "88", "g", of_double(ceil(D(x))))
CASE(cvt_ftz_f64_f32, "cvt.ftz.f64.f32 d, x;", "84", "f", of_double((double)F(ftz(x))))
CASE(cvt_rna_tf32, "cvt.rna.tf32.f32 d, x;", "44", "f", tf32_away(x))
CASE(cvt_e4m3x2, "cvt.rn.satfinite.e4m3x2.f32 d, x, y;", "244", "ff",
     small_float(F(x), 4, -6, 448, 0x7f) << 8 | small_float(F(y), 4, -6, 448, 0x7f))
CASE(cvt_e5m2x2, "cvt.rn.satfinite.e5m2x2.f32 d, x, y;", "244", "ff",
     small_float(F(x), 3, -14, 57344, 0x7f) << 8 | small_float(F(y), 3, -14, 57344, 0x7f))
CASE(cvt_f16x2_e4m3x2, "cvt.rn.f16x2.e4m3x2 d, x;", "42", "i",
     small_half(x & 0xff, 3, 7, true) | small_half(x >> 8, 3, 7, true) << 16)
CASE(cvt_f16x2_e5m2x2, "cvt.rn.f16x2.e5m2x2 d, x;", "42", "i",
     small_half(x & 0xff, 2, 15, false) | small_half(x >> 8, 2, 15, false) << 16)
