"""The table: true values on a Jetson, "-" for what cannot be read, and any Linux machine."""

import os
import tempfile
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from orin_tune import status
from tune_boards import Command, make_board, write

SWAPS = """\
Filename\t\t\t\tType\t\tSize\t\tUsed\t\tPriority
/dev/zram0                              partition\t16252928\t1048576\t\t5
/dev/zram1                              partition\t16252928\t0\t\t5
/swap\\040file                           file\t\t8388604\t\t2097152\t\t-2
"""


def tuned_board(root: Path, board: str = "agx-orin-r36") -> dict[str, str]:
    """A Jetson in the 30W mode with four cores off; returns the table as a mapping."""
    sysfs = make_board(root, board)
    for policy in (0, 4, 8):
        write(
            sysfs / f"devices/system/cpu/cpufreq/policy{policy}/scaling_governor",
            "performance\n" if policy else "schedutil\n",
        )
    write(sysfs / "devices/system/cpu/online", "0-3,8-11\n")
    write(root / "proc/device-tree/compatible", "nvidia,p3737-0000+p3701-0005\0nvidia,tegra234\0")
    write(root / "proc/sys/vm/overcommit_memory", "1\n")
    write(root / "proc/sys/vm/swappiness", "0\n")
    write(root / "proc/sys/vm/max_map_count", "1048576\n")
    write(
        root / "proc/meminfo",
        "MemTotal:       64349204 kB\nHugePages_Total:    1024\nHugePages_Free:        0\n",
    )
    write(root / "proc/swaps", SWAPS)
    write(root / "var/lib/nvpmodel/status", "pmode:0002\nfmode:quiet\n")
    return table_of(root)


def table_of(root: Path) -> dict[str, str]:
    return dict(status.rows(root / "sys", root / "proc", root, root / "nvpmodel.conf"))


def test_every_row_of_a_tuned_jetson(tmp_path: Path, conf: Path) -> None:
    assert tuned_board(tmp_path) == {
        "power mode (recorded)": "MODE_30W (id 2)",
        "GPU now / min / max": "306 MHz / 306 MHz / 1300.5 MHz",
        "GPU clocks locked": "no",
        "CPU governor": "performance, schedutil",
        "CPU cores online": "8 (0-3,8-11)",
        "vm.overcommit_memory": "1",
        "vm.swappiness": "0",
        "vm.max_map_count": "1048576",
        "hugepages total / free": "1024 / 0",
        "swap": "disk 8.0 GiB (2.0 used), zram 31.0 GiB (1.0 used)",
    }


def test_locked_clocks(tmp_path: Path) -> None:
    tuned_board(tmp_path)
    (tmp_path / "sys/class/devfreq/17000000.gpu/min_freq").write_text("1300500000\n")
    assert table_of(tmp_path)["GPU clocks locked"] == "yes"


def test_what_cannot_be_read_is_a_dash(tmp_path: Path) -> None:
    (tmp_path / "sys").mkdir()
    rows = table_of(tmp_path)
    assert rows.pop("GPU") == "not a Jetson"
    assert rows.pop("hugepages total / free") == "- / -"
    assert set(rows.values()) == {"-"}


def test_eagain_is_a_dash_and_not_0(tmp_path: Path) -> None:
    tuned_board(tmp_path)
    clock = tmp_path / "sys/class/devfreq/17000000.gpu/cur_freq"
    clock.unlink()
    os.mkfifo(clock)
    writer = os.open(clock, os.O_RDWR)
    try:
        assert table_of(tmp_path)["GPU now / min / max"] == "- / 306 MHz / 1300.5 MHz"
    finally:
        os.close(writer)


def test_a_lock_that_cannot_be_judged_is_a_dash(tmp_path: Path) -> None:
    tuned_board(tmp_path)
    for name in ("min_freq", "max_freq"):
        (tmp_path / "sys/class/devfreq/17000000.gpu" / name).unlink()
    assert table_of(tmp_path)["GPU clocks locked"] == "-"


def test_a_jetson_whose_gpu_driver_is_missing(tmp_path: Path) -> None:
    assert tuned_board(tmp_path, "jetson-without-gpu")["GPU"] == "no devfreq: GPU driver not loaded"


def test_a_mode_that_the_conf_does_not_name(tmp_path: Path) -> None:
    assert tuned_board(tmp_path)["power mode (recorded)"] == "id 2"


def test_no_swap_at_all(tmp_path: Path) -> None:
    write(tmp_path / "proc/swaps", SWAPS.splitlines()[0] + "\n")
    assert table_of(tmp_path)["swap"] == "none"


def test_the_command_prints_markdown(orin_tune: Command, tmp_path: Path, conf: Path) -> None:
    tuned_board(tmp_path)
    options = ("--path.sysfs", tmp_path / "sys", "--path.procfs", tmp_path / "proc")
    done = orin_tune("status", *options, "--path.rootfs", tmp_path, "--conf", conf)
    lines = done.out.splitlines()
    assert (done.code, done.err) == (0, "")
    assert lines[0].split() == ["|", "setting", "|", "value", "|"]
    assert set(lines[1]) == set("|- ")
    assert len({len(line) for line in lines}) == 1 and len(lines) == 12


def test_this_machine_whatever_it_is(orin_tune_process: Command) -> None:
    for arguments in ((), ("status",)):
        done = orin_tune_process(*arguments)
        assert (done.code, done.err) == (0, "")
        assert "vm.swappiness" in done.out


HOSTILE = st.one_of(
    st.binary(max_size=80),
    st.sampled_from(
        [b"pmode:99999", b"0-", b"5-1", b"Filename\n/x file 1 2 3", b"HugePages_Total: x"]
    ),
)
FILES = [
    "sys/class/devfreq/17000000.gpu/cur_freq",
    "sys/class/devfreq/17000000.gpu/device/of_node/compatible",
    "sys/devices/system/cpu/cpufreq/policy0/scaling_governor",
    "sys/devices/system/cpu/online",
    "proc/sys/vm/swappiness",
    "proc/meminfo",
    "proc/swaps",
    "var/lib/nvpmodel/status",
    "nvpmodel.conf",
]


@settings(deadline=None, max_examples=200)
@given(st.dictionaries(st.sampled_from(FILES), HOSTILE))
def test_hostile_files_never_break_the_table(files: dict[str, bytes]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        tuned_board(root)
        for name, content in files.items():
            (root / name).write_bytes(content)
        rows = table_of(root)
        text = status.table(list(rows.items()))
        assert all(text_line.isprintable() for text_line in text.split("\n"))
        assert all(value and "|" not in value for value in rows.values())
