"""Searching a command's kernels within a time, where it saves most first."""

import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from tinygrad.helpers import CACHEDB

from orin_bench.warm.cache import (
    BEGUN,
    FAILED,
    FASTER,
    KEPT,
    WAITING,
    Cache,
    Entry,
    Outcome,
    is_finished,
    is_of,
)
from orin_bench.warm.duration import format_duration
from orin_bench.warm.kernel import Kernel
from orin_bench.warm.profile import Profile, Step
from orin_bench.warm.program import Program, Steps
from orin_bench.warm.worker import HangError, Search, Worker, WorkerError
from orin_core.cli import UserError
from orin_core.table import Table

COLUMNS = {
    "kernel": 36,
    "share": 5,
    "launches": 4,
    "before us": 9,
    "after us": 9,
    "gain": 6,
    "search s": 6,
    "step ms": 8,
    "outcome": 7,
}
CANDIDATES = 3  # of a search's best are checked: one may be wrong, and the search's times are rough
LEAST_SECONDS = 5.0  # for one search: a shorter one ends in its first generation
CHECK_SECONDS = 2.0  # kept free at the end for checking what was found last
# What a search of the bare kernel is worth beside one that starts from tinygrad's own choice, which
# finds most of what there is to find in a fraction of the time.
BARE_WORTH = 0.25


@dataclass(frozen=True)
class Task:
    """One search of a kernel, from tinygrad's own choice or `bare`."""

    kernel: Kernel
    bare: bool

    @property
    def worth(self) -> float:
        return self.kernel.total * (BARE_WORTH if self.bare else 1.0)


@dataclass(frozen=True)
class Searched:
    """A kernel's outcome so far, and the seconds of the search; None if it was known before."""

    kernel: Kernel
    outcome: Outcome
    seconds: float | None

    @property
    def saved(self) -> float:
        """Seconds that a launch in the program is shorter, in the proportion measured here."""
        before, after = self.outcome.before, self.outcome.after
        return self.kernel.seconds * (1 - after / before) if before and after else 0.0


def warm(program: Program, width: int, budget: float, top: int | None) -> None:
    """Profile `program`, search its kernels for `budget` seconds, measure what that gained.

    Every kernel is in the cache afterwards, those that were not searched with tinygrad's own
    choice, so that the program with a beam of `width` starts without searching. `top` limits how
    many are searched. A later call goes on where this one ended, however that was.
    """
    cache = Cache()
    profile = program.profile(width)
    kernels = [kernel for kernel in profile.kernels if not kernel.fixed]
    _stand_in(cache, kernels, width)
    main = profile.steps[profile.costliest]
    before = main.seconds
    print(
        f"{program.line}: {len(profile.kernels)} kernels; the costliest step takes"
        f" {before * 1e3:.3f} ms in {len(main.launches)} of them;"
        f" searching with a beam of {width} for {format_duration(budget)}",
        flush=True,
    )
    done: dict[Kernel, Searched] = {}
    start = time.monotonic()
    table = Table(COLUMNS)
    step = before
    try:
        for searched in _search(cache, kernels[:top], width, start + budget):
            done[searched.kernel] = searched
            saved = sum(main.launches.get(kernel, 0) * done[kernel].saved for kernel in done)
            step = before - saved / main.replays
            table.row(_cells(searched, profile, main, step))
    except KeyboardInterrupt:
        print(
            f"{len(done)} of {len(kernels)} kernels were searched and are kept in {CACHEDB};"
            " the same command goes on with the others",
            file=sys.stderr,
        )
        raise
    share = sum(kernel.total for kernel in done) / profile.total
    print(
        f"{len(done)} of {len(kernels)} kernels, {share:.0%} of the time, in"
        f" {format_duration(time.monotonic() - start)}: a step's kernels"
        f" {before * 1e3:.3f} -> {step * 1e3:.3f} ms",
        flush=True,
    )
    _measure(program, width, profile)


def _stand_in(cache: Cache, kernels: Sequence[Kernel], width: int) -> None:
    """Store tinygrad's own choice for kernels that the cache does not have."""
    cache.put(
        Entry(key, kernel.baseline, Outcome(WAITING, kernel.name, kernel.architecture))
        for kernel in kernels
        for key in [kernel.key(width)]
        if not _is_known(cache.get(key), kernel)
    )


def _is_known(entry: Entry | None, kernel: Kernel) -> bool:
    """Whether the entry is of this GPU, and not one that failed before anything was measured.

    That may have been for a reason that is gone, as memory that another program held.
    """
    if entry is None or not is_of(entry, kernel.architecture):
        return False
    outcome = entry.outcome
    return outcome is None or outcome.state != FAILED or outcome.before is not None


