"""What every collector is."""

from abc import ABC, abstractmethod
from typing import ClassVar

from orin_telemetry.kernel import Kernel
from orin_telemetry.metric import Reading


class Collector(ABC):
    """Reads one kind of hardware.

    `discover` finds what this board and kernel have: at the start, every minute, and after a
    failure, since drivers come and go. `collect` reads only what was found.
    """

    name: ClassVar[str]
    #: seconds for which one reading serves every scrape: for what is slow to ask and slow to change
    lifetime_s: ClassVar[float] = 0.0

    def __init__(self, kernel: Kernel) -> None:
        self.kernel = kernel

    @abstractmethod
    def discover(self, reading: Reading) -> None:
        """Find the files to read; what is in the way becomes a failure of `reading`."""

    @abstractmethod
    def collect(self, reading: Reading) -> None:
        """Read them into `reading`."""
