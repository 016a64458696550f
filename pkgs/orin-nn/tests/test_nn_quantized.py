"""Formats against gguf's own, and the kernels for GPUs in tinygrad's emulator."""

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from gguf import GGMLQuantizationType
from gguf.quants import dequantize
from tinygrad import Tensor

from orin_core.cli import UserError
from orin_nn.formats import FORMATS
from orin_nn.gguf.random_model import random_model, random_tensor
from orin_nn.gguf.shapes import TINY_LLAMA
from orin_nn.gguf.weights import random_matrix
from orin_nn.linear import Linear


@pytest.mark.parametrize("name", FORMATS)
def test_planes_hold_every_byte_and_expand_exactly(name: str) -> None:
    form, kind = FORMATS[name], GGMLQuantizationType[name]
    raw = random_matrix((6, 768), kind, np.random.default_rng(0))
    planes = form.planes(Tensor(raw, device="CPU").realize())
    assert sum(plane.nbytes() for plane in planes) == raw.nbytes
    values = form.expand([plane.contiguous().realize() for plane in planes]).float().numpy()
    np.testing.assert_array_equal(values, dequantize(raw, kind))


@pytest.mark.parametrize(
    "check",
    [
        "products",
        "norms",
        "tokens",
        *(f"vectors {name}" for name in FORMATS),
        *(pytest.param(f"whole {name}", marks=pytest.mark.slow) for name in ("llama", "qwen3")),
    ],
)
def test_emulated(check: str) -> None:
    done = subprocess.run(
        [sys.executable, Path(__file__).with_name("emulated_kernels.py"), *check.split()],
        env={**os.environ, "DEV": "PYTHON::sm_89"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr


def test_weights_that_float16_cannot_hold() -> None:
    tensor = random_model(TINY_LLAMA, "F32").tensors["blk.0.ffn_up.weight"]
    data = np.full((2, 256), 7e4, np.float32).view(np.uint8)
    with pytest.raises(UserError, match=r"blk\.0\.ffn_up\.weight has F32 weights"):
        Linear.load([(replace(tensor, shape=(2, 256)), data)], "CPU")


def test_rows_and_residuals() -> None:
    """On a CPU, several rows at once: each form's product is one with the expanded matrix."""
    model = random_model(TINY_LLAMA, "Q6_K")
    info = model.tensors["blk.0.attn_k.weight"]
    data = random_tensor(model, info)
    matrix, weights = Linear.load([(info, data)], "CPU"), dequantize(data, info.quantization)
    x, residual = np.random.default_rng(0).standard_normal((2, 3, 256), np.float32)
    left, added = Tensor(x, device="CPU"), Tensor(residual[:, :128].copy(), device="CPU")
    np.testing.assert_allclose(
        matrix(left, added).numpy(), x @ weights.T + added.numpy(), atol=1e-4
    )
    gate, up = np.split(x @ weights.T, 2, axis=1)
    gated = matrix(left, gated=True).numpy()
    np.testing.assert_allclose(gated, gate / (1 + np.exp(-gate)) * up, atol=1e-4)
    indices = Tensor([5, 0, 5], dtype="int32", device="CPU")
    np.testing.assert_array_equal(matrix.rows(indices).numpy(), weights[[5, 0, 5]])
