"""Every file a scrape reads, one after the other broken in every way."""

import errno
import math
import os
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.openmetrics import exposition as openmetrics
from prometheus_client.openmetrics import parser as openmetrics_parser
from prometheus_client.parser import text_string_to_metric_families

from kernel_tree import Answer, Board, HostileKernel, one_pass, scraper
from orin_telemetry import scrape
from orin_telemetry.collectors import make
from orin_telemetry.collectors.board import BoardCollector
from orin_telemetry.collectors.nvme import NvmeCollector
from orin_telemetry.scrape import Scraper

ZONES = ("cpu", "gpu", "cv0", "cv1", "cv2", "soc0", "soc1", "soc2", "tj", "tboard", "tdiode")
RAILS = {
    "hwmon4/1": "VDD_GPU_SOC",
    "hwmon4/2": "VDD_CPU_CV",
    "hwmon4/3": "VIN_SYS_5V0",
    "hwmon4/4": r"VDD_GPU_SOC\+VDD_CPU_CV\+VIN_SYS_5V0",
    "hwmon5/2": "VDDQ_VDD2_1V8AO",
}
ENGINES = {
    "15340000.vic": "vic",
    "15380000.nvjpg": "nvjpg",
    "15480000.nvdec": "nvdec",
    "154c0000.nvenc": "nvenc",
    "15540000.nvjpg": "nvjpg1",
    "15a50000.ofa": "ofa",
    "15880000.nvdla0": "nvdla0",
    "158c0000.nvdla1": "nvdla1",
    "16000000.pva0": "pva0",
}
CORES = {"policy0": "[0-3]", "policy4": "[4-7]"}
TOTALS = r"jetson_module_(power_watts|energy_joules_total)\{"

