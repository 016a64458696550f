"""Reading a simulated board: its texts in memory, and its files on disk by simple means."""

import os
from contextlib import suppress
from functools import cached_property
from pathlib import Path

from orin_telemetry.sim.board import Board
from orin_telemetry.sim.tree import MARKER, PARTS


def texts(board: Board) -> dict[str, str | None]:
    """Every file of the board, by path; None for a sensor that answers EAGAIN."""
    return {path: text for part in PARTS for path, text in part.files(board)}


def read(path: Path) -> str:
    """The file's text, as a program reads a sensor that may answer EAGAIN."""
    file = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    try:
        return os.read(file, 1 << 16).decode()
    finally:
        os.close(file)


def fill(directory: Path) -> None:
    """Let every new file of a tree that lives meet a full disk."""
    spare = directory / MARKER / "new"
    while not spare.is_symlink():
        with suppress(FileExistsError):  # the writer was quicker
            spare.symlink_to("/dev/full")


class Reader:
    """Finds values by name and label, never by number."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def text(self, path: str) -> str:
        return read(self.root / path).strip("\0\n ")

    def number(self, path: str) -> int:
        return int(self.text(path))

    def gpu(self, name: str) -> str:
        return self.text(f"sys/class/devfreq/17000000.gpu/{name}")

    @cached_property
    def _thermal(self) -> dict[str, Path]:
        entries = (self.root / "sys/class/thermal").iterdir()
        return {read(entry / "type").strip(): entry for entry in entries}

    def zone(self, kind: str) -> Path:
        return self._thermal[f"{kind}-thermal"]

    def celsius(self, kind: str) -> float:
        return int(read(self.zone(kind) / "temp")) / 1000

    def cooling(self, kind: str) -> int:
        return int(read(self._thermal[kind] / "cur_state"))

    def throttling(self) -> list[str]:
        units = ("cpu", "gpu", "cv0", "cv1", "cv2", "soc0", "soc1", "soc2")
        return [unit for unit in units if self.cooling(f"{unit}-throttle-alert")]

    def hwmon(self, name: str) -> list[Path]:
        entries = sorted((self.root / "sys/class/hwmon").iterdir())
        return [entry for entry in entries if read(entry / "name") == f"{name}\n"]

    def rail(self, label: str, suffix: str) -> str:
        """A current channel's file, such as input or max_alarm, of the rail with this label."""
        for monitor in self.hwmon("ina3221"):
            for file in monitor.glob("in[123]_label"):
                if read(file).strip() == label:
                    return read(monitor / f"curr{file.name[2]}_{suffix}").strip()
        raise LookupError(label)

    def volts(self, label: str) -> float:
        for monitor in self.hwmon("ina3221"):
            for file in monitor.glob("in[123]_label"):
                if read(file).strip() == label:
                    return int(read(monitor / f"in{file.name[2]}_input")) / 1000
        raise LookupError(label)

    def watts(self) -> float:
        """The module's power in W, by the estimate for AGX."""
        rails = ("VDD_GPU_SOC", "VDD_CPU_CV", "VIN_SYS_5V0")
        return sum(self.volts(rail) * int(self.rail(rail, "input")) / 1000 for rail in rails)

    def row(self, path: str, name: str) -> int:
        """A number of /proc/meminfo or /proc/vmstat."""
        for line in self.text(path).splitlines():
            head, *rest = line.replace(":", " ").split()
            if head == name:
                return int(rest[0])
        raise LookupError(name)
