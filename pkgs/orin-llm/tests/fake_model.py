"""A served model whose text layer is real and whose engine is fake."""

import tempfile
from functools import cache
from pathlib import Path

from fake_engine import FakeEngine
from orin_llm.server.model import Model
from orin_llm.text.grammar import Grammars
from orin_llm.text.template import ChatTemplate
from orin_llm.text.tokenizer import Tokenizer
from orin_nn.gguf.random_model import write_random
from orin_nn.gguf.shapes import TINY_QWEN3


@cache
def text() -> tuple[Tokenizer, ChatTemplate]:
    """Those of a model of 512 tokens, with Qwen3's template."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "tiny.gguf"
        write_random(path, TINY_QWEN3, "F16")
        return Tokenizer.load(path), ChatTemplate.load(path)


def model(engine: FakeEngine, template: ChatTemplate | None = None) -> Model:
    tokenizer, own = text()
    engine.vocab = tokenizer.vocab
    return Model(engine, tokenizer, template or own, Grammars(tokenizer), "fp_test")
