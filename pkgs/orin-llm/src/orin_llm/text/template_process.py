"""The process that renders chat templates, started anew when one was too much for it."""

import asyncio
import json
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from multiprocessing import Pipe
from multiprocessing.connection import Connection
from threading import Timer
from typing import Any

from orin_llm.text.template_worker import MEMORY, SECONDS

# The worker counts its own seconds; these are of the clock, for a machine that has others to serve.
_LONGEST, _LONGEST_START = 10.0, 60.0


class TemplateError(Exception):
    """A chat template refuses the conversation, or fails; the text says why in one line."""

    def __init__(self, text: str) -> None:
        super().__init__(" ".join(text.split())[:500])


class TemplateLimitError(TemplateError):
    """A chat template took too much time or memory."""


class TemplateProcess:
    """Renders one template after the other; callers wait for their turn."""

    def __init__(self) -> None:
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="template")
        self._running: tuple[subprocess.Popen[bytes], Connection] | None = None

    async def render(self, template: str, variables: dict[str, Any]) -> str:
        """Raises TemplateError."""
        try:
            request = json.dumps({"template": template, "variables": variables}).encode()
        except (RecursionError, TypeError, ValueError) as error:
            raise TemplateError(f"the conversation is no JSON: {error}") from None
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._thread, self._render, request)

    def close(self) -> None:
        """End the process. Who still waits gets an error."""
        self._thread.shutdown(wait=False, cancel_futures=True)
        self._stop()

    def _render(self, request: bytes) -> str:
        if self._running is None:
            self._running = _start()
        process, connection = self._running
        timer = Timer(_LONGEST, process.kill)
        timer.start()
        try:
            connection.send_bytes(request)
            answer = json.loads(connection.recv_bytes())
        except (EOFError, OSError):
            self._stop()
            raise TemplateLimitError(
                f"the model's chat template took more than {SECONDS:g} s or {MEMORY >> 20} MiB"
            ) from None
        finally:
            timer.cancel()
        if "error" in answer:
            raise TemplateError(answer["error"])
        return str(answer["text"])

    def _stop(self) -> None:
        running, self._running = self._running, None
        if running:
            process, connection = running
            process.kill()
            process.wait()
            connection.close()


def _start() -> tuple[subprocess.Popen[bytes], Connection]:
    ours, theirs = Pipe()
    with theirs:
        process = subprocess.Popen(
            [sys.executable, "-m", "orin_llm.text.template_worker", str(theirs.fileno())],
            pass_fds=[theirs.fileno()],
            stdin=subprocess.DEVNULL,
            # Wherever this process finds its modules, that one does as well.
            env=os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
        )
    if not ours.poll(_LONGEST_START) or ours.recv_bytes() != b"ready":
        process.kill()
        raise RuntimeError("the process that renders chat templates does not start")
    return process, ours
