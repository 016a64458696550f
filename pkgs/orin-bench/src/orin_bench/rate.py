"""What a run of one engine comes to."""

from dataclasses import dataclass

from orin_core.timing import Timing


@dataclass(frozen=True)
class Rate:
    """Seconds of preparation, bytes of device memory, and the durations of the steps."""

    engine: str
    compile_seconds: float
    memory: int
    timing: Timing
