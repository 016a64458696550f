"""Options that the benchmarks of language models share."""

from pathlib import Path
from typing import Annotated, Any

import typer

from orin_bench.llm.phase import Task
from orin_bench.llm.source import Source
from orin_core.cli import UserError

Model = Annotated[
    Path | None, typer.Option(help="A GGUF file.", show_default="random weights of the same shape")
]
Context = Annotated[
    int | None,
    typer.Option(min=1, help="Positions in the cache.", show_default="what is read and generated"),
]


def number(help: str, gpu: object, cpu: object, quick: object) -> Any:
    """An option for a whole number, with its defaults on a GPU, on a CPU and with --quick."""
    return typer.Option(
        min=1, help=help, show_default=f"{gpu}, on a CPU {cpu}, with --quick {quick}"
    )


def make_task(prompt: int, generate: int, context: int | None, source: Source) -> Task:
    """Raises UserError for more tokens than `context`, or than the model was made for."""
    needed, longest = prompt + generate, source.model.shape.context
    if needed > (context or longest):
        raise UserError(
            f"--prompt {prompt} and --generate {generate} are {needed} tokens, more than "
            + (f"--context {context}" if context else f"the model's context of {longest}")
        )
    if context and context > longest:
        raise UserError(f"--context {context}: the model was made for {longest}")
    return Task(prompt, generate, context or needed)
