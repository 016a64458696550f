"""How models write calls of tools, and answers taken apart into text and calls."""

import json
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property


@dataclass(frozen=True)
class ToolStyle:
    """The form of calls: `trigger`, `opening`, {"name": ..., `key`: {...}}, more of these after
    `separator` each, `closing`. Without a trigger an answer is all calls or all text."""

    trigger: str
    opening: str
    key: str
    separator: str
    closing: str

    @classmethod
    def of(cls, template: str) -> "ToolStyle | None":
        """The style that a chat template asks the model for; None if it takes no tools."""
        if not re.search(r"\btools\b", template):
            return None
        if "[TOOL_CALLS]" in template:
            return MISTRAL_SPACED if "[TOOL_CALLS] [" in template else MISTRAL
        if "<tool_call>" not in template and '"parameters"' in template:
            return LLAMA3
        return HERMES

    def rules(self, names: Sequence[str], *, parallel: bool, free: bool) -> list[str]:
        """Rules of a Lark grammar for an answer that calls functions, in which `arguments_0` and so
        on stand for their arguments. `free`: the answer may be or contain other text as well."""
        calls = f"call ({_quoted(self.separator)} call)*" if parallel else "call"
        after = f"{_quoted(self.opening)} {calls} {_quoted(self.closing)}"
        if not free:
            start = ["start: " + _quoted(self.trigger) + " " + after]
        elif not self.trigger:
            # Text must not begin like a call, so that what does is one.
            start = [f"start: TEXT | {after}", r'TEXT: /(.|\n)*/ & ~/\s*\{\s*"name"(.|\n)*/']
        else:
            # A lazy terminal ends where it first can: what follows a trigger must be a call.
            start = [
                "start: (trigger after)* TEXT" if parallel else "start: TEXT | trigger after",
                f"trigger[lazy]: TEXT {_quoted(self.trigger)}",
                f"after: {after}",
                r"TEXT: /(.|\n)*/",
            ]
        return [
            *start,
            "call: " + " | ".join(f"call_{index}" for index in range(len(names))),
            *(
                f"call_{index}: {_quoted(self._head(name))} arguments_{index} {_quoted('}')}"
                for index, name in enumerate(names)
            ),
        ]

    def _head(self, name: str) -> str:
        return f'{{"name": {json.dumps(name)}, {json.dumps(self.key)}: '

    @cached_property
    def heads(self) -> tuple["_Head", "_Head"]:
        """How a call begins in what a model writes: after the trigger, and after a separator."""
        return _Head(self.opening.strip(), self.key), _Head("", self.key)


# Qwen 2.5 and 3, Hermes, and the style for models that were trained on none.
HERMES = ToolStyle(
    trigger="<tool_call>",
    opening="\n",
    key="arguments",
    separator="\n</tool_call>\n<tool_call>\n",
    closing="\n</tool_call>",
)
LLAMA3 = ToolStyle(trigger="", opening="", key="parameters", separator="; ", closing="")
# With byte-level BPE, and with SentencePiece, which puts a space after a token like the trigger.
MISTRAL = ToolStyle("[TOOL_CALLS]", opening="[", key="arguments", separator=", ", closing="]")
MISTRAL_SPACED = ToolStyle(
    "[TOOL_CALLS]", opening=" [", key="arguments", separator=", ", closing="]"
)


@dataclass(frozen=True, slots=True)
class TextDelta:
    """More of what the model says."""

    text: str


@dataclass(frozen=True, slots=True)
class CallBegun:
    """The call number `index` of the answer, from 0, is one of the function `name`."""

    index: int
    name: str


@dataclass(frozen=True, slots=True)
class ArgumentsDelta:
    """More of the JSON object that a call hands over."""

    index: int
    text: str


@dataclass(frozen=True, slots=True)
class CallEnded:
    """The arguments of a call are complete."""

    index: int


Event = TextDelta | CallBegun | ArgumentsDelta | CallEnded


