"""bench-llama-3b: how fast a model of LLaMA 3.2 3B's shape reads a prompt and generates."""

from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from orin_bench import options
from orin_bench.llm import arguments
from orin_bench.llm.source import Source
from orin_core.cli import UserError, run
from orin_core.device import select
from orin_nn.gguf.model import NAMES
from orin_nn.gguf.shapes import LLAMA_3_2_3B


@dataclass(frozen=True)
class Size:
    """What is measured where the options do not say it; None means all blocks."""

    quantizations: str
    blocks: int | None
    prompt: int
    generate: int
    repetitions: int


ON_GPU = Size("Q6_K,F16", None, 512, 128, 5)
# Two cores take seconds a token for all of it: this ends within two minutes there.
ON_CPU = Size("Q6_K", 4, 32, 8, 3)
QUICK = Size("Q6_K", 2, 16, 4, 2)

app = typer.Typer(add_completion=False)


@app.command()
def bench_llama_3b(
    model: arguments.Model = None,
    quantization: Annotated[
        str | None,
        typer.Option(
            help=f"Of random weights: some of {', '.join(NAMES)}, comma-separated.",
            show_default=f"{ON_GPU.quantizations}, on a CPU {ON_CPU.quantizations}",
        ),
    ] = None,
    blocks: Annotated[
        int | None,
        arguments.number("Only the model's first blocks.", "all", ON_CPU.blocks, QUICK.blocks),
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
    beam: options.Beam = None,
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
    versus: Annotated[
        str | None,
        typer.Option(
            help="torch: PyTorch on the same GPU; llama-bench=PATH: llama.cpp on the same file."
        ),
    ] = None,
    json: options.Json = None,
    plot: Annotated[
        Path | None,
        typer.Option(help="Draw the first device's roofline to this .svg or .png file."),
    ] = None,
) -> None:
    """Measure reading a prompt and generating tokens with LLaMA 3.2 3B in tinygrad.

    Example: bench-llama-3b --model Llama-3.2-3B-Instruct-Q6_K.gguf --device cuda,cpu

    Without --model the weights are random, in a model of exactly that shape. A token counts when
    it is on the host: the likeliest one is chosen on the device. Tests are named as llama-bench
    names them: pp512 reads 512 tokens, tg128 @ d512 generates 128 after them.
    """
    if model and quantization:
        raise UserError("--quantization is for random weights: the file of --model has its own")
    compared = options.parse_versus(versus, ("torch", "llama-bench"))
    width = options.set_beam(beam)
    devices = select(device)
    cpu = devices == ["CPU"]
    if compared.torch and cpu:
        raise UserError("--versus torch compares on a GPU, and there is none among the devices")
    size = QUICK if quick else ON_CPU if cpu else ON_GPU
    if model:
        whole = [Source.open(model, LLAMA_3_2_3B.architecture)]
    else:
        names = quantization or size.quantizations
        whole = [
            Source.random(LLAMA_3_2_3B, name)
            for name in options.parse_names("quantization", names.upper(), NAMES)
        ]
    shown = blocks or (size.blocks if quick or not model else None)
    sources = [source.first(shown or source.blocks) for source in whole]
    if compared.llama_bench and model and not sources[0].is_whole:
        raise UserError("--versus llama-bench runs the whole file: give no --blocks")
    task = arguments.make_task(
        prompt or size.prompt, generate or size.generate, context, sources[0]
    )
    options.check_outputs(json, plot)

    # tinygrad reads the environment when it is imported: only now.
    from orin_bench.llm.llama_bench import LlamaBench
    from orin_bench.llm.table import WIDTHS
    from orin_bench.llm.throughput import benchmark, check_memory
    from orin_bench.plot import plot_roofline
    from orin_bench.roofline import measure_roofline
    from orin_bench.session import Session
    from orin_core.machine import facts

    llama_bench = LlamaBench(compared.llama_bench) if compared.llama_bench else None
    for source in sources:
        for target in devices:
            check_memory(source, target, task)
    rooflines = {target: measure_roofline(target, facts()) for target in devices}
    settings = {
        "weights": str(model) if model else "random",
        "prompt": task.prompt,
        "generate": task.generate,
        "context": task.context,
        "beam": width,
        "warmup": warmup,
        "repetitions": repetitions or size.repetitions,
    }
    columns = WIDTHS | {"model": max(len(source.label) for source in sources)}
    made = Session(
        "bench-llama-3b", columns, json=json, settings=settings, rooflines=list(rooflines.values())
    )
    with closing(made) as session:
        results = benchmark(
            session,
            sources,
            task,
            rooflines,
            warmup,
            repetitions or size.repetitions,
            versus_torch=compared.torch,
            llama_bench=llama_bench,
        )
    if plot:
        points = [result.point for result in results if result.device == devices[0]]
        plot_roofline(plot, rooflines[devices[0]], points)


def main() -> None:
    run(app)


if __name__ == "__main__":
    main()
