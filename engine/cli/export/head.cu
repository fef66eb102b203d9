#ifndef __CUDACC_RTC__
// ---- the host's side: a launcher that C can call ----
#include <cmath>
#include <cuda_runtime.h>

namespace evo_host
{
typedef long long i64;
inline constexpr i64 min(i64 a, i64 b) { return b < a ? b : a; }
inline constexpr i64 max(i64 a, i64 b) { return a < b ? b : a; }
template <typename... R> inline constexpr i64 min(i64 a, i64 b, R... r) { return evo_host::min(evo_host::min(a, b), r...); }
template <typename... R> inline constexpr i64 max(i64 a, i64 b, R... r) { return evo_host::max(evo_host::max(a, b), r...); }
inline constexpr i64 ceil_div(i64 a, i64 b) { return a / b + (a % b != 0); }
inline constexpr i64 log2(i64 a) { return a < 2 ? 0 : 1 + evo_host::log2(a / 2); }
inline constexpr i64 pow2(i64 a) { return (i64)1 << a; }
