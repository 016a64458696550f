"""A whole run: find the servers, fit the prompts to each, measure, report."""

import random
import sys
from collections.abc import Iterator, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from itertools import cycle
from pathlib import Path
from typing import Any

import aiohttp

from orin_core.cli import UserError
from orin_llm.load.answer import Endpoint, GoneError, Target, ask
from orin_llm.load.drive import Load
from orin_llm.load.measure import Contestant, Plan, measure, refusal
from orin_llm.load.preset import REMEDY, Candidate
from orin_llm.load.prompts import as_body, calibrate, random_prompts
from orin_llm.load.report import Report
from orin_llm.load.server import Server, SilentError, find_model, open_session
from orin_llm.load.start import started


@dataclass(frozen=True)
class Task:
    """What the user asks for."""

    candidates: Sequence[Candidate]
    start: bool
    model: str | None
    endpoint: Endpoint
    key: str | None
    loads: Sequence[Load]
    requests: int | None
    seconds: float | None
    prompt_tokens: int
    shared_tokens: int
    prompts: Sequence[dict[str, Any]] | None  # instead of random ones
    output_tokens: int
    ignore_eos: bool
    stream: bool
    rounds: int
    warmup: int
    seed: int | None
    json: Path | None

    def body(self, server: Server, prompt: dict[str, Any]) -> dict[str, Any]:
        """A request for one answer to `prompt`, as likely as the model has it."""
        body = {
            "model": server.model,
            **prompt,
            "max_tokens": self.output_tokens,
            "temperature": 0,
            "stream": self.stream,
        }
        if self.stream:
            body["stream_options"] = {"include_usage": True}
        if self.ignore_eos:
            body["ignore_eos"] = True
        return body

    def settings(self, seed: int) -> dict[str, Any]:
        """What holds for all rows, as it is printed."""
        length: dict[str, Any] = {"prompt tokens": self.prompt_tokens}
        if self.prompts:
            length = {"prompts": f"{len(self.prompts)} of a file"}
        shared = {"shared prefix": self.shared_tokens} if self.shared_tokens else {}
        amount = (
            {"duration": self.seconds} if self.seconds else {"requests": self.requests or "auto"}
        )
        return {
            **length,
            **shared,
            "output tokens": self.output_tokens,
            "endpoint": self.endpoint,
            "stream": self.stream,
            "ignore eos": self.ignore_eos,
            **amount,
            "rounds": self.rounds,
            "warmup": self.warmup,
            "seed": seed,
        }


async def benchmark(command: str, task: Task) -> dict[str, Any]:
    """Measure and print; the document that --json writes.

    Raises UserError for servers that cannot be measured; what was measured before is reported.
    """
    # A seed of its own each time: a server would find the prompts of the last run in its cache.
    seed = random.randrange(1 << 32) if task.seed is None else task.seed
    plan = Plan(task.loads, task.requests, task.seconds, task.rounds, task.warmup, str(seed))
    async with AsyncExitStack() as stack:
        session = await stack.enter_async_context(open_session(task.key))
        candidates = list(task.candidates)
        if task.start:
            own = await stack.enter_async_context(started())
            candidates += [Candidate(server, REMEDY) for server in own]
        servers = await _find(session, candidates, task.model)
        contestants = [
            await _prepare(session, server, task, f"{seed} {index}")
            for index, server in enumerate(servers)
        ]
        load = next(iter(task.loads[0].case))
        report = Report(command, servers, task.settings(seed), load, task.json)
        try:
            await measure(contestants, plan, report)
        except UserError as error:
            kept = task.json and not report.empty
            raise UserError(
                f"{error}; {task.json} has what came before" if kept else error
            ) from None
        finally:
            report.close()
        return report.document


async def _find(
    session: aiohttp.ClientSession, candidates: Sequence[Candidate], model: str | None
) -> list[Server]:
    found = []
    for each in candidates:
        try:
            found.append(await find_model(session, each.server, model, each.remedy))
        except SilentError as error:
            if not each.optional:
                raise
            print(f"left out: {error}", file=sys.stderr)
    return found


async def _prepare(
    session: aiohttp.ClientSession, server: Server, task: Task, seed: str
) -> Contestant:
    target = Target(session, server.url, task.endpoint, task.stream)
    if task.prompts is not None:
        prompts: Iterator[dict[str, Any]] = cycle(task.prompts)
        return Contestant(server, target, (task.body(server, prompt) for prompt in prompts))

    probe = Target(session, server.url, task.endpoint, stream=False)

    async def count(text: str) -> int:
        prompt = as_body(text, task.endpoint)
        body = {"model": server.model, **prompt, "max_tokens": 1, "stream": False}
        try:
            answer = await ask(probe, body)
        except GoneError as error:
            raise UserError(f"{server.name} at {server.url}: is gone ({error})") from None
        if answer.error:
            raise UserError(refusal(server, answer))
        if answer.prompt_tokens is None:
            raise UserError(
                f"{server.name} at {server.url}: tells no usage, and so not how long prompts are; "
                "give your own with --prompts FILE"
            )
        return answer.prompt_tokens

    generator = random.Random(f"{seed} probes")
    recipe = await calibrate(count, task.prompt_tokens, task.shared_tokens, generator)
    texts = random_prompts(recipe, seed)
    bodies = (task.body(server, as_body(text, task.endpoint)) for text in texts)
    return Contestant(server, target, bodies)
