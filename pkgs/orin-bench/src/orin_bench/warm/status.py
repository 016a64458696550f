"""What is in the cache, counted."""

from collections import Counter

from tinygrad.helpers import CACHEDB

from orin_bench.warm.cache import STATES, Cache
from orin_core.table import Table

UNTOLD = "tinygrad's"  # searched by tinygrad itself, which stores no architecture


def print_status(cache: Cache) -> None:
    """A row for each device, architecture and beam, with how many kernels are in which state."""
    counts: Counter[tuple[str, str, int]] = Counter()
    states: Counter[tuple[str, str, int, str]] = Counter()
    for entry in cache.entries():
        architecture = entry.outcome.architecture if entry.outcome else "-"
        row = entry.key["device"], architecture, entry.key["amt"]
        counts[row] += 1
        states[*row, entry.outcome.state if entry.outcome else UNTOLD] += 1
    print(f"{CACHEDB}: {counts.total()} kernels")
    if not counts:
        return
    columns = [*STATES, UNTOLD]
    table = Table({"device": 6, "architecture": 13, "beam": 4} | dict.fromkeys(columns, 5))
    for row in sorted(counts):
        device, architecture, beam = row
        numbers = [str(states[*row, column]) for column in columns]
        table.row([device, architecture, str(beam), *numbers])
