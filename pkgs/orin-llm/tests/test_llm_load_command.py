"""bench-llm as its users meet it: tables, files, and one line for every mistake."""

import contextlib
import json
import os
import pty
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from fake_openai_server import Behaviour, Running, start
from orin_core.cli import run
from orin_llm.load import command, mlc, vllm
from orin_llm.load.command import make_app
from orin_llm.load.preset import Candidate, Preset
from orin_llm.load.server import Server, parse_server

SMALL = ["--prompt-tokens", "64", "--output-tokens", "4", "--concurrency", "2"]
SMALL += ["--requests", "4", "--rounds", "2"]


class Bench:
    """Runs the command in this process."""

    def __init__(self, patch: pytest.MonkeyPatch, capture: pytest.CaptureFixture[str]) -> None:
        self._patch, self._capture = patch, capture

    def __call__(self, *arguments: str, preset: Preset = command.PRESET) -> str:
        """What it prints; it must end well."""
        code, out, err = self.run(*arguments, preset=preset)
        assert code == 0, err
        return out

    def fails(self, *arguments: str, preset: Preset = command.PRESET) -> str:
        """The one line it says."""
        code, _, err = self.run(*arguments, preset=preset)
        lines = [line for line in err.splitlines() if line.startswith(preset.command)]
        assert code == 2, err
        assert len(lines) == 1
        assert "Traceback" not in err
        return lines[0]

    def run(self, *arguments: str, preset: Preset = command.PRESET) -> tuple[object, str, str]:
        self._patch.setattr(sys, "argv", [preset.command, *arguments])
        with pytest.raises(SystemExit) as exit_:
            run(make_app(preset))
        return exit_.value.code, *self._capture.readouterr()


