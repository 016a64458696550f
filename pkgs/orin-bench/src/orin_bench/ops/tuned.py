"""The operations with the kernels of orin_nn, on GPUs with NVIDIA's tensor cores.

Each function makes, of an operation and its inputs, the step that computes it; None where there is
no such kernel for it.
"""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tinygrad import Tensor, dtypes

from orin_bench.cnn.layers import Conv2d as ConvLayer
from orin_bench.ops.block import PREFIX, SUFFIX, Block
from orin_bench.ops.operation import Arrays, Indices, Operation
from orin_bench.ops.operations import Attention, Conv2d, Matvec
from orin_bench.ops.rotation import Step
from orin_bench.ops.upload import Upload
from orin_nn.attention import CHUNK, PAGE, Place, attend
from orin_nn.gemm import choose, gemm
from orin_nn.gguf.model import TensorInfo
from orin_nn.gguf.random_model import random_model
from orin_nn.gpu import is_gpu
from orin_nn.linear import Linear
from orin_nn.transformer import Block as Layer
from orin_nn.transformer import rotary_table

Build = Callable[[Any, Arrays, Upload], Step | None]
HALVES = (dtypes.float16, dtypes.bfloat16)


def matmul(operation: Operation, inputs: Arrays, upload: Upload) -> Step | None:
    x, w = map(upload, inputs)
    return (lambda: gemm(x, w)) if choose(x, w) else None


def conv2d(operation: Conv2d, inputs: Arrays, upload: Upload) -> Step | None:
    """As a product, channels last: bench-cnn's."""
    if upload.dtype not in HALVES:
        return None
    x, w = (upload(np.ascontiguousarray(part.transpose(0, 2, 3, 1))) for part in inputs)
    kernel = operation.kernel
    layer = ConvLayer(operation.channels, operation.filters, kernel, padding=kernel // 2)
    layer.weight = w.permute(0, 3, 1, 2)
    return lambda: layer(x)


def attention(operation: Attention, inputs: Arrays, upload: Upload) -> Step | None:
    if upload.dtype != dtypes.float16 or operation.context % CHUNK:
        return None
    q, k, v = inputs
    cache = Tensor.stack(upload(k), upload(v)).contiguous().realize()
    queries = q.transpose(1, 0, 2) * np.float32(operation.head_dim**-0.5)
    scaled = Tensor(queries, device=upload.device).contiguous().realize()
    start = operation.context - operation.queries
    # Queries and keys come rotated.
    rope = Tensor.empty(2, operation.queries, operation.head_dim // 2, device=upload.device)
    place = _place(start, operation.context, rope)
    return lambda: attend(scaled, cache, place)


def matvec(operation: Matvec, inputs: Arrays, upload: Upload) -> Step | None:
    raw, x = inputs
    shape = operation.n, operation.k
    linear = Linear.load([(TensorInfo("", shape, operation.kind, 0), raw)], upload.device)
    vector = upload(x).reshape(1, -1)
    return lambda: linear(vector)


def block(operation: Block, inputs: Arrays, upload: Upload) -> Step | None:
    if upload.dtype != dtypes.float16 or operation.context % CHUNK:
        return None
    device, start = upload.device, operation.context - operation.queries
    h, *past = inputs[:3]
    weights = dict(zip(operation.names, inputs[3:], strict=True))
    if operation.shape.architecture == "llama":
        for name in ("attn_q", "attn_k"):
            weights[name] = _pairs(weights[name], operation.shape.head_dim, 0)
        past[0] = _pairs(past[0], operation.shape.head_dim, 2)

    def read(info: TensorInfo) -> NDArray[np.uint8]:
        data = weights[info.name.removeprefix(PREFIX).removesuffix(SUFFIX)]
        return np.atleast_2d(data).view(np.uint8)

    pages = operation.context // PAGE
    layer = Layer(random_model(operation.layer, "F16"), read, 0, device, pages)
    if start:
        kept = Tensor(np.stack(past), device=device).cast(layer.cache.dtype)
        layer.cache[:, :, :start].assign(kept).realize()
    place = _place(
        start, operation.context, rotary_table(operation.layer, operation.context, device)
    )
    states = Tensor(h, device=device).realize()
    return lambda: layer(states, place)


def _place(start: int, context: int, table: Tensor) -> Place:
    """The positions from `start` to the end of the `context`, in a cache of just that sequence."""
    positions = np.arange(start, context, dtype=np.int32)
    rows = np.stack([positions, positions, positions], axis=1)
    pages = np.arange(context // PAGE, dtype=np.int32)[np.newaxis]
    stand, held = (Tensor(array, device=table.device).realize() for array in (rows, pages))
    rope = table[:, -len(positions) :].contiguous().realize()
    return Place(stand, held, table.contiguous().realize(), rope)


def _pairs(array: NDArray[Any], head_dim: int, axis: int) -> NDArray[Any]:
    """Heads along `axis`, whose pairs are halves, in llama.cpp's order: pairs are neighbours."""
    before, length, after = array.shape[:axis], array.shape[axis], array.shape[axis + 1 :]
    heads = array.reshape(*before, length // head_dim, 2, head_dim // 2, *after)
    return np.ascontiguousarray(heads.swapaxes(axis + 1, axis + 2)).reshape(array.shape)


BUILDERS: Mapping[str, Build] = {
    "matmul": matmul,
    "conv2d": conv2d,
    "attention": attention,
    "matvec": matvec,
    "block": block,
}


# Where a result's axes are in another order than in Operation.result: that order.
LAYOUTS: Mapping[str, tuple[int, ...]] = {"conv2d": (0, 2, 3, 1), "attention": (1, 0, 2)}


def build(operation: Operation, inputs: Arrays, upload: Upload) -> Step | None:
    """The step of `operation` with kernels of ours, None where they do not apply."""
    if operation.name not in BUILDERS or not is_gpu(upload.device):
        return None
    return BUILDERS[operation.name](operation, inputs, upload)


def places(operation: Operation, at: Indices) -> Indices:
    """Where in the step's results those are whose flat indices are `at`."""
    axes = LAYOUTS.get(operation.name, tuple(range(len(operation.result))))
    index = np.unravel_index(at, operation.result)
    shape = [operation.result[axis] for axis in axes]
    return np.ravel_multi_index([index[axis] for axis in axes], shape).astype(np.int32)
