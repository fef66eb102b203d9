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

/*
 * They are templates so that they fit a gene's own type exactly, and so better than CUDA's, which
 * the compiler finds as well because genes are declared beside them.
 */
namespace evo
{
template <typename A, typename B> EVO_BOTH int min(A a, B b) { return (int)b < (int)a ? (int)b : (int)a; }
template <typename A, typename B> EVO_BOTH int max(A a, B b) { return (int)a < (int)b ? (int)b : (int)a; }
template <typename A, typename B, typename C, typename... Rest>
EVO_BOTH int min(A a, B b, C c, Rest... rest)
{
    return evo::min(evo::min(a, b), c, rest...);
}
template <typename A, typename B, typename C, typename... Rest>
EVO_BOTH int max(A a, B b, C c, Rest... rest)
{
    return evo::max(evo::max(a, b), c, rest...);
}
/* The quotient rounded up; a >= 0, b > 0. Not (a + b - 1) / b, which overflows near the top. */
EVO_BOTH int ceil_div(int a, int b) { return a / b + (a % b != 0); }
/* The floor of the logarithm; a > 0. */
template <typename A> EVO_BOTH int log2(A a) { return (int)a < 2 ? 0 : 1 + evo::log2((int)a / 2); }
EVO_BOTH int pow2(int a) { return 1 << a; }

/* Rows of the box are multiples of 16 bytes and fit the swizzle; each side has at most 256. */
EVO_BOTH bool is_box(int columns, int rows, int swizzle)
{
    return columns >= 8 && columns <= 256 && columns % 8 == 0 && rows >= 1 && rows <= 256 &&
           (swizzle == 0 || ((swizzle == 32 || swizzle == 64 || swizzle == 128) && 2 * columns <= swizzle));
}

template <typename A, typename B> struct same {
    enum : int { value = 0 };
};
template <typename A> struct same<A, A> {
    enum : int { value = 1 };
};
template <typename... Types> struct labels; /* naming it checks that every label is a type */
} /* namespace evo */

#define EVO_LABELS(...) __VA_ARGS__

/*
 * Constants. Enumerators, not constexpr variables: NVRTC gives every variable at file scope a place
 * in global memory, which would make machine code depend on genes that it does not use, and would
 * be state between launches. They are int, so that indices computed from them stay 32 bits wide.
 */
#ifdef __GNUC__
#pragma GCC diagnostic ignored "-Wenum-compare" /* two genes are of two types, and may be compared */
#endif
#define EVO_CONSTANT(name, value) enum : int { name = (value) };
#define EVO_GIVEN(name, doc)        EVO_CONSTANT(name, EVO_VALUE_##name)
#define EVO_GENE(name, domain, doc) EVO_CONSTANT(name, EVO_VALUE_##name)
#define EVO_CHOICE(name, list, doc)                                                                \
    using evo_labels_##name [[maybe_unused]] = evo::labels<EVO_LABELS list>;                       \
    using name = EVO_VALUE_##name;
#define EVO_LET(name, expr, doc)                                                                   \
    namespace evo                                                                                  \
    {                                                                                              \
    EVO_CONSTANT(let_##name, expr)                                                                 \
    }                                                                                              \
    EVO_CONSTANT(name, evo::let_##name)

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

/* The box and the swizzle of a tensor map, which the host makes: what the hardware takes. */
#define EVO_TENSOR_MAP(name, tensor, box, swizzle, doc)                                            \
    namespace evo                                                                                  \
    {                                                                                              \
    static_assert(evo::is_box(EVO_LABELS box, swizzle), "the box of a tensor map: " doc);          \
    }

/* What the host does before and at the launch: nothing for the compiler. */
#define EVO_SUPPORTS(expr, doc)
#define EVO_WORKSPACE(name, bytes, kind, doc)
#define EVO_LAUNCH(kernel, grid, threads, smem_bytes, args)

#endif
