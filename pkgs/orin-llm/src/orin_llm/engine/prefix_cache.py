"""Keys and values of earlier sequences, found again by the tokens that they belong to."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass, field

from orin_llm.engine.pages import PagePool
from orin_nn.attention import PAGE

Key = tuple[int, ...]


@dataclass(eq=False, slots=True)
class _Root:
    children: dict[Key, _Node] = field(default_factory=dict)


@dataclass(eq=False, slots=True)
class _Node:
    """A page of PAGE tokens, which follow those on the way to it."""

    parent: _Node | _Root
    key: Key
    page: int
    children: dict[Key, _Node] = field(default_factory=dict)


class PrefixCache:
    """A radix tree of pages, as SGLang's (arXiv:2312.07104): an edge is a page's tokens.

    The tree itself holds each of its pages. The least recently used leave first, from the leaves
    on, and none that a sequence holds too.
    """

    def __init__(self, pool: PagePool) -> None:
        self._pool = pool
        self._root = _Root()
        # From the least recently used; a node comes before its parent, so that leaves come first.
        self._nodes: OrderedDict[_Node, None] = OrderedDict()

    def __len__(self) -> int:
        return len(self._nodes)

    def match(self, tokens: Sequence[int]) -> list[int]:
        """The pages that hold the beginning of `tokens`, held for the caller.

        The last token is never among them: its logits have to be computed.
        """
        path = self._walk(tokens[:-1])
        self._touch(path)
        for node in path:
            self._pool.hold(node.page)
        return [node.page for node in path]

    def insert(self, tokens: Sequence[int], pages: Sequence[int]) -> None:
        """Keep the pages that are full with `tokens`, as many as have been computed."""
        path = self._walk(tokens)
        node: _Node | _Root = path[-1] if path else self._root
        for index in range(len(path), len(tokens) // PAGE):
            child = _Node(node, _key(tokens, index), pages[index])
            self._pool.hold(child.page)
            node.children[child.key] = child
            path.append(child)
            node = child
        self._touch(path)

    def evict(self, count: int) -> None:
        """Let go of up to `count` pages that no sequence holds."""
        for node in list(self._nodes):
            if count <= 0:
                return
            # A sequence may hold what follows a page and have computed the page itself again.
            if self._pool.holders(node.page) == 1 and not node.children:
                del self._nodes[node]
                del node.parent.children[node.key]
                self._pool.release([node.page])
                count -= 1

    def _walk(self, tokens: Sequence[int]) -> list[_Node]:
        path: list[_Node] = []
        node: _Node | _Root = self._root
        for index in range(len(tokens) // PAGE):
            child = node.children.get(_key(tokens, index))
            if child is None:
                break
            path.append(child)
            node = child
        return path

    def _touch(self, path: Sequence[_Node]) -> None:
        for node in reversed(path):
            self._nodes[node] = None
            self._nodes.move_to_end(node)


def _key(tokens: Sequence[int], index: int) -> Key:
    return tuple(tokens[index * PAGE : (index + 1) * PAGE])
