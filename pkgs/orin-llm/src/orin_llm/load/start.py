"""Servers of our own to measure where the user has none: a small random model in each."""

import asyncio
import os
import shutil
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

import aiohttp

from orin_core.cli import UserError
from orin_llm.load.server import PATIENCE, Server, is_loaded, open_session

PROGRAMS = {"tinygrad": "llm-server", "llama.cpp": "llama-server"}
CONTEXT = 2048  # tokens of a prompt and its answer
SLOTS = 8  # answers at once


@asynccontextmanager
async def started() -> AsyncIterator[list[Server]]:
    """llm-server, and llama-server where it is on the path, each on a free port with the same
    random model; they end with the block.

    Raises UserError if llm-server is missing, or if one does not come up.
    """
    programs = {name: _find(program) for name, program in PROGRAMS.items()}
    if programs["tinygrad"] is None:
        raise UserError("llm-server is not on the path: install orin-llm, or give --server")
    with TemporaryDirectory(prefix="bench-llm-") as folder:
        model = Path(folder, "random.gguf")
        _write_model(model)
        async with AsyncExitStack() as stack:
            servers = []
            for name, program in programs.items():
                if program is None:
                    print(f"{name}: llama-server is not on the path; left out", file=sys.stderr)
                    continue
                print(f"starting {program.name} on a small random model", file=sys.stderr)
                servers.append(
                    await stack.enter_async_context(_run(name, program, model, Path(folder)))
                )
            yield servers


def _find(program: str) -> Path | None:
    """`program` beside this command, or on the path."""
    folders = [str(Path(sys.argv[0]).resolve().parent), os.environ.get("PATH", os.defpath)]
    found = shutil.which(program, path=os.pathsep.join(folders))
    return Path(found) if found else None


def _write_model(path: Path) -> None:
    from orin_nn.gguf.random_model import write_random
    from orin_nn.gguf.shapes import TINY_LLAMA

    write_random(path, replace(TINY_LLAMA, context=CONTEXT), "F16")


@asynccontextmanager
async def _run(name: str, program: Path, model: Path, folder: Path) -> AsyncIterator[Server]:
    log = folder / f"{program.name}.log"
    port = _free_port()
    command = [str(program), "--model", str(model), "--port", str(port)]
    if program.name == "llama-server":
        command += ["--parallel", str(SLOTS), "--ctx-size", str(SLOTS * CONTEXT)]
    server = Server(name, f"http://127.0.0.1:{port}")
    with _process(command, log) as process:
        async with open_session(None) as session:
            await _wait(session, server, process, program, log)
        yield server


@contextmanager
def _process(command: list[str], log: Path) -> Iterator[subprocess.Popen[bytes]]:
    """`command` while the block runs, in a session of its own: Ctrl-C ends us, and we end it."""
    with log.open("wb") as file:
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=file, stderr=file, start_new_session=True
        )
    try:
        yield process
    finally:
        process.terminate()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


async def _wait(
    session: aiohttp.ClientSession,
    server: Server,
    process: subprocess.Popen[bytes],
    program: Path,
    log: Path,
) -> None:
    """Until `server` is ready. Raises UserError with the log's last line if it ends before."""
    loop = asyncio.get_running_loop()
    deadline = loop.time() + PATIENCE
    while True:
        if process.poll() is not None:
            lines = log.read_text(errors="replace").split("\n")
            last = next((line for line in reversed(lines) if line.strip()), "it said nothing")
            raise UserError(f"{program.name} ended with {process.returncode}: {last}")
        try:
            if await is_loaded(session, server):
                return
        except aiohttp.ClientError:  # it does not listen yet
            pass
        if loop.time() > deadline:
            raise UserError(f"{program.name}: not ready after {PATIENCE:.0f} s; run it by hand")
        await asyncio.sleep(0.1)


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
        return port
