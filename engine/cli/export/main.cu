#ifdef EVO_MAIN
// nvcc -O3 -DEVO_MAIN ... && ./a.out [batch heads kv_heads q_len kv_len]: compares with an FP64 reference
// on the CPU and times by a CUDA graph of 20 calls.
#include <cstdio>
#include <cstdlib>
#include <vector>
#ifdef EVO_BF16
#include <cuda_bf16.h>
typedef __nv_bfloat16 evo_element;
#else
#include <cuda_fp16.h>
typedef __half evo_element;
#endif

#define EVO_TRY(call)                                                                          \
    do {                                                                                       \
        int rc_ = (int)(call);                                                                 \
        if (rc_ != 0) {                                                                        \
            fprintf(stderr, "%s: %s\n", #call, rc_ < 0 ? "shape not supported" : cudaGetErrorString((cudaError_t)rc_)); \
            exit(1);                                                                           \
        }                                                                                      \
    } while (0)

static std::vector<evo_element> evo_random(size_t count, unsigned long long state)
{
    std::vector<evo_element> values(count);
    for (auto &value : values) { // the sum of four uniforms, scaled to unit variance
        float sum = 0;
        for (int i = 0; i < 4; i++) {
            state = state * 6364136223846793005ull + 1442695040888963407ull;
            sum += (float)(state >> 40) / (1 << 24) - 0.5f;
        }
        value = (evo_element)(sum * 1.7320508f);
    }
    return values;
}

static void *evo_upload(const std::vector<evo_element> &values)
{
    void *device;
    EVO_TRY(cudaMalloc(&device, values.size() * sizeof(evo_element)));
    EVO_TRY(cudaMemcpy(device, values.data(), values.size() * sizeof(evo_element), cudaMemcpyHostToDevice));
    return device;
}

int main(int argc, char **argv)
{
    const int D = EVO_HEAD_DIM, causal = EVO_MAIN_CAUSAL;
    int shape[5] = {EVO_MAIN_SHAPE};
    for (int i = 0; i < 5 && i + 1 < argc; i++)
        shape[i] = atoi(argv[i + 1]);
    const int B = shape[0], H = shape[1], KH = shape[2], Sq = shape[3], Sk = shape[4];
    const size_t rows = (size_t)B * H * Sq, keys = (size_t)B * KH * Sk;
    const auto q = evo_random(rows * D, 1), k = evo_random(keys * D, 2), v = evo_random(keys * D, 3);
    auto o = evo_random(rows * D, 4);
    void *dq = evo_upload(q), *dk = evo_upload(k), *dv = evo_upload(v), *dw = nullptr;
    void *const d_o = evo_upload(o);
    const size_t bytes = evo_workspace_bytes(B, H, KH, Sq, Sk);
    float *lse;
    cudaStream_t stream;
    EVO_TRY(cudaMalloc(&lse, rows * sizeof(float)));
    EVO_TRY(cudaMalloc(&dw, bytes + 1));
    EVO_TRY(cudaMemset(dw, 0, bytes + 1));
    EVO_TRY(cudaStreamCreate(&stream));
    auto call = [&] { return evo_attention(dq, dk, dv, d_o, lse, B, H, KH, Sq, Sk, dw, stream); };
    EVO_TRY(call());
    EVO_TRY(cudaStreamSynchronize(stream));
    EVO_TRY(cudaMemcpy(o.data(), d_o, o.size() * sizeof(evo_element), cudaMemcpyDeviceToHost));

    double worst = 0, error = 0, norm = 0;
    std::vector<double> p(Sk), exact(D);
    for (size_t row = 0; row < rows; row++) {
        const size_t head = row / Sq % H, key0 = (row / Sq / H * KH + head / (H / KH)) * Sk;
        const int seen = causal ? (int)(row % Sq) + Sk - Sq + 1 : Sk;
        const int visible = seen < 0 ? 0 : seen > Sk ? Sk : seen;
        double peak = -1e300, sum = 0;
        for (int j = 0; j < visible; j++) {
            double dot = 0;
            for (int d = 0; d < D; d++)
                dot += (double)(float)q[row * D + d] * (double)(float)k[(key0 + j) * D + d];
            p[j] = dot / sqrt((double)D);
            peak = p[j] > peak ? p[j] : peak;
        }
        for (int d = 0; d < D; d++)
            exact[d] = 0;
        for (int j = 0; j < visible; j++) {
            const double w = exp(p[j] - peak);
            sum += w;
            for (int d = 0; d < D; d++)
                exact[d] += w * (double)(float)v[(key0 + j) * D + d];
        }
        for (int d = 0; d < D; d++) {
            const double want = sum > 0 ? exact[d] / sum : 0, off = (double)(float)o[row * D + d] - want;
            worst = off > worst ? off : -off > worst ? -off : worst;
            if (!(off == off))
                worst = 1e300;
            error += off * off, norm += want * want;
        }
    }

    cudaGraph_t graph;
    cudaGraphExec_t exec;
    cudaEvent_t begin, end;
    EVO_TRY(cudaEventCreate(&begin));
    EVO_TRY(cudaEventCreate(&end));
    EVO_TRY(cudaStreamBeginCapture(stream, cudaStreamCaptureModeGlobal));
    for (int i = 0; i < 20; i++)
        EVO_TRY(call());
    EVO_TRY(cudaStreamEndCapture(stream, &graph));
    EVO_TRY(cudaGraphInstantiate(&exec, graph, 0));
    float best[9], ms;
    for (int i = 0; i < 60; i++) { // the first fifty warm the clocks up; the median of the last nine
        EVO_TRY(cudaEventRecord(begin, stream));
        EVO_TRY(cudaGraphLaunch(exec, stream));
        EVO_TRY(cudaEventRecord(end, stream));
        EVO_TRY(cudaStreamSynchronize(stream));
        EVO_TRY(cudaEventElapsedTime(&ms, begin, end));
        int at = i < 51 ? 0 : i - 51;
        for (; at > 0 && best[at - 1] > ms; at--)
            best[at] = best[at - 1];
        best[at] = ms;
    }
    const double frobenius = norm > 0 ? sqrt(error / norm) : 0;
    const bool right = worst < 1e-2 && frobenius < 1e-2; // evo verify applies the real gate
    printf("%dx%d/%dx%d/%dx%d%s: max |diff| %.3g, relative error %.3g: %s; %.2f us a call\n", B, H, KH, Sq, Sk, D,
           causal ? " causal" : "", worst, frobenius, right ? "ok" : "WRONG", best[4] * 1000 / 20);
    return right ? 0 : 1;
}
#endif // EVO_MAIN
