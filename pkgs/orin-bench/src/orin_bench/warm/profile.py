"""What a command's kernels cost, from what the recorder saw."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from statistics import median
from typing import Any

from tinygrad.helpers import ansistrip

from orin_bench.warm.kernel import Kernel


@dataclass(frozen=True)
class Step:
    """One TinyJit: how often it was replayed, and how often each kernel ran in all replays."""

    replays: int
    launches: dict[Kernel, int]

    @property
    def total(self) -> float:
        """Seconds of all its kernels in all replays."""
        return sum(count * kernel.seconds for kernel, count in self.launches.items())

    @property
    def seconds(self) -> float:
        """What its kernels take in one replay."""
        return self.total / self.replays


@dataclass(frozen=True)
class Profile:
    """All kernels that the command replayed, the costliest first, and its TinyJits."""

    kernels: list[Kernel]
    steps: list[Step]

    @property
    def total(self) -> float:
        """Seconds of all launches of all kernels."""
        return sum(kernel.total for kernel in self.kernels)

    @property
    def costliest(self) -> int:
        """The index of the step that took most of the time: the others prepare or measure."""
        return max(range(len(self.steps)), key=lambda index: self.steps[index].total)


def profile(records: Sequence[dict[str, Any]]) -> Profile:
    """The profile of all programs that the command ran; a kernel that several ran is one."""
    kernels: dict[tuple[bytes, str], Kernel] = {}
    identities = []
    for record in records:
        for seen in record["kernels"]:
            kernel = _kernel(**seen)
            identities.append(identity := (kernel.ast.key, kernel.target))
            if known := kernels.get(identity):
                kernel = replace(known, launches=known.launches + kernel.launches)
            kernels[identity] = kernel
    steps = []
    first = 0
    for record in records:
        for step in record["steps"]:
            launches = {
                kernels[identities[first + index]]: count
                for index, count in step["launches"].items()
            }
            steps.append(Step(step["replays"], launches))
        first += len(record["kernels"])
    order = sorted(kernels.values(), key=lambda kernel: kernel.total, reverse=True)
    return Profile(order, steps)


def _kernel(name: str, seconds: list[float], index: int, **facts: Any) -> Kernel:
    del index
    return Kernel(name=ansistrip(name), seconds=median(seconds), launches=len(seconds), **facts)
