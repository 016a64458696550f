"""The product is right however it is split, and split only where that helps."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tinygrad import Tensor

from orin_nn import matmul as module
from orin_nn.matmul import SHORTEST, split


@given(m=st.integers(1, 4000), n=st.integers(1, 4100), k=st.integers(1, 30000))
def test_parts_are_whole_and_not_too_short(m: int, n: int, k: int) -> None:
    parts = split(m, n, k)
    assert k % parts == 0
    assert parts == 1 or k // parts >= SHORTEST


@pytest.mark.parametrize(
    ("m", "n", "k", "parts"),
    [
        (49, 512, 4608, 32),  # ResNet-18's last stage at batch 1
        (3136, 64, 64, 1),  # too short to split
        (200704, 64, 576, 1),  # batch 64: enough tiles
        (1, 1000, 2048, 1),  # few results: tinygrad groups threads by itself
        (1, 4096, 25088, 32),  # VGG's first linear layer
    ],
)
def test_parts_of_known_layers(m: int, n: int, k: int, parts: int) -> None:
    assert split(m, n, k) == parts


def test_a_split_product_is_the_product(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "is_gpu", lambda device: True)
    rng = np.random.default_rng(0)
    x = rng.standard_normal((20, 512), np.float32)
    weight = rng.standard_normal((24, 512), np.float32)
    assert split(20, 24, 512) > 1
    product = module.matmul(Tensor(x, device="CPU"), Tensor(weight, device="CPU"))
    np.testing.assert_allclose(product.numpy(), x @ weight.T, rtol=1e-4, atol=1e-4)