@pytest.fixture
def bench(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Bench:
    return Bench(monkeypatch, capsys)


@pytest.fixture(scope="module")
def fake() -> Iterator[Running]:
    """A server that behaves, for tests that do not look at its log."""
    with start(Behaviour(first=0.01, gap=0.002, word_tokens=2)) as server:
        yield server


def rows(out: str, heading: str) -> list[dict[str, str]]:
    """The rows of the Markdown table whose first column is `heading`."""
    lines = iter(out.splitlines())
    head = next(line for line in lines if line.startswith(f"| {heading}"))
    names = [cell.strip() for cell in head.strip("|").split("|")]
    next(lines)
    found = []
    for line in lines:
        if not line.startswith("|"):
            break
        found.append(
            dict(zip(names, (cell.strip() for cell in line.strip("|").split("|")), strict=True))
        )
    return found


def free_port_url() -> str:
    with start() as server:
        return server.url


def test_two_servers_side_by_side(bench: Bench, tmp_path: Path) -> None:
    file, plot = tmp_path / "a.json", tmp_path / "a.png"
    with start(Behaviour(first=0.05)) as slow, start(Behaviour(first=0.01)) as fast:
        out = bench(
            "--server", f"slow={slow.url}", "--server", f"fast={fast.url}/v1", *SMALL,
            "--concurrency", "1,2", "--json", str(file), "--plot", str(plot),
        )  # fmt: skip
        log = slow.log()
    throughput = rows(out, "server")
    assert [(row["server"], row["concurrency"]) for row in throughput] == [
        ("slow", "1"), ("fast", "1"), ("slow", "2"), ("fast", "2"),
    ]  # fmt: skip
    for row in throughput:
        assert (row["requests"], row["errors"]) == ("4", "none")
        assert (row["prompt tokens"], row["output tokens"]) == ("64.0", "4.0")
        rate = float(row["requests/s"])
        assert float(row["output tok/s"]) == pytest.approx(4 * rate, rel=0.02)
        assert float(row["total tok/s"]) == pytest.approx(68 * rate, rel=0.02)
    latencies = rows(out, "figure")
    first = [row for row in latencies if row["figure"] == "time to first token"]
    assert [row["server"] for row in first] == ["slow", "fast", "slow", "fast"]
    assert all(float(row["p50 ms"]) >= 50 for row in first if row["server"] == "slow")
    assert len(latencies) == 4 * 4
    # Probes of the length; then one request a client before and four measured, of either load.
    asked = [entry["body"] for entry in log if entry["body"]["max_tokens"] == 4]
    assert len(asked) == (1 + 4) + (2 + 4)
    assert len({body["messages"][0]["content"] for body in asked}) == len(asked)
    assert all(body["temperature"] == 0 and "ignore_eos" not in body for body in asked)
    with Image.open(plot) as picture:
        assert picture.size[0] > 1000
    check_document(json.loads(file.read_text()))


def check_document(document: dict[str, Any]) -> None:
    """It is what bench-report reads, and true to itself."""
    assert (document["schema"], document["benchmark"]) == (1, "bench-llm")
    assert [server["name"] for server in document["servers"]] == ["slow", "fast"]
    assert {"machine", "settings", "conditions"} <= set(document)
    identities = {json.dumps([row["case"], row["engine"]]) for row in document["rows"]}
    assert len(identities) == len(document["rows"]) == 4 * 4
    for row in document["rows"]:
        assert all(isinstance(value, float) and 0 < value < 100 for value in row["seconds"])
    for load in document["loads"]:
        (row,) = (
            row
            for row in document["rows"]
            if row["engine"] == load["server"]
            and row["case"] == {"concurrency": load["concurrency"], "figure": "end to end"}
        )
        assert len(row["seconds"]) == load["requests"] == 4
        assert load["latencies"]["end to end"]["p50"] == pytest.approx(row["median_seconds"])
        assert load["output_tokens_per_second"] == pytest.approx(16 / load["seconds"])


def test_servers_take_turns(bench: Bench) -> None:
    with start() as one, start() as two:
        servers = ["--server", f"one={one.url}", "--server", f"two={two.url}"]
        bench(*servers, *SMALL, "--warmup", "0", "--requests", "6", "--rounds", "3")
        logs = {"one": one.log(), "two": two.log()}
    times = sorted(
        (entry["received"], name)
        for name, log in logs.items()
        for entry in log
        if entry["body"]["stream"]
    )
    order = "".join(name[0] for _, name in times)
    assert order == "oo" + "tttt" + "oooo" + "tt"  # whoever is last in a round is first in the next


def test_rate_and_whole_answers(bench: Bench, fake: Running, tmp_path: Path) -> None:
    file = tmp_path / "a.json"
    out = bench(
        "--server", fake.url, "--rate", "40,80", "--requests", "12", "--prompt-tokens", "32",
        "--output-tokens", "4", "--no-stream", "--endpoint", "completions", "--ignore-eos",
        "--json", str(file), "--plot", str(tmp_path / "a.svg"), "--warmup", "0",
    )  # fmt: skip
    assert [row["rate"] for row in rows(out, "server")] == ["40", "80"]
    assert {row["figure"] for row in rows(out, "figure")} == {"end to end"}
    assert rows(out, "server")[0]["server"] == fake.url.removeprefix("http://")
    assert json.loads(file.read_text())["rows"][0]["case"]["rate"] == 40
    assert (tmp_path / "a.svg").read_text().startswith("<?xml")


def test_one_server_under_two_names_never_sees_a_prompt_twice(bench: Bench) -> None:
    with start() as server:
        names = ["--server", f"a={server.url}", "--server", f"b={server.url}"]
        bench(*names, *SMALL, "--seed", "5")
        asked = [entry["body"]["messages"][0]["content"] for entry in server.log()]
    assert len(set(asked)) == len(asked)


def test_a_shared_prefix_and_ignored_ends(bench: Bench) -> None:
    with start() as server:
        out = bench(
            "--server", server.url, *SMALL, "--shared-prefix", "32", "--ignore-eos", "--seed", "5"
        )
        asked = [entry["body"] for entry in server.log() if entry["body"]["stream"]]
    texts = [body["messages"][0]["content"].split() for body in asked]
    assert len({tuple(text[:32]) for text in texts}) == 1
    assert len({tuple(text[32:36]) for text in texts}) == len(texts)
    assert all(body["ignore_eos"] for body in asked)
    assert "seed 5" in out


def test_prompts_from_a_file_are_sent_in_their_order(bench: Bench, tmp_path: Path) -> None:
    file = tmp_path / "p.jsonl"
    file.write_text('{"prompt": "a b"}\n{"messages": [{"role": "user", "content": "c"}]}\n')
    with start() as server:
        out = bench(
            "--server", server.url, "--prompts", str(file), "--concurrency", "1",
            "--requests", "3", "--output-tokens", "2", "--warmup", "0",
        )  # fmt: skip
        asked = [entry["body"]["messages"][0]["content"] for entry in server.log()]
    assert asked == ["a b", "c", "a b"]
    assert "Settings: prompts 2 of a file, output tokens 2" in out


def test_errors_are_counted_by_kind(bench: Bench, tmp_path: Path) -> None:
    file = tmp_path / "a.json"
    behaviour = Behaviour(fail=(3, 429), break_every=4, skip=2)
    with start(behaviour) as server:
        out = bench(
            "--server", f"x={server.url}", "--prompts", str(prompts(tmp_path)), "--requests", "12",
            "--concurrency", "2", "--output-tokens", "4", "--json", str(file),
        )  # fmt: skip
    (row,) = rows(out, "server")
    assert row["requests"] == "6"
    assert sorted(row["errors"].split(", ")) == ["2 broken off", "4 HTTP 429"]
    assert "x at concurrency 2: 4 x HTTP 429: no room for more" in out
    assert json.loads(file.read_text())["loads"][0]["errors"] == {"HTTP 429": 4, "broken off": 2}


def prompts(folder: Path) -> Path:
    file = folder / "p.jsonl"
    file.write_text('{"prompt": "a b c"}\n')
    return file


def test_a_load_without_any_answer_fails_after_the_report(bench: Bench, tmp_path: Path) -> None:
    with start(Behaviour(fail=(1, 500), skip=2)) as server:
        arguments = ["--server", f"x={server.url}", "--prompts", str(prompts(tmp_path))]
        line = bench.fails(*arguments, "--concurrency", "2", "--requests", "4")
    assert line == "bench-llm: x: a load got no answer at all; the warnings say why"


def test_a_server_that_dies_ends_the_run_and_keeps_the_results(
    bench: Bench, tmp_path: Path
) -> None:
    file = tmp_path / "a.json"
    with start(Behaviour(die_at=6, skip=1)) as server:
        line = bench.fails(
            "--server", f"x={server.url}", "--prompts", str(prompts(tmp_path)),
            "--concurrency", "1", "--output-tokens", "4", "--requests", "20", "--json", str(file),
        )  # fmt: skip
    assert f"x at {server.url}: nothing answers any more (Connection refused)" in line
    assert f"{file} has what came before" in line
    (load,) = json.loads(file.read_text())["loads"]
    assert load["requests"] == 5
    assert load["errors"].keys() == {"broken off"}


def test_ctrl_c_keeps_the_results(tmp_path: Path) -> None:
    file = tmp_path / "a.json"
    with start(Behaviour(first=0.02)) as server:
        process = subprocess.Popen(
            [sys.executable, command.__file__, "--server", f"x={server.url}", "--concurrency", "2",
             "--prompts", prompts(tmp_path), "--output-tokens", "4", "--requests", "100000",
             "--json", file],
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip
        deadline = time.monotonic() + 30
        while len(server.log()) < 8 and time.monotonic() < deadline:
            time.sleep(0.05)
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=30)
    assert process.returncode == 130
    assert err.splitlines()[-1] == "command.py: stopped"
    assert "Traceback" not in err
    (row,) = rows(out, "server")
    assert int(row["requests"]) >= 2
    assert json.loads(file.read_text())["loads"][0]["requests"] == int(row["requests"])


def test_the_bar_is_on_the_terminal_and_the_table_in_the_file(
    fake: Running, tmp_path: Path
) -> None:
    file = tmp_path / "out.md"
    terminal, its_end = pty.openpty()
    with file.open("w") as out:
        process = subprocess.Popen(
            [sys.executable, command.__file__, "--server", f"x={fake.url}", *SMALL],
            stdout=out, stderr=its_end, env=os.environ | {"TERM": "xterm"},
        )  # fmt: skip
        os.close(its_end)
        shown = b""
        with contextlib.suppress(OSError):  # which is how a terminal ends
            while data := os.read(terminal, 4096):
                shown += data
        os.close(terminal)
    assert process.wait(30) == 0
    assert b"concurrency 2" in shown and b"4/4" in shown
    assert [row["server"] for row in rows(file.read_text(), "server")] == ["x"]


def test_a_server_is_waited_for_while_it_loads(bench: Bench, fake: Running) -> None:
    with start(Behaviour(loading=0.6)) as server:
        code, _, err = bench.run("--server", f"x={server.url}", *SMALL)
    assert code == 0
    assert "x: loads its model; waiting" in err


def test_a_key_from_a_file_and_no_health(bench: Bench, tmp_path: Path) -> None:
    key = tmp_path / "key"
    key.write_text("secret\n")
    with start(Behaviour(key="secret", health=False)) as server:
        arguments = ["--server", f"x={server.url}", *SMALL]
        bench(*arguments, "--api-key-file", str(key))
        assert "refuses the key (401); give it as --api-key-file" in bench.fails(*arguments)
        key.write_text("wrong\n")
        assert "refuses the key" in bench.fails(*arguments, "--api-key-file", str(key))


@pytest.mark.parametrize(
    ("behaviour", "arguments", "said"),
    [
        (Behaviour(models=()), [], "has no model"),
        (Behaviour(models=("a", "b")), ["--model", "c"], "--model c: x at .* has a, b"),
        (Behaviour(usage=False), ["--no-stream"], "tells no usage.*--prompts FILE"),
        (Behaviour(longest_prompt=40), [], "HTTP 400: the prompt of 64 tokens is too long"),
        (Behaviour(template_tokens=80), [], "--prompt-tokens 64: the shortest prompt here has 81"),
    ],
)
def test_what_would_fail_every_time_is_said_before(
    bench: Bench, behaviour: Behaviour, arguments: list[str], said: str
) -> None:
    with start(behaviour) as server:
        assert re.search(said, bench.fails("--server", f"x={server.url}", *SMALL, *arguments))


def test_the_model_that_was_asked_for(bench: Bench) -> None:
    with start(Behaviour(models=("a", "b"))) as server:
        bench("--server", server.url, *SMALL, "--model", "b")
        assert {entry["body"]["model"] for entry in server.log()} == {"b"}


def test_an_address_that_is_no_server(bench: Bench, fake: Running) -> None:
    assert "nothing answers (Connection refused)" in bench.fails("--server", free_port_url())
    line = bench.fails("--server", f"x={fake.url}/other")
    assert "/v1/models answers 404 (Not Found); is this the address" in line


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--server", "x=localhost:8000"], "no address of a server; give NAME=URL"),
        (["--server", "x=http://"], "no address of a server"),
        (["--server", "x=http://[::1"], "no address of a server"),
        (["--server", "a|b=http://h:1"], "up to 40 printable characters"),
        (["--server", "x=http://h:1", "--server", "x=http://h:2"], "--server x: two of this name"),
        (["--start", "--server", "tinygrad=http://h:1"], "--server tinygrad: two of this name"),
        (["--concurrency", "0"], "--concurrency '0'"),
        (["--concurrency", "1,x"], "--concurrency '1,x'"),
        (["--concurrency", "9999"], "up to 1024"),
        (["--rate", "0"], "--rate '0'"),
        (["--rate", "nan"], "--rate 'nan'"),
        (["--rate", "1", "--concurrency", "2"], "give no --concurrency"),
        (["--duration", "5"], "--duration '5'"),
        (["--duration", "5s", "--requests", "2"], "--requests and --duration"),
        (["--prompts", "p", "--prompt-tokens", "9"], "--prompts and --prompt-tokens"),
        (["--prompts", "p", "--shared-prefix", "9"], "--prompts and --shared-prefix"),
        (["--prompts", "/nowhere/p"], "--prompts /nowhere/p: cannot be read"),
        (["--shared-prefix", "512"], "--shared-prefix 512: give less than the 512"),
        (["--api-key-file", "/nowhere/k"], "--api-key-file /nowhere/k: cannot be read"),
        (["--json", "/nowhere/a.json"], "/nowhere/a.json: cannot be written"),
        (["--plot", "/nowhere/a.svg"], "/nowhere/a.svg: cannot be written"),
        (["--plot", "a.gif"], "a picture ends in .svg or .png"),
        (["--requests", "0"], "--requests"),
        (["--endpoint", "poems"], "--endpoint"),
    ],
)
def test_mistakes_are_one_line(bench: Bench, arguments: list[str], said: str) -> None:
    server = [] if "--server" in arguments else ["--server", "x=http://127.0.0.1:9"]
    assert said in bench.fails(*server, *arguments)


