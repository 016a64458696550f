"""The operations in PyTorch, to stand beside tinygrad's; see `orin_bench.torch_worker`."""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from orin_bench.ops.block import Block
from orin_bench.ops.operation import Arrays, Operation, draw, stored, unique
from orin_bench.ops.operations import EPS, Attention, rotary_angles
from orin_bench.torch_worker import TorchStep, eager_and_graph
from orin_core.cli import UserError

Step = Callable[[], Any]  # returns a torch.Tensor
Copy = Callable[[NDArray[Any]], Any]  # to the GPU, in the case's type


def matmul(operation: Operation, inputs: Arrays, copy: Copy) -> Step:
    import torch

    x, w = map(copy, inputs)
    if x.dtype == torch.int8:
        return lambda: torch._int_mm(x, w.t())
    return lambda: torch.matmul(x, w.t())


def conv2d(operation: Operation, inputs: Arrays, copy: Copy) -> Step:
    import torch

    x, w = (copy(part).contiguous(memory_format=torch.channels_last) for part in inputs)
    return lambda: torch.nn.functional.conv2d(x, w, padding=w.shape[2] // 2)


def attention(operation: Attention, inputs: Arrays, copy: Copy) -> Step:
    import torch

    q, k, v = (copy(part).unsqueeze(0) for part in inputs)
    attend = torch.nn.functional.scaled_dot_product_attention
    causal = operation.queries > 1
    return lambda: attend(q, k, v, is_causal=causal, enable_gqa=True)


def rms_norm(operation: Operation, inputs: Arrays, copy: Copy) -> Step:
    import torch

    x, weight = map(copy, inputs)
    return lambda: torch.nn.functional.rms_norm(x, weight.shape, weight, EPS)


def rope(operation: Operation, inputs: Arrays, copy: Copy) -> Step:
    x, cosine, sine = map(copy, inputs)
    return lambda: _rotate(x, cosine, sine)


def swiglu(operation: Operation, inputs: Arrays, copy: Copy) -> Step:
    import torch

    gate, up = map(copy, inputs)
    return lambda: torch.nn.functional.silu(gate) * up


def embedding(operation: Operation, inputs: Arrays, copy: Copy) -> Step:
    import torch

    table, tokens = map(copy, inputs)
    return lambda: torch.nn.functional.embedding(tokens, table)


def block(operation: Block, inputs: Arrays, copy: Copy) -> Step:
    """Weights, activations and cache all in the case's type."""
    import torch
    from torch.nn import functional

    s, tokens = operation.shape, operation.queries
    start = operation.context - tokens
    h, *past = map(copy, inputs[:3])
    w = dict(zip(operation.names, map(copy, inputs[3:]), strict=True))
    shape = s.kv_heads, operation.context, s.head_dim
    keys, values = (torch.empty(shape, dtype=h.dtype, device=h.device) for _ in past)
    for cache, part in zip((keys, values), past, strict=True):
        cache[:, :start] = part
    angles = rotary_angles(np.arange(start, operation.context), s.head_dim, s.rope_theta)
    cosine, sine = copy(np.cos(angles)), copy(np.sin(angles))

    def norm(x: Any, name: str) -> Any:
        return functional.rms_norm(x, w[name].shape, w[name], s.norm_eps)

    def heads(x: Any, name: str) -> Any:
        return functional.linear(x, w[name]).view(tokens, -1, s.head_dim).transpose(0, 1)

    def step() -> Any:
        x = norm(h, "attn_norm")
        q, k, v = (heads(x, f"attn_{name}") for name in "qkv")
        if "attn_q_norm" in w:
            q, k = norm(q, "attn_q_norm"), norm(k, "attn_k_norm")
        keys[:, start:], values[:, start:] = _rotate(k, cosine, sine), v
        q = _rotate(q, cosine, sine).unsqueeze(0)
        attended = functional.scaled_dot_product_attention(
            q, keys.unsqueeze(0), values.unsqueeze(0), is_causal=tokens > 1, enable_gqa=True
        )
        attended = attended[0].transpose(0, 1).reshape(tokens, -1)
        state = h + functional.linear(attended, w["attn_output"])
        x = norm(state, "ffn_norm")
        gate = functional.silu(functional.linear(x, w["ffn_gate"]))
        x = gate * functional.linear(x, w["ffn_up"])
        return state + functional.linear(x, w["ffn_down"])

    return step


def _rotate(x: Any, cosine: Any, sine: Any) -> Any:
    import torch

    a, b = x.chunk(2, dim=-1)
    return torch.cat([a * cosine - b * sine, b * cosine + a * sine], dim=-1)


BUILDERS: Mapping[str, Callable[[Any, Arrays, Copy], Step]] = {
    "matmul": matmul,
    "conv2d": conv2d,
    "attention": attention,
    "rms_norm": rms_norm,
    "rope": rope,
    "swiglu": swiglu,
    "embedding": embedding,
    "block": block,
}
# Of the engines made last, in their order: what each computed where it is compared.
_samples: list[NDArray[np.float32]] = []


def has(operation: Operation, dtype: str) -> bool:
    """Whether PyTorch has `operation` in `dtype` on a GPU: no quantized matvec, no int8 conv2d."""
    return operation.name in BUILDERS and (operation.name, dtype) != ("conv2d", "int8")


def engines(operation: Operation, dtype: str, count: int) -> list[TorchStep]:
    """`operation` on `count` sets of inputs a step, eager and as a CUDA graph.

    Raises UserError without a GPU that PyTorch can use.
    """
    import torch

    if not torch.cuda.is_available():
        raise UserError("--versus torch: this PyTorch finds no CUDA device")
    torch.backends.cudnn.benchmark = True
    sets, at = draw(operation)
    kept: dict[int, Any] = {}  # on the GPU, what all sets share

    def copy(array: NDArray[Any]) -> Any:
        if id(array) in kept:
            return kept[id(array)]
        tensor = torch.from_numpy(array).cuda()
        if tensor.is_floating_point():
            return tensor.to(torch.float32 if dtype == "tf32" else getattr(torch, dtype))
        return tensor

    for array in sets[0][: operation.shared]:
        kept[id(array)] = copy(array)
    prepared = {id(each): stored(each, dtype)[0] for each in unique(sets[:count])}
    build = BUILDERS[operation.name]
    steps = [build(operation, prepared[id(each)], copy) for each in sets[:count]]
    results: list[Any] = []  # of one step, each with memory of its own

    def step() -> None:
        torch.backends.cuda.matmul.allow_tf32 = dtype == "tf32"
        torch.backends.cudnn.allow_tf32 = dtype == "tf32"
        results[:] = [each() for each in steps]

    eager, graph = eager_and_graph(step)
    captured = list(results)
    graph.step()
    eager.step()
    places = torch.from_numpy(at).cuda()
    _samples[:] = [
        torch.stack([x.flatten()[places].float() for x in each]).cpu().numpy()
        for each in (results, captured)
    ]
    return [eager, graph]


def samples() -> list[NDArray[np.float32]]:
    """What the engines made last computed, (count, sampled results) each."""
    return _samples
