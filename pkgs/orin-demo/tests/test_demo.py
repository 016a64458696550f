"""The demo as its users run it: addresses, a summary, no process left behind."""

import os
import re
import shutil
import signal
import subprocess
import sys
import urllib.request
from pathlib import Path

import pytest

DEMO = "import sys; sys.argv[0] = 'demo'; from orin_demo.cli import main; main()"
RULE = """\
groups:
  - name: test
    rules:
      - alert: GpuThere
        expr: jetson_gpu_powered == 1
        labels: {severity: info}
        annotations: {summary: "{{ $labels.instance }}: a GPU"}
"""


@pytest.fixture
def rules(tmp_path: Path) -> Path:
    (tmp_path / "alerts.yml").write_text(RULE)
    return tmp_path


def need(program: str) -> str:
    """The path of a program, without which the test is skipped; in CI it fails."""
    own = Path(sys.executable).with_name(program)
    if path := str(own) if own.exists() else shutil.which(program):
        return path
    missing = f"{program} is not installed"
    if os.environ.get("CI"):
        pytest.fail(missing)
    pytest.skip(missing)


@pytest.fixture
def path() -> str:
    """A PATH with our own commands alone: no Prometheus and no node_exporter."""
    return str(Path(need("jetson-sim")).parent)


def start(rules: Path, *arguments: str, path: str | None = None) -> subprocess.Popen[str]:
    need("jetson-sim")
    return subprocess.Popen(
        [sys.executable, "-c", DEMO, "--rules", str(rules), *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env=os.environ | ({"PATH": path} if path else {}),
    )


def read_until(process: subprocess.Popen[str], text: str) -> str:
    """Its output up to the line with `text`."""
    lines = []
    assert process.stdout is not None
    for line in process.stdout:
        lines.append(line)
        if text in line:
            return "".join(lines)
    pytest.fail("".join(lines))


def children(pid: int) -> list[int]:
    tasks = Path(f"/proc/{pid}/task/{pid}/children").read_text()
    return [int(child) for child in tasks.split()]


def test_an_alert_is_told_and_summed_up(rules: Path) -> None:
    need("prometheus")
    process = start(rules, "--duration", "8")
    output, _ = process.communicate(timeout=60)
    assert process.returncode == 0, output
    assert re.search(r"^\d\d:\d\d  info      GpuThere: orin-lab: a GPU$", output, re.MULTILINE)
    assert re.search(r"^\| GpuThere +\| orin-roof +\| info +\| 00:0\d \| 00:0\d \|$", output, re.M)


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 0)])
def test_a_signal_ends_it_and_all_it_started(
    rules: Path, path: str, number: signal.Signals, code: int
) -> None:
    process = start(rules, path=path)
    output = read_until(process, "Ctrl-C ends it")
    url = re.search(r"orin-lab +(\S+)", output)
    assert url is not None
    with urllib.request.urlopen(url[1]) as page:
        assert "Jetson AGX Orin" in page.read().decode()
    started = children(process.pid)
    assert len(started) == 6
    process.send_signal(number)
    assert process.wait(20) == code
    assert not [pid for pid in started if Path(f"/proc/{pid}").exists()]


def test_without_prometheus_the_pages_remain(rules: Path, path: str) -> None:
    output, _ = start(rules, "--duration", "1", path=path).communicate(timeout=60)
    assert "sudo apt install prometheus" in output
    assert "orin-dock  http://127.0.0.1:" in output


def test_prometheus_own_words_when_it_does_not_start(rules: Path) -> None:
    need("prometheus")
    (rules / "alerts.yml").write_text("groups: [{name: x, rules: [{alert: A, expr: 'b +'}]}]")
    process = start(rules, "--duration", "1")
    output, _ = process.communicate(timeout=60)
    assert process.returncode == 2
    assert "demo: prometheus ended with status" in output
    assert "parse error" in output
    assert "Traceback" not in output


def test_no_rules_is_one_line(tmp_path: Path) -> None:
    process = start(tmp_path, "--duration", "1")
    output, _ = process.communicate(timeout=60)
    assert process.returncode == 2
    assert output.startswith(f"demo: --rules {tmp_path}: no rules there")
    assert output.count("\n") == 1
