"""Several servers under the same loads, in turns, so that a machine's drift meets all of them."""

import random
from collections.abc import Sequence
from dataclasses import dataclass

from orin_core.cli import UserError
from orin_core.progress import progress
from orin_llm.load.answer import Answer, GoneError, Target
from orin_llm.load.drive import Bodies, Extent, Load, Step, run_round
from orin_llm.load.figures import Round, figures
from orin_llm.load.report import Report
from orin_llm.load.server import Server


@dataclass(frozen=True)
class Contestant:
    """A server with the requests it gets."""

    server: Server
    target: Target
    bodies: Bodies


@dataclass(frozen=True)
class Plan:
    """What every server goes through. `requests` and `seconds` are of a server and load, split
    among `rounds`; one of them is None, or both for the load's own number."""

    loads: Sequence[Load]
    requests: int | None
    seconds: float | None
    rounds: int
    warmup: int  # waves of as many requests as the load has under way
    seed: str

    def extents(self, load: Load) -> list[Extent]:
        """Of each round. A round of fewer requests than there are clients would not load."""
        if self.seconds is not None:
            return [Extent(seconds=self.seconds / self.rounds)] * self.rounds
        requests = self.requests or load.default_requests()
        rounds = max(1, min(self.rounds, requests // load.wave))
        share, rest = divmod(requests, rounds)
        return [Extent(requests=share + (index < rest)) for index in range(rounds)]

    def steps(self, load: Load) -> int:
        """Of a progress bar, a server: requests where their number is known, else rounds."""
        return sum(extent.requests or 1 for extent in self.extents(load))


async def measure(contestants: Sequence[Contestant], plan: Plan, report: Report) -> None:
    """Put every load of `plan` on every contestant and add the figures to `report`: also those of
    a load that an error or Ctrl-C ends.

    Raises UserError if a server refuses the first request or is there no longer.
    """
    for load in plan.loads:
        rounds: list[list[Round]] = [[] for _ in contestants]
        try:
            await _take_turns(contestants, load, plan, rounds)
        finally:
            for each, done in zip(contestants, rounds, strict=True):
                if any(one.answers for one in done):
                    report.add(each.server, load.case, figures(done))


async def _take_turns(
    contestants: Sequence[Contestant], load: Load, plan: Plan, rounds: Sequence[list[Round]]
) -> None:
    # No row is printed meanwhile: the bar would catch it.
    with progress(str(load), len(contestants) * plan.steps(load)) as step:
        for each in contestants:
            await _warm_up(each, load, plan)
        for number, extent in enumerate(plan.extents(load)):
            for index in _turn(len(contestants), number):
                rounds[index].append(Round())
                # All servers get the same arrivals.
                arrivals = random.Random(f"{plan.seed} {load} {number}")
                await _round(contestants[index], load, extent, rounds[index][-1], arrivals, step)


def _turn(contestants: int, number: int) -> list[int]:
    """The order of round `number`: another one begins each time."""
    return [(number + index) % contestants for index in range(contestants)]


async def _warm_up(contestant: Contestant, load: Load, plan: Plan) -> None:
    if not plan.warmup:
        return
    done = Round()
    extent = Extent(requests=plan.warmup * load.wave)
    await _round(contestant, load, extent, done, random.Random(plan.seed), lambda: None)
    if not done.good:
        raise UserError(refusal(contestant.server, done.answers[0]))


async def _round(
    contestant: Contestant,
    load: Load,
    extent: Extent,
    into: Round,
    arrivals: random.Random,
    step: Step,
) -> None:
    def count_request() -> None:
        if extent.requests:
            step()

    try:
        await run_round(
            contestant.target, load, extent, contestant.bodies, into, arrivals, count_request
        )
    except GoneError as error:
        server = contestant.server
        raise UserError(
            f"{server.name} at {server.url}: nothing answers any more ({error}); see its log"
        ) from None
    if not extent.requests:
        step()


def refusal(server: Server, answer: Answer) -> str:
    said = f": {answer.detail}" if answer.detail else ""
    return f"{server.name} at {server.url}: a request failed, {answer.error}{said}"
