"""Calls of tools can only be written whole, and are found again in the answer however it comes."""

import json
import random
import time
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import made_vocabularies as made
from orin_llm.engine.request import Constraint
from orin_llm.text.grammar import Grammars
from orin_llm.text.schema_limits import GrammarError
from orin_llm.text.tokenizer import Tokenizer
from orin_llm.text.tools import (
    HERMES,
    LLAMA3,
    MISTRAL,
    MISTRAL_SPACED,
    ArgumentsDelta,
    CallBegun,
    CallEnded,
    Event,
    TextDelta,
    ToolParser,
    ToolStyle,
)
from random_answers import follow, walk

STYLES = {"hermes": HERMES, "llama3": LLAMA3, "mistral": MISTRAL, "spaced": MISTRAL_SPACED}
CALLS = {
    "hermes": '<tool_call>\n{"name": "weather", "arguments": {"city": "}{\\"é"}}\n</tool_call>',
    "llama3": '{"name": "weather", "parameters": {"city": "}{\\"é"}}',
    "mistral": '[TOOL_CALLS][{"name": "weather", "arguments": {"city": "}{\\"é"}}]',
    "spaced": '[TOOL_CALLS] [{"name": "weather", "arguments": {"city": "}{\\"é"}}]',
}
TOOLS = [
    {
        "type": "function",
        "function": {
            "name": "weather",
            "strict": True,
            "parameters": {
                "type": "object",
                "properties": {"city": {"type": "string", "maxLength": 5}},
                "required": ["city"],
                "additionalProperties": False,
            },
        },
    },
    {
        "type": "function",
        "function": {
            "name": "set.mood",
            "parameters": {
                "type": "object",
                "properties": {"level": {"type": "integer", "not": {"const": 3}}},
                "required": ["level"],
                "additionalProperties": False,
            },
        },
    },
    {"type": "function", "function": {"name": "now"}},
]
FIVE = '{"name":"f","arguments":5}'
NAMED = {"type": "function", "function": {"name": "set.mood"}}


