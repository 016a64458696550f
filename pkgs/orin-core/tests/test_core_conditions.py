"""Clocks, heat and throttling: read from a board's files or nvidia-smi's words, and judged."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from orin_core import nvidia
from orin_core.conditions import Conditions, Watch, read_conditions, warnings

GPU = "sys/class/devfreq/17000000.gpu"
BOARD = {
    f"{GPU}/cur_freq": "306000000",
    f"{GPU}/min_freq": "306000000",
    f"{GPU}/max_freq": "1300500000",
    "sys/class/thermal/thermal_zone0/type": "cpu-thermal",
    "sys/class/thermal/thermal_zone0/temp": "51000",
    "sys/class/thermal/thermal_zone1/type": "gpu-thermal",
    "sys/class/thermal/thermal_zone1/temp": "48312",
    "sys/class/thermal/cooling_device3/type": "cpu-throttle-alert",
    "sys/class/thermal/cooling_device3/cur_state": "0",
    "sys/class/thermal/cooling_device4/type": "hot-surface-alert",
    "sys/class/thermal/cooling_device4/cur_state": "1",
    "sys/class/hwmon/hwmon3/name": "soctherm_oc",
    "sys/class/hwmon/hwmon3/oc1_event_cnt": "0",
    "sys/class/hwmon/hwmon3/oc3_event_cnt": "7",
    "sys/devices/system/cpu/cpufreq/policy0/scaling_cur_freq": "729600",
    "sys/devices/system/cpu/cpufreq/policy4/scaling_cur_freq": "2201600",
    "sys/devices/system/cpu/cpufreq/policy0/scaling_governor": "schedutil",
    "sys/devices/system/cpu/cpufreq/policy4/scaling_governor": "schedutil",
    "var/lib/nvpmodel/status": "pmode:0002 fmode:quiet",
    "etc/nvpmodel.conf": "< POWER_MODEL ID=0 NAME=MAXN >\n< POWER_MODEL ID=2 NAME=MODE_30W >\n",
}
H200 = {
    "clocks.sm": "1980 MHz",
    "clocks.max.sm": "1980 MHz",
    "clocks.mem": "3201 MHz",
    "temperature.gpu": "34",
    "power.draw": "118.62 W",
    "clocks_event_reasons.active": "0x0000000000000000",
}


def tree(root: Path, **changed: str) -> Path:
    """A board's files, some of them with other contents: name__of__it to text."""
    files = BOARD | {name.replace("__", "/"): text for name, text in changed.items()}
    for name, text in files.items():
        file = root / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text + "\n")
    return root


def smi(answers: dict[str, str]) -> nvidia.Query:
    def query(fields: Sequence[str]) -> list[str] | None:
        known = set(fields) <= answers.keys()
        return [answers[field] for field in fields] if known else None

    return query


def no_smi(fields: Sequence[str]) -> None:
    return None


def test_a_board(tmp_path: Path) -> None:
    assert read_conditions(tree(tmp_path), no_smi) == Conditions(
        gpu="jetson",
        gpu_clock_hz=306e6,
        gpu_clock_max_hz=1300.5e6,
        gpu_temperature_c=48.312,
        cpu_clock_hz=2201.6e6,
        clocks_locked=False,
        throttle_counts={"under-voltage": 0, "instantaneous current": 7},
        power_mode="MODE_30W",
        cpu_governor="schedutil",
    )


def test_a_pinned_board_that_is_too_hot(tmp_path: Path) -> None:
    root = tree(tmp_path)
    (root / GPU / "min_freq").write_text("1300500000\n")
    (root / "sys/class/thermal/cooling_device3/cur_state").write_text("1\n")
    (root / "etc/nvpmodel.conf").unlink()
    reading = read_conditions(root, no_smi)
    assert reading.clocks_locked is True
    assert reading.throttle_reasons == ("cpu heat",)
    assert reading.power_mode == "id 2"


def test_garbage_is_not_told(tmp_path: Path) -> None:
    root = tree(tmp_path)
    for file in root.rglob("*"):
        if file.is_file():
            file.write_bytes(b"\xff garbage")
    reading = read_conditions(root, smi(dict.fromkeys(H200, "[N/A]")))
    assert reading == Conditions(gpu="jetson")


def test_a_gpu(tmp_path: Path) -> None:
    assert read_conditions(tmp_path, smi(H200)) == Conditions(
        gpu="nvidia",
        gpu_clock_hz=1980e6,
        gpu_clock_max_hz=1980e6,
        memory_clock_hz=3201e6,
        gpu_temperature_c=34.0,
        power_w=118.62,
    )


@pytest.mark.parametrize("field", ["clocks_event_reasons.active", "clocks_throttle_reasons.active"])
@pytest.mark.parametrize(
    ("bits", "clock", "reasons", "locked"),
    [
        ("0x0000000000000000", "1980 MHz", (), None),
        ("0x0000000000000001", "345 MHz", (), None),
        ("0x0000000000000002", "1410 MHz", (), True),
        ("0x0000000000000004", "1755 MHz", ("software power cap",), False),
        (
            "0x00000000000000f8",
            "1095 MHz",
            (
                "hardware slowdown",
                "sync boost",
                "software thermal slowdown",
                "hardware thermal slowdown",
                "hardware power brake",
            ),
            False,
        ),
        ("[N/A]", "1980 MHz", (), None),
        ("Not Active", "[N/A]", (), None),
    ],
)
def test_throttle_reasons(
    field: str, bits: str, clock: str, reasons: tuple[str, ...], locked: bool | None, tmp_path: Path
) -> None:
    """Either name of the field will do; idling and the owner's own setting are no throttling."""
    answers = {name: value for name, value in H200.items() if "reasons" not in name}
    reading = read_conditions(tmp_path, smi(answers | {"clocks.sm": clock, field: bits}))
    assert reading.throttle_reasons == reasons
    assert reading.clocks_locked is locked


