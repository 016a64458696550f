"""The pieces of a streamed answer as events: JSON around what changes, written once."""

import time

from orin_llm.server.generation import Generation
from orin_llm.server.schema.base import StreamOptions
from orin_llm.server.sse import event, to_json


class Frames:
    """Events of one request, whose chunks are of type `kind`.

    `facts` are those of an answer that is not streamed, too. With include_usage a last chunk
    without choices tells the usage, and all others have it as null.
    """

    def __init__(
        self, id: str, kind: str, model: str, fingerprint: str, options: StreamOptions | None
    ) -> None:
        self.facts = {
            "id": id,
            "object": kind,
            "created": int(time.time()),
            "model": model,
            "system_fingerprint": fingerprint,
        }
        self._usage = bool(options and options.include_usage)
        unknown = {"usage": None} if self._usage else {}
        self._head = to_json({**self.facts, **unknown})[:-1]

    def piece(self, index: int, content: str, logprobs: str = "null") -> bytes:
        """A piece of answer `index`; `content` is the JSON of its own fields."""
        return self._frame(index, content, logprobs, "null")

    def end(self, index: int, content: str, reason: str, logprobs: str = "null") -> bytes:
        """The last piece of answer `index`."""
        return self._frame(index, content, logprobs, to_json(reason))

    def usage(self, generation: Generation) -> bytes:
        """The chunk after the last piece; nothing where it was not asked for."""
        if not self._usage:
            return b""
        return event({**self.facts, "choices": [], "usage": generation.usage().model_dump()})

    def _frame(self, index: int, content: str, logprobs: str, reason: str) -> bytes:
        return (
            f'data: {self._head},"choices":[{{"index":{index},{content},"logprobs":{logprobs},'
            f'"finish_reason":{reason}}}]}}\n\n'
        ).encode()
