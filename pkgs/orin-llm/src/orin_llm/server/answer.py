"""The text of one answer, and which of its tokens it shows."""

from collections.abc import Sequence
from dataclasses import dataclass

from orin_llm.engine.request import Token
from orin_llm.server.stop import StopStrings
from orin_llm.text.tokenizer import Decoder, Tokenizer


@dataclass(frozen=True)
class ShownToken:
    token: Token
    start: int  # where its text begins in the answer's, in characters


class AnswerText:
    """Tokens in, text out, up to the first of `stops`.

    With `keep_tokens`, `take_tokens` gives the tokens behind the text that came out, without those
    that lie behind a stop string.
    """

    def __init__(self, tokenizer: Tokenizer, stops: Sequence[str], keep_tokens: bool) -> None:
        self._decoder = Decoder(tokenizer)
        self._stops = StopStrings(stops) if stops else None
        self._keep = keep_tokens
        self._tokens: list[ShownToken] = []
        self._decoded = 0  # characters
        self._shown = 0

    @property
    def stopped(self) -> bool:
        return self._stops is not None and self._stops.hit

    def add(self, token: Token) -> str:
        text = self._decoder.add(token.id)
        if self._keep:
            self._tokens.append(ShownToken(token, self._decoded))
            self._decoded += len(text)
        return self._show(self._stops.add(text) if self._stops else text)

    def flush(self) -> str:
        """The rest, when nothing follows."""
        text = self._decoder.flush()
        if self._stops:
            text = self._stops.add(text) + ("" if self._stops.hit else self._stops.flush())
        return self._show(text)

    def take_tokens(self, last: bool = False) -> list[ShownToken]:
        """The tokens of the text since the last call; with `last` also those without text."""
        if last and not self.stopped:
            taken, self._tokens = self._tokens, []
            return taken
        taken = [shown for shown in self._tokens if shown.start < self._shown]
        self._tokens = self._tokens[len(taken) :]
        return taken

    def _show(self, text: str) -> str:
        self._shown += len(text)
        return text
