"""download-model: GGUF files from Hugging Face, resumed and verified, and what memory they take."""

import os
import sys
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from orin_core.cli import UserError, run
from orin_core.memory import available
from orin_core.table import Table

if TYPE_CHECKING:
    from orin_llm.models.catalogue import Listed
    from orin_llm.models.fit import Needs

# The memory of the board that this is for, in GB.
BOARD = 64
DOES_NOT_FIT = 3

app = typer.Typer(add_completion=False)

Model = Annotated[str, typer.Argument(help="A name of the list, or a repository: OWNER/NAME.")]
File = Annotated[str | None, typer.Argument(help="The file in that repository.")]
Folder = Annotated[
    Path | None,
    typer.Option(help="Where models are.", show_default="$ORINIX_MODELS, else ~/models"),
]
Revision = Annotated[str, typer.Option(help="A branch, tag or commit of the repository.")]


@app.callback(invoke_without_command=True)
def download_model(context: typer.Context) -> None:
    """GGUF files from Hugging Face: which are useful, what memory they take, and the files.

    Example: download-model get qwen3-0.6b
    """
    if context.invoked_subcommand is None:
        list_models()


@app.command("list")
def list_models(
    memory: Annotated[float, typer.Option(help="GB that are to be shared.", min=1)] = BOARD,
) -> None:
    """Show the models that are known to be useful, and the context that fits each.

    Example: download-model list --memory 32
    """
    from orin_llm.models.catalogue import RESERVE, catalogue

    models = catalogue().values()
    table = Table(
        {
            "name": max(len(model.name) for model in models),
            "GB": 5,
            "parameters": 10,
            "licence": 10,
            "runs in": 10,
            f"context in {memory:g} GB": 8,
            "repository": max(len(model.repo) for model in models),
            "file": max(len(model.file) for model in models),
        }
    )
    for model in models:
        fits = model.fitting_context(memory)
        cells = f"{model.bytes / 1e9:.2f}", model.parameters, model.licence, model.server
        table.row([model.name, *cells, str(fits or "none"), model.repo, model.file])
    print(
        f"\nThe context is that of one sequence, with {RESERVE} GB left to the system and the rest "
        "of what a server computes. What llm-server runs, llama.cpp runs too."
    )


@app.command()
def get(
    model: Model, file: File = None, folder: Folder = None, revision: Revision = "main"
) -> None:
    """Fetch a model, or go on where that ended, verify it, and print where it is.

    Of a file in several parts all are fetched. HF_TOKEN is the token for what is not public,
    HF_ENDPOINT another server than huggingface.co.

    Example: download-model get Qwen/Qwen3-8B-GGUF Qwen3-8B-Q4_K_M.gguf --folder /var/lib/llm
    """
    from orin_llm.models.download import download
    from orin_llm.models.hub import UnreachableError, find_files

    repo, name, listed = _resolve(model, file)
    place = _place(folder)
    try:
        files = find_files(repo, name, revision)
    except UnreachableError as error:
        # A copy that was brought here by hand can still be verified by the list.
        if not (listed and (place / listed.file).exists()):
            raise _by_hand(repo, name, revision, place, listed, str(error)) from None
        files = [listed.as_remote()]
    total = sum(each.size for each in files)
    print(f"{files[0].local_name}: {total / 1e9:.2f} GB, in {place}", file=sys.stderr)
    for path in download(files, place)[:1]:
        print(path)


