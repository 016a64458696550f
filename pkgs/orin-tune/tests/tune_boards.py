"""Fake boards: sysfs trees as the kernel lays them out, and an nvpmodel that can refuse."""

import os
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

MHZ_R36 = [306, 408, 510, 612, 714, 816, 918, 1020, 1122, 1224, 1300.5]


@dataclass(frozen=True)
class Entry:
    """A devfreq entry: where its device sits, its device tree node, its clocks in MHz."""

    name: str
    device: str
    node: str | None
    compatible: str | None = None
    mhz: list[float] = field(default_factory=lambda: [306, 1300.5])


VIC = Entry("15340000.vic", "platform/bus@0/13e00000.host1x/15340000.vic", "vic", "nvidia,vic")
BOARDS: dict[str, tuple[str | None, list[Entry]]] = {
    "agx-orin-r36": (
        "17000000.gpu",
        [VIC, Entry("17000000.gpu", "platform/bus@0/17000000.gpu", "gpu", "nvidia,ga10b", MHZ_R36)],
    ),
    "agx-orin-r35": (
        "17000000.ga10b",
        [VIC, Entry("17000000.ga10b", "17000000.ga10b", "ga10b", "nvidia,ga10b", [114.75, 1300.5])],
    ),
    "xavier": ("17000000.gv11b", [Entry("17000000.gv11b", "17000000.gv11b", "gv11b")]),
    # the node's name alone tells
    "odd-entry-name": ("devfreq0", [Entry("devfreq0", "gpu.0", "ga10b", "nvidia,ga10b")]),
    "thor": (
        "gpu-gpc-0",
        [
            Entry("gpu-gpc-0", "pci0000:00/0000:01:00.0", None, None, [315, 1575]),
            Entry("gpu-nvd-0", "pci0000:00/0000:01:00.1", None, None, [315, 1692]),
        ],
    ),
    "jetson-without-gpu": (None, [VIC]),
    "rockchip-mali": (None, [Entry("ff9a0000.gpu", "platform/ff9a0000.gpu", "gpu", "arm,mali")]),
    "pc": (None, []),
}
JETSONS = [name for name, (gpu, _) in BOARDS.items() if gpu]

# The lines that matter of L4T's nvpmodel_p3701_0005.conf (AGX Orin 64GB).
AGX_64GB_CONF = """\
# < POWER_MODEL ID=9 NAME=MODE_30W > in a comment is no mode
< PARAM TYPE=FILE NAME=CPU_ONLINE >
CORE_0 /sys/devices/system/cpu/cpu0/online

< POWER_MODEL ID=0 NAME=MAXN >
CPU_ONLINE CORE_0 1
< POWER_MODEL ID=1 NAME=MODE_15W >
CPU_ONLINE CORE_0 1
< POWER_MODEL ID=2 NAME=MODE_30W >
CPU_ONLINE CORE_0 1
< POWER_MODEL ID=3 NAME=MODE_50W >
CPU_ONLINE CORE_0 1

< PM_CONFIG DEFAULT=2 >
"""


def write(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def make_board(root: Path, board: str) -> Path:
    """A fake sysfs under `root`, with the kernel's symbolic links; returns its mount point."""
    sysfs = root / "sys"
    devfreq = sysfs / "class/devfreq"
    devfreq.mkdir(parents=True)
    for entry in BOARDS[board][1]:
        device = sysfs / "devices" / entry.device
        home = device / "devfreq" / entry.name
        if entry.node:
            write(device / "of_node/name", f"{entry.node}\0")
        if entry.compatible:
            write(device / "of_node/compatible", f"{entry.compatible}\0")
        hz = [round(mhz * 1e6) for mhz in entry.mhz]
        write(home / "min_freq", f"{hz[0]}\n")
        write(home / "cur_freq", f"{hz[0]}\n")
        write(home / "max_freq", f"{hz[-1]}\n")
        write(home / "available_frequencies", " ".join(map(str, hz)) + "\n")
        (home / "device").symlink_to(os.path.relpath(device, home))
        (devfreq / entry.name).symlink_to(os.path.relpath(home, devfreq))
    return sysfs


@dataclass(frozen=True)
class Done:
    code: int
    out: str
    err: str

    @property
    def error(self) -> str:
        """The one line that the user sees: exit code 2, no traceback, nothing on stdout."""
        assert (self.code, self.out) == (2, ""), self
        assert self.err.count("\n") == 1 and self.err.endswith("\n"), self.err
        assert "Traceback" not in self.err
        return self.err


@dataclass(frozen=True)
class FakeNvpmodel:
    """A program in nvpmodel's place, and the arguments of each call that it got."""

    path: Path
    log: Path

    @property
    def calls(self) -> list[str]:
        return self.log.read_text().splitlines() if self.log.exists() else []


# What `-m` does, by the name of the behaviour. $ID is the mode asked for, $REC the recorded one.
SET = {
    "takes": 'echo "$ID" > "$REC"',
    # Words and exit codes as recorded by owners of boards: see nvpmodel.py.
    "asks-reboot": """\
echo 'NVPM WARN: Golden image context is already created'
echo "NVPM WARN: Reboot required for changing to this power mode: $ID"
echo 'NVPM WARN: DO YOU WANT TO REBOOT NOW? enter YES/yes to confirm:'
if read answer; then echo "$answer" > "$REC.rebooted"; exit 0; fi
echo 'NVPM ERROR: bad input!' >&2
echo 'NVPM ERROR: optMask is 1, no request for power mode' >&2
exit 234""",
    "asks-reboot-exits-0": """\
echo "NVPM WARN: Reboot required for changing to this power mode: $ID\"""",
    "mask-busy": """\
echo 'NVPM ERROR: Error writing 128 to /sys/devices/platform/gpu.0/tpc_pg_mask: 16' >&2
echo 'NVPM ERROR: failed to set power mode!' >&2
exit 255""",
    "needs-root": """\
echo 'NVPM ERROR: Error opening /sys/devices/platform/gpu.0/tpc_pg_mask: 13' >&2
echo 'NVPM ERROR: failed to set power mode!' >&2
exit 255""",
    "other-board": """\
echo 'NVPM ERROR: Error opening /sys/devices/system/cpu/cpu11/online: 2' >&2
echo 'NVPM ERROR: failed to set power mode!' >&2
exit 255""",
    "fails-with-0": """\
echo 'NVPM ERROR: Error opening /sys/devices/system/cpu/cpu0/online: 13' >&2
echo 'NVPM ERROR: failed to set power mode!' >&2""",
    "lies": ":",
    "crashes": "kill -SEGV $$",
}


Board = Callable[[str], Path]
Command = Callable[..., Done]
Nvpmodel = Callable[..., FakeNvpmodel]
