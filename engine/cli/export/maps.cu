#ifndef __CUDACC_RTC__
// ---- the host's side: tensor maps ----
#include <cuda.h>
#include <cuda_runtime.h>

// The driver's encoder, found at run time: nothing but the runtime library is linked.
namespace evo_host
{
typedef CUresult (*encode_tiled)(CUtensorMap *, CUtensorMapDataType, cuuint32_t, void *, const cuuint64_t *,
                                 const cuuint64_t *, const cuuint32_t *, const cuuint32_t *, CUtensorMapInterleave,
                                 CUtensorMapSwizzle, CUtensorMapL2promotion, CUtensorMapFloatOOBfill);

inline encode_tiled find_encoder(void)
{
    void *found = nullptr;
    cudaDriverEntryPointQueryResult how;
#if CUDART_VERSION >= 12050
    cudaError_t rc = cudaGetDriverEntryPointByVersion("cuTensorMapEncodeTiled", &found, 12000, cudaEnableDefault, &how);
#else
    cudaError_t rc = cudaGetDriverEntryPoint("cuTensorMapEncodeTiled", &found, cudaEnableDefault, &how);
#endif
    return rc == cudaSuccess && how == cudaDriverEntryPointSuccess ? (encode_tiled)found : nullptr;
}

// Boxes of columns x rows over (column, row, head, batch) of a tensor, whose strides are of batch, head and row.
inline cudaError_t make_map(evo_tensor_map *map, const void *tensor, CUtensorMapDataType type, int head_dim, int rows,
                            int heads, int batch, const long long *strides, long long box_columns, long long box_rows,
                            long long swizzle)
{
    static const encode_tiled encode = find_encoder();
    const cuuint64_t sizes[] = {(cuuint64_t)head_dim, (cuuint64_t)rows, (cuuint64_t)heads, (cuuint64_t)batch};
    const cuuint64_t bytes[] = {(cuuint64_t)strides[2] * 2, (cuuint64_t)strides[1] * 2, (cuuint64_t)strides[0] * 2};
    const cuuint32_t box[] = {(cuuint32_t)box_columns, (cuuint32_t)box_rows, 1, 1}, ones[] = {1, 1, 1, 1};
    if (!encode)
        return cudaErrorNotSupported;
    return encode((CUtensorMap *)map, type, 4, (void *)tensor, sizes, bytes, box, ones, CU_TENSOR_MAP_INTERLEAVE_NONE,
                  swizzle == 128  ? CU_TENSOR_MAP_SWIZZLE_128B
                  : swizzle == 64 ? CU_TENSOR_MAP_SWIZZLE_64B
                  : swizzle == 32 ? CU_TENSOR_MAP_SWIZZLE_32B
                                  : CU_TENSOR_MAP_SWIZZLE_NONE,
                  CU_TENSOR_MAP_L2_PROMOTION_L2_128B, CU_TENSOR_MAP_FLOAT_OOB_FILL_NONE) == CUDA_SUCCESS
               ? cudaSuccess
               : cudaErrorInvalidValue;
}
} // namespace evo_host
#endif // !__CUDACC_RTC__

