"""What the screen shows."""

from dataclasses import dataclass, field

from orin_telemetry.top import facts
from orin_telemetry.top.history import History
from orin_telemetry.top.snapshot import Snapshot


@dataclass
class State:
    """The last snapshot and the history, how often a new one comes, and whether it does.

    `zones` are the thermal zones seen so far: one that does not answer is no reason to forget it.
    """

    simulated: str  # the scenario's name; empty for a real board
    interval_s: float
    now: Snapshot | None = None
    history: History = field(default_factory=History)
    paused: bool = False
    zones: list[str] = field(default_factory=list)

    def add(self, now: Snapshot) -> None:
        """Take in the next snapshot."""
        self.now = now
        self.history.add(now, self.interval_s)
        self.zones = list(dict.fromkeys([*self.zones, *facts.zones(now.view)]))

    @property
    def snapshot(self) -> Snapshot:
        """The last snapshot; pages are drawn from the first one on."""
        assert self.now is not None
        return self.now
