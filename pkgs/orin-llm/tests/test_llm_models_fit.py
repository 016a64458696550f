"""download-model fit: estimates against measured memory, and headers of every kind."""

import gc
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import typer
from gguf import GGMLQuantizationType, GGUFWriter
from hypothesis import given, settings
from hypothesis import strategies as st

from hub_server import REPO, Hub, point_to, serving
from orin_core.cli import UserError
from orin_core.device import select
from orin_llm.models import command, fit, remote
from orin_llm.models.fit import KEPT, needs
from orin_llm.models.hub import find_files
from orin_nn.gguf.header import read_header
from orin_nn.gguf.random_model import write_random
from orin_nn.gguf.shapes import TINY_LLAMA, TINY_QWEN3, Shape
from orin_nn.gguf.tensors import read_tensor

CONTEXT = 1024


@pytest.fixture(scope="session")
def llama(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("fit") / "llama.gguf"
    write_random(path, TINY_LLAMA, "Q8_0")
    return path


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, llama: Path) -> Iterator[Hub]:
    with serving() as hub:
        hub.files["llama.gguf"] = llama.read_bytes()
        point_to(hub, monkeypatch, tmp_path)
        yield hub


def refusal(act: Callable[[], object]) -> str:
    with pytest.raises(UserError) as caught:
        act()
    text = str(caught.value)
    assert "\n" not in text
    return text


def loaded(path: Path) -> tuple[object, int]:
    """A model on the CPU, and the bytes that tinygrad has allocated for it."""
    select("cpu")
    from tinygrad.helpers import GlobalCounters

    from orin_nn.transformer import Transformer

    gc.collect()  # what earlier tests left
    before = GlobalCounters.mem_used
    header = read_header(path)
    model = Transformer(header, lambda info: read_tensor(header, info.name), "CPU", CONTEXT)
    return model, GlobalCounters.mem_used - before


def test_formats_that_are_kept() -> None:
    select("cpu")
    from orin_nn.formats import FORMATS

    assert set(KEPT) == set(FORMATS)


@pytest.mark.parametrize("quantization", ["F16", "Q8_0", "Q6_K", "Q5_K"])
@pytest.mark.parametrize("shape", [TINY_LLAMA, TINY_QWEN3])
def test_a_loaded_model_has_the_estimated_size(
    shape: Shape, quantization: str, tmp_path: Path
) -> None:
    """Within 1 %, of which the tables of rotary positions and the spare page of the cache are most;
    Q5_K is expanded."""
    path = tmp_path / "model.gguf"
    write_random(path, replace(shape, blocks=4, vocab=8192, context=CONTEXT), quantization)
    found = needs([path])
    _, measured = loaded(path)
    rotary = CONTEXT * shape.head_dim * 4
    assert measured == pytest.approx(found.weights + found.cache(CONTEXT, 1) + rotary, rel=0.01)


