"""What each part of the board shows in sysfs and procfs, as the kernel lays it out.

Every module yields (path, text) from `files(board)`. Paths are relative to the tree's root, where
sys, proc, etc and var lie. A text of None is a sensor that answers EAGAIN. LINKS are symbolic
links: path to path, both relative to the root. Bytes beyond ASCII are written as Latin-1.
"""

from collections.abc import Iterator

Files = Iterator[tuple[str, str | None]]

BUS = "sys/devices/platform/bus@0"
