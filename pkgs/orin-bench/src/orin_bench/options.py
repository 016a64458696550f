"""Options that the benchmarks share: what they are called, and what of them is refused."""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated

import typer

from orin_bench.plot import check_plot
from orin_core.cli import UserError
from orin_core.result import check_writable

Device = Annotated[str, typer.Option(help="auto, or some of nv, cuda and cpu, comma-separated.")]
Repetitions = Annotated[int, typer.Option(min=1, help="Measured steps.")]
Warmup = Annotated[int, typer.Option(min=0, help="Steps before the measured ones.")]
Quick = Annotated[bool, typer.Option("--quick", help="A small selection, within a minute.")]
Beam = Annotated[
    int | None,
    typer.Option(
        min=0,
        envvar="JITBEAM",
        help="Width of tinygrad's kernel search: minutes to hours, kept in its cache.",
        show_default="0",
    ),
]
Json = Annotated[Path | None, typer.Option(help="Write rows and machine to this file.")]
Plot = Annotated[Path | None, typer.Option(help="Draw the figures to this .svg or .png file.")]


_EXAMPLES = {"torch": "torch", "llama-bench": "llama-bench=PATH"}


@dataclass(frozen=True)
class Versus:
    """What is measured beside tinygrad, in the same run."""

    torch: bool = False
    llama_bench: Path | None = None


def parse_names(what: str, option: str, known: Sequence[str]) -> list[str]:
    """`option`'s comma-separated names, each one of `known`, once; "all" is all of them.

    Raises UserError with `what`, as "network", for another name.
    """
    if option == "all":
        return list(known)
    names = [name.strip() for name in option.split(",")]
    for name in names:
        if name not in known:
            raise UserError(f"unknown {what} {name!r}: choose all, {', '.join(known)}")
    return list(dict.fromkeys(names))


def parse_sizes(name: str, option: str, largest: int) -> list[int]:
    """`option`'s comma-separated whole numbers from 1 to `largest`, each once.

    Raises UserError with the option's `name`, as "--batch", for anything else.
    """
    sizes = option.split(",")
    digits = len(str(largest))  # beyond some thousands of them Python itself refuses
    if not all(
        size.strip().isdecimal() and len(size.strip()) <= digits and 0 < int(size) <= largest
        for size in sizes
    ):
        raise UserError(f"{name} {option!r}: give whole numbers up to {largest}, as 1,64")
    return list(dict.fromkeys(int(size) for size in sizes))


def parse_versus(option: str | None, known: Sequence[str] = ("torch",)) -> Versus:
    """`option`, some of torch and llama-bench=PATH, comma-separated; `known` are the command's.

    Raises UserError for others, and where PyTorch or the program is missing.
    """
    versus = Versus()
    for part in [] if option is None else option.split(","):
        name, _, value = part.strip().partition("=")
        if name not in known or bool(value) != (name == "llama-bench"):
            choice = " and ".join(_EXAMPLES[each] for each in known)
            raise UserError(f"unknown --versus {part.strip()!r}: choose {choice}")
        if name == "torch":
            if not find_spec("torch"):
                raise UserError("--versus torch: install torch beside this command")
            versus = Versus(True, versus.llama_bench)
        else:
            program = Path(value)
            if not os.access(program, os.X_OK) or program.is_dir():
                raise UserError(f"--versus llama-bench={value}: not a program")
            versus = Versus(versus.torch, program)
    return versus


def check_outputs(json: Path | None, plot: Path | None = None) -> None:
    """Raise UserError for a file that cannot be written, or a plot in a form that is not drawn."""
    if plot:
        check_plot(plot)
    if json:
        check_writable(json)


def set_beam(beam: int | None) -> int:
    """Make `beam` the width of tinygrad's search, before it is imported; the width that holds.

    Without it the environment's JITBEAM holds, or BEAM.
    """
    for name in ("JITBEAM", "BEAM"):
        if os.environ.get(name) == "":
            del os.environ[name]  # which tinygrad would take for a number
    if beam is not None:
        os.environ["JITBEAM"] = str(beam)
    text = os.environ.get("JITBEAM") or os.environ.get("BEAM") or "0"
    if not text.isdecimal():
        raise UserError(f"JITBEAM or BEAM is {text!r} in the environment: give a whole number")
    return int(text)
