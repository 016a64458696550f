"""Readings as short text; one that failed is a dash and never 0."""

DASH = "\N{EN DASH}"


def percent(ratio: float | None) -> str:
    """0.423 is 42 %."""
    return DASH if ratio is None else f"{100 * ratio:.0f} %"


def mhz(hertz: float | None) -> str:
    """A clock's number in MHz, without the unit."""
    return DASH if hertz is None else f"{hertz / 1e6:.0f}"


def clock(hertz: float | None) -> str:
    """A clock with its unit."""
    return DASH if hertz is None else f"{mhz(hertz)} MHz"


def number(value: float | None, digits: int = 0, unit: str = "") -> str:
    """A number with its unit."""
    return DASH if value is None else f"{value:.{digits}f}{unit and ' ' + unit}"


def gib(size: float | None, unit: str = "") -> str:
    """Bytes as GiB."""
    return number(None if size is None else size / 2**30, 1, unit)


def traffic(bytes_per_second: float | None) -> str:
    """Bytes a second as MiB/s."""
    return number(None if bytes_per_second is None else bytes_per_second / 2**20, 1, "MiB/s")


def energy(joules: float | None) -> str:
    """Joules as Wh, which batteries are sold by."""
    return number(None if joules is None else joules / 3600, 3, "Wh")


def span(seconds: float) -> str:
    """A length of time."""
    return f"{seconds:.0f} s" if seconds < 600 else f"{seconds / 60:.0f} min"


def yes(value: float | None) -> str:
    """A switch."""
    return DASH if value is None else ("yes" if value else "no")
