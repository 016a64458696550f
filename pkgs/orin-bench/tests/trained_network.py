"""Networks as training leaves them."""

import numpy as np
from tinygrad import Tensor
from tinygrad.nn.state import get_state_dict

from orin_bench.cnn.layers import BatchNorm2d, Layer
from orin_bench.cnn.network import randomize, walk
from orin_bench.cnn.networks import NETWORKS


def trained(name: str) -> Layer:
    """Network `name` with random weights, and with statistics by which no BatchNorm is trivial."""
    network = NETWORKS[name]()
    randomize(network)
    rng = np.random.default_rng(1)
    for layer in walk(network):
        if isinstance(layer, BatchNorm2d):
            for parameter in get_state_dict(layer).values():
                values = rng.uniform(0.8, 1.2, parameter.shape).astype(np.float32)
                parameter.replace(Tensor(values))
    return network
