"""What the server refuses, and how it says so: always in OpenAI's form, and it stays up."""

import json
import socket
import time
from collections.abc import Iterator

import httpx
import openai
import pytest

from fake_engine import FakeEngine
from fake_model import model, text
from orin_llm.server.settings import Settings
from served import Served, serve, until

LIMIT = 100_000
JSON = {"Content-Type": "application/json"}


@pytest.fixture(scope="module")
def served() -> Iterator[Served]:
    with serve(FakeEngine(context=100), Settings(body_limit=LIMIT)) as served:
        served.says("Hello")
        yield served


@pytest.fixture(autouse=True)
def stays_up(served: Served) -> Iterator[None]:
    yield
    answer = served.openai.completions.create(model="tiny", prompt="Say", max_tokens=9)
    assert answer.choices[0].text == "Hello"


def error(answer: httpx.Response, status: int) -> dict[str, str | None]:
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/json"
    content = answer.json()
    assert list(content) == ["error"]
    assert set(content["error"]) == {"message", "type", "param", "code"}
    found: dict[str, str | None] = content["error"]
    return found


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"[]",
        b"null",
        b'"text"',
        b"\xff\xfe",
        b'{"prompt": "a"} trailing',
        b'{"prompt": NaN}',
        b'{"prompt": "\\ud800"}',
        b"[" * 90_000,
        b'{"a":' * 15_000,
        b'{"prompt": "a", "logit_bias": ' + b'{"a":' * 300 + b"1" + b"}" * 300 + b"}",
    ],
)
def test_no_json(served: Served, body: bytes) -> None:
    found = error(served.http.post("/v1/completions", content=body, headers=JSON), 400)
    assert found["code"] == "invalid_json"
    assert found["type"] == "invalid_request_error"


def test_infinity_is_no_temperature(served: Served) -> None:
    body = b'{"prompt": "a", "temperature": 1e999}'
    found = error(served.http.post("/v1/completions", content=body, headers=JSON), 400)
    assert found["param"] == "temperature"


def test_only_json_is_read(served: Served) -> None:
    content = json.dumps({"prompt": "a"})
    for kind in ("text/plain", "application/x-www-form-urlencoded"):
        answer = served.http.post(
            "/v1/completions", content=content, headers={"Content-Type": kind}
        )
        assert "application/json" in (error(answer, 400)["message"] or "")


def test_missing_fields_are_named(served: Served) -> None:
    for path, param in [
        ("chat/completions", "messages"),
        ("completions", "prompt"),
        ("embeddings", "input"),
    ]:
        found = error(served.http.post(f"/v1/{path}", json={}), 400)
        assert (found["param"], found["code"]) == (param, "missing_required_parameter")


def test_unknown_models(served: Served) -> None:
    body = {
        "model": "gpt-5",
        "prompt": "a",
        "input": "a",
        "messages": [{"role": "user", "content": ""}],
    }
    for path in ("chat/completions", "completions", "embeddings"):
        found = error(served.http.post(f"/v1/{path}", json=body), 404)
        assert (found["code"], found["param"]) == ("model_not_found", "model")
        assert "tiny" in (found["message"] or "")
    with pytest.raises(openai.NotFoundError):
        served.openai.models.retrieve("gpt-5")


def test_unknown_urls_and_methods(served: Served) -> None:
    assert error(served.http.get("/v1/assistants"), 404)["code"] == "unknown_url"
    assert error(served.http.get("/"), 404)["code"] == "unknown_url"
    answer = served.http.get("/v1/completions")
    assert error(answer, 405)["code"] == "method_not_allowed"
    assert answer.headers["allow"] == "POST"


@pytest.mark.parametrize("chunked", [False, True])
def test_a_body_that_is_too_long(served: Served, chunked: bool) -> None:
    """100 MB, of which next to nothing may be held."""
    piece, count = b" " * 2**20, 100

    def pieces() -> Iterator[bytes]:
        for _ in range(count):
            yield piece

    headers = JSON if chunked else {**JSON, "Content-Length": str(count * len(piece))}
    before = resident()
    answer = served.http.post("/v1/completions", content=pieces(), headers=headers)
    assert error(answer, 413)["code"] == "request_too_large"
    assert str(LIMIT) in answer.text
    assert resident() - before < 30e6


def resident() -> int:
    """Bytes that this process, and the server in it, hold."""
    with open("/proc/self/statm") as file:  # noqa: PTH123
        return int(file.read().split()[1]) * 4096


def test_a_body_without_end_is_cut_off(served: Served) -> None:
    host, port = served.url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), timeout=10) as client:
        client.sendall(
            b"POST /v1/completions HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
            b"Transfer-Encoding: chunked\r\n\r\n"
        )
        begun = time.monotonic()
        with pytest.raises(OSError, match=r"reset|[Bb]roken"):
            while time.monotonic() < begun + 8:
                client.sendall(b"10000\r\n" + b" " * 0x10000 + b"\r\n")


