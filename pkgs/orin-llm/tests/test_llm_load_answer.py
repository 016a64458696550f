"""What counts as a token, as an end and as an error, in answers of a real server."""

import asyncio
from typing import Any

import pytest

from fake_openai_server import Behaviour, start
from orin_llm.load.answer import Answer, Endpoint, GoneError, Target, ask
from orin_llm.load.server import open_session

BOTH = pytest.mark.parametrize("endpoint", ["chat", "completions"])


def get(url: str, endpoint: Endpoint = "chat", stream: bool = True, **more: Any) -> Answer:
    async def once() -> Answer:
        async with open_session(None) as session:
            prompt = {"messages": [{"role": "user", "content": "a b c"}], "prompt": "a b c"}
            options = {"stream": stream, "stream_options": {"include_usage": True}}
            return await ask(
                Target(session, url, endpoint, stream),
                {"max_tokens": 6, **prompt, **options},
                **more,
            )

    return asyncio.run(once())


@BOTH
def test_tokens_are_chunks_with_output(endpoint: Endpoint) -> None:
    with start() as server:
        answer = get(server.url, endpoint)
    assert answer.error is None
    assert len(answer.chunks) == 6
    assert (answer.prompt_tokens, answer.output_tokens) == (12, 6)
    assert answer.ended >= answer.chunks[-1]


def test_the_role_alone_is_no_token() -> None:
    with start(Behaviour(role_at_once=True, first=0.3)) as server:
        answer = get(server.url)
    assert answer.chunks[0] - answer.sent >= 0.3
    assert len(answer.chunks) == 6


def test_chunks_of_several_tokens_and_packets_of_half_a_chunk() -> None:
    with start(Behaviour(bundles=(3, 1), split=True)) as server:
        answer = get(server.url)
    assert answer.error is None
    assert len(answer.chunks) == 3  # of 3, 1 and 2
    assert answer.output_tokens == 6


@BOTH
def test_a_whole_answer(endpoint: Endpoint) -> None:
    with start(Behaviour(first=0.1, gap=0.02)) as server:
        answer = get(server.url, endpoint, stream=False)
    assert answer.error is None
    assert (answer.chunks, answer.output_tokens) == ([], 6)
    assert answer.ended - answer.sent >= 0.1 + 5 * 0.02


@pytest.mark.parametrize(
    ("behaviour", "error", "detail"),
    [
        (Behaviour(fail=(1, 429)), "HTTP 429", "no room for more"),
        (Behaviour(fail=(1, 500)), "HTTP 500", "no room for more"),
        (Behaviour(break_every=1), "broken off", ""),
        (Behaviour(break_every=1, break_how="quiet"), "broken off", "without finish_reason"),
        (Behaviour(break_every=1, break_how="error"), "error in the stream", "the engine failed"),
        (Behaviour(break_every=1, break_how="nonsense"), "not OpenAI's form", "{broken"),
        (Behaviour(die_at=1), "broken off", ""),
    ],
)
def test_errors_have_a_kind_and_the_servers_words(
    behaviour: Behaviour, error: str, detail: str
) -> None:
    with start(behaviour) as server:
        answer = get(server.url)
    assert answer.error == error
    assert detail in answer.detail


def test_silence_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("orin_llm.load.server.SILENCE", 0.2)
    with start(Behaviour(first=30)) as server:
        assert get(server.url).error == "timed out"


def test_nothing_there_is_no_answer() -> None:
    with start() as server:
        url = server.url
    with pytest.raises(GoneError, match="refused"):
        get(url)


def test_latency_counts_from_when_the_request_was_due() -> None:
    with start() as server:
        answer = get(server.url, due=0.0)
    assert answer.due == 0.0
    assert answer.sent > 0.0


async def _read(*chunks: bytes) -> Answer:
    """The answer of a server that sends exactly these bytes as a stream."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nconnection: close\r\n\r\n")
        for chunk in chunks:
            writer.write(chunk)
            await writer.drain()
        writer.close()

    listener = await asyncio.start_server(serve, "127.0.0.1", 0)
    port = listener.sockets[0].getsockname()[1]
    async with listener, open_session(None) as session:
        return await ask(Target(session, f"http://127.0.0.1:{port}", "chat", True), {})


def event(choice: str, rest: str = "") -> bytes:
    return f'data: {{"choices": [{choice}]{rest}}}\r\n\r\n'.encode()


@pytest.mark.parametrize(
    ("choice", "tokens"),
    [
        ('{"delta": {"role": "assistant", "content": null}}', 0),
        ('{"delta": {"role": "assistant", "content": "a"}}', 1),
        ('{"delta": {"content": ""}}', 1),  # half a letter is kept back
        ('{"delta": {"reasoning_content": "a"}}', 1),
        ('{"delta": {"tool_calls": [{"index": 0}]}}', 1),
        ('{"text": ""}', 1),
        ('{"text": "", "finish_reason": "stop"}', 0),
        ('{"text": "a", "finish_reason": "stop"}', 1),
    ],
)
def test_what_a_chunk_counts_for(choice: str, tokens: int) -> None:
    first = event('{"delta": {"content": "x"}}')
    answer = asyncio.run(_read(first, event(choice), b"data: [DONE]\r\n\r\n"))
    assert answer.error is None
    assert len(answer.chunks) == 1 + tokens


def test_an_answer_that_ends_at_once_has_its_first_token_at_the_end() -> None:
    answer = asyncio.run(_read(event('{"delta": {}, "finish_reason": "stop"}'), b"data:[DONE]"))
    assert answer.error is None
    assert answer.chunks == [answer.ended]


def test_usage_may_come_with_the_last_choice() -> None:
    usage = ', "usage": {"prompt_tokens": 3, "completion_tokens": 8}'
    answer = asyncio.run(
        _read(b": wait\n\n", event('{"delta": {"content": "x"}, "finish_reason": "stop"}', usage))
    )
    assert (answer.error, answer.prompt_tokens, answer.output_tokens) == (None, 3, 8)


@pytest.mark.parametrize("data", [b"", b"data: [DONE]\n\n", b": hello\n\n"])
def test_no_choice_is_no_answer(data: bytes) -> None:
    assert asyncio.run(_read(data)).error in ("empty", "broken off")


@pytest.mark.parametrize("data", [b"[]", b"7", b"{}", b'{"choices": 3}', b'{"choices": [3]}'])
def test_other_forms_are_errors(data: bytes) -> None:
    assert asyncio.run(_read(b"data: " + data + b"\n\n")).error == "not OpenAI's form"
