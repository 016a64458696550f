"""The CPU's kernels in C against float64: every format and shape, attention, norms, and the JIT."""

import os
import platform
import subprocess
import sys
from functools import partial

import numpy as np
import pytest
from gguf import GGMLQuantizationType as Kind
from gguf.quants import dequantize
from numpy.typing import NDArray
from tinygrad import Tensor, TinyJit, dtypes

from orin_nn.cpu.attention import attend, enter, norm
from orin_nn.cpu.product import product
from orin_nn.cpu.program import runs_c
from orin_nn.formats import FORMATS
from orin_nn.gguf.weights import random_matrix

PAGE = 16
Floats = NDArray[np.float64]


def on_cpu(array: NDArray[np.generic]) -> Tensor:
    return Tensor(array, device="CPU").contiguous().realize()


def normal(*shape: int, seed: int = 0) -> NDArray[np.float32]:
    return np.random.default_rng(seed).standard_normal(shape, np.float32)


def matrix(name: str, n: int, k: int) -> tuple[list[Tensor], Floats]:
    """The planes of a random matrix, and its values."""
    raw = random_matrix((n, k), Kind[name], np.random.default_rng(n + k))
    planes = [plane.contiguous().realize() for plane in FORMATS[name].planes(on_cpu(raw))]
    return planes, dequantize(raw, Kind[name]).astype(np.float64)


