"""The operations in tinygrad as its users write them, left to its own optimizer.

Each function makes, of an operation and its inputs, the step that computes it.
"""

from collections.abc import Callable, Mapping
from typing import Any

from tinygrad import Tensor, dtypes
from tinygrad.llm.gguf import ggml_data_to_tensor
from tinygrad.llm.model import TransformerBlock, TransformerConfig, precompute_freqs_cis

from orin_bench.ops.block import Block
from orin_bench.ops.operation import Arrays, Operation
from orin_bench.ops.operations import EPS, Attention, Matvec
from orin_bench.ops.rotation import Step
from orin_bench.ops.upload import Upload

Build = Callable[[Any, Arrays, Upload], Step]


def matmul(operation: Operation, inputs: Arrays, upload: Upload) -> Step:
    x, w = map(upload, inputs)
    if x.dtype == dtypes.int8:  # its products would overflow
        return lambda: x.cast(dtypes.int32) @ w.cast(dtypes.int32).T
    return lambda: x @ w.T


def conv2d(operation: Operation, inputs: Arrays, upload: Upload) -> Step:
    x, w = map(upload, inputs)
    padding = w.shape[2] // 2
    if x.dtype == dtypes.int8:
        return lambda: x.cast(dtypes.int32).conv2d(w.cast(dtypes.int32), padding=padding)
    return lambda: x.conv2d(w, padding=padding)


def attention(operation: Attention, inputs: Arrays, upload: Upload) -> Step:
    q, k, v = (upload(part).unsqueeze(0) for part in inputs)
    causal = operation.queries > 1  # tinygrad's mask is for as many queries as keys
    return lambda: q.scaled_dot_product_attention(k, v, is_causal=causal, enable_gqa=True)


def rms_norm(operation: Operation, inputs: Arrays, upload: Upload) -> Step:
    """As tinygrad.nn.RMSNorm."""
    x, weight = map(upload, inputs)

    def step() -> Tensor:
        wide = x.float()
        scale = (wide.square().mean(-1, keepdim=True) + EPS).rsqrt()
        return (wide * scale).cast(x.dtype) * weight

    return step


def rope(operation: Operation, inputs: Arrays, upload: Upload) -> Step:
    x, cosine, sine = map(upload, inputs)

    def step() -> Tensor:
        a, b = x.chunk(2, dim=-1)
        return Tensor.cat(a * cosine - b * sine, b * cosine + a * sine, dim=-1)

    return step


def swiglu(operation: Operation, inputs: Arrays, upload: Upload) -> Step:
    gate, up = map(upload, inputs)
    return lambda: gate.silu() * up


def matvec(operation: Matvec, inputs: Arrays, upload: Upload) -> Step:
    """As tinygrad.llm: weights are unpacked within the product."""
    raw, x = map(upload, inputs)
    n, k = operation.n, operation.k

    def step() -> Tensor:
        w = ggml_data_to_tensor(raw.flatten(), n * k, operation.kind).reshape(n, k)
        return x @ w.T

    return step


def embedding(operation: Operation, inputs: Arrays, upload: Upload) -> Step:
    table, tokens = map(upload, inputs)
    return lambda: table[tokens]


def block(operation: Block, inputs: Arrays, upload: Upload) -> Step:
    """tinygrad.llm's own, whose activations and cache are float32."""
    s, context = operation.shape, operation.context
    config = TransformerConfig(
        num_blocks=1,
        dim=s.dim,
        hidden_dim=s.hidden_dim,
        n_heads=s.heads,
        n_kv_heads=s.kv_heads,
        norm_eps=s.norm_eps,
        vocab_size=s.vocab,
        head_dim=s.head_dim,
        rope_theta=s.rope_theta,
        rope_dim=s.head_dim,
        v_head_dim=s.head_dim,
        max_context=context,
        qk_norm=s.head_dim if s.architecture == "qwen3" else 0,
    )
    layer = TransformerBlock(config)
    for name, weight in zip(operation.names, inputs[3:], strict=True):
        getattr(layer, name).weight = upload(weight)
    h, keys, values = (Tensor(part, device=upload.device) for part in inputs[:3])
    past = Tensor.stack(keys, values).unsqueeze(1)
    layer.cache_kv = past.pad((None,) * 3 + ((0, operation.queries), None)).contiguous().realize()
    layer.freqs_cis = precompute_freqs_cis(s.head_dim, context, s.rope_theta, upload.device)
    h, start = h.unsqueeze(0).realize(), context - operation.queries
    return lambda: layer(h, start)


BUILDERS: Mapping[str, Build] = {
    "matmul": matmul,
    "conv2d": conv2d,
    "attention": attention,
    "rms_norm": rms_norm,
    "rope": rope,
    "swiglu": swiglu,
    "matvec": matvec,
    "embedding": embedding,
    "block": block,
}