def test_an_empty_key_file(bench: Bench, tmp_path: Path) -> None:
    key = tmp_path / "key"
    key.touch()
    arguments = ["--server", "http://127.0.0.1:9", "--api-key-file", str(key)]
    assert f"--api-key-file {key}: is empty" in bench.fails(*arguments)


@pytest.mark.parametrize(
    ("text", "server"),
    [
        ("a=http://h:1", Server("a", "http://h:1")),
        ("http://h:1/v1/", Server("h:1", "http://h:1")),
        ("https://u:p@h/x", Server("h", "https://u:p@h/x")),
        ("http://h:1/a=b", Server("h:1", "http://h:1/a=b")),
    ],
)
def test_addresses(text: str, server: Server) -> None:
    assert parse_server(text) == server


def moved(preset: Preset, **urls: str) -> Preset:
    """`preset` with its servers at other addresses."""
    candidates = tuple(
        Candidate(Server(each.server.name, urls[each.server.name]), each.remedy, each.optional)
        for each in preset.candidates
    )
    return Preset(preset.command, preset.summary, preset.example, candidates)


def test_bench_vllm_says_how_to_start_it(bench: Bench, fake: Running) -> None:
    assert [each.server.url for each in vllm.PRESET.candidates] == ["http://127.0.0.1:8000"]
    preset = moved(vllm.PRESET, vllm=free_port_url())
    assert "start its container with run-vllm-docker" in bench.fails(preset=preset)
    out = bench("--server", f"vllm={fake.url}", *SMALL, preset=preset)
    assert out.startswith("# bench-vllm")
    assert [row["server"] for row in rows(out, "server")] == ["vllm"]


