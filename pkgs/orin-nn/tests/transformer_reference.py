"""What a transformer should answer, in float64 and without a cache: for the tests."""

import numpy as np
from gguf.quants import dequantize
from numpy.typing import NDArray

from orin_nn.gguf.model import Model
from orin_nn.gguf.random_model import random_tensors

Numbers = NDArray[np.float64]


def reference(model: Model, tokens: list[int]) -> Numbers:
    """Logits (T, vocab) after each of `tokens`, of the random weights of `model`."""
    shape = model.shape
    weights = {
        tensor.name.removesuffix(".weight"): dequantize(data, tensor.quantization)
        .astype(np.float64)
        .reshape(tensor.shape)
        for tensor, data in random_tensors(model)
    }
    positions = np.arange(len(tokens))
    factors = np.array(shape.rope_factors or 1.0)
    powers = np.arange(0, shape.head_dim, 2) / shape.head_dim
    angles = np.outer(positions, shape.rope_theta**-powers / factors)
    h = weights["token_embd"][tokens]
    for index in range(shape.blocks):
        prefix = f"blk.{index}."
        block = {
            name.removeprefix(prefix): weight
            for name, weight in weights.items()
            if name.startswith(prefix)
        }
        h = h + _attention(model, block, norm(h, block["attn_norm"], shape.norm_eps), angles)
        x = norm(h, block["ffn_norm"], shape.norm_eps)
        gate, up = x @ block["ffn_gate"].T, x @ block["ffn_up"].T
        h = h + gate / (1 + np.exp(-gate)) * up @ block["ffn_down"].T
    head = weights["token_embd" if shape.tied else "output"]
    return norm(h, weights["output_norm"], shape.norm_eps) @ head.T


def norm(x: Numbers, weight: Numbers, eps: float) -> Numbers:
    """RMSNorm over the last axis."""
    scaled: Numbers = x / np.sqrt((x**2).mean(-1, keepdims=True) + eps) * weight
    return scaled


def rotate(x: Numbers, angles: Numbers, pairs: bool) -> Numbers:
    """Rotary positions of (T, heads, d): of neighbours, or of the halves of a head."""
    cosine, sine = np.cos(angles)[:, np.newaxis], np.sin(angles)[:, np.newaxis]
    a, b = (x[..., ::2], x[..., 1::2]) if pairs else np.split(x, 2, -1)
    turned = a * cosine - b * sine, b * cosine + a * sine
    return np.stack(turned, -1).reshape(x.shape) if pairs else np.concatenate(turned, -1)


def attention(q: Numbers, k: Numbers, v: Numbers) -> Numbers:
    """(T, heads, d) of as many queries, and keys and values (n, kv_heads, d): the queries are the
    last T of n positions."""
    k, v = (np.repeat(x, q.shape[1] // x.shape[1], 1) for x in (k, v))
    scores = np.einsum("thd,shd->hts", q, k) / np.sqrt(q.shape[-1])
    seen = np.tri(len(q), len(k), len(k) - len(q), dtype=bool)
    scores = np.where(seen, scores, -np.inf)
    weights = np.exp(scores - scores.max(-1, keepdims=True))
    values: Numbers = np.einsum("hts,shd->thd", weights / weights.sum(-1, keepdims=True), v)
    return values


def _attention(model: Model, block: dict[str, Numbers], x: Numbers, angles: Numbers) -> Numbers:
    shape = model.shape
    q, k, v = ((x @ block[f"attn_{name}"].T).reshape(len(x), -1, shape.head_dim) for name in "qkv")
    if shape.architecture == "qwen3":
        q = norm(q, block["attn_q_norm"], shape.norm_eps)
        k = norm(k, block["attn_k_norm"], shape.norm_eps)
    pairs = shape.architecture == "llama"
    out = attention(rotate(q, angles, pairs), rotate(k, angles, pairs), v)
    return out.reshape(len(x), -1) @ block["attn_output"].T
