"""Simulated boards, their exporters, node_exporter and Prometheus, as processes on loopback."""

import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import yaml

from orin_core.cli import UserError

EXPORTER_PORT, NODE_PORT, PROMETHEUS_PORT = 9460, 9100, 9090
PRIVILEGED = ("--collector.nvmap", "--collector.actmon", "--collector.bpmp")
_START_S = 20.0
_STOP_S = 5.0


@dataclass
class Stack:
    """What a fleet of boards looks like to Prometheus.

    `boards` maps the name of each board to the scenario it plays; `rules` is the folder with the
    rules, `scrape_s` the seconds between two scrapes and two evaluations. Without a Prometheus on
    the machine `prometheus` stays None, and without a node_exporter so does `node`. Use it as a
    context: everything stops with it. Raises UserError if a process does not start.
    """

    boards: Mapping[str, str]
    rules: Path
    scrape_s: int = 1
    exporters: dict[str, str] = field(default_factory=dict)  # the address of each board's exporter
    node: str | None = None
    prometheus: str | None = None

    def __enter__(self) -> Self:
        # In memory where there is some: a simulated board rewrites its files ten times a second.
        memory = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
        self._folder = tempfile.TemporaryDirectory(prefix="orin-demo-", dir=memory)
        self._root = Path(self._folder.name)
        self.processes: dict[str, subprocess.Popen[bytes]] = {}
        try:
            for board, scenario in self.boards.items():
                self._start_board(board, scenario)
            self._start_node()
            self._start_prometheus()
        except BaseException:
            self._stop()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._stop()

    def query(self, path: str, **parameters: str) -> Any:
        """The `data` of Prometheus' answer at /api/v1/`path`.

        Raises UserError, with Prometheus' own words, if it refuses or has gone.
        """
        assert self.prometheus is not None
        url = f"{self.prometheus}/api/v1/{path}?{urllib.parse.urlencode(parameters)}"
        try:
            with urllib.request.urlopen(url, timeout=10) as answer:
                return json.load(answer)["data"]
        except urllib.error.HTTPError as error:
            raise UserError(f"{url}: {error.read().decode(errors='replace')}") from error
        except OSError as error:
            raise UserError(f"{url}: {error}; {self._last_words('prometheus')}") from error

    def check(self) -> None:
        """Raise UserError if one of the processes has ended."""
        for name, process in self.processes.items():
            if process.poll() is not None:
                raise UserError(
                    f"{name} ended with status {process.returncode}; {self._last_words(name)}"
                )

    def _start_board(self, board: str, scenario: str) -> None:
        tree = self._root / board
        self._run(f"{board}-simulator", "jetson-sim", str(tree), "--scenario", scenario)
        self._wait(f"{board}-simulator", (tree / "var/lib/nvpmodel/status").exists)
        address = f"127.0.0.1:{_port(EXPORTER_PORT)}"
        self._run(
            f"{board}-exporter",
            "jetson-exporter",
            *("--web.listen-address", address),
            *("--path.sysfs", str(tree / "sys")),
            *("--path.procfs", str(tree / "proc")),
            *("--path.rootfs", str(tree)),
            *("--power-mode.expected", "MAXN"),
            *PRIVILEGED,
        )
        self.exporters[board] = f"http://{address}"
        self._wait_for_answer(f"{board}-exporter", f"http://{address}/metrics")

    def _start_node(self) -> None:
        program = shutil.which("prometheus-node-exporter") or shutil.which("node_exporter")
        if program is None:
            return
        address = f"127.0.0.1:{_port(NODE_PORT)}"
        # As on a board, where this collector would hang.
        self._run(
            "node_exporter",
            program,
            f"--web.listen-address={address}",
            "--no-collector.thermal_zone",
        )
        self.node = f"http://{address}"
        self._wait_for_answer("node_exporter", f"{self.node}/metrics")

    def _start_prometheus(self) -> None:
        program = shutil.which("prometheus")
        if program is None:
            return
        address = f"127.0.0.1:{_port(PROMETHEUS_PORT)}"
        interval = f"{self.scrape_s}s"
        config = {
            "global": {"scrape_interval": interval, "evaluation_interval": interval},
            "rule_files": [str(self.rules / "*.yml")],
            "scrape_configs": [
                _job("jetson", self.exporters),
                # There is one machine below the boards: each of them shows it as its own.
                _job("node", dict.fromkeys(self.boards, self.node) if self.node else {}),
                _job("prometheus", {"prometheus": f"http://{address}"}),
            ],
        }
        file = self._root / "prometheus.yml"
        file.write_text(yaml.safe_dump(config))
        self._run(
            "prometheus",
            program,
            f"--config.file={file}",
            f"--storage.tsdb.path={self._root / 'samples'}",
            f"--web.listen-address={address}",
        )
        self.prometheus = f"http://{address}"
        self._wait_for_answer("prometheus", f"{self.prometheus}/-/ready")

    def _run(self, name: str, program: str, *arguments: str) -> None:
        """Start `program`, one of ours from beside this Python, with its output in a file."""
        own = Path(sys.executable).parent / program
        path = str(own) if own.exists() else shutil.which(program)
        if path is None:
            raise UserError(f"{program} is not installed; install orin-telemetry")
        with self._log(name).open("wb") as log:
            process = subprocess.Popen(
                [path, *arguments],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,  # Ctrl-C is for us, who stop them in order
            )
        self.processes[name] = process

    def _wait_for_answer(self, name: str, url: str) -> None:
        def answers() -> bool:
            try:
                with urllib.request.urlopen(url, timeout=1):
                    return True
            except OSError:
                return False

        self._wait(name, answers)

    def _wait(self, name: str, ready: Any) -> None:
        deadline = time.monotonic() + _START_S
        while not ready():
            self.check()
            if time.monotonic() > deadline:
                raise UserError(
                    f"{name} does not answer after {_START_S:.0f} s; {self._last_words(name)}"
                )
            time.sleep(0.05)

    def _stop(self) -> None:
        for process in reversed(self.processes.values()):
            process.terminate()
        for process in self.processes.values():
            try:
                process.wait(_STOP_S)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        self._folder.cleanup()

    def _log(self, name: str) -> Path:
        return self._root / f"{name}.log"

    def _last_words(self, name: str) -> str:
        """What it said last or, of Prometheus' many words, its errors."""
        lines = self._log(name).read_text(errors="replace").splitlines()
        errors = [line for line in lines if "level=error" in line.lower()]
        return "its last words: " + " ".join(errors or lines[-3:])


def _job(name: str, targets: Mapping[str, str]) -> dict[str, Any]:
    return {
        "job_name": name,
        "static_configs": [
            {"targets": [url.removeprefix("http://")], "labels": {"instance": instance}}
            for instance, url in targets.items()
        ],
    }


def _port(preferred: int) -> int:
    """`preferred` or, where something listens on it or the next few, a free one."""
    for port in (*range(preferred, preferred + 9), 0):
        with socket.socket() as candidate:
            candidate.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                candidate.bind(("127.0.0.1", port))
            except OSError:
                continue
            return int(candidate.getsockname()[1])
    raise UserError("127.0.0.1 has no free port; stop what listens there")
