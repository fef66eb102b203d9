/*
 * evo.cuh -- the words a template is written in, as the compiler sees them.
 *
 * The engine reads these words in the template's text; the compiler reads them here, so a template
 * is ordinary CUDA C++ under nvcc and NVRTC alike. Before this file a rendered source defines
 * EVO_VALUE_NAME for every EVO_GIVEN, EVO_GENE and EVO_CHOICE. docs/TEMPLATES.md is the guide.
 *
 * Expressions inside words are compiled in namespace evo, where min, max, ceil_div, log2 and pow2
 * are the constant ones below and not CUDA's. Kernels may call them too, as evo::ceil_div(a, b).
 */
#ifndef EVO_CUH
#define EVO_CUH

#ifdef __CUDACC__
#define EVO_BOTH __host__ __device__ constexpr
#else
#define EVO_BOTH constexpr
#endif

namespace evo
{
EVO_BOTH int min(int a, int b) { return b < a ? b : a; }
EVO_BOTH int max(int a, int b) { return a < b ? b : a; }
template <typename... Rest> EVO_BOTH int min(int a, int b, Rest... rest)
{
    return evo::min(evo::min(a, b), rest...);
}
template <typename... Rest> EVO_BOTH int max(int a, int b, Rest... rest)
{
    return evo::max(evo::max(a, b), rest...);
}
/* The quotient rounded up; a >= 0, b > 0. Not (a + b - 1) / b, which overflows near the top. */
EVO_BOTH int ceil_div(int a, int b) { return a / b + (a % b != 0); }
/* The floor of the logarithm; a > 0. */
EVO_BOTH int log2(int a) { return a < 2 ? 0 : 1 + evo::log2(a / 2); }
EVO_BOTH int pow2(int a) { return 1 << a; }

template <typename A, typename B> struct same {
    static constexpr int value = 0;
};
template <typename A> struct same<A, A> {
    static constexpr int value = 1;
};
template <typename... Types> struct labels; /* naming it checks that every label is a type */
} /* namespace evo */

#define EVO_LABELS(...) __VA_ARGS__

/* Constants. They are int, so that indices computed from them stay 32 bits wide. */
#define EVO_GIVEN(name, doc)        [[maybe_unused]] constexpr int name = EVO_VALUE_##name;
#define EVO_GENE(name, domain, doc) [[maybe_unused]] constexpr int name = EVO_VALUE_##name;
#define EVO_CHOICE(name, list, doc)                                                                \
    using evo_labels_##name [[maybe_unused]] = evo::labels<EVO_LABELS list>;                       \
    using name = EVO_VALUE_##name;
#define EVO_LET(name, expr, doc)                                                                   \
    namespace evo                                                                                  \
    {                                                                                              \
    constexpr int let_##name = (expr);                                                             \
    }                                                                                              \
    [[maybe_unused]] constexpr int name = evo::let_##name;

/* 1 when the choice fell on the label. */
#define EVO_IS(name, label) (evo::same<name, label>::value)

/* Conditions on the genes hold at compile time. */
#define EVO_REQUIRE(expr, doc)                                                                     \
    namespace evo                                                                                  \
    {                                                                                              \
    static_assert(expr, doc);                                                                      \
    }
#define EVO_NUMERICS(expr)                                                                         \
    namespace evo                                                                                  \
    {                                                                                              \
    static_assert((expr) == 0 || (expr) == 1, "numerics is 0 (FP32) or 1 (FP16 accumulation)");    \
    }

/* What the host does before and at the launch: nothing for the compiler. */
#define EVO_SUPPORTS(expr, doc)
#define EVO_WORKSPACE(name, bytes, kind, doc)
#define EVO_LAUNCH(kernel, grid, threads, smem_bytes, args)

#endif