def check_product(name: str, t: int, n: int, k: int, *, gated: bool, added: bool) -> None:
    planes, values = matrix(name, n, k)
    x = normal(t, k)
    residual = normal(t, n // 2 if gated else n, seed=1) if added else None
    expected = x @ values.T
    if gated:
        gate, up = np.split(expected, 2, axis=1)
        expected = gate / (1 + np.exp(-gate)) * up
    given = None if residual is None else on_cpu(residual)
    out = product(on_cpu(x), planes, FORMATS[name], given, gated).numpy()
    expected = expected if residual is None else expected + residual
    np.testing.assert_allclose(out, expected, rtol=1e-5, atol=2e-5)


def test_which_devices_run_c() -> None:
    assert runs_c("CPU")
    assert not runs_c("PYTHON")
    assert not runs_c(("CPU", "CPU:1"))


@pytest.mark.parametrize("t", [1, 2, 3, 8, 16, 33])
@pytest.mark.parametrize("name", FORMATS)
def test_products(name: str, t: int) -> None:
    """70 rows leave parts of every group of rows, also when two threads share them."""
    check_product(name, t, 70, 768, gated=t % 2 == 0, added=t > 2)


@pytest.mark.parametrize(
    ("name", "t", "n", "k", "gated"),
    [
        ("F16", 1, 1, 1, False),
        ("F16", 2, 7, 77, False),
        ("F16", 5, 14, 545, True),
        ("F16", 9, 33, 31, False),
        ("F16", 150, 6, 1001, True),  # more vectors than one batch
        ("Q8_0", 7, 2, 32, True),
        ("Q8_0", 21, 5, 1056, False),  # the depth of a panel, and one block
        ("Q6_K", 1, 1030, 512, False),  # rows for more than one thread
        ("Q4_K", 13, 1030, 256, True),
    ],
)
def test_odd_shapes(name: str, t: int, n: int, k: int, gated: bool) -> None:
    check_product(name, t, n, k, gated=gated, added=False)


def test_gates_far_from_zero() -> None:
    planes = [on_cpu(np.array([[1], [1]], np.float16))]
    x = np.array([[-1e4], [-100], [-20], [0], [20], [1e4]], np.float32)
    with np.errstate(over="ignore"):
        expected = x / (1 + np.exp(-x.astype(np.float64))) * x
    out = product(on_cpu(x), planes, FORMATS["F16"], gated=True).numpy()
    np.testing.assert_allclose(out, expected, rtol=1e-5, atol=1e-6)


def test_a_captured_product_takes_new_vectors() -> None:
    planes, values = matrix("Q8_0", 64, 64)

    def step(x: Tensor) -> Tensor:
        x = product(x, planes, FORMATS["Q8_0"], x)
        return product(x, planes, FORMATS["Q8_0"]).realize()

    twice = TinyJit(step)
    for seed in range(4):
        x = normal(3, 64, seed=seed)
        expected = (x @ values.T + x) @ values.T
        np.testing.assert_allclose(twice(on_cpu(x)).numpy(), expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(("n", "k"), [(1, 1), (1, 768), (3, 77), (700, 768)])
def test_norm(n: int, k: int) -> None:
    x, weight = normal(n, k), normal(k, seed=1)
    expected = x / np.sqrt((x.astype(np.float64) ** 2).mean(-1, keepdims=True) + 1e-5) * weight
    out = norm(on_cpu(x), on_cpu(weight), 1e-5).numpy()
    np.testing.assert_allclose(out, expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("d", [16, 64, 80])
@pytest.mark.parametrize("together", [True, False])
def test_attention(d: int, together: bool) -> None:
    """Queries of one sequence, or of one each, over pages that lie apart."""
    n, heads, kv_heads, held = 5, 6, 2, 4
    positions = np.array([20, 21, 22, 23, 24] if together else [0, 15, 16, 40, 63])
    pages = 1 + np.random.default_rng(2).permutation(held if together else n * held)
    pages = pages.reshape(1 if together else n, held).astype(np.int32)
    cache = normal(2, kv_heads, (n * held + 1) * PAGE, d).astype(np.float16)
    q = 3 * normal(n, heads, d, seed=1)
    rows = np.stack([np.zeros(n), positions, np.zeros(n)], axis=1).astype(np.int32)
    expected = np.empty((n, heads, d))
    for row, position in enumerate(positions):
        own = pages[0 if together else row]
        slots = (own[:, None] * PAGE + np.arange(PAGE)).reshape(-1)[: position + 1]
        for head in range(heads):
            keys, values = cache[:, head // (heads // kv_heads), slots].astype(np.float64)
            weights = np.exp(keys @ q[row, head] - (keys @ q[row, head]).max())
            expected[row, head] = weights @ values / weights.sum()
    out = attend(on_cpu(q), on_cpu(cache), on_cpu(rows), on_cpu(pages), PAGE).numpy()
    np.testing.assert_allclose(out, expected.reshape(n, -1), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("pairs", [True, False])
@pytest.mark.parametrize("normed", [True, False])
def test_enter(pairs: bool, normed: bool) -> None:
    n, heads, kv_heads, d, slots, positions = 3, 4, 2, 32, 48, 20
    x = normal(n, heads + 2 * kv_heads, d)
    angles = np.random.default_rng(1).uniform(-3, 3, (positions, d // 2))
    table = np.stack([np.cos(angles), np.sin(angles)]).astype(np.float32)
    rows = np.array([[0, 7, 40], [0, 19, 3], [0, 0, 16]], np.int32)
    norms = [normal(d, seed=seed) for seed in (2, 3)] if normed else []
    turned = x[:, : heads + kv_heads].astype(np.float64)
    if normed:
        turned /= np.sqrt((turned**2).mean(-1, keepdims=True) + 1e-6)
        turned[:, :heads] *= norms[0]
        turned[:, heads:] *= norms[1]
    cosine, sine = table[:, rows[:, 1], None]
    half = slice(0, None, 2) if pairs else slice(0, d // 2)
    other = slice(1, None, 2) if pairs else slice(d // 2, None)
    a, b = turned[..., half].copy(), turned[..., other].copy()
    turned[..., half], turned[..., other] = a * cosine - b * sine, b * cosine + a * sine
    cache = on_cpu(np.zeros((2, kv_heads, slots, d), np.float16))
    q = Tensor.empty(n, heads, d, dtype=dtypes.float32, device="CPU")
    inputs = cache, *map(on_cpu, (x.reshape(n, -1), table, rows, *norms))
    q, cache, *_ = q.custom_kernel(*inputs, fxn=partial(enter, pairs=pairs, eps=1e-6))
    np.testing.assert_allclose(q.numpy(), turned[:, :heads] / np.sqrt(d), rtol=1e-5, atol=1e-5)
    keys, values = cache.numpy()[:, :, rows[:, 2]].transpose(0, 2, 1, 3)
    np.testing.assert_allclose(keys, turned[:, heads:], rtol=1e-3, atol=1e-3)
    np.testing.assert_allclose(values, x[:, heads + kv_heads :], rtol=1e-3, atol=1e-3)
    assert np.count_nonzero(cache.numpy()) <= 2 * n * kv_heads * d


@pytest.mark.slow
@pytest.mark.skipif(platform.machine() != "x86_64", reason="other processors have one width")
@pytest.mark.parametrize("processor", ["haswell", "ivybridge"])
def test_narrower_vectors(processor: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-m", "not slow", __file__],
        env={**os.environ, "DEV": f"CPU::x86_64,{processor}"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout
