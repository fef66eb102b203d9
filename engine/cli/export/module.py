

def attention(q, k, v, out=None, workspace=None):
    """softmax(q kᵀ / sqrt(d)) v, as torch.nn.functional.scaled_dot_product_attention would compute it.

    q and out are [batch, heads, rows, HEAD_DIM], k and v [batch, key heads, keys, HEAD_DIM], on one GPU, in memory
    as the kernel was judged with: contiguous, or, where SEQUENCE_FIRST, transposed views of [batch, rows, heads,
    HEAD_DIM]. Runs on the current stream, may be captured in a graph, has no backward. Returns out, or
    (out, log-sum-exp) where LSE. Memory that the kernel borrows is kept for each stream, and drawn and zeroed again
    for each call that a graph captures; a graph is faster with a new_workspace() of its own.
    """
    shape = _shape(q, k, v)
    if torch.is_grad_enabled() and (q.requires_grad or k.requires_grad or v.requires_grad):
        raise RuntimeError("this kernel has no backward: call it under torch.no_grad()")
    for name, tensor in (("q", q), ("k", k), ("v", v)):
        _look_at(name, tensor, q.device)
    if out is None:
        out = torch.empty_like(q, memory_format=torch.preserve_format)
    elif out.shape != q.shape:
        raise ValueError(f"out is {list(out.shape)}, q is {list(q.shape)}")
    _look_at("out", out, q.device)
    if q.device.index == torch.cuda.current_device():
        return _launched(q, k, v, out, workspace, shape)
    with torch.cuda.device(q.device):
        return _launched(q, k, v, out, workspace, shape)


def new_workspace(q, k, v):
    """What calls of this shape borrow, zeroed, for calls that do not overlap; None where that is nothing."""
    with torch.cuda.device(q.device):
        _enter(q.device.index)
        size = _plan(q.device.index, _shape(q, k, v)).scratch_bytes
    return torch.zeros(size, dtype=torch.uint8, device=q.device) if size > 0 else None


def supports(batch, heads, kv_heads, q_len, kv_len, sms=132):
    """Whether the kernel does this shape on a GPU of so many multiprocessors."""
    names = _names((batch, heads, kv_heads, q_len, kv_len), sms)
    return all(_evaluate(text, names) for text in SUPPORTS)


def _launched(q, k, v, out, workspace, shape):
    _enter(q.device.index)
    plan = _plan(q.device.index, shape)
    lse = torch.empty(shape[0], shape[1], shape[3], dtype=torch.float32, device=q.device) if LSE else None
    stream = torch.cuda.current_stream(q.device)
    scratch = _scratch(plan.scratch_bytes, q.device, stream) if workspace is None else workspace
    if scratch is not None and (scratch.nbytes < plan.scratch_bytes or scratch.device != q.device):
        raise ValueError(f"the workspace is not {plan.scratch_bytes} bytes on {q.device}: new_workspace() makes one")
    call = _call(plan, q.data_ptr(), k.data_ptr(), v.data_ptr(), out.data_ptr(), lse.data_ptr() if LSE else 0,
                 scratch.data_ptr() if scratch is not None else 0)
    call.run(stream.cuda_stream)
    return (out, lse) if LSE else out


# ---- what may be asked ----

def _shape(q, k, v):
    if q.dim() != 4 or k.dim() != 4 or v.shape != k.shape:
        raise ValueError(f"q, k, v must be [batch, heads, rows, {HEAD_DIM}], not {list(q.shape)}, {list(k.shape)}, {list(v.shape)}")
    batch, heads, q_len, columns = q.shape
    if k.shape[0] != batch or columns != HEAD_DIM or k.shape[3] != HEAD_DIM or k.shape[1] == 0 or heads % k.shape[1] != 0:
        raise ValueError(f"q {list(q.shape)} and k {list(k.shape)} do not fit: one batch, {HEAD_DIM} columns, heads a multiple of key heads")
    if 0 in q.shape or 0 in k.shape:
        raise ValueError("there are no rows, or no keys")
    return batch, heads, k.shape[1], q_len, k.shape[2]