@pytest.fixture(scope="module", params=[made.tiny, made.byte_level])
def tokenizer(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Tokenizer:
    path: Path = request.param(tmp_path_factory.mktemp("made") / "made.gguf")
    return Tokenizer.load(path)


@pytest.fixture(scope="module")
def grammars(tokenizer: Tokenizer) -> Grammars:
    return Grammars(tokenizer)


def parsed(style: ToolStyle, *parts: str) -> tuple[str, list[tuple[str, str, bool]]]:
    """The text of an answer, and of every call its name, its arguments and whether it ended."""
    parser = ToolParser(style)
    events: list[Event] = [event for part in parts for event in parser.add(part)]
    events += parser.flush()
    text = ""
    calls: list[list[Any]] = []
    for event in events:
        if isinstance(event, TextDelta):
            assert event.text
            text += event.text
        elif isinstance(event, CallBegun):
            assert event.index == len(calls)
            calls.append([event.name, "", False])
        else:
            assert event.index == len(calls) - 1
            assert not calls[-1][2]
            if isinstance(event, ArgumentsDelta):
                calls[-1][1] = str(calls[-1][1]) + event.text
            else:
                assert isinstance(event, CallEnded)
                calls[-1][2] = True
    return text, [(str(name), str(arguments), bool(end)) for name, arguments, end in calls]


def constraint(grammars: Grammars, choice: Any, style: ToolStyle, parallel: bool) -> Constraint:
    made = grammars.tools(TOOLS, choice, style, parallel)
    assert made is not None
    return made


def check(name: str, arguments: str) -> None:
    value = json.loads(arguments)
    assert isinstance(value, dict)
    if name == "weather":
        assert set(value) == {"city"}
        assert len(value["city"]) <= 5
    elif name == "set.mood":
        assert set(value) == {"level"}
        assert isinstance(value["level"], int)
    else:
        assert name == "now"


@pytest.mark.parametrize("style", STYLES)
@pytest.mark.parametrize("seed", range(4))
def test_required_calls_are_whole(
    grammars: Grammars, tokenizer: Tokenizer, style: str, seed: int
) -> None:
    text, ended = walk(constraint(grammars, "required", STYLES[style], False), tokenizer, seed)
    assert ended
    shown, calls = parsed(STYLES[style], text)
    assert shown == ""
    assert len(calls) == 1
    for name, arguments, complete in calls:
        assert complete
        check(name, arguments)


@pytest.mark.parametrize("style", STYLES)
def test_calls_may_be_parallel(grammars: Grammars, tokenizer: Tokenizer, style: str) -> None:
    counts = set()
    for seed in range(8):
        text, ended = walk(constraint(grammars, "required", STYLES[style], True), tokenizer, seed)
        assert ended
        shown, calls = parsed(STYLES[style], text)
        assert shown == ""
        counts.add(len(calls))
        for name, arguments, complete in calls:
            assert complete
            check(name, arguments)
    assert max(counts) > 1


@pytest.mark.parametrize("style", STYLES)
def test_one_function_can_be_demanded(grammars: Grammars, tokenizer: Tokenizer, style: str) -> None:
    text, ended = walk(constraint(grammars, NAMED, STYLES[style], True), tokenizer, 1)
    assert ended
    ((name, arguments, _),) = parsed(STYLES[style], text)[1]
    assert name == "set.mood"
    check(name, arguments)


@pytest.mark.parametrize("style", STYLES)
def test_an_answer_may_be_text_but_a_begun_call_is_completed(
    grammars: Grammars, tokenizer: Tokenizer, style: str
) -> None:
    def allowed(text: str, parallel: bool = False) -> tuple[str, bool]:
        return follow(constraint(grammars, "auto", STYLES[style], parallel), tokenizer, text)

    call = CALLS[style]
    for text in ("", "Hello {} <tool [TOOL", '{"a": "name"}', "é\n\n", call):
        assert allowed(text) == (text, True)
    half = call[: call.index("{\\")]
    assert allowed(half) == (half, False)
    wrong = call.replace("city", "town")
    assert allowed(wrong)[0] != wrong
    unknown = call.replace("weather", "climate")
    assert allowed(unknown)[0] != unknown
    if STYLES[style].trigger:
        assert allowed("Let me see. " + call) == ("Let me see. " + call, True)
        two = "I call " + call + " and " + call
        assert allowed(two, parallel=True) == (two, True)
        assert allowed(two) != (two, True)


def test_no_tools_no_constraint(grammars: Grammars) -> None:
    assert grammars.tools(TOOLS, "none", HERMES, True) is None
    assert grammars.tools([], "auto", HERMES, True) is None


def function(**fields: Any) -> dict[str, Any]:
    return {"type": "function", "function": {"name": "f", **fields}}


@pytest.mark.parametrize(
    ("tools", "choice", "words"),
    [
        ([], "required", "there are no tools"),
        (TOOLS, "always", "'always' is none of none, auto and required"),
        (TOOLS, {"type": "function", "function": {"name": "x"}}, "no tool is called 'x'"),
        (TOOLS, {"type": "function"}, "has to name a function"),
        ([{}], "auto", "tools[0]: no function with a name"),
        (["x"], "auto", "tools[0]: no function with a name"),
        ([function(name="a b")], "auto", "'a b' is no name"),
        ([function(name='"}')], "auto", "is no name"),
        ([function(), function()], "auto", "a second function called 'f'"),
        ([function(parameters={"type": "string"})], "auto", "its parameters are no object"),
        ([function(parameters=[])], "auto", "a schema is an object, not list"),
        ([function(parameters={"not": {}}, strict=True)], "auto", "Unimplemented keys"),
        ([function(parameters={"$ref": "http://x.org"})], "auto", "x.org"),
        ([function(parameters={"const": "x" * 70_000})], "auto", "'f': the schema has"),
        ([function(name=f"f{index}") for index in range(257)], "auto", "more than 256"),
        (
            [function(name=f"f{n}", parameters={"title": "x" * 60_000}) for n in range(5)],
            "auto",
            "their schemas have more than",
        ),
    ],
)
def test_wrong_tools_are_refused(
    grammars: Grammars, tools: list[Any], choice: Any, words: str
) -> None:
    with pytest.raises(GrammarError) as caught:
        grammars.tools(tools, choice, HERMES, True)
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


def test_many_tools_are_fast(grammars: Grammars, tokenizer: Tokenizer) -> None:
    tools = [
        function(
            name=f"f{index}",
            description="x" * 100,
            parameters={"type": "object", "properties": {f"p{n}": {} for n in range(10)}},
        )
        for index in range(100)
    ]
    start = time.perf_counter()
    made = grammars.tools(tools, "auto", HERMES, True)
    assert made is not None
    assert made.allowed().any()
    assert time.perf_counter() - start < 3


@pytest.mark.parametrize("style", STYLES)
@given(data=st.data())
def test_calls_are_found_however_the_answer_is_cut(style: str, data: st.DataObject) -> None:
    call = CALLS[style]
    between = {"hermes": "\n", "llama3": "; "}.get(style)
    many = between.join([call] * 2) if between else call[:-1] + ", " + call[call.index("{") :]
    before = "" if style == "llama3" else data.draw(st.sampled_from(["", "So <tool[: ", "\n"]))
    answer = before + data.draw(st.sampled_from([call, many]))
    cuts = sorted(data.draw(st.lists(st.integers(0, len(answer)), max_size=9)))
    parts = [answer[at:end] for at, end in zip([0, *cuts], [*cuts, len(answer)], strict=True)]
    text, calls = parsed(STYLES[style], *parts)
    assert text == before.rstrip()
    assert calls == [("weather", '{"city": "}{\\"é"}', True)] * answer.count("weather")


@pytest.mark.parametrize("style", STYLES)
@given(text=st.text('{}[]":, <>\nname_tolcTOLCAS\\x'), cut=st.integers(0, 20))
def test_all_else_is_text(style: str, text: str, cut: int) -> None:
    shown, calls = parsed(STYLES[style], text[:cut], text[cut:])
    assert (shown, calls) == (text, [])


@pytest.mark.parametrize(
    ("style", "answer", "text", "calls"),
    [
        ("hermes", "a <tool_call>\n{", "a <tool_call>\n{", []),
        ("hermes", "<tool_call>\nnothing", "<tool_call>\nnothing", []),
        (
            "hermes",
            '<tool_call>{"name":"f","arguments":5}',
            '<tool_call>{"name":"f","arguments":5}',
            [],
        ),
        ("hermes", '<tool_call>{"name":"f","arguments":{"a', "", [("f", '{"a', False)]),
        ("hermes", CALLS["hermes"] + "\nDone.", "\nDone.", None),
        ("hermes", CALLS["hermes"] + "\n\n", "", None),
        ("llama3", '{"name": "x"}', '{"name": "x"}', []),
        ("llama3", ' {"a": 1}', ' {"a": 1}', []),
        ("llama3", "Hi " + CALLS["llama3"], "Hi " + CALLS["llama3"], []),
        ("llama3", '{"name":\n"f","parameters" : {}}', "", [("f", "{}", True)]),
    ],
)
def test_broken_calls(
    style: str, answer: str, text: str, calls: list[tuple[str, str, bool]] | None
) -> None:
    if calls is None:
        calls = [("weather", '{"city": "}{\\"é"}', True)]
    assert parsed(STYLES[style], answer) == (text, calls)
    assert parsed(STYLES[style], *answer) == (text, calls)


@pytest.mark.parametrize("style", STYLES)
def test_arguments_come_as_they_are_written(style: str) -> None:
    parser = ToolParser(STYLES[style])
    call = CALLS[style]
    at = call.index('"city"')
    assert parser.add(call[: at + 3])[-1] == ArgumentsDelta(0, '{"ci')
    assert parser.add(call[at + 3 : at + 8]) == [ArgumentsDelta(0, 'ty": ')]


def test_long_answers_take_linear_time() -> None:
    generator = random.Random(0)
    for style, parser_style in STYLES.items():
        head, tail = CALLS[style].split("}{")
        for answer in (
            "".join(generator.choices("ab <{[\n", k=100_000)),
            "\n" * 100_000,
            head + '\\"{}a' * 20_000 + tail,
        ):
            parser, start = ToolParser(parser_style), time.perf_counter()
            for at in range(0, len(answer), 4):
                parser.add(answer[at : at + 4])
            parser.flush()
            assert time.perf_counter() - start < 3
