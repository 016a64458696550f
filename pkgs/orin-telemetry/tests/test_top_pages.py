"""The pages as text, drawn from simulated boards."""

import re
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from textual.geometry import Size

from orin_telemetry.collectors import PRIVILEGED
from orin_telemetry.kernel import Kernel
from orin_telemetry.metric import Family, Sample
from orin_telemetry.scrape import Scrape
from orin_telemetry.top import facts, frame
from orin_telemetry.top.draw import BAD, GOOD, WARN, Cell, Scale, bar, graph, heat, length, table
from orin_telemetry.top.history import History
from orin_telemetry.top.pages import PAGES
from orin_telemetry.top.snapshot import Monitor, Snapshot
from orin_telemetry.top.source import Source
from orin_telemetry.top.state import State
from orin_telemetry.top.units import DASH
from orin_telemetry.view import View
from top_board import shown, source, watched

MOMENTS = {
    "thermal-runaway": 80.0,
    "sensor-loss": 35.0,
    "brown-out": 20.0,
    "swap-thrash": 40.0,
    "mode-change": 35.0,
}
INNER = 78, 20  # what a page has of 80 by 24


@pytest.fixture(scope="module")
def states(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, State]]:
    found = {}
    for scenario, seconds in MOMENTS.items():
        folder: Path = tmp_path_factory.mktemp("board") / scenario
        with watched(scenario, seconds, folder) as state:
            found[scenario] = state
    yield found


def page(state: State, name: str = "Overview", size: tuple[int, int] = INNER) -> str:
    return shown(PAGES[name](state, *size))


@pytest.mark.parametrize("scenario", MOMENTS)
@pytest.mark.parametrize("name", PAGES)
def test_no_page_is_wider_than_a_terminal_of_80(
    states: dict[str, State], scenario: str, name: str
) -> None:
    for size in (INNER, (158, 46), (198, 56)):
        lines = PAGES[name](states[scenario], *size)
        assert lines
        assert max(map(length, lines)) <= size[0]


@pytest.mark.parametrize("scenario", MOMENTS)
def test_the_overview_fills_80_by_24_and_no_more(states: dict[str, State], scenario: str) -> None:
    for size in (INNER, (158, 46)):
        assert len(PAGES["Overview"](states[scenario], *size)) == size[1]


def test_the_overview_has_everything_at_80_by_24(states: dict[str, State]) -> None:
    state = states["thermal-runaway"]
    text = page(state)
    cores = [f"{core:>2} ━" for core in range(12)]
    zones = ["cpu", "gpu", "cv0", "soc0", "tj", "tboard", "/99", "/104.5", "/82.8"]
    rails = ["VDD_GPU_SOC", "VDD_CPU_CV", "VIN_SYS_5V0", "VDDQ_VDD2_1V8AO"]
    for part in (*cores, *zones, *rails, "GPU", "MHz", "estimated", "RAM", "Swap", "rpm"):
        assert part in text
    head = shown(frame.head(state, 80)).splitlines()
    assert "Jetson AGX Orin Developer Kit  MAXN  L4T 36.4.4" in head[0]
    assert "SIMULATED thermal-runaway" in head[0]
    assert head[1].startswith(" THROTTLING cpu gpu")


def test_throttling_is_loud_and_the_temperatures_red(states: dict[str, State]) -> None:
    state = states["thermal-runaway"]
    assert BAD in [segment.style for segment in frame.head(state, 80)[1]]
    styles = {s.style for line in PAGES["Overview"](state, *INNER) for s in line}
    assert BAD in styles
    assert "throttling cpu gpu" in page(state, "Thermal")


def test_a_silent_sensor_is_a_dash(states: dict[str, State]) -> None:
    state = states["sensor-loss"]
    text = page(state)
    gpu = next(line for line in text.splitlines() if line.startswith("gpu"))
    assert gpu.split()[1] == f"{DASH}/99"
    rail = next(line for line in text.splitlines() if "VDD_CPU_CV" in line)
    assert rail.endswith(DASH)
    assert f"Power  {DASH}" in text
    assert "0.0 W" not in text
    assert "sensor is off" in page(state, "Thermal")


def test_a_failing_collector_is_on_every_page_and_explained_on_the_last(
    states: dict[str, State],
) -> None:
    state = states["sensor-loss"]
    for name in PAGES:
        foot = shown(frame.foot(state, name, list(PAGES), 80, Size(0, 0)))
        assert "2 FAILING  power energy" in foot
    text = page(state, "Collectors")
    assert "curr2_input: not a number" in text.replace("\n  ", "")
    calm = shown(frame.foot(states["brown-out"], "CPU", list(PAGES), 80, Size(0, 0)))
    assert calm.startswith(" all 17")


