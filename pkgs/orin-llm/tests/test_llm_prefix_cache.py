"""Pages and the tree that finds them again."""

import random

from orin_llm.engine.pages import PagePool
from orin_llm.engine.prefix_cache import PrefixCache
from orin_nn.attention import PAGE


def fill(cache: PrefixCache, pool: PagePool, tokens: list[int]) -> list[int]:
    """Do what a sequence does: take pages for `tokens`, compute them, and end."""
    pages = cache.match(tokens)
    pages += [pool.take() for _ in range(-(-len(tokens) // PAGE) - len(pages))]
    cache.insert(tokens, pages)
    pool.release(pages)
    return pages


def test_whole_pages_of_what_is_alike_are_found() -> None:
    pool = PagePool(20)
    cache = PrefixCache(pool)
    tokens = list(range(3 * PAGE + 5))
    pages = fill(cache, pool, tokens)
    assert len(cache) == 3  # the page of the last five is not full
    assert cache.match(tokens) == pages[:3]
    assert cache.match([*tokens[: 2 * PAGE], *[7] * PAGE]) == pages[:2]
    assert cache.match([1, *tokens]) == []


def test_the_last_token_is_always_computed() -> None:
    pool = PagePool(20)
    cache = PrefixCache(pool)
    tokens = list(range(2 * PAGE))
    pages = fill(cache, pool, tokens)
    assert cache.match(tokens) == pages[:1]
    assert cache.match([*tokens, 0]) == pages


def test_the_least_recently_used_leaves_first_and_what_is_in_use_stays() -> None:
    pool = PagePool(20)
    cache = PrefixCache(pool)
    common = [5] * PAGE
    old, new = [*common, *[1] * PAGE, 0], [*common, *[2] * PAGE, 0]
    fill(cache, pool, old)
    held = fill(cache, pool, new)
    cache.match(old)  # a sequence holds it now
    cache.evict(1)
    assert cache.match(new) == held[:1]
    cache.evict(10)
    assert len(cache) == 2


def test_a_page_computed_twice_does_not_lose_what_follows() -> None:
    """Two sequences compute the same page, and only the second one goes on."""
    pool = PagePool(20)
    cache = PrefixCache(pool)
    tokens = list(range(2 * PAGE))
    first, *second = pool.take(), pool.take(), pool.take()
    cache.insert(tokens[:PAGE], [first])
    pool.release([first])
    cache.insert(tokens, second)
    cache.evict(5)
    assert cache.match([*tokens, 0]) == [first, second[1]]
    pool.release([first, second[1]])
    pool.release(second)
    cache.evict(5)
    assert (len(cache), pool.free) == (0, 19)


def test_no_page_is_lost_or_given_twice() -> None:
    pool, choice = PagePool(40), random.Random(0)
    cache = PrefixCache(pool)
    running: list[tuple[list[int], list[int]]] = []
    for _ in range(3000):
        if running and (choice.random() < 0.5 or len(running) > 4):
            tokens, pages = running.pop(choice.randrange(len(running)))
            cache.insert(tokens, pages)
            pool.release(pages)
            continue
        tokens = [choice.choice((0, 1)) for _ in range(choice.randrange(1, 6)) for _ in range(PAGE)]
        tokens = [token for start in tokens[::PAGE] for token in [start] * PAGE]
        pages = cache.match(tokens)
        missing = len(tokens) // PAGE - len(pages)
        cache.evict(missing - pool.free)
        taken = [pool.take() for _ in range(missing)]
        held = {page for _, others in running for page in others}
        assert 0 not in taken and not held & set(taken)
        running.append((tokens, pages + taken))
    for tokens, pages in running:
        cache.insert(tokens, pages)
        pool.release(pages)
    assert len(cache) + pool.free == 39
    cache.evict(40)
    assert (len(cache), pool.free) == (0, 39)
