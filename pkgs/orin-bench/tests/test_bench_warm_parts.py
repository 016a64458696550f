"""The parts of bench-warm that search nothing: the cache, its file, durations, comparisons."""

import json
import pickle
import sqlite3
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from tinygrad import helpers
from tinygrad.codegen.opt import Opt, OptOps
from tinygrad.dtype import dtypes

from orin_bench.warm import exchange
from orin_bench.warm.cache import (
    BEGUN,
    FAILED,
    FASTER,
    KEPT,
    WAITING,
    Cache,
    Entry,
    Outcome,
    is_finished,
)
from orin_bench.warm.check import PART, Checked, agree, decode, random_values
from orin_bench.warm.duration import format_duration, parse_duration
from orin_bench.warm.exchange import export_cache, import_cache, read
from orin_bench.warm.warming import _improve, _is_known
from orin_core.cli import UserError

OPTS = (Opt(OptOps.TC, 0, (-1, 2, 1)), Opt(OptOps.UPCAST, 1, 4), Opt(OptOps.NOLOCALS))


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Cache:
    return open_cache(tmp_path / "cache.db", monkeypatch)


def open_cache(file: Path, monkeypatch: pytest.MonkeyPatch) -> Cache:
    monkeypatch.setattr(helpers, "CACHEDB", str(file))
    monkeypatch.setattr(helpers, "_db_connection", None)
    return Cache()


def entry(number: int = 0, state: str | None = FASTER, architecture: str = "sm_87") -> Entry:
    key = {
        "ast": bytes([number]) * 32,
        "amt": 2,
        "allow_test_size": True,
        "device": "CUDA",
        "suffix": "",
    }
    outcome = Outcome(state, "r_64_32", architecture, 2e-3, 1e-3) if state else None
    return Entry(key, OPTS, outcome)


@pytest.mark.parametrize(
    ("text", "seconds"), [("90s", 90), ("20m", 1200), ("1h30m", 5400), ("1h0m5s", 3605)]
)
def test_a_duration_is_read_and_written(text: str, seconds: int) -> None:
    assert parse_duration("--budget", text) == seconds
    assert parse_duration("--budget", format_duration(seconds)) == seconds


@pytest.mark.parametrize(
    "text", ["", "20", "0s", "-5m", "5x", "20 minutes", "1m1h", "169h", "9" * 5000 + "h", "٣m"]
)
def test_another_duration_is_refused_with_examples(text: str) -> None:
    with pytest.raises(UserError, match=r"--budget .*90s, 20m or 1h30m"):
        parse_duration("--budget", text)


def test_tinygrad_finds_what_is_stored(cache: Cache) -> None:
    cache.put([entry()])
    assert helpers.diskcache_get("beam_search", entry().key) == list(OPTS)
    assert cache.get(entry().key) == entry()
    assert cache.get(entry(1).key) is None


def test_what_tinygrad_stored_is_found_without_an_outcome(cache: Cache) -> None:
    helpers.diskcache_put("beam_search", entry().key, list(OPTS))
    found = cache.get(entry().key)
    assert found == entry(state=None)
    assert not is_finished(found)


def test_only_finished_kernels_are_finished() -> None:
    assert is_finished(entry(state=FASTER))
    assert not is_finished(entry(state=WAITING))
    assert not is_finished(entry(state=BEGUN))
    assert not is_finished(None)


def test_all_entries_are_stored_or_none(cache: Cache) -> None:
    broken = Entry(entry(1).key, OPTS, Outcome(FASTER, "r", "sm_87", before=object()))  # type: ignore[arg-type]
    with pytest.raises(TypeError):
        cache.put([entry(), broken])
    assert list(cache.entries()) == []


def test_a_file_that_is_no_database_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "cache.db").write_text("This is no database, and long enough to be none.\n" * 9)
    with pytest.raises(UserError, match=r"cache\.db: damaged: .*move it away"):
        open_cache(tmp_path / "cache.db", monkeypatch)


def test_a_folder_that_cannot_be_made_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match=r"cache\.db: cannot be written: .*set CACHEDB"):
        open_cache(tmp_path / "file" / "cache.db", monkeypatch)


@pytest.mark.parametrize(
    ("table", "value"),
    [
        ("beam_search", b"\0"),
        ("beam_search", pickle.dumps(None)),
        ("beam_search", b"cnosuch\nmodule\n."),
        ("orin_warm", "{"),
        ("orin_warm", '{"colour": 1}'),
    ],
)
def test_a_damaged_entry_is_one_line(cache: Cache, table: str, value: bytes | str) -> None:
    cache.put([entry()])
    with sqlite3.connect(helpers.CACHEDB) as database:
        database.execute(f"UPDATE {table}_{helpers.VERSION} SET val = ?", [value])
    with pytest.raises(UserError, match="damaged"):
        cache.get(entry().key)
    with pytest.raises(UserError, match="damaged"):
        list(cache.entries())


