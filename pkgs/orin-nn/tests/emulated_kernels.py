"""The kernels written for NVIDIA GPUs, run by tinygrad's emulator and compared with numpy.

Run as `DEV=PYTHON::sm_89 python emulated_kernels.py CHECK`, a function here and its arguments. The
emulator computes each thread in Python: the sizes are the smallest at which every index matters.
"""

import sys
from dataclasses import replace
from functools import partial

import numpy as np
from gguf import GGMLQuantizationType
from gguf.quants import dequantize
from numpy.typing import NDArray
from tinygrad import Device, Tensor, dtypes

from orin_nn import attention, gemm, gpu, norm
from orin_nn.formats import FORMATS
from orin_nn.gguf.random_model import random_model, random_tensor
from orin_nn.gguf.shapes import TINY_LLAMA, TINY_QWEN3
from orin_nn.matvec import fits, matvec
from orin_nn.transformer import Transformer
from transformer_reference import Numbers, reference, rotate
from transformer_reference import attention as attend
from transformer_reference import norm as rms_norm

# The first bytes of the words that are held as float32, where a row's first block begins there.
WORDS = {"Q8_0": (2, 34), "Q6_K": (0, 208), "Q4_K": (16, 144)}


def real(*shape: int, seed: int = 0) -> NDArray[np.float32]:
    return np.random.default_rng(seed).standard_normal(shape, np.float32)


def products() -> None:
    """Tiles of several blocks, fragments, loads in flight, and warps."""
    for tile, dtype, blocks in (
        (gemm.Tile(1, 1, 1, 1, 1), dtypes.bfloat16, 2),
        (gemm.Tile(2, 2, 1, 1, 2), dtypes.float16, 1),
        (gemm.Tile(1, 1, 2, 2, 1), dtypes.float16, 1),
    ):
        (m, n), k = tile.block, gemm.STEP * tile.unroll * 2
        # Whole numbers that both types hold.
        rng = np.random.default_rng(0)
        a, b = (rng.integers(-9, 9, (blocks * size, k)) for size in (m, n))
        left, right = (Tensor(x.astype(np.float32)).cast(dtype) for x in (a, b))
        out = Tensor.empty(blocks * m, blocks * n, dtype=dtypes.float32)
        out = out.custom_kernel(left, right, fxn=partial(gemm.kernel, tile=tile))[0]
        np.testing.assert_array_equal(out.numpy(), a @ b.T)


