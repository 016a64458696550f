"""A comparison as Markdown, and as a document for a file."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from orin_bench.compare.comparison import Comparison, Finding, Verdict
from orin_bench.compare.differences import differences, printable, recorded_warnings
from orin_bench.compare.result_file import SCHEMA
from orin_core.table import Table

ONE_RUN = (
    "one run a side: its steps share a process and disturb each other, so that interval and p are "
    "too sure of themselves. Only several runs a side tell how much runs differ"
)
MEANINGS = {
    Verdict.LOST: "lost: only the side before has the row. It counts as a regression",
    Verdict.TOO_FEW: "too few: even the clearest difference would not have been significant; "
    "measure with more --repetitions",
    Verdict.UNCLEAR: "unclear: neither a difference nor its absence is shown; measure with more "
    "--repetitions, or give more runs",
}


def print_report(comparison: Comparison) -> None:
    """Print what differs besides the program, the verdict on every row, and their sum."""
    sides = (("before", comparison.before), ("after", comparison.after))
    print(f"# {comparison.before[0].benchmark}, two sides compared\n")
    for name, side in sides:
        print(f"- {name}: {', '.join(printable(str(run.path)) for run in side)}")
    print(f"- threshold {comparison.threshold:.4g}, alpha {comparison.alpha:.4g}")
    for name, side in sides:
        for warning in dict.fromkeys(text for run in side for text in recorded_warnings(run)):
            print(f"- Warning, {name}: {warning}")
    different = differences(comparison.before, comparison.after)
    for warning in filter(None, (difference.warning for difference in different)):
        print(f"- Warning: {warning}")
    if different:
        print("\nWhat differs besides:\n")
        rows = [[fact.group, fact.name, fact.before, fact.after] for fact in different]
        _print_table(["of", "fact", "before", "after"], rows)
    print()
    interval = f"{100 * (1 - comparison.alpha):.4g}% interval"
    _print_table(
        ["case", "engine", "before", "after", "change", interval, "p", "verdict"],
        [_cells(finding) for finding in comparison.findings],
    )
    print()
    if len(comparison.before) == 1:
        print(f"- {ONE_RUN}")
    counts = Counter(finding.verdict for finding in comparison.findings)
    for verdict, meaning in MEANINGS.items():
        if verdict in counts:
            print(f"- {meaning}")
    total = ", ".join(f"{counts[verdict]} {verdict}" for verdict in Verdict if verdict in counts)
    print(f"\n{'Regression' if comparison.regressed else 'No regression'}: {total}")


def document(comparison: Comparison) -> dict[str, Any]:
    """The comparison for a JSON file: seconds, and ratios of the time after to that before."""
    return {
        "schema": SCHEMA,
        "benchmark": comparison.before[0].benchmark,
        "before": [str(run.path) for run in comparison.before],
        "after": [str(run.path) for run in comparison.after],
        "observation": "step" if len(comparison.before) == 1 else "run",
        "threshold": comparison.threshold,
        "alpha": comparison.alpha,
        "differences": [asdict(d) for d in differences(comparison.before, comparison.after)],
        "regressed": comparison.regressed,
        "findings": [
            {
                "case": finding.row.case,
                "engine": finding.row.engine,
                "verdict": finding.verdict,
                "p": finding.p,
                "evidence": asdict(finding.evidence) if finding.evidence else None,
            }
            for finding in comparison.findings
        ],
    }


def _cells(finding: Finding) -> list[str]:
    found, p = finding.evidence, finding.p
    figures = ["-"] * 5
    if found:
        figures[:3] = _duration(found.before), _duration(found.after), f"{found.ratio - 1:+.1%}"
    if found and p is not None:
        figures[3] = f"{found.low - 1:+.1%} to {found.high - 1:+.1%}"
        figures[4] = "<0.0001" if p < 1e-4 else f"{p:.2g}"
    return [finding.row.label, finding.row.engine, *figures, finding.verdict]


def _duration(seconds: float) -> str:
    units = (("s", 1.0), ("ms", 1e3), ("us", 1e6))
    unit, parts = next((unit for unit in units if seconds * unit[1] >= 1), units[-1])
    return f"{seconds * parts:.4g} {unit}"


def _print_table(headings: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    cells = [[cell.replace("|", "\\|") for cell in row] for row in rows]
    widths = [max(map(len, column)) for column in zip(headings, *cells, strict=True)]
    table = Table(dict(zip(headings, widths, strict=True)))
    for row in cells:
        # Table aligns what begins with a digit to the right; so do signs.
        table.row(
            [
                cell.rjust(width) if cell[:1] in "+-<" and len(cell) > 1 else cell
                for cell, width in zip(row, widths, strict=True)
            ]
        )
