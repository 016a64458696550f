"""The page for people: what it says, that it is whole and harmless, how a browser shows it."""

import errno
import os
import re
import shutil
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from html.parser import HTMLParser
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry, make_wsgi_app

from kernel_tree import BOARDS, Board, HostileKernel, scraper
from orin_telemetry import page, web
from orin_telemetry.collectors import board as board_info
from orin_telemetry.collectors import cooling, energy, gpu, nvmap, nvme, power, thermal
from orin_telemetry.metric import Family, Sample
from orin_telemetry.scrape import SUCCESS, Scrape
from orin_telemetry.view import View

# HTML's void elements, which have no end tag, that the page uses
VOID = {"meta", "wbr"}


class Checker(HTMLParser):
    """Raises AssertionError where tags are not balanced; gathers elements and the text shown."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.seen: set[str] = set()
        self.attributes: set[str] = set()
        self.text = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.add(tag)
        self.attributes.update(name for name, _ in attrs)
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open[-1:] != ["style"]:
            self.text += data


def check(html: str) -> Checker:
    checker = Checker()
    checker.feed(html)
    checker.close()
    assert not checker.open
    assert "script" not in checker.seen
    assert not [name for name in checker.attributes if name.startswith("on")]
    assert html.lower().startswith("<!doctype html>\n<html lang=")
    return checker


def render(kernel: HostileKernel) -> str:
    return page.render(View(scraper(kernel).scrape()))


@pytest.mark.parametrize("name", BOARDS)
def test_every_boards_page_is_whole(name: str, tmp_path: Path) -> None:
    with Board(name, tmp_path) as board:
        text = check(render(board.kernel())).text
    assert "Temperatures" in text
    assert not re.search(r"\b(nan|inf|None)\b|-256|\{|\}", text)


def test_what_the_page_says(tmp_path: Path) -> None:
    with Board("agx-orin-jp6", tmp_path) as board:
        kernel = board.kernel()
        kernel.answers = {"sys/class/hwmon/hwmon0/pwm1": errno.EIO}
        html = render(kernel)
    text = check(html).text
    for words in (
        "NVIDIA Jetson AGX Orin Developer Kit",
        "p3701-0005, JetPack 6, L4T 36.4.4, Linux 5.15.148-tegra, power mode MODE_30W",
        "GPU load44 %510 MHz",
        "Module power13.53 Wan estimate",
        "Hottest51.2 °Ccpu",
        "Headroom47.8 K",
        "Throttlinggpu",
        "Memory used11.8 GiBof 61.4 GiB",
        "cv0silent",
        "VDD_GPU_SOC19.00 V0.40 A7.60 W16 %",
        "module (sum)0.0 kJ",
        "clock2133 MHz",
        "controller's load25 %",
        "GPU and engines5.0 GiB",
        "llama-server5.0 GiBprocess 2100",
        f"fan 02140 rpmat {page.NONE}",
        "oc3 events, instantaneous31",
        "sys/class/hwmon/hwmon0/pwm1: Input/output error",
        "8offline",
    ):
        assert words in text, words


HOSTILE = '<script>alert("1")</script>&amp;\'"><img src=x onerror=y>'


def test_names_are_shown_and_do_nothing() -> None:
    families: list[tuple[Family, int]] = [
        (board_info.INFO, 6),
        (thermal.TEMPERATURE, 1),
        (thermal.AVAILABLE, 1),
        (cooling.THROTTLING, 1),
        (cooling.STATE, 2),
        (nvme.TEMPERATURE, 2),
        (nvmap.CLIENT, 2),
        (energy.RAIL, 1),
        (energy.MODULE, 1),
        (power.WATTS, 1),
        (gpu.FREQUENCY, 1),
        (SUCCESS, 1),
    ]
    samples = [Sample(family, (HOSTILE,) * labels, 1.0) for family, labels in families]
    html = page.render(View(Scrape(samples, {HOSTILE: [HOSTILE]})))
    checker = check(html)
    assert checker.text.count(HOSTILE) >= len(families)
    assert "img" not in checker.seen
    assert "<script" not in html


@given(st.text(max_size=60), st.floats(-1e15, 1e15))
@settings(max_examples=60, deadline=None)
def test_any_name_and_value_make_a_page(name: str, value: float) -> None:
    limits = [Sample(thermal.TRIP, (name, "0", "passive"), abs(value))]
    samples = [Sample(thermal.AVAILABLE, (name,), 1), Sample(thermal.TEMPERATURE, (name,), value)]
    check(page.render(View(Scrape([*samples, *limits], {name: [name]}))))


def test_the_load_of_the_engines(tmp_path: Path) -> None:
    with Board("agx-orin-jp6", tmp_path) as board:
        text = check(render(board.kernel())).text
    assert re.search(r"Enginesengineclockactiveload.*vic\d+ MHz(yes|no)12 %", text)


def test_energy_of_a_rail_whose_power_does_not_answer() -> None:
    samples = [Sample(energy.RAIL, ("VDD_IN",), 77.7e6), Sample(energy.RAIL, ("5V",), 8.64e5)]
    text = check(page.render(View(Scrape(samples, {})))).text
    assert "VDD_IN77.7 MJ" in text
    assert "5V864.0 kJ" in text


@pytest.mark.parametrize(
    ("facts", "answers", "title"),
    [
        (("", "", "", "", "", "6.1"), True, "This machine is no Jetson"),
        (("", "", "", "", "", "6.1"), False, "Unknown board"),
        (("", "", "tegra234", "", "", "6.1"), True, "Unknown board"),
        (("Pi", "", "", "", "", "6.1"), True, "Pi"),
    ],
)
def test_what_the_board_is_called(facts: tuple[str, ...], answers: bool, title: str) -> None:
    samples = [Sample(board_info.INFO, facts, 1), Sample(SUCCESS, ("board",), answers)]
    assert f"<h1>{title}</h1>" in page.render(View(Scrape(samples, {})))


def test_nothing_answers() -> None:
    text = check(page.render(View(Scrape([], {})))).text
    assert "Unknown board" in text
    assert "0 %" not in text
    assert "0.0" not in text


def chromium() -> str:
    for name in ("chromium", "chromium-browser", "google-chrome"):
        if path := shutil.which(name):
            return path
    (pytest.fail if "CI" in os.environ else pytest.skip)("needs chromium")


@contextmanager
def served(board: Board) -> Iterator[str]:
    kernel = board.kernel()
    kernel.answers = {"sys/class/hwmon/hwmon0/pwm1": errno.EIO}
    scraped = scraper(kernel)
    app = web.application(
        make_wsgi_app(CollectorRegistry()), lambda: page.render(View(scraped.scrape()))
    )
    with web.Server("127.0.0.1", 0, app, None) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/"
        server.shutdown()


def test_a_browser_shows_it(tmp_path: Path) -> None:
    browser = chromium()
    picture = tmp_path / "page.png"
    options = ["--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={tmp_path}/profile"]
    with Board("agx-orin-jp6", tmp_path / "board") as board, served(board) as url:
        dom = subprocess.run(
            [browser, *options, "--dump-dom", url], capture_output=True, text=True, timeout=60
        )
        subprocess.run(
            [browser, *options, "--window-size=390,900", f"--screenshot={picture}", url],
            capture_output=True,
            timeout=60,
        )
    text = check(dom.stdout).text
    assert "NVIDIA Jetson AGX Orin Developer Kit" in text
    assert "51.2 °C" in text
    assert "pwm1: Input/output error" in text
    # Its own policy lets its style through: a page without any is far less than a picture.
    assert "Content Security Policy" not in dom.stderr
    assert picture.read_bytes().startswith(b"\x89PNG")
    assert picture.stat().st_size > 30_000