@pytest.mark.slow
def test_a_prompt_takes_the_estimated_activations(tmp_path: Path) -> None:
    """Within 5 %, by what tinygrad holds once a step of a prompt is captured."""
    select("cpu")
    from tinygrad.helpers import GlobalCounters

    from orin_nn.attention import PAGE

    path = tmp_path / "model.gguf"
    write_random(path, replace(TINY_QWEN3, context=CONTEXT), "F16")
    found = needs([path])
    gc.collect()  # what earlier tests left
    before = GlobalCounters.mem_used
    model, _ = loaded(path)
    pages = [list(range(1, 1 + CONTEXT // PAGE))]
    for start in (0, fit.STEP) * 2:
        positions = range(start, start + fit.STEP)
        model.step([7] * fit.STEP, list(positions), pages, CONTEXT)  # type: ignore[attr-defined]
    measured = GlobalCounters.mem_used - before
    assert measured == pytest.approx(found.total(CONTEXT, 1), rel=0.05)


@pytest.mark.parametrize("batch", [1, 3])
@pytest.mark.parametrize("memory", [3_000_000, 20_000_000, 10**12])
def test_the_largest_context_that_fits(batch: int, memory: int, llama: Path) -> None:
    found = replace(needs([llama]), limit=100_000)
    most = found.fitting_context(memory, batch)
    assert most % fit.GRAIN == 0
    assert most == 0 or found.total(most, batch) <= memory
    assert most + fit.GRAIN > found.limit or found.total(most + fit.GRAIN, batch) > memory


def test_batches_share_the_weights(llama: Path) -> None:
    found = needs([llama])
    # Two blocks, keys and values of 2 heads of 64, in float16.
    assert found.cache(100, 3) == 3 * 100 * 2 * 2 * 2 * 64 * 2
    assert found.total(100, 3) - found.total(100, 1) == found.cache(100, 2)


class Foreign:
    """A GGUF file of an architecture that llm-server does not run."""

    def __init__(self, path: Path, **keys: int) -> None:
        self.path, self.writer = path, GGUFWriter(path, "other")
        for name, value in {"context_length": 4096, **keys}.items():
            self.writer.add_uint32(f"other.{name.replace('__', '.')}", value)

    def tensor(self, name: str, *shape: int) -> None:
        self.writer.add_tensor(name, np.zeros(shape, np.float16))

    def needs(self) -> fit.Needs:
        self.writer.write_header_to_file()
        self.writer.write_kv_data_to_file()
        self.writer.write_tensors_to_file()
        self.writer.close()
        return needs([self.path])


def test_another_architecture(tmp_path: Path) -> None:
    model = Foreign(tmp_path / "other.gguf", attention__sliding_window=512)
    model.tensor("token_embd.weight", 1000, 64)
    for index in range(3):
        model.tensor(f"blk.{index}.attn_k.weight", 32, 64)
        model.tensor(f"blk.{index}.attn_v.weight", 16, 64)
    found = model.needs()
    assert found.architecture == "other"
    assert found.weights == 2 * (1000 * 64 + 3 * 48 * 64)
    assert found.position == 3 * 48 * 2
    assert found.limit == 4096
    assert "architecture 'other' is not supported" in found.refusal
    assert found.activations(4096, 1) == 512 * (1000 + 3 * 64) * 4
    (note,) = found.notes
    assert "512 positions" in note


def test_queries_keys_and_values_in_one(tmp_path: Path) -> None:
    model = Foreign(tmp_path / "other.gguf", attention__head_count=4, embedding_length=64)
    model.tensor("token_embd.weight", 1000, 64)
    model.tensor("blk.0.attn_qkv.weight", 64 + 2 * 32, 64)
    assert model.needs().position == 2 * 32 * 2


def test_a_header_without_what_is_needed(tmp_path: Path) -> None:
    model = Foreign(tmp_path / "other.gguf", ssm__state_size=16)
    model.tensor("blk.0.ssm_in.weight", 64, 64)
    found = model.needs()
    assert found.position is None
    assert len(found.notes) == 3
    assert found.total(4096, 2) == 64 * 64 * 2
    assert found.fitting_context(10**9, 1) == 4096


def test_a_quantization_that_nobody_knows(llama: Path, tmp_path: Path) -> None:
    def entry(kind: int) -> bytes:
        return (
            b"blk.0.ffn_up.weight"
            + np.array([2, 0], "<u4").tobytes()[:4]
            + (np.array([256, 512], "<u8").tobytes() + np.array([kind], "<u4").tobytes())
        )

    data = llama.read_bytes()
    assert entry(GGMLQuantizationType.Q8_0) in data
    path = tmp_path / "new.gguf"
    path.write_bytes(data.replace(entry(GGMLQuantizationType.Q8_0), entry(777)))
    found = needs([path])
    assert "stored as type 777" in found.refusal
    assert found.weights == pytest.approx(needs([llama]).weights, rel=0.01)


def test_all_parts_count(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    paths = [tmp_path / f"big-0000{part}-of-00002.gguf" for part in (1, 2)]
    for part, path in enumerate(paths):
        model = Foreign(path, attention__head_count=1)
        model.writer.add_uint16("split.count", 2)
        model.tensor("token_embd.weight" if part == 0 else "blk.0.attn_k.weight", 32, 64)
        model.needs()
    found = needs(paths)
    assert (found.weights, found.position) == (2 * 2 * 32 * 64, 32 * 2)
    command.fit(str(paths[1]), memory=1)
    assert "llm-server does not run it" in capsys.readouterr().out
    paths[0].unlink()
    assert f"{paths[0]}: cannot be read" in refusal(lambda: command.fit(str(paths[1])))


def test_what_is_no_whole_file(llama: Path, tmp_path: Path) -> None:
    path = tmp_path / "x.gguf"
    assert "cannot be read" in refusal(lambda: needs([path]))
    for data in (b"", b"<html>", llama.read_bytes()[:100]):
        path.write_bytes(data)
        assert refusal(lambda: needs([path])).startswith(f"{path}: ")
    path.write_bytes(llama.read_bytes()[:-1000])
    assert "1000 of its" in refusal(lambda: needs([path]))


@settings(max_examples=150, deadline=5000)
@given(data=st.data())
def test_damaged_headers_end_in_one_line(
    llama: Path, tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    head = bytearray(llama.read_bytes())
    places = st.integers(4, 3000) | st.integers(4, read_header(llama).start)
    for place, value in data.draw(
        st.lists(st.tuples(places, st.integers(0, 255)), min_size=1, max_size=8)
    ):
        head[place] = value
    path = tmp_path_factory.getbasetemp() / "damaged.gguf"
    path.write_bytes(head)
    try:
        found = needs([path])
    except UserError as error:
        assert "\n" not in str(error)
    else:
        assert 0 < found.weights <= path.stat().st_size * 4
        found.fitting_context(10**9, 1)


def test_only_the_header_of_a_remote_file_is_fetched(
    hub: Hub, llama: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    start = read_header(llama).start
    monkeypatch.setattr(remote, "FIRST", 2000)  # so that it is fetched in several pieces
    with remote.stand_ins(find_files(REPO, "llama.gguf", "main")) as paths:
        found, expected = needs(paths), needs([llama])
        assert read_header(paths[0]).shape == TINY_LLAMA  # rotary factors and all
    assert not paths[0].exists()
    assert found.header
    assert replace(found, header=None) == replace(expected, header=None)
    assert hub.sent < 2 * start + 1000 < llama.stat().st_size / 10
    hub.faults = [1500, "503"]
    with remote.stand_ins(find_files(REPO, "llama.gguf", "main")) as paths:
        assert needs(paths).weights == expected.weights


def test_remote_files_that_are_damaged(hub: Hub, llama: Path) -> None:
    def act() -> None:
        with remote.stand_ins(find_files(REPO, "llama.gguf", "main")) as paths:
            needs(paths)

    hub.files["llama.gguf"] = b"<html>" * 100
    assert refusal(act) == f"{REPO}/llama.gguf: not a GGUF file"
    hub.files["llama.gguf"] = llama.read_bytes()[:-1000]
    assert refusal(act).startswith(f"{REPO}/llama.gguf: incomplete or damaged, 1000 of its")
    hub.files["llama.gguf"] = llama.read_bytes()[:2000]
    assert f"{REPO}/llama.gguf: damaged or incomplete" in refusal(act)


def test_the_command(
    hub: Hub, llama: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command.fit(str(llama), context=128, batch=2, memory=1)
    here = capsys.readouterr().out
    assert "keys and values, 2 x 128 positions" in here
    assert "The largest context that fits: 256 positions for each of 2 sequences, of 256" in here
    assert "llm-server runs it" in here
    command.fit(REPO, "llama.gguf", context=128, batch=2, memory=1, folder=tmp_path)
    assert capsys.readouterr().out == here
    # A file that was downloaded is read where it is.
    hub.requests.clear()
    (tmp_path / "llama.gguf").write_bytes(llama.read_bytes())
    command.fit(REPO, "llama.gguf", context=128, batch=2, memory=1, folder=tmp_path)
    assert capsys.readouterr().out == here
    assert not hub.requests


def test_what_does_not_fit(llama: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(typer.Exit) as caught:
        command.fit(str(llama), memory=0.001)
    assert caught.value.exit_code == 3
    assert "The largest context that fits: 0 positions" in capsys.readouterr().out
