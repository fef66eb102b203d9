#ifdef EVO_MAIN
// nvcc -O3 -DEVO_MAIN ... && ./a.out [batch heads kv_heads q_len kv_len]: compares with an FP64 reference
// on the CPU (a few thousand rows of it when there are more) and times by a CUDA graph of 20 calls.
#include <cstdio>
#include <cstdlib>
#include <vector>
#if EVO_MAIN_BF16
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

// The worst difference, and what the relative error is made of.
struct evo_errors {
    double worst, error, norm;
    void add(double got, double want)
    {
        const double off = got == want ? 0 : fabs(got - want); // infinities may be equal
        worst = off <= worst ? worst : off == off ? off : HUGE_VAL;
        error += off * off, norm += want * want;
    }
};

// One query row in FP64: D outputs, and the log-sum-exp behind them.
static void evo_exact_row(const evo_element *q, const evo_element *k, const evo_element *v, size_t stride, int visible,
                          std::vector<double> &exact)
{
    const int D = EVO_HEAD_DIM;
    std::vector<double> score(visible);
    double peak = -HUGE_VAL, sum = 0;
    for (int j = 0; j < visible; j++) {
        double dot = 0;
        for (int d = 0; d < D; d++)
            dot += (double)(float)q[d] * (double)(float)k[j * stride + d];
        score[j] = dot / sqrt((double)D);
        peak = score[j] > peak ? score[j] : peak;
    }
    exact.assign(D + 1, 0.0);
    for (int j = 0; j < visible; j++) {
        const double w = exp(score[j] - peak);
        sum += w;
        for (int d = 0; d < D; d++)
            exact[d] += w * (double)(float)v[j * stride + d];
    }
    for (int d = 0; d < D; d++)
        exact[d] = sum > 0 ? exact[d] / sum : 0;
    exact[D] = sum > 0 ? peak + log(sum) : -HUGE_VAL;
}

int main(int argc, char **argv)
{
    const int D = EVO_HEAD_DIM, causal = EVO_MAIN_CAUSAL;
    int shape[5] = {EVO_MAIN_SHAPE};
    for (int i = 0; i < 5 && argc == 6; i++)
        shape[i] = atoi(argv[i + 1]);
    const int B = shape[0], H = shape[1], KH = shape[2], Sq = shape[3], Sk = shape[4];
    if ((argc != 1 && argc != 6) || !evo_is_shape(B, H, KH, Sq, Sk)) {
        fprintf(stderr, "usage: %s [batch heads kv_heads q_len kv_len]\n", argv[0]);
        return 2;
    }
    const size_t rows = (size_t)B * H * Sq, keys = (size_t)B * KH * Sk;
    const auto q = evo_random(rows * D, 1), k = evo_random(keys * D, 2), v = evo_random(keys * D, 3);
    auto o = evo_random(rows * D, 4);
    void *dq = evo_upload(q), *dk = evo_upload(k), *dv = evo_upload(v), *d_o = evo_upload(o), *dw = nullptr;
    const size_t bytes = evo_workspace_bytes(B, H, KH, Sq, Sk);
    std::vector<float> lse(rows);
    float *d_lse;
    cudaStream_t stream;
    EVO_TRY(cudaMalloc(&d_lse, rows * sizeof(float)));
    EVO_TRY(cudaMalloc(&dw, bytes + 1));
    EVO_TRY(cudaMemset(dw, 0, bytes + 1));
    EVO_TRY(cudaStreamCreate(&stream));
    auto call = [&] { return evo_attention(dq, dk, dv, d_o, d_lse, B, H, KH, Sq, Sk, dw, stream); };
    EVO_TRY(call());
    EVO_TRY(cudaStreamSynchronize(stream));
    EVO_TRY(cudaMemcpy(o.data(), d_o, o.size() * sizeof(evo_element), cudaMemcpyDeviceToHost));
    EVO_TRY(cudaMemcpy(lse.data(), d_lse, rows * sizeof(float), cudaMemcpyDeviceToHost));

    const evo_problem p = evo_problem_of(B, H, KH, Sq, Sk);
    evo_errors outputs = {}, sums = {};
    std::vector<double> exact;
    for (size_t i = 0; i < rows; i += 1 + rows / 4096) {
        const size_t batch = i / Sq / H, head = i / Sq % H, row = i % Sq, kv_head = head / (H / KH);
        const size_t at = batch * p.q[0] + head * p.q[1] + row * p.q[2], key = batch * p.k[0] + kv_head * p.k[1];
        const int seen = causal ? (int)row + Sk - Sq + 1 : Sk;
        evo_exact_row(&q[at], &k[key], &v[key], p.k[2], seen < 0 ? 0 : seen > Sk ? Sk : seen, exact);
        for (int d = 0; d < D; d++)
            outputs.add((double)(float)o[at + d], exact[d]);
        if (EVO_MAIN_LSE)
            sums.add(lse[i], exact[D]);
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
    const double relative = outputs.norm > 0 ? sqrt(outputs.error / outputs.norm) : 0;
    const double allowed = EVO_MAIN_BF16 ? 4e-2 : 1e-2; // for finding blunders; evo verify applies the real gate
    const bool right = outputs.worst < allowed && relative < allowed && sums.worst < 1e-2;
    printf("%dx%d/%dx%d/%dx%d%s: max |diff| %.3g, relative error %.3g", B, H, KH, Sq, Sk, D, causal ? " causal" : "",
           outputs.worst, relative);
    if (EVO_MAIN_LSE)
        printf(", log-sum-exp %.3g", sums.worst);
    printf(": %s; %.2f us a call\n", right ? "ok" : "WRONG", best[4] * 1000 / 20);
    return right ? 0 : 1;
}
#endif // EVO_MAIN
