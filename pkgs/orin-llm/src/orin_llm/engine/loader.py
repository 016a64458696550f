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
from orin_nn.transformer import Transformer

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
    """An engine for the model in a GGUF file, ready to answer at once.

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

    def make() -> Transformer:
        tick("reading weights")
        with fitting(str(path), remedy):
            model = Transformer(header, read, device, context, 1 + -(-positions // PAGE))
            warm_up(model, max_running, tick)
        return model

    return LiveEngine(make, max_running=max_running, max_waiting=max_waiting)


def warm_up(model: Transformer, max_running: int, tick: Callable[[str], None]) -> None:
    """Compile and capture the steps of short contexts; longer ones are when they first come.

    The second run of a graph is captured, the third replays it.
    """
    steps = [partial(_fill, model, size, 1) for size in PIECES if size <= model.context]
    size = 1
    while size < 2 * max_running:
        steps.append(partial(_fill, model, size, size))
        size *= 2
    for index, step in enumerate(steps):
        tick(f"compiling {index + 1} of {len(steps)}")
        step()
        step()


def _fill(model: Transformer, tokens: int, sequences: int) -> None:
    """A step of nothing but what fills up."""
    answer = model.step([0] * tokens, [-1] * tokens, [[]] * sequences, min(tokens, model.context))
    answer.tokens()
