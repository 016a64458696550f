"""How fast networks run: one row of the table per network, device, dtype, batch and engine."""

import errno
import os
from collections.abc import Iterator, Sequence
from contextlib import closing, nullcontext
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from orin_bench.cnn.inference import Inference
from orin_bench.cnn.layers import Layer
from orin_bench.cnn.network import count_macs, randomize
from orin_bench.cnn.networks import NETWORKS
from orin_bench.cnn.torch_rates import TorchWorker
from orin_bench.cnn.weights import load_weights
from orin_bench.peaks import peak
from orin_bench.rate import Rate
from orin_core.cli import UserError
from orin_core.machine import facts
from orin_core.progress import progress
from orin_core.table import Table
from orin_core.timing import measure

COLUMNS = {
    "network": 15,
    "engine": 13,
    "dtype": 7,
    "batch": 3,
    "median ms": 8,
    "p95 ms": 8,
    "spread": 6,
    "images/s": 8,
    "TFLOP/s": 7,
    "of peak": 6,
    "compile s": 6,
    "memory MB": 6,
}


@dataclass(frozen=True)
class Case:
    """One network on one device (tinygrad's name), in one type, in batches of one size."""

    network: str
    device: str
    dtype: str
    batch: int


def benchmark(
    cases: Sequence[Case],
    weights: Path | None,
    warmup: int,
    repetitions: int,
    *,
    versus_torch: bool,
) -> Iterator[dict[str, Any]]:
    """Measure every case; print each row and yield it in SI units as soon as it is known."""
    machine = facts()
    settings = {
        "weights": str(weights) if weights else "random",
        "beam": int(os.environ.get("JITBEAM") or os.environ.get("BEAM") or 0),
        "warmup": warmup,
    }
    table = Table(COLUMNS)
    with closing(TorchWorker()) if versus_torch else nullcontext() as torch:
        for case in cases:
            network = NETWORKS[case.network]()
            if weights:
                load_weights(network, weights)
            else:
                randomize(network)
            flops = 2 * case.batch * count_macs(network)
            rates = [_measure(network, case, warmup, repetitions)]
            if torch and case.device != "CPU":
                rates += torch.rates(case.network, case.dtype, case.batch, warmup, repetitions)
            for rate in rates:
                row = _row(case, rate, flops, peak(machine, case.device, case.dtype)) | settings
                table.row(_cells(row))
                yield row


def _measure(network: Layer, case: Case, warmup: int, repetitions: int) -> Rate:
    title = f"{case.network} {case.dtype} batch {case.batch}"
    with progress(title, warmup + repetitions) as tick:
        try:
            inference = Inference(network, case.device, case.dtype, case.batch)
        except (MemoryError, OSError) as error:
            if isinstance(error, OSError) and error.errno != errno.ENOMEM:
                raise
            raise UserError(f"{title} does not fit: {error}; give a smaller --batch") from None
        timing = measure(
            inference.step,
            inference.synchronize,
            warmup=warmup,
            repetitions=repetitions,
            tick=tick,
        )
    engine = f"tinygrad {case.device}"
    return Rate(engine, inference.compile_seconds, inference.memory, timing)


def _row(case: Case, rate: Rate, flops: int, peak: float | None) -> dict[str, Any]:
    timing = rate.timing
    achieved = flops / timing.median
    return {
        **asdict(case),
        "engine": rate.engine,
        "median_seconds": timing.median,
        "p95_seconds": timing.p95,
        "spread": timing.spread,
        "images_per_second": case.batch / timing.median,
        "flop_per_second": achieved,
        "share_of_peak": achieved / peak if peak else None,
        "compile_seconds": rate.compile_seconds,
        "memory_bytes": rate.memory,
        "seconds": timing.seconds,
    }


def _cells(row: dict[str, Any]) -> list[str]:
    share = row["share_of_peak"]
    return [
        row["network"],
        row["engine"],
        row["dtype"],
        str(row["batch"]),
        f"{row['median_seconds'] * 1e3:.3f}",
        f"{row['p95_seconds'] * 1e3:.3f}",
        f"{row['spread']:.1%}",
        f"{row['images_per_second']:.1f}",
        f"{row['flop_per_second'] / 1e12:.3f}",
        "-" if share is None else f"{share:.1%}",
        f"{row['compile_seconds']:.1f}",
        f"{row['memory_bytes'] / 1e6:.0f}",
    ]