@functools.lru_cache(maxsize=4096)  # what was right once is right again: a call costs microseconds
def _fits(name, dtype, device, q_device, shape, strides):
    wanted = torch.bfloat16 if BF16 else torch.float16
    if dtype != wanted:
        raise TypeError(f"{name} is {dtype}; this kernel was made for {wanted}")
    if device.type != "cuda" or device != q_device:
        raise ValueError(f"{name} is on {device}; all must be on one GPU")
    _, heads, rows, columns = shape
    row, head = (heads * columns, columns) if SEQUENCE_FIRST else (columns, rows * columns)
    for size, stride, right in zip(shape, strides, (heads * rows * columns, head, row, 1)):
        if size > 1 and stride != right:
            layout = "[batch, rows, heads, columns], seen through .transpose(1, 2)" if SEQUENCE_FIRST else "[batch, heads, rows, columns]"
            raise ValueError(f"{name} has the strides {strides}: its memory must be a whole {layout}")


def _look_at(name, tensor, q_device):
    _fits(name, tensor.dtype, tensor.device, q_device, tensor.shape, tensor.stride())
    if tensor.data_ptr() % 16 != 0:
        raise ValueError(f"{name} does not begin at a multiple of 16 bytes")


# ---- launch expressions: C's integers, with min, max, ceil_div, log2 and pow2 ----

_LEVELS = (("||",), ("&&",), ("==", "!="), ("<", "<=", ">", ">="), ("+", "-"), ("*", "/", "%"))
_WORDS = {"||": "int(bool({0} or {1}))", "&&": "int(bool({0} and {1}))", "/": "_quotient({0}, {1})", "%": "_rest({0}, {1})"}


def _quotient(a, b):
    return abs(a) // abs(b) * (1 if (a < 0) == (b < 0) else -1)


def _rest(a, b):
    return a - b * _quotient(a, b)


