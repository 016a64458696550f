"""Attention of one token over chunks of a cache, and RMSNorm, by the kernels for a GPU."""

import numpy as np
import pytest
from tinygrad import Tensor

from emulated_gpu import emulated_gpu
from orin_nn.attention import CHUNK, PAGE, Place, attend
from orin_nn.norm import Norm


@pytest.mark.parametrize(
    ("heads", "kv_heads", "head_dim", "positions", "chunks"),
    [
        (4, 2, 64, [70, 63, 0], 3),  # the third chunk is in the future
        (3, 1, 128, [127], 2),  # the last position of all
        (2, 2, 64, [0, 5], 1),  # a head for each, one chunk, itself alone
        (2, 1, 32, [60, 17], 1),  # heads that do not fill a group of threads
    ],
)
def test_one_token_of_each_sequence_sees_what_stands_before_it(
    heads: int,
    kv_heads: int,
    head_dim: int,
    positions: list[int],
    chunks: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    device = emulated_gpu(monkeypatch)
    rng = np.random.default_rng(0)
    count, size = len(positions), chunks * CHUNK // PAGE
    q = rng.standard_normal((count, heads, head_dim), np.float32) / np.float32(head_dim**0.5)
    pages = rng.permutation(count * size).reshape(count, size).astype(np.int32)
    shape = 2, kv_heads, pages.size * PAGE, head_dim
    cache = rng.standard_normal(shape).astype(np.float16)
    rows = np.array([[0, position, 0] for position in positions], np.int32)
    held_rows, held_pages = (Tensor(array, device=device).realize() for array in (rows, pages))
    unused = Tensor.empty(1, device=device)
    place = Place(held_rows, held_pages, unused, unused)
    out = attend(Tensor(q, device=device), Tensor(cache, device=device).realize(), place).numpy()

    held = cache.astype(float).repeat(heads // kv_heads, 1).reshape(2, heads, -1, PAGE, head_dim)
    for index, position in enumerate(positions):
        seen = held[:, :, pages[index]].reshape(2, heads, -1, head_dim)[:, :, : position + 1]
        weights = np.exp(np.einsum("hd,hpd->hp", q[index], seen[0]))
        weights /= weights.sum(-1, keepdims=True)
        expected = np.einsum("hp,hpd->hd", weights, seen[1]).reshape(-1)
        tolerance = 1e-5 if head_dim % CHUNK == 0 else 2e-3
        np.testing.assert_allclose(out[index], expected, atol=tolerance)


@pytest.mark.parametrize("k", [96, 128, 384])
def test_norm_of_rows(k: int, monkeypatch: pytest.MonkeyPatch) -> None:
    device = emulated_gpu(monkeypatch)
    *x, weight = np.random.default_rng(0).standard_normal((4, k), np.float32)
    norm = Norm(Tensor(weight, device=device).realize(), 1e-5)
    expected = x / np.sqrt(np.square(x).mean(-1, keepdims=True) + 1e-5) * weight
    rows = norm(Tensor(np.stack(x), device=device).realize()).numpy()
    np.testing.assert_allclose(rows, expected, rtol=1e-5, atol=1e-6)
