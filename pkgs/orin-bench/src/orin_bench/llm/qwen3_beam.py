"""bench-qwen3-beam: what tinygrad's kernel search costs and gains on Qwen3 0.6B."""

import os
from contextlib import ExitStack, closing
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated

import typer

from orin_bench import options
from orin_bench.llm import arguments
from orin_bench.llm.source import Source
from orin_bench.warm.duration import parse_duration
from orin_core.cli import UserError, run
from orin_core.device import select
from orin_nn.gguf.random_model import write_random
from orin_nn.gguf.shapes import QWEN3_0_6B

ENGINES = ("orin_nn", "tinygrad.llm")
WIDEST = 64


@dataclass(frozen=True)
class Size:
    """What is measured where the options do not say it; None means all blocks."""

    engines: str
    beams: str
    budget: str
    blocks: int | None
    prompt: int
    generate: int
    repetitions: int


ON_GPU = Size("all", "0,1,2,4,8", "10m", None, 512, 128, 5)
# About two minutes on two cores.
ON_CPU = Size("all", "0,1", "10s", 2, 32, 8, 3)
QUICK = Size("orin_nn", "0,1", "8s", 2, 16, 4, 2)

app = typer.Typer(add_completion=False)


@app.command()
def bench_qwen3_beam(
    model: arguments.Model = None,
    quantization: Annotated[str, typer.Option(help="Of random weights.")] = "Q8_0",
    engine: Annotated[
        str | None,
        typer.Option(
            help=f"all, or some of {' and '.join(ENGINES)}, comma-separated.",
            show_default=f"all, with --quick {QUICK.engines}",
        ),
    ] = None,
    beams: Annotated[
        str | None,
        typer.Option(
            help="Widths of the search, comma-separated; 0 always comes first.",
            show_default=f"{ON_GPU.beams}, on a CPU {ON_CPU.beams}, with --quick {QUICK.beams}",
        ),
    ] = None,
    budget: Annotated[
        str | None,
        typer.Option(
            help="Time for each width's search, as 90s, 20m or 1h30m.",
            show_default=f"{ON_GPU.budget}, on a CPU {ON_CPU.budget}, with --quick {QUICK.budget}",
        ),
    ] = None,
    blocks: Annotated[
        int | None,
        arguments.number("Only the first blocks.", "all", ON_CPU.blocks, QUICK.blocks),
    ] = None,
    prompt: Annotated[
        int | None,
        arguments.number("Tokens to read at once.", ON_GPU.prompt, ON_CPU.prompt, QUICK.prompt),
    ] = None,
    generate: Annotated[
        int | None,
        arguments.number(
            "Tokens to generate after them.", ON_GPU.generate, ON_CPU.generate, QUICK.generate
        ),
    ] = None,
    context: arguments.Context = None,
    device: options.Device = "auto",
    warmup: options.Warmup = 1,
    repetitions: Annotated[
        int | None,
        arguments.number(
            "Times that the prompt is read, and the tokens are generated.",
            ON_GPU.repetitions,
            ON_CPU.repetitions,
            QUICK.repetitions,
        ),
    ] = None,
    quick: options.Quick = False,
    json: options.Json = None,
    plot: Annotated[
        Path | None,
        typer.Option(help="Draw speed over the search's cost to this .svg or .png file."),
    ] = None,
) -> None:
    """Search kernels for Qwen3 0.6B with one beam width after the other, and weigh the gain.

    Example: bench-qwen3-beam --model Qwen3-0.6B-Q8_0.gguf --beams 0,1,2 --budget 5m

    Each width has a process and an empty kernel cache of its own. Our model, orin_nn, has kernels
    of its own for a GPU's matrix products, which are not searched; tinygrad.llm is tinygrad's own
    model. A search pays after as many tokens as it takes to save its seconds. Without --model the
    weights are random, in a model of exactly that shape.
    """
    # A search is for the processes that this one starts.
    os.environ.pop("BEAM", None)
    options.set_beam(0)
    devices = select(device)
    size = QUICK if quick else ON_CPU if devices == ["CPU"] else ON_GPU
    engines = options.parse_names("engine", engine or size.engines, ENGINES)
    widths = _parse_beams(beams or size.beams)
    seconds = parse_duration("--budget", budget or size.budget)
    if model:
        if blocks:
            raise UserError("--blocks cuts random weights: --model is run as it is")
        source = Source.open(model, QWEN3_0_6B.architecture)
    else:
        source = Source.random(QWEN3_0_6B, quantization)
        source = source.first(blocks or size.blocks or source.blocks)
    architecture = source.model.shape.architecture
    task = arguments.make_task(prompt or size.prompt, generate or size.generate, context, source)
    options.check_outputs(json, plot)

    # tinygrad reads the environment when it is imported: only now.
    from orin_bench.llm.sweep import COLUMNS, draw, sweep
    from orin_bench.llm.throughput import check_memory
    from orin_bench.llm.width import Request
    from orin_bench.roofline import measure_roofline
    from orin_bench.session import Session
    from orin_core.machine import facts

    for target in devices:
        check_memory(source, target, task, len(widths))
    with ExitStack() as stack:
        file = model or Path(stack.enter_context(TemporaryDirectory())) / "model.gguf"
        if not model:
            write_random(file, source.model.shape, quantization)
        rooflines = {target: measure_roofline(target, facts()) for target in devices}
        settings = {
            "weights": str(model) if model else "random",
            "prompt": task.prompt,
            "generate": task.generate,
            "context": task.context,
            "budget": seconds,
            "warmup": warmup,
            "repetitions": repetitions or size.repetitions,
        }
        made = Session(
            "bench-qwen3-beam",
            COLUMNS | {"model": len(source.label)},
            json=json,
            settings=settings,
            rooflines=list(rooflines.values()),
        )
        session = stack.enter_context(closing(made))
        results = []
        for target in devices:
            for name in engines:
                requests = [
                    Request(file, architecture, name, target, beam, task, seconds)
                    for beam in widths
                ]
                results += sweep(
                    session,
                    source,
                    requests,
                    rooflines[target],
                    warmup,
                    repetitions or size.repetitions,
                )
        reasons = session.document["unfinished"]
        print("".join(f"\n- Not finished: {reason}" for reason in reasons))
    if not results:
        raise UserError(f"nothing could be measured: {reasons[0]}")
    if plot:
        draw(plot, results)


def _parse_beams(text: str) -> list[int]:
    """The widths, from the narrowest, with 0, which the others are compared with."""
    beams = [beam.strip() for beam in text.split(",")]
    if not all(beam.isdecimal() and int(beam) <= WIDEST for beam in beams):
        raise UserError(f"--beams {text!r}: give whole numbers up to {WIDEST}, as 0,1,2")
    return sorted({0, *map(int, beams)})


def main() -> None:
    run(app)


if __name__ == "__main__":
    main()
