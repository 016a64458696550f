"""How every command ends: a user's mistake is one line and exit code 2, Ctrl-C is clean."""

import sys
from pathlib import Path
from typing import NoReturn

import typer

# click's UsageError, of which newer typers carry a copy of their own.
_UsageError: type[Exception] = typer.BadParameter.__mro__[1]

INTERRUPTED = 128 + 2  # what a shell makes of SIGINT


class UserError(Exception):
    """A mistake the user can mend. The text names the file, option or device, and the remedy."""


def run(app: typer.Typer) -> NoReturn:
    """Run `app` as the whole process.

    Exit codes: 0 done, 2 for a `UserError` or a wrong option, 130 after Ctrl-C; a command may
    raise `typer.Exit` with another. Anything else is a bug and keeps its traceback.
    """
    name = Path(sys.argv[0]).name
    try:
        code = typer.main.get_command(app).main(prog_name=name, standalone_mode=False)
    except (typer.Abort, KeyboardInterrupt):
        code = INTERRUPTED
    except UserError as error:
        _say(f"{name}: {error}")
        sys.exit(2)
    except _UsageError as error:
        message = error.format_message() if hasattr(error, "format_message") else str(error)
        _say(f"{name}: {message} (see {name} --help)")
        sys.exit(2)
    if code == INTERRUPTED:  # newer typers return it instead of raising
        _say(f"{name}: stopped")
    sys.exit(code if isinstance(code, int) else 0)


def _say(line: str) -> None:
    print(" ".join(line.split()), file=sys.stderr)