# By what a file's path looks like: the series that are told by that file. \1 and on are its groups,
# through the tables above where these know them.
TELLS = {
    r"zone(\d+)/temp": r'jetson_thermal_(zone_celsius|zone_available|headroom_celsius)\{zone="\1"',
    r"zone(\d+)/type": r'jetson_thermal_\w+\{zone="\1"',
    r"zone(\d+)/trip_point_(\d)_(?:type|temp)": r"jetson_thermal_(headroom_celsius\{zone=.\1."
    r"|trip_celsius\{zone=.\1.,trip=.\2.)",
    r"(cooling_device\d+)/max_state": r'jetson_cooling_device_max_state\{device="\1"',
    r"(cooling_device\d+)/(?:type|cur_state)": r"jetson_(cooling_device_\w+\{device=.\1."
    r"|throttling|hot_surface)",
    r"(hwmon[45])/name": r"jetson_(rail_|energy_|module_)",
    r"(hwmon[45]/)in(\d)_label": rf'jetson_(rail_\w+|energy_joules_total)\{{rail="\1\2"|{TOTALS}'
    r'|jetson_rail_\w+\{rail="[^"]*\+',  # the sum's name is made of theirs
    r"(hwmon[45]/)in(\d)_input": r"jetson_(rail_(volts|watts)|energy_joules_total)"
    rf'\{{rail="\1\2"|{TOTALS}',
    r"(hwmon[45]/)curr(\d)_input": r"jetson_(rail_(amperes|watts)|energy_joules_total)"
    rf'\{{rail="\1\2"|jetson_rail_alarm\{{rail="\1\2",level="max"|{TOTALS}',
    r"(hwmon[45]/)curr(\d)_max": r'jetson_rail_(limit_amperes|alarm)\{rail="\1\2",level="max"',
    r"(hwmon[45]/)curr(\d)_crit": r'jetson_rail_limit_amperes\{rail="\1\2",level="crit"',
    r"(hwmon[45]/)shunt(\d)_resistor": r"jetson_rail_(limit_amperes|alarm)"
    r'\{rail="(\1\2|[^"]*\+[^"]*)",level="(max|crit)"',
    r"(hwmon[45]/)curr(\d)_crit_alarm": r'jetson_rail_alarm\{rail="\1\2",level="crit"',
    r"hwmon0/\w+": r"jetson_fan_pwm_ratio",
    r"hwmon1/\w+": r"jetson_fan_speed_rpm",
    r"hwmon2/name": r"jetson_nvme_",
    r"hwmon2/temp1_\w+": r'jetson_nvme_\w+\{device="nvme0",sensor="Composite"',
    r"hwmon2/temp2_\w+": r'jetson_nvme_\w+\{device="nvme0",sensor="Sensor 1"',
    r"hwmon3/name": r"jetson_overcurrent_",
    r"hwmon3/(oc\d)_event_cnt": r'jetson_overcurrent_events_total\{oc="\1"',
    r"hwmon3/(oc\d)_throt_en": r'jetson_overcurrent_throttle_enabled\{oc="\1"',
    r"gpu/cur_freq": r"jetson_gpu_frequency_hertz",
    r"gpu/(min|max)_freq": r"jetson_gpu_(frequency_\1_hertz|clocks_locked)",
    r"gpu/available_frequencies": r"jetson_gpu_frequency_available_",
    r"gpu/governor": r"jetson_gpu_governor_info",
    r"gpu/device/load": r"jetson_gpu_load_ratio",
    r"gpu/device/gpu_powered_on": r"jetson_gpu_(powered|load_ratio)",
    r"gpu/device/is_railgated": r"jetson_gpu_railgated",
    r"gpu/device/railgate_enable": r"jetson_gpu_railgating_enabled",
    r"gpu/device/railgate_delay": r"jetson_gpu_railgate_delay_seconds",
    r"gpu/device/(gpc|tpc)_pg_mask": r'jetson_gpu_powergated_units\{gpu="17000000.gpu",unit="\1"',
    r"(1[56]\w+\.\w+)/cur_freq": r'jetson_engine_frequency_hertz\{engine="\1"',
    r"(1[56]\w+\.\w+)/(min|max)_freq": r'jetson_engine_frequency_\2_hertz\{engine="\1"',
    r"(1[56]\w+\.\w+)/(?:device/)?power/runtime_status": r'jetson_engine_active\{engine="\1"',
    r"actmon/(\w+)/module0/usage": r'jetson_engine_load_ratio\{engine="\1"',
    r"cpu/online": r"jetson_cpu_(?!busy)",
    r"cpu/present": r"jetson_cpu_(?!busy)",
    r"(policy\d)/scaling_cur_freq": r'jetson_cpu_frequency_hertz\{cpu="\1"',
    r"(policy\d)/scaling_(min|max)_freq": r'jetson_cpu_frequency_\2_hertz\{cpu="\1"',
    r"(policy\d)/cpuinfo_max_freq": r'jetson_cpu_frequency_available_max_hertz\{cpu="\1"',
    r"(policy\d)/scaling_governor": r'jetson_cpu_governor_info\{cpu="\1"',
    r"proc/stat": r"jetson_cpu_busy_seconds_total",
    r"proc/meminfo": r"jetson_(memory|swap_(total|free)|cma)_",
    r"proc/vmstat": r"jetson_swap_(in|out)_",
    r"zram0/disksize": r"jetson_zram_",
    r"zram0/mm_stat": r"jetson_zram_(original|compressed|used)_",
    r"zram1/disksize": r"jetson_zram_\w+\{device=.zram1",
    r"nvpmodel_clk_cap/emc": r"jetson_emc_frequency_cap_hertz",
    r"clk/emc/rate": r"jetson_emc_(frequency_hertz|utilization_ratio)",
    r"cactmon/mc_all": r"jetson_emc_utilization_ratio",
    r"iovmm/clients": r"jetson_nvmap_",
    r"nvpmodel/status": r"jetson_power_mode_",
    r"etc/nvpmodel.conf": r"jetson_power_mode_(info|expected)",
    r"etc/nv_tegra_release": r"jetson_info",
    r"device-tree/\w+": r"jetson_info",
    r"proc/sys/kernel/osrelease": r"jetson_info",
}

# Errors that say a part is off, which is no failure.
OFF = {errno.EAGAIN: r"thermal_zone\d+/temp", errno.ENODATA: r"hwmon[45]/(in|curr)\d_input"}
# Whoever cannot name the driver of a hwmon device takes it for another's.
FOREIGN = r"hwmon\d/name"


