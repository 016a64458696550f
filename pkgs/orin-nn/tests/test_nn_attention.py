"""Attention of one token over chunks of a cache, and RMSNorm, by the kernels for a GPU."""

import numpy as np
import pytest
from tinygrad import Tensor, dtypes

from emulated_gpu import emulated_gpu
from orin_nn.attention import CHUNK, Place, attend
from orin_nn.norm import Norm


@pytest.mark.parametrize(
    ("heads", "kv_heads", "head_dim", "position", "chunks"),
    [
        (4, 2, 64, 70, 3),  # the third chunk is in the future
        (3, 1, 128, 127, 2),  # the last position of all
        (2, 2, 64, 0, 1),  # a head for each, one chunk, itself alone
        (2, 1, 32, 60, 1),  # heads that do not fill a group of threads
    ],
)
def test_one_token_sees_what_stands_before_it(
    heads: int,
    kv_heads: int,
    head_dim: int,
    position: int,
    chunks: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    device = emulated_gpu(monkeypatch)
    rng = np.random.default_rng(0)
    q = rng.standard_normal((heads, 1, head_dim), np.float32) / np.float32(head_dim**0.5)
    cache = rng.standard_normal((2, kv_heads, chunks * CHUNK, head_dim)).astype(np.float16)
    unused = Tensor.empty(1, device=device)
    at = Tensor([position], dtype=dtypes.int32, device=device).realize()
    place = Place(at, chunks * CHUNK, unused, unused)
    out = attend(Tensor(q, device=device), Tensor(cache, device=device).realize(), place).numpy()

    seen = cache.astype(float).repeat(heads // kv_heads, 1)[:, :, : position + 1]
    weights = np.exp(np.einsum("hd,hpd->hp", q[:, 0], seen[0]))
    weights /= weights.sum(-1, keepdims=True)
    expected = np.einsum("hp,hpd->hd", weights, seen[1]).reshape(1, -1)
    np.testing.assert_allclose(out, expected, atol=1e-5 if head_dim % CHUNK == 0 else 2e-3)


@pytest.mark.parametrize("k", [96, 128, 384])
def test_norm_of_a_row(k: int, monkeypatch: pytest.MonkeyPatch) -> None:
    device = emulated_gpu(monkeypatch)
    x, weight = np.random.default_rng(0).standard_normal((2, k), np.float32)
    norm = Norm(Tensor(weight, device=device).realize(), 1e-5)
    expected = x / np.sqrt((x**2).mean() + 1e-5) * weight
    row = norm(Tensor(x[None], device=device).realize()).numpy()[0]
    np.testing.assert_allclose(row, expected, rtol=1e-5, atol=1e-6)