def test_a_cache_that_tinygrad_would_not_use_is_refused() -> None:
    with helpers.Context(IGNORE_BEAM_CACHE=1), pytest.raises(UserError, match="unset it"):
        Cache()


def test_an_exported_cache_is_imported_whole(
    cache: Cache, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    entries = [entry(0), entry(1, WAITING), entry(2, BEGUN)]
    cache.put(entries)
    assert export_cache(cache, tmp_path / "orin.json") == 3
    other = open_cache(tmp_path / "other.db", monkeypatch)
    assert import_cache(other, tmp_path / "orin.json", trust=True) == (3, 0)
    assert sorted(other.entries(), key=lambda e: e.key["ast"]) == entries
    assert import_cache(other, tmp_path / "orin.json", trust=True) == (0, 3)


def test_an_import_leaves_what_was_found_here(cache: Cache, tmp_path: Path) -> None:
    cache.put([entry(0), entry(1, WAITING)])
    export_cache(cache, tmp_path / "orin.json")
    bare = Entry(entry().key, (), entry().outcome)
    tinygrads = Entry(entry(1).key, (), None)
    cache.put([bare, tinygrads])
    import_cache(cache, tmp_path / "orin.json", trust=True)
    assert cache.get(entry().key) == bare
    found = cache.get(entry(1).key)
    assert found and found.opts == ()


def test_an_import_replaces_what_another_gpu_left(cache: Cache, tmp_path: Path) -> None:
    cache.put([entry()])
    export_cache(cache, tmp_path / "orin.json")
    cache.put([entry(architecture="sm_90")])
    assert import_cache(cache, tmp_path / "orin.json", trust=True) == (1, 0)
    assert cache.get(entry().key) == entry()


@pytest.mark.parametrize("device", ["AUTO", "CPU,CPU", " cpu ", "METAL"])
def test_the_cache_of_a_device_that_is_none_is_refused(
    cache: Cache, tmp_path: Path, device: str
) -> None:
    here = entry()
    cache.put([Entry(here.key | {"device": device}, here.opts, here.outcome)])
    export_cache(cache, tmp_path / "orin.json")
    with pytest.raises(UserError, match=r"orin\.json: .*--trust takes it all the same"):
        import_cache(cache, tmp_path / "orin.json", trust=False)


def test_a_file_without_end_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(exchange, "LARGEST", 1 << 20)
    with pytest.raises(UserError, match="larger than 1 MiB"):
        read(Path("/dev/zero"))


def test_what_failed_unmeasured_or_elsewhere_is_searched_again() -> None:
    kernel = SimpleNamespace(architecture="sm_87")
    unmeasured = Entry(entry().key, (), Outcome(FAILED, "r", "sm_87", reason="out of memory"))
    measured = Entry(entry().key, (), Outcome(FAILED, "r", "sm_87", 2e-3, 2e-3, "hung"))
    assert not _is_known(None, kernel)  # type: ignore[arg-type]
    assert not _is_known(unmeasured, kernel)  # type: ignore[arg-type]
    assert not _is_known(entry(architecture="sm_90"), kernel)  # type: ignore[arg-type]
    assert _is_known(measured, kernel)  # type: ignore[arg-type]
    assert _is_known(entry(state=None), kernel)  # type: ignore[arg-type]


def test_what_tinygrad_found_and_is_wrong_waits_for_a_search() -> None:
    baseline = (Opt(OptOps.UPCAST, 0, 2),)
    kernel = SimpleNamespace(name="r", architecture="sm_87", baseline=baseline)
    for wrong, state in ((1, WAITING), (0, KEPT)):
        checked = Checked(1e-3, 1e-3, None, wrong)
        worker = SimpleNamespace(check=lambda kernel, candidates, checked=checked: checked)
        task = SimpleNamespace(kernel=kernel, bare=True)
        found = _improve(worker, task, 2, entry(state=None), 0.0, 0.0)  # type: ignore[arg-type]
        assert found.outcome and found.outcome.state == state
        assert found.opts == baseline


def test_the_cache_of_another_architecture_is_refused(cache: Cache, tmp_path: Path) -> None:
    here = entry(architecture="armv5")
    cache.put([Entry(here.key | {"device": "CPU"}, here.opts, here.outcome)])
    export_cache(cache, tmp_path / "orin.json")
    with pytest.raises(UserError, match=r"orin\.json: is of CPU armv5, and here CPU is"):
        import_cache(cache, tmp_path / "orin.json", trust=False)


def test_an_empty_cache_exports_nothing(cache: Cache, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="nothing to export"):
        export_cache(cache, tmp_path / "orin.json")
    assert not (tmp_path / "orin.json").exists()


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"format": "other"}, "is no file of bench-warm export"),
        ({"schema": 2}, "schema 2"),
        ({"tinygrad": "0.12.0\x1b[2J"}, r"is of tinygrad '0\.12\.0\\x1b\[2J', here is"),
        ({"cache": 1}, "is of tinygrad"),
        ({"kernels": {}}, "no list of kernels"),
        ({"kernels": [1]}, "kernel 0"),
        ({"kernels": [{}]}, "kernel 0: 'ast'"),
    ],
)
def test_a_file_of_another_kind_is_refused(
    cache: Cache, tmp_path: Path, change: dict[str, Any], words: str
) -> None:
    with pytest.raises(UserError, match=words):
        read(changed(cache, tmp_path / "orin.json", change))


