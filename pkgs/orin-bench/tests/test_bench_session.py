"""A run as it is printed and written: header, rows, warnings."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from orin_bench import session as module
from orin_bench.roofline import Roofline
from orin_bench.session import Session
from orin_core.cli import UserError
from orin_core.conditions import Conditions
from orin_core.timing import Timing

BEFORE = Conditions(gpu="nvidia", gpu_clock_hz=1980e6, gpu_temperature_c=40.0, clocks_locked=True)
ROOF = Roofline("CUDA", 4.2e12, 5.4e-6, {"float16": 989.4e12}, 4.8e12)
CASE = {"network": "resnet18", "device": "CUDA", "dtype": "float16", "batch": 1}


class FakeWatch:
    before = BEFORE

    def stop(self) -> Conditions:
        return replace(BEFORE, gpu_temperature_c=90.0, throttle_reasons=("sync boost",))


@pytest.fixture(autouse=True)
def machine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "Watch", FakeWatch)
    facts = {"cpu": "Xeon", "gpu": "NVIDIA H200", "driver": "580", "tinygrad": "0.13.0"}
    monkeypatch.setattr(module, "facts", lambda: facts)


def begin(file: Path | None) -> Session:
    return Session(
        "bench-x", {"case": 8, "ms": 5}, json=file, settings={"beam": 0}, rooflines=[ROOF]
    )


def test_prints_markdown(capsys: pytest.CaptureFixture[str]) -> None:
    session = begin(None)
    session.add(CASE, "tinygrad CUDA", Timing([0.25]), ["resnet18", "250.0"])
    session.close()
    heading, _, machine, settings, conditions, roof, _, *table, _, throttled, hot = (
        capsys.readouterr().out.splitlines()
    )
    assert heading == "# bench-x"
    assert machine == "- Machine: NVIDIA H200, Xeon, driver 580, tinygrad 0.13.0"
    assert settings == "- Settings: beam 0"
    assert conditions == "- Conditions: GPU 1980 MHz, 40 C, clocks locked"
    assert roof.startswith("- CUDA: copies 4200.0 GB/s")
    assert table == ["| case     | ms    |", "|----------|-------|", "| resnet18 | 250.0 |"]
    assert throttled.startswith("- Warning: the GPU was throttled (sync boost)")
    assert hot.startswith("- Warning: the GPU was at 90 C")


def test_writes_after_every_row(tmp_path: Path) -> None:
    file = tmp_path / "result.json"
    session = begin(file)
    timing = Timing([0.25, 0.5, 0.25])
    session.add(CASE, "tinygrad CUDA", timing, ["resnet18", "250.0"], memory_bytes=7)
    written = json.loads(file.read_text())
    assert written["rows"] == [
        {
            "case": CASE,
            "engine": "tinygrad CUDA",
            "median_seconds": 0.25,
            "p95_seconds": pytest.approx(0.475),
            "spread": 0.5,
            "memory_bytes": 7,
            "seconds": [0.25, 0.5, 0.25],
        }
    ]
    assert written["schema"] == 1
    assert written["benchmark"] == "bench-x"
    assert written["machine"]["gpu"] == "NVIDIA H200"
    assert written["settings"] == {"beam": 0}
    assert written["rooflines"][0]["bandwidth"] == 4.2e12
    assert written["rooflines"][0]["peaks"] == {"float16": 989.4e12}
    assert written["conditions"]["before"]["gpu_temperature_c"] == 40.0
    assert written["conditions"]["after"] is None
    session.add(CASE, "torch eager", timing, ["resnet18", "250.0"])
    assert len(json.loads(file.read_text())["rows"]) == 2
    session.close()
    conditions = json.loads(file.read_text())["conditions"]
    assert conditions["after"]["throttle_reasons"] == ["sync boost"]
    assert len(conditions["warnings"]) == 2


def test_a_disk_that_is_full_is_one_line(tmp_path: Path) -> None:
    session = begin(tmp_path / "no folder" / "result.json")
    with pytest.raises(UserError, match="cannot be written"):
        session.add(CASE, "tinygrad CUDA", Timing([0.25]), ["resnet18", "250.0"])
