static evo_problem evo_problem_of(int batch, int heads, int kv_heads, int q_len, int kv_len)
{
    evo_problem p = {};
    const long long d = EVO_HEAD_DIM;
    p.batch = batch, p.heads = heads, p.kv_heads = kv_heads, p.q_len = q_len, p.kv_len = kv_len;
    p.head_dim = (int)d;
    p.scale = (float)(1 / sqrt((double)d));
    p.q[0] = p.o[0] = (long long)heads * q_len * d;
    p.k[0] = p.v[0] = (long long)kv_heads * kv_len * d;
    p.q[1] = p.o[1] = EVO_SEQUENCE_FIRST ? d : q_len * d, p.q[2] = p.o[2] = EVO_SEQUENCE_FIRST ? heads * d : d;
    p.k[1] = p.v[1] = EVO_SEQUENCE_FIRST ? d : kv_len * d, p.k[2] = p.v[2] = EVO_SEQUENCE_FIRST ? kv_heads * d : d;
    return p;
}

static bool evo_is_shape(int batch, int heads, int kv_heads, int q_len, int kv_len)
{
    return batch > 0 && heads > 0 && kv_heads > 0 && q_len > 0 && kv_len > 0 && heads % kv_heads == 0;
}

static long long evo_multiprocessors(void)
{
    int device = 0, sms = 1;
    cudaGetDevice(&device);
    cudaDeviceGetAttribute(&sms, cudaDevAttrMultiProcessorCount, device);
    return sms;
}

extern "C" size_t evo_workspace_bytes(int batch, int heads, int kv_heads, int q_len, int kv_len)
{
    if (!evo_is_shape(batch, heads, kv_heads, q_len, kv_len))
        return 0;
    return (size_t)evo_host::workspace(evo_problem_of(batch, heads, kv_heads, q_len, kv_len), evo_multiprocessors(), 99);
}

extern "C" int evo_attention(const void *q, const void *k, const void *v, void *o, float *lse, int batch, int heads,
                             int kv_heads, int q_len, int kv_len, void *workspace, void *stream)
{
    if (!evo_is_shape(batch, heads, kv_heads, q_len, kv_len))
        return -1;
    const evo_problem p = evo_problem_of(batch, heads, kv_heads, q_len, kv_len);
    const long long sms = evo_multiprocessors();
    if (!evo_host::supports(p, sms))
        return -1;
    return evo_host::launch(q, k, v, o, lse, p, (char *)workspace, (cudaStream_t)stream, sms);
}
#endif // !__CUDACC_RTC__

