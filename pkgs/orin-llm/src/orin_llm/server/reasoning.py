"""What a model thinks before it answers: <think>...</think> at the beginning."""

from orin_llm.server.stop import overlap

_OPEN, _CLOSE = "<think>", "</think>"


def begun_by(prompt: str) -> bool:
    """Whether a rendered prompt has opened the thoughts, so that the answer begins amid them."""
    return prompt.rstrip().endswith(_OPEN)


class ReasoningParser:
    """Parts an answer, piece by piece, into thoughts and text; the space around the tags is left
    out. Without an opening tag at the beginning all of it is text."""

    def __init__(self, begun: bool) -> None:
        self._add = self._thoughts if begun else self._beginning
        self._held = ""
        self._bare = True  # nothing but space so far, of what is under way

    def add(self, text: str) -> tuple[str, str]:
        """Thoughts and text that are certain by now."""
        return self._add(text)

    def flush(self) -> tuple[str, str]:
        """The rest, when nothing follows."""
        held, self._held = self._held, ""
        return (held.rstrip(), "") if self._add == self._thoughts else ("", held)

    def _beginning(self, text: str) -> tuple[str, str]:
        self._held += text
        begun = self._held.lstrip()
        if begun.startswith(_OPEN):
            rest, self._held = begun.removeprefix(_OPEN), ""
            self._add = self._thoughts
            return self._thoughts(rest)
        if _OPEN.startswith(begun):
            return "", ""
        held, self._held = self._held, ""
        self._bare = False  # an answer without thoughts keeps its space
        self._add = self._answer
        return "", held

    def _thoughts(self, text: str) -> tuple[str, str]:
        text = self._unspaced(self._held + text)
        thoughts, closed, rest = text.partition(_CLOSE)
        if closed:
            self._held, self._bare, self._add = "", True, self._answer
            return thoughts.rstrip(), self._answer(rest)[1]
        thoughts = text[: len(text) - overlap(text, _CLOSE)].rstrip()
        self._held = text[len(thoughts) :]
        return thoughts, ""

    def _answer(self, text: str) -> tuple[str, str]:
        return "", self._unspaced(text)

    def _unspaced(self, text: str) -> str:
        if self._bare:
            text = text.lstrip()
            self._bare = not text
        return text
