"""/v1/chat/completions, asked by OpenAI's own client; only the engine is fake."""

import json
from collections.abc import Iterator
from typing import Any

import httpx
import openai
import pytest
from openai.types.chat import ChatCompletion, ChatCompletionChunk

from fake_engine import FakeEngine
from orin_llm.text.template import ChatTemplate
from served import Served, serve

USER: Any = [{"role": "user", "content": "Say hello"}]
WEATHER: Any = {
    "type": "function",
    "function": {
        "name": "weather",
        "description": "The weather of a city.",
        "parameters": {
            "type": "object",
            "properties": {"city": {"type": "string"}},
            "required": ["city"],
            "additionalProperties": False,
        },
    },
}
CLOCK: Any = {"type": "function", "function": {"name": "clock"}}
CALL = '<tool_call>\n{"name": "weather", "arguments": {"city": "Köln"}}\n</tool_call>'


@pytest.fixture(scope="module")
def shared() -> Iterator[Served]:
    with serve(FakeEngine(context=4096)) as served:
        yield served


@pytest.fixture
def served(shared: Served) -> Served:
    shared.engine.requests.clear()
    shared.says("Hello, world")
    return shared


def ask(served: Served, messages: Any = USER, **fields: Any) -> ChatCompletion:
    answer = served.openai.chat.completions.create(model="tiny", messages=messages, **fields)
    assert isinstance(answer, ChatCompletion)
    return answer


def stream(served: Served, messages: Any = USER, **fields: Any) -> list[ChatCompletionChunk]:
    return list(
        served.openai.chat.completions.create(
            model="tiny", messages=messages, stream=True, **fields
        )
    )


def prompt(served: Served) -> str:
    """The prompt of the only request, with its control tokens."""
    (request,) = served.engine.requests
    controls = {509: b"<|endoftext|>", 510: b"<|im_start|>", 511: b"<|im_end|>"}
    texts = [controls.get(t) or served.tokenizer.token_bytes(t) for t in request.prompt]
    return b"".join(texts).decode()


def said(chunks: list[ChatCompletionChunk], index: int = 0) -> str:
    choices = [choice for chunk in chunks for choice in chunk.choices if choice.index == index]
    return "".join(choice.delta.content or "" for choice in choices)


def test_an_answer(served: Served) -> None:
    answer = ask(served, [{"role": "system", "content": "Be kind."}, *USER])
    assert answer.object == "chat.completion"
    assert answer.id.startswith("chatcmpl-")
    assert (answer.model, answer.system_fingerprint) == ("tiny", "fp_test")
    (choice,) = answer.choices
    assert (choice.message.role, choice.message.content) == ("assistant", "Hello, world")
    assert (choice.finish_reason, choice.logprobs) == ("stop", None)
    assert choice.message.tool_calls is None
    asked = prompt(served)
    assert "<|im_start|>system\nBe kind.<|im_end|>" in asked
    assert "<|im_start|>user\nSay hello<|im_end|>" in asked
    assert "<|im_start|>assistant" in asked
    assert answer.usage
    assert answer.usage.prompt_tokens == len(served.engine.requests[0].prompt)
    assert served.engine.requests[0].max_tokens == 4096 - answer.usage.prompt_tokens


def test_a_stream(served: Served) -> None:
    chunks = stream(served, stream_options={"include_usage": True})
    assert chunks[0].choices[0].delta.role == "assistant"
    assert all(chunk.object == "chat.completion.chunk" for chunk in chunks)
    assert said(chunks) == "Hello, world"
    *_, end, usage = chunks
    assert end.choices[0].finish_reason == "stop"
    assert usage.choices == [] and usage.usage
    assert usage.usage.completion_tokens == len(served.tokenizer.encode("Hello, world"))
    assert {chunk.usage for chunk in chunks[:-1]} == {None}
    assert not any(chunk.usage for chunk in stream(served))


def test_events_as_they_are_on_the_wire(served: Served) -> None:
    served.says("é")
    body = {"messages": USER, "stream": True}
    lines = served.http.post("/v1/chat/completions", json=body).text.split("\n\n")
    assert lines[-2:] == ["data: [DONE]", ""]
    deltas = [json.loads(line.removeprefix("data: "))["choices"][0] for line in lines[:-2]]
    assert [delta["delta"] for delta in deltas] == [
        {"role": "assistant", "content": ""},
        {"content": "é"},
        {},
    ]
    assert [delta["finish_reason"] for delta in deltas] == [None, None, "stop"]


def test_several_answers(served: Served) -> None:
    texts = iter(["one", "two", "three"] * 2)
    served.engine.script = lambda request: served.tokenizer.encode(next(texts))
    answer = ask(served, n=3, seed=1)
    assert [choice.message.content for choice in answer.choices] == ["one", "two", "three"]
    assert [request.sampling.seed for request in served.engine.requests] == [1, 2, 3]
    assert answer.usage
    assert answer.usage.prompt_tokens == len(served.engine.requests[0].prompt)
    chunks = stream(served, n=3)
    assert [said(chunks, index) for index in range(3)] == ["one", "two", "three"]
    ends = [choice.finish_reason for chunk in chunks for choice in chunk.choices]
    assert ends.count("stop") == 3


