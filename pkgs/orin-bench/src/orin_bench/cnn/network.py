"""What every network undergoes: random weights, operations counted, BatchNorm folded."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from tinygrad import Tensor
from tinygrad.dtype import DType
from tinygrad.nn.state import get_state_dict

from orin_bench.cnn.layers import BatchNorm2d, Conv2d, Layer, Linear, identity

INPUT = (224, 224, 3)


def parameter_count(network: Layer) -> int:
    """Learned parameters, without BatchNorm's running statistics, as torchvision counts them."""
    return sum(t.numel() for name, t in get_state_dict(network).items() if "running_" not in name)


@dataclass(frozen=True)
class Size:
    """What one picture takes: multiply-accumulates of the convolutions and linear layers, learned
    parameters, values given and computed, and values in memory at once in the widest layer."""

    macs: int
    parameters: int
    ends: int
    widest: int

    def memory(self, batch: int, itemsize: int) -> int:
        """Bytes that a step needs at least: the parameters and its widest layer."""
        return (self.parameters + batch * self.widest) * itemsize

    def traffic(self, batch: int, itemsize: int) -> int:
        """Bytes that a step moves at least, were all between input and scores kept in caches."""
        return (self.parameters + batch * self.ends) * itemsize


def measure_size(network: Layer) -> Size:
    """The size of a network that is not placed yet."""
    given = Tensor.empty(1, *INPUT)
    scores = network(given)  # lazily: this shapes the layers and computes nothing
    layers = [layer for layer in walk(network) if isinstance(layer, Conv2d | Linear)]
    return Size(
        macs=sum(layer.macs for layer in layers),
        parameters=parameter_count(network),
        ends=given.numel() + scores.numel(),
        widest=max(layer.values for layer in layers if isinstance(layer, Conv2d)),
    )


def randomize(network: Layer, seed: int = 0) -> None:
    """He initialization (arXiv:1502.01852), so that activations keep their scale to the end."""
    rng = np.random.default_rng(seed)
    for layer in walk(network):
        if isinstance(layer, Conv2d | Linear):
            shape = layer.weight.shape
            deviation = np.sqrt(2 / np.prod(shape[1:]), dtype=np.float32)
            layer.weight = Tensor(rng.standard_normal(shape, np.float32) * deviation)


def fold_batchnorm(network: Layer) -> None:
    """Multiply every BatchNorm into the convolution it follows and leave the identity behind."""
    for container in containers(network):
        previous = None
        for key, child in items(container):
            if isinstance(child, BatchNorm2d):
                assert isinstance(previous, Conv2d) and previous.bias is None
                previous.weight = previous.weight * child.scale.reshape(-1, 1, 1, 1)
                previous.bias = child.bias - child.running_mean * child.scale
                container[key] = identity
            previous = child


def place(network: Layer, device: str, dtype: DType) -> None:
    """Realize the parameters on `device` as `dtype`, convolutions with channels last in memory."""
    for layer in walk(network):
        if isinstance(layer, Conv2d):
            weight = layer.weight.to(device).cast(dtype).permute(0, 2, 3, 1)
            if layer.kernel > 1 and layer.groups == 1:
                # Three channels become four, so that windows are gathered in vectors.
                weight = weight.pad((None, None, None, (0, -weight.shape[3] % 4)))
            layer.weight = weight.contiguous().realize().permute(0, 3, 1, 2)
        elif isinstance(layer, Linear):
            layer.weight = layer.weight.to(device).cast(dtype).contiguous().realize()
        if isinstance(layer, Conv2d | Linear) and layer.bias is not None:
            layer.bias = layer.bias.to(device).cast(dtype).contiguous().realize()


def walk(network: Layer) -> Iterator[Any]:
    """Every layer within `network`."""
    for container in containers(network):
        yield from (child for _, child in items(container))


def containers(layer: Any) -> Iterator[Any]:
    """The lists and attribute dictionaries that hold layers, outermost first."""
    if isinstance(layer, list):
        container: Any = layer
    elif hasattr(layer, "__dict__") and not isinstance(layer, Tensor):
        container = vars(layer)
    else:
        return
    yield container
    for _, child in items(container):
        yield from containers(child)


def items(container: Any) -> list[tuple[Any, Any]]:
    return list(enumerate(container) if isinstance(container, list) else container.items())
