"""What was measured of a language model, as figures for a file and as cells of a table."""

from dataclasses import dataclass
from statistics import mean, stdev
from typing import Any

from orin_bench.llm.phase import Phase
from orin_bench.llm.source import Source
from orin_bench.plot import Point
from orin_bench.roofline import Roofline
from orin_core.timing import Timing
from orin_nn.gguf.model import Model

# The columns that every table of a language model may have, and the widest text in each.
WIDTHS = {
    "model": 28,
    "weights": 6,
    "engine": 13,
    "test": 12,
    "tok/s": 16,
    "spread": 6,
    "ms p50": 8,
    "ms p99": 8,
    "MB/token": 8,
    "of bandwidth": 6,
    "TFLOP/s": 7,
    "of roofline": 6,
    "kernels": 5,
    "compile s": 6,
    "search s": 6,
    "memory MB": 6,
}


@dataclass(frozen=True)
class Measured:
    """One engine's `phase` on one device: the seconds of all repetitions' steps, in their order.

    `model` is the model as the engine holds it. What an engine does not tell is None, and `apart`
    is false where it tells only a repetition's mean step. `kernels` are those of a token.
    """

    engine: str
    device: str
    phase: Phase
    model: Model
    seconds: list[float]
    apart: bool = True
    kernels: int | None = None
    compile_seconds: float | None = None
    search_seconds: float | None = None
    memory: int | None = None

    @property
    def timing(self) -> Timing:
        """Of a step."""
        return Timing(self.seconds)

    @property
    def rates(self) -> list[float]:
        """Tokens per second of each repetition."""
        steps = self.phase.steps if self.apart else 1
        starts = range(0, len(self.seconds), steps)
        return [
            self.phase.step_tokens * steps / sum(self.seconds[start : start + steps])
            for start in starts
        ]

    @property
    def dtype(self) -> str:
        """What its peak is taken from."""
        return "float32" if self.device == "CPU" else "float16"

    @property
    def point(self) -> Point:
        flops, traffic = self.phase.flops(self.model.shape), self.phase.bytes(self.model)
        label = f"{self.model.quantization} {self.phase.name}"
        rate = flops / self.timing.median
        return Point(label, self.engine, self.dtype, flops / traffic, rate)

    def case(self, source: Source) -> dict[str, Any]:
        return {
            "model": source.label,
            "weights": self.model.quantization,
            "device": self.device,
            "test": self.phase.name,
        }

    def figures(self, roofline: Roofline) -> dict[str, Any]:
        """In SI units; rates are of the median step, tokens per second of the repetitions."""
        flops, traffic = self.phase.flops(self.model.shape), self.phase.bytes(self.model)
        step, rates = self.timing.median, self.rates
        return {
            "tokens_per_second": mean(rates),
            "tokens_per_second_deviation": stdev(rates) if len(rates) > 1 else 0.0,
            "tokens_per_second_spread": Timing(rates).spread,
            "p99_seconds": self.timing.p99 if self.apart else None,
            "bytes_per_token": traffic / self.phase.step_tokens,
            "share_of_bandwidth": traffic / step / roofline.bandwidth,
            "flop_per_second": flops / step,
            "share_of_roofline": roofline.share(self.dtype, flops, traffic, step),
            "kernels_per_token": self.kernels,
            "compile_seconds": self.compile_seconds,
            "search_seconds": self.search_seconds,
            "memory_bytes": self.memory,
        }

    def cells(self, source: Source, roofline: Roofline) -> dict[str, str]:
        """The text of every column in WIDTHS."""
        known = self.figures(roofline)

        def cell(name: str, form: str, unit: float = 1) -> str:
            return "-" if known[name] is None else form.format(known[name] / unit)

        deviation = cell("tokens_per_second_deviation", "{:.2f}")
        return {
            "model": source.label,
            "weights": self.model.quantization,
            "engine": self.engine,
            "test": self.phase.name,
            "tok/s": f"{cell('tokens_per_second', '{:.2f}')} ± {deviation}",
            "spread": cell("tokens_per_second_spread", "{:.1%}"),
            "ms p50": f"{self.timing.median * 1e3:.3f}",
            "ms p99": cell("p99_seconds", "{:.3f}", 1e-3),
            "MB/token": cell("bytes_per_token", "{:.1f}", 1e6),
            "of bandwidth": cell("share_of_bandwidth", "{:.1%}"),
            "TFLOP/s": cell("flop_per_second", "{:.3f}", 1e12),
            "of roofline": cell("share_of_roofline", "{:.1%}"),
            "kernels": cell("kernels_per_token", "{:.0f}"),
            "compile s": cell("compile_seconds", "{:.1f}"),
            "search s": cell("search_seconds", "{:.1f}"),
            "memory MB": cell("memory_bytes", "{:.0f}", 1e6),
        }
