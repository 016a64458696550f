"""The simulator's files: laid out as the kernel's, whole at every moment, put away at the end."""

import os
import shutil
import socket
import stat
import subprocess
import threading
import time
import urllib.error
import urllib.request
from pathlib import Path

import pytest

from orin_core.cli import UserError
from orin_telemetry.sim.board import Board
from orin_telemetry.sim.silicon import GPU_HZ
from orin_telemetry.sim.tree import MARKER, Tree
from sim_tree import Reader, fill, read, texts


@pytest.fixture(scope="module")
def board_files(tmp_path_factory: pytest.TempPathFactory) -> Reader:
    directory = tmp_path_factory.mktemp("board")
    tree = Tree(directory)
    tree.write(Board("training"))
    return Reader(directory)


def test_links_are_relative_and_lead_home(board_files: Reader) -> None:
    links = [path for path in board_files.root.rglob("*") if path.is_symlink()]
    assert len(links) > 100
    for link in links:
        assert not link.readlink().is_absolute()
        assert link.resolve(strict=True).is_relative_to(board_files.root.resolve())


def test_gpu_and_engines(board_files: Reader) -> None:
    gpu = board_files.root / "sys/class/devfreq/17000000.gpu"
    assert str(gpu.readlink()) == ("../../devices/platform/bus@0/17000000.gpu/devfreq/17000000.gpu")
    assert str((gpu / "device").readlink()) == "../../../17000000.gpu"
    assert read(gpu / "device/of_node/name") == "gpu\0"
    assert read(gpu / "device/gpc_pg_mask") == "0"
    assert [int(hz) for hz in board_files.gpu("available_frequencies").split()] == list(GPU_HZ)
    devices = board_files.root / "sys/devices/platform/bus@0/13e00000.host1x"
    engines = {path.parent.parent.name for path in devices.glob("*/power/runtime_status")}
    assert engines >= {"15880000.nvdla0", "158c0000.nvdla1", "16000000.pva0", "15340000.vic"}
    clocks = {path.name for path in (board_files.root / "sys/class/devfreq").iterdir()}
    assert clocks == {
        *("17000000.gpu", "15340000.vic", "15480000.nvdec", "154c0000.nvenc"),
        *("15380000.nvjpg", "15540000.nvjpg", "15a50000.ofa"),
    }


def test_zones_and_their_cooling(board_files: Reader) -> None:
    zone = board_files.zone("gpu")
    assert [read(zone / f"trip_point_{trip}_temp") for trip in range(3)] == [
        "99000\n",
        "104500\n",
        "70000\n",
    ]
    bound = {
        read(zone / f"cdev{number}/type").strip(): read(zone / f"cdev{number}_trip_point").strip()
        for number in range(6)
    }
    assert bound["gpu-throttle-alert"] == bound["devfreq-17000000.gpu"] == "0"
    assert bound["hot-surface-alert"] == "2"
    assert not (board_files.zone("tj") / "cdev0").exists()
    for name in ("cv0", "cv1", "cv2"):
        with pytest.raises(BlockingIOError):
            board_files.celsius(name)


def test_monitors(board_files: Reader) -> None:
    assert [len(board_files.hwmon(name)) for name in ("ina3221", "soctherm_oc", "pwmfan")] == [
        2,
        1,
        1,
    ]
    first = board_files.root / "sys/bus/i2c/devices/1-0040/hwmon"
    monitor = next(first.iterdir())
    assert read(monitor / "in7_label") == "sum of shunt voltages\n"
    assert int(read(monitor / "in1_input")) % 8 == 0
    assert int(read(monitor / "curr1_input")) % 20 == 0
    drive = board_files.hwmon("nvme")[0]
    assert (drive / "device").resolve().name == "nvme0"
    assert read(drive / "temp1_label") == "Composite\n"
    assert int(read(drive / "temp1_input")) % 1000 == 850


@pytest.fixture
def node_exporter() -> str:
    for name in ("prometheus-node-exporter", "node_exporter"):
        if program := shutil.which(name):
            return program
    missing = "node_exporter is missing (Debian: sudo apt install prometheus-node-exporter)"
    if "CI" in os.environ:
        pytest.fail(missing)
    pytest.skip(missing)


def test_node_exporter_reads_the_tree(tmp_path: Path, node_exporter: str) -> None:
    board = Board("mode-change")
    board.step(35)
    with socket.create_server(("127.0.0.1", 0)) as free:
        address = f"127.0.0.1:{free.getsockname()[1]}"
    command = [
        *(node_exporter, f"--web.listen-address={address}", f"--path.sysfs={tmp_path}/sys"),
        *("--collector.disable-defaults", "--collector.cpufreq", "--collector.hwmon"),
        "--no-collector.thermal_zone",
    ]
    with Tree(tmp_path) as tree:
        tree.write(board)
        with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
            try:
                metrics = _ask(f"http://{address}/metrics")
            finally:
                process.terminate()
                _, errors = process.communicate()
    for collector in ("cpufreq", "hwmon"):
        assert f'node_scrape_collector_success{{collector="{collector}"}} 1' in metrics, errors
    assert metrics.count("\nnode_cpu_scaling_frequency_hertz{") == 12
    assert (
        'node_hwmon_sensor_label{chip="i2c_1_1_0040",label="VDD_GPU_SOC",sensor="in1"} 1' in metrics
    )


