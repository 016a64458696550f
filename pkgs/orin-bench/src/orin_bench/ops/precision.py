"""The table of bench-mixed-precision: speed beside accuracy, a row for each type and engine."""

from collections.abc import Mapping, Sequence
from contextlib import closing, nullcontext

from orin_bench.ops.engines import Case, Measured, measure_cases
from orin_bench.ops.operation import Operation
from orin_bench.ops.operations import Conv2d, Matmul
from orin_bench.ops.text import FIRST, LAST, cells, figures, percent, point, significant
from orin_bench.plot import Point
from orin_bench.roofline import Roofline
from orin_bench.session import Session
from orin_bench.torch_worker import TorchWorker

COLUMNS = {
    **FIRST,
    "TFLOP/s": 7,
    "x float32": 6,
    "of roofline": 6,
    "error": 7,
    "largest error": 7,
    **LAST,
}
# ResNet-50's 3x3 convolutions, of its first stage and of its third: channels and size.
CONVOLUTIONS = ((64, 56), (256, 14))


def matmuls(sizes: Sequence[int]) -> list[Operation]:
    """Square products."""
    return [Matmul(size, size, size) for size in sizes]


def convolutions(images: int) -> list[Operation]:
    return [Conv2d(images, channels, channels, size) for channels, size in CONVOLUTIONS]


def benchmark(
    session: Session,
    groups: Sequence[Sequence[Case]],
    rooflines: Mapping[str, Roofline],
    warmup: int,
    repetitions: int,
    *,
    versus_torch: bool,
) -> dict[str, list[Point]]:
    """Measure each of `groups`, an operation in all types; what they attain by device.

    All of a group are measured interleaved, and PyTorch with them.
    """
    points: dict[str, list[Point]] = {device: [] for device in rooflines}
    with closing(TorchWorker()) if versus_torch else nullcontext() as torch:
        for group in groups:
            counts = [case.set_count(rooflines[case.device]) for case in group]
            measured = measure_cases(group, counts, torch, warmup, repetitions)
            plain = {
                each.engine: each.timing.median for each in measured if each.case.dtype == "float32"
            }
            for each in measured:
                base = plain.get(each.engine, plain.get(each.engine.removesuffix(" tuned")))
                speedup = None if base is None else base / each.timing.median
                device = each.case.device
                _add(session, each, speedup, rooflines[device])
                points[device].append(point(each))
    return points


def _add(session: Session, measured: Measured, speedup: float | None, roofline: Roofline) -> None:
    case, error = measured.case, measured.error
    session.add(
        {
            "operation": case.operation.name,
            "shape": str(case.operation),
            "device": case.device,
            "dtype": case.dtype,
        },
        measured.engine,
        measured.timing,
        cells(
            measured,
            [
                significant(measured.flop_per_second / 1e12),
                significant(speedup),
                percent(measured.share(roofline)),
                f"{error.relative:.1e}",
                f"{error.largest:.1e}",
            ],
        ),
        speedup_over_float32=speedup,
        **figures(measured, roofline),
    )
