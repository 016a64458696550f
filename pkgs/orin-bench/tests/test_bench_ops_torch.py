"""PyTorch's operations compute what the reference does."""

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from orin_bench.ops.accuracy import measure_error
from orin_bench.ops.block import Block
from orin_bench.ops.operation import Operation, draw, references, stored
from orin_bench.ops.operations import Attention, Conv2d, Embedding, Matmul, RMSNorm, RoPE, SwiGLU
from orin_bench.ops.sizes import OPERATIONS
from orin_bench.ops.torch_ops import BUILDERS, has, samples
from orin_bench.torch_worker import TorchWorker
from orin_nn.gguf.shapes import TINY_LLAMA, TINY_QWEN3

SMALL: list[Operation] = [
    Matmul(32, 48, 64),
    Conv2d(2, 8, 16, 6),
    Attention(6, 2, 64, 40, 40),
    Attention(6, 2, 64, 1, 40),
    RMSNorm(9, 64),
    RoPE(9, 3, 64),
    SwiGLU(9, 64),
    Embedding(9, 100, 32),
    Block(TINY_LLAMA, 1, 64),
    Block(TINY_QWEN3, 20, 20),
]


def test_all_but_quantized_products_are_there() -> None:
    assert {*BUILDERS, "matvec"} == {*OPERATIONS}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("operation", "dtype", "bound"),
    [
        *((operation, "float32", 1e-6) for operation in SMALL),
        *((operation, "bfloat16", 1e-2) for operation in SMALL),
        (SMALL[0], "int8", 3e-2),
    ],
)
def test_pytorch_agrees_with_the_reference(operation: Operation, dtype: str, bound: float) -> None:
    torch = pytest.importorskip("torch")

    def copy(array: NDArray[Any]) -> Any:
        tensor = torch.from_numpy(array)
        return tensor.to(getattr(torch, dtype)) if tensor.is_floating_point() else tensor

    sets, at = draw(operation)
    inputs, factor = stored(sets[0], dtype)
    with torch.inference_mode():
        result = BUILDERS[operation.name](operation, inputs, copy)()
    found = result.flatten()[torch.from_numpy(at)].float().numpy() * np.float32(factor)
    assert measure_error(found, references(operation)[0]).relative < bound


@pytest.mark.gpu
@pytest.mark.parametrize("operation", SMALL, ids=lambda operation: f"{operation.name} {operation}")
def test_pytorch_computes_every_set_eager_and_as_a_graph(operation: Operation) -> None:
    pytest.importorskip("torch")
    assert has(operation, "float16")
    worker = TorchWorker()
    engines = worker.start(
        "orin_bench.ops.torch_ops:engines", operation=operation, dtype="float16", count=3
    )
    assert [engine.name for engine in engines] == ["torch eager", "torch graph"]
    for found in worker.call(samples):
        assert len(found) == 3
        assert measure_error(found, references(operation)[:3]).relative < 1e-2
    worker.close()
