"""What tinygrad's kernel search costs, width by width, and what it gains."""

import math
from collections.abc import Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass
from pathlib import Path
from statistics import quantiles

from orin_bench.engine import interleave
from orin_bench.llm.phase import Phase
from orin_bench.llm.search import Search
from orin_bench.llm.source import Source
from orin_bench.llm.table import WIDTHS, Measured
from orin_bench.llm.throughput import held
from orin_bench.llm.width import Request, UnfinishedError, Width, WidthEngine
from orin_bench.plot import plot_sweep
from orin_bench.roofline import Roofline
from orin_bench.session import Session
from orin_core.progress import progress
from orin_nn.gguf.model import Model

SHOWN = (
    "model", "weights", "engine", "beam", "test", "tok/s", "spread", "ms p50", "ms p99",
    "of bandwidth", "kernels", "compile s", "searched", "search s", "speed", "pays after",
)  # fmt: skip
COLUMNS = {
    name: (WIDTHS | {"engine": 17, "searched": 8, "pays after": 16}).get(name, 5) for name in SHOWN
}


@dataclass(frozen=True)
class Result:
    """A phase as it was measured with a width of `beam`, and the search before it."""

    beam: int
    search: Search
    measured: Measured


@dataclass(frozen=True)
class Gain:
    """What a search of `seconds` gained over none: `base` became `measured`."""

    base: Measured
    measured: Measured
    seconds: float

    @property
    def speed(self) -> float:
        """How many times as fast."""
        return self.base.timing.median / self.measured.timing.median

    @property
    def tokens(self) -> float:
        """After how many tokens the search has saved as much time as it took.

        Infinitely many where there is no gain: where the middle halves of the steps overlap.
        """
        if _quartiles(self.measured.seconds)[1] >= _quartiles(self.base.seconds)[0]:
            return math.inf
        saved = self.base.timing.median - self.measured.timing.median
        return self.seconds / saved * self.measured.phase.step_tokens


def sweep(
    session: Session,
    source: Source,
    requests: Sequence[Request],
    roofline: Roofline,
    warmup: int,
    repetitions: int,
) -> list[Result]:
    """Measure one engine on one device with the widths of all `requests`, a row for each phase.

    They are searched one after the other, and then measured in turns. Speeds are compared with
    that of the width 0. `session.document` says under "unfinished" what could not be measured.
    """
    unfinished: list[str] = session.document.setdefault("unfinished", [])
    results: list[Result] = []
    model = held(source.model) if requests[0].engine == "orin_nn" else source.model
    with ExitStack() as stack:
        prepared: list[list[WidthEngine]] = []
        with progress(f"searching for {requests[0].engine}", len(requests)) as tick:
            for request in requests:
                width = stack.enter_context(closing(Width(request)))
                try:
                    prepared.append(width.prepare())
                except UnfinishedError as error:
                    unfinished.append(str(error))
                tick()
        try:
            for index, phase in enumerate(requests[0].task.phases):
                engines = [engines[index] for engines in prepared]
                for result in _measure(engines, phase, model, warmup, repetitions):
                    results.append(result)
                    _add(session, source, result, results, roofline)
        except UnfinishedError as error:
            unfinished.append(str(error))
    return results


def draw(path: Path, results: Sequence[Result]) -> None:
    """Draw generated tokens per second over the seconds of the search, a line for each engine."""
    generated = [result for result in results if result.measured.phase.generated]
    generated.sort(key=lambda result: result.search.seconds)
    costs = [round(result.search.seconds, 1) for result in generated]
    nothing = (math.nan,) * 3
    series: dict[str, list[tuple[float, float, float]]] = {}
    for index, result in enumerate(generated):
        bars = series.setdefault(result.measured.engine, [nothing] * len(costs))
        low, high = _quartiles(result.measured.seconds)
        bars[index] = 1 / high, 1 / result.measured.timing.median, 1 / low
    title = "Generated tokens by the cost of tinygrad's kernel search"
    plot_sweep(path, title, costs, series, "search, seconds", "tokens per second")


def _measure(
    engines: Sequence[WidthEngine], phase: Phase, model: Model, warmup: int, repetitions: int
) -> list[Result]:
    steps = phase.steps * repetitions
    with progress(f"{engines[0].name} {phase.name}", len(engines) * steps) as tick:
        timings = interleave(
            engines, warmup=warmup, repetitions=steps, rounds=repetitions, tick=tick
        )
    return [
        Result(
            engine.beam,
            engine.search,
            Measured(
                engine.name,
                engine.device,
                phase,
                model,
                timing.seconds,
                kernels=engine.kernels if phase.generated else None,
                compile_seconds=engine.compile_seconds,
                search_seconds=engine.search.seconds,
                memory=engine.memory,
            ),
        )
        for engine, timing in zip(engines, timings, strict=True)
    ]


def _add(
    session: Session, source: Source, result: Result, results: Sequence[Result], roofline: Roofline
) -> None:
    measured, search = result.measured, result.search
    figures = measured.figures(roofline)
    cells = measured.cells(source, roofline) | {"beam": str(result.beam)}
    cells |= dict.fromkeys(("searched", "speed", "pays after"), "-")
    if result.beam:
        figures |= {"searched": search.searched, "unsearched": search.unsearched}
        cells["searched"] = f"{search.searched} of {search.searched + search.unsearched}"
        same = (each for each in results if each.measured.phase == measured.phase)
        base = next((each.measured for each in same if each.beam == 0), None)
        if base:
            gain = Gain(base, measured, search.seconds)
            pays = gain.tokens < math.inf
            figures |= {"speed": gain.speed, "pays_after_tokens": gain.tokens if pays else None}
            cells["speed"] = f"{gain.speed:.2f}x"
            cells["pays after"] = f"{gain.tokens:,.0f} tokens" if pays else "never"
    case = measured.case(source) | {"beam": result.beam}
    row = [cells[name] for name in COLUMNS]
    session.add(case, measured.engine, measured.timing, row, **figures)


def _quartiles(seconds: Sequence[float]) -> tuple[float, float]:
    if len(seconds) == 1:
        return seconds[0], seconds[0]
    low, _, high = quantiles(seconds, n=4, method="inclusive")
    return low, high