def weights(name: str, n: int, k: int) -> tuple[list[Tensor], Numbers]:
    """A matrix (n, k) as its planes, and as numbers.

    The emulator makes every NaN among float32 a quiet one, and float16 below 6e-5 zero, where a GPU
    keeps the bits. None of the words that are held as float32 is a NaN here, no scale that small.
    """
    form, rng = FORMATS[name], np.random.default_rng(1)
    blocks = rng.integers(0, 256, (n, k // form.block, form.bytes), np.uint8)
    halves = rng.uniform(0.01, 0.02, (n, k // form.block, 2)) * rng.choice([-1, 1])
    scales = halves.astype(np.float16).view(np.uint8)
    if name == "F16":
        blocks = scales[:, :, :2]
    else:
        start, end = WORDS[name]
        at = range(min(start, 4)) if start else range(end, form.bytes)
        blocks[:, :, at] = scales[:, :, : len(at)]
        highest = blocks[:, :, start + 3 : end : 4]
        highest[highest & 0x7F == 0x7F] &= 0xBF
    raw = np.ascontiguousarray(blocks.reshape(n, -1))
    numbers = dequantize(raw, GGMLQuantizationType[name]).astype(np.float64)
    planes = [plane.contiguous().realize() for plane in form.planes(Tensor(raw).realize())]
    return planes, numbers


def vectors(name: str) -> None:
    """A matrix times vectors: rows that share a warp, and rows of several steps."""
    form = FORMATS[name]
    for k, gated, count in ((256, True, 1), (2048, False, 2), (256, False, 16)):
        if count == 16 and name == "F16":  # goes through tensor cores
            continue
        n = (1 + gated) * next(rows for rows in (4, 8, 16, 32, 64) if fits(rows, k, form, count))
        planes, numbers = weights(name, n, k)
        x, residual = real(count, k, seed=2), real(count, n, seed=3)
        expected = x @ numbers.T
        if gated:
            gate, up = np.split(expected, 2, axis=1)
            expected = gate / (1 + np.exp(-gate)) * up
            out = matvec(Tensor(x), planes, form, gated=True)
        else:
            expected = expected + residual
            out = matvec(Tensor(x), planes, form, Tensor(residual))
        error = np.abs(out.numpy() - expected).max()
        assert error < 1e-5 * np.abs(expected).max(), error


def norms() -> None:
    """Rows of four steps."""
    x, weight = real(3, 512), real(512, seed=1)
    out = norm.Norm(Tensor(weight), 1e-5)(Tensor(x)).numpy()
    expected = rms_norm(x.astype(np.float64), weight.astype(np.float64), 1e-5)
    assert np.abs(out - expected).max() < 1e-5


def tokens() -> None:
    """Tokens of two sequences enter the cache and attend to it: 70 positions of two chunks, and a
    third; and the first position of all."""
    heads, kv_heads, context, eps = 2, 1, 192, 1e-6
    counts, size = (70, 1), context // attention.PAGE
    pages = np.random.default_rng(3).permutation(2 * size).reshape(2, size).astype(np.int32)
    slots = (pages[:, :, np.newaxis] * attention.PAGE + np.arange(attention.PAGE)).reshape(2, -1)
    rows = np.array(
        [(0, count - 1, slots[index, count - 1]) for index, count in enumerate(counts)], np.int32
    )
    for d, pairs, normed in ((64, True, False), (128, False, True)):
        table = np.random.default_rng(0).uniform(0, 6, (context, d // 2))
        rope = Tensor(np.stack([np.cos(table), np.sin(table)]).astype(np.float32)).realize()
        cache = np.zeros((2, kv_heads, 2 * context, d), np.float16)
        for held, count in zip(slots, counts, strict=True):
            cache[:, :, held[: count - 1]] = real(2, kv_heads, count - 1, d)
        qkv = real(2, heads + 2 * kv_heads, d, seed=1)
        norms = [real(d, seed=seed) for seed in (2, 3)] if normed else []

        held = Tensor(cache).realize()
        place = attention.Place(Tensor(rows).realize(), Tensor(pages).realize(), rope, rope)
        inputs = held, Tensor(qkv.reshape(2, -1)), rope, place.rows, *map(Tensor, norms)
        build = partial(attention.enter, pairs=pairs, eps=eps)
        query, held, *_ = Tensor.empty(2, heads, d).custom_kernel(*inputs, fxn=build)
        out, stored = attention.attend(query, held, place).numpy(), held.numpy()
        for index, count in enumerate(counts):
            parts = np.split(qkv[index].astype(np.float64), [heads, heads + 1])
            q, k, v = (x[np.newaxis] for x in parts)
            if normed:
                q, k = (
                    rms_norm(x, w.astype(np.float64), eps)
                    for x, w in zip((q, k), norms, strict=True)
                )
            q, k = (rotate(x, table[count - 1 : count], pairs) for x in (q, k))
            past = cache[:, :, slots[index, : count - 1]].transpose(0, 2, 1, 3).astype(np.float64)
            seen = (np.concatenate(x) for x in zip(past, (k, v), strict=True))
            expected = attend(q, *seen).reshape(-1)
            np.testing.assert_allclose(out[index], expected, atol=2e-3)
            new = np.concatenate([k[0], v[0]])
            np.testing.assert_allclose(stored[:, 0, slots[index, count - 1]], new, atol=2e-3)


def whole(architecture: str) -> None:
    """A prompt, and a token of each of two sequences, through every kernel of a model."""
    Device["PYTHON"].allocator.free_cache = lambda: None  # which the emulator's does not have
    shape = {"llama": TINY_LLAMA, "qwen3": TINY_QWEN3}[architecture]
    model = random_model(
        replace(shape, blocks=1, hidden_dim=128, heads=2, kv_heads=1, vocab=32), "F16"
    )
    # As many as go through tensor cores, and one more.
    ids = np.random.default_rng(0).integers(0, 32, 33).tolist()
    expected = reference(model, ids)
    transformer = Transformer(model, partial(random_tensor, model), "PYTHON", 64, pages=8)

    def forward(tokens: list[int], positions: list[int], pages: list[list[int]]) -> Numbers:
        graph = transformer.graph(len(tokens), len(pages), 64)
        graph.fill(tokens, positions, pages)
        answer = transformer.forward(*graph.inputs)
        logits: Numbers = answer.logits.numpy()
        np.testing.assert_array_equal(answer.likeliest.numpy(), logits.argmax(1))
        return logits

    logits = forward(ids[:32], list(range(32)), [[5, 2]])
    np.testing.assert_allclose(logits[0], expected[31], atol=1e-2)
    logits = forward([ids[32], ids[0]], [32, 0], [[5, 2, 4], [3]])
    np.testing.assert_allclose(logits, expected[[32, 0]], atol=1e-2)


if __name__ == "__main__":
    vars(gpu)["GPUS"] = (*gpu.GPUS, "PYTHON")
    globals()[sys.argv[1]](*sys.argv[2:])