def test_the_newer_name_of_max_tokens_wins(served: Served) -> None:
    answer = ask(served, max_completion_tokens=3, max_tokens=7)
    assert answer.choices[0].finish_reason == "length"
    assert answer.choices[0].message.content == "Hel"


def test_stop_strings(served: Served) -> None:
    for stop, text in {", w": "Hello", "Hello": "", "d": "Hello, worl"}.items():
        assert ask(served, stop=stop).choices[0].message.content == text
        assert said(stream(served, stop=[stop, "none"])) == text


def test_logprobs(served: Served) -> None:
    served.says("añ")
    found = ask(served, logprobs=True, top_logprobs=2).choices[0].logprobs
    assert found and found.content
    assert b"".join(bytes(one.bytes or []) for one in found.content).decode() == "añ"
    assert {one.logprob for one in found.content} == {-0.5}
    assert all(len(one.top_logprobs) == 2 for one in found.content)
    chunks = stream(served, logprobs=True)
    streamed = [
        one.bytes
        for chunk in chunks
        if chunk.choices[0].logprobs
        for one in chunk.choices[0].logprobs.content or []
    ]
    assert streamed == [one.bytes for one in found.content]


def test_messages_of_every_kind(served: Served) -> None:
    ask(
        served,
        [
            {
                "role": "developer",
                "content": [{"type": "text", "text": "Be "}, {"type": "text", "text": "brief."}],
            },
            {"role": "user", "content": "Weather?", "name": "Ann"},
            {
                "role": "assistant",
                "content": None,
                "tool_calls": [
                    {
                        "id": "call_1",
                        "type": "function",
                        "function": {"name": "weather", "arguments": '{"city": "Köln"}'},
                    }
                ],
            },
            {"role": "tool", "tool_call_id": "call_1", "content": "rain"},
        ],
        tools=[WEATHER],
    )
    asked = prompt(served)
    assert "system\nBe \nbrief." in asked
    assert CALL in asked
    assert "<tool_response>\nrain\n</tool_response>" in asked
    assert '"description": "The weather of a city."' in asked


def test_templates_of_other_models() -> None:
    """One that wants a variable, refuses, loops for ever, and knows of no tools."""
    template = ChatTemplate(
        "{% if mood == 'bad' %}{{ raise_exception('not in this mood') }}{% endif %}"
        "{% if mood == 'lost' %}{% for a in range(99999) %}{% for b in range(99999) %}"
        "{% endfor %}{% endfor %}{% endif %}{{ mood }}: {{ messages[-1].content }}<think>"
    )
    with serve(template=template) as served:
        served.says("Hm.</think>Yes")

        def mood(mood: str, **fields: Any) -> ChatCompletion:
            return ask(served, extra_body={"chat_template_kwargs": {"mood": mood}}, **fields)

        message = mood("good").choices[0].message
        assert prompt(served) == "good: Say hello<think>"
        assert message.content == "Yes"
        assert message.model_dump()["reasoning_content"] == "Hm."
        for wrong, reason in {"bad": "not in this mood", "lost": "took more than"}.items():
            with pytest.raises(openai.BadRequestError, match=reason) as raised:
                mood(wrong)
            assert raised.value.param == "messages"
        with pytest.raises(openai.BadRequestError, match="takes no tools"):
            mood("good", tools=[WEATHER])
        assert mood("good").choices[0].message.content == "Yes"
    template.close()


def test_the_last_message_goes_on(served: Served) -> None:
    messages = [*USER, {"role": "assistant", "content": "Hello, wo"}]
    served.says("rld")
    ask(served, messages, extra_body={"continue_final_message": True})
    assert prompt(served).endswith("Hello, wo")


def test_thoughts_are_told_apart(served: Served) -> None:
    served.says("<think>\nHm, 1 < 2.\n</think>\n\nHello")
    message = ask(served).choices[0].message
    assert message.content == "Hello"
    assert message.model_dump()["reasoning_content"] == "Hm, 1 < 2."
    chunks = stream(served)
    assert said(chunks) == "Hello"
    thoughts = [chunk.choices[0].delta.model_dump().get("reasoning_content") for chunk in chunks]
    assert "".join(thought or "" for thought in thoughts) == "Hm, 1 < 2."


def test_a_call(served: Served) -> None:
    served.says(f"Let me see.\n{CALL}")
    answer = ask(served, tools=[WEATHER, CLOCK]).choices[0]
    assert answer.finish_reason == "tool_calls"
    assert (answer.message.content or "").strip() == "Let me see."
    (call,) = answer.message.tool_calls or []
    assert call.type == "function" and call.id.startswith("call_")
    assert call.function.name == "weather"
    assert json.loads(call.function.arguments) == {"city": "Köln"}


