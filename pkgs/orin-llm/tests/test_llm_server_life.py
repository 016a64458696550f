"""The life of a server: loading, ready, answering, leaving clients, draining, the end."""

import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import openai
import pytest

from fake_engine import FakeEngine
from fake_model import model
from orin_core.cli import UserError
from orin_llm.server import keys, listen
from orin_llm.server.app import create_app
from orin_llm.server.settings import Settings
from served import busy, running, serve, until

LONG = {"prompt": "a", "max_tokens": 100_000, "ignore_eos": True}
PROGRAM = Path(__file__).parent / "fake_llm_server.py"


def endless(step: float = 0.005, **more: float) -> FakeEngine:
    return FakeEngine(step=step, context=10**6, **more)  # type: ignore[arg-type]


def test_while_the_model_is_loading() -> None:
    loaded = threading.Event()
    engine = FakeEngine()

    def load() -> object:
        assert loaded.wait(10)
        return model(engine)

    app = create_app(load, "tiny", Settings())  # type: ignore[arg-type]
    with running(app) as url, httpx.Client(base_url=url) as http:
        health = http.get("/health")
        assert (health.status_code, health.json()) == (503, {"status": "loading"})
        assert health.headers["retry-after"]
        for path in ("models", "models/tiny", "none"):
            answer = http.get(f"/v1/{path}")
            assert answer.status_code == 503
            assert answer.headers["retry-after"]
            assert answer.json()["error"]["code"] == "model_loading"
        assert http.post("/v1/completions", json={"prompt": "a"}).status_code == 503
        assert http.get("/metrics").status_code == 200
        loaded.set()
        assert until(lambda: http.get("/health").status_code == 200)
        assert http.get("/health").json() == {"status": "ok"}
        assert http.get("/v1/models").status_code == 200
    engine.close()


def test_a_client_that_leaves_a_stream_frees_its_slot() -> None:
    with serve(endless()) as served:
        stream = served.openai.completions.create(
            model="tiny", prompt="a", max_tokens=100_000, stream=True
        )
        next(iter(stream))
        assert busy(served.engine) == 1
        before = served.engine.stats().generated_tokens
        stream.close()
        assert served.idle()
        # At 5 ms a token: what the network and two threads take, and no more.
        assert served.engine.stats().generated_tokens - before < 20


@pytest.mark.parametrize("prefill", [0.0, 0.3])
def test_a_client_that_leaves_without_streaming_frees_its_slot(prefill: float) -> None:
    with serve(endless(prefill=prefill)) as served:
        with pytest.raises(httpx.ReadTimeout):
            served.http.post("/v1/completions", json=LONG, timeout=0.2)
        assert served.idle()


def test_all_answers_of_a_client_that_leaves_end() -> None:
    with serve(endless(max_running=2)) as served:
        with pytest.raises(httpx.ReadTimeout):
            served.http.post("/v1/completions", json={**LONG, "n": 5}, timeout=0.2)
        assert served.idle()


def test_comments_come_while_there_is_nothing_to_say() -> None:
    with serve(FakeEngine(prefill=0.5), Settings(keep_alive=0.1)) as served:
        body = {"prompt": "a", "max_tokens": 3, "stream": True, "ignore_eos": True}
        with served.http.stream("POST", "/v1/completions", json=body) as answer:
            assert answer.headers["content-type"].startswith("text/event-stream")
            lines = [line for line in answer.iter_lines() if line]
        comments = [line for line in lines if line.startswith(":")]
        assert 2 <= len(comments) <= 9
        assert lines[:2] == comments[:2] == [": keep-alive"] * 2
        assert lines[-1] == "data: [DONE]"
        stream = served.openai.completions.create(model="tiny", prompt="a", stream=True)
        assert len(list(stream)) == 17


def test_a_deadline() -> None:
    with serve(endless(), Settings(deadline=0.3)) as served:
        begun = time.monotonic()
        answer = served.http.post("/v1/completions", json=LONG)
        assert 0.3 <= time.monotonic() - begun < 3
        assert answer.status_code == 504
        assert answer.json()["error"]["code"] == "deadline_exceeded"
        assert served.idle()
        stream = served.openai.completions.create(
            model="tiny", prompt="a", max_tokens=100_000, stream=True
        )
        with pytest.raises(openai.APIError, match="takes longer than it may"):
            list(stream)
        assert served.idle()


def test_a_deadline_in_a_stream_ends_it_properly() -> None:
    with serve(endless(), Settings(deadline=0.3)) as served:
        with served.http.stream("POST", "/v1/completions", json={**LONG, "stream": True}) as answer:
            *pieces, error, done = [line for line in answer.iter_lines() if line]
        assert len(pieces) > 10
        assert '"code":"deadline_exceeded"' in error
        assert done == "data: [DONE]"


