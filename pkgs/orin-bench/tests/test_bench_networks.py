"""The networks are the published ones, and folding changes nothing but their speed."""

import numpy as np
import pytest
from tinygrad import Tensor, dtypes
from tinygrad.nn.state import get_state_dict

from orin_bench.cnn import command as cnn
from orin_bench.cnn.inference import Inference
from orin_bench.cnn.layers import BatchNorm2d, Conv2d, Linear, Sequential, max_pool
from orin_bench.cnn.network import INPUT, Size, fold_batchnorm, measure_size, walk
from orin_bench.cnn.networks import NETWORKS
from trained_network import trained


def test_the_command_names_every_network() -> None:
    assert list(NETWORKS) == list(cnn.NETWORK_NAMES)


# Parameters and multiply-accumulates (in units of 10^9) from torchvision's table of models.
@pytest.mark.parametrize(
    ("name", "parameters", "gmacs"),
    [
        ("resnet18", 11_689_512, 1.81),
        ("resnet50", 25_557_032, 4.09),
        ("mobilenet_v2", 3_504_872, 0.30),
        ("efficientnet_b0", 5_288_548, 0.39),
        ("vgg16", 138_357_544, 15.47),
    ],
)
def test_size_is_the_published_one(name: str, parameters: int, gmacs: float) -> None:
    size = measure_size(NETWORKS[name]())
    assert size.parameters == parameters
    assert round(size.macs / 1e9, 2) == gmacs


def test_bytes_by_hand() -> None:
    """VGG-16's second layer is its widest: 64 channels of 3 by 3 windows, beside 64 channels."""
    size = measure_size(NETWORKS["vgg16"]())
    assert size.widest == 224 * 224 * (64 * 9 + 64)
    assert size.ends == 224 * 224 * 3 + 1000
    assert Size(macs=0, parameters=100, ends=20, widest=3).memory(batch=5, itemsize=2) == 230
    assert Size(macs=0, parameters=100, ends=20, widest=3).traffic(batch=5, itemsize=2) == 400


@pytest.mark.parametrize(
    ("convolution", "shape"),
    [
        (Conv2d(3, 8, 3, 2, 1), (2, 9, 11, 3)),
        (Conv2d(6, 8, 1), (2, 5, 5, 6)),
        (Conv2d(6, 8, 1, 2), (1, 6, 7, 6)),
        (Conv2d(4, 8, 5, 1, 2, bias=True), (1, 6, 6, 4)),
        (Conv2d(8, 8, 3, 2, 1, groups=8), (2, 7, 7, 8)),
        (Conv2d(8, 8, 5, 1, 2, groups=8), (1, 7, 6, 8)),
    ],
)
def test_convolution_agrees_with_tinygrads(convolution: Conv2d, shape: tuple[int, ...]) -> None:
    rng = np.random.default_rng(0)
    for name, parameter in get_state_dict(convolution).items():
        values = rng.standard_normal(parameter.shape, np.float32)
        setattr(convolution, name, Tensor(values))
    x = Tensor(rng.standard_normal(shape, np.float32))
    expected = (
        x.permute(0, 3, 1, 2)
        .conv2d(
            convolution.weight,
            convolution.bias,
            groups=convolution.groups,
            stride=convolution.stride,
            padding=convolution.padding,
        )
        .permute(0, 2, 3, 1)
    )
    np.testing.assert_allclose(convolution(x).numpy(), expected.numpy(), rtol=1e-4, atol=1e-4)


# The first six scores and the standard deviation of all, from torchvision's networks in PyTorch,
# for the weights of `trained` and the picture below: what `-m slow` compares whole.
TORCHVISION = {
    "resnet18": (-35.904, 67.712, 46.489, -27.194, 25.927, 5.1504, 46.433),
    "resnet50": (287.72, -68.115, 1485.8, -1893.5, 1642.9, 1753.2, 2936.4),
    "mobilenet_v2": (-1.1919, -1.4139, 0.69479, 2.1336, -3.8318, -1.1184, 3.0188),
    "efficientnet_b0": (0.592, 0.28357, -0.50368, 0.35755, -0.28918, 0.27851, 0.35228),
    "vgg16": (-1.3592, -0.10256, 1.2565, 0.58303, -0.16517, -9.0217, 4.9156),
}


@pytest.mark.parametrize("name", NETWORKS)
def test_scores_are_torchvisions(name: str) -> None:
    network = trained(name)
    estimate = measure_size(network).memory(batch=1, itemsize=4)
    inference = Inference(network, "CPU", "float32", batch=1)
    # No case is refused that fits, and few are tried that do not.
    assert estimate <= inference.engine.memory < 1.7 * estimate
    inference.feed(np.random.default_rng(2).standard_normal((1, *INPUT), np.float32))
    assert not any(isinstance(layer, BatchNorm2d) for layer in walk(network))
    *expected, deviation = TORCHVISION[name]
    scores = inference.scores()[0]
    np.testing.assert_allclose(scores[:6], expected, rtol=0, atol=1e-3 * deviation)
    assert scores.std() == pytest.approx(deviation, rel=1e-3)


def test_folding_refuses_what_it_would_get_wrong() -> None:
    with pytest.raises(AssertionError):
        fold_batchnorm(Sequential([Linear(4, 4), BatchNorm2d(4)]))


def test_pooling_keeps_float16() -> None:
    """tinygrad's own pooling answers in float32, which keeps what follows off tensor cores."""
    assert max_pool(Tensor.zeros(1, 4, 4, 8, dtype=dtypes.half), 3, 2, 1).dtype == dtypes.half
