"""llama.cpp's own benchmark on the same GGUF file, in a process of its own."""

import json
import os
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

from orin_bench.llm.phase import Phase
from orin_bench.llm.table import Measured
from orin_core.cli import UserError
from orin_nn.gguf.model import Model

PATIENCE_SECONDS = 60.0  # for its help: it opens the GPU first
ALL_LAYERS = "99"


class LlamaBench:
    """The llama-bench in the file `program`. Raises UserError for another program."""

    def __init__(self, program: Path) -> None:
        self._program = program
        if "--n-gen" not in self._output(["--help"], os.environ, PATIENCE_SECONDS):
            raise self._error("not llama.cpp's llama-bench")

    def measure(
        self, file: Path, model: Model, device: str, phase: Phase, repetitions: int
    ) -> Measured:
        """What it makes of the `model` in `file` on `device` (tinygrad's name).

        It warms up by itself, and times whole repetitions without the choice of the tokens. On a
        CPU it has a thread for each core that this process may use.
        """
        seconds = self._seconds(file, device, phase, repetitions)
        return Measured("llama.cpp", device, phase, model, seconds, apart=False)

    def _seconds(self, file: Path, device: str, phase: Phase, repetitions: int) -> list[float]:
        """Of a step, in the mean of each repetition."""
        environment = dict(os.environ)
        if device == "CPU":
            where = ["-ngl", "0", "-t", str(len(os.sched_getaffinity(0)))]
            environment["CUDA_VISIBLE_DEVICES"] = (
                ""  # it would read prompts on the GPU all the same
            )
        else:
            where = ["-ngl", ALL_LAYERS]
        if phase.generated:
            what = ["-p", "0", "-n", str(phase.tokens), "-d", str(phase.before)]
        else:
            what = ["-p", str(phase.tokens), "-n", "0"]
        shared = ["-m", str(file), "-r", str(repetitions), "-o", "json"]
        text = self._output([*shared, *what, *where], environment)
        try:
            (test,) = json.loads(text)
            seconds = [float(sample) / 1e9 / phase.steps for sample in test["samples_ns"]]
            backends = str(test["backends"])
        except (ValueError, TypeError, KeyError):
            raise self._error("its answer is not that of a llama-bench") from None
        if len(seconds) != repetitions or min(seconds) <= 0:
            raise self._error(f"it did not measure {repetitions} repetitions")
        if device != "CPU" and backends == "CPU":
            raise self._error("it was built for the CPU alone: choose --device cpu")
        return seconds

    def _output(
        self,
        arguments: Sequence[str],
        environment: Mapping[str, str],
        patience: float | None = None,
    ) -> str:
        try:
            done = subprocess.run(
                [self._program.absolute(), *arguments],
                env=environment,
                capture_output=True,
                text=True,
                errors="replace",
                timeout=patience,
                check=False,
            )
        except subprocess.TimeoutExpired:
            raise self._error(f"it did not answer within {patience:.0f} s") from None
        except OSError as error:
            raise self._error(f"it cannot be run: {error.strerror}") from None
        if done.returncode:
            lines = [line for line in done.stderr.splitlines() if line.strip()]
            reason = lines[-1].strip() if lines else f"exit code {done.returncode}"
            raise self._error(f"it failed: {reason}")
        return done.stdout

    def _error(self, reason: str) -> UserError:
        return UserError(f"--versus llama-bench={self._program}: {reason}")
