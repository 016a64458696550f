"""All collectors in one scrape, none of which can hold up the others."""

import logging
import math
import threading
import time
from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import lru_cache

from prometheus_client.metrics_core import Metric
from prometheus_client.samples import Sample as PrometheusSample

from orin_telemetry.collectors.collector import Collector
from orin_telemetry.kernel import Kernel
from orin_telemetry.metric import Family, Reading, Sample

SUCCESS = Family(
    "jetson_collector_success", "Whether everything the collector asked answered.", ("collector",)
)
DURATION = Family(
    "jetson_collector_duration_seconds", "How long the collector took.", ("collector",)
)

DEADLINE_S = 0.7  # a scrape answers within a second, its text and the network included
PATIENCE_S = 0.2  # what one collector may take: ten times what the slowest needs on a board
DISCOVERY_S = 60.0
# Whoever asks again this soon gets the same answer, so that nobody can keep the board busy.
_FRESH_S = 0.2
_LOG_S = 60.0

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Scrape:
    """What all collectors said: their samples, and what failed by the collector's name."""

    samples: list[Sample]
    failures: dict[str, list[str]]


@dataclass
class _Job:
    """One collector and its present pass."""

    collector: Collector
    spread_s: float  # so that not all collectors discover in the same scrape
    discover_at: float = 0.0
    started: float = 0.0
    reading: Reading | None = None
    duration: float = 0.0
    failures: list[str] = field(default_factory=list)  # as the journal has them
    logged_at: float = -math.inf
    done: bool = True

    def run(self, reading: Reading) -> None:
        """One pass into `reading`."""
        started = time.perf_counter()
        try:
            if self.started >= self.discover_at:
                self.collector.discover(reading)
                since = (self.started - self.spread_s) % DISCOVERY_S
                self.discover_at = self.started + DISCOVERY_S - since
            self.collector.collect(reading)
        except Exception as error:  # a bug costs one collector, and its traceback is kept
            log.exception("%s: a bug", self.collector.name)
            reading.failures.append(f"{type(error).__name__}: {error}")
        if reading.failures:
            self.discover_at = 0.0
        self.duration = time.perf_counter() - started
        self.done = True


class _Walk(threading.Thread):
    """Runs one job after another, until it is left behind with one that hangs.

    A thread, because a read that hangs cannot be interrupted; a daemon, so that the end of the
    process waits for no read. One for all, because handing each collector to a thread of its own
    cost more than what most of them read.
    """

    def __init__(self, todo: deque[_Job]) -> None:
        super().__init__(name="scrape", daemon=True)
        self._todo = todo
        self._lock = threading.Lock()  # of the next two, and of who takes the next job
        self._since = time.monotonic()  # when the present job began
        self._left = False

    def run(self) -> None:
        """Take jobs off the queue while there are any."""
        while True:
            with self._lock:
                if self._left or not self._todo:
                    return
                job, self._since = self._todo.popleft(), time.monotonic()
            assert job.reading is not None
            job.run(job.reading)

    def wait(self, patience_s: float, end: float) -> None:
        """Return when all is done, when one job takes longer than it may, or at `end`."""
        while self.is_alive():
            self.join(max(0.0, min(self._since + patience_s, end) - time.monotonic()))
            with self._lock:
                self._left = time.monotonic() >= min(self._since + patience_s, end)
                if self._left:
                    return


@lru_cache(maxsize=1024)  # bounded, as processes come and go
def _labels(family: Family, values: tuple[str, ...]) -> dict[str, str]:
    """The labels of a series by name: the same in every scrape."""
    return dict(zip(family.labels, values, strict=True))


class Scraper:
    """Runs the collectors one after another, and past any that hangs.

    A collector that is late loses what it has not read yet, is reported as failed, and is left
    alone until its read returns; the others are not affected. Also a collector in the sense of
    prometheus_client: register it with a registry.
    """

    def __init__(
        self,
        kernel: Kernel,
        collectors: Sequence[Collector],
        deadline_s: float = DEADLINE_S,
        patience_s: float = PATIENCE_S,
    ) -> None:
        self._kernel = kernel
        self._deadline_s = deadline_s
        self._patience_s = patience_s
        self._jobs = [
            _Job(collector, spread_s=DISCOVERY_S * index / len(collectors))
            for index, collector in enumerate(collectors)
        ]
        self._lock = threading.Lock()
        self._last: tuple[float, Scrape] | None = None

    def scrape(self) -> Scrape:
        """The readings of all collectors, at most a fifth of a second old."""
        with self._lock:
            now = time.monotonic()
            if self._last is None or now - self._last[0] >= _FRESH_S:
                self._last = (now, self._scrape(now))
            return self._last[1]

    def collect(self) -> Iterable[Metric]:
        """The samples as prometheus_client's metrics."""
        metrics: dict[Family, Metric] = {}
        seen: set[tuple[str, tuple[str, ...]]] = set()
        for sample in self.scrape().samples:
            family = sample.family
            # Prometheus refuses a series that comes twice; two files may tell the same (EMC).
            if (key := (family.name, sample.labels)) in seen:
                continue
            seen.add(key)
            if (metric := metrics.get(family)) is None:
                name = family.name.removesuffix("_total")
                metric = metrics[family] = Metric(name, family.help, family.kind)
            metric.samples.append(
                PrometheusSample(family.name, _labels(family, sample.labels), float(sample.value))
            )
        return metrics.values()

    def _scrape(self, now: float) -> Scrape:
        asked = [job for job in self._jobs if job.done]
        todo = deque(job for job in asked if self._begin(job, now))
        end = now + self._deadline_s
        try:
            while todo and time.monotonic() < end:
                walk = _Walk(todo)
                walk.start()
                walk.wait(self._patience_s, end)
        except RuntimeError as error:  # no thread to be had: asked again at the next scrape
            log.error("scrape: %s", error)
        for job in todo:  # so many hung that the time is over
            assert job.reading is not None
            job.reading.failures.append(f"{job.collector.name}: not asked, others do not answer")
            job.done = True
        scrape = Scrape([], {})
        for job in self._jobs:
            self._finish(job, scrape, fresh=job in asked)
        return scrape

    def _begin(self, job: _Job, now: float) -> bool:
        """Prepare the job's next pass, unless its last one still serves."""
        kept = job.reading is not None and not job.reading.failures
        if kept and now - job.started < job.collector.lifetime_s:
            return False
        job.started = now
        job.reading = Reading(self._kernel)
        job.done = False
        return True

    def _finish(self, job: _Job, scrape: Scrape, fresh: bool) -> None:
        name, reading = job.collector.name, job.reading
        assert reading is not None
        # A copy: a late thread may still be adding to it.
        failures, duration = list(reading.failures), job.duration
        if not job.done:
            duration = time.monotonic() - job.started
            failures.append(f"{reading.path or name}: no answer")
        if fresh:
            scrape.samples.extend(list(reading.samples))
        scrape.samples.append(Sample(SUCCESS, (name,), not failures))
        scrape.samples.append(Sample(DURATION, (name,), duration))
        if failures:
            scrape.failures[name] = failures
        # A file that flaps, or says something else each time, must not fill the journal.
        if failures != job.failures and job.started - job.logged_at >= _LOG_S:
            for failure in failures:
                if failure not in job.failures:
                    log.warning("%s: %s", name, failure)
            if not failures:
                log.warning("%s: everything answers again", name)
            job.failures, job.logged_at = failures, job.started
