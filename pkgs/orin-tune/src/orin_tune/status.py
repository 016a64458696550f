"""What the machine is tuned to, as a table. A value that cannot be read is "-", never 0."""

import re
from pathlib import Path

from orin_core.jetson import find_gpu, parse_modes
from orin_tune import devfreq, sysfs

UNKNOWN = "-"


def rows(sys_root: Path, proc_root: Path, root: Path, conf: Path) -> list[tuple[str, str]]:
    """Name and value of each setting, for the sysfs, procfs and root file systems given.

    Raises nothing: the table must come out on any Linux machine, Jetson or not.
    """
    meminfo = dict(re.findall(r"^(\w+):[ \t]+([0-9]{1,19})\b", _text(proc_root / "meminfo"), re.M))
    huge = [meminfo.get(key, UNKNOWN) for key in ("HugePages_Total", "HugePages_Free")]
    return [
        # nvpmodel's own record of the last mode it was given
        ("power mode (recorded)", _power_mode(root / "var/lib/nvpmodel/status", conf)),
        *_gpu_rows(sys_root, proc_root),
        ("CPU governor", _governors(sys_root / "devices/system/cpu/cpufreq")),
        ("CPU cores online", _cores(_text(sys_root / "devices/system/cpu/online"))),
        *(
            (f"vm.{key}", _or_unknown(_number(proc_root / "sys/vm" / key)))
            for key in ("overcommit_memory", "swappiness", "max_map_count")
        ),
        ("hugepages total / free", " / ".join(huge)),
        ("swap", _swap(_text(proc_root / "swaps"))),
    ]


def table(pairs: list[tuple[str, str]]) -> str:
    """The rows as a Markdown table."""
    lines = [("setting", "value"), *pairs]
    wide, long = (max(len(line[column]) for line in lines) for column in (0, 1))
    lines.insert(1, ("-" * wide, "-" * long))
    return "\n".join(f"| {name:<{wide}} | {value:<{long}} |" for name, value in lines)


def _power_mode(record: Path, conf: Path) -> str:
    match = re.search(r"^pmode:([0-9]{1,4})\b", _text(record), re.M)
    if match is None:
        return UNKNOWN
    number = int(match[1])
    modes = parse_modes(_text(conf))
    return next((str(mode) for mode in modes if mode.id == number), f"id {number}")


def _gpu_rows(sys_root: Path, proc_root: Path) -> list[tuple[str, str]]:
    gpu = find_gpu(sys_root)
    if gpu is None:
        jetson = "nvidia,tegra" in _text(proc_root / "device-tree/compatible")
        return [("GPU", "no devfreq: GPU driver not loaded" if jetson else "not a Jetson")]
    now, low, high = (_number(gpu / f"{name}_freq") for name in ("cur", "min", "max"))
    clocks = [UNKNOWN if hz is None else devfreq.mhz(hz) for hz in (now, low, high)]
    locked = UNKNOWN
    if low is not None and high is not None:
        locked = "yes" if low == high else "no"
    return [("GPU now / min / max", " / ".join(clocks)), ("GPU clocks locked", locked)]


def _governors(cpufreq: Path) -> str:
    texts = (_text(policy / "scaling_governor").strip() for policy in cpufreq.glob("policy*"))
    names = {text for text in texts if re.fullmatch(r"[\w-]+", text, re.A)}
    return ", ".join(sorted(names)) or UNKNOWN


def _cores(text: str) -> str:
    """The kernel's list of cores with their number: "0-3,6" is "5 (0-3,6)"."""
    text = text.strip()
    part = r"[0-9]{1,5}(?:-[0-9]{1,5})?"
    if not re.fullmatch(rf"{part}(?:,{part})*", text):
        return UNKNOWN
    count = 0
    for first, last in re.findall(r"([0-9]+)(?:-([0-9]+))?", text):
        count += int(last or first) - int(first) + 1
    return f"{count} ({text})"


def _swap(text: str) -> str:
    """Total and used space of /proc/swaps (KiB), compressed memory apart from disks."""
    if not text.startswith("Filename"):
        return UNKNOWN
    sums: dict[str, list[int]] = {}
    for name, size, used in re.findall(
        r"^(\S+)\s+\w+\s+([0-9]{1,15})\s+([0-9]{1,15})\b", text.partition("\n")[2], re.M
    ):
        kind = "zram" if Path(name).name.startswith("zram") else "disk"
        total = sums.setdefault(kind, [0, 0])
        total[0] += int(size)
        total[1] += int(used)
    parts = [
        f"{kind} {size / 2**20:.1f} GiB ({used / 2**20:.1f} used)"
        for kind, (size, used) in sorted(sums.items())
    ]
    return ", ".join(parts) or "none"


def _text(path: Path) -> str:
    """The file's text, empty where it cannot be read: its row then shows UNKNOWN."""
    try:
        return sysfs.read(path)
    except OSError:
        return ""


def _number(path: Path) -> int | None:
    return sysfs.number(_text(path))


def _or_unknown(value: int | None) -> str:
    return UNKNOWN if value is None else str(value)
