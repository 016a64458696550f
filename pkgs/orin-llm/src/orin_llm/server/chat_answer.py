"""An answer's text as the deltas of a chat message: thoughts, content, tool calls."""

import uuid
from collections.abc import Sequence
from typing import Any

from orin_llm.server.reasoning import ReasoningParser
from orin_llm.text.tools import ArgumentsDelta, CallBegun, Event, TextDelta, ToolParser

Delta = dict[str, Any]


class ChatAnswer:
    """Text in, deltas out; without a parser of thoughts or of tools there are none."""

    def __init__(self, thoughts: ReasoningParser | None, tools: ToolParser | None) -> None:
        self._thoughts, self._tools = thoughts, tools
        self.called = False  # whether there was a call

    def add(self, text: str) -> list[Delta]:
        thought, text = self._thoughts.add(text) if self._thoughts else ("", text)
        return self._deltas(thought, self._parse(text))

    def flush(self) -> list[Delta]:
        """The rest, when nothing follows."""
        thought, text = self._thoughts.flush() if self._thoughts else ("", "")
        rest = self._tools.flush() if self._tools else []
        return self._deltas(thought, [*self._parse(text), *rest])

    def _parse(self, text: str) -> Sequence[Event]:
        if not text:
            return []
        return self._tools.add(text) if self._tools else [TextDelta(text)]

    def _deltas(self, thought: str, events: Sequence[Event]) -> list[Delta]:
        deltas: list[Delta] = [{"reasoning_content": thought}] if thought else []
        for event in events:
            if isinstance(event, TextDelta):
                deltas.append({"content": event.text})
            elif isinstance(event, CallBegun):
                self.called = True
                deltas.append(_begin(event))
            elif isinstance(event, ArgumentsDelta):
                function = {"arguments": event.text}
                deltas.append({"tool_calls": [{"index": event.index, "function": function}]})
        return deltas


def merge(deltas: Sequence[Delta]) -> dict[str, Any]:
    """The message that a client makes of `deltas`."""
    message: dict[str, Any] = {"role": "assistant", "content": None}
    calls: list[dict[str, Any]] = []
    for delta in deltas:
        for field in ("content", "reasoning_content"):
            if field in delta:
                message[field] = (message.get(field) or "") + delta[field]
        for call in delta.get("tool_calls", []):
            if "id" in call:
                calls.append({"id": call["id"], "type": "function", "function": call["function"]})
            else:
                calls[-1]["function"]["arguments"] += call["function"]["arguments"]
    if calls:
        message["tool_calls"] = calls
    elif message["content"] is None:
        message["content"] = ""
    return message


def _begin(event: CallBegun) -> Delta:
    return {
        "tool_calls": [
            {
                "index": event.index,
                "id": f"call_{uuid.uuid4().hex[:24]}",
                "type": "function",
                "function": {"name": event.name, "arguments": ""},
            }
        ]
    }
