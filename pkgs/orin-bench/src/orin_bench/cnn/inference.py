"""One network made ready on one device."""

import numpy as np
from tinygrad import Tensor
from tinygrad.dtype import to_dtype
from tinygrad.helpers import Context

from orin_bench.cnn.layers import Layer
from orin_bench.cnn.network import INPUT, fold_batchnorm, place
from orin_bench.engine import JitEngine


class Inference:
    """A network jitted for pictures in batches of a fixed size; `engine` runs it.

    Takes the network over: BatchNorm is folded and the parameters move to `device`. The input is
    random until `feed`.
    """

    def __init__(self, network: Layer, device: str, dtype: str, batch: int) -> None:
        self.dtype = to_dtype(dtype)
        fold_batchnorm(network)
        place(network, device, self.dtype)
        noise = np.random.default_rng(0).standard_normal((batch, *INPUT), np.float32)
        self.input = Tensor(noise, device=device).cast(self.dtype).contiguous().realize()
        # Products whose sizes are no multiples of a tile go on tensor cores too, padded.
        with Context(TC_OPT=2):
            self.engine = JitEngine(f"tinygrad {device}", device, lambda: network(self.input))

    def feed(self, pictures: np.ndarray) -> None:
        """Copy normalized pictures (batch or 1, 224, 224, 3) to the device; one fills the batch."""
        whole = np.array(np.broadcast_to(pictures, self.input.shape))
        self.input.assign(Tensor(whole, device=self.input.device).cast(self.dtype)).realize()

    def scores(self) -> np.ndarray:
        """The scores of the pictures fed, (batch, 1000) in float32."""
        return np.asarray(self.engine.step().float().numpy())
