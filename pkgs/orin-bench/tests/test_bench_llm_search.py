"""What is counted of tinygrad's search, and that it ends with its budget."""

from dataclasses import replace
from itertools import count

import numpy as np
import pytest
from tinygrad import Tensor
from tinygrad.codegen.opt import search as tinygrad_search
from tinygrad.helpers import Context

from orin_bench.llm.search import Search, searching

SIZES = count(960, 60)  # which divide in many ways


def search_a_kernel() -> None:
    """Compute with a kernel that this process has not had before, searched."""
    numbers = np.arange(next(SIZES), dtype=np.float32)
    x = Tensor(numbers, device="CPU").realize()
    with Context(BEAM=1, CACHELEVEL=0):
        np.testing.assert_array_equal((x * 2 + 1).numpy(), numbers * 2 + 1)


def test_searches_are_counted_and_timed() -> None:
    original, told = tinygrad_search.beam_search, list[Search]()
    with searching(tick=lambda search: told.append(replace(search))) as found:
        search_a_kernel()
        search_a_kernel()
    search_a_kernel()
    assert (found.searched, found.unsearched) == (2, 0)
    assert found.seconds > 0
    assert [each.running for each in told] == [True, False, True, False]
    assert [each.searched for each in told] == [0, 1, 1, 2]
    assert tinygrad_search.beam_search is original


def test_nothing_is_searched_without_beam() -> None:
    with searching() as found:
        assert (Tensor([1.0, 2.0], device="CPU") * next(SIZES)).tolist()[0] > 0
    assert found == Search()


def test_a_search_ends_with_its_budget(monkeypatch: pytest.MonkeyPatch) -> None:
    compiled: list[int] = []
    compile_ = tinygrad_search._try_compile

    def counted(candidate: tuple[int, object]) -> object:
        compiled.append(candidate[0])
        return compile_(candidate)

    monkeypatch.setattr(tinygrad_search, "_try_compile", counted)
    pool = tinygrad_search.beam_pool
    # A second passes whenever the clock is read: before each of three candidates, and no more.
    with searching(5, clock=count().__next__) as found:
        search_a_kernel()
        assert len(compiled) == 3
        search_a_kernel()  # no time is left: tinygrad's own choice, at once
    assert len(compiled) == 3
    assert (found.searched, found.unsearched) == (0, 2)
    assert tinygrad_search.beam_pool is pool


def test_compilers_are_ended_with_the_budget(monkeypatch: pytest.MonkeyPatch) -> None:
    """As on a GPU, where they are processes of their own."""
    monkeypatch.setenv("PARALLEL", "1")
    tinygrad_search.getenv.cache_clear()
    try:
        with searching(0.001) as found:
            search_a_kernel()
    finally:
        monkeypatch.undo()
        tinygrad_search.getenv.cache_clear()
    assert (found.searched, found.unsearched) == (0, 1)
