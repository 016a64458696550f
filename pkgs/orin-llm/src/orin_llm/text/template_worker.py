"""Renders chat templates in a process of its own, which the owner of the model can lose.

A template is a program from whoever made the model's file: jinja2's sandbox keeps it from the
machine, the limits here from its time and memory. Requests and answers are JSON, one at a time,
through the connection whose descriptor is the only argument.
"""

import json
import resource
import signal
import sys
from datetime import datetime
from functools import lru_cache
from multiprocessing.connection import Connection
from typing import Any, NoReturn

from jinja2 import TemplateError, nodes
from jinja2.ext import Extension, loopcontrols
from jinja2.parser import Parser
from jinja2.sandbox import ImmutableSandboxedEnvironment

MEMORY = 512 << 20  # bytes of address space
SECONDS = 1.0  # of the processor, a template


class _Generation(Extension):
    """{% generation %}, with which templates mark what a model wrote, does nothing."""

    tags = {"generation"}  # noqa: RUF012

    def parse(self, parser: Parser) -> list[nodes.Node]:
        next(parser.stream)
        return parser.parse_statements(("name:endgeneration",), drop_needle=True)


def _raise_exception(message: object) -> NoReturn:
    raise TemplateError(str(message))


def _to_json(
    value: Any,
    ensure_ascii: bool = False,
    indent: int | None = None,
    separators: tuple[str, str] | None = None,
    sort_keys: bool = False,
) -> str:
    """Unlike jinja2's own, without HTML's escapes."""
    return json.dumps(
        value, ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys
    )


def environment() -> ImmutableSandboxedEnvironment:
    """What transformers gives to chat templates (utils/chat_template_utils.py)."""
    made = ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=[_Generation, loopcontrols]
    )
    made.filters["tojson"] = _to_json
    made.globals["raise_exception"] = _raise_exception
    made.globals["strftime_now"] = lambda form: datetime.now().strftime(form)
    return made


def main() -> None:
    """Answer requests until the connection is closed; die of one beyond the limits."""
    connection = Connection(int(sys.argv[1]))
    # The server decides when this process ends: the connection does then.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    compiled = lru_cache(maxsize=8)(environment().from_string)
    connection.send_bytes(b"ready")
    while True:
        try:
            request = json.loads(connection.recv_bytes())
        except EOFError:
            return
        except RecursionError:  # a caller may have raised its own limit
            error = {"error": "the conversation is no JSON for it: nested too deeply"}
            connection.send_bytes(json.dumps(error).encode())
            continue
        # SIGPROF ends the process, even inside of one long operation.
        signal.setitimer(signal.ITIMER_PROF, SECONDS)
        try:
            answer = {"text": compiled(request["template"]).render(**request["variables"])}
        except MemoryError:
            return
        except Exception as error:  # whatever the expressions of a template may raise
            line = getattr(error, "lineno", None)
            where = f"line {line}: " if line else ""
            answer = {"error": f"{where}{error or type(error).__name__}"}
        data = json.dumps(answer).encode()
        signal.setitimer(signal.ITIMER_PROF, 0)
        connection.send_bytes(data)


if __name__ == "__main__":
    main()
