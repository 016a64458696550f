"""What the owner of the server decides."""

from collections.abc import Collection
from dataclasses import dataclass

from orin_llm.server.body import LIMIT


@dataclass(frozen=True)
class Settings:
    api_keys: Collection[bytes] = ()  # none: anybody may ask
    cors_origins: Collection[str] = ()  # whose pages may ask from a browser
    body_limit: int = LIMIT  # bytes
    queue: int = 64  # answers that may wait, and that one request may ask for
    deadline: float | None = None  # seconds for a whole answer
    keep_alive: float = 10.0  # seconds of silence in a stream