def test_bench_mlc_llm_compares_with_what_answers(bench: Bench, fake: Running) -> None:
    dead = free_port_url()
    preset = moved(mlc.PRESET, **{"mlc": fake.url, "tinygrad": dead, "llama.cpp": fake.url})
    code, out, err = bench.run(*SMALL, preset=preset)
    assert code == 0
    assert [row["server"] for row in rows(out, "server")] == ["mlc", "llama.cpp"]
    assert f"left out: tinygrad at {dead}: nothing answers" in err
    preset = moved(mlc.PRESET, **{"mlc": dead, "tinygrad": fake.url, "llama.cpp": dead})
    assert "run-mlc-docker" in bench.fails(*SMALL, preset=preset)


LLM_SERVER = """#!{python}
import json, os, runpy, sys
arguments = sys.argv[1:]
os.environ["FAKE_PORT"] = arguments[arguments.index("--port") + 1]
assert open(arguments[arguments.index("--model") + 1], "rb").read(4) == b"GGUF"
sys.argv = [{fake!r}, json.dumps({{"loading": 0.2}})]
runpy.run_path({fake!r}, run_name="__main__")
"""


@pytest.fixture
def programs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that alone is the path."""
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", str(folder))
    return folder


def install(folder: Path, name: str, text: str) -> None:
    program = folder / name
    program.write_text(text)
    program.chmod(0o755)


def test_without_a_server_it_starts_what_there_is(bench: Bench, programs: Path) -> None:
    fake = str(Path(__file__).with_name("fake_openai_server.py"))
    text = LLM_SERVER.format(python=sys.executable, fake=fake)
    install(programs, "llm-server", text)
    code, out, err = bench.run(*SMALL)
    assert code == 0, err
    assert {row["server"] for row in rows(out, "server")} == {"tinygrad"}
    assert "llama-server is not on the path" in err
    install(programs, "llama-server", text)
    out = bench("--start", *SMALL)
    assert {row["server"] for row in rows(out, "server")} == {"tinygrad", "llama.cpp"}
    urls = re.findall(r"at (http://127.0.0.1:\d+)", out)
    assert len(urls) == 2
    for url in urls:
        assert "Connection refused" in bench.fails("--server", url)  # they ended with it


def test_a_server_that_does_not_start(bench: Bench, programs: Path) -> None:
    assert "llm-server is not on the path" in bench.fails()
    install(programs, "llm-server", "#!/bin/sh\necho no room here >&2\nexit 3\n")
    assert "llm-server ended with 3: no room here" in bench.fails()


def test_each_command_names_its_options(bench: Bench) -> None:
    for preset in (command.PRESET, vllm.PRESET, mlc.PRESET):
        out = bench("--help", preset=preset)
        assert f"Example: {preset.command} --" in out
        assert "--concurrency" in out
