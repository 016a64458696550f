"""What the benchmarks' common options take and refuse."""

import os
from pathlib import Path

import pytest

from orin_bench import options
from orin_bench.options import Versus, parse_names, parse_sizes, parse_versus, set_beam
from orin_core.cli import UserError

KNOWN = ("float16", "float32")


@pytest.mark.parametrize(
    ("option", "names"),
    [
        ("all", ["float16", "float32"]),
        ("float32", ["float32"]),
        ("float32, float16", ["float32", "float16"]),
        ("float16,float16", ["float16"]),
    ],
)
def test_names(option: str, names: list[str]) -> None:
    assert parse_names("dtype", option, KNOWN) == names


@pytest.mark.parametrize("option", ["", "int8", "float16,", "ALL", "float16;float32"])
def test_unknown_names(option: str) -> None:
    with pytest.raises(UserError, match=r"unknown dtype '.*': choose all, float16, float32"):
        parse_names("dtype", option, KNOWN)


def test_sizes() -> None:
    assert parse_sizes("--batch", "1, 64,1,4096", 4096) == [1, 64, 4096]


@pytest.mark.parametrize("option", ["", "0", "-1", "4097", "1,x", "1.5", "9" * 30, "1,,2"])
def test_sizes_that_are_none(option: str) -> None:
    with pytest.raises(UserError, match=r"--batch .*: give whole numbers up to 4096"):
        parse_sizes("--batch", option, 4096)


def test_versus(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = tmp_path / "llama-bench"
    program.write_text("")
    program.chmod(0o755)
    monkeypatch.setattr(options, "find_spec", lambda name: name == "torch")
    both = ("torch", "llama-bench")
    assert parse_versus(None) == Versus()
    assert parse_versus("torch") == Versus(torch=True)
    assert parse_versus(f"llama-bench={program}", both) == Versus(llama_bench=program)
    assert parse_versus(f"torch,llama-bench={program}", both) == Versus(True, program)


@pytest.mark.parametrize(
    ("option", "words"),
    [
        ("jax", "unknown --versus 'jax': choose torch and llama-bench=PATH"),
        ("", "unknown --versus ''"),
        ("torch=2", "unknown --versus 'torch=2'"),
        ("llama-bench", "unknown --versus 'llama-bench'"),
        ("llama-bench=/no/such", "--versus llama-bench=/no/such: not a program"),
        ("llama-bench=/", "--versus llama-bench=/: not a program"),
        ("torch", "--versus torch: install torch"),
    ],
)
def test_versus_refused(option: str, words: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(options, "find_spec", lambda name: None)
    with pytest.raises(UserError, match=words):
        parse_versus(option, ("torch", "llama-bench"))


def test_versus_only_what_a_command_has() -> None:
    with pytest.raises(UserError, match=r"llama-bench=/bin/sh': choose torch$"):
        parse_versus("llama-bench=/bin/sh")


def test_outputs(tmp_path: Path) -> None:
    options.check_outputs(None, None)
    options.check_outputs(tmp_path / "a.json", tmp_path / "a.svg")
    with pytest.raises(UserError, match=r"a\.pdf: a picture ends in \.svg or \.png"):
        options.check_outputs(None, tmp_path / "a.pdf")
    with pytest.raises(UserError, match="cannot be written"):
        options.check_outputs(None, tmp_path / "none" / "a.png")


def test_the_width_that_holds(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("JITBEAM", "BEAM"):
        monkeypatch.setenv(name, "0")  # restored afterwards
        monkeypatch.delenv(name)
    assert set_beam(None) == 0
    monkeypatch.setenv("BEAM", "2")
    assert set_beam(None) == 2
    monkeypatch.setenv("JITBEAM", "0")
    assert set_beam(None) == 0
    assert set_beam(4) == 4
    assert os.environ["JITBEAM"] == "4"
    monkeypatch.setenv("JITBEAM", "wide")
    with pytest.raises(UserError, match="'wide'"):
        set_beam(None)
