"""bench-warm: search a command's hottest kernels first, within a time, and keep what is found."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from orin_bench.warm.duration import parse_duration
from orin_core.cli import run

WORDS = {"allow_interspersed_args": False}  # what follows the command belongs to it

app = typer.Typer(add_completion=False)
store = typer.Typer(add_completion=False)


@app.command(context_settings=WORDS)
def bench_warm(
    command: Annotated[
        list[str],
        typer.Argument(
            help="A command that replays kernels with tinygrad's TinyJit, and its arguments;"
            " or export FILE, import FILE, status.",
            show_default=False,
        ),
    ],
    budget: Annotated[
        str, typer.Option(help="Time for searching, as 90s, 20m or 1h30m. Three runs come on top.")
    ] = "20m",
    beam: Annotated[int, typer.Option(min=1, help="Width of tinygrad's kernel search.")] = 2,
    top: Annotated[
        int | None,
        typer.Option(min=1, help="Search only so many kernels.", show_default="all"),
    ] = None,
) -> None:
    """Profile COMMAND, search its kernels, the costliest first, and measure the gain.

    Example: bench-warm --budget 20m bench-cnn --network resnet50 --batch 1

    What is found lies in tinygrad's cache, where COMMAND finds it when run with the same beam
    (JITBEAM=2). Each result is checked against the kernel as it was. Stopped or killed, the same
    call goes on where it was. bench-warm export FILE and bench-warm import FILE carry the results
    to another machine of the same kind; bench-warm status lists them.
    """
    seconds = parse_duration("--budget", budget)

    # tinygrad reads the environment when it is imported: only now.
    from orin_bench.warm.program import Program
    from orin_bench.warm.warming import warm

    warm(Program(command), beam, seconds, top)


@store.command("export")
def export(
    file: Annotated[Path, typer.Argument(help="JSON file to write.", show_default=False)],
) -> None:
    """Write what bench-warm found to FILE, for machines of the same kind.

    Example: bench-warm export orin.json
    """
    from orin_bench.warm.cache import Cache
    from orin_bench.warm.exchange import export_cache

    print(f"{file}: {export_cache(Cache(), file)} kernels")


@store.command("import")
def import_(
    file: Annotated[Path, typer.Argument(help="File of bench-warm export.", show_default=False)],
    trust: Annotated[
        bool,
        typer.Option(
            "--trust", help="Open no device to see whether FILE is of this machine's architecture."
        ),
    ] = False,
) -> None:
    """Take the kernels of FILE into tinygrad's cache; those finished on this machine stay.

    Example: bench-warm import orin.json
    """
    from orin_bench.warm.cache import Cache
    from orin_bench.warm.exchange import import_cache

    taken, kept = import_cache(Cache(), file, trust=trust)
    print(f"{file}: {taken} kernels taken" + (f", {kept} already known" if kept else ""))


@store.command()
def status() -> None:
    """Count the kernels in tinygrad's cache.

    Example: bench-warm status
    """
    from orin_bench.warm.cache import Cache
    from orin_bench.warm.status import print_status

    print_status(Cache())


def main() -> None:
    # A word of ours, or the name of any command.
    run(store if sys.argv[1:2] and sys.argv[1] in ("export", "import", "status") else app)


if __name__ == "__main__":
    main()