def test_nothing_is_told(tmp_path: Path) -> None:
    every = dict.fromkeys(H200, "[N/A]")
    assert read_conditions(tmp_path, smi(every)) == Conditions(gpu="nvidia")
    assert read_conditions(tmp_path, no_smi) == Conditions()
    assert str(Conditions()) == "not told by this machine"


def test_the_clock_of_a_cpu_without_cpufreq(tmp_path: Path) -> None:
    (tmp_path / "proc").mkdir()
    (tmp_path / "proc/cpuinfo").write_text("cpu MHz\t\t: 2596.146\ncpu MHz\t\t: 1500.000\n")
    assert read_conditions(tmp_path, no_smi).cpu_clock_hz == pytest.approx(2596.146e6)


def test_in_a_line() -> None:
    reading = Conditions(
        gpu="jetson",
        gpu_clock_hz=1300.5e6,
        gpu_clock_max_hz=1300.5e6,
        gpu_temperature_c=48.3,
        clocks_locked=True,
        power_mode="MAXN",
    )
    assert str(reading) == "GPU 1300 MHz, at most 1300 MHz, 48 C, power mode MAXN, clocks locked"


GOOD = Conditions(gpu="nvidia", gpu_temperature_c=50.0, clocks_locked=True)


def test_nothing_to_warn_of() -> None:
    assert warnings(GOOD, replace(GOOD, cpu_governor="performance")) == []
    assert warnings(Conditions(), Conditions()) == []


@pytest.mark.parametrize(
    ("before", "after", "words"),
    [
        ({"clocks_locked": False}, {}, ["not locked", "nvidia-smi -lgc"]),
        ({}, {"clocks_locked": False}, ["not locked", "nvidia-smi -lgc"]),
        ({}, {"clocks_locked": None}, ["is not told", "nvidia-smi -lgc"]),
        (
            {"gpu": "jetson"},
            {"gpu": "jetson", "clocks_locked": False},
            ["not locked", "orin-tune pin", "orin.performance"],
        ),
        ({"throttle_reasons": ("sync boost",)}, {}, ["throttled (sync boost)"]),
        (
            {"throttle_reasons": ("sync boost",)},
            {"throttle_reasons": ("software power cap", "sync boost")},
            ["throttled (sync boost, software power cap)"],
        ),
        (
            {"throttle_counts": {"average current": 7, "under-voltage": 1}},
            {"throttle_counts": {"average current": 9, "under-voltage": 1}},
            ["throttled (average current)"],
        ),
        ({}, {"gpu_temperature_c": 91.0}, ["at 91 C"]),
        ({}, {"cpu_governor": "schedutil"}, ["schedutil", "cpupower"]),
    ],
)
def test_warnings(before: dict[str, object], after: dict[str, object], words: list[str]) -> None:
    (warning,) = warnings(replace(GOOD, **before), replace(GOOD, **after))  # type: ignore[arg-type]
    assert all(word in warning for word in words)


def test_counts_that_the_first_reading_lacked_are_no_throttling() -> None:
    """They count from the start of the machine, not of the measurement."""
    assert warnings(GOOD, replace(GOOD, throttle_counts={"sync boost": 9000})) == []


def test_microseconds_of_throttling(tmp_path: Path) -> None:
    counters = [
        "clocks_event_reasons_counters." + name
        for name in (
            "sw_power_cap",
            "sync_boost",
            "sw_thermal_slowdown",
            "hw_thermal_slowdown",
            "hw_power_brake_slowdown",
        )
    ]
    answers = H200 | dict(
        zip(counters, ["91403239 us", "0 us", "0 us", "[N/A]", "0 us"], strict=True)
    )
    before = read_conditions(tmp_path, smi(answers))
    assert before.throttle_counts == {
        "software power cap": 91403239,
        "sync boost": 0,
        "software thermal slowdown": 0,
        "hardware power brake": 0,
    }
    after = read_conditions(tmp_path, smi(answers | {counters[2]: "55 us"}))
    _, warning = warnings(before, after)
    assert "throttled (software thermal slowdown)" in warning


def test_throttling_under_load_is_seen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What was said in between counts, even if it is over at the second reading."""

    class Loop:
        def __init__(self, field: str) -> None:
            assert field == "clocks_event_reasons.active"

        def stop(self) -> list[str]:
            return ["0x0000000000000001", "0x0000000000000004", "[N/A]"]

    monkeypatch.setattr(nvidia, "Loop", Loop)
    watch = Watch(tmp_path, smi(H200))
    assert watch.before.throttle_reasons == ()
    after = watch.stop()
    assert after == replace(watch.before, throttle_reasons=("software power cap",))


def test_watching_a_board_or_a_cpu(tmp_path: Path) -> None:
    watch = Watch(tmp_path, no_smi)
    assert watch.stop() == watch.before == Conditions()
    watch = Watch(tree(tmp_path), smi(H200))
    assert watch.stop() == watch.before