def _ask(url: str) -> str:
    """The answer, within two seconds once the server is up."""
    end = time.monotonic() + 10
    while True:
        try:
            with urllib.request.urlopen(url, timeout=2) as answer:
                return str(answer.read(), "utf-8")
        except urllib.error.URLError as error:
            if not isinstance(error.reason, ConnectionRefusedError) or time.monotonic() > end:
                raise
        time.sleep(0.05)


def test_a_full_disk_names_directory_and_remedy(tmp_path: Path) -> None:
    board = Board("training")
    with Tree(tmp_path) as tree:
        tree.write(board)
        fill(tmp_path)
        board.step(1)
        with pytest.raises(UserError, match=rf"^{tmp_path}: No space left .*; make room there"):
            tree.write(board)


def test_only_what_changed_is_written(tmp_path: Path) -> None:
    board = Board("training")
    with Tree(tmp_path) as tree:
        everything = tree.write(board)
        assert everything == len(texts(board)) > 400
        assert tree.write(board) == 0
        node = (tmp_path / "etc/nvpmodel.conf").stat().st_ino
        board.step(1)
        assert 5 < tree.write(board) < 60
        assert (tmp_path / "etc/nvpmodel.conf").stat().st_ino == node
        on_disk = {
            str(path.relative_to(tmp_path)): path.read_text("latin-1")
            for path in tmp_path.rglob("*")
            if path.is_file() and not path.is_symlink() and MARKER not in path.parts
        }
        assert on_disk == {path: text for path, text in texts(board).items() if text is not None}


def test_a_reader_never_sees_part_of_a_file(tmp_path: Path) -> None:
    """A thread reads for two seconds what another writes as fast as it can."""
    board = Board("swap-thrash")
    board.step(30)
    with Tree(tmp_path) as tree:
        tree.write(board)
        ends = {"proc/stat": "procs_blocked 0\n", "proc/meminfo": "2048 kB\n"}
        zones = [f"sys/class/thermal/thermal_zone{number}/temp" for number in (0, 1, 5, 8)]
        torn: list[tuple[str, str]] = []
        seen: set[str] = set()
        stop = threading.Event()

        def look() -> None:
            while not stop.is_set():
                for path in (*ends, *zones):
                    text = read(tmp_path / path)
                    seen.add(text)
                    if not text.endswith(ends.get(path, "\n")) or len(text) < 6:
                        torn.append((path, text))

        reader = threading.Thread(target=look)
        reader.start()
        end = time.monotonic() + 2
        while time.monotonic() < end:
            board.step(0.1)
            tree.write(board)
        stop.set()
        reader.join()
    assert torn == []
    assert len(seen) > 20, "the files changed meanwhile"


def test_a_zone_loses_and_regains_its_sensor(tmp_path: Path) -> None:
    board, zone = Board("idle"), tmp_path / "sys/class/thermal/thermal_zone1/temp"
    with Tree(tmp_path) as tree:
        kinds = []
        for second in (30, 50, 65):
            board.step(second - board.time)
            tree.write(board)
            kinds.append(stat.S_ISFIFO(zone.stat().st_mode))
    assert kinds == [False, True, False]


def _open_files() -> int:
    return sum(1 for _ in Path("/proc/self/fd").iterdir())


def test_close_leaves_no_fifo_and_no_file_descriptor(tmp_path: Path) -> None:
    before = _open_files()
    with Tree(tmp_path) as tree:
        tree.write(Board("training"))
        assert sum(path.is_fifo() for path in tmp_path.rglob("temp")) == 3
        assert _open_files() == before + 4
    assert not any(path.is_fifo() for path in tmp_path.rglob("*"))
    assert _open_files() == before


def test_a_second_run_starts_afresh(tmp_path: Path) -> None:
    with Tree(tmp_path) as tree:
        tree.write(Board("training"))
    (tmp_path / "sys/left.over").write_text("old")
    (tmp_path / MARKER / "new").write_text("of a killed run")
    board = Board("idle")
    with Tree(tmp_path) as tree:
        tree.write(board)
        assert not (tmp_path / "sys/left.over").exists()
        assert read(tmp_path / "proc/stat") == texts(board)["proc/stat"]


def test_a_directory_of_something_else_is_refused(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("ten years")
    with pytest.raises(UserError, match="not a simulation's"):
        Tree(tmp_path)
    with pytest.raises(UserError, match="not a directory"):
        Tree(tmp_path / "thesis.tex")
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.tex"]


def test_two_simulations_do_not_share(tmp_path: Path) -> None:
    with Tree(tmp_path), pytest.raises(UserError, match="in use"):
        Tree(tmp_path)
    Tree(tmp_path).close()
