"""What nvidia-smi says of the first GPU that CUDA shows to programs."""

import os
import shutil
import subprocess
from collections.abc import Callable, Sequence

# From the names of fields to their values, with units; None where a field is not known.
Query = Callable[[Sequence[str]], list[str] | None]

_PROGRAM = "nvidia-smi"
_PATIENCE_SECONDS = 20.0


def query(fields: Sequence[str]) -> list[str] | None:
    """The values of `fields` as text, "[N/A]" and the like among them.

    None without nvidia-smi or a GPU, and where this driver does not know one of the fields.
    """
    if shutil.which(_PROGRAM) is None:
        return None
    try:
        done = subprocess.run(
            _command(fields), capture_output=True, text=True, timeout=_PATIENCE_SECONDS, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    values = done.stdout.partition("\n")[0].split(", ")
    return values if done.returncode == 0 and len(values) == len(fields) else None


class Loop:
    """Asks for one field again and again, in nvidia-smi's own process, while something else runs.

    A pipe holds what it says: it ends with this process, and rests when the pipe is full, after
    hours.
    """

    def __init__(self, field: str, every_seconds: float = 2.0) -> None:
        self._process = subprocess.Popen(
            [*_command([field]), f"--loop-ms={every_seconds * 1000:.0f}"],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )

    def stop(self) -> list[str]:
        """End it; every value it has said, once."""
        self._process.terminate()
        said, _ = self._process.communicate()
        return list(dict.fromkeys(said.splitlines()))


def number(value: str) -> float | None:
    """The number that `value` begins with, as "1980 MHz"; None for "[N/A]" and the like."""
    try:
        return float(value.partition(" ")[0])
    except ValueError:
        return None


def _command(fields: Sequence[str]) -> list[str]:
    # nvidia-smi itself knows nothing of CUDA_VISIBLE_DEVICES, but takes the same numbers and UUIDs.
    first = os.environ.get("CUDA_VISIBLE_DEVICES", "").partition(",")[0].strip() or "0"
    return [_PROGRAM, f"--query-gpu={','.join(fields)}", "--format=csv,noheader", f"--id={first}"]
