# What PyTorch's attention takes, by the two clocks that evo uses: graphs of calls replayed, and the
# spans of a call's kernels. Run by engine/daemon/torch.c, which reads what it prints:
#
#     name WORDS...            what was measured, once
#     error X                  the largest |out - exact| on some rows, exact in FP64
#     graph US... | span US... microseconds a call, in the order taken
#     unsupported WORDS...     instead of all that
#
# Arguments: BACKEND DEVICE BATCH HEADS KV_HEADS Q_LEN KV_LEN HEAD_DIM DTYPE CAUSAL SEQUENCE_FIRST
import sys
import warnings

backend, device, (batch, heads, kv_heads, q_len, kv_len, dim), dtype, causal, sequence_first = (
    sys.argv[1], "cuda:" + sys.argv[2], map(int, sys.argv[3:9]), sys.argv[9], sys.argv[10] == "1", sys.argv[11] == "1")
warnings.filterwarnings("ignore")
SETS, GRAPH_US, WARM_US, CAP_US = 4, 500, 50e3, 2e6


def refuse(why):
    print("unsupported", " ".join(str(why).split())[:300])
    sys.exit(0)


try:
    import torch
    from torch.nn.attention import SDPBackend, sdpa_kernel
    from torch.profiler import ProfilerActivity, profile
except Exception as error:
    refuse(f"{sys.executable} has no usable torch: {error}")
if not torch.cuda.is_available():
    refuse(f"torch {torch.__version__} sees no GPU")
torch.cuda.set_device(device)
flash = (SDPBackend.FLASH_ATTENTION, "FlashAttention")
backends = {
    "torch": ([flash[0], SDPBackend.CUDNN_ATTENTION, SDPBackend.EFFICIENT_ATTENTION, SDPBackend.MATH], "its own choice"),
    "torch-flash": ([flash[0]], flash[1]),
    "torch-cudnn": ([SDPBackend.CUDNN_ATTENTION], f"cuDNN {torch.backends.cudnn.version()}"),
    "torch-efficient": ([SDPBackend.EFFICIENT_ATTENTION], "memory-efficient attention"),
    "torch-math": ([SDPBackend.MATH], "plain matrix products"),
}
chosen, words = backends[backend]


def tensor(count, rows):
    shape = (batch, rows, count, dim) if sequence_first else (batch, count, rows, dim)
    made = torch.randn(shape, device=device, dtype=torch.bfloat16 if dtype == "bf16" else torch.float16)
    return made.transpose(1, 2) if sequence_first else made


def call(of):
    more = {"enable_gqa": True} if kv_heads != heads else {}
    return torch.nn.functional.scaled_dot_product_attention(*of, is_causal=causal, **more)


def error_of(of):
    """On the last rows of the last head, where a causal row sees most."""
    q, k, v = (of[0][-1, -1, -64:].double(), of[1][-1, -1].double(), of[2][-1, -1].double())
    scores = q @ k.T / dim ** 0.5
    if causal:
        rows = torch.arange(q_len - len(q), q_len, device=device)[:, None]
        scores.masked_fill_(torch.arange(kv_len, device=device)[None] > rows, float("-inf"))
    return (scores.softmax(-1) @ v - call(of)[-1, -1, -64:].double()).abs().max().item()


def events(count):
    return [torch.cuda.Event(enable_timing=True) for _ in range(count)]


def replays_us(graph, count):
    between = events(count + 1)
    between[0].record()
    for event in between[1:]:
        graph.replay()
        event.record()
    torch.cuda.synchronize()
    return [before.elapsed_time(after) * 1000 for before, after in zip(between, between[1:])]


def spans_us(graph, calls, replays):
    """Of each call, from the start of its first operation on the device to the end of its last."""
    with profile(activities=[ProfilerActivity.CUDA]) as seen:
        for _ in range(replays):
            graph.replay()
        torch.cuda.synchronize()
    done = sorted(((e.time_range.start, e.time_range.end) for e in seen.events()
                   if e.device_type == torch.autograd.DeviceType.CUDA))
    each = len(done) // (calls * replays)
    if each == 0 or len(done) != each * calls * replays:
        return []
    return [max(end for _, end in done[i:i + each]) - done[i][0] for i in range(0, len(done), each)]


def measure():
    sets = [(tensor(heads, q_len), tensor(kv_heads, kv_len), tensor(kv_heads, kv_len)) for _ in range(SETS)]
    stream = torch.cuda.Stream()
    with torch.cuda.stream(stream):
        for of in sets:
            call(of)
        print("error", error_of(sets[0]))
        graph, once = torch.cuda.CUDAGraph(), torch.cuda.CUDAGraph()
        with torch.cuda.graph(once, stream=stream):
            call(sets[0])
        guess = sorted(replays_us(once, 20))[10]
        calls = max(1, min(100, round(GRAPH_US / guess)))
        with torch.cuda.graph(graph, stream=stream):
            kept = [call(sets[i % SETS]) for i in range(calls)]
        for _ in range(max(3, int(WARM_US / (guess * calls)))):
            graph.replay()
        count = max(32, min(256, int(CAP_US / (guess * calls))))
        print("graph", *(us / calls for us in replays_us(graph, count)))
        print("span", *spans_us(graph, calls, max(1, min(32, 256 // calls))))
        del kept


try:
    with torch.no_grad(), sdpa_kernel(chosen):
        print(f"name PyTorch {torch.__version__}, {words}")
        measure()
except Exception as error:
    refuse(error)
