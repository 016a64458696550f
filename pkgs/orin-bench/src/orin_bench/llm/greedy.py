"""`orin_nn.transformer`, which this benchmark is of, as a Generator."""

import gc
from collections.abc import Sequence

from tinygrad import Device

from orin_nn.attention import PAGE
from orin_nn.gguf.model import Model
from orin_nn.transformer import Graph, Read, Transformer

# Tokens of a prompt that are read in one step, as in llama.cpp (its --ubatch-size).
STEP = 512


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
        self._model = Transformer(model, read, device, context)
        self._prompt, self._end = list(prompt), len(prompt) + generated
        self._pages = [list(range(1, 1 + self._model.context // PAGE))]
        self._device, self._first = device, 0
        self._known: set[Graph] = set()
        self.restart()

    def restart(self) -> None:
        self._position, self._last = 0, 0

    def read(self) -> int:
        for start in range(0, len(self._prompt), STEP):
            part = self._prompt[start : start + STEP]
            self._first = self._step(part, start, start + len(part))
        return self._first

    def rewind(self) -> None:
        self._position, self._last = len(self._prompt), self._first

    def generate(self) -> int:
        self._last = self._step([self._last], self._position, self._end)
        self._position += 1
        return self._last

    def _step(self, tokens: Sequence[int], start: int, end: int) -> int:
        """The token after `tokens`, which stand from `start` on, in the graph of position `end`."""
        graph = self._model.graph(len(tokens), 1, end)
        graph.fill(tokens, range(start, start + len(tokens)), self._pages)
        if graph in self._known:
            return graph.run().tokens()[0]
        # The first time kernel by kernel, so that they are counted.
        self._known.add(graph)
        return self._model.forward(*graph.inputs).tokens()[0]

    def close(self) -> None:
        del self._model, self._known
        gc.collect()  # graphs and model know each other
        Device[self._device].allocator.free_cache()
