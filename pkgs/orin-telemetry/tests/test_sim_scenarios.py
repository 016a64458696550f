"""Each scenario brings about what it is for, as a program sees it that reads the files."""

import errno
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from orin_telemetry.sim.board import Board
from orin_telemetry.sim.tree import Tree, temporary
from sim_tree import Reader, read


class Play:
    """One scenario on disk, moved on by the second."""

    def __init__(self, directory: Path, name: str) -> None:
        self.board = Board(name, seed=11)
        self.tree = Tree(directory)
        self.reader = Reader(directory)
        self.tree.write(self.board)

    def to(self, seconds: float) -> Reader:
        self.board.step(seconds - self.board.time)
        self.tree.write(self.board)
        return self.reader


@pytest.fixture
def play() -> Iterator[Callable[[str], Play]]:
    with ExitStack() as stack:
        folder = stack.enter_context(temporary("test-sim"))

        def begin(name: str) -> Play:
            scene = Play(folder, name)
            stack.callback(scene.tree.close)
            return scene

        yield begin


def test_idle(play: Callable[[str], Play]) -> None:
    scene = play("idle")
    now = scene.to(20)
    assert int(now.gpu("device/load")) < 100
    assert now.gpu("min_freq") == now.gpu("max_freq") == "1300500000"
    assert 8 < now.watts() < 18
    now = scene.to(50)
    assert now.gpu("device/gpu_powered_on") == "off"
    assert now.gpu("device/is_railgated") == "yes"
    assert now.gpu("device/load") == "0"
    with pytest.raises(BlockingIOError):
        now.celsius("gpu")
    now = scene.to(65)
    assert now.gpu("device/gpu_powered_on") == "on"
    assert 25 < now.celsius("gpu") < 60


def test_llm_decode(play: Callable[[str], Play]) -> None:
    now = play("llm-decode").to(15)
    assert int(now.gpu("device/load")) > 900
    assert 25 < now.watts() < 40
    emc = now.number("sys/kernel/debug/bpmp/debug/clk/emc/rate")
    assert 0.6 < now.number("sys/kernel/debug/cactmon/mc_all") * 1000 / emc < 1
    assert now.text("sys/class/devfreq/15480000.nvdec/device/power/runtime_status") == "active"
    assert "llama-server" in now.text("sys/kernel/debug/nvmap/iovmm/clients")
    assert now.throttling() == []


def test_training(play: Callable[[str], Play]) -> None:
    scene = play("training")
    for second in range(0, 200, 8):
        now = scene.to(second + 5)
        assert now.throttling() == []
        assert 60 < now.celsius("tj") < 80
    assert 40 < now.watts() < 60
    assert now.number("sys/class/hwmon/hwmon0/pwm1") > 100


def test_thermal_runaway(play: Callable[[str], Play]) -> None:
    scene = play("thermal-runaway")
    first, hottest, near, clocks = None, 0.0, 0, []
    for second in range(1, 111):
        now = scene.to(second)
        hottest = max(hottest, now.celsius("tj"))
        near = near + 1 if 104.5 - now.celsius("tj") < 3 else 0
        if now.throttling():
            first = first or second
            clocks.append(int(now.gpu("max_freq")))
    assert first is not None and first < 90
    assert len(clocks) > 30, "long enough for an alert"
    assert min(clocks) == 306_000_000
    assert now.gpu("cur_freq") == now.gpu("min_freq") == now.gpu("max_freq")
    assert 1 < 104.5 - hottest < 3
    assert near > 12, "long enough for JetsonThermalShutdownNear"
    assert now.cooling("devfreq-17000000.gpu") == 10
    assert now.cooling("cpufreq-cpu0") > 10
    assert now.number("sys/devices/system/cpu/cpu0/cpufreq/scaling_max_freq") < 2_000_000
    now = scene.to(200)
    assert now.throttling() == []
    assert now.gpu("cur_freq") == "1300500000"
    assert now.celsius("tj") < 70


def test_fan_stall(play: Callable[[str], Play]) -> None:
    scene = play("fan-stall")
    assert read(scene.to(10).hwmon("pwm_tach")[0] / "rpm") != "0\n"
    before = scene.to(15).celsius("tj")
    now = scene.to(75)
    assert now.number("sys/class/hwmon/hwmon0/pwm1") > 150
    assert read(now.hwmon("pwm_tach")[0] / "rpm") == "0\n"
    middle = now.celsius("tj")
    assert before + 10 < middle < scene.to(115).celsius("tj")


def test_sensor_loss(play: Callable[[str], Play]) -> None:
    scene = play("sensor-loss")
    assert scene.to(10).celsius("gpu") > 30
    now = scene.to(20)
    with pytest.raises(BlockingIOError) as silent:
        now.celsius("gpu")
    assert silent.value.errno == errno.EAGAIN
    assert now.celsius("tj") > 30
    now = scene.to(40)
    with pytest.raises(UnicodeDecodeError):
        now.rail("VDD_CPU_CV", "input")
    assert int(now.rail("VDD_GPU_SOC", "input")) > 0


