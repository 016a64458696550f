"""A conversation as a prompt, and what its answer must look like."""

import asyncio
from collections.abc import Callable
from typing import Any

from orin_llm.engine.request import Constraint
from orin_llm.server.errors import ApiError, invalid
from orin_llm.server.model import Model
from orin_llm.server.schema.chat import (
    ChatBody,
    JsonObjectFormat,
    JsonSchemaFormat,
    NamedTool,
)
from orin_llm.text.schema_limits import GrammarError
from orin_llm.text.template_process import TemplateError

# What a template is rendered with besides a request's own variables.
_RESERVED = {"messages", "tools", "continues"}


def offered_tools(body: ChatBody) -> list[dict[str, Any]]:
    """The tools that the model may call. Raises ApiError for a choice that they do not admit."""
    tools = [tool.model_dump(exclude_none=True) for tool in body.tools or []]
    names = [tool["function"]["name"] for tool in tools]
    if len(set(names)) < len(names):
        raise invalid("tools", "two of them have the same name")
    if not tools and body.tool_choice is not None:
        raise invalid("tool_choice", "needs tools")
    if isinstance(body.tool_choice, NamedTool) and body.tool_choice.function.name not in names:
        raise invalid("tool_choice", f"{body.tool_choice.function.name!r} is none of the tools")
    return [] if body.tool_choice == "none" else tools


async def render(model: Model, body: ChatBody, tools: list[dict[str, Any]]) -> str:
    """The prompt, by the model's own template."""
    variables = body.chat_template_kwargs or {}
    if taken := _RESERVED & variables.keys():
        raise invalid("chat_template_kwargs", f"{min(taken)} is a field of the request")
    continues = bool(body.continue_final_message)
    if continues and body.messages[-1].role != "assistant":
        raise invalid("continue_final_message", "the last message is not the assistant's")
    for index, message in enumerate(body.messages):
        if message.content is None and message.role != "assistant":
            raise invalid(f"messages.{index}.content", "is missing")
    messages = [message.model_dump(exclude_none=True) for message in body.messages]
    try:
        return await model.template.render(
            messages, tools or None, continues=continues, **variables
        )
    except TemplateError as error:
        raise ApiError(400, str(error), param="messages", code="invalid_messages") from None


async def constraints(
    model: Model, body: ChatBody, tools: list[dict[str, Any]]
) -> list[Constraint] | None:
    """A grammar for each answer; None where any text will do. They are made in a thread."""
    make, param = _grammar(model, body, tools)
    if make is None:
        return None
    try:
        made = await asyncio.to_thread(lambda: [make() for _ in range(body.n or 1)])
    except GrammarError as error:
        raise invalid(param, str(error)) from None
    return [one for one in made if one is not None] or None


def _grammar(
    model: Model, body: ChatBody, tools: list[dict[str, Any]]
) -> tuple[Callable[[], Constraint | None] | None, str]:
    wanted = body.response_format
    if isinstance(wanted, JsonObjectFormat | JsonSchemaFormat):
        if tools:
            raise invalid("response_format", 'cannot be had with tools; set tool_choice "none"')
        if isinstance(wanted, JsonSchemaFormat):
            schema = wanted.json_schema.schema_
            return lambda: model.grammars.json_schema(schema), "response_format"
        return model.grammars.json_object, "response_format"
    if tools and (style := model.template.style):
        choice = body.tool_choice or "auto"
        named = choice.model_dump() if isinstance(choice, NamedTool) else choice
        parallel = body.parallel_tool_calls is not False
        return lambda: model.grammars.tools(tools, named, style, parallel), "tools"
    return None, ""
