"""The table of bench-comprehensive: a row for each operation, size, type, device and engine."""

from collections.abc import Mapping, Sequence
from contextlib import closing, nullcontext

from orin_bench.ops.engines import Case, Measured, measure_cases
from orin_bench.ops.text import FIRST, LAST, cells, figures, percent, point, significant
from orin_bench.plot import Point
from orin_bench.roofline import Roofline
from orin_bench.session import Session
from orin_bench.torch_worker import TorchWorker

COLUMNS = {
    **FIRST,
    "TFLOP/s": 7,
    "GB/s": 7,
    "FLOP/byte": 7,
    "of roofline": 6,
    "error": 7,
    **LAST,
}


def benchmark(
    session: Session,
    cases: Sequence[tuple[str, Case]],
    rooflines: Mapping[str, Roofline],
    warmup: int,
    repetitions: int,
    *,
    versus_torch: bool,
) -> dict[str, list[Point]]:
    """Measure `cases`, each with the name of its size, a row an engine; what they attain by device.

    Cases that differ in the device alone are measured interleaved, and PyTorch with them.
    """
    points: dict[str, list[Point]] = {device: [] for device in rooflines}
    groups: dict[tuple[str, str], list[Case]] = {}
    for size, case in cases:
        groups.setdefault((size, str(case)), []).append(case)
    with closing(TorchWorker()) if versus_torch else nullcontext() as torch:
        for (size, _), group in groups.items():
            counts = [case.set_count(rooflines[case.device]) for case in group]
            for measured in measure_cases(group, counts, torch, warmup, repetitions):
                device = measured.case.device
                _add(session, size, measured, rooflines[device])
                points[device].append(point(measured))
    return points


def _add(session: Session, size: str, measured: Measured, roofline: Roofline) -> None:
    case = measured.case
    teraflops = significant(measured.flop_per_second / 1e12)
    gigabytes = significant(measured.bytes_per_second / 1e9)
    session.add(
        {
            "operation": case.operation.name,
            "size": size,
            "shape": str(case.operation),
            "device": case.device,
            "dtype": case.dtype,
        },
        measured.engine,
        measured.timing,
        cells(
            measured,
            [
                "-" if case.operation.streams else teraflops,
                gigabytes if case.operation.streams else "-",
                significant(measured.work.intensity),
                percent(measured.share(roofline)),
                f"{measured.error.relative:.1e}",
            ],
        ),
        **figures(measured, roofline),
    )
