"""Pages of the cache of keys and values, and who holds them."""

from collections.abc import Iterable


class PagePool:
    """The numbers of a cache's pages, each held by any number of sequences and the prefix cache.

    Page 0 is nobody's: `orin_nn.transformer` writes there what fills up a step.
    """

    def __init__(self, pages: int) -> None:
        self._free = list(range(pages - 1, 0, -1))
        self._holders = [0] * pages

    @property
    def free(self) -> int:
        return len(self._free)

    def take(self) -> int:
        """A page that nobody held. Raises IndexError when there is none."""
        page = self._free.pop()
        self._holders[page] = 1
        return page

    def hold(self, page: int) -> None:
        """Count one more holder of a page that is held."""
        self._holders[page] += 1

    def release(self, pages: Iterable[int]) -> None:
        """Count one holder less of each; what nobody holds is free."""
        for page in pages:
            self._holders[page] -= 1
            if not self._holders[page]:
                self._free.append(page)

    def holders(self, page: int) -> int:
        return self._holders[page]
