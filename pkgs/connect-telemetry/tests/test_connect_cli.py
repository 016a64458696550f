"""The command line: help with an example, wrong use in one line."""

import re
import sys

import pytest

from connect_telemetry.cli import main


def connect(*arguments: str) -> int | str | None:
    sys.argv = ["connect-telemetry", *arguments]
    with pytest.raises(SystemExit) as end:
        main()
    return end.value.code


@pytest.fixture(autouse=True)
def _argv(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", [])


def test_help_shows_an_example(capsys: pytest.CaptureFixture[str]) -> None:
    assert connect("--help") == 0
    out, err = capsys.readouterr()
    assert err == ""
    text = re.sub(r"\x1b\[[0-9;]*m", "", out)  # typer colours its help on CI machines
    assert "Example: connect-telemetry orin.local --user ada" in text
    for option in ("--user", "--port", "--no-browser", "--wait", "--service", "Grafana=3000"):
        assert option in text


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        ([], "missing argument"),
        (["orin", "--user"], "--user"),
        (["orin", "--port", "0"], "--port"),
        (["orin", "--service", "Grafana"], "--service grafana: write name=port"),
        (["-oProxyCommand=true"], "such option"),
        (["--", "-oProxyCommand=true"], "host '-oproxycommand=true'"),
        ([""], "host ''"),
    ],
)
def test_wrong_use_is_one_line(
    capsys: pytest.CaptureFixture[str], arguments: list[str], word: str
) -> None:
    assert connect(*arguments) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert word in err.lower()
    assert err.count("\n") == 1
