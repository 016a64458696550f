"""Results against the reference: tinygrad's are right, and a wrong kernel does not pass."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from tinygrad import Tensor

from orin_bench.engine import JitEngine
from orin_bench.ops import engines, stock
from orin_bench.ops.accuracy import Error, check_error, measure_error
from orin_bench.ops.block import Block
from orin_bench.ops.engines import Case, check_memory, measure_cases
from orin_bench.ops.operation import MOST_SETS, Arrays, Operation, draw, references, stored
from orin_bench.ops.operations import (
    Attention,
    Conv2d,
    Embedding,
    Matmul,
    Matvec,
    RMSNorm,
    RoPE,
    SwiGLU,
)
from orin_bench.ops.rotation import Step
from orin_bench.ops.sizes import MODELS, OPERATIONS, operations
from orin_bench.ops.torch_ops import has
from orin_bench.ops.upload import Upload
from orin_bench.roofline import Roofline
from orin_core.cli import UserError
from orin_core.timing import Timing
from orin_nn.gguf.shapes import TINY_LLAMA, TINY_QWEN3

LLAMA = replace(TINY_LLAMA, dim=64, hidden_dim=96, head_dim=16)
QWEN3 = replace(TINY_QWEN3, dim=64, hidden_dim=96, head_dim=16)
SMALL: list[Operation] = [
    Matmul(24, 40, 72),
    Conv2d(2, 8, 16, 7),
    Attention(6, 2, 64, 20, 20),
    Attention(6, 2, 64, 1, 20),
    RMSNorm(9, 64),
    RoPE(9, 3, 64),
    SwiGLU(9, 64),
    Matvec(24, 512, "Q8_0"),
    Matvec(24, 512, "Q6_K"),
    Matvec(24, 512, "Q4_K"),
    Embedding(9, 100, 32),
    Block(QWEN3, 1, 32),
]
# Their many kernels take seconds to compile.
LONG: list[Operation] = [Block(LLAMA, 1, 32), Block(LLAMA, 16, 16), Block(QWEN3, 16, 16)]


def case(operation: Operation, dtype: str = "float32") -> Case:
    kind = operation.quantization if isinstance(operation, Matvec) else dtype
    return Case(operation, "CPU", kind)


@pytest.mark.parametrize(
    "operation",
    [*SMALL, *(pytest.param(operation, marks=pytest.mark.slow) for operation in LONG)],
    ids=lambda operation: f"{operation.name} {operation}",
)
def test_tinygrad_agrees_with_the_reference(operation: Operation) -> None:
    """Two sets a step, and what was captured and replayed, not what was computed first."""
    (measured,) = measure_cases([case(operation)], [2], None, 0, 1)
    assert measured.error.relative < 1e-6
    assert (measured.engine, measured.sets) == ("tinygrad CPU", 2)


@pytest.mark.gpu
@pytest.mark.parametrize("name", OPERATIONS)
def test_a_gpu_agrees_with_the_reference(name: str) -> None:
    """Our kernels among them, in the sizes that are measured."""
    for operation in operations(name, "small"):
        target = Case(operation, "CUDA", case(operation, "float16").dtype)
        names = {measured.engine for measured in measure_cases([target], [3], None, 1, 2)}
        ours = name in ("matmul", "conv2d", "attention", "matvec", "block")
        assert names == {"tinygrad CUDA", *(["tinygrad CUDA tuned"] if ours else [])}


@pytest.mark.parametrize(
    "operation",
    [Matmul(24, 40, 72), pytest.param(Conv2d(2, 8, 16, 7), marks=pytest.mark.slow)],
)
def test_a_narrower_type_is_as_exact_as_its_bits(operation: Operation) -> None:
    """Rounding to 11 bits is off by 2^-12 / sqrt(3) in the mean, of either factor and the sum."""
    (half,) = measure_cases([case(operation, "float16")], [1], None, 0, 1)
    assert 1e-4 < half.error.relative < 1e-3
    (eight,) = measure_cases([case(operation, "int8")], [1], None, 0, 1)
    assert 1e-3 < eight.error.relative < 3e-2


def wrong(change: Callable[[Tensor], Tensor]) -> stock.Build:
    """Products that are changed on their way out."""

    def build(operation: Operation, inputs: Arrays, upload: Upload) -> Step:
        x, w = map(upload, inputs)
        return lambda: change(x @ w.T)

    return build


@pytest.mark.parametrize(
    "change",
    [
        lambda y: y * 1.001,
        lambda y: y * float("nan"),
        lambda y: y.flip(0),
        lambda y: y.shrink(((0, 20), None)).pad(((0, 4), None)),  # its last rows are not computed
    ],
    ids=["scaled", "nan", "permuted", "incomplete"],
)
def test_a_wrong_kernel_stops_the_run(
    change: Callable[[Tensor], Tensor], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stock, "BUILDERS", {"matmul": wrong(change)})
    with pytest.raises(UserError) as caught:
        measure_cases([case(Matmul(24, 40, 72))], [2], None, 0, 1)
    message = str(caught.value)
    assert message.startswith("matmul 24 x 40 x 72 float32, tinygrad CPU: the result is wrong, ")
    assert "\n" not in message


def test_a_kernel_that_is_wrong_for_the_second_set_only(monkeypatch: pytest.MonkeyPatch) -> None:
    calls = []

    def build(operation: Operation, inputs: Arrays, upload: Upload) -> Step:
        x, w = map(upload, inputs)
        calls.append(x)
        return (lambda: x @ w.T) if len(calls) == 1 else (lambda: (x + 1) @ w.T)

    monkeypatch.setattr(stock, "BUILDERS", {"matmul": build})
    with pytest.raises(UserError, match="the result is wrong"):
        measure_cases([case(Matmul(24, 40, 72))], [2], None, 0, 1)


def test_errors_by_hand() -> None:
    error = measure_error(np.array([[3.0, 4.5]], np.float32), np.array([[3.0, 4.0]]))
    assert error == Error(0.1, 0.5)
    check_error("row", Error(9e-3, 0), "float16")
    with pytest.raises(UserError, match=r"^row: the result is wrong, its relative error 0.011 is"):
        check_error("row", Error(1.1e-2, 0), "float16")


def test_int8_scales_the_largest_to_127() -> None:
    (x,), factor = stored([np.array([[-0.5, 2.0, 0.012]], np.float32)], "int8")
    assert x.tolist() == [[-32, 127, 1]]
    assert factor == pytest.approx(2 / 127)
    values = [np.ones(2, np.float32)]
    assert stored(values, "float16") == (values, 1.0)


def test_every_process_draws_the_same() -> None:
    operation = Matmul(3, 4, 5)
    sets, at = draw(operation)
    draw.cache_clear()
    again, at_again = draw(operation)
    np.testing.assert_array_equal(sets[0][0], again[0][0])
    np.testing.assert_array_equal(at, at_again)
    assert at.max() < 12
    assert references(operation).shape == (MOST_SETS, len(at))


def test_embeddings_read_other_rows_in_every_set_of_one_table() -> None:
    sets, _ = draw(Embedding(9, 1000, 32))
    assert all(inputs[0] is sets[0][0] for inputs in sets)
    assert len({tuple(inputs[1]) for inputs in sets}) == MOST_SETS


def test_every_operation_has_every_size() -> None:
    for name in OPERATIONS:
        for size in MODELS:
            made = operations(name, size)
            assert made
            assert all(operation.name == name for operation in made)
            assert operations(name, size, prompts=False)
            assert name in stock.BUILDERS
    assert len(operations("attention", "small", prompts=False)) == 1


def test_pytorch_lacks_what_it_lacks() -> None:
    assert has(Matmul(1, 1, 1), "int8")
    assert not has(Conv2d(1, 1, 1, 1), "int8")
    assert not has(Matvec(1, 256, "Q6_K"), "Q6_K")


def test_a_case_too_large_is_refused_before_it_is_allocated(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("orin_core.memory.available", lambda device: 10**9)
    check_memory(Case(Matmul(4096, 4096, 4096), "CPU", "float32"))
    attention = Case(Attention(24, 8, 128, 8192, 8192), "CPU", "float16")
    with pytest.raises(UserError, match="attention prefill 24/8 heads at 8192 float16 needs about"):
        check_memory(attention)
    with pytest.raises(UserError, match=r"needs about 2.1 GB, and CPU has 1.0 GB left"):
        check_memory(Case(Embedding(512, 128256, 4096), "CPU", "float32"))


def test_a_step_is_divided_by_its_sets(monkeypatch: pytest.MonkeyPatch) -> None:
    """And compared with the roofline so."""
    monkeypatch.setattr(engines, "interleave", lambda engines, **_: [Timing([3e-3] * 2)])
    (measured,) = measure_cases([case(Matmul(24, 40, 72))], [3], None, 0, 2)
    assert measured.timing.seconds == pytest.approx([1e-3] * 2)
    assert measured.flop_per_second == pytest.approx(2 * 24 * 40 * 72 / 1e-3)
    roof = Roofline("CPU", 1e9, 0.0, {"float32": 1e9})
    assert measured.share(roof) == pytest.approx(2 * 24 * 40 * 72 / 1e9 / 1e-3)


def test_namesare_closed_when_one_is_wrong(monkeypatch: pytest.MonkeyPatch) -> None:
    closed = []
    close = JitEngine.close

    def record(engine: JitEngine) -> None:
        closed.append(engine.name)
        close(engine)

    monkeypatch.setattr(JitEngine, "close", record)
    monkeypatch.setattr(stock, "BUILDERS", {"matmul": wrong(lambda y: y + 1)})
    with pytest.raises(UserError):
        measure_cases([case(Matmul(24, 40, 72))], [1], None, 0, 1)
    assert closed == ["tinygrad CPU"]
