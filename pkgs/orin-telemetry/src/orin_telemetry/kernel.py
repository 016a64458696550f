"""The kernel's files of one board: the only door between the collectors and the hardware."""

from pathlib import Path

from orin_core import sysfs

_LINKS = 8  # as deep as links to a configuration file go


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

    def below_root(self, name: str) -> Path:
        """The file `name` of the root file system, wherever that is mounted.

        A container sees the board's below /host, say, where links to /etc would leave it.
        """
        path = self.rootfs / name
        for _ in range(_LINKS):
            if not path.is_symlink():
                break
            target = path.readlink()
            path = (
                self.rootfs / target.relative_to("/")
                if target.is_absolute()
                else path.parent / target
            )
        return path
