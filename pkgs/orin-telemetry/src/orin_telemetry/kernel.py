"""The kernel's files of one board: the only door between the collectors and the hardware."""

from pathlib import Path

from orin_core import sysfs


class Kernel:
    """Where sysfs, procfs and the root file system are mounted, and how their files are read.

    Tests replace `read` to answer what a plain file cannot: EAGAIN, EIO, nothing for seconds.
    """

    def __init__(
        self, sysfs: Path = Path("/sys"), procfs: Path = Path("/proc"), rootfs: Path = Path("/")
    ) -> None:
        self.sysfs, self.procfs, self.rootfs = sysfs, procfs, rootfs

    def read(self, path: Path, limit: int) -> str:
        """At most `limit` bytes of `path` as text. Raises OSError."""
        return sysfs.read(path, limit)

    def entries(self, path: Path) -> list[Path]:
        """What the directory `path` holds, sorted by name with numbers in order; nothing where
        it is missing or closed to us: another board's, or a driver that is not loaded."""
        try:
            return sorted(path.iterdir(), key=lambda entry: _natural(entry.name))
        except OSError:
            return []

    def hwmon(self, driver: str) -> list[Path]:
        """The hwmon directories of `driver`. Their numbers change from boot to boot."""
        found = []
        for entry in self.entries(self.sysfs / "class/hwmon"):
            try:
                name = self.read(entry / "name", 64).strip()
            except OSError:
                continue  # unregistered since it was listed
            if name == driver:
                found.append(entry)
        return found


def _natural(name: str) -> tuple[str, int]:
    head = name.rstrip("0123456789")
    tail = name[len(head) :]
    return head, int(tail) if tail else -1