def test_brown_out(play: Callable[[str], Play]) -> None:
    scene = play("brown-out")
    count = "oc1_event_cnt"
    calm = scene.to(14)
    soctherm = calm.hwmon("soctherm_oc")[0]
    assert read(soctherm / count) == "0\n"
    volts = calm.volts("VDD_GPU_SOC")
    assert calm.rail("VDD_GPU_SOC", "max_alarm") == "0"
    early = int(read(scene.to(25).hwmon("soctherm_oc")[0] / count))
    now = scene.to(45)
    assert int(read(soctherm / count)) > early > 0
    assert int(read(soctherm / "oc3_event_cnt")) > 0
    assert now.rail("VDD_GPU_SOC", "max_alarm") == now.rail("VDD_GPU_SOC", "crit_alarm") == "1"
    assert now.volts("VDD_GPU_SOC") < volts - 3
    assert now.gpu("cur_freq") == "1300500000", "skipped pulses do not show in the clock"


def test_swap_thrash(play: Callable[[str], Play]) -> None:
    scene = play("swap-thrash")
    assert scene.to(8).row("proc/vmstat", "pswpout") == 0
    now = scene.to(50)
    total = now.row("proc/meminfo", "MemTotal")
    assert now.row("proc/meminfo", "MemAvailable") < 0.02 * total
    original, compressed, used = map(int, now.text("sys/block/zram0/mm_stat").split()[:3])
    swapped = now.row("proc/meminfo", "SwapTotal") - now.row("proc/meminfo", "SwapFree")
    assert original // 1024 == pytest.approx(swapped, abs=1)
    assert original > 10 * 2**30
    assert compressed < used < original / 2
    before = [now.row("proc/vmstat", name) for name in ("pswpin", "pswpout")]
    now = scene.to(60)
    after = [now.row("proc/vmstat", name) for name in ("pswpin", "pswpout")]
    rates = [(b - a) * 4096 / 10 for a, b in zip(before, after, strict=True)]
    assert all(rate > 0.0005 * total * 1024 for rate in rates)


def test_gpu_stuck(play: Callable[[str], Play]) -> None:
    scene = play("gpu-stuck")
    assert scene.to(10).gpu("cur_freq") == "1300500000"
    now = scene.to(25)
    assert now.gpu("cur_freq") == "306000000"
    assert now.gpu("max_freq") == "1300500000"
    assert int(now.gpu("device/load")) > 950
    assert now.throttling() == []


def test_mode_change(play: Callable[[str], Play]) -> None:
    scene = play("mode-change")
    now = scene.to(25)
    assert now.text("var/lib/nvpmodel/status") == "pmode:0000"
    assert now.gpu("min_freq") == now.gpu("max_freq")
    before = now.watts()
    now = scene.to(35)
    assert now.text("var/lib/nvpmodel/status") == "pmode:0001"
    assert "< POWER_MODEL ID=1 NAME=MODE_15W >" in now.text("etc/nvpmodel.conf")
    assert now.gpu("min_freq") == "306000000" and now.gpu("max_freq") == "408000000"
    assert now.text("sys/devices/system/cpu/online") == "0-3"
    assert now.text("sys/devices/system/cpu/cpu4/online") == "0"
    cpu4 = now.root / "sys/devices/system/cpu/cpu4"
    assert read(cpu4 / "cpufreq/affected_cpus") == "\n"
    assert int(read(cpu4 / "cpufreq/scaling_cur_freq")) > 0
    assert "cpu4 " not in now.text("proc/stat")
    assert int(now.gpu("device/tpc_pg_mask")).bit_count() == 5
    assert now.number("sys/kernel/nvpmodel_clk_cap/emc") == 2_133_000_000
    assert now.watts() < 15 < before


def test_tour(play: Callable[[str], Play]) -> None:
    scene = play("tour")
    modes, throttled, captions = [], [], []
    for second in range(1, 181):
        now = scene.to(second)
        modes.append(now.text("var/lib/nvpmodel/status")[-1])
        throttled.append(bool(now.throttling()))
        captions.append(scene.board.scene.caption)
    assert list(dict.fromkeys(modes)) == ["0", "1"] and modes[-1] == "0"
    assert sum(throttled) > 30 and throttled.index(True) < 120
    assert not any(throttled[:60]) and not any(throttled[165:])
    assert len(dict.fromkeys(captions)) == 8
    assert now.celsius("cv0") > 30, "vision has power at the end"
    assert now.gpu("min_freq") == now.gpu("max_freq") or now.cooling("devfreq-17000000.gpu")
