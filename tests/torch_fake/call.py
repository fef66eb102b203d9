"""call.py MODULE BATCH HEADS KV_HEADS Q_LEN KV_LEN: an exported kernel called through torch.py beside this file; what
cudart_fake.c computed is held against attention computed here. Then what must be refused is asked."""
import importlib.util
import math
import random
import struct
import sys

import torch

spec = importlib.util.spec_from_file_location("kernel", sys.argv[1])
kernel = importlib.util.module_from_spec(spec)
spec.loader.exec_module(kernel)
batch, heads, kv_heads, q_len, kv_len = map(int, sys.argv[2:])
dim, dtype = kernel.HEAD_DIM, torch.bfloat16 if kernel.BF16 else torch.float16
numbers = random.Random(1)


def number(bits):
    return struct.unpack("<f", struct.pack("<I", bits << 16))[0] if kernel.BF16 else struct.unpack("<e", struct.pack("<H", bits))[0]


def made(count, rows):
    if kernel.SEQUENCE_FIRST:
        tensor = torch.Tensor((batch, rows, count, dim), dtype).transpose(1, 2)
    else:
        tensor = torch.Tensor((batch, count, rows, dim), dtype)
    memory, _ = tensor.words()(0, 0, 0, 0)
    for i in range(batch * count * rows * dim):
        x = numbers.gauss(0, 1)
        memory[i] = struct.unpack("<I", struct.pack("<f", x))[0] >> 16 if kernel.BF16 else struct.unpack("<H", struct.pack("<e", x))[0]
    return tensor


def row(tensor, *where):
    memory, at = tensor.words()(*where, 0)
    return [number(memory[at + i]) for i in range(dim)]


def exact(b, h, i):
    kv, seen = h // (heads // kv_heads), max(0, min(kv_len, i + kv_len - q_len + 1)) if kernel.CAUSAL else kv_len
    own = row(q, b, h, i)
    scores = [sum(x * y for x, y in zip(own, row(k, b, kv, j))) / math.sqrt(dim) for j in range(seen)]
    weights = [math.exp(score - max(scores)) for score in scores]
    columns = [row(v, b, kv, j) for j in range(seen)]
    return [sum(w * column[d] for w, column in zip(weights, columns)) / sum(weights) for d in range(dim)] if seen else None


q, k, v = made(heads, q_len), made(kv_heads, kv_len), made(kv_heads, kv_len)
for _ in range(2):  # the second finds its plan
    out = kernel.attention(q, k, v)
if kernel.LSE:
    assert out[1].shape == (batch, heads, q_len) and out[1].dtype == torch.float32
    out = out[0]
assert out.shape == q.shape and out.stride() == q.stride()
worst = 0
for b, h, i in {(0, 0, 0), (batch - 1, heads - 1, q_len - 1), (batch - 1, 0, q_len // 2), (0, heads - 1, q_len // 3)}:
    wanted = exact(b, h, i)
    if wanted is not None:
        worst = max([worst] + [abs(x - y) for x, y in zip(row(out, b, h, i), wanted)])
print(f"largest error {worst:.2g}")
assert worst < (3e-2 if kernel.BF16 else 3e-3)


def refused(kind, text, *tensors, **more):
    try:
        kernel.attention(*tensors, **more)
    except kind as error:
        assert text in str(error), str(error)
        return
    raise AssertionError(f"not refused: {text}")


other = torch.Tensor(q.shape, torch.float32)
refused(TypeError, "q is float32", other, k, v)
refused(ValueError, "must be [batch, heads, rows", torch.Tensor(q.shape[1:], dtype), k, v)
refused(ValueError, "do not fit", torch.Tensor((batch, heads, q_len, dim + 8), dtype), k, v)
refused(ValueError, "do not fit", q, torch.Tensor((batch + 1, *k.shape[1:]), dtype), torch.Tensor((batch + 1, *k.shape[1:]), dtype))
refused(ValueError, "strides", torch.Tensor(q.shape, dtype, (1, q.stride()[0], *q.stride()[2:])), k, v) if batch * heads > 1 else None
refused(ValueError, "strides", torch.Tensor((batch, heads, q_len + 1, dim), dtype, [s * 2 for s in q.stride()]), k, v)
refused(ValueError, "16 bytes", torch.Tensor(q.shape, dtype, q.stride(), q.memory, 2), k, v)
refused(ValueError, "one GPU", torch.Tensor(q.shape, dtype, q.stride(), device=torch.CPU), k, v)
refused(RuntimeError, "no backward", torch.Tensor(q.shape, dtype, q.stride(), requires_grad=True), k, v)
refused(ValueError, "out is", q, k, v, out=torch.Tensor((batch, heads, q_len + 1, dim), dtype))
if kernel.new_workspace(q, k, v) is not None:
    refused(ValueError, "the workspace is not", q, k, v, workspace=torch.zeros(1, torch.uint8, q.device))
assert kernel._evaluate("-7 / 2 + 10 % 4 * 2 - !3", {}) == -3 + 4
assert kernel._evaluate("a > 0 && 8 / a == 2 || !a ? pow2(a) : max(1, 2, min(9, 0x10))", {"a": 4}) == 16
assert kernel._evaluate("a > 0 && 8 / a == 2 ? 1 : ceil_div(7, 2) + log2(9) - (3 <= 2)", {"a": 0}) == 7