def test_alarms_of_rails_and_of_the_power_supply(states: dict[str, State]) -> None:
    alarm = shown(frame.head(states["brown-out"], 80)).splitlines()[1]
    assert "OVER-CURRENT oc1 oc3" in alarm
    assert "RAIL ALARM VDD_GPU_SOC" in alarm
    assert "under voltage" in page(states["brown-out"], "Power")


def test_swap_traffic_and_processes(states: dict[str, State]) -> None:
    text = page(states["swap-thrash"], "Engines")
    rate = next(line for line in text.splitlines() if "swapped out" in line)
    assert float(rate.split()[-2]) > 1
    assert "python3  4242" in text


def test_cores_that_the_power_mode_took_offline(states: dict[str, State]) -> None:
    text = page(states["mode-change"])
    assert "4 of 12 online" in text
    assert text.count("off") >= 8
    assert "MODE_15W" in shown(frame.head(states["mode-change"], 80))


def test_load_is_the_growth_of_busy_time(states: dict[str, State]) -> None:
    now = states["thermal-runaway"].snapshot
    assert now.elapsed_s == pytest.approx(2.0)
    loads = [facts.core_load(now, str(core)) for core in range(12)]
    assert all(load is not None and 0.1 < load <= 1 for load in loads)


@pytest.mark.parametrize("size", [(36, 6), (10, 1), (1, 1)])
@pytest.mark.parametrize("name", PAGES)
def test_tiny_terminals(states: dict[str, State], name: str, size: tuple[int, int]) -> None:
    state = states["thermal-runaway"]
    assert PAGES[name](state, *size)
    assert all(length(line) <= max(size[0], 22) for line in frame.head(state, size[0]))
    assert len(frame.foot(state, name, list(PAGES), size[0], Size(9, 9))) == 2


def test_a_narrow_terminal_shows_what_matters_and_cuts_no_column(states: dict[str, State]) -> None:
    inner = 58  # what a page has of 60 columns
    power = page(states["brown-out"], "Power", (inner, 17)).splitlines()
    rail = next(line for line in power if line.startswith("VDD_GPU_SOC"))
    watts_volts_amperes = r" +\d+\.\d\d +\d+\.\d\d +\d\.\d\d *"
    assert re.fullmatch(rf"VDD_GPU_SOC +crit +\d+ %{watts_volts_amperes}", rail[:inner])
    assert re.fullmatch(r" *\d\.\d A +\d\.\d{3} Wh", rail[inner:])
    thermal = page(states["thermal-runaway"], "Thermal", (inner, 17)).splitlines()
    zone = next(line for line in thermal if line.startswith("gpu"))
    assert re.fullmatch(r"gpu +\d+\.\d +-?\d+\.\d K +99\.0 +104\.5", zone)


def test_tables_shrink_their_bars_and_break_between_columns() -> None:
    rows: list[list[Cell]] = [["abc", bar(0.5), "1.25", "100"]]
    drawn = {width: shown(table(rows, width, "lfrr")) for width in (24, 22, 21, 13, 12, 9, 8)}
    assert drawn == {
        24: "abc  ━━━━────  1.25  100",
        22: "abc  ━━━───  1.25  100",
        21: "abc  1.25  100",
        13: "abc  1.25    100",
        12: "abc  1.25   100",
        9: "abc  1.25  100",
        8: "abc     1.25  100",
    }


def test_the_keys_of_a_narrow_terminal_have_names(states: dict[str, State]) -> None:
    def keys(width: int) -> str:
        foot = frame.foot(states["brown-out"], "Thermal", list(PAGES), width, Size(0, 0))
        return shown(foot[1:])

    assert keys(80).startswith(" 1 Overview 2 CPU")
    assert keys(60) == keys(40) == " 1 2 3 4 Thermal 5 6  p Pause q Quit"
    assert keys(20) == " 1 2 3 4 5 6  p q"


def test_what_is_out_of_sight_is_said(states: dict[str, State]) -> None:
    def foot(hidden: Size) -> str:
        return shown(frame.foot(states["brown-out"], "Power", list(PAGES), 60, hidden)[:1])

    assert "←→" in foot(Size(5, 0)) and "more lines" not in foot(Size(5, 0))
    assert "←→" in foot(Size(5, 9)) and "9 more lines: ↑↓" in foot(Size(5, 9))
    assert "←→" not in foot(Size(0, 9))


