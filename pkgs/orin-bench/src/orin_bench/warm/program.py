"""The command that is warmed up, run with the recorder in it."""

import os
import pickle
import shlex
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from statistics import median
from typing import Any

from orin_bench.warm import recorder
from orin_bench.warm.profile import Profile, profile
from orin_core.cli import UserError


@dataclass(frozen=True)
class Steps:
    """The median seconds of a replay of each TinyJit, in the order of their first replays.

    `unsearched` kernels were wanted with a beam and were not in the cache.
    """

    seconds: list[float]
    unsearched: int


class Program:
    """A command line that computes with tinygrad.

    Raises UserError if there is no such command.
    """

    def __init__(self, words: Sequence[str]) -> None:
        # The commands installed beside this one come first: ./orin does not put them on the path.
        beside = str(Path(sys.argv[0]).absolute().parent)
        path = os.pathsep.join([beside, os.environ.get("PATH", os.defpath)])
        found = shutil.which(words[0], path=path)
        if found is None:
            remedy = f": python {words[0]} runs it" if Path(words[0]).is_file() else ""
            raise UserError(f"unknown command {words[0]!r}{remedy}")
        self.words = [found, *words[1:]]
        self.line = shlex.join(words)

    def profile(self, width: int) -> Profile:
        """Run the command quietly, timing kernel by kernel.

        Raises UserError if it fails, replays no kernel, or asks for another beam than `width`.
        """
        # JIT=2 replays kernel by kernel instead of as one graph.
        records = self._run("kernels", {"JIT": "2", "JITBEAM": str(width)}, quiet=True)
        if not any(record["kernels"] for record in records):
            raise UserError(
                f"{self.line}: replays no kernel with TinyJit, and other kernels are not searched"
            )
        for asked in set.union(*(record["widths"] for record in records)) - {width}:
            remedy = "give the same with --beam" if asked else "it would use nothing that is found"
            raise UserError(f"{self.line}: asks for a beam of {asked}: {remedy}")
        return profile(records)

    def steps(self, width: int) -> Steps:
        """Run the command, its output shown, with the kernels that the cache has for `width`.

        Raises UserError if it fails.
        """
        records = self._run("steps", {"JITBEAM": str(width)}, quiet=False)
        replays = [seconds for record in records for seconds in record["steps"]]
        return Steps(
            # The first builds a graph; there is none where the program's own error ended it.
            [median(seconds[1:] or seconds) for seconds in replays if seconds],
            sum(record["unsearched"] for record in records),
        )

    def _run(self, kind: str, settings: dict[str, str], *, quiet: bool) -> list[dict[str, Any]]:
        with tempfile.TemporaryDirectory(prefix="bench-warm-") as temporary:
            folder = Path(temporary)
            shutil.copyfile(recorder.__file__, folder / "sitecustomize.py")
            environment = os.environ | {
                recorder.RECORD_FOLDER: temporary,
                recorder.RECORD_KIND: kind,
                "PYTHONPATH": os.pathsep.join(
                    [temporary, *filter(None, [os.environ.get("PYTHONPATH")])]
                ),
                "BEAM": "0",  # what runs before the TinyJit is captured is not searched
                **settings,
            }
            output = subprocess.PIPE if quiet else None
            errors = subprocess.STDOUT if quiet else None
            try:
                done = subprocess.run(
                    self.words, env=environment, stdout=output, stderr=errors, check=False
                )
            except OSError as error:  # a script without its #! line, another machine's program
                raise UserError(f"{self.words[0]}: cannot be run: {error.strerror}") from None
            if done.returncode:
                if quiet:
                    sys.stderr.buffer.write(done.stdout)
                    sys.stderr.flush()
                raise UserError(f"{self.line}: ended with status {done.returncode}")
            return [_load(file) for file in sorted(folder.glob("*.pickle"))]


def _load(file: Path) -> dict[str, Any]:
    with file.open("rb") as stream:
        if (other := pickle.load(stream)) != version("tinygrad"):
            raise UserError(
                f"the command uses tinygrad {other}, bench-warm {version('tinygrad')}:"
                " their caches differ"
            )
        record: dict[str, Any] = pickle.load(stream)
        return record
