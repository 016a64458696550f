"""The networks compute what torchvision's compute, with the same random weights."""

import importlib
import importlib.util
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tinygrad import Device
from tinygrad.nn.state import get_state_dict

from orin_bench.cnn.inference import Inference
from orin_bench.cnn.network import INPUT
from orin_bench.cnn.networks import NETWORKS
from trained_network import trained


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
