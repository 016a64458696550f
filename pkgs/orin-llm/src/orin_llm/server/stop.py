"""Stop strings: text up to the first of them, also where tokens cut it in two."""

from collections.abc import Sequence


class StopStrings:
    """Passes text on until one of `stops` comes; holds back what may be the beginning of one."""

    def __init__(self, stops: Sequence[str]) -> None:
        self._stops = stops
        self._held = ""
        self.hit = False

    def add(self, text: str) -> str:
        """What is certain not to belong to a stop string."""
        text = self._held + text
        if found := [place for stop in self._stops if (place := text.find(stop)) >= 0]:
            self.hit, self._held = True, ""
            return text[: min(found)]
        held = max((overlap(text, stop) for stop in self._stops), default=0)
        cut = len(text) - held
        self._held = text[cut:]
        return text[:cut]

    def flush(self) -> str:
        """What was held back, when nothing follows."""
        held, self._held = self._held, ""
        return held


def overlap(text: str, word: str) -> int:
    """How many characters at the end of `text` are the beginning of `word`, but not all of it."""
    place = text.find(word[0], max(0, len(text) - len(word) + 1))
    while place >= 0:
        if word.startswith(text[place:]):
            return len(text) - place
        place = text.find(word[0], place + 1)
    return 0
