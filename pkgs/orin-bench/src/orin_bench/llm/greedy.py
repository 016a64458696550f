"""`orin_nn.transformer`, which this benchmark is of, as a Generator."""

import gc
import math
from array import array
from collections.abc import Sequence

from tinygrad import Device, Tensor, dtypes

from orin_nn.gguf.model import Model
from orin_nn.transformer import Read, Transformer

# Tokens of a prompt that are read in one step, as in llama.cpp (its --ubatch-size).
STEP = 512
# The likeliest token is looked for in rows of about so many, which the chip searches at once.
ROW = 256


class Greedy(Transformer):
    """A Transformer that gives the likeliest token (1) int32 instead of all logits."""

    def forward(self, tokens: Tensor, context: int) -> Tensor:
        return argmax(super().forward(tokens, context)).realize()


class OrinGenerator:
    """Our transformer on `device`, with a cache of `context` positions.

    All tokens, of which there are `generated`, are computed in the graph of the last one.
    """

    def __init__(
        self,
        model: Model,
        read: Read,
        device: str,
        prompt: Sequence[int],
        generated: int,
        context: int,
    ) -> None:
        self._model = Greedy(model, read, device, context)
        self._prompt = [
            _tokens(prompt[start : start + STEP], device) for start in range(0, len(prompt), STEP)
        ]
        self._length, self._end = len(prompt), len(prompt) + generated
        self._device, self._first, self._last = device, 0, _tokens([0], device)

    def restart(self) -> None:
        self._model.seek(0)

    def read(self) -> int:
        end = 0
        for part in self._prompt:
            end += part.shape[0]
            token = self._model(part, end)
        self._first = int(token.item())
        return self._first

    def rewind(self) -> None:
        self._model.seek(self._length)
        self._feed(self._first)

    def generate(self) -> int:
        token = int(self._model(self._last, self._end).item())
        self._feed(token)
        return token

    def close(self) -> None:
        del self._model, self._prompt, self._last
        gc.collect()  # graphs and model know each other
        Device[self._device].allocator.free_cache()

    def _feed(self, token: int) -> None:
        """Put the last token where the graph takes it from: its own result it would copy first."""
        self._last.uop.buffer.copyin(memoryview(array("i", [token])).cast("B"))


def argmax(logits: Tensor) -> Tensor:
    """The place of the largest of `logits` (N), (1) int32, the first of equal ones.

    tinygrad's own has one group of threads look at all of them.
    """
    rows = logits.reshape(-1, math.gcd(ROW, logits.shape[0]))
    row = rows.max(1).contiguous().argmax().contiguous()
    return (row * rows.shape[1] + rows[row].argmax()).cast(dtypes.int32).reshape(1).contiguous()


def _tokens(ids: Sequence[int], device: str) -> Tensor:
    return Tensor(list(ids), dtype=dtypes.int32, device=device).realize()
