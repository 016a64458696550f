"""The monitor's screen, driven by textual's pilot."""

import asyncio
import threading
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
from textual.pilot import Pilot

from orin_core.cli import UserError
from orin_telemetry.top import facts
from orin_telemetry.top.app import Block, TopApp
from orin_telemetry.top.pages import PAGES
from orin_telemetry.top.snapshot import Monitor, Snapshot
from orin_telemetry.top.state import State
from top_board import source

Drive = Callable[[TopApp, Pilot[UserError]], Awaitable[None]]


def drive(folder: Path, steps: Drive, size: tuple[int, int] = (80, 24)) -> TopApp:
    """Run the monitor over a throttling board, and `steps` once it shows something."""
    with source("thermal-runaway", 80.0, folder / "board") as board:
        app = TopApp(Monitor(board.scraper(), board.clock), State("", 0.25))

        async def run() -> None:
            async with app.run_test(size=size) as pilot:
                await until(lambda: app.state.now is not None)
                await pilot.pause()
                await steps(app, pilot)

        asyncio.run(run())
        return app


async def until(condition: Callable[[], bool], seconds: float = 5.0) -> None:
    async with asyncio.timeout(seconds):
        while not condition():
            await asyncio.sleep(0.02)


def screen(app: TopApp) -> str:
    """All that is visible."""
    blocks = app.query(Block)
    return "\n".join(
        block.render_line(y).text for block in blocks for y in range(block.size.height)
    )


def test_keys_show_the_pages(tmp_path: Path) -> None:
    marks = ("Rails", "governor", "Over-current", "headroom", "Engines", "time of the last")

    async def steps(app: TopApp, pilot: Pilot[UserError]) -> None:
        for number, (name, mark) in enumerate(zip(PAGES, marks, strict=True), start=1):
            await pilot.press(str(number))
            await pilot.pause()
            assert app.shown == name
            assert mark in screen(app)
            assert "THROTTLING" in screen(app)

    drive(tmp_path, steps)


def test_pause_and_pace(tmp_path: Path) -> None:
    async def steps(app: TopApp, pilot: Pilot[UserError]) -> None:
        await pilot.press("minus")
        assert app.state.interval_s == 0.5
        await pilot.press("plus", "plus")
        assert app.state.interval_s == 0.25
        await pilot.press("p")
        await asyncio.sleep(0.4)  # a scrape that was under way ends
        paused = app.state.now
        await asyncio.sleep(0.6)
        assert app.state.now is paused
        assert "PAUSED" in screen(app)
        await pilot.press("p")
        await until(lambda: app.state.now is not paused)
        assert "PAUSED" not in screen(app)

    drive(tmp_path, steps)


def test_resizing(tmp_path: Path) -> None:
    async def steps(app: TopApp, pilot: Pilot[UserError]) -> None:
        sizes = ((200, 60, "46"), (40, 10, "123456"), (3, 3, "1"), (80, 24, "1"))
        for width, height, keys in sizes:
            await pilot.resize_terminal(width, height)
            for key in keys:
                await pilot.press(key)
                lines = screen(app).splitlines()
                assert len(lines) >= height
                assert height < 4 or {len(line) for line in lines} == {width, width - 2}
        assert "VDDQ_VDD2_1V8AO" in screen(app)

    drive(tmp_path, steps)


def test_what_does_not_fit_scrolls(tmp_path: Path) -> None:
    async def steps(app: TopApp, pilot: Pilot[UserError]) -> None:
        assert "more lines" in screen(app)
        assert "VDDQ_VDD2_1V8AO" not in screen(app)
        await pilot.press("end")
        await pilot.pause(0.1)
        assert "VDDQ_VDD2_1V8AO" in screen(app)
        await pilot.press("2", "1")
        await pilot.pause(0.1)
        assert "VDDQ_VDD2_1V8AO" not in screen(app)

    drive(tmp_path, steps, size=(80, 12))


def test_a_click_on_a_key(tmp_path: Path) -> None:
    async def steps(app: TopApp, pilot: Pilot[UserError]) -> None:
        row = app.query_one("#foot", Block).render_line(1).text
        await pilot.click("#foot", offset=(row.index("Thermal") + 2, 1))
        await pilot.pause()
        assert app.shown == "Thermal"

    drive(tmp_path, steps)


def test_a_slow_board_does_not_hold_up_the_keys(tmp_path: Path) -> None:
    async def steps(app: TopApp, pilot: Pilot[UserError]) -> None:
        asked, answer = threading.Event(), threading.Event()
        last = app.state.snapshot

        def slow() -> Snapshot:
            asked.set()
            assert answer.wait(10)
            return last

        app.monitor.sample = slow  # type: ignore[method-assign]
        await until(asked.is_set)
        await pilot.press("4")
        assert "headroom" in screen(app)
        answer.set()

    drive(tmp_path, steps)


def test_a_key_between_two_scrapes_changes_no_reading(tmp_path: Path) -> None:
    async def steps(app: TopApp, pilot: Pilot[UserError]) -> None:
        first = app.state.snapshot
        await until(lambda: app.state.now is not first)
        for key in ("minus", "plus", "minus", "plus"):
            await pilot.press(key)
            await pilot.pause(0.02)
            load = facts.cpu_load(app.state.snapshot)
            assert load is not None and load > 0.1

    drive(tmp_path, steps)


def test_a_narrow_page_scrolls_sideways(tmp_path: Path) -> None:
    async def steps(app: TopApp, pilot: Pilot[UserError]) -> None:
        await pilot.press("3")
        await pilot.pause()
        assert "←→" in screen(app)
        assert " Wh" not in screen(app)
        await pilot.press(*["right"] * 30)
        await pilot.pause(0.1)
        assert " Wh" in screen(app)
        await pilot.press("4")
        await pilot.pause()
        assert "←→" not in screen(app) and "stops" in screen(app)

    drive(tmp_path, steps, size=(60, 20))


def test_a_mistake_ends_it_and_is_its_result(tmp_path: Path) -> None:
    mistake = UserError("the disk is full")

    async def steps(app: TopApp, pilot: Pilot[UserError]) -> None:
        def fail() -> Snapshot:
            raise mistake

        app.monitor.sample = fail  # type: ignore[method-assign]
        await until(lambda: app.return_value is not None)

    assert drive(tmp_path, steps).return_value is mistake


@pytest.mark.parametrize("key", ["q", "ctrl+c"])
def test_quitting(tmp_path: Path, key: str) -> None:
    async def steps(app: TopApp, pilot: Pilot[UserError]) -> None:
        await pilot.press(key)

    assert drive(tmp_path, steps).return_code == 0
