"""The model that is served: its engine, and what stands between its text and its tokens."""

import hashlib
import logging
import time
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from orin_llm.engine.request import Engine
from orin_llm.text.grammar import Grammars
from orin_llm.text.template import ChatTemplate
from orin_llm.text.tokenizer import Tokenizer

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Model:
    engine: Engine
    tokenizer: Tokenizer
    template: ChatTemplate
    grammars: Grammars
    fingerprint: str  # changes when answers to the same request and seed may
    created: int = field(default_factory=lambda: int(time.time()))  # seconds since 1970

    @cached_property
    def longest_token(self) -> int:
        """Bytes that a token stands for at most."""
        return max(len(self.tokenizer.token_bytes(id)) for id in range(self.tokenizer.vocab))

    def close(self) -> None:
        self.engine.close()
        self.template.close()


def fingerprint(path: Path, *facts: object) -> str:
    """OpenAI's system_fingerprint of the file at `path` (by name, size and time of change) and of
    other `facts` that an answer depends on."""
    status = path.stat()
    seen = (path.name, status.st_size, status.st_mtime_ns, *facts)
    return "fp_" + hashlib.sha256(repr(seen).encode()).hexdigest()[:10]


def load(
    path: Path,
    device: str,
    *,
    context: int,
    max_running: int,
    cache_tokens: int | None,
    max_waiting: int,
) -> Model:
    """The model in the GGUF file `path`, ready to answer; `device` is tinygrad's name.

    Raises UserError for a file that cannot be served.
    """
    from orin_llm.engine.loader import load as load_engine  # imports tinygrad

    tokenizer = Tokenizer.load(path)
    template = ChatTemplate.load(path)
    engine = load_engine(
        path,
        device,
        context=context,
        max_running=max_running,
        cache_tokens=cache_tokens,
        max_waiting=max_waiting,
        tick=log.info,
    )
    return Model(
        engine, tokenizer, template, Grammars(tokenizer), fingerprint(path, device, context)
    )
