"""bench-report: whether a benchmark's second run is slower than its first."""

import re
from pathlib import Path
from typing import Annotated

import typer

from orin_core.cli import UserError, run
from orin_core.result import check_writable, write_json

REGRESSION = 3  # the exit code

app = typer.Typer(add_completion=False)


@app.command()
def bench_report(
    before: Annotated[
        str, typer.Argument(metavar="A.json[,...]", help="What a benchmark's --json wrote before.")
    ],
    after: Annotated[str, typer.Argument(metavar="B.json[,...]", help="What it wrote after.")],
    threshold: Annotated[str, typer.Option(help="The change of a row's time that matters.")] = "5%",
    alpha: Annotated[
        float,
        typer.Option(help="Probability of any slower or faster in the table by chance."),
    ] = 0.01,
    json: Annotated[Path | None, typer.Option(help="Write the comparison to this file.")] = None,
) -> None:
    """Compare two runs of one benchmark, row by row; exit with 3 on a regression.

    Example: bench-report old1.json,old2.json,old3.json new1.json,new2.json,new3.json

    slower, faster: significant and beyond the threshold. same: the whole
    interval is within the threshold. unclear: neither is shown. too few: not
    even the clearest difference would have been significant. lost, new: only
    one side has the row; a lost one is a regression.

    With one file a side, its steps are compared (Mann-Whitney U test; ratio of
    medians with a bootstrap interval). They are not independent, and cannot
    tell how much runs of the same program differ: the threshold has to cover
    that, and on a busy machine, or without locked clocks, 5% does not.

    With three or more files a side, each run is one observation (Welch's t test
    on the logarithms of the medians). Take these before you believe a verdict,
    alternating between the sides. p values are corrected for the number of rows
    (Holm).
    """
    files = [_files(before), _files(after)]
    limit = _share(threshold)
    if not 0 < alpha < 1:
        raise UserError(f"--alpha {alpha}: give a probability between 0 and 1, as 0.01")
    if json:
        if json.resolve() in (path.resolve() for side in files for path in side):
            raise UserError(f"--json {json}: this is one of the results; name another file")
        check_writable(json)

    # scipy takes seconds to import: a mistake should not have to wait for it.
    from orin_bench.compare.result_file import load_result

    sides = [[load_result(path) for path in side] for side in files]

    from orin_bench.compare.comparison import compare
    from orin_bench.compare.report import document, print_report

    comparison = compare(sides[0], sides[1], threshold=limit, alpha=alpha)
    print_report(comparison)
    if json:
        write_json(json, document(comparison))
    if comparison.regressed:
        raise typer.Exit(REGRESSION)


def _files(argument: str) -> list[Path]:
    if not all(names := argument.split(",")):
        raise UserError(f"{argument!r}: give a file, or several separated by commas")
    return [Path(name) for name in names]


def _share(option: str) -> float:
    if not re.fullmatch(r"[0-9]{1,3}(\.[0-9]+)?%", option):
        raise UserError(f"--threshold {option!r}: give a percentage below 1000%, as 5%")
    return float(option[:-1]) / 100


def main() -> None:
    run(app)


if __name__ == "__main__":
    main()