_FUNCTIONS = {"min": min, "max": max, "ceil_div": lambda a, b: -(-a // b), "log2": lambda a: a.bit_length() - 1,
              "pow2": lambda a: 1 << a, "true": 1, "false": 0, "bool": bool, "int": int,
              "_quotient": _quotient, "_rest": _rest, "__builtins__": {}}


def _translated(text):
    """The expression as one of Python's, which evaluates no more of it than C does."""
    tokens = re.findall(r"0[xX][0-9a-fA-F]+|\d+|[A-Za-z_]\w*|&&|\|\||[=!<>]=|\S", text) + [""]

    def take(expected=None):
        if expected is not None and tokens[0] != expected:
            raise ValueError(f"'{text}': '{expected}' is missing before '{tokens[0]}'")
        return tokens.pop(0)

    def choice():
        condition = binary(0)
        if tokens[0] != "?":
            return condition
        take()
        yes = choice()
        take(":")
        return f"({yes} if {condition} else {choice()})"

    def binary(level):
        if level == len(_LEVELS):
            return unary()
        left = binary(level + 1)
        while tokens[0] in _LEVELS[level]:
            sign = take()
            left = _WORDS.get(sign, f"({{0}} {sign} {{1}})").format(left, binary(level + 1))
        return left

    def unary():
        token = take()
        if token == "!":
            return f"int(not {unary()})"
        if token == "-":
            return f"(-{unary()})"
        if token == "(":
            inner = choice()
            take(")")
            return inner
        if not re.fullmatch(r"\w+", token):
            raise ValueError(f"'{text}': '{token}' is no operand")
        if tokens[0] != "(":
            return token
        take()
        arguments = [choice()]
        while tokens[0] == ",":
            take()
            arguments.append(choice())
        take(")")
        return f"{token}({', '.join(arguments)})"

    whole = choice()
    take("")
    return whole


def _evaluate(text, names):
    return int(eval(_translated(text), _FUNCTIONS, names))


def _names(shape, sms):
    return dict(zip(("batch", "heads", "kv_heads", "q_len", "kv_len"), shape), sms=sms, **CONSTANTS)


# ---- the driver, which PyTorch has loaded already ----

@functools.lru_cache(maxsize=None)
def _driver():
    driver = ctypes.CDLL("libcuda.so.1")
    pointer, number = ctypes.c_void_p, ctypes.c_uint
    for name, arguments in (("cuGetErrorString", [ctypes.c_int, pointer]), ("cuModuleLoadData", [pointer, pointer]),
                            ("cuCtxGetCurrent", [pointer]), ("cuCtxSetCurrent", [pointer]),
                            ("cuDeviceGet", [pointer, ctypes.c_int]), ("cuDevicePrimaryCtxRetain", [pointer, ctypes.c_int]),
                            ("cuModuleGetFunction", [pointer, pointer, ctypes.c_char_p]),
                            ("cuFuncSetAttribute", [pointer, ctypes.c_int, ctypes.c_int]),
                            ("cuMemsetD8Async", [pointer, ctypes.c_ubyte, ctypes.c_size_t, pointer]),
                            ("cuTensorMapEncodeTiled", [pointer, ctypes.c_int, number] + [pointer] * 5 + [ctypes.c_int] * 4),
                            ("cuLaunchKernel", [pointer] + [number] * 7 + [pointer] * 3)):
        function = getattr(driver, name)
        function.argtypes, function.restype = arguments, ctypes.c_int
    return driver


def _try(what, code):
    if code != 0:
        text = ctypes.c_char_p()
        _driver().cuGetErrorString(code, ctypes.byref(text))
        raise RuntimeError(f"{what}: {text.value.decode() if text.value else f'error {code} of the driver'}")


_thread = threading.local()


def _enter(device):
    """A thread that has called nothing of CUDA's yet has no context: PyTorch's becomes its own."""
    if getattr(_thread, "entered", False):
        return
    context, number = ctypes.c_void_p(), ctypes.c_int()
    _try("cannot ask for the context", _driver().cuCtxGetCurrent(ctypes.byref(context)))
    if not context.value:
        _try("cannot find the device", _driver().cuDeviceGet(ctypes.byref(number), device))
        _try("cannot find its context", _driver().cuDevicePrimaryCtxRetain(ctypes.byref(context), number))
        _try("cannot enter its context", _driver().cuCtxSetCurrent(context))
    _thread.entered = True


@functools.lru_cache(maxsize=None)
def _functions(device):
    """The kernels on a device, in whose context this is called."""
    major, minor = torch.cuda.get_device_capability(device)
    number = int(re.match(r"sm_(\d+)", ARCH).group(1))
    own = ARCH[-1].isalpha()  # sm_90a is for that one architecture, sm_90 for later ones of its generation too
    if major != number // 10 or minor < number % 10 or (own and minor != number % 10):
        raise RuntimeError(f"this kernel is machine code for {ARCH}; the GPU is an sm_{major}{minor}")
    module, found = ctypes.c_void_p(), {}
    _try("cannot load the machine code", _driver().cuModuleLoadData(ctypes.byref(module), _IMAGE))
    for name, *_ in KERNELS:
        function = ctypes.c_void_p()
        _try(f"cannot find '{name}'", _driver().cuModuleGetFunction(ctypes.byref(function), module, name.encode()))
        found[name] = function
    return found


# ---- a shape, and a call ----

class _Problem(ctypes.Structure):
    _fields_ = ([(name, ctypes.c_int) for name in ("batch", "heads", "kv_heads", "q_len", "kv_len", "head_dim")]
                + [("scale", ctypes.c_float), ("reserved", ctypes.c_int)]
                + [(name, ctypes.c_longlong * 3) for name in "qkvo"])


def _problem(shape):
    batch, heads, kv_heads, q_len, kv_len = shape

    def strides(count, rows):
        inner = (HEAD_DIM, count * HEAD_DIM) if SEQUENCE_FIRST else (rows * HEAD_DIM, HEAD_DIM)
        return (ctypes.c_longlong * 3)(count * rows * HEAD_DIM, *inner)

    own, keys = strides(heads, q_len), strides(kv_heads, kv_len)
    return _Problem(*shape, HEAD_DIM, HEAD_DIM ** -0.5, 0, own, keys, keys, own)


class _Plan:
    """The program resolved for a shape on a device."""

    def __init__(self, device, shape):
        sms = torch.cuda.get_device_properties(device).multi_processor_count
        names = _names(shape, sms)
        if not supports(*shape, sms):
            raise ValueError(f"this kernel does not do [batch, heads, key heads, rows, keys] = {list(shape)}: {' and '.join(SUPPORTS)}")
        functions = _functions(device)
        self.problem = _problem(shape)
        self.workspaces, self.scratch_bytes = [], 0  # (name, offset, bytes, zeroed before each call)
        for name, size, kind in WORKSPACES:
            size = _evaluate(size, names)
            self.workspaces.append((name, self.scratch_bytes, size, kind == "zero_call"))
            self.scratch_bytes += -(-size // 256) * 256
        self.maps = [(name, tensor, *(_evaluate(text, names) for text in rest)) for name, tensor, *rest in MAPS]
        self.kernels = []
        for name, grid, threads, smem, arguments in KERNELS:
            grid = [_evaluate(text, names) for text in grid]
            if min(grid) <= 0:
                continue  # nothing to do for this shape
            smem = _evaluate(smem, names)
            _try(f"'{name}' cannot have {smem} bytes of shared memory", _driver().cuFuncSetAttribute(functions[name], 8, smem))
            self.kernels.append((functions[name], grid, _evaluate(threads, names), smem, arguments))


@functools.lru_cache(maxsize=1024)
def _plan(device, shape):
    return _Plan(device, shape)


def _encoded(plan, tensor, pointer, columns, rows, swizzle):
    """A tensor map: boxes of columns x rows over (column, row, head, batch)."""
    problem, key = plan.problem, tensor.lower()
    strides = getattr(problem, key)
    count, length = (problem.kv_heads, problem.kv_len) if key in "kv" else (problem.heads, problem.q_len)
    room = (ctypes.c_char * 256)()
    start = -ctypes.addressof(room) % 128
    encoded = (ctypes.c_char * 128).from_buffer(room, start)
    _try(f"cannot describe {tensor} to the GPU", _driver().cuTensorMapEncodeTiled(
        ctypes.addressof(encoded), 9 if BF16 else 6, 4, pointer,
        (ctypes.c_ulonglong * 4)(HEAD_DIM, length, count, problem.batch),
        (ctypes.c_ulonglong * 3)(*(2 * strides[i] for i in (2, 1, 0))),
        (ctypes.c_uint * 4)(columns, rows, 1, 1), (ctypes.c_uint * 4)(1, 1, 1, 1),
        0, {0: 0, 32: 1, 64: 2, 128: 3}[swizzle], 2, 0))
    return encoded


class _Call:
    """A plan with its pointers: all that a launch needs."""

    def __init__(self, plan, q, k, v, out, lse, scratch):
        tensors = {"Q": q, "K": k, "V": v, "O": out}
        values = {name: ctypes.c_void_p(pointer) for name, pointer in tensors.items()}
        values.update(LSE=ctypes.c_void_p(lse), problem=plan.problem)
        self.zeroed = []
        for name, offset, size, zeroed in plan.workspaces:
            values[name] = ctypes.c_void_p(scratch + offset if size else 0)
            if zeroed and size:
                self.zeroed.append((scratch + offset, size))
        for name, tensor, columns, rows, swizzle in plan.maps:
            values[name] = _encoded(plan, tensor, tensors[tensor], columns, rows, swizzle)
        self.values = values  # what the launches point to
        self.launches = [(function, *grid, threads, 1, 1, smem,
                          (ctypes.c_void_p * len(arguments))(*(ctypes.addressof(values[name]) for name in arguments)))
                         for function, grid, threads, smem, arguments in plan.kernels]

    def run(self, stream):
        driver = _driver()
        for pointer, size in self.zeroed:
            _try("cannot zero the workspace", driver.cuMemsetD8Async(pointer, 0, size, stream))
        for *launch, parameters in self.launches:
            _try("cannot launch the kernel", driver.cuLaunchKernel(*launch, stream, parameters, None))


@functools.lru_cache(maxsize=256)
def _call(plan, q, k, v, out, lse, scratch):
    return _Call(plan, q, k, v, out, lse, scratch)


_kept = {}


def _scratch(size, device, stream):
    """Workspace, zeroed at first; each stream has its own, and what a graph captures belongs to the graph."""
    if size == 0:
        return None
    if torch.cuda.is_current_stream_capturing():
        return torch.zeros(size, dtype=torch.uint8, device=device)
    key = device.index, stream.cuda_stream, size
    if key not in _kept:
        _kept[key] = torch.zeros(size, dtype=torch.uint8, device=device)
    return _kept[key]


# ---- python3 FILE: compared with PyTorch's own ----

def _exact(q, k, v):
    mask = torch.ones(q.shape[2], k.shape[2], dtype=torch.bool, device=q.device).tril(k.shape[2] - q.shape[2]) if CAUSAL else None
    return torch.nn.functional.scaled_dot_product_attention(q.float(), k.float(), v.float(), attn_mask=mask, enable_gqa=q.shape[1] != k.shape[1])


def _graph_us(call):
    """Microseconds a call, in a graph of twenty: the median of nine, after fifty."""
    side, graph, times = torch.cuda.Stream(), torch.cuda.CUDAGraph(), []
    with torch.cuda.stream(side):
        call()
        with torch.cuda.graph(graph, stream=side):
            for _ in range(20):
                call()
        for _ in range(60):
            begin, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
            begin.record()
            graph.replay()
            end.record()
            end.synchronize()
            times.append(begin.elapsed_time(end) * 50)
    return sorted(times[-9:])[4]


def _compare(shape):
    batch, heads, kv_heads, q_len, kv_len = shape
    torch.manual_seed(1)

    def drawn(count, rows):
        size = (batch, rows, count, HEAD_DIM) if SEQUENCE_FIRST else (batch, count, rows, HEAD_DIM)
        made = torch.randn(size, device="cuda", dtype=torch.bfloat16 if BF16 else torch.float16)
        return made.transpose(1, 2) if SEQUENCE_FIRST else made

    def theirs():
        return torch.nn.functional.scaled_dot_product_attention(q, k, v, is_causal=CAUSAL, enable_gqa=heads != kv_heads)

    q, k, v = drawn(heads, q_len), drawn(kv_heads, kv_len), drawn(kv_heads, kv_len)
    with torch.no_grad():
        exact, result = _exact(q, k, v), attention(q, k, v)
        error = ((result[0] if LSE else result).float() - exact).abs().max().item()
        fair = q_len == kv_len or not CAUSAL  # else PyTorch's causal mask is another
        other = (theirs().float() - exact).abs().max().item() if fair else float("nan")
        room = new_workspace(q, k, v)
        ours_us, theirs_us = _graph_us(lambda: attention(q, k, v, workspace=room)), _graph_us(theirs) if fair else float("nan")
    right = error < (4e-2 if BF16 else 1e-2)  # for finding blunders; evo verify applies the real gate
    print(f"{list(shape)}: largest error {error:.2g} (PyTorch's {other:.2g}): {'ok' if right else 'WRONG'}; "
          f"{ours_us:.2f} us a call (PyTorch's {theirs_us:.2f})")
    return right


if __name__ == "__main__":
    if len(sys.argv) not in (1, 6):
        sys.exit(f"usage: {sys.argv[0]} [batch heads kv_heads q_len kv_len]")
    sys.exit(0 if all([_compare(shape) for shape in ([tuple(map(int, sys.argv[1:]))] if len(sys.argv) == 6 else SHAPES)]) else 1)
