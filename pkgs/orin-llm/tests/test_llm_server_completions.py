"""/v1/completions, asked by OpenAI's own client."""

from collections.abc import Iterator

import httpx
import openai
import pytest

from fake_engine import FakeEngine
from served import Served, serve


@pytest.fixture(scope="module")
def shared() -> Iterator[Served]:
    with serve() as served:
        yield served


@pytest.fixture
def served(shared: Served) -> Served:
    shared.engine.requests.clear()
    shared.says("Hello, world")
    return shared


def test_text_is_continued(served: Served) -> None:
    answer = served.openai.completions.create(model="tiny", prompt="Say", max_tokens=50)
    (choice,) = answer.choices
    assert (choice.text, choice.finish_reason) == ("Hello, world", "stop")
    assert answer.object == "text_completion"
    assert answer.system_fingerprint == "fp_test"
    assert answer.usage is not None
    prompt = served.tokenizer.encode("Say", special=True, begin=True)
    answered = len(served.tokenizer.encode("Hello, world"))
    assert served.engine.requests[0].prompt == prompt
    assert answer.usage.prompt_tokens == len(prompt)
    assert answer.usage.completion_tokens == answered
    assert answer.usage.total_tokens == len(prompt) + answered
    assert answer.usage.prompt_tokens_details is not None
    assert answer.usage.prompt_tokens_details.cached_tokens == len(prompt) // 2


def test_sixteen_tokens_where_no_number_is_said(served: Served) -> None:
    served.says("a" * 400)
    answer = served.openai.completions.create(model="tiny", prompt="Say")
    assert answer.choices[0].finish_reason == "length"
    assert answer.usage and answer.usage.completion_tokens == 16


def test_every_form_of_prompt(served: Served) -> None:
    create = served.openai.completions.create
    create(model="tiny", prompt=["one", "two"])
    create(model="tiny", prompt=[5, 6, 7])
    answer = create(model="tiny", prompt=[[5, 6], [7]], n=2)
    prompts = [list(request.prompt) for request in served.engine.requests]
    encode = served.tokenizer.encode
    assert prompts[:2] == [encode("one", begin=True), encode("two", begin=True)]
    assert prompts[2:] == [[5, 6, 7], [5, 6], [5, 6], [7], [7]]
    assert [choice.index for choice in answer.choices] == [0, 1, 2, 3]
    # Each prompt counts once, however many answers it gets.
    assert answer.usage and answer.usage.prompt_tokens == 3


def test_echo_repeats_the_prompt(served: Served) -> None:
    create = served.openai.completions.create
    answer = create(model="tiny", prompt=["A", "B"], echo=True, n=2)
    assert [choice.text[0] for choice in answer.choices] == list("AABB")
    tokens = served.tokenizer.encode("Say")
    assert create(model="tiny", prompt=tokens, echo=True).choices[0].text == "SayHello, world"
    streamed = create(model="tiny", prompt="Say", echo=True, stream=True)
    assert "".join(chunk.choices[0].text for chunk in streamed) == "SayHello, world"


def test_a_stream_is_the_same_text(served: Served) -> None:
    chunks = list(
        served.openai.completions.create(
            model="tiny",
            prompt="Say",
            max_tokens=50,
            stream=True,
            stream_options={"include_usage": True},
        )
    )
    *pieces, last = chunks
    assert "".join(chunk.choices[0].text for chunk in pieces) == "Hello, world"
    assert [chunk.choices[0].finish_reason for chunk in pieces] == [None] * (len(pieces) - 1) + [
        "stop"
    ]
    assert last.choices == [] and last.usage is not None
    assert last.usage.completion_tokens == len(pieces) - 1
    assert all(chunk.usage is None for chunk in pieces)
    assert len({chunk.id for chunk in chunks}) == 1


def test_stop_strings_never_show(served: Served) -> None:
    create = served.openai.completions.create
    stops: list[str | list[str]] = ["o, w", ["xyz", "world", "llo"], ["Hello, world"], [", world!"]]
    expected = ["Hell", "He", "", "Hello, world"]
    for stop, text in zip(stops, expected, strict=True):
        answer = create(model="tiny", prompt="Say", stop=stop).choices[0]
        assert (answer.text, answer.finish_reason) == (text, "stop")
        chunks = create(model="tiny", prompt="Say", stop=stop, stream=True)
        assert "".join(chunk.choices[0].text for chunk in chunks) == text


def test_a_stop_string_frees_the_slot(served: Served) -> None:
    served.engine.script = lambda request: iter(served.tokenizer.encode("ab")[0:1] * 10**6)
    create = served.openai.completions.create
    assert create(model="tiny", prompt="Say", stop="aaa", max_tokens=400).choices[0].text == ""
    assert served.idle()


def test_half_a_character_is_never_shown(served: Served) -> None:
    served.says("naïve 日本語 🦙!")
    chunks = served.openai.completions.create(
        model="tiny", prompt="Say", max_tokens=99, stream=True
    )
    pieces = [chunk.choices[0].text for chunk in chunks]
    assert "".join(pieces) == "naïve 日本語 🦙!"
    assert "\ufffd" not in "".join(pieces)


