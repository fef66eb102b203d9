// ---- what C and C++ call ----
#ifndef __CUDACC_RTC__
#include <stddef.h>
#ifdef __cplusplus
extern "C" {
#endif
// Attention over device memory without gaps: q and o [batch, heads, q_len, EVO_HEAD_DIM], k and v
// [batch, kv_heads, kv_len, EVO_HEAD_DIM] (or [batch, rows, heads, EVO_HEAD_DIM], if EVO_SEQUENCE_FIRST
// below is 1), lse [batch, heads, q_len]. Rows of K and V are shared by heads / kv_heads neighbouring heads.
// Returns a cudaError_t, or -1 for a shape that this kernel does not support. `workspace` holds
// evo_workspace_bytes() bytes, zeroed once at first, and may be NULL when that is 0; `lse` may be NULL
// unless the kernel was made to write it. `stream` is a cudaStream_t.
size_t evo_workspace_bytes(int batch, int heads, int kv_heads, int q_len, int kv_len);
int evo_attention(const void *q, const void *k, const void *v, void *o, float *lse, int batch, int heads,
                  int kv_heads, int q_len, int kv_len, void *workspace, void *stream);
#ifdef __cplusplus
}
#endif
#endif // !__CUDACC_RTC__

#ifdef __CUDACC__ // what follows is for nvcc