class Files:
    """The whole board: its kernel, and what each collector reads of it and finds in it."""

    def __init__(self, kernel: HostileKernel) -> None:
        self.kernel = kernel
        self.found: dict[str, dict[str, float]] = {}
        self.readers: dict[str, list[str]] = {}  # by file, in the order they are read
        for collector in make(kernel, "30W"):
            kernel.asked.clear()
            self.found[collector.name], failures = one_pass(collector, kernel)
            assert not failures
            for file in dict.fromkeys(kernel.asked):
                self.readers.setdefault(file, []).append(collector.name)

    def broken(self, file: str, answer: Answer) -> Iterator[tuple[str, dict[str, float], bool]]:
        """What each collector that reads `file` finds now, and whether it says it failed."""
        self.kernel.answers = {file: answer}
        for collector in make(self.kernel, "30W"):
            if collector.name in self.readers[file]:
                found, failures = one_pass(collector, self.kernel)
                yield collector.name, found, bool(failures)
        self.kernel.answers = {}


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Files]:
    with Board("agx-orin-jp6", tmp_path_factory.mktemp("board")) as board:
        yield Files(board.kernel())


def tells(file: str) -> re.Pattern[str]:
    """The series that `file` may take with it."""
    for pattern, told in TELLS.items():
        if match := re.search(f"{pattern}$", file):
            groups = list(match.groups())
            if "zone" in pattern:
                groups[0] = ZONES[int(groups[0])]
            if groups and (rail := "".join(groups[:2])) in RAILS:
                groups[:2] = [RAILS[rail], ""]
            if groups:
                groups[0] = (ENGINES | CORES).get(groups[0], groups[0])
            for number, group in enumerate(groups, start=1):
                told = told.replace(f"\\{number}", group)
            return re.compile(told)
    raise LookupError(file)


def test_the_scrape_reads_what_the_table_knows(files: Files) -> None:
    assert len(files.readers) > 200
    for file in files.readers:
        told = tells(file)
        names = [name for found in files.found.values() for name in found if told.match(name)]
        quiet = r"zone[234]/temp|zram1|pva0|temp2_max|hwmon4/curr\d_crit|hwmon5/(curr2|shunt)"
        assert names or re.search(quiet, file), file


@pytest.mark.parametrize(
    "code",
    [errno.EAGAIN, errno.ENOENT, errno.EACCES, errno.EIO, errno.ENODATA, errno.ENXIO],
    ids=lambda code: errno.errorcode[code],
)
def test_an_error_costs_the_series_of_its_file_alone(files: Files, code: int) -> None:
    for file in files.readers:
        told = tells(file)
        is_off = bool(re.search(OFF.get(code, "$^"), file))
        for name, found, failed in files.broken(file, code):
            before = files.found[name]
            lost = [head for head in before if head not in found]
            assert all(told.match(head) for head in lost), (file, lost)
            changed = [head for head in found if head in before and found[head] != before[head]]
            off = re.search(r"zone(\d+)/temp$", file) if is_off else None
            if off:  # the one value that an error tells
                zone = f'jetson_thermal_zone_available{{zone="{ZONES[int(off[1])]}"}}'
                assert found[zone] == 0
                changed = [head for head in changed if head != zone]
            assert not changed, (file, changed)
            new = [head for head in found if head not in before]
            assert all(told.match(head) or "sensor=" in head for head in new), (file, new)
            if not re.search(FOREIGN, file):
                assert failed is not is_off, (file, name)


GARBAGE = {
    "empty": b"",
    "nul": b"\0\0\0",
    "not utf-8": b"\xff\xfe\xfd\n",
    "a megabyte": b"x" * (1 << 20),
    "a megabyte of digits": b"9" * (1 << 20),
}
# Texts from which a part is taken, of which garbage has none: nothing has failed.
FREE_TEXT = r"compatible|nv_tegra_release|nvpmodel\.conf"


@pytest.mark.parametrize("data", GARBAGE.values(), ids=GARBAGE)
def test_garbage_is_no_reading(files: Files, data: bytes) -> None:
    for file in files.readers:
        told = tells(file)
        for name, found, failed in files.broken(file, data):
            before = files.found[name]
            assert all(told.match(head) for head in before if head not in found), file
            changed = {head for head in found if head in before and found[head] != before[head]}
            assert not changed, (file, changed)
            if not re.search(rf"{FOREIGN}|{FREE_TEXT}", file):
                assert failed, (file, name)


