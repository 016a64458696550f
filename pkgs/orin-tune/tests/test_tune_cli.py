"""The command line itself: help with an example, wrong use in one line."""

import re

import pytest

from tune_boards import Command


@pytest.mark.parametrize(
    ("command", "example", "options"),
    [
        ("power-mode", "sudo orin-tune power-mode 30W", ["--conf", "--nvpmodel"]),
        ("pin", "sudo orin-tune pin", ["--path.sysfs", "--state"]),
        ("restore", "sudo orin-tune restore", ["--path.sysfs", "--state"]),
        (
            "status",
            "orin-tune status",
            ["--path.sysfs", "--path.procfs", "--path.rootfs", "--conf"],
        ),
    ],
)
def test_help_shows_an_example(
    orin_tune: Command, command: str, example: str, options: list[str]
) -> None:
    done = orin_tune(command, "--help")
    assert (done.code, done.err) == (0, "")
    text = re.sub(r"\x1b\[[0-9;]*m", "", done.out)  # typer colours its help on CI machines
    assert f"Example: {example}" in [line.strip() for line in text.split("\n")]
    assert all(option in text for option in options)


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        (["power-mode"], "Missing argument"),
        (["unpin"], "unpin"),
        (["pin", "--path.sys", "/sys"], "--path.sys"),
        (["status", "extra"], "extra"),
    ],
)
def test_wrong_use_is_one_line(orin_tune: Command, arguments: list[str], word: str) -> None:
    assert word in orin_tune(*arguments).error


def test_a_users_mistake_in_a_process_of_its_own(orin_tune_process: Command) -> None:
    error = orin_tune_process("power-mode", "30W", "--conf", "/nowhere/nvpmodel.conf").error
    assert "/nowhere/nvpmodel.conf: no such file" in error