def _search(cache: Cache, kernels: Sequence[Kernel], width: int, end: float) -> Iterator[Searched]:
    """Yield what is finished, then search the others until time.monotonic() is `end`."""
    tasks = []
    for kernel in kernels:
        entry = _entry(cache, kernel, width)
        if entry.outcome and is_finished(entry):
            yield Searched(kernel, entry.outcome, None)
            continue
        if kernel.baseline and entry.outcome and entry.outcome.state == WAITING:
            tasks.append(Task(kernel, bare=False))
        tasks.append(Task(kernel, bare=True))
    tasks.sort(key=lambda task: task.worth, reverse=True)
    last = end - CHECK_SECONDS
    worker = Worker()
    try:
        for index, task in enumerate(tasks):
            entry = _entry(cache, task.kernel, width)
            now = time.monotonic()
            if is_finished(entry) or now > last:
                continue
            # Twice its share of the time left: what is hot deserves more, and what a short search
            # leaves over goes to the others.
            share = task.worth / sum(other.worth for other in tasks[index:])
            seconds = max(LEAST_SECONDS, 2 * share * (last - now))
            entry = _improve(worker, task, width, entry, min(now + seconds, last), last)
            cache.put([entry])
            assert entry.outcome
            yield Searched(task.kernel, entry.outcome, time.monotonic() - now)
    finally:
        worker.close()


def _entry(cache: Cache, kernel: Kernel, width: int) -> Entry:
    entry = cache.get(kernel.key(width))
    assert entry  # _stand_in has put one there
    return entry


def _improve(
    worker: Worker, task: Task, width: int, entry: Entry, deadline: float, last: float
) -> Entry:
    """What a search until `deadline` makes of `entry`; one of tinygrad's own is only checked.

    A search that the end of the budget, `last`, cuts short is to be done again. What tinygrad found
    by itself and is wrong here is searched in the next call.
    """
    kernel = task.kernel
    found = Search()
    unfinished = None
    if entry.outcome:
        found = worker.search(kernel, () if task.bare else kernel.baseline, width, deadline)
        if time.monotonic() >= deadline == last:
            unfinished = entry.outcome.state
        elif not task.bare:
            unfinished = BEGUN
    candidates = found.best(CANDIDATES)
    if entry.opts != kernel.baseline:
        candidates.append(entry.opts)
    reason = found.failure
    checked = None
    try:
        try:
            checked = worker.check(kernel, candidates)
        except HangError:
            raise
        except WorkerError:  # a candidate of the search may have left the device unusable
            checked = worker.check(kernel, candidates)
        if checked.wrong == len(candidates) > 0:
            reason = f"{checked.wrong} of {len(candidates)} candidates are wrong"
    except WorkerError as error:
        reason = str(error)
    if unfinished and not reason:
        state = unfinished
    elif checked and checked.opts:
        state = FASTER
    elif reason and not entry.outcome:
        state = WAITING
    else:
        state = FAILED if reason else KEPT
    outcome = Outcome(
        state,
        kernel.name,
        kernel.architecture,
        checked.before if checked else None,
        checked.after if checked else None,
        reason,
    )
    return Entry(entry.key, (checked and checked.opts) or kernel.baseline, outcome)


def _cells(searched: Searched, profile: Profile, main: Step, step: float) -> list[str]:
    kernel, outcome = searched.kernel, searched.outcome
    before, after = outcome.before, outcome.after
    return [
        kernel.name,
        f"{kernel.total / profile.total:.1%}",
        f"{main.launches.get(kernel, 0) / main.replays:.4g}",
        f"{before * 1e6:.1f}" if before else "-",
        f"{after * 1e6:.1f}" if after else "-",
        f"{before / after:.2f}x" if before and after else "-",
        "-" if searched.seconds is None else f"{searched.seconds:.1f}",
        f"{step * 1e3:.3f}",
        outcome.state + (f" ({outcome.reason})" if outcome.reason else ""),
    ]


def _measure(program: Program, width: int, profile: Profile) -> None:
    """Run the program without and with what was found; print both, and what a step gained."""
    runs: list[Steps] = []
    for title, beam in (("before", 0), ("after", width)):
        print(f"\n{title}, JITBEAM={beam}:", flush=True)
        runs.append(program.steps(beam))
    if any(len(run.seconds) != len(profile.steps) for run in runs):
        raise UserError(f"{program.line}: replays other steps in each run: nothing to compare")
    before, after = (run.seconds[profile.costliest] for run in runs)
    if unsearched := runs[1].unsearched:
        print(f"{unsearched} kernels were not in the profile, and ran unsearched")
    print(
        f"\nmeasured: the step {before * 1e3:.3f} -> {after * 1e3:.3f} ms,"
        f" {before / after:.2f} times as fast; from now on: JITBEAM={width} {program.line}"
    )
