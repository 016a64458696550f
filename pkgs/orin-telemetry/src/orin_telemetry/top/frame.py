"""What stands around every page: the board, alarms, the collectors, the keys."""

from rich.segment import Segment
from rich.style import Style
from textual.geometry import Size

from orin_telemetry.collectors import board, cooling, overcurrent, power_mode
from orin_telemetry.scrape import SUCCESS
from orin_telemetry.top import facts
from orin_telemetry.top.draw import BAD, BOLD, DIM, PLAIN, WARN, Line, ends, length, parts, text
from orin_telemetry.top.state import State
from orin_telemetry.top.units import number

MARK = Style(reverse=True)


def head(state: State, width: int) -> list[Line]:
    """Two lines: which board this is, and what is wrong with it."""
    return [_board(state, width), _alarms(state, width)]


def foot(state: State, page: str, pages: list[str], width: int, hidden: Size) -> list[Line]:
    """Two lines: whether all collectors answer and how much of the page is out of sight, and the
    keys."""
    return [_status(state, width, hidden), _keys(page, pages, width)]


def _board(state: State, width: int) -> Line:
    right = text(f" SIMULATED {state.simulated} ", MARK) if state.simulated else []
    left: list[Line] = []
    if state.now:
        info = state.now.view.labels(board.INFO)
        mode = state.now.view.labels(power_mode.INFO)
        model = info.get("model") or "This machine is no Jetson"
        left.append(text(model.removeprefix("NVIDIA "), BOLD))
        if mode:
            left.append(text(mode.get("mode") or f"mode {mode['id']}", BOLD))
        if info.get("l4t"):
            left.append(text(f"L4T {info['l4t']}"))
        if info.get("jetpack"):
            left.append(text(f"JetPack {info['jetpack']}"))
        left.append(text(f"Linux {info.get('kernel', '')}"))
    room = width - 2 - length(right)
    return ends([Segment(" ", PLAIN), *parts(left, room)], right, width)


def _alarms(state: State, width: int) -> Line:
    if not state.now:
        return text(" asking the board ...", DIM)
    if found := facts.alarms(state.now):
        words = [text(word) for word in " · ".join(found).split(" ")]
        line = "".join(segment.text for segment in parts(words, width - 2, " "))
        return text(f" {line}".ljust(width), BAD)
    view = state.now.view
    zone, kelvins = facts.headroom(view)
    events = sum(view.all(overcurrent.EVENTS).values())
    pieces = []
    if view.one(cooling.HOT_SURFACE):
        pieces.append(text("hot surface", WARN))
    if facts.throttled(view) is not None:
        pieces.append(text("not throttling", DIM))
    if kelvins is not None:
        pieces.append(text(f"{number(kelvins, 1)} K left ({zone})", DIM))
    if view.all(overcurrent.EVENTS):
        pieces.append(text(f"over-current events {events:.0f}", DIM))
    return [Segment(" ", PLAIN), *parts(pieces, width - 2, "  ·  ")]


def _status(state: State, width: int, hidden: Size) -> Line:
    pace = [text(" PAUSED ", MARK)] if state.paused else []
    if hidden.width:
        pace.append(text("wider: \N{LEFTWARDS ARROW}\N{RIGHTWARDS ARROW}"))
    if hidden.height:
        pace.append(text(f"{hidden.height} more lines: \N{UPWARDS ARROW}\N{DOWNWARDS ARROW}"))
    keys = [Segment("+", BOLD), Segment("/", PLAIN), Segment("-", BOLD)]
    pace.append([*text(f"every {state.interval_s:g} s "), *keys])
    if not state.now:
        return [Segment(" ", PLAIN), *parts(pace, width - 2)]
    pace.append(text(f"scrape {1000 * state.now.took_s:.0f} ms", DIM))
    right = [*parts(pace, width // 2), Segment(" ", PLAIN)]
    view = state.now.view
    if failing := view.failures:
        verdict = text(f" {len(failing)} FAILING ", BAD)
        left = parts([verdict, *map(text, failing)], width - length(right) - 3, " ")
    else:
        left = text(f"all {len(view.all(SUCCESS))} collectors answer", DIM)
    return ends([Segment(" ", PLAIN), *left], right, width)


def _keys(page: str, pages: list[str], width: int) -> Line:
    others = [("p", "Pause"), ("q", "Quit")]
    legends = (
        _legend(page, pages, others),
        _legend(page, [name if name == page else "" for name in pages], others),
        _legend("", ["" for _ in pages], [("p", ""), ("q", "")]),
    )
    return next((line for line in legends if length(line) <= width), legends[-1])


def _legend(page: str, pages: list[str], others: list[tuple[str, str]]) -> Line:
    line: Line = []
    for number_, name in enumerate(pages, start=1):
        click = Style.from_meta({"@click": f"app.page({number_ - 1})"})
        shown = MARK if name and name == page else PLAIN
        line += [
            Segment(" ", PLAIN),
            Segment(str(number_), BOLD + shown + click),
            Segment(f" {name}" if name else "", shown + click),
        ]
    line.append(Segment(" ", PLAIN))
    for key, name in others:
        line += [Segment(f" {key}", BOLD), Segment(f" {name}" if name else "", PLAIN)]
    return line