def test_zones_are_not_forgotten_when_the_read_hangs(states: dict[str, State]) -> None:
    seen = states["thermal-runaway"]
    state = State("", 1.0)
    state.add(seen.snapshot)
    state.add(Snapshot(View(Scrape([], {"thermal": ["temp: no answer"]})), None, 0.0, 1e6, 0.0))
    for name in ("Overview", "Thermal"):
        text = page(state, name)
        for zone in ("gpu", "tj", "tboard"):
            assert re.search(rf"\b{zone} .*{DASH}", text)


def test_a_repeated_snapshot_is_one_sample(states: dict[str, State]) -> None:
    now = states["brown-out"].snapshot
    history = History()
    for interval_s in (1.0, 0.5):
        history.add(now, interval_s)
    ((_, interval_s, _),) = history._samples
    assert interval_s == 0.5


def test_a_sample_too_soon_keeps_rates_and_alarms(tmp_path: Path) -> None:
    with source("brown-out", 20.0, tmp_path / "board") as board:
        monitor = Monitor(board.scraper(), board.clock)
        monitor.sample()
        time.sleep(0.25)
        now = monitor.sample()
        again = monitor.sample()
    assert again is now
    assert any(alarm.startswith("OVER-CURRENT") for alarm in facts.alarms(again))
    assert (facts.cpu_load(again) or 0) > 0.1


class HangingDebugfs(Kernel):
    """Reads below debugfs return when the test is over."""

    done = threading.Event()

    def read(self, path: Path, limit: int) -> str:
        if "debug" in path.parts:
            self.done.wait(5)
        return super().read(path, limit)


def test_a_debugfs_that_hangs_does_not_block_the_start(tmp_path: Path) -> None:
    with source("training", 5.0, tmp_path / "board") as board:
        kernel = HangingDebugfs(board.kernel.sysfs, board.kernel.procfs, board.kernel.rootfs)
        began = time.monotonic()
        monitor = Monitor(Source(kernel, board.clock).scraper(), board.clock)
        view = monitor.sample().view
        took_s = time.monotonic() - began
        kernel.done.set()
    assert took_s < 3
    assert not any(facts.asked(view, name) for name in PRIVILEGED)
    assert facts.asked(view, "gpu") and not view.failures


COUNTER = Family("jetson_things_total", "Things.", ("thing",), "counter")


def snapshot(then: float | None, now: float, elapsed_s: float = 2.0) -> Snapshot:
    def view(value: float) -> View:
        return View(Scrape([Sample(COUNTER, ("a",), value)], {}))

    return Snapshot(view(now), None if then is None else view(then), elapsed_s, 0.0, 0.0)


def test_rates() -> None:
    assert snapshot(10, 16).rate(COUNTER, "a") == 3
    assert snapshot(10, 16).rate(COUNTER, "b") is None
    assert snapshot(None, 16).rate(COUNTER, "a") is None
    assert snapshot(16, 10).rate(COUNTER, "a") is None  # began anew
    assert snapshot(10, 16, 0.0).rate(COUNTER, "a") is None


def test_temperatures_by_what_is_left() -> None:
    assert heat(60, 99) == GOOD
    assert heat(85, 99) == WARN
    assert heat(95, 99) == BAD
    assert heat(None, 99) == heat(60, None)


def test_bars() -> None:
    assert shown([bar(0.5)(8)]) == "━━━━────"
    assert shown([bar(0.45)(10)]) == "━━━━╸─────"
    assert shown([bar(0)(4)]) == "────"
    assert shown([bar(7.0)(4)]) == "━━━━"
    assert shown([bar(None)(4)]) == ""  # no reading is no bar


def test_graphs() -> None:
    scale = Scale(0, 100, "%")
    top, bottom = shown(graph([None, None, 0, 0, 50, 100], 2, scale)).splitlines()
    assert top == "100%   ⢸"
    assert bottom == "   0  ⣀⣿"


class Recorded(History):
    """A history of one reading at given seconds."""

    def record(self, readings: dict[float, float | None], hold_s: float = 1.0) -> "Recorded":
        for second, value in readings.items():
            self._samples.append((second, hold_s, {"gpu": value}))
        return self


def test_a_dot_is_the_mean_of_its_samples() -> None:
    history = Recorded().record({second: float(second) for second in range(300)})
    values, seconds = history.dots("gpu", 75)
    assert seconds == 2.0
    assert values[-1] == 298.5
    assert values[0] == 150.5


def test_a_late_sample_is_bridged_and_a_pause_is_a_gap() -> None:
    values, seconds = Recorded().record({0: 1.0, 2: 2.0, 3: None, 9: 4.0}).dots("gpu", 150)
    assert seconds == 1.0
    assert values[-10:] == [1.0, 1.0, 2.0, None, None, None, None, None, None, 4.0]


def test_no_sample_yet() -> None:
    assert History().dots("gpu", 3)[0] == [None, None, None]
