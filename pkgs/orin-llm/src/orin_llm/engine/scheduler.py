"""Which tokens the next step of the model computes: continuous batching (Orca, OSDI 2022).

A turn reads one piece of one prompt, if any waits, and then computes the next token of every
sequence that is decoding: a long prompt delays the others by no more than a piece each. Clients
hear of a step while the device computes the next one.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from orin_llm.engine.pages import PagePool
from orin_llm.engine.prefix_cache import PrefixCache
from orin_llm.engine.request import FinishReason, Stats, Token
from orin_llm.engine.sampling import Floats, log_probabilities
from orin_llm.engine.sequence import Embedding, Sequence
from orin_nn.attention import PAGE
from orin_nn.transformer import Answer, Transformer

# Tokens of a prompt that a step reads: the model's kernels are made for each number.
PIECES = (32, 128, 512)


@dataclass(frozen=True)
class News:
    """What a sequence's client is to hear: a token, or the end, or both."""

    sequence: Sequence
    token: Token | None
    reason: FinishReason | None


class Scheduler:
    """Sequences that wait and that run on `model`, at most `max_running` of them at once. `tell` is
    called with what clients are to hear."""

    def __init__(
        self, model: Transformer, max_running: int, tell: Callable[[list[News]], None]
    ) -> None:
        self._model, self._max_running, self._tell = model, max_running, tell
        self._news: list[News] = []
        self._pool = PagePool(model.pages)
        self._pages = self._pool.free
        self._cache = PrefixCache(self._pool)
        self._running: list[Sequence] = []
        self._waiting: deque[Sequence] = deque()
        self._prompted = self._generated = self._preempted = self._queried = self._hit = 0

    @property
    def is_idle(self) -> bool:
        return not (self._running or self._waiting)

    def add(self, sequences: Iterable[Sequence]) -> None:
        self._waiting.extend(sequences)

    def stats(self) -> Stats:
        """May be read from another thread: each figure is right at some moment."""
        held = {page for sequence in list(self._running) for page in list(sequence.pages)}
        return Stats(
            running=len(self._running),
            waiting=len(self._waiting),
            cache_usage=len(held) / self._pages,
            prompt_tokens=self._prompted,
            generated_tokens=self._generated,
            prefix_queries=self._queried,
            prefix_hits=self._hit,
            preemptions=self._preempted,
        )

    def turn(self) -> None:
        """Compute a piece of a prompt and a token of every answer."""
        self._drop_cancelled()
        self._admit()
        reading = next((s for s in self._running if not s.is_decoding), None)
        if reading:
            self._read(reading)
        decoding = self._with_room([s for s in self._running if s.is_decoding])
        if decoding:
            self._decode(decoding)
        if self.is_idle:
            self._spread()

    def _spread(self) -> None:
        if self._news:
            self._tell(self._news)
            self._news = []

    def _drop_cancelled(self) -> None:
        cancelled = [s for s in (*self._running, *self._waiting) if s.stream.cancelled]
        for sequence in cancelled:
            if sequence in self._running:
                self._retire(sequence)
            else:
                self._waiting.remove(sequence)
        self._news += [News(sequence, None, "cancelled") for sequence in cancelled]

    def _admit(self) -> None:
        """Give slots, and pages for all they have, to those that wait, the first first.

        One is read at a time, and what it has in common with the next is then in the prefix cache.
        """
        while self._waiting and len(self._running) < self._max_running:
            if any(not running.is_decoding for running in self._running):
                return
            sequence = self._waiting[0]
            sequence.pages = self._cache.match(sequence.tokens)
            missing = -(-len(sequence.tokens) // PAGE) - len(sequence.pages)
            if not self._make_room(missing):
                self._pool.release(sequence.pages)
                sequence.pages = []
                return
            sequence.computed = len(sequence.pages) * PAGE
            sequence.pages += [self._pool.take() for _ in range(missing)]
            if not sequence.answered:
                sequence.stream.cached_tokens = sequence.computed
                self._prompted += len(sequence.tokens)
                self._queried += len(sequence.tokens)
                self._hit += sequence.computed
            self._running.append(self._waiting.popleft())

    def _make_room(self, count: int) -> bool:
        """Whether `count` pages are free, after the prefix cache has let go of what it must."""
        if count > self._pool.free:
            self._cache.evict(count - self._pool.free)
        return count <= self._pool.free

    def _read(self, sequence: Sequence) -> None:
        """Compute the next piece of what `sequence` has; the shorter rest fills up its end."""
        left = len(sequence.tokens) - sequence.computed
        size = piece(left)
        count = min(left, size)
        start, end = sequence.computed, sequence.computed + count
        fill = size - count
        answer = self._model.step(
            [*[0] * fill, *sequence.tokens[start:end]],
            [*[-1] * fill, *range(start, end)],
            [sequence.pages],
        )
        self._spread()
        self._cache.insert(sequence.tokens[:end], sequence.pages)
        self._take(answer, [sequence], end)

    def _decode(self, sequences: list[Sequence]) -> None:
        """Compute one token of each; sequences of no pages fill up a power of two."""
        fill = (1 << (len(sequences) - 1).bit_length()) - len(sequences)
        answer = self._model.step(
            [*(s.tokens[-1] for s in sequences), *[0] * fill],
            [*(s.computed for s in sequences), *[-1] * fill],
            [*(s.pages for s in sequences), *[[]] * fill],
        )
        self._spread()
        self._take(answer, sequences)

    def _with_room(self, sequences: list[Sequence]) -> list[Sequence]:
        """Those of `sequences` that have a page for their next token; the last to come make room
        for the first, and wait to be computed again."""
        ready: list[Sequence] = []
        for sequence in sequences:
            if sequence not in self._running:  # it made room for another
                continue
            while len(sequence.pages) * PAGE <= sequence.computed:
                if self._make_room(1):
                    sequence.pages.append(self._pool.take())
                    continue
                last = self._running[-1]
                self._retire(last)
                last.pages, last.computed = [], 0
                self._waiting.appendleft(last)
                self._preempted += 1
                if last is sequence:
                    break
            else:
                ready.append(sequence)
        return [sequence for sequence in ready if sequence in self._running]

    def _take(self, answer: Answer, sequences: list[Sequence], computed: int | None = None) -> None:
        """Go on with the answer of a step that computed all tokens of `sequences`, or up to
        `computed`."""
        likeliest = answer.tokens()
        wants_logits = any(sequence.needs_logits for sequence in sequences)
        logits = answer.logits.numpy() if wants_logits else None
        for index, sequence in enumerate(sequences):
            sequence.computed = len(sequence.tokens) if computed is None else computed
            if sequence.computed < len(sequence.tokens):
                continue
            if isinstance(sequence, Embedding):
                sequence.hidden = answer.hidden.numpy()[index]
                item = News(sequence, None, "stop")
            else:
                row = None if logits is None else logits[index]
                item = News(sequence, *self._extend(sequence, likeliest[index], row))
            if item.reason:
                self._retire(sequence)
            self._news.append(item)

    def _extend(
        self, sequence: Sequence, likeliest: int, logits: Floats | None
    ) -> tuple[Token | None, FinishReason | None]:
        """Choose the next token of an answer, and whether it is the last."""
        request = sequence.request
        chosen = likeliest
        if logits is not None and sequence.needs_logits:
            allowed = request.constraint.allowed() if request.constraint else None
            chosen = sequence.sampler.choose(logits, allowed)
        if chosen in request.stop_tokens:
            return None, "stop"
        sequence.sampler.accept(chosen)
        sequence.tokens.append(chosen)
        self._generated += 1
        token = Token(chosen)
        if request.logprobs is not None and logits is not None:
            token = Token(chosen, *log_probabilities(logits, chosen, request.logprobs))
        if request.constraint:
            request.constraint.accept(chosen)
            if request.constraint.finished:
                return token, "stop"
        full = len(sequence.tokens) >= self._model.context
        return token, "length" if full or sequence.answered >= request.max_tokens else None

    def _retire(self, sequence: Sequence) -> None:
        """Free a slot. What was computed stays in the prefix cache as long as there is room."""
        self._running.remove(sequence)
        self._cache.insert(sequence.tokens[: sequence.computed], sequence.pages)
        self._pool.release(sequence.pages)


def piece(left: int) -> int:
    """How many tokens of a prompt to read at once when so many are `left`: the most, or what holds
    the rest with no more than half of it in vain."""
    for size in PIECES:
        if left <= size <= 2 * left:
            return size
    return max((size for size in PIECES if size <= left), default=PIECES[0])
