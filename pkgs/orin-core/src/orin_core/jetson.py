"""What tells a Jetson's parts from others': its GPU among the devfreq devices, its power modes."""

import re
from dataclasses import dataclass
from pathlib import Path

from orin_core import sysfs

# L4T r36 calls the node gpu, r35 and Xavier by the chip; gpu-gpc-0 is Thor's, which has no of_node.
# Thor's gpu-nvd-0 is the video engine.
_NODE = r"gpu|ga10b|gv11b|gp10b"
_ENTRY = re.compile(rf"[0-9a-f]+\.(?:{_NODE})|gpu-gpc-[0-9]+")

# The form nvpmodel itself insists on: "<" in the first column. "#" in front is a comment.
_MODE = re.compile(
    r"^<[ \t]*POWER_MODEL[ \t]+ID=([0-9]{1,4})[ \t]+NAME=([A-Za-z0-9_.+-]+)[ \t]*>", re.MULTILINE
)


@dataclass(frozen=True)
class Mode:
    """One `POWER_MODEL` of nvpmodel.conf: the number for `nvpmodel -m`, and its name."""

    id: int
    name: str

    def __str__(self) -> str:
        return f"{self.name} (id {self.id})"


def parse_modes(text: str) -> list[Mode]:
    """The power modes of an nvpmodel.conf's text, in the file's order, without repetitions."""
    return list(dict.fromkeys(Mode(int(number), name) for number, name in _MODE.findall(text)))


def find_gpu(root: Path) -> Path | None:
    """The GPU's directory in `root`/class/devfreq, or None where there is no Jetson GPU."""
    entries = sorted((root / "class/devfreq").glob("*"))
    return next((entry for entry in entries if _is_gpu(entry)), None)


def _is_gpu(entry: Path) -> bool:
    node = entry / "device/of_node"
    if not _ENTRY.fullmatch(entry.name) and not re.fullmatch(_NODE, _property(node / "name")):
        return False
    # Other makers' boards have a devfreq called gpu as well (Mali on Rockchip: ff9a0000.gpu).
    compatible = _property(node / "compatible")
    return not compatible or "nvidia," in compatible


def _property(path: Path) -> str:
    """A device tree property's text, empty where there is none."""
    try:
        return sysfs.read(path).strip("\0\n")
    except OSError:
        return ""
