"""Layers for inference on NHWC activations, with torch.nn's parameter names and shapes.

Every convolution but a depthwise one is a matrix product over `kernel * kernel * channels`, because
that is the form tinygrad puts on tensor cores: one reduced axis and operands read straight from
memory. Channels are last so that this axis is contiguous in activations and weights alike.
"""

from collections.abc import Callable

from tinygrad import Tensor

from orin_nn.matmul import matmul

Layer = Callable[[Tensor], Tensor]


class Sequential(list[Layer]):
    """Layers applied in order; a parameter's name holds its index, as in torch.nn.Sequential."""

    __slots__ = ()  # without a __dict__, tinygrad's get_state_dict walks it as the list it is

    def __call__(self, x: Tensor) -> Tensor:
        return x.sequential(self)


# From so many values on, windows are gathered from a padded copy: where no load is masked, tinygrad
# loads and stores four channels at once. A smaller gather costs less than the copy's launch.
# ResNet-50 at batch 1 on an H200: always 1230, from 2^20 on 1513, never 1437 images/s.
PADDED_COPY = 1 << 20


class Conv2d:
    """Convolution of (N, H, W, in) to (N, OH, OW, out); the weight is (out, in / groups, k, k).

    `groups` is 1 or `in_channels` (depthwise, out = in), which is all these networks use.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel: int,
        stride: int = 1,
        padding: int = 0,
        groups: int = 1,
        bias: bool = False,
    ) -> None:
        self.kernel, self.stride, self.padding, self.groups = kernel, stride, padding, groups
        self.weight = Tensor.zeros(out_channels, in_channels // groups, kernel, kernel)
        self.bias = Tensor.zeros(out_channels) if bias else None
        # Of the latest call: multiply-accumulates, and values that were in memory at once. `place`
        # pads the channels, so count before it.
        self.macs = self.values = 0

    def __call__(self, x: Tensor) -> Tensor:
        self.values = 0
        y = self._matmul(x) if self.groups == 1 else self._depthwise(x)
        # The windows stand beside what they are gathered from, then beside the result.
        self.values += max(x.numel(), y.numel()) if self.values else x.numel() + y.numel()
        self.macs = y.numel() * self.weight.numel() // self.weight.shape[0]
        return y if self.bias is None else y + self.bias

    def _matmul(self, x: Tensor) -> Tensor:
        # A 1x1 convolution of stride 1 multiplies x as it lies; any other gathers its windows.
        if self.kernel > 1 or self.stride > 1:
            x = self._pad(x, self.weight.shape[1] - x.shape[3])
            windows = self._windows(x)
            self.values = windows.numel()
            if windows.numel() >= PADDED_COPY:
                windows = self._windows(x.contiguous())
            x = windows.contiguous()
        n, oh, ow = x.shape[:3]
        out = self.weight.shape[0]
        weight = self.weight.permute(0, 2, 3, 1).reshape(out, -1)
        return matmul(x.reshape(n * oh * ow, -1), weight).reshape(n, oh, ow, out)

    def _depthwise(self, x: Tensor) -> Tensor:
        windows = self._windows(self._pad(x))
        windows = windows.reshape(*windows.shape[:4], self.kernel, -1)
        taps = self.weight.permute(2, 3, 1, 0).reshape(self.kernel, self.kernel, -1)
        return (windows * taps).sum((3, 4))

    def _pad(self, x: Tensor, channels: int = 0) -> Tensor:
        return x.pad((None, (self.padding,) * 2, (self.padding,) * 2, (0, channels)))

    def _windows(self, x: Tensor) -> Tensor:
        """(N, H, W, C) to (N, OH, OW, k, k * C): what each output position sees.

        A window's row of k pixels is k * C neighbours in memory, so columns and channels are one
        axis.
        """
        c = x.shape[3]
        rows = x.flatten(2).unfold(1, self.kernel, self.stride)
        return rows.unfold(2, self.kernel * c, self.stride * c)


def conv_norm(
    in_channels: int,
    out: int,
    kernel: int,
    activation: Layer,
    stride: int = 1,
    groups: int = 1,
) -> Sequential:
    """A convolution that keeps the size (divided by `stride`), BatchNorm and `activation`."""
    conv = Conv2d(in_channels, out, kernel, stride, kernel // 2, groups)
    return Sequential([conv, BatchNorm2d(out), activation])


class Linear:
    """(N, in) to (N, out); the weight is (out, in)."""

    def __init__(self, in_features: int, out_features: int) -> None:
        self.weight = Tensor.zeros(out_features, in_features)
        self.bias = Tensor.zeros(out_features)
        self.macs = 0

    def __call__(self, x: Tensor) -> Tensor:
        self.macs = x.shape[0] * self.weight.numel()
        return matmul(x, self.weight) + self.bias


class BatchNorm2d:
    """Normalization of the last axis by running statistics: torch.nn.BatchNorm2d in eval mode."""

    eps = 1e-5

    def __init__(self, channels: int) -> None:
        self.weight, self.bias = Tensor.ones(channels), Tensor.zeros(channels)
        self.running_mean, self.running_var = Tensor.zeros(channels), Tensor.ones(channels)

    @property
    def scale(self) -> Tensor:
        return self.weight * (self.running_var + self.eps).rsqrt()

    def __call__(self, x: Tensor) -> Tensor:
        return (x - self.running_mean) * self.scale + self.bias


def max_pool(x: Tensor, kernel: int, stride: int, padding: int = 0) -> Tensor:
    """Maximum over windows of (N, H, W, C)."""
    pooled = x.permute(0, 3, 1, 2).max_pool2d((kernel, kernel), stride, padding=padding)
    # tinygrad's padding with -inf makes float16 float32, and all that follows miss tensor cores.
    return pooled.permute(0, 2, 3, 1).cast(x.dtype)


def global_average(x: Tensor) -> Tensor:
    """(N, H, W, C) to (N, C); contiguous, or tinygrad averages anew for every use of a mean."""
    return x.mean((1, 2)).contiguous()


def identity(x: Tensor) -> Tensor:
    return x
