"""PyTorch beside tinygrad: a process of its own, and the same scores as torchvision's networks."""

import importlib
import importlib.util
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tinygrad import Device
from tinygrad.nn.state import get_state_dict

from orin_bench.cnn.inference import Inference
from orin_bench.cnn.network import INPUT
from orin_bench.cnn.networks import NETWORKS
from orin_bench.engine import interleave
from orin_bench.torch_worker import TorchWorker
from orin_core.cli import UserError
from trained_network import trained

# What the worker wants of PyTorch, for machines without it.
TORCH = """
class inference_mode:
    inside = False
    def __enter__(self): inference_mode.inside = True
    def __exit__(self, *error): inference_mode.inside = False
class cuda:
    is_available = staticmethod(lambda: False)
"""
STEPS = """
import os, time, torch
class Step:
    compile_seconds = 1.5
    def __init__(self, name, memory):
        self.name, self.memory, self.log = name, memory, []
        assert torch.inference_mode.inside
    def step(self):
        assert torch.inference_mode.inside
        self.log.append("step")
        time.sleep(0.002)
    def synchronize(self):
        self.log.append("synchronize")
        if self.log[-2:] == ["step", "synchronize"]:
            time.sleep(0.003)
def engines(names, memory):
    return [Step(name, memory) for name in names]
def refuse():
    raise RuntimeError("CUDA error: no kernel image\\nCompile with TORCH_USE_CUDA_DSA")
def die():
    os._exit(1)
class Dying(Step):
    step = staticmethod(die)
def dying():
    return [Dying("torch eager", 0)]
"""


@pytest.fixture
def worker(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[TorchWorker]:
    (tmp_path / "torch.py").write_text(TORCH)
    (tmp_path / "torch_steps.py").write_text(STEPS)
    monkeypatch.syspath_prepend(tmp_path)
    worker = TorchWorker()
    yield worker
    worker.close()


def test_engines_live_in_a_process_of_their_own(worker: TorchWorker) -> None:
    first, second = worker.start("torch_steps:engines", names=["eager", "graph"], memory=7)
    (third,) = worker.start("torch_steps:engines", names=["other"], memory=8)
    assert [engine.name for engine in (first, second, third)] == ["eager", "graph", "other"]
    assert (second.compile_seconds, second.memory, third.memory) == (1.5, 7, 8)
    timings = interleave([first, second, third], warmup=1, repetitions=4, rounds=2)
    for timing in timings:
        assert len(timing.seconds) == 4
        assert timing.minimum >= 0.005  # the step, and the wait for it
    assert worker.call(os.getpid) != os.getpid()
    for engine in (first, second, third):
        engine.close()
    with pytest.raises(KeyError):
        second.run(1)


@pytest.mark.parametrize(
    ("function", "words"),
    [
        ("torch_steps:refuse", "--versus torch: CUDA error: no kernel image"),
        ("torch_steps:die", "--versus torch: PyTorch's process died; out of memory?"),
        ("no_such_module:engines", "--versus torch: No module named 'no_such_module'"),
    ],
)
def test_an_error_is_one_line(worker: TorchWorker, function: str, words: str) -> None:
    with pytest.raises(UserError) as caught:
        worker.start(function)
    assert str(caught.value) == words


def test_a_process_that_dies_while_it_measures(worker: TorchWorker) -> None:
    (engine,) = worker.start("torch_steps:dying")
    with pytest.raises(UserError, match="PyTorch's process died"):
        engine.run(1)
    engine.close()  # what it held is gone with it


@pytest.mark.gpu
@pytest.mark.parametrize("name", ["resnet18", "mobilenet_v2"])
def test_torchvisions_networks_are_measured(name: str) -> None:
    pytest.importorskip("torch")
    worker = TorchWorker()
    function = "orin_bench.cnn.torch_cnn:engines"
    eager, graph = worker.start(function, network=name, dtype="float16", batch=1)
    assert (eager.name, graph.name) == ("torch eager", "torch graph")
    slow, fast = interleave([eager, graph], warmup=5, repetitions=50)
    assert 1e-5 < fast.median < slow.median < 1
    assert min(eager.memory, graph.memory) > 2 * 3e6  # the parameters
    eager.close()
    graph.close()
    worker.close()


def import_torchvision() -> Any:
    """torchvision, also where its compiled part was built for another PyTorch than the one here.

    Its networks need nothing of that part, but its import wants two operators declared.
    """
    import torch

    found = importlib.util.find_spec("torchvision")
    if found is None or found.origin is None:
        pytest.skip("torchvision is not installed")
    compiled = next(Path(found.origin).parent.glob("_C*.so"))
    try:
        torch.ops.load_library(compiled)
    except OSError:
        for operator in ("nms", "qnms"):
            if not hasattr(torch.ops.torchvision, operator):
                signature = "(Tensor boxes, Tensor scores, float threshold) -> Tensor"
                torch.library.define(f"torchvision::{operator}", signature)
    return importlib.import_module("torchvision")


def worst_error(name: str, device: str, dtype: str, batch: int) -> float:
    """The largest difference from torchvision's float32 scores, in their standard deviation."""
    torch = pytest.importorskip("torch")
    torchvision = import_torchvision()
    network = trained(name)
    model = getattr(torchvision.models, name)(weights=None).eval()
    parameters = {k: torch.from_numpy(v.numpy()) for k, v in get_state_dict(network).items()}
    missing, unexpected = model.load_state_dict(parameters, strict=False)
    assert not unexpected
    assert all(key.endswith("num_batches_tracked") for key in missing)
    pictures = np.random.default_rng(2).standard_normal((batch, *INPUT), np.float32)
    with torch.inference_mode():
        expected = model(torch.from_numpy(pictures).permute(0, 3, 1, 2)).numpy()
    inference = Inference(network, device, dtype, batch)
    inference.feed(pictures)
    return float(np.abs(inference.scores() - expected).max() / expected.std())


@pytest.mark.slow
@pytest.mark.parametrize("name", NETWORKS)
def test_agrees_with_torchvision(name: str) -> None:
    assert worst_error(name, "CPU", "float32", batch=2) < 1e-3


@pytest.mark.gpu
@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize(("dtype", "bound"), [("float32", 1e-3), ("float16", 5e-2)])
@pytest.mark.parametrize("batch", [1, 3])
def test_agrees_with_torchvision_on_a_gpu(name: str, dtype: str, bound: float, batch: int) -> None:
    assert Device.DEFAULT in ("CUDA", "NV"), "set DEV=CUDA"
    assert worst_error(name, Device.DEFAULT, dtype, batch) < bound