def test_a_good_start_before_a_megabyte_is_no_reading(files: Files) -> None:
    for file in files.readers:
        path = files.kernel.rootfs / file
        if path.is_fifo() or re.search(FOREIGN, file):
            continue
        told = tells(file)
        for name, found, failed in files.broken(file, path.read_bytes() + b"\n" * (1 << 20)):
            assert failed, (file, name)
            before = files.found[name]
            assert all(told.match(head) for head in before if head not in found), file


@pytest.mark.parametrize("data", [b"0x1F\n", b"12 34\n", b"1.5\n", b"1e3\n", b"nan\n", b"9" * 25])
def test_no_number_is_no_reading(files: Files, data: bytes) -> None:
    numbers = [
        file
        for file in files.readers
        if re.search(
            r"_(freq|input|max|crit|alarm|temp|cnt|en|state|delay)$|/(temp|load|rpm)$", file
        )
    ]
    assert len(numbers) > 120
    for file in numbers:
        told = tells(file)
        for name, found, failed in files.broken(file, data):
            assert failed, (file, name)
            expected = {head for head in files.found[name] if told.match(head)}
            narrow = {head for head in expected if "cooling" not in file and "module" not in head}
            shared = {head for head in found if head in narrow and "energy" not in head}
            # Other series of the same sensor stay.
            keeps = r"temp\d_(max|crit|input)|trip_point|/(in|curr)\d_input"
            assert not shared or re.search(keeps, file), (file, shared)


def test_below_zero_is_only_a_temperature_or_a_current(files: Files) -> None:
    for file in files.readers:
        for name, found, _ in files.broken(file, b"-7\n"):
            below = {head for head, value in found.items() if value < 0}
            allowed = r"jetson_(thermal_zone_celsius|nvme_|rail_(amperes|watts|limit)|module_power)"
            assert all(re.match(allowed, head) for head in below), (file, name, below)


def test_the_old_mark_of_a_part_without_power(files: Files) -> None:
    """r35 answers -256 degrees for it."""
    file = "sys/class/thermal/thermal_zone1/temp"
    (_, found, failed), *_ = files.broken(file, b"-256000\n")
    assert not failed
    assert found['jetson_thermal_zone_available{zone="gpu"}'] == 0
    assert 'jetson_thermal_zone_celsius{zone="gpu"}' not in found
    assert not [head for head in found if "headroom" in head and '"gpu"' in head]