@pytest.mark.parametrize(
    "change",
    [
        {"ast": "zz"},
        {"ast": "00"},
        {"ast": 1},
        {"beam": "2"},
        {"beam": True},
        {"beam": 0},
        {"device": None},
        {"name": "a\nb"},
        {"opts": [["EXEC", 0, 4]]},
        {"opts": [["UPCAST", 0]]},
        {"opts": [["UPCAST", "0", 4]]},
        {"opts": [["UPCAST", 0, [1.5]]]},
        {"opts": [["UPCAST", 0, 2**40]]},
        {"opts": "UPCAST"},
        {"state": "done"},
        {"before": -1},
        {"after": "fast"},
        {"reason": 3},
    ],
)
def test_a_kernel_that_is_none_is_refused(
    cache: Cache, tmp_path: Path, change: dict[str, Any]
) -> None:
    file = changed(cache, tmp_path / "orin.json", {})
    document = json.loads(file.read_text())
    document["kernels"][0] |= change
    file.write_text(json.dumps(document))
    with pytest.raises(UserError, match=r"orin\.json: kernel 0: "):
        read(file)


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"\xff\xfe", pickle.dumps({}), b"[" * 9999])
def test_what_is_no_json_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "orin.json").write_bytes(content)
    with pytest.raises(UserError, match="is no file of bench-warm export"):
        read(tmp_path / "orin.json")


def changed(cache: Cache, file: Path, change: dict[str, Any]) -> Path:
    cache.put([entry()])
    export_cache(cache, file)
    file.write_text(json.dumps(json.loads(file.read_text()) | change))
    return file


@pytest.mark.parametrize("size", [7, PART + 3])
@pytest.mark.parametrize(
    ("kind", "tolerance"), [(np.float16, 1e-2), (np.float32, 2e-3), (np.float64, 1e-6)]
)
def test_results_agree_within_the_tolerance_and_no_further(
    size: int, kind: type[np.floating[Any]], tolerance: float
) -> None:
    expected = np.random.default_rng(0).uniform(-1, 1, size).astype(kind)
    near, far = expected.copy(), expected.copy()
    near[-1] += 0.3 * tolerance
    far[-1] += 4 * tolerance
    assert agree(expected, near, tolerance)
    assert not agree(expected, far, tolerance)


def test_what_is_not_finite_agrees_at_the_same_places() -> None:
    expected = np.array([1, np.nan, 2, np.inf], np.float32)
    assert agree(expected, expected, 1e-3)
    assert not agree(expected, np.array([1, 5, 2, np.inf], np.float32), 1e-3)
    assert not agree(np.ones(4, np.float32), expected, 1e-3)


def test_results_that_tell_nothing_do_not_agree() -> None:
    nothing = np.full(8, np.nan, np.float32)
    assert not agree(nothing, nothing, 1e-3)


def test_integers_agree_exactly() -> None:
    assert agree(np.array([1, 2]), np.array([1, 2]), 1.0)
    assert not agree(np.array([1, 2]), np.array([1, 3]), 1.0)


@pytest.mark.parametrize(
    "dtype",
    [dtypes.float32, dtypes.float16, dtypes.bfloat16, dtypes.float64, dtypes.uint8, dtypes.uint32],
)
def test_random_inputs_are_finite_and_vary(dtype: Any) -> None:
    raw = random_values(dtype, 1000, np.random.default_rng(0))
    assert raw.nbytes == 1000 * dtype.itemsize
    values = decode(raw.data, dtype)
    assert values.size == 1000
    assert np.isfinite(values).all()
    assert len(np.unique(values)) > 50


def test_random_bytes_make_finite_floats_of_any_width() -> None:
    raw = random_values(dtypes.uint8, 4096, np.random.default_rng(0))
    for values in (raw.view(np.float16), raw.view(np.float32)):
        assert (values >= 0).all()
        assert (values < 1).all()


def test_random_positions_lie_in_every_axis() -> None:
    raw = random_values(dtypes.int32, 1000, np.random.default_rng(0))
    assert set(raw.view(np.int32)) == {0, 1}
