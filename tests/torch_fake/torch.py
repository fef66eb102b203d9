"""As much of PyTorch as an exported kernel asks of it, on host memory; cudart_fake.c is its GPU."""
import contextlib
import ctypes
import math
import os
from collections import namedtuple
from types import SimpleNamespace

torch_device = namedtuple("device", "type index")

float16, bfloat16, float32, uint8, preserve_format = "float16", "bfloat16", "float32", "uint8", object()
BYTES = {float16: 2, bfloat16: 2, float32: 4, uint8: 1}
CPU, GPU = torch_device("cpu", None), torch_device("cuda", 0)


class Tensor:
    def __init__(self, shape, dtype, strides=None, memory=None, offset=0, device=GPU, requires_grad=False):
        self.shape, self.dtype, self.device, self.requires_grad = tuple(shape), dtype, device, requires_grad
        self.strides = tuple(strides or [math.prod(self.shape[i + 1:]) for i in range(len(self.shape))])
        self.memory = memory or ctypes.create_string_buffer(self.nbytes + 64)
        self.offset = offset

    @property
    def nbytes(self):
        return math.prod(self.shape) * BYTES[self.dtype]

    def dim(self):
        return len(self.shape)

    def stride(self):
        return self.strides

    def data_ptr(self):
        return -(-ctypes.addressof(self.memory) // 16) * 16 + self.offset

    def transpose(self, a, b):
        def swapped(of):
            of = list(of)
            of[a], of[b] = of[b], of[a]
            return of
        return Tensor(swapped(self.shape), self.dtype, swapped(self.strides), self.memory, self.offset)

    def words(self):
        """Its elements' bits, by (batch, head, row, column)."""
        at = (ctypes.c_uint16 * (len(self.memory) // 2 - 16)).from_address(self.data_ptr())
        return lambda *where: (at, sum(i * stride for i, stride in zip(where, self.strides)))


def empty(*shape, dtype, device):
    return Tensor(shape, dtype, device=device)


def zeros(size, dtype, device):
    return Tensor((size,), dtype, device=device)


def empty_like(like, memory_format):
    assert memory_format is preserve_format
    return Tensor(like.shape, like.dtype, like.strides)


def is_grad_enabled():
    return True


cuda = SimpleNamespace(
    device=lambda device: contextlib.nullcontext(),
    current_device=lambda: 0,
    current_stream=lambda device: SimpleNamespace(cuda_stream=0),
    is_current_stream_capturing=lambda: False,
    get_device_properties=lambda device: SimpleNamespace(multi_processor_count=132),
    get_device_capability=lambda device: tuple(map(int, os.environ.get("FAKE_CAPABILITY", "9.0").split("."))))