@app.command()
def fit(
    model: Annotated[
        str, typer.Argument(help="A GGUF file, a name of the list, or a repository: OWNER/NAME.")
    ],
    file: File = None,
    context: Annotated[
        int, typer.Option(help="Positions of a sequence, prompt and answer together.", min=1)
    ] = 8192,
    batch: Annotated[int, typer.Option(help="Sequences at once.", min=1)] = 1,
    memory: Annotated[
        float | None, typer.Option(help="GB there are.", show_default="what is free here", min=0)
    ] = None,
    folder: Folder = None,
    revision: Revision = "main",
) -> None:
    """Estimate the memory that a model takes, from its header alone.

    Of a model that is not here only the header is fetched, some megabytes. The exit code is 3 if
    it does not fit.

    Example: download-model fit qwen3-8b --context 32768 --batch 4 --memory 58
    """
    from orin_llm.models.fit import needs
    from orin_llm.models.hub import UnreachableError, find_files, part_names
    from orin_llm.models.remote import stand_ins

    with ExitStack() as stack:
        if file is None and (Path(model).suffix == ".gguf" or Path(model).exists()):
            paths = [Path(model).with_name(name) for name in part_names(Path(model).name)]
        else:
            repo, name, listed = _resolve(model, file)
            place = _place(folder)
            paths = [place / Path(part).name for part in part_names(name or "")]
            if not name or not all(path.is_file() for path in paths):
                try:
                    files = find_files(repo, name, revision)
                except UnreachableError as error:
                    raise _by_hand(repo, name, revision, place, listed, str(error)) from None
                paths = stack.enter_context(stand_ins(files))
        found = needs(paths)
    free = available("CPU") if memory is None else int(memory * 1e9)
    fits = _show(found, context, batch, free, "free here" if memory is None else "there are")
    if not fits:
        raise typer.Exit(DOES_NOT_FIT)


def _show(found: "Needs", context: int, batch: int, free: int | None, whose: str) -> bool:
    """Print what a model needs; whether it fits."""
    print(f"{found.name} ({found.architecture})\n")
    table = Table({"memory": 44, "GB": 8})
    total = found.total(context, batch)
    rows = {
        "weights": found.weights,
        f"keys and values, {batch} x {context} positions": found.cache(context, batch),
        "activations, about": found.activations(context, batch),
        "total": total,
        whose: free,
    }
    for name, count in rows.items():
        table.row([name, "unknown" if count is None else f"{count / 1e9:.2f}"])
    print()
    sequences = "a sequence" if batch == 1 else f"each of {batch} sequences"
    if free is not None:
        most = found.fitting_context(free, batch)
        limit = f", of {found.limit} that it was made for" if found.limit else ""
        print(f"The largest context that fits: {most} positions for {sequences}{limit}.")
    if found.limit and context > found.limit:
        print(f"It was made for {found.limit} positions, not for {context}.")
    if found.refusal:
        print(f"llm-server does not run it: {found.refusal}. The figures are for llama.cpp.")
    else:
        print("llm-server runs it, and the figures are for it.")
    for note in found.notes:
        print(f"Not exact: {note}.")
    return free is None or total <= free


def _resolve(model: str, file: str | None) -> tuple[str, str | None, "Listed | None"]:
    """Repository and file of what was named, and what the list has of it."""
    from orin_llm.models.catalogue import catalogue

    listed = catalogue()
    if model.lower() in listed and file is None:
        entry = listed[model.lower()]
        return entry.repo, entry.file, entry
    if "/" not in model:
        raise UserError(
            f"{model}: neither OWNER/NAME, a repository, nor in the list: {', '.join(listed)}"
        )
    return model, file, None


def _place(folder: Path | None) -> Path:
    """Where models are."""
    if folder is not None:
        return folder
    if set_folder := os.environ.get("ORINIX_MODELS"):
        return Path(set_folder)
    try:
        return Path.home() / "models"
    except RuntimeError:
        raise UserError("there is no home folder: say --folder, or set ORINIX_MODELS") from None


def _by_hand(
    repo: str,
    name: str | None,
    revision: str,
    folder: Path,
    listed: "Listed | None",
    reason: str,
) -> UserError:
    """How a file comes here without the Hub."""
    from huggingface_hub import constants

    from orin_llm.models.hub import part_names, url_of

    unreachable = f"{constants.ENDPOINT} cannot be reached ({reason})"
    if name is None:
        return UserError(f"{unreachable}: look for the file's name with another machine")
    checksum = f" (SHA-256 {listed.sha256})" if listed else ""
    moves = [
        f"{url_of(repo, part, revision)}{checksum} to {folder / Path(part).name}"
        for part in part_names(name)
    ]
    return UserError(f"{unreachable}: with another machine copy {', and '.join(moves)}")


def main() -> None:
    run(app)