def test_answers_in_time_know_no_deadline() -> None:
    with serve(settings=Settings(deadline=5.0)) as served:
        served.says("in time")
        assert (
            served.openai.completions.create(model="tiny", prompt="a").choices[0].text == "in time"
        )


def test_one_log_line_a_request(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO", logger="orin_llm.server")
    with serve() as served:
        served.says("the answer")
        answer = served.http.post("/v1/completions", json={"prompt": "the question"})
        served.http.get("/v1/%0A%0Dforged")
        served.http.get("/health")
        served.http.get("/metrics")
        assert until(lambda: sum("/v1/" in line for line in caplog.messages) == 2)
    first, second = [line for line in caplog.messages if "/v1/" in line]
    assert answer.headers["x-request-id"] in first
    usage = answer.json()["usage"]
    tokens = f"{usage['prompt_tokens']} tokens in ({usage['prompt_tokens'] // 2} cached), "
    assert f"{tokens}{usage['completion_tokens']} out" in first
    assert " 127.0.0.1 POST /v1/completions 200: stop, " in first
    assert "question" not in caplog.text and "the answer" not in caplog.text
    assert r"GET /v1/\n\rforged 404" in second
    assert not any("/health" in line or "/metrics" in line for line in caplog.messages)


class Process:
    """The command as a process, and what it has said on stderr."""

    def __init__(self, process: subprocess.Popen[str], url: str, said: list[str]) -> None:
        self.process, self.url, self.said = process, url, said

    def ready(self) -> bool:
        return until(lambda: httpx.get(f"{self.url}/health").status_code == 200, 20)


@contextmanager
def command(tmp_path: Path, *options: str, **environment: str) -> Iterator[Process]:
    file = tmp_path / "model.gguf"
    file.touch()
    process = subprocess.Popen(
        [sys.executable, PROGRAM, "--model", file, "--port", "0", "--device", "cpu", *options],
        env={**os.environ, "DEV": "CPU", **environment},
        stderr=subprocess.PIPE,
        text=True,
    )
    said: list[str] = []

    def listen_to() -> None:
        assert process.stderr
        with process.stderr:
            said.extend(iter(process.stderr.readline, ""))

    reader = threading.Thread(target=listen_to)
    assert process.stderr
    first = process.stderr.readline()
    reader.start()
    try:
        found = re.search(r"listening on (http://\S+)", first)
        assert found, first
        yield Process(process, found[1], said)
    finally:
        process.kill()
        process.wait()
        reader.join()


@contextmanager
def systemd(tmp_path: Path) -> Iterator[tuple[str, socket.socket]]:
    """A service manager's socket."""
    address = str(tmp_path / "notify")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(address)
        manager.settimeout(10)
        yield address, manager


def test_sigterm_drains(tmp_path: Path) -> None:
    with (
        systemd(tmp_path) as (address, manager),
        command(tmp_path, FAKE_STEP="0.01", NOTIFY_SOCKET=address) as running,
    ):
        assert running.ready()
        assert manager.recv(100) == b"READY=1"
        body = {"prompt": [1], "max_tokens": 100, "stream": True, "ignore_eos": True}
        with httpx.stream("POST", f"{running.url}/v1/completions", json=body) as answer:
            lines = answer.iter_lines()
            next(lines)
            running.process.send_signal(signal.SIGTERM)
            assert manager.recv(100) == b"STOPPING=1"
            time.sleep(0.3)
            with pytest.raises(httpx.ConnectError):
                httpx.get(f"{running.url}/health")
            rest = [line for line in lines if line]
        assert rest[-1] == "data: [DONE]"
        assert '"finish_reason":"length"' in rest[-2]
        assert running.process.wait(5) == 0


def test_the_grace_time_ends(tmp_path: Path) -> None:
    with command(tmp_path, "--grace", "0.5", "--context", "100000", FAKE_STEP="0.01") as running:
        assert running.ready()
        body = {**LONG, "max_tokens": 90_000, "stream": True}
        with httpx.stream("POST", f"{running.url}/v1/completions", json=body) as answer:
            lines = answer.iter_lines()
            next(lines)
            running.process.send_signal(signal.SIGTERM)
            begun = time.monotonic()
            *_, error, done = [line for line in lines if line]
        assert 0.4 < time.monotonic() - begun < 3
        assert '"code":"model_draining"' in error
        assert done == "data: [DONE]"
        assert running.process.wait(5) == 0


def test_a_second_sigterm_ends_at_once(tmp_path: Path) -> None:
    with command(tmp_path, "--context", "100000", FAKE_STEP="0.01") as running:
        assert running.ready()
        body = {**LONG, "max_tokens": 90_000, "stream": True}
        with httpx.stream("POST", f"{running.url}/v1/completions", json=body) as answer:
            lines = answer.iter_lines()
            next(lines)
            running.process.send_signal(signal.SIGTERM)
            time.sleep(0.3)
            assert running.process.poll() is None
            running.process.send_signal(signal.SIGTERM)
            assert running.process.wait(2) == 0
            with pytest.raises(httpx.RemoteProtocolError):
                list(lines)


def test_sigterm_while_loading(tmp_path: Path) -> None:
    with command(tmp_path, FAKE_LOAD="60") as running:
        assert until(lambda: httpx.get(f"{running.url}/health").status_code == 503)
        running.process.send_signal(signal.SIGTERM)
        assert running.process.wait(5) == 0


def test_interrupted(tmp_path: Path) -> None:
    with command(tmp_path) as running:
        assert running.ready()
        running.process.send_signal(signal.SIGINT)
        assert running.process.wait(5) == 130
    assert running.said[-1] == "llm-server: stopped\n"


def test_a_file_that_cannot_be_loaded(tmp_path: Path) -> None:
    with command(tmp_path, FAKE_ERROR="no GGUF file: download it again") as running:
        assert running.process.wait(10) == 2
    (line,) = running.said
    assert line.endswith("model.gguf: no GGUF file: download it again\n")


def test_a_bug_in_loading_keeps_its_traceback(tmp_path: Path) -> None:
    with command(tmp_path, FAKE_BUG="shapes differ") as running:
        assert running.process.wait(10) == 1
    assert "Traceback (most recent call last):\n" in running.said
    assert running.said[-1] == "RuntimeError: shapes differ\n"


def refused(tmp_path: Path, *options: str) -> str:
    """The one line that the command says."""
    file = tmp_path / "model.gguf"
    file.touch()
    done = subprocess.run(
        [sys.executable, PROGRAM, "--model", file, "--device", "cpu", *options],
        capture_output=True,
        text=True,
        timeout=30,
    )
    assert (done.returncode, done.stdout) == (2, "")
    (line,) = done.stderr.splitlines()
    return line


def test_an_occupied_port(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        line = refused(tmp_path, "--port", port)
    assert line.startswith(f"llm-server: --host 127.0.0.1 --port {port}: Address already in use")


def test_hosts_that_are_not_ours() -> None:
    for host in ("no-such-host.invalid", "192.0.2.1", "a..b", "x" * 300):
        with pytest.raises(UserError, match=re.escape(f"--host {host}")):
            listen.bind(host, 0)


def test_an_address_of_version_6() -> None:
    try:
        bound = listen.bind("::1", 0)
    except UserError:
        pytest.skip("no IPv6 here")
    assert listen.url(bound) == f"http://[::1]:{bound.getsockname()[1]}"
    bound.close()


def test_key_files(tmp_path: Path) -> None:
    file = tmp_path / "keys"
    with pytest.raises(UserError, match=r"--api-key-file .*keys: No such file"):
        keys.read_keys(file)
    file.write_text("# mine\n\n  \n")
    with pytest.raises(UserError, match="no key in it"):
        keys.read_keys(file)
    file.write_text("# mine\none\n\n  two \r\n")
    assert keys.read_keys(file) == [b"one", b"two"]
    with pytest.raises(UserError, match="Is a directory"):
        keys.read_keys(tmp_path)


def test_metrics(tmp_path: Path) -> None:
    with serve() as served:
        served.says("the answer")
        prompts = [[1] * 10, [2] * 6]
        served.openai.completions.create(model="tiny", prompt=prompts, max_tokens=50)
        served.openai.completions.create(model="tiny", prompt="a", max_tokens=1)
        lines = set(served.http.get("/metrics").text.splitlines())
        prompt = 16 + len(served.tokenizer.encode("a", begin=True))
        answered = 2 * len(served.tokenizer.encode("the answer")) + 1
    for name, value in {
        "num_requests_running": 0,
        "num_requests_waiting": 0,
        "kv_cache_usage_perc": 0,
        "prompt_tokens_total": prompt,
        "generation_tokens_total": answered,
        "prefix_cache_queries_total": prompt,
        "prefix_cache_hits_total": 8 + (prompt - 16) // 2,
        "num_preemptions_total": 0,
        "time_to_first_token_seconds_count": 3,
        "inter_token_latency_seconds_count": answered - 3,
        "request_time_per_output_token_seconds_count": 2,
        "e2e_request_latency_seconds_count": 2,
    }.items():
        assert f'vllm:{name}{{model_name="tiny"}} {float(value)}' in lines
    for reason, value in {"stop": 2, "length": 1}.items():
        labels = f'finished_reason="{reason}",model_name="tiny"'
        assert f"vllm:request_success_total{{{labels}}} {float(value)}" in lines
