"""bench-llm: how fast servers of OpenAI's API answer under load, side by side."""

import asyncio
from pathlib import Path
from typing import Annotated

import typer

from orin_core.cli import UserError, run
from orin_core.result import check_writable
from orin_llm.load import options
from orin_llm.load.answer import Endpoint
from orin_llm.load.plot import check_plot, write_plot
from orin_llm.load.preset import Preset
from orin_llm.load.prompts import read_prompts
from orin_llm.load.server import parse_server
from orin_llm.load.session import Task, benchmark
from orin_llm.load.start import PROGRAMS

PRESET = Preset(
    command="bench-llm",
    summary="Measure how fast servers of OpenAI's API answer under load, side by side.",
    example="bench-llm --server tinygrad=http://127.0.0.1:8000 "
    "--server llama.cpp=http://127.0.0.1:8080",
)

HELP = """{summary}

Example: {example}

{start}All servers get the same loads in turns. Prompts are random words, others in every request.
"""
START = "Without --server it starts llm-server, and llama-server if there is one, as --start does. "


def make_app(preset: Preset) -> typer.Typer:
    """The command of `preset`."""
    app = typer.Typer(add_completion=False)
    start_help = "" if preset.candidates else START
    text = HELP.format(summary=preset.summary, example=preset.example, start=start_help)

    @app.command(help=text)
    def bench(
        server: Annotated[
            list[str] | None,
            typer.Option(help="NAME=URL of a server; may be repeated.", show_default=False),
        ] = None,
        start: Annotated[
            bool,
            typer.Option(
                "--start", help="Start llm-server, and llama-server, on a small random model."
            ),
        ] = False,
        model: Annotated[
            str | None, typer.Option(help="Model to ask for.", show_default="the server's first")
        ] = None,
        endpoint: Annotated[Endpoint, typer.Option(help="Of the API.")] = "chat",
        api_key_file: Annotated[
            Path | None, typer.Option(help="File with the key that all servers get.")
        ] = None,
        concurrency: Annotated[
            str | None,
            typer.Option(
                help="Clients at once, each waiting for its answer; a list measures each.",
                show_default=options.FULL.concurrency,
            ),
        ] = None,
        rate: Annotated[
            str | None,
            typer.Option(help="Instead: requests/s, a Poisson process; latency counts from it."),
        ] = None,
        requests: Annotated[
            int | None,
            typer.Option(
                min=1,
                help="For each server and load.",
                show_default="8 a client; with --rate 30 seconds of it; at least 12",
            ),
        ] = None,
        duration: Annotated[
            str | None, typer.Option(help="Instead: time for each server and load, as 60s.")
        ] = None,
        prompt_tokens: Annotated[
            int | None,
            typer.Option(min=1, help="Of each prompt.", show_default=f"{options.FULL.prompt}"),
        ] = None,
        shared_prefix: Annotated[
            int | None, typer.Option(min=1, help="Of these, tokens that all prompts begin with.")
        ] = None,
        prompts: Annotated[
            Path | None,
            typer.Option(help='Instead: lines of {"prompt": "..."} or {"messages": [...]}.'),
        ] = None,
        output_tokens: Annotated[
            int | None,
            typer.Option(
                min=1, help="At most, of each answer.", show_default=f"{options.FULL.output}"
            ),
        ] = None,
        ignore_eos: Annotated[
            bool, typer.Option("--ignore-eos", help="Ask for answers that long at least.")
        ] = False,
        no_stream: Annotated[
            bool, typer.Option("--no-stream", help="Ask for whole answers.")
        ] = False,
        rounds: Annotated[
            int | None,
            typer.Option(
                min=1,
                max=100,
                help="Turns that each load is divided into.",
                show_default=f"{options.FULL.rounds}",
            ),
        ] = None,
        warmup: Annotated[
            int, typer.Option(min=0, help="Requests of each client before, which do not count.")
        ] = 1,
        seed: Annotated[
            int | None,
            typer.Option(help="Of prompts and arrivals.", show_default="another one each time"),
        ] = None,
        json: Annotated[
            Path | None, typer.Option(help="Write figures and machine to this file.")
        ] = None,
        plot: Annotated[
            Path | None, typer.Option(help="Draw the figures to this .svg or .png file.")
        ] = None,
        quick: Annotated[
            bool, typer.Option("--quick", help="Short prompts and answers, few of them.")
        ] = False,
    ) -> None:
        options.refuse_together("give one of them", requests=requests, duration=duration)
        long = "prompts from a file are as long as they are"
        options.refuse_together(long, prompts=prompts, prompt_tokens=prompt_tokens)
        options.refuse_together(long, prompts=prompts, shared_prefix=shared_prefix)
        given = [parse_server(text) for text in server or []]
        options.refuse_twice([each.name for each in given])
        candidates = preset.chosen(given)
        start = start or not candidates
        if start:
            options.refuse_twice([*(each.server.name for each in candidates), *PROGRAMS])
        size = options.QUICK if quick else options.STARTED if start else options.FULL
        tokens = prompt_tokens or size.prompt
        if shared_prefix and shared_prefix >= tokens:
            raise UserError(
                f"--shared-prefix {shared_prefix}: give less than the {tokens} tokens of a prompt"
            )
        task = Task(
            candidates=candidates,
            start=start,
            model=model,
            endpoint=endpoint,
            key=options.read_key(api_key_file) if api_key_file else None,
            loads=options.parse_loads(concurrency, rate, size.concurrency),
            requests=requests or (None if duration else size.requests),
            seconds=options.parse_duration(duration) if duration else None,
            prompt_tokens=tokens,
            shared_tokens=shared_prefix or 0,
            prompts=read_prompts(prompts, endpoint) if prompts else None,
            output_tokens=output_tokens or size.output,
            ignore_eos=ignore_eos,
            stream=not no_stream,
            rounds=rounds or size.rounds,
            warmup=warmup,
            seed=seed,
            json=json,
        )
        if plot:
            check_plot(plot)
        if json:
            check_writable(json)
        document = asyncio.run(benchmark(preset.command, task))
        if plot:
            write_plot(plot, document, "concurrency" if rate is None else "rate")
        if silent := [entry["server"] for entry in document["loads"] if not entry["requests"]]:
            names = ", ".join(dict.fromkeys(silent))
            raise UserError(f"{names}: a load got no answer at all; the warnings say why")

    return app


def main() -> None:
    run(make_app(PRESET))


if __name__ == "__main__":
    main()
