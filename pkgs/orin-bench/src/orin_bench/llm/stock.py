"""tinygrad's own language models, tinygrad.llm, as a Generator: for comparison with ours."""

from collections.abc import Sequence
from pathlib import Path

from tinygrad.llm.model import Transformer

from orin_core.cli import UserError


class StockGenerator:
    """The model in the GGUF file `path`, on tinygrad's default device, as `python -m tinygrad.llm`
    runs it: prompts go in parts of 32 tokens."""

    def __init__(self, path: Path, prompt: Sequence[int], generated: int, context: int) -> None:
        # It wants room for the last token too, which nothing looks at any more.
        self._model, _ = Transformer.from_gguf(path, max_context=context + 1)
        needed = len(prompt) + 1 + generated
        if self._model.max_context < needed:
            raise UserError(
                f"tinygrad.llm needs a context of {needed}, and the model was made for "
                f"{self._model.max_context}: choose a smaller --prompt or --generate"
            )
        self._prompt = list(prompt)

    def restart(self) -> None:
        # It would not read again what it has read before.
        self._model._cached_tokens = []
        self._tokens = self._model.generate(list(self._prompt))

    def read(self) -> int:
        return int(next(self._tokens))

    def rewind(self) -> None:
        self._tokens = self._model.generate(list(self._prompt))
        next(self._tokens)

    def generate(self) -> int:
        return int(next(self._tokens))
