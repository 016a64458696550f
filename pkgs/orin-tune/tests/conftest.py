"""Fixtures: a fake board, an nvpmodel that can refuse, and the command itself."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from orin_tune import cli
from tune_boards import (
    AGX_64GB_CONF,
    SET,
    Board,
    Command,
    Done,
    FakeNvpmodel,
    Nvpmodel,
    make_board,
    write,
)


@pytest.fixture
def board(tmp_path: Path) -> Board:
    return lambda name: make_board(tmp_path, name)


@pytest.fixture
def agx(tmp_path: Path) -> Path:
    """The GPU's devfreq directory on an AGX Orin with L4T r36."""
    return make_board(tmp_path, "agx-orin-r36") / "class/devfreq/17000000.gpu"


@pytest.fixture
def conf(tmp_path: Path) -> Path:
    return write(tmp_path / "nvpmodel.conf", AGX_64GB_CONF)


@pytest.fixture
def orin_tune(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Command:
    """Runs the command here, as its console script would."""

    def call(*arguments: object) -> Done:
        monkeypatch.setattr(sys, "argv", ["orin-tune", *map(str, arguments)])
        with pytest.raises(SystemExit) as end:
            cli.main()
        assert isinstance(end.value.code, int)
        return Done(end.value.code, *capfd.readouterr())

    return call


@pytest.fixture
def orin_tune_process() -> Command:
    """Runs the command in its own process, with the answer YES waiting on its stdin."""

    def call(*arguments: object) -> Done:
        done = subprocess.run(
            [sys.executable, "-m", "orin_tune.cli", *map(str, arguments)],
            input="YES\n",
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        )
        return Done(done.returncode, done.stdout, done.stderr)

    return call


@pytest.fixture
def nvpmodel(tmp_path: Path) -> Nvpmodel:
    def make(behaviour: str, query: str = "") -> FakeNvpmodel:
        path, log, record = (tmp_path / name for name in ("nvpmodel", "calls", "record"))
        record.write_text("2\n")
        query = query or (
            "echo 'NV Fan Mode:quiet'; "
            'id=$(cat "$REC"); set -- MAXN MODE_15W MODE_30W MODE_50W; shift "$id"; '
            'echo "NV Power Mode: $1"; echo "$id"; '
            # as an ordinary user sees it
            "echo 'NVPM ERROR: Error opening /sys/kernel/nvpmodel_clk_cap/emc: 13' >&2"
        )
        path.write_text(
            f'#!/bin/sh\nREC={record}\necho "$*" >> {log}\nID="$4"\n'
            f'case "$3" in\n-m)\n{SET[behaviour]}\n;;\n-q)\n{query}\n;;\nesac\n'
        )
        path.chmod(0o755)
        return FakeNvpmodel(path, log)

    return make