class ToolParser:
    """Takes an answer apart as it comes, in time linear in its length.

    What only resembles a call is text. White space before a call and after the last one is left
    out. A call in which the answer breaks off gets no CallEnded.
    """

    def __init__(self, style: ToolStyle) -> None:
        self._style = style
        self._buffer = ""  # received, and not understood yet
        self._space: list[str] = []  # received, and text if more text follows
        self._calls = 0
        self._head = style.heads[0]
        self._nesting = _Nesting()
        self._events: list[Event] = []
        # A step takes what it can of the buffer, and is false when it has to wait for more.
        self._step: Callable[[], bool] = self._in_text if style.trigger else self._at_head

    def add(self, text: str) -> list[Event]:
        """What has become certain with `text`."""
        self._buffer += text
        while self._buffer and self._step():
            pass
        return self._taken()

    def flush(self) -> list[Event]:
        """What is left when the answer has ended."""
        if self._step == self._at_head:
            self._no_call()
        if self._step == self._in_text:
            self._say(self._buffer)
            if self._space and not self._calls:
                self._events.append(TextDelta("".join(self._space)))
        self._buffer, self._space = "", []
        return self._taken()

    def _taken(self) -> list[Event]:
        events, self._events = self._events, []
        return events

    def _say(self, text: str) -> None:
        shown = text.rstrip()
        if shown:
            self._events.append(TextDelta("".join(self._space) + shown))
            self._space = []
        if len(text) > len(shown):
            self._space.append(text[len(shown) :])

    def _in_text(self) -> bool:
        trigger, buffer = self._style.trigger, self._buffer
        at = buffer.find(trigger) if trigger else -1
        if at >= 0:
            self._say(buffer[:at])
            self._buffer = buffer[at + len(trigger) :]
            self._head, self._step = self._style.heads[0], self._at_head
            return True
        kept = next((n for n in range(len(trigger) - 1, 0, -1) if buffer.endswith(trigger[:n])), 0)
        self._say(buffer[: len(buffer) - kept])
        self._buffer = buffer[len(buffer) - kept :]
        return False

    def _at_head(self) -> bool:
        found = self._head.whole.match(self._buffer)
        if found:
            self._events.append(CallBegun(self._calls, found[1]))
            self._space = []
            self._buffer = self._buffer[found.end() :]
            self._nesting, self._step = _Nesting(), self._in_arguments
            return True
        if self._head.part.fullmatch(self._buffer):
            return False
        self._no_call()
        return True

    def _no_call(self) -> None:
        """What looked like the beginning of a call is text after all."""
        first = self._head is self._style.heads[0]
        begun = self._style.trigger if first else self._style.separator.strip()
        self._say(begun + self._buffer[:1])
        self._buffer = self._buffer[1:]
        self._step = self._in_text

    def _in_arguments(self) -> bool:
        end = self._nesting.end(self._buffer)
        text, self._buffer = self._buffer[:end], self._buffer[end:]
        self._events.append(ArgumentsDelta(self._calls, text))
        if self._nesting.depth:
            return False
        self._events.append(CallEnded(self._calls))
        self._calls += 1
        self._step = self._after_arguments
        return True

    def _after_arguments(self) -> bool:
        """At the brace that ends a call."""
        self._buffer = self._buffer.lstrip()
        if self._buffer:
            self._buffer = self._buffer.removeprefix("}")
            self._step = self._between
        return bool(self._buffer)

    def _between(self) -> bool:
        """At what ends the calls, or leads to the next one."""
        self._buffer = self._buffer.lstrip()
        closing, separator = self._style.closing.strip(), self._style.separator.strip()
        if closing and self._buffer.startswith(closing):
            self._buffer = self._buffer[len(closing) :]
            self._step = self._in_text
        elif self._buffer.startswith(separator):
            self._buffer = self._buffer[len(separator) :]
            self._head, self._step = self._style.heads[1], self._at_head
        elif closing.startswith(self._buffer) or separator.startswith(self._buffer):
            return False
        else:
            self._step = self._in_text
        return True


class _Head:
    """How a call begins, up to its arguments: `whole` matches that and names the function, `part`
    what may become it. White space is limited, or waiting for its end would take long."""

    def __init__(self, opening: str, key: str) -> None:
        atoms = [
            *(r"\s{0,64}" + re.escape(letter) for letter in opening),
            *(r"\s{0,64}\{", r"\s{0,64}\"", *"name", r"\"", r"\s{0,64}:", r"\s{0,64}\""),
            *(r"([^\"\\]{1,128})", r"\"", r"\s{0,64},", r"\s{0,64}\"", *key, r"\"", r"\s{0,64}:"),
        ]
        self.whole = re.compile("".join(atoms) + r"\s{0,64}(?=\{)")
        part = ""
        for atom in reversed(atoms):
            part = f"(?:{atom}{part})?"
        self.part = re.compile(part + r"\s{0,64}")


class _Nesting:
    """How deep in a JSON object its text has come."""

    def __init__(self) -> None:
        self.depth = 0
        self._quoted = self._escaped = False

    def end(self, text: str) -> int:
        """How many characters of `text`, which goes on from the last one, the object has."""
        plain = int(self._escaped)  # the first character that no backslash stands before
        for found in _STRUCTURE.finditer(text):
            at, mark = found.start(), found[0]
            if at < plain:
                continue
            if mark == "\\":
                plain = at + 2
            elif mark == '"':
                self._quoted = not self._quoted
            elif not self._quoted:
                self.depth += 1 if mark in "{[" else -1
                if not self.depth:
                    return at + 1
        self._escaped = plain > len(text)
        return len(text)


_STRUCTURE = re.compile(r'["\\{}\[\]]')


def _quoted(text: str) -> str:
    """A literal of a Lark grammar."""
    return json.dumps(text, ensure_ascii=False) if text else ""
