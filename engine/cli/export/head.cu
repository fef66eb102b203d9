#ifndef __CUDACC_RTC__
// ---- the host's side: a launcher that C can call ----
#include <cmath>
#include <cuda_runtime.h>

namespace evo_host
{
typedef long long i64;
template <typename A, typename B> constexpr i64 min(A a, B b) { return (i64)b < (i64)a ? (i64)b : (i64)a; }
template <typename A, typename B> constexpr i64 max(A a, B b) { return (i64)a < (i64)b ? (i64)b : (i64)a; }
template <typename A, typename B, typename C, typename... R> constexpr i64 min(A a, B b, C c, R... r) { return evo_host::min(evo_host::min(a, b), c, r...); }
template <typename A, typename B, typename C, typename... R> constexpr i64 max(A a, B b, C c, R... r) { return evo_host::max(evo_host::max(a, b), c, r...); }
inline constexpr i64 ceil_div(i64 a, i64 b) { return a / b + (a % b != 0); }
template <typename A> constexpr i64 log2(A a) { return (i64)a < 2 ? 0 : 1 + evo_host::log2((i64)a / 2); }
inline constexpr i64 pow2(i64 a) { return (i64)1 << a; }
