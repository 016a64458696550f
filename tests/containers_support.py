"""A Docker that does nothing but remember and answer, and the programs that check our files."""

import json
import os
import shutil
import signal
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parent.parent

STUB = """\
#!{python} -IS
import json, pathlib, sys
folder = pathlib.Path(__file__).parent
called = " ".join(sys.argv[1:])
with (folder / "calls").open("a") as calls:
    print(json.dumps(sys.argv[1:]), file=calls)
answers = json.loads((folder / "answers").read_text())
known = [beginning for beginning in answers if called.startswith(beginning)]
answer = answers[max(known, key=len)] if known else {{}}
if "start" in answer:
    import subprocess
    started = subprocess.Popen(answer["start"], start_new_session=True,
                               stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    (folder / "started").write_text(str(started.pid))
print(answer.get("out", ""))
print(answer.get("err", ""), file=sys.stderr)
sys.exit(answer.get("code", 0))
"""


class FakeDocker:
    """`docker` in a folder of its own: what a command line that begins so answers, by dictionaries
    of out, err, code and start (a command to leave running)."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.answers: dict[str, dict[str, Any]] = {}
        program = folder / "docker"
        program.write_text(STUB.format(python=sys.executable))
        program.chmod(0o755)

    @property
    def environment(self) -> dict[str, str]:
        (self.folder / "answers").write_text(json.dumps(self.answers))
        return os.environ | {"PATH": f"{self.folder}:{os.environ['PATH']}"}

    @property
    def calls(self) -> list[str]:
        file = self.folder / "calls"
        lines = file.read_text().splitlines() if file.exists() else []
        return [" ".join(json.loads(line)) for line in lines]

    def stop(self) -> None:
        """End what a call has left running."""
        started = self.folder / "started"
        if started.exists():
            os.kill(int(started.read_text()), signal.SIGKILL)
            started.unlink()


def program(name: str) -> str:
    """The path of a program, this environment's own first. Without it the test is skipped, and on
    CI's machines it fails."""
    found = shutil.which(name, path=f"{Path(sys.executable).parent}:{os.environ['PATH']}")
    if not found:
        (pytest.fail if os.environ.get("CI") else pytest.skip)(f"needs {name}")
    return found
