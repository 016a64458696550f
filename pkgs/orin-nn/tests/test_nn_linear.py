"""Matrices from GGUF's bytes: what they hold, what they multiply, and what float16 cannot hold."""

import numpy as np
import pytest
from gguf import GGMLQuantizationType as Kind
from gguf.quants import dequantize, quantize
from numpy.typing import NDArray
from tinygrad import Tensor

from emulated_gpu import emulated_gpu
from orin_core.cli import UserError
from orin_nn.formats import FORMATS
from orin_nn.gguf.model import SUPPORTED, TensorInfo
from orin_nn.gguf.weights import random_matrix
from orin_nn.linear import Linear
from orin_nn.matvec import fits

Part = tuple[TensorInfo, NDArray[np.uint8]]


def part(rows: int, columns: int, kind: Kind, seed: int = 0) -> Part:
    data = random_matrix((rows, columns), kind, np.random.default_rng(seed))
    return TensorInfo(f"random.{seed}", (rows, columns), kind, 0), data


def numbers(*parts: Part) -> NDArray[np.float64]:
    return np.concatenate([dequantize(data, i.quantization) for i, data in parts]).astype(float)


def vectors(tokens: int, columns: int) -> NDArray[np.float32]:
    return np.random.default_rng(9).standard_normal((tokens, columns), np.float32)


@pytest.mark.parametrize("kind", SUPPORTED, ids=lambda kind: kind.name)
def test_parts_lie_one_above_the_other(kind: Kind) -> None:
    parts = part(8, 256, kind), part(4, 256, kind, seed=1)
    linear = Linear.load(parts, "CPU")
    assert linear.shape == (12, 256)
    kept = kind.name in FORMATS
    assert linear.nbytes == (sum(d.nbytes for _, d in parts) if kept else 12 * 256 * 2)
    x = vectors(3, 256)
    product = linear(Tensor(x, device="CPU")).numpy()
    np.testing.assert_allclose(product, x @ numbers(*parts).T, rtol=1e-2, atol=1e-2)


def test_rows_residual_and_gate() -> None:
    upper, lower = part(4, 256, Kind.Q6_K), part(4, 256, Kind.Q6_K, seed=1)
    linear, weight, x = Linear.load([upper, lower], "CPU"), numbers(upper, lower), vectors(2, 256)
    indices = Tensor([7, 0], device="CPU")
    np.testing.assert_allclose(linear.rows(indices).numpy(), weight[[7, 0]], rtol=1e-6)
    given, residual = Tensor(x, device="CPU"), vectors(2, 4)
    gate, up = np.split(x @ weight.T, 2, axis=1)
    gated = linear(given, Tensor(residual, device="CPU"), gated=True).numpy()
    np.testing.assert_allclose(gated, gate / (1 + np.exp(-gate)) * up + residual, atol=1e-4)


def test_weights_beyond_float16_are_refused() -> None:
    for kind, largest in ((Kind.F32, 1e5), (Kind.BF16, np.inf)):
        matrix = np.full((2, 32), largest, np.float32)
        info = TensorInfo("blk.0.ffn_up.weight", (2, 32), kind, 0)
        data = quantize(matrix, kind).view(np.uint8)
        with pytest.raises(UserError, match=rf"blk.0.ffn_up.weight has {kind.name} weights"):
            Linear.load([(info, data)], "CPU")


@pytest.mark.parametrize(
    ("kind", "rows", "columns"),
    [
        (Kind.F16, 64, 256),
        (Kind.F16, 7, 256),  # fits no warps, and goes the way of several rows
        (Kind.Q8_0, 128, 96),
        (Kind.Q6_K, 32, 256),
        (Kind.Q4_K, 32, 256),
    ],
)
def test_a_vector_on_a_gpu(
    kind: Kind, rows: int, columns: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    device = emulated_gpu(monkeypatch)
    linear = Linear.load([part(rows, columns, kind)], device)
    assert fits(rows, columns, linear.form) == (rows > 7)
    x, residual = vectors(1, columns), vectors(1, rows)
    product = linear(Tensor(x, device=device), Tensor(residual, device=device)).numpy()
    # The emulator flushes small scales, so that the planes may hold other weights than the file.
    weight = linear.form.expand(linear.planes).float().numpy()
    np.testing.assert_allclose(product, x @ weight.T + residual, rtol=1e-3, atol=2e-3)
