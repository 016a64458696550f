"""Memory: what processes hold, the page cache, and compressed swap when there is too little."""

PAGE = 4096
TOTAL = 64_349_684 * 1024  # MemTotal of an AGX Orin 64GB: the rest is carved out for firmware
CMA_TOTAL = 256 * 2**20
ZRAM_SIZE = TOTAL // 2  # half of the memory, as zram-generator and NixOS' zramSwap have it

_RESERVE = 600 * 2**20  # below this the kernel swaps
_GROWTH = 1.5 * 2**30  # bytes a second in which processes load their data
_RATIO = 3.1  # of zstd on weights and heaps
_THRASH = 500 * 2**20  # bytes a second through the swap at the worst
_CACHE_START = 6 * 2**30


class Memory:
    """All sizes in bytes; swapped_in and swapped_out count pages since boot."""

    def __init__(self, held_gib: float) -> None:
        self.held = held_gib * 2**30
        self.cached = float(_CACHE_START)
        self.buffers = 180 * 2**20
        self.swapped = 0.0
        self.swapped_in = 0.0
        self.swapped_out = 0.0
        self.cma_free = 200 * 2**20

    def step(self, seconds: float, wanted_gib: float, jitter: float) -> float:
        """Advance by `seconds`; returns how much of the time goes into waiting for swap, 0..1."""
        most = _GROWTH * seconds
        wanted = wanted_gib * 2**30
        self.held += max(-4 * most, min(most, wanted - self.held))
        before = self.swapped
        room = TOTAL - _RESERVE - self.held
        # The part that swaps is gone from the memory, all but what zram makes of it.
        self.swapped = min(max(-room / (1 - 1 / _RATIO), 0.0), float(ZRAM_SIZE))
        moved = self.swapped - before
        self.swapped_out += max(moved, 0.0) / PAGE
        self.swapped_in += max(-moved, 0.0) / PAGE
        pressure = min(self.swapped / (8 * 2**30), 1.0)
        through = _THRASH * pressure * (1 + 0.2 * jitter) * seconds / PAGE
        self.swapped_in += through
        self.swapped_out += through
        self.cached = min(
            max(room + self.swapped - self.compressed, 300 * 2**20), float(_CACHE_START)
        )
        return pressure

    @property
    def compressed(self) -> float:
        return self.swapped / _RATIO

    @property
    def free(self) -> int:
        resident = self.held - self.swapped + self.compressed
        return int(max(TOTAL - resident - self.cached - self.buffers, 180 * 2**20))

    @property
    def available(self) -> int:
        """Free, and what of the page cache can go at once."""
        return int(self.free + 0.85 * max(self.cached - 250 * 2**20, 0.0))
