"""What a trained network sees in a picture."""

from pathlib import Path

import numpy as np

from orin_bench.cnn.imagenet import preprocess, top_classes
from orin_bench.cnn.inference import Inference
from orin_bench.cnn.networks import NETWORKS
from orin_bench.cnn.weights import load_weights
from orin_core.cli import UserError
from orin_core.picture import load_picture
from orin_core.table import Table


def classify(name: str, weights: Path, image: Path, device: str, dtype: str) -> None:
    """Print the five likeliest ImageNet classes of `image` by network `name`."""
    picture = preprocess(load_picture(image), name)
    network = NETWORKS[name]()
    load_weights(network, weights)
    inference = Inference(network, device, dtype, batch=1)
    inference.feed(picture)
    scores = inference.scores()[0]
    if not np.isfinite(scores).all():
        raise UserError(f"{weights}: give scores that are no numbers; is the file damaged?")
    table = Table({"class": 30, "probability": 6})
    for label, probability in top_classes(scores):
        table.row([label, f"{probability:.1%}"])
    print()
