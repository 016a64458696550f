"""One network made ready on one device, and what that cost."""

import time

import numpy as np
from tinygrad import Device, Tensor, TinyJit
from tinygrad.dtype import to_dtype
from tinygrad.helpers import Context, GlobalCounters

from orin_bench.cnn.layers import Layer
from orin_bench.cnn.network import INPUT, fold_batchnorm, place


class Inference:
    """A network jitted for pictures in batches of a fixed size.

    Takes the network over: BatchNorm is folded and the parameters move to `device`. The input is
    random until `feed`. `compile_seconds` is what the first two calls took, which compile the
    kernels and capture the graph; `memory` is what weights, activations and input occupy on the
    device, in bytes.
    """

    def __init__(self, network: Layer, device: str, dtype: str, batch: int) -> None:
        self.device, self.dtype = device, to_dtype(dtype)
        before = GlobalCounters.mem_used_per_device[device]
        fold_batchnorm(network)
        place(network, device, self.dtype)
        noise = np.random.default_rng(0).standard_normal((batch, *INPUT), np.float32)
        self.input = Tensor(noise, device=device).cast(self.dtype).contiguous().realize()
        self.jit = TinyJit(lambda x: network(x).realize())
        start = time.perf_counter()
        # Products whose sizes are no multiples of a tile go on tensor cores too, padded.
        with Context(TC_OPT=2):
            for _ in range(2):
                self.jit(self.input)
                self.synchronize()
        self.compile_seconds = time.perf_counter() - start
        # The first step's buffers, which the captured graph does not use.
        Device[device].allocator.free_cache()
        self.memory = GlobalCounters.mem_used_per_device[device] - before

    def feed(self, pictures: np.ndarray) -> None:
        """Copy normalized pictures (batch or 1, 224, 224, 3) to the device; one fills the batch."""
        filled = Tensor(np.array(np.broadcast_to(pictures, self.input.shape)), device=self.device)
        self.input.assign(filled.cast(self.dtype)).realize()

    def step(self) -> Tensor:
        """Compute the scores of the pictures fed, (batch, 1000), without waiting for them."""
        return self.jit(self.input)

    def scores(self) -> np.ndarray:
        """The scores of the pictures fed, (batch, 1000) in float32."""
        return np.asarray(self.step().float().numpy())

    def synchronize(self) -> None:
        Device[self.device].synchronize()
