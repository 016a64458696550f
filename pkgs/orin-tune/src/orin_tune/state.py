"""The file that remembers a GPU's minimum frequency from before it was pinned."""

import json
from dataclasses import asdict, dataclass
from pathlib import Path

from orin_tune import sysfs


class GarbageStateError(ValueError):
    """The file is there but is none of ours."""


@dataclass(frozen=True)
class State:
    """The devfreq entry that was pinned, and its min_freq in Hz before that."""

    device: str
    min_freq_hz: int


def load(path: Path) -> State | None:
    """The remembered value, or None without a file.

    Raises GarbageStateError for a file of another content, UserError for one that cannot be read.
    """
    try:
        text = sysfs.read(path)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise sysfs.refusal(path, error) from error
    try:
        match json.loads(text):
            # The bounds keep out booleans and what no frequency is (1 THz).
            case {"device": str(device), "min_freq_hz": int(hz)} if (
                not isinstance(hz, bool) and 0 <= hz <= 10**12
            ):
                return State(device, hz)
    except (ValueError, RecursionError) as error:
        raise GarbageStateError(path) from error
    raise GarbageStateError(path)


def save(path: Path, state: State) -> None:
    """Write the file whole or not at all, so that a stop in between leaves no half of it.

    No fsync: where the file outlives the kernel that it speaks of, its content is worthless.
    """
    partial = path.with_name(path.name + ".new")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        partial.write_text(json.dumps(asdict(state)) + "\n")
        partial.replace(path)
    except OSError as error:
        raise sysfs.refusal(path, error) from error


def remove(path: Path) -> None:
    """Forget the remembered value."""
    try:
        path.unlink(missing_ok=True)
    except OSError as error:
        raise sysfs.refusal(path, error) from error