@pytest.fixture(scope="module")
def fresh(files: Files) -> Iterator[Scraper]:
    """All collectors over the board, which forget what they found at every scrape."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(scrape, "DISCOVERY_S", -1e9)
        patch.setattr(scrape, "_FRESH_S", 0.0)
        patch.setattr(BoardCollector, "lifetime_s", 0.0)
        patch.setattr(NvmeCollector, "lifetime_s", 0.0)
        yield scraper(files.kernel, "30W")


def exposed(registry: CollectorRegistry) -> list[str]:
    """Every series in the text Prometheus reads, which its own parser must accept."""
    heads = []
    text = generate_latest(registry).decode()
    for family in text_string_to_metric_families(text):
        assert family.documentation
        for sample in family.samples:
            assert math.isfinite(sample.value), sample
            heads.append(f"{sample.name}{sorted(sample.labels.items())}")
    return heads


NUMBERS = st.integers(-(10**20), 10**20).map(lambda number: f"{number}\n".encode())
LABELS = st.text(st.characters(codec="utf-8"), max_size=40).map(str.encode)
QUOTES = st.text('"\\\n {}=#,a', max_size=20).map(str.encode)


@given(data=st.data(), answer=st.one_of(st.binary(max_size=300), NUMBERS, LABELS, QUOTES))
@settings(max_examples=60, deadline=None)
def test_any_bytes_make_text_that_prometheus_accepts(
    files: Files, fresh: Scraper, data: st.DataObject, answer: bytes
) -> None:
    broken = data.draw(st.lists(st.sampled_from(list(files.readers)), min_size=1, max_size=4))
    files.kernel.answers = dict.fromkeys(broken, answer)
    registry = CollectorRegistry()
    registry.register(fresh)
    heads = exposed(registry)
    files.kernel.answers = {}
    assert len(heads) == len(set(heads)) > 100
    assert not [failure for _, failure in bugs(fresh)]


def bugs(scraper: Scraper) -> list[tuple[str, str]]:
    """What failed by an exception of Python, which is a bug, and by no file."""
    failures = scraper.scrape().failures
    return [(name, line) for name, lines in failures.items() for line in lines if "Error: " in line]


def test_hostile_labels_are_escaped(files: Files, fresh: Scraper) -> None:
    clients = b'user  a"b\\c \x1b[2J\xe2\x80\xa8  12   34K\ntotal     34K\n'
    files.kernel.answers = {
        "sys/kernel/debug/nvmap/iovmm/clients": clients,
        "sys/class/thermal/thermal_zone1/type": b'quo"te\\back-thermal\n',
        "sys/class/thermal/thermal_zone5/type": b"two\nlines\n",
    }
    registry = CollectorRegistry()
    registry.register(fresh)
    text = generate_latest(registry).decode()
    openmetrics_text = openmetrics.generate_latest(registry).decode()  # type: ignore[no-untyped-call]
    files.kernel.answers = {}
    assert 'jetson_thermal_zone_celsius{zone="quo\\"te\\\\back"} 47.5\n' in text
    assert "lines" not in text
    assert '{pid="12",process="a\\"b\\\\c ?[2J"} 34816.0\n' in text
    parse = openmetrics_parser.text_string_to_metric_families
    families = list(parse(openmetrics_text))  # type: ignore[no-untyped-call]
    assert len(families) > 50


def test_a_line_without_end_does_not_take_long(files: Files) -> None:
    """A pattern that tries every split of a megabyte of blanks would hold up all threads."""
    for file, data in (
        ("sys/kernel/debug/nvmap/iovmm/clients", b"user a" + b" " * (1 << 20)),
        ("sys/kernel/debug/nvmap/iovmm/clients", b"user " + b"1 " * (1 << 19)),
        ("proc/stat", b"cpu0" + b" 1" * (1 << 16)),
        ("proc/meminfo", b"MemTotal:" + b" " * 65000),
        ("etc/nvpmodel.conf", b"< POWER_MODEL ID=0 NAME=" + b"A" * 200_000),
        ("sys/devices/system/cpu/present", b"0-999," * 680),
    ):
        started = os.times().user
        for _, _, _ in files.broken(file, data):
            pass
        assert os.times().user - started < 0.5, file


def test_a_name_that_is_a_directory(files: Files, tmp_path: Path) -> None:
    with Board("agx-orin-jp6", tmp_path) as board:
        file = board.root / "sys/devices/virtual/thermal/thermal_zone0/temp"
        file.unlink()
        file.mkdir()
        thermal = next(one for one in make(board.kernel()) if one.name == "thermal")
        found, failures = one_pass(thermal, board.kernel())
    assert len(failures) == 1
    assert 'jetson_thermal_zone_celsius{zone="cpu"}' not in found


@pytest.mark.parametrize(
    ("file", "data"),
    [
        ("sys/class/devfreq/17000000.gpu/device/load", b"5000\n"),
        ("sys/class/hwmon/hwmon4/curr1_crit_alarm", b"7\n"),
        ("sys/class/hwmon/hwmon0/pwm1", b"9999\n"),
        ("sys/class/hwmon/hwmon3/oc1_throt_en", b"2\n"),
    ],
)
def test_more_than_the_driver_can_say_is_no_reading(files: Files, file: str, data: bytes) -> None:
    told = tells(file)
    for name, found, failed in files.broken(file, data):
        assert failed, name
        assert not [head for head in found if told.match(head)]


@pytest.mark.parametrize(
    ("folder", "collector"),
    [
        ("sys/class/thermal", "thermal"),
        ("sys/class/thermal", "cooling"),
        ("sys/class/devfreq", "gpu"),
        ("sys/class/hwmon", "power"),
        ("sys/class/hwmon", "overcurrent"),
        ("sys/class/hwmon", "fan"),
        ("sys/block", "memory"),
    ],
)
def test_a_closed_folder_is_a_failure(
    files: Files, monkeypatch: pytest.MonkeyPatch, folder: str, collector: str
) -> None:
    """It is not taken for a board without such hardware."""
    listing = Path.iterdir

    def closed(path: Path) -> Iterator[Path]:
        if path == files.kernel.rootfs / folder:
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
        return listing(path)

    monkeypatch.setattr(Path, "iterdir", closed)
    (chosen,) = (one for one in make(files.kernel) if one.name == collector)
    _, failures = one_pass(chosen, files.kernel)
    assert set(failures) == {f"{files.kernel.rootfs / folder}: Permission denied"}
