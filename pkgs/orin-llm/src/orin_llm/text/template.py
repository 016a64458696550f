"""Conversations as text, by the chat template in a model's file."""

import json
import secrets
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from orin_core.cli import UserError
from orin_llm.text.default_template import TEMPLATE
from orin_llm.text.template_process import TemplateError, TemplateLimitError, TemplateProcess
from orin_llm.text.tools import ToolStyle
from orin_nn.gguf.parse import parse

_KEY = "tokenizer.chat_template"
_TOOLS_KEY = f"{_KEY}.tool_use"
_PROBE = "orin-probe"


class ChatTemplate:
    """The chat template of a GGUF file, its variant for tools as well, or ChatML's.

    `style` is how the model calls tools, None if its template knows of none.
    """

    def __init__(self, template: str, tool_template: str | None = None, **tokens: str) -> None:
        """`tokens` are the texts that templates know as bos_token and eos_token."""
        self.template, self._tool_template = template, tool_template or template
        self.style = ToolStyle.of(self._tool_template)
        self._tokens = {"bos_token": "", "eos_token": ""} | tokens
        self._process = TemplateProcess()
        # What templates want to be given, found out when it is first needed.
        self._parts: dict[str, bool] = {}
        self._objects: dict[str, bool] = {}

    @classmethod
    def load(cls, path: Path) -> "ChatTemplate":
        """Raises UserError for a damaged file. A wrong template is found when it is used."""
        parsed = parse(path, ["tokenizer.ggml.tokens"])
        texts = parsed.arrays.get("tokenizer.ggml.tokens", [])
        tokens = {}
        for name in ("bos_token", "eos_token"):
            token = parsed.values.get(f"tokenizer.ggml.{name}_id")
            if isinstance(token, int) and 0 <= token < len(texts):
                tokens[name] = str(texts[token])
        template, for_tools = parsed.values.get(_KEY, TEMPLATE), parsed.values.get(_TOOLS_KEY)
        if not isinstance(template, str) or not isinstance(for_tools, str | None):
            raise UserError(f"{path}: damaged, {_KEY} is no text: convert or download it again")
        return cls(template, for_tools, **tokens)

    async def render(
        self,
        messages: list[dict[str, Any]],
        tools: list[dict[str, Any]] | None = None,
        *,
        continues: bool = False,
        **variables: Any,
    ) -> str:
        """The text that asks the model for the next message, in OpenAI's form all; or, if it
        `continues`, for more of the last one. Control tokens are written out in it.

        Contents may be lists of text parts, which are joined by line breaks; the developer is the
        system. Raises TemplateError for what the template refuses, and for one that fails.
        """
        if tools and self.style is None:
            raise TemplateError("the model's chat template takes no tools")
        template = self._tool_template if tools else self.template
        given = [await self._message(template, message) for message in messages]
        mark = ""
        if continues:
            if not given or given[-1].get("role") != "assistant":
                raise TemplateError("only a last message of the assistant can be continued")
            mark = secrets.token_hex(16)
            given[-1]["content"] += mark
        if await self._wants_parts(template):
            for message in given:
                message["content"] = [{"type": "text", "text": message["content"]}]
        text = await self._render(template, given, tools, not continues, **variables)
        if mark not in text:
            raise TemplateError("the model's chat template does not show the last message")
        return text.split(mark)[0] if mark else text

    def close(self) -> None:
        """End the process that renders."""
        self._process.close()

    async def _render(
        self,
        template: str,
        messages: list[dict[str, Any]],
        tools: list[dict[str, Any]] | None,
        ask: bool,
        **variables: Any,
    ) -> str:
        known = {"messages": messages, "tools": tools or None, "add_generation_prompt": ask}
        return await self._process.render(template, {**self._tokens, **variables, **known})

    async def _message(self, template: str, message: Mapping[str, Any]) -> dict[str, Any]:
        given = {**message, "content": _text(message.get("content"))}
        if given.get("role") == "developer":
            given["role"] = "system"
        if calls := message.get("tool_calls"):
            objects = await self._wants_objects(template)
            given["tool_calls"] = [_call(call, objects) for call in calls]
        return given

    async def _wants_parts(self, template: str) -> bool:
        """Whether contents are to be lists of parts: where a text would not be shown."""
        if template not in self._parts:
            parts = [{"type": "text", "text": _PROBE}]
            self._parts[template] = not await self._shows(
                template, _PROBE, [{"role": "user", "content": _PROBE}]
            ) and await self._shows(template, _PROBE, [{"role": "user", "content": parts}])
        return self._parts[template]

    async def _wants_objects(self, template: str) -> bool:
        """Whether calls' arguments are to be objects, which most templates write as JSON: unless
        only their JSON is shown as it is."""
        if template not in self._objects:
            arguments = {_PROBE: 1}
            shown = json.dumps(arguments)[1:-1]
            self._objects[template] = await self._shows(
                template, shown, _called(arguments)
            ) or not await self._shows(template, shown, _called(json.dumps(arguments)))
        return self._objects[template]

    async def _shows(self, template: str, text: str, messages: list[dict[str, Any]]) -> bool:
        try:
            return text in await self._render(template, messages, None, False)
        except TemplateLimitError:
            raise
        except TemplateError:
            return False


def _text(content: Any) -> str:
    if content is None or isinstance(content, str):
        return content or ""
    texts = []
    for part in content if isinstance(content, list) else [content]:
        text = part.get("text") if isinstance(part, Mapping) else None
        if not isinstance(text, str):
            kind = part.get("type") if isinstance(part, Mapping) else type(part).__name__
            raise TemplateError(f"content of type {kind!r}: the model reads text only")
        texts.append(text)
    return "\n".join(texts)


def _call(call: Mapping[str, Any], objects: bool) -> dict[str, Any]:
    function = dict(call.get("function") or {})
    arguments = function.get("arguments")
    if objects and isinstance(arguments, str):
        with suppress(ValueError):  # of an answer that was broken off: shown as it is
            function["arguments"] = json.loads(arguments or "{}")
    elif not objects and not isinstance(arguments, str):
        function["arguments"] = json.dumps(arguments)
    return {**call, "function": function}


def _called(arguments: Any) -> list[dict[str, Any]]:
    """A conversation in which a function is called. Mistral's templates want an id of 9 letters."""
    function = {"name": "probe", "arguments": arguments}
    call = {"id": "call00001", "type": "function", "function": function}
    return [
        {"role": "user", "content": "probe"},
        {"role": "assistant", "content": "", "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "call00001", "name": "probe", "content": "probe"},
    ]
