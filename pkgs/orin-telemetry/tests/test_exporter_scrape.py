"""A scrape as a whole: sensors that hang or vanish, discovery, energy, what is bounded."""

import errno
import socket
import threading
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry, make_wsgi_app
from prometheus_client.parser import text_string_to_metric_families

from kernel_tree import Board, HostileKernel, failed, one_pass, scraper, series
from orin_telemetry import page, scrape, web
from orin_telemetry.collectors import NAMES, PRIVILEGED, make
from orin_telemetry.collectors.energy import EnergyCollector
from orin_telemetry.collectors.nvmap import NvmapCollector
from orin_telemetry.collectors.power import PowerCollector
from orin_telemetry.collectors.power_mode import PowerModeCollector
from orin_telemetry.kernel import Kernel
from orin_telemetry.meter import Meter
from orin_telemetry.metric import Reading
from orin_telemetry.scrape import Scraper
from orin_telemetry.view import View

INA = "sys/class/hwmon/hwmon4"
THERMAL = "sys/devices/virtual/thermal"


@pytest.fixture
def board(tmp_path: Path) -> Iterator[Board]:
    with Board("agx-orin-jp6", tmp_path) as board:
        yield board


@pytest.fixture
def eager(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody gets an answer twice, and what hardware there is gets looked for each time."""
    monkeypatch.setattr(scrape, "_FRESH_S", 0.0)
    monkeypatch.setattr(scrape, "DISCOVERY_S", -1e9)


@contextmanager
def served(scraper: Scraper) -> Iterator[str]:
    """The scraper behind the exporter's server; gives its address."""
    registry = CollectorRegistry()
    registry.register(scraper)
    app = web.application(make_wsgi_app(registry), lambda: page.render(View(scraper.scrape())))
    with web.Server("127.0.0.1", 0, app, None) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


def get(url: str) -> tuple[float, str]:
    """How long the answer took, and its text."""
    started = time.monotonic()
    with urllib.request.urlopen(url, timeout=5) as answer:
        text = answer.read().decode()
    return time.monotonic() - started, text


def parse(text: str) -> dict[str, float]:
    """The values of an answer by their series, in `series`' form."""
    return {
        sample.name
        + ("{" + ",".join(f'{k}="{v}"' for k, v in sample.labels.items()) + "}"): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


@pytest.mark.usefixtures("eager")
def test_a_read_that_hangs_costs_its_collector_alone(board: Board) -> None:
    kernel, release = board.kernel(), threading.Event()

    def hang() -> bytes:
        release.wait(5)
        return b"47500\n"

    scraped = Scraper(kernel, make(kernel), patience_s=0.3)
    with served(scraped) as url:
        before = parse(get(f"{url}/metrics")[1])
        assert not failed(before)
        kernel.answers = {"sys/class/thermal/thermal_zone1/temp": hang}
        took, text = get(f"{url}/metrics")
        assert took < 1
        now = parse(text)
        assert failed(now) == {"thermal"}
        lost = {head for head in before if head not in now}
        assert all(head.startswith("jetson_thermal_") for head in lost)
        # What was read before the hang is there.
        assert now['jetson_thermal_zone_celsius{zone="cpu"}'] == 51.25
        # Later scrapes neither wait nor start another thread, and show nothing of before.
        threads = threading.active_count()
        for _ in range(5):
            took, text = get(f"{url}/metrics")
            assert took < 0.4
            now = parse(text)
            assert failed(now) == {"thermal"}
            assert not [head for head in now if head.startswith("jetson_thermal_")]
            assert now['jetson_collector_duration_seconds{collector="thermal"}'] > 0.1
        assert threading.active_count() <= threads + 1  # a request's own may be ending
        took, text = get(f"{url}/")
        assert took < 0.4
        assert "thermal_zone1/temp: no answer" in text
        release.set()
        kernel.answers = {}
        time.sleep(0.05)
        now = parse(get(f"{url}/metrics")[1])
    assert not failed(now)
    assert now['jetson_thermal_zone_celsius{zone="gpu"}'] == 47.5


def test_a_client_that_says_nothing_is_dropped(
    board: Board, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(web, "_CLIENT_S", 0.2)
    with served(scraper(board.kernel())) as url:
        port = int(url.rpartition(":")[2])
        with socket.create_connection(("127.0.0.1", port), timeout=2) as client:
            client.sendall(b"GET /metr")
            assert client.recv(100) == b""


@pytest.mark.usefixtures("eager")
def test_a_bus_that_hangs_costs_power_and_energy(board: Board) -> None:
    kernel, release = board.kernel(), threading.Event()

    def hang() -> bytes:
        release.wait(5)
        return b"0\n"

    kernel.answers = {f"{INA}/curr1_input": hang}
    scraped = Scraper(kernel, make(kernel), patience_s=0.2)
    started = time.monotonic()
    assert failed(series(scraped.scrape())) == {"power", "energy"}
    assert time.monotonic() - started < 0.9
    release.set()
    kernel.answers = {}
    time.sleep(0.05)
    assert not failed(series(scraped.scrape()))


@pytest.mark.usefixtures("eager")
def test_two_that_hang_cost_nobody_else(board: Board) -> None:
    kernel, release = board.kernel(), threading.Event()

    def hang() -> bytes:
        release.wait(5)
        return b""

    scraped = Scraper(kernel, make(kernel))
    scraped.scrape()
    kernel.answers = {"proc/meminfo": hang, "sys/class/thermal/thermal_zone1/temp": hang}
    started = time.monotonic()
    assert failed(series(scraped.scrape())) == {"memory", "thermal"}
    assert time.monotonic() - started < 0.7
    release.set()


@pytest.mark.usefixtures("eager")
def test_a_slow_kernel_is_cut_off_at_the_deadline(board: Board) -> None:
    class Slow(HostileKernel):
        def read(self, path: Path, limit: int) -> str:
            time.sleep(0.01)
            return super().read(path, limit)

    kernel = Slow(board.root / "sys", board.root / "proc", board.root)
    started = time.monotonic()
    found = series(Scraper(kernel, make(kernel)).scrape())
    assert time.monotonic() - started < 0.95
    assert 0 < len(failed(found)) < len(NAMES)


@pytest.mark.usefixtures("eager")
def test_without_a_thread_to_be_had_the_next_scrape_asks_again(
    board: Board, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(self: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    kernel = board.kernel()
    scraped = Scraper(kernel, make(kernel), patience_s=2)
    with monkeypatch.context() as full:
        full.setattr(threading.Thread, "start", refuse)
        assert failed(series(scraped.scrape())) == set(NAMES)
    assert not failed(series(scraped.scrape()))


@pytest.mark.usefixtures("eager")
def test_all_hang_at_once(board: Board) -> None:
    release = threading.Event()

    class Dead(HostileKernel):
        def read(self, path: Path, limit: int) -> str:
            release.wait(5)
            raise OSError(errno.EIO, "too late")

    kernel = Dead(board.root / "sys", board.root / "proc", board.root)
    scraped = Scraper(kernel, make(kernel))
    for _ in range(5):
        started = time.monotonic()
        found = series(scraped.scrape())
        assert time.monotonic() - started < 0.95
        assert len(found) == len(NAMES)  # no reading, and each collector's verdict
    assert failed(found) == set(NAMES)
    release.set()


@pytest.mark.usefixtures("eager")
def test_a_sensor_that_vanishes_mid_scrape(board: Board) -> None:
    """The driver goes after its files were listed, and comes back."""
    kernel = board.kernel()
    zone = board.root / THERMAL / "thermal_zone5"

    def vanish() -> bytes:
        (zone / "temp").rename(zone / "temp.gone")
        return b"cpu-thermal\n"

    scraped = scraper(kernel)
    scraped.scrape()
    kernel.answers = {"sys/class/thermal/thermal_zone0/type": vanish}
    found = series(scraped.scrape())
    assert failed(found) == {"thermal"}
    assert 'jetson_thermal_zone_celsius{zone="soc0"}' not in found
    assert found['jetson_thermal_zone_celsius{zone="soc1"}'] == 47
    kernel.answers = {}
    (zone / "temp.gone").rename(zone / "temp")
    found = series(scraped.scrape())
    assert not failed(found)
    assert found['jetson_thermal_zone_celsius{zone="soc0"}'] == 48.031


def test_eagain_is_a_part_without_power_for_a_zone_alone(board: Board) -> None:
    """From real files, which answer it: FIFOs that nobody fills."""
    board.put("sys/devices/virtual/thermal/thermal_zone11/type", "=", "gpu-thermal")
    board.put("sys/devices/virtual/thermal/thermal_zone11/temp", "!", "EAGAIN")
    board.put(
        "sys/class/thermal/thermal_zone11", "->", "../../devices/virtual/thermal/thermal_zone11"
    )
    (board.root / "sys/kernel/nvpmodel_clk_cap/emc").unlink()
    board.put("sys/kernel/nvpmodel_clk_cap/emc", "!", "EAGAIN")
    found = series(scraper(board.kernel()).scrape())
    assert failed(found) == {"emc"}
    assert "jetson_emc_frequency_cap_hertz" not in found
    # The second zone of a type carries its number.
    assert found['jetson_thermal_zone_available{zone="gpu-11"}'] == 0
    assert found['jetson_thermal_zone_celsius{zone="gpu"}'] == 47.5


def test_two_rails_of_one_name(board: Board) -> None:
    board.write(f"{INA}/in3_label", "VDD_CPU_CV\n")
    found = series(scraper(board.kernel()).scrape())
    assert found['jetson_rail_watts{rail="VDD_CPU_CV"}'] == pytest.approx(1.9)
    assert found['jetson_rail_watts{rail="VDD_CPU_CV (hwmon4 channel 3)"}'] == pytest.approx(4.032)
    assert 'jetson_module_power_watts{method="sum"}' not in found


def test_a_channel_that_is_not_connected(board: Board) -> None:
    board.write(f"{INA}/in3_label", "NC\n")
    found = series(scraper(board.kernel()).scrape())
    assert not failed(found)
    assert not [head for head in found if "NC" in head or "VIN_SYS_5V0" in head]


class Clock:
    """time.monotonic for scrape, moved by hand; the meter's is its own."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr("orin_telemetry.scrape.time.monotonic", clock)
    return clock


@pytest.mark.parametrize("waited", range(0, 60, 7))
def test_a_driver_that_loads_later_is_found_within_a_minute(
    board: Board, clock: Clock, waited: int
) -> None:
    link = board.root / "sys/class/devfreq/17000000.gpu"
    target = link.readlink()
    link.unlink()
    scraped = scraper(board.kernel())
    head = 'jetson_gpu_frequency_hertz{gpu="17000000.gpu"}'
    assert head not in series(scraped.scrape())
    clock.now += waited
    series(scraped.scrape())
    link.symlink_to(target)
    clock.now += scrape.DISCOVERY_S + 0.1
    assert series(scraped.scrape())[head] == 510e6


def test_discovery_is_not_at_every_scrape(board: Board, clock: Clock) -> None:
    """Looking everywhere costs more than reading; the collectors take turns at it."""
    kernel = board.kernel()
    scraped = scraper(kernel)
    scraped.scrape()
    counts = []
    for _ in range(60):
        clock.now += 1
        kernel.asked.clear()
        scraped.scrape()
        counts.append(sum(name.endswith("/type") for name in kernel.asked))
    assert sum(count > 0 for count in counts) < 6
    zones, devices = 11, 14
    assert sum(counts) == zones + devices


def test_after_a_failure_discovery_comes_at_once(
    board: Board, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Zones and monitors get other numbers when a driver is loaded again."""
    monkeypatch.setattr("orin_telemetry.meter.FRESH_S", 0.01)
    scraped = scraper(board.kernel())
    before = series(scraped.scrape())
    classes = board.root / "sys/class"
    (classes / "hwmon/hwmon4").rename(classes / "hwmon/hwmon9")
    (classes / "thermal/thermal_zone0").rename(classes / "thermal/thermal_zone20")
    clock.now += 5
    time.sleep(0.02)
    found = series(scraped.scrape())
    assert failed(found) == {"power", "energy", "thermal"}
    assert 'jetson_thermal_zone_celsius{zone="cpu"}' not in found
    clock.now += 5
    time.sleep(0.02)
    found = series(scraped.scrape())
    assert not failed(found)
    energy = [head for head in found if "joules" in head]
    assert len(energy) == 5
    assert {k: v for k, v in found.items() if k not in energy} == {
        k: v for k, v in before.items() if k not in energy
    }


def test_a_part_that_is_gone_leaves_nothing(board: Board, clock: Clock) -> None:
    scraped = scraper(board.kernel())
    scraped.scrape()
    (board.root / "sys/class/devfreq/17000000.gpu").unlink()
    clock.now += 5
    assert failed(series(scraped.scrape())) == {"gpu"}
    clock.now += 5
    found = series(scraped.scrape())
    assert not failed(found)
    assert not [head for head in found if head.startswith("jetson_gpu")]


def test_who_asks_at_once_gets_the_same_answer(board: Board, clock: Clock) -> None:
    kernel = board.kernel()
    scraped = scraper(kernel)
    first = scraped.scrape()
    clock.now += 0.1
    kernel.asked.clear()
    assert scraped.scrape() is first
    assert not kernel.asked
    clock.now += 0.2
    assert scraped.scrape() is not first


def test_a_disk_is_asked_every_ten_seconds(board: Board, clock: Clock) -> None:
    kernel = board.kernel()
    scraped = scraper(kernel)
    reads = []
    for _ in range(12):
        kernel.asked.clear()
        found = series(scraped.scrape())
        assert found['jetson_nvme_celsius{device="nvme0",sensor="Composite"}'] == 41.85
        reads.append(sum("temp1_input" in name for name in kernel.asked))
        clock.now += 2
    assert reads == [1, 0, 0, 0, 0] * 2 + [1, 0]


def test_a_bug_in_a_collector_costs_that_collector(
    board: Board, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(self: object, reading: Reading) -> None:
        raise ZeroDivisionError("a bug")

    monkeypatch.setattr(PowerModeCollector, "collect", broken)
    scrape = scraper(board.kernel()).scrape()
    assert failed(series(scrape)) == {"power_mode"}
    assert scrape.failures == {"power_mode": ["ZeroDivisionError: a bug"]}
    assert "Traceback" in caplog.text


def test_a_failure_is_logged_once_and_its_end_too(
    board: Board, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    kernel = board.kernel()
    scraped = scraper(kernel)
    kernel.answers = {"sys/kernel/nvpmodel_clk_cap/emc": errno.EIO}
    for _ in range(3):
        scraped.scrape()
        clock.now += 5
    kernel.answers = {}
    for _ in range(20):
        scraped.scrape()
        clock.now += 5
    assert [record.getMessage().replace(str(board.root), "") for record in caplog.records] == [
        "emc: /sys/kernel/nvpmodel_clk_cap/emc: Input/output error",
        "emc: everything answers again",
    ]


def test_a_file_that_flaps_does_not_fill_the_journal(
    board: Board, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    kernel = board.kernel()
    scraped = scraper(kernel)
    for number in range(60):  # five minutes
        kernel.answers = {"sys/kernel/nvpmodel_clk_cap/emc": errno.EIO} if number % 2 else {}
        scraped.scrape()
        clock.now += 5
    assert 1 <= len(caplog.records) <= 6


# Energy


class Wattage:
    """A meter over one INA3221 with a clock moved by hand."""

    def __init__(self, board: Board) -> None:
        self.kernel = board.kernel()
        self.clock = Clock()
        self.meter = Meter(self.kernel, self.clock)
        self.meter.discover(Reading(self.kernel))

    def set(self, volts: float, amperes: float | int) -> None:
        self.kernel.answers = {
            f"{INA}/in1_input": f"{round(volts * 1000)}\n".encode(),
            f"{INA}/curr1_input": f"{round(amperes * 1000)}\n".encode(),
        }

    def sample(self, seconds: float) -> list[str]:
        """What failed, `seconds` after the last sample."""
        self.clock.now += seconds
        reading = Reading(self.kernel)
        self.meter.sample(reading)
        return reading.failures

    @property
    def joules(self) -> float:
        return self.meter.joules["VDD_GPU_SOC"]


def test_energy_is_the_trapezoid_under_the_power(board: Board) -> None:
    rail = Wattage(board)
    for seconds, amperes in ((0, 1.0), (1, 1.0), (2, 3.0), (4, 0.0)):
        rail.set(10.0, amperes)
        rail.sample(seconds)
    assert rail.joules == pytest.approx(10 * 1 + (10 + 30) / 2 * 2 + (30 + 0) / 2 * 4)
    module = rail.meter.module_joules["sum"]  # the other two rails stand at 1.9 W and 4.032 W
    assert module == pytest.approx(rail.joules + 7 * (1.9 + 4.032))


def test_a_gap_of_more_than_ten_seconds_is_not_bridged(board: Board) -> None:
    rail = Wattage(board)
    rail.set(10.0, 1.0)
    for seconds in (0, 10):
        rail.sample(seconds)
    assert rail.joules == pytest.approx(100)
    rail.sample(10.1)
    assert rail.joules == pytest.approx(100)
    rail.sample(1)
    assert rail.joules == pytest.approx(110)


def test_a_rail_that_fails_in_between_keeps_its_sum(board: Board) -> None:
    rail = Wattage(board)
    rail.set(10.0, 1.0)
    rail.sample(0)
    rail.sample(1)
    rail.kernel.answers = {f"{INA}/curr1_input": errno.EIO}
    assert rail.sample(1)
    assert rail.joules == pytest.approx(10)
    others = rail.meter.joules["VDD_CPU_CV"]
    assert others == pytest.approx(1.9 * 2)
    rail.set(10.0, 1.0)
    rail.sample(1)  # nobody knows what it drew in the two seconds before
    assert rail.joules == pytest.approx(10)
    rail.sample(1)
    assert rail.joules == pytest.approx(20)


SECONDS = st.sampled_from([0.0, 0.5, 1.0, 2.0, 9.0, 11.0])
AMPERES = st.one_of(st.floats(-3, 3), st.sampled_from([errno.EIO, errno.ENODATA]))


@settings(max_examples=40, deadline=None)
@given(st.lists(st.tuples(SECONDS, AMPERES), min_size=3, max_size=12))
@example([(1.0, -0.039)] * 3)
def test_energy_never_decreases(
    tmp_path_factory: pytest.TempPathFactory, samples: list[tuple[float, float | int]]
) -> None:
    with Board("agx-orin-jp6", tmp_path_factory.mktemp("board")) as board:
        rail = Wattage(board)
        before: dict[str, float] = {}
        for seconds, amperes in samples:
            if isinstance(amperes, int):
                rail.kernel.answers = {f"{INA}/curr1_input": amperes}
            else:
                rail.set(19.0, amperes)
            rail.sample(seconds)
            after = dict(rail.meter.joules)
            assert all(after[name] >= joules for name, joules in before.items())
            before = after


def test_a_rail_is_read_once_a_second_whoever_asks(board: Board) -> None:
    rail = Wattage(board)
    rail.sample(0)
    rail.kernel.asked.clear()
    power = PowerCollector(rail.kernel, rail.meter)
    energy = EnergyCollector(rail.kernel, rail.meter)
    for _ in range(100):  # ten seconds, with five that ask at each tenth
        for _ in range(5):
            rail.sample(0)
        rail.clock.now += 0.1
    reads = rail.kernel.asked.count(f"{INA}/curr1_input")
    assert 9 <= reads <= 11
    # The others get the last reading, and its failures.
    rail.kernel.answers = {f"{INA}/curr1_input": errno.EIO}
    assert rail.sample(2) == rail.sample(0.1) != []
    _, failures = one_pass(power, rail.kernel)
    assert failures == one_pass(energy, rail.kernel)[1] == rail.sample(0)


def test_the_sampler_adds_up_without_a_scrape(
    board: Board, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("orin_telemetry.meter.PERIOD_S", 0.02)
    monkeypatch.setattr("orin_telemetry.meter.FRESH_S", 0.01)
    kernel = board.kernel()
    meter = Meter(kernel)
    meter.discover(Reading(kernel))
    meter.start()
    time.sleep(0.3)
    joules = meter.joules["VDD_GPU_SOC"]
    assert 7.6 * 0.1 < joules < 7.6 * 0.6


# What root may see, and the power mode


def test_the_largest_clients_are_listed(board: Board) -> None:
    rows = [
        f"user   worker {number} of many   {number}   {number * 10}K" for number in range(1, 99)
    ]
    board.write(
        "sys/kernel/debug/nvmap/iovmm/clients",
        "\n".join(["CLIENT  PROCESS  PID  SIZE", *rows, "total           48510K", ""]),
    )
    found, failures = one_pass(NvmapCollector(board.kernel(), top=3), board.kernel())
    assert not failures
    assert found == {
        "jetson_nvmap_bytes": 48510 * 1024,
        'jetson_nvmap_client_bytes{process="worker 98 of many",pid="98"}': 980 * 1024,
        'jetson_nvmap_client_bytes{process="worker 97 of many",pid="97"}': 970 * 1024,
        'jetson_nvmap_client_bytes{process="worker 96 of many",pid="96"}': 960 * 1024,
    }


@pytest.mark.parametrize("name", ["MODE_30W", "30W", "mode_30w"])
def test_the_expected_mode_by_name(board: Board, name: str) -> None:
    found, failures = one_pass(PowerModeCollector(board.kernel(), name), board.kernel())
    assert not failures
    assert found["jetson_power_mode_expected_id"] == 2


def test_an_expected_mode_that_the_board_lacks(board: Board) -> None:
    found, failures = one_pass(PowerModeCollector(board.kernel(), "60W"), board.kernel())
    assert "jetson_power_mode_expected_id" not in found
    assert found["jetson_power_mode_id"] == 2
    (failure,) = failures
    assert failure.endswith("no power mode '60W'; it has MAXN, MODE_15W, MODE_30W, MODE_50W")


def test_before_nvpmodel_ran(board: Board) -> None:
    (board.root / "var/lib/nvpmodel/status").unlink()
    found, failures = one_pass(PowerModeCollector(board.kernel(), "30W"), board.kernel())
    assert not failures
    assert found == {"jetson_power_mode_expected_id": 2}


def test_a_mode_without_a_name(board: Board) -> None:
    board.write("var/lib/nvpmodel/status", "fmode:quiet\npmode:0007\n")
    found, failures = one_pass(PowerModeCollector(board.kernel()), board.kernel())
    assert not failures
    assert found == {"jetson_power_mode_id": 7, 'jetson_power_mode_info{id="7",mode=""}': 1}


def test_a_gpu_that_is_off_is_not_asked_for_its_load(board: Board) -> None:
    """Asking wakes it."""
    board.write("sys/devices/platform/bus@0/17000000.gpu/gpu_powered_on", "off\n")
    kernel = board.kernel()
    found = series(scraper(kernel).scrape())
    assert found['jetson_gpu_load_ratio{gpu="17000000.gpu"}'] == 0
    assert not [name for name in kernel.asked if name.endswith("/load")]


def test_the_privileged_collectors_say_what_they_lack(tmp_path: Path) -> None:
    for folder in ("sys", "proc"):
        (tmp_path / folder).mkdir()
    kernel = Kernel(tmp_path / "sys", tmp_path / "proc", tmp_path)
    for collector in make(kernel):
        if collector.name in PRIVILEGED:
            found, failures = one_pass(collector, kernel)
            assert not found
            assert failures, collector.name


def test_a_rail_that_is_gone_leaves_no_sum(board: Board) -> None:
    kernel = board.kernel()
    meter = Meter(kernel)
    for number in range(5):
        kernel.answers = {f"{INA}/in1_label": f"RAIL_{number}\n".encode()}
        meter.discover(Reading(kernel))
        meter._time = None
        meter.sample(Reading(kernel))
    assert "RAIL_4" in meter.joules
    assert not meter.joules.keys() & {f"RAIL_{number}" for number in range(4)}


def test_a_container_sees_the_board_through_its_links(board: Board) -> None:
    """Its /etc and /proc/device-tree are absolute links, which would lead into the container."""
    tree = board.root / "sys/firmware/devicetree"
    tree.mkdir(parents=True)
    (board.root / "proc/device-tree").rename(tree / "base")
    (board.root / "proc/device-tree").symlink_to("/sys/firmware/devicetree/base-of-nobody")
    conf = board.root / "etc/nvpmodel.conf"
    (board.root / "nix").mkdir()
    conf.rename(board.root / "nix/conf")
    conf.symlink_to("/nix/conf")
    found = series(scraper(board.kernel(), "30W").scrape())
    assert not failed(found)
    assert any('soc="tegra234"' in head for head in found)
    assert any(head.startswith("jetson_power_mode_expected_id") for head in found)
