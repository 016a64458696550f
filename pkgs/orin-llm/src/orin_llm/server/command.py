"""llm-server: A GGUF model behind OpenAI's API."""

import gc
import logging
import os
import sys
from pathlib import Path
from typing import Annotated

import typer

from orin_core import cli, device
from orin_core.cli import UserError
from orin_llm.server.body import LIMIT
from orin_llm.server.settings import Settings

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)

log = logging.getLogger(__name__)


@app.command()
def serve(
    model: Annotated[Path, typer.Option(help="GGUF file.")],
    device_name: Annotated[str, typer.Option("--device", help="auto, nv, cuda or cpu.")] = "auto",
    context: Annotated[
        int, typer.Option(min=16, help="Longest prompt and answer together, in tokens.")
    ] = 8192,
    parallel: Annotated[int, typer.Option(min=1, help="Answers computed at once.")] = 8,
    cache_tokens: Annotated[
        int | None,
        typer.Option(min=16, help="Tokens in the KV cache; by default what the memory admits."),
    ] = None,
    queue: Annotated[int, typer.Option(min=1, help="Answers that may wait; more get a 429.")] = 64,
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="0: a free one.")] = 8000,
    alias: Annotated[
        str | None, typer.Option(help="The model's name for clients; by default the file's.")
    ] = None,
    api_key_file: Annotated[
        Path | None, typer.Option(help="Keys that clients must bear, one a line.")
    ] = None,
    cors_origin: Annotated[
        list[str] | None, typer.Option(help="Origin whose pages may ask; may be repeated.")
    ] = None,
    body_limit: Annotated[int, typer.Option(min=1024, help="Bytes of a request.")] = LIMIT,
    deadline: Annotated[
        float | None, typer.Option(min=0.001, help="Seconds for a whole answer.")
    ] = None,
    grace: Annotated[
        float, typer.Option(min=0, help="Seconds for answers under way after SIGTERM.")
    ] = 30.0,
) -> None:
    """Serve a GGUF model to whatever speaks OpenAI's API.

    Example: llm-server --model qwen3-0.6b-q8_0.gguf --parallel 4 --port 8000
    """
    logging.basicConfig(format="llm-server: %(message)s", level=logging.INFO)
    logging.getLogger("httpx").setLevel(logging.WARNING)
    if not model.is_file():
        raise UserError(f"--model {model}: no such file; download-model fetches one")
    from orin_llm.server import keys, listen
    from orin_llm.server.app import create_app
    from orin_llm.server.model import Model, load

    settings = Settings(
        api_keys=keys.read_keys(api_key_file) if api_key_file else (),
        cors_origins=cors_origin or (),
        body_limit=body_limit,
        queue=queue,
        deadline=deadline,
    )
    bound = listen.bind(host, port)

    def make() -> Model:
        chosen = device.select(device_name)[0]
        made = load(
            model,
            chosen,
            context=context,
            max_running=parallel,
            cache_tokens=cache_tokens,
            max_waiting=queue,
        )
        # What a model and its kernels are made of stays: no collection has to look at it again.
        gc.collect()
        gc.freeze()
        return made

    application = create_app(make, alias or model.stem, settings, lambda: server.end())
    serving = application.state.serving
    server = listen.Server(application, grace, serving.drain)
    log.info("listening on %s", listen.url(bound))
    server.run(sockets=[bound])

    if serving.loader.is_alive():  # a compiler cannot be told to stop, and nothing is lost
        sys.stderr.flush()
        os._exit(cli.INTERRUPTED if server.interrupted else 0)
    if serving.error:
        raise serving.error
    if serving.loaded:
        serving.loaded.close()
    if server.interrupted:
        raise KeyboardInterrupt


def main() -> None:
    """The console script."""
    cli.run(app)


if __name__ == "__main__":
    main()
