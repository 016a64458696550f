"""ImageNet's pictures in and its classes out, as torchvision's networks expect them."""

from importlib.resources import files

import numpy as np
from PIL import Image

# torchvision's presets for its IMAGENET1K_V1 weights: shorter side to 256, the central 224, and
# these statistics. One network was trained on another interpolation.
RESIZE, CROP = 256, 224
BICUBIC = ("efficientnet_b0",)
MEAN = np.array([0.485, 0.456, 0.406], np.float32)
DEVIATION = np.array([0.229, 0.224, 0.225], np.float32)


def preprocess(picture: Image.Image, network: str) -> np.ndarray:
    """An RGB picture to `network`'s input, a normalized float32 array (1, 224, 224, 3)."""
    # What is far from the centre is cut away first, or resizing a strip would fill the memory.
    width, height = picture.size
    shorter = min(width, height)
    left, top = max(0, width - 4 * shorter) // 2, max(0, height - 4 * shorter) // 2
    picture = picture.crop((left, top, width - left, height - top))
    width, height = picture.size
    size = (RESIZE * width // shorter, RESIZE * height // shorter)
    bicubic = network in BICUBIC
    picture = picture.resize(
        size, Image.Resampling.BICUBIC if bicubic else Image.Resampling.BILINEAR
    )
    left, top = round((size[0] - CROP) / 2), round((size[1] - CROP) / 2)
    picture = picture.crop((left, top, left + CROP, top + CROP))
    pixels = np.asarray(picture, np.float32) / 255
    return ((pixels - MEAN) / DEVIATION)[None]


def top_classes(scores: np.ndarray, count: int = 5) -> list[tuple[str, float]]:
    """The `count` likeliest classes of one picture's 1,000 `scores`, with their probabilities."""
    names = files("orin_bench.cnn").joinpath("imagenet_classes.txt").read_text().splitlines()
    exponentials = np.exp(scores - scores.max())
    probabilities = exponentials / exponentials.sum()
    best = np.argsort(-probabilities)[:count]
    return [(names[index], float(probabilities[index])) for index in best]