def test_a_streamed_call(served: Served) -> None:
    served.says(CALL)
    chunks = stream(served, tools=[WEATHER])
    calls = [
        call
        for chunk in chunks
        if chunk.choices
        for call in chunk.choices[0].delta.tool_calls or []
    ]
    assert calls[0].id and calls[0].function and calls[0].function.name == "weather"
    assert {call.index for call in calls} == {0}
    assert [call.id for call in calls[1:]] == [None] * (len(calls) - 1)
    arguments = "".join(call.function.arguments or "" for call in calls if call.function)
    assert json.loads(arguments) == {"city": "Köln"}
    assert chunks[-1].choices[0].finish_reason == "tool_calls"
    with served.openai.chat.completions.stream(
        model="tiny", messages=USER, tools=[WEATHER]
    ) as events:
        final = events.get_final_completion()
    assert final.choices[0].message.tool_calls


def test_calls_that_must_be(served: Served) -> None:
    """Whatever the model would say, what it may say is a call that follows the schema."""
    served.says('Never! 0"}</tool_call>' * 100)
    for choice in ("required", {"type": "function", "function": {"name": "weather"}}):
        (call,) = (
            ask(served, tools=[WEATHER], tool_choice=choice, parallel_tool_calls=False)
            .choices[0]
            .message.tool_calls
            or []
        )
        assert call.type == "function"
        assert call.function.name == "weather"
        assert list(json.loads(call.function.arguments)) == ["city"]


def test_no_calls_where_none_may_be(served: Served) -> None:
    served.says(CALL)
    message = ask(served, tools=[WEATHER], tool_choice="none").choices[0].message
    assert message.tool_calls is None
    assert message.content == CALL
    assert "weather" not in prompt(served)


def test_a_broken_off_call_is_no_call_to_make(served: Served) -> None:
    served.says(CALL)
    answer = ask(served, tools=[WEATHER], max_tokens=45).choices[0]
    assert answer.finish_reason == "length"


@pytest.mark.parametrize("streamed", [False, True])
def test_json_objects_and_schemas(served: Served, streamed: bool) -> None:
    served.says('<think>No.</think> {"age": 7, "name": "Ann"} and more')
    schema = {
        "type": "object",
        "properties": {"age": {"type": "integer", "maximum": 9}, "ok": {"type": "boolean"}},
        "required": ["age", "ok"],
        "additionalProperties": False,
    }
    wanted = {"type": "json_schema", "json_schema": {"name": "person", "schema": schema}}

    def text(form: Any) -> str:
        if streamed:
            return said(stream(served, response_format=form, max_tokens=300))
        return ask(served, response_format=form, max_tokens=300).choices[0].message.content or ""

    assert set(json.loads(text(wanted))) == {"age", "ok"}
    assert isinstance(json.loads(text({"type": "json_object"})), dict)
    assert text({"type": "text"}) == '{"age": 7, "name": "Ann"} and more'


FORMAT = {"type": "json_schema", "json_schema": {"name": "x", "schema": {"type": "nonsense"}}}
MANY = [WEATHER, WEATHER]
IMAGE = [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "data:"}}]}]


@pytest.mark.parametrize(
    ("param", "fields"),
    [
        ("messages", {"messages": []}),
        ("messages.0.role", {"messages": [{"role": "wizard", "content": "a"}]}),
        ("messages.0.content", {"messages": [{"role": "user"}]}),
        ("messages.0.content", {"messages": IMAGE}),
        ("messages", {"messages": [{"role": "user", "content": "x" * 100_000}]}),
        ("max_tokens", {"max_tokens": 5000}),
        ("max_tokens", {"max_completion_tokens": 5000}),
        ("top_logprobs", {"top_logprobs": 3}),
        ("top_logprobs", {"logprobs": True, "top_logprobs": 21}),
        ("tool_choice", {"tool_choice": "auto"}),
        ("tool_choice", {"tools": [WEATHER], "tool_choice": "maybe"}),
        (
            "tool_choice",
            {
                "tools": [WEATHER],
                "tool_choice": {"type": "function", "function": {"name": "clock"}},
            },
        ),
        ("tools", {"tools": MANY}),
        ("tools.0.function.name", {"tools": [{"type": "function", "function": {"name": "a b"}}]}),
        ("response_format", {"response_format": FORMAT}),
        ("response_format", {"response_format": {"type": "json_object"}, "tools": [WEATHER]}),
        ("response_format", {"response_format": {"type": "yaml"}}),
        ("chat_template_kwargs", {"chat_template_kwargs": {"messages": []}}),
        ("continue_final_message", {"continue_final_message": True}),
        ("stream", {"stream": "yes"}),
    ],
)
def test_what_cannot_be_followed(served: Served, param: str, fields: dict[str, object]) -> None:
    with pytest.raises(openai.BadRequestError) as raised:
        served.openai.post(
            "/chat/completions", body={"messages": USER, **fields}, cast_to=httpx.Response
        )
    assert raised.value.param == param
    assert raised.value.code
    assert served.engine.requests == []