def test_a_body_of_the_longest_length(served: Served) -> None:
    start = b'{"prompt": "a"'
    body = start + b" " * (LIMIT - len(start) - 1) + b"}"
    assert served.http.post("/v1/completions", content=body, headers=JSON).status_code == 200
    error(served.http.post("/v1/completions", content=body + b" ", headers=JSON), 413)


def test_bytes_that_are_no_http(served: Served) -> None:
    host, port = served.url.removeprefix("http://").split(":")
    for sent in (b"\x16\x03\x01 hello\r\n\r\n", b"GET /\r\n\r\n", b"POST"):
        with socket.create_connection((host, int(port)), timeout=10) as client:
            client.sendall(sent)
            client.shutdown(socket.SHUT_WR)
            answer = b"".join(iter(lambda: client.recv(4096), b""))
            assert answer == b"" or answer.startswith(b"HTTP/1.1 400 ")


def test_a_full_queue() -> None:
    engine = FakeEngine(step=0.01, max_running=1, max_waiting=1, context=10**6)
    with serve(engine, Settings(queue=1)) as served:
        body = {"prompt": "a", "max_tokens": 10_000, "stream": True}
        with served.http.stream("POST", "/v1/completions", json=body) as running:
            assert until(lambda: engine.stats().running == 1)
            with served.http.stream("POST", "/v1/completions", json=body) as waiting:
                assert running.status_code == waiting.status_code == 200
                answer = served.http.post("/v1/completions", json=body)
                assert error(answer, 429)["code"] == "rate_limit_exceeded"
                assert int(answer.headers["retry-after"]) >= 1
                with pytest.raises(openai.RateLimitError):
                    served.openai.completions.create(model="tiny", prompt="a")
        assert served.idle()


def test_a_bug_tells_nothing(caplog: pytest.LogCaptureFixture) -> None:
    def broken(request: object) -> list[int]:
        raise RuntimeError("the secret of the house")

    with serve(FakeEngine(broken)) as served:
        body = {"prompt": "a"}
        answer = served.http.post("/v1/completions", json=body)
        assert error(answer, 500)["code"] == "internal_error"
        assert "secret" not in answer.text
        assert until(lambda: "the secret of the house" in caplog.text)
        assert served.http.get("/health").status_code == 200


def test_an_engine_that_fails_in_a_stream() -> None:
    engine = FakeEngine(step=0.005, context=10**6)
    with serve(engine) as served:
        stream = served.openai.completions.create(
            model="tiny", prompt="a", max_tokens=10_000, stream=True
        )
        next(iter(stream))
        engine.fail("CUDA error 700 at line 12")
        with pytest.raises(openai.APIError, match="stopped answering") as raised:
            list(stream)
        assert "CUDA" not in str(raised.value)
        assert error(served.http.post("/v1/completions", json={"prompt": "a"}), 503)
        health = served.http.get("/health")
        assert (health.status_code, health.json()) == (503, {"status": "failed"})


def test_keys() -> None:
    keys = [b"first-key", b"second-key"]
    with serve(settings=Settings(api_keys=keys)) as served:
        served.says("yes")
        for key in ("none", "first-ke", "first-key2", "first-key second-key"):
            answer = served.http.get("/v1/models", headers={"Authorization": f"Bearer {key}"})
            assert error(answer, 401)["code"] == "invalid_api_key"
            assert answer.headers["www-authenticate"] == "Bearer"
        error(served.http.get("/v1/models"), 401)
        error(served.http.post("/v1/none"), 401)
        error(served.http.get("/v1/models", headers={"Authorization": "Basic first-key"}), 401)
        with pytest.raises(openai.AuthenticationError):
            served.openai.completions.create(model="tiny", prompt="a")
        for key in ("first-key", "second-key"):
            client = served.openai.with_options(api_key=key)
            assert client.completions.create(model="tiny", prompt="a").choices[0].text == "yes"
        assert served.http.get("/health").status_code == 200
        assert served.http.get("/metrics").status_code == 200


def test_cors() -> None:
    origin = "https://chat.example"
    preflight = {
        "Origin": origin,
        "Access-Control-Request-Method": "POST",
        "Access-Control-Request-Headers": "authorization,content-type",
    }
    settings = Settings(cors_origins=[origin], api_keys=[b"key"])
    with serve(settings=settings) as served:
        asked = served.http.options("/v1/chat/completions", headers=preflight)
        assert asked.status_code == 200
        assert asked.headers["access-control-allow-origin"] == origin
        assert "authorization" in asked.headers["access-control-allow-headers"]
        other = served.http.options(
            "/v1/chat/completions", headers={**preflight, "Origin": "https://evil.example"}
        )
        assert "access-control-allow-origin" not in other.headers
        # A page may read why it was refused.
        refused = served.http.get("/v1/models", headers={"Origin": origin})
        assert refused.status_code == 401
        assert refused.headers["access-control-allow-origin"] == origin


def test_no_cors_without_origins(served: Served) -> None:
    answer = served.http.get("/v1/models", headers={"Origin": "https://chat.example"})
    assert "access-control-allow-origin" not in answer.headers


def test_model_of_the_tests_is_small() -> None:
    assert model(FakeEngine()).longest_token < 100
    assert text()[0].vocab == 512
