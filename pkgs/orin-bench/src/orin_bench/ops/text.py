"""What the tables of this folder, and their files, have in common."""

import math
from typing import Any

from orin_bench.ops.engines import Measured
from orin_bench.plot import Point
from orin_bench.roofline import Roofline

# Of both tables the first columns, between which and the last stand each one's own.
FIRST = {
    "operation": 9,
    "size": 27,
    "engine": 19,
    "dtype": 8,
    "median us": 9,
    "p95 us": 9,
    "spread": 6,
}
LAST = {"compile s": 6}


def cells(measured: Measured, own: list[str]) -> list[str]:
    """A row, `own` between what both tables have."""
    case, timing = measured.case, measured.timing
    return [
        case.operation.name,
        str(case.operation),
        measured.engine,
        case.dtype,
        f"{timing.median * 1e6:.1f}",
        f"{timing.p95 * 1e6:.1f}",
        f"{timing.spread:.1%}",
        *own,
        f"{measured.compile_seconds:.1f}",
    ]


def figures(measured: Measured, roofline: Roofline) -> dict[str, Any]:
    """What a file says of a row besides its times."""
    return {
        "flop": measured.work.flops,
        "bytes": measured.work.bytes,
        "flop_per_second": measured.flop_per_second,
        "bytes_per_second": measured.bytes_per_second,
        "share_of_roofline": measured.share(roofline),
        "relative_error": measured.error.relative,
        "largest_error": measured.error.largest,
        "sets": measured.sets,
        "compile_seconds": measured.compile_seconds,
        "memory_bytes": measured.memory,
    }


def point(measured: Measured) -> Point:
    """A row's place under the roofline."""
    operation, dtype = measured.case.operation, measured.case.dtype
    label, intensity = f"{operation.name} {operation}", measured.work.intensity
    return Point(label, measured.engine, dtype, intensity, measured.flop_per_second)


def percent(share: float | None) -> str:
    return "-" if share is None else f"{share:.1%}"


def significant(value: float | None) -> str:
    """`value` with three significant digits, never with an exponent."""
    if value is None:
        return "-"
    whole = math.floor(math.log10(abs(value))) + 1 if value else 1
    return f"{value:.{max(0, 3 - whole)}f}"
