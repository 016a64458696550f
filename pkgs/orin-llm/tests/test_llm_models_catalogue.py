"""The list of models: its data against shapes that are known, and how it is shown."""

import re
import sys

import pytest

from orin_core.cli import UserError
from orin_llm.models import command
from orin_llm.models.catalogue import catalogue
from orin_nn.gguf.random_model import random_model
from orin_nn.gguf.shapes import LLAMA_3_2_1B, LLAMA_3_2_3B, QWEN3_0_6B, Shape


def test_entries_are_well_formed() -> None:
    for name, model in catalogue().items():
        assert name == model.name == name.lower()
        assert re.fullmatch(r"[\w.-]+/[\w.-]+", model.repo)
        assert re.fullmatch(r"[\w.-]+\.gguf", model.file)
        assert re.fullmatch(r"[0-9a-f]{64}", model.sha256)
    assert len({model.sha256 for model in catalogue().values()}) == len(catalogue())


@pytest.mark.parametrize(
    ("name", "shape"),
    [
        ("qwen3-0.6b", QWEN3_0_6B),
        ("llama-3.2-1b", LLAMA_3_2_1B),
        ("llama-3.2-3b", LLAMA_3_2_3B),
    ],
)
def test_dimensions_are_those_of_the_makers(name: str, shape: Shape) -> None:
    model = catalogue()[name]
    assert model.architecture == shape.architecture
    listed = model.blocks, model.heads, model.kv_heads, model.head_dim, model.context
    known = shape.blocks, shape.heads, shape.kv_heads, shape.head_dim, shape.context
    assert listed == known
    assert float(model.parameters.rstrip("B")) == pytest.approx(shape.parameters / 1e9, rel=0.05)


def test_a_size_is_that_of_the_shape() -> None:
    """All matrices in Q8_0, and before them a header of 151,936 tokens: 5 to 7 MB."""
    listed = catalogue()["qwen3-0.6b"].bytes
    assert 5e6 < listed - random_model(QWEN3_0_6B, "Q8_0").nbytes < 7e6


def test_who_runs_what() -> None:
    models = catalogue()
    assert models["qwen3-8b"].server == models["llama-3.1-8b"].server == "llm-server"
    assert models["qwen3-coder-30b"].server == models["gpt-oss-20b"].server == "llama.cpp"


def test_contexts_that_fit() -> None:
    models = catalogue()
    assert all(model.fitting_context(64) == model.context for model in models.values())
    assert models["qwen3-32b"].fitting_context(24) == 0
    assert 0 < models["qwen3-32b"].fitting_context(32) < models["qwen3-32b"].context


def test_the_list(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["download-model"])
    with pytest.raises(SystemExit) as caught:
        command.main()
    assert caught.value.code == 0
    alone = capsys.readouterr().out
    command.list_models()
    assert capsys.readouterr().out == alone
    for model in catalogue().values():
        assert f"| {model.name} " in alone
        assert f"| {model.repo} " in alone
        assert f"| {model.file} " in alone
    command.list_models(memory=8)
    assert "none" in capsys.readouterr().out


def test_names_that_are_not_in_it() -> None:
    with pytest.raises(UserError, match=r"nor in the list: qwen3-0\.6b, "):
        command.get("qwen9")