def test_logprobs(served: Served) -> None:
    create = served.openai.completions.create
    found = create(model="tiny", prompt="Say", logprobs=2).choices[0].logprobs
    assert found and found.tokens and found.token_logprobs and found.top_logprobs
    assert "".join(found.tokens) == "Hello, world"
    assert set(found.token_logprobs) == {-0.5}
    assert all(len(top) == 2 for top in found.top_logprobs)
    offsets = [sum(map(len, found.tokens[:place])) for place in range(len(found.tokens))]
    assert found.text_offset == offsets

    stream = create(model="tiny", prompt="Say", logprobs=0, stream=True)
    parts = [chunk.choices[0].logprobs for chunk in stream]
    assert [token for part in parts if part for token in part.tokens or []] == found.tokens


def test_logprobs_end_where_the_text_does(served: Served) -> None:
    answer = served.openai.completions.create(
        model="tiny", prompt="Say", logprobs=0, stop=", "
    ).choices[0]
    assert answer.logprobs and answer.logprobs.tokens
    assert "".join(answer.logprobs.tokens) == answer.text == "Hello"


def test_sampling_reaches_the_engine(served: Served) -> None:
    served.openai.completions.create(
        model="tiny",
        prompt="Say",
        n=2,
        seed=7,
        temperature=0.5,
        top_p=0.9,
        presence_penalty=1,
        frequency_penalty=-1,
        logit_bias={"3": -100},
        extra_body={"top_k": 5, "min_p": 0.1, "repetition_penalty": 1.1, "ignore_eos": True},
    )
    one, other = served.engine.requests
    assert (one.sampling.seed, other.sampling.seed) == (7, 8)
    assert one.sampling.temperature == 0.5
    assert (one.sampling.top_p, one.sampling.top_k, one.sampling.min_p) == (0.9, 5, 0.1)
    assert one.sampling.presence_penalty == 1
    assert one.sampling.frequency_penalty == -1
    assert one.sampling.repetition_penalty == 1.1
    assert one.sampling.logit_bias == {3: -100}
    assert one.stop_tokens == frozenset()


def test_null_is_as_good_as_nothing(served: Served) -> None:
    fields = ["n", "stop", "seed", "temperature", "top_p", "max_tokens", "stream", "logit_bias"]
    answer = served.http.post(
        "/v1/completions", json={"prompt": "Say", **dict.fromkeys(fields), "unknown": [1]}
    )
    assert answer.status_code == 200
    (request,) = served.engine.requests
    assert request.sampling.temperature == 1.0
    assert request.stop_tokens == served.tokenizer.stop_tokens


@pytest.mark.parametrize(
    ("param", "fields"),
    [
        ("suffix", {"suffix": "end"}),
        ("best_of", {"best_of": 3}),
        ("echo", {"echo": True, "logprobs": 1}),
        ("logprobs", {"logprobs": 6}),
        ("prompt", {"prompt": ""}),
        ("prompt", {"prompt": []}),
        ("prompt", {"prompt": [[]]}),
        ("prompt", {"prompt": [512]}),
        ("prompt", {"prompt": [-1]}),
        ("prompt", {"prompt": ["a", 1]}),
        ("prompt", {"prompt": "x" * 100_000}),
        ("max_tokens", {"max_tokens": 0}),
        ("max_tokens", {"max_tokens": 10**9}),
        ("max_tokens", {"max_tokens": "5"}),
        ("n", {"n": 10**9}),
        ("n", {"n": 100}),
        ("prompt", {"prompt": ["a"] * 100}),
        ("temperature", {"temperature": 2.1}),
        ("temperature", {"temperature": True}),
        ("top_p", {"top_p": 0}),
        ("stop", {"stop": ["a", "b", "c", "d", "e"]}),
        ("stop", {"stop": ""}),
        ("stop", {"stop": [1]}),
        ("logit_bias", {"logit_bias": {"512": 1}}),
        ("logit_bias", {"logit_bias": {"-1": 1}}),
        ("logit_bias.5", {"logit_bias": {"5": 101}}),
    ],
)
def test_what_cannot_be_followed(served: Served, param: str, fields: dict[str, object]) -> None:
    with pytest.raises(openai.BadRequestError) as raised:
        served.openai.post("/completions", body={"prompt": "Say", **fields}, cast_to=httpx.Response)
    assert raised.value.param == param
    assert raised.value.type == "invalid_request_error"
    assert raised.value.code
    assert param in raised.value.message
    assert served.engine.requests == []


def test_limits_are_named(served: Served) -> None:
    create = served.openai.completions.create
    with pytest.raises(openai.BadRequestError, match="the context is 512 tokens") as raised:
        create(model="tiny", prompt=[5] * 600)
    assert raised.value.code == "context_length_exceeded"
    with pytest.raises(openai.BadRequestError, match="at most 502 remain") as raised:
        create(model="tiny", prompt=[5] * 10, max_tokens=503)
    assert raised.value.code == "context_length_exceeded"
    with pytest.raises(openai.BadRequestError, match="one request gets at most 64"):
        create(model="tiny", prompt="Say", n=65)


def test_many_prompts_wait_for_their_turn() -> None:
    with serve(FakeEngine(max_running=2)) as served:
        served.says("yes")
        answer = served.openai.completions.create(model="tiny", prompt=["a"] * 20)
        assert [choice.text for choice in answer.choices] == ["yes"] * 20
