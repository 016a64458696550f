"""Pictures are prepared as torchvision does, and scores are read as probabilities."""

import numpy as np
import pytest
from PIL import Image

from orin_bench.cnn.imagenet import DEVIATION, MEAN, preprocess, top_classes


@pytest.mark.parametrize(
    "size", [(224, 224), (640, 480), (480, 640), (1, 60000), (60000, 1), (1, 1)]
)
def test_any_size_becomes_the_networks_input(size: tuple[int, int]) -> None:
    pixels = preprocess(Image.new("RGB", size, (255, 0, 51)), "resnet18")
    assert pixels.shape == (1, 224, 224, 3)
    assert pixels.dtype == np.float32
    expected = (np.array([1, 0, 0.2], np.float32) - MEAN) / DEVIATION
    np.testing.assert_allclose(pixels[0, 100, 100], expected, atol=1e-6)


def test_the_centre_is_kept() -> None:
    picture = Image.new("RGB", (512, 256))
    picture.paste((255, 255, 255), (192, 0, 320, 256))  # a white stripe down the middle
    pixels = preprocess(picture, "resnet18")[0, 112, :, 0] * DEVIATION[0] + MEAN[0]
    assert pixels[:40].max() < 0.01
    assert pixels[60:164].min() > 0.99
    assert pixels[184:].max() < 0.01


def test_probabilities_are_a_softmax() -> None:
    scores = np.full(1000, -1e4, np.float32)
    scores[[0, 999]] = np.log(3), 0.0
    (first, p), (second, q) = top_classes(scores, 2)
    assert (first, second) == ("tench", "toilet tissue")
    assert (p, q) == pytest.approx((0.75, 0.25))
