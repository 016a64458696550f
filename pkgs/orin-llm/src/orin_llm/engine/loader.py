"""From a GGUF file to an engine that answers."""

from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from orin_core.cli import UserError
from orin_core.memory import check_fits, fitting
from orin_llm.engine.engine import LiveEngine
from orin_llm.engine.scheduler import PIECES
from orin_nn.attention import PAGE
from orin_nn.gguf.header import read_header
from orin_nn.gguf.model import TensorInfo
from orin_nn.gguf.size import cache_bytes, memory_needed
from orin_nn.gguf.tensors import read_tensor
from orin_nn.transformer import SHORTEST, Transformer

Warm = Callable[[], None]

# Steps of longer contexts are compiled when they first come.
LONGEST = 8192
# By default the cache holds so many of the longest sequences: more than one can run, and what they
# have in common stays.
SEQUENCES = 4


def load(
    path: Path,
    device: str,
    *,
    context: int,
    max_running: int,
    cache_tokens: int | None = None,
    max_waiting: int,
    tick: Callable[[str], None] = lambda what: None,
) -> LiveEngine:
    """An engine for the model in a GGUF file, ready to answer. The steps of longer contexts are
    compiled when nothing is asked for, or when they are needed.

    `context` is cut to what the model was trained with. `cache_tokens` are the positions of keys
    and values that all sequences and the prefix cache share. `tick` hears what is being done.
    Raises UserError for a file that cannot be run, and for too little memory.
    """
    header = read_header(path)
    context = min(context, header.shape.context)
    positions = context * SEQUENCES if cache_tokens is None else cache_tokens
    if positions < context:
        raise UserError(
            f"--cache-tokens {positions}: less than the context of {context}: give more, or less of"
            " --context"
        )
    needed = memory_needed(header, context, PIECES[-1]) + cache_bytes(header, positions - context)
    remedy = "give less of --context and --cache-tokens, or another quantization"
    check_fits(f"{path} with a cache of {positions} tokens", needed, device, remedy)

    def read(tensor: TensorInfo) -> NDArray[np.uint8]:
        return read_tensor(header, tensor.name)

    def make() -> tuple[Transformer, list[Warm]]:
        tick("reading weights")
        with fitting(str(path), remedy):
            model = Transformer(header, read, device, context, 1 + -(-positions // PAGE))
            first, later = steps(model, max_running)
            for index, warm in enumerate(first):
                tick(f"compiling {index + 1} of {len(first)}")
                warm()
        return model, later

    return LiveEngine(make, max_running=max_running, max_waiting=max_waiting)


def steps(model: Transformer, max_running: int) -> tuple[list[Warm], list[Warm]]:
    """What compiles and captures the steps that there can be: of the shortest context, and of those
    up to LONGEST, which can wait until there is time."""
    decoding = [(size, size) for size in _powers(1, 2 * max_running)]
    reading = [(size, 1) for size in PIECES]
    contexts = _powers(SHORTEST, 2 * min(model.context, LONGEST))
    warms: list[list[Warm]] = [
        [
            partial(_fill, model, tokens, sequences, min(context, model.context))
            for tokens, sequences in decoding + reading
            if tokens == sequences or tokens <= context
        ]
        for context in contexts
    ]
    return warms[0], [warm for later in warms[1:] for warm in later]


def _powers(first: int, end: int) -> list[int]:
    powers = [first]
    while 2 * powers[-1] < end:
        powers.append(2 * powers[-1])
    return powers


def _fill(model: Transformer, tokens: int, sequences: int, context: int) -> None:
    """A step of nothing but what fills up."""
    model.step([0] * tokens, [-1] * tokens, [[]] * sequences, context).tokens()
