"""How fast networks run: a row of the table for each network, device, dtype, batch and engine."""

from collections.abc import Mapping, Sequence
from contextlib import ExitStack, closing, nullcontext
from dataclasses import asdict, dataclass
from pathlib import Path

from tinygrad.dtype import to_dtype

from orin_bench.cnn.inference import Inference
from orin_bench.cnn.network import Size, measure_size, randomize
from orin_bench.cnn.networks import NETWORKS
from orin_bench.cnn.weights import load_weights
from orin_bench.engine import Engine, interleave
from orin_bench.plot import Point
from orin_bench.roofline import Roofline
from orin_bench.session import Session
from orin_bench.torch_worker import TorchWorker
from orin_core.memory import check_fits, fitting
from orin_core.progress import progress
from orin_core.timing import Timing

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
    "of roofline": 6,
    "compile s": 6,
    "memory MB": 6,
}

REMEDY = "give a smaller --batch"


@dataclass(frozen=True)
class Case:
    """One network on one device (tinygrad's name), in one type, in batches of one size."""

    network: str
    device: str
    dtype: str
    batch: int

    def __str__(self) -> str:
        return f"{self.network} {self.dtype} batch {self.batch}"


def measure_sizes(cases: Sequence[Case]) -> dict[str, Size]:
    """The size of every network in `cases`. Raises UserError for a case that is sure not to fit."""
    sizes = {name: measure_size(NETWORKS[name]()) for name in {case.network for case in cases}}
    for case in cases:
        needed = sizes[case.network].memory(case.batch, to_dtype(case.dtype).itemsize)
        check_fits(str(case), needed, case.device, REMEDY)
    return sizes


def benchmark(
    session: Session,
    cases: Sequence[Case],
    sizes: Mapping[str, Size],
    rooflines: Mapping[str, Roofline],
    weights: Path | None,
    warmup: int,
    repetitions: int,
    *,
    versus_torch: bool,
) -> dict[str, list[Point]]:
    """Measure every case, a row each, PyTorch's beside it; what was attained, by device.

    `rooflines` are by device too. Cases that differ in the device alone are measured interleaved,
    and PyTorch with them.
    """
    points: dict[str, list[Point]] = {case.device: [] for case in cases}
    groups: dict[tuple[str, str, int], list[Case]] = {}
    for case in cases:
        groups.setdefault((case.network, case.dtype, case.batch), []).append(case)
    with closing(TorchWorker()) if versus_torch else nullcontext() as torch:
        for group in groups.values():
            with ExitStack() as stack:
                engines = _prepare(group, weights, torch, stack)
                with progress(str(group[0]), len(engines) * repetitions) as tick:
                    timings = interleave(
                        [engine for _, engine in engines],
                        warmup=warmup,
                        repetitions=repetitions,
                        tick=tick,
                    )
            for (case, engine), timing in zip(engines, timings, strict=True):
                point = _add(session, case, engine, timing, sizes, rooflines[case.device])
                points[case.device].append(point)
    return points


def _prepare(
    cases: Sequence[Case], weights: Path | None, torch: TorchWorker | None, stack: ExitStack
) -> list[tuple[Case, Engine]]:
    """The engines of `cases`, PyTorch's last; `stack` closes them."""
    engines: list[tuple[Case, Engine]] = []
    for case in cases:
        network = NETWORKS[case.network]()
        if weights:
            load_weights(network, weights)
        else:
            randomize(network)
        with fitting(str(case), REMEDY):
            inference = Inference(network, case.device, case.dtype, case.batch)
        engines.append((case, stack.enter_context(closing(inference.engine))))
    gpu = next((case for case in cases if case.device != "CPU"), None)
    if torch and gpu:
        started = torch.start(
            "orin_bench.cnn.torch_cnn:engines",
            network=gpu.network,
            dtype=gpu.dtype,
            batch=gpu.batch,
        )
        engines += [(gpu, stack.enter_context(closing(engine))) for engine in started]
    return engines


def _add(
    session: Session,
    case: Case,
    engine: Engine,
    timing: Timing,
    sizes: Mapping[str, Size],
    roofline: Roofline,
) -> Point:
    size = sizes[case.network]
    flops = 2 * case.batch * size.macs
    traffic = size.traffic(case.batch, to_dtype(case.dtype).itemsize)
    share = roofline.share(case.dtype, flops, traffic, timing.median)
    cells = [
        case.network,
        engine.name,
        case.dtype,
        str(case.batch),
        f"{timing.median * 1e3:.3f}",
        f"{timing.p95 * 1e3:.3f}",
        f"{timing.spread:.1%}",
        f"{case.batch / timing.median:.1f}",
        f"{flops / timing.median / 1e12:.3f}",
        "-" if share is None else f"{share:.1%}",
        f"{engine.compile_seconds:.1f}",
        f"{engine.memory / 1e6:.0f}",
    ]
    session.add(
        asdict(case),
        engine.name,
        timing,
        cells,
        images_per_second=case.batch / timing.median,
        flop_per_second=flops / timing.median,
        share_of_roofline=share,
        compile_seconds=engine.compile_seconds,
        memory_bytes=engine.memory,
    )
    label = f"{case.network} x{case.batch}"
    return Point(label, engine.name, case.dtype, flops / traffic, flops / timing.median)
