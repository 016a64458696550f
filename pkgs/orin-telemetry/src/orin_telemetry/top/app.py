"""The monitor's screen: a frame around one page at a time, redrawn after every scrape."""

import asyncio
import signal
from collections.abc import Callable
from typing import ClassVar

from textual.app import App, ComposeResult
from textual.binding import Binding, BindingType
from textual.events import Resize
from textual.geometry import Size
from textual.scroll_view import ScrollView
from textual.strip import Strip

from orin_core.cli import UserError
from orin_telemetry.top import frame
from orin_telemetry.top.draw import Line, length
from orin_telemetry.top.pages import PAGES
from orin_telemetry.top.snapshot import Monitor
from orin_telemetry.top.state import State

PACES_S = (0.25, 0.5, 1.0, 2.0, 5.0, 10.0)
_NAMES = list(PAGES)


class Block(ScrollView):
    """Lines drawn for the size at hand; what does not fit scrolls, without scroll bars."""

    DEFAULT_CSS = "Block { scrollbar-size: 0 0; }"

    def __init__(self, draw: Callable[[int, int], list[Line]], id: str) -> None:
        super().__init__(id=id)
        self._draw = draw
        self._strips: list[Strip] = []

    def redraw(self) -> None:
        """Draw anew."""
        lines = self._draw(self.size.width, self.size.height)
        self._strips = [Strip(line, length(line)) for line in lines]
        widest = max((strip.cell_length for strip in self._strips), default=0)
        self.virtual_size = Size(widest, len(lines))
        self.refresh()

    def on_resize(self, event: Resize) -> None:
        """Lines are drawn for one size."""
        self.redraw()

    def render_line(self, y: int) -> Strip:
        """One line of what is visible."""
        left, top = self.scroll_offset
        row, width = y + top, self.size.width
        if row >= len(self._strips):
            return Strip.blank(width)
        return self._strips[row].crop_extend(left, left + width, None)


class TopApp(App[UserError]):
    """Scrapes in a thread at the pace asked for, and shows one of PAGES.

    Its result is the mistake that ended it, if one did.
    """

    CSS = """
    #head, #foot { height: 2; }
    #page { height: 1fr; padding: 0 1; }
    """
    ENABLE_COMMAND_PALETTE = False
    BINDINGS: ClassVar[list[BindingType]] = [
        *(Binding(str(number + 1), f"page({number})") for number in range(len(_NAMES))),
        Binding("p", "pause"),
        Binding("plus,equals_sign", "pace(1)"),
        Binding("minus", "pace(-1)"),
        Binding("q", "quit"),
        Binding("ctrl+c", "quit", priority=True),
        Binding("ctrl+z", "suspend_process", priority=True),
    ]

    def __init__(self, monitor: Monitor, state: State) -> None:
        super().__init__(ansi_color=True)
        self.animation_level = "none"
        self.monitor = monitor
        self.state = state
        self.shown = _NAMES[0]
        self._page = Block(self._draw_page, id="page")
        self._head = Block(lambda width, _: frame.head(state, width), id="head")
        self._foot = Block(self._draw_foot, id="foot")
        self._head.can_focus = self._foot.can_focus = False
        self._woken = asyncio.Event()

    def compose(self) -> ComposeResult:
        """The frame and the page within."""
        yield self._head
        yield self._page
        yield self._foot

    def on_mount(self) -> None:
        """Start watching; a signal ends the monitor as the key does."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGHUP):
            loop.add_signal_handler(number, self.exit)
        self._page.focus()
        self.run_worker(self._watch())

    def action_page(self, number: int) -> None:
        """Show another page."""
        self.shown = _NAMES[number]
        self._page.scroll_to(0, 0, animate=False)
        self._redraw()

    def action_pause(self) -> None:
        """Stop asking the board, or go on."""
        self.state.paused = not self.state.paused
        self._woken.set()
        self._redraw()

    def action_pace(self, step: int) -> None:
        """Ask more often (+) or less."""
        now = self.state.interval_s
        faster = [pace for pace in PACES_S if pace < now]
        slower = [pace for pace in PACES_S if pace > now]
        self.state.interval_s = max(faster, default=now) if step > 0 else min(slower, default=now)
        self._woken.set()
        self._redraw()

    async def _watch(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            started = loop.time()
            self._woken.clear()
            if not self.state.paused:
                try:
                    now = await asyncio.to_thread(self.monitor.sample)
                except UserError as error:
                    self.exit(error)
                    return
                self.state.add(now)
                self._redraw()
            await self._rest(started)

    async def _rest(self, started: float) -> None:
        """Until the next scrape is due, or a key changes when that is."""
        due = None if self.state.paused else started + self.state.interval_s
        try:
            async with asyncio.timeout_at(due):
                await self._woken.wait()
        except TimeoutError:
            return

    def _redraw(self) -> None:
        for block in (self._head, self._page, self._foot):
            block.redraw()

    def _draw_page(self, width: int, height: int) -> list[Line]:
        return PAGES[self.shown](self.state, width, height) if self.state.now else []

    def _draw_foot(self, width: int, height: int) -> list[Line]:
        hidden = self._page.virtual_size - self._page.size  # never below 0
        return frame.foot(self.state, self.shown, _NAMES, width, hidden)
