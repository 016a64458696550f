"""EfficientNet-B0 (Tan and Le, 2019, arXiv:1905.11946)."""

from tinygrad import Tensor

from orin_bench.cnn.layers import (
    BatchNorm2d,
    Conv2d,
    Linear,
    Sequential,
    conv_norm,
    global_average,
    identity,
)

# Expansion, kernel, stride, channels and blocks of each stage: table 1 of the paper.
STAGES = [
    (1, 3, 1, 16, 1),
    (6, 3, 2, 24, 2),
    (6, 5, 2, 40, 2),
    (6, 3, 2, 80, 3),
    (6, 5, 1, 112, 3),
    (6, 5, 2, 192, 4),
    (6, 3, 1, 320, 1),
]


class SqueezeExcitation:
    """Scales each channel by a gate computed from all channels' means (arXiv:1709.01507)."""

    def __init__(self, channels: int, squeezed: int) -> None:
        self.fc1 = Conv2d(channels, squeezed, 1, bias=True)
        self.fc2 = Conv2d(squeezed, channels, 1, bias=True)

    def __call__(self, x: Tensor) -> Tensor:
        mean = global_average(x).reshape(x.shape[0], 1, 1, -1)
        return x * self.fc2(self.fc1(mean).silu()).sigmoid()


class MBConv:
    def __init__(
        self, in_channels: int, out: int, expansion: int, kernel: int, stride: int
    ) -> None:
        self.residual = stride == 1 and in_channels == out
        hidden = in_channels * expansion
        self.block = Sequential()
        if expansion > 1:
            self.block.append(conv_norm(in_channels, hidden, 1, Tensor.silu))
        self.block.append(conv_norm(hidden, hidden, kernel, Tensor.silu, stride, hidden))
        self.block.append(SqueezeExcitation(hidden, in_channels // 4))
        self.block.append(Sequential([Conv2d(hidden, out, 1), BatchNorm2d(out)]))

    def __call__(self, x: Tensor) -> Tensor:
        return x + self.block(x) if self.residual else self.block(x)


class EfficientNetB0:
    def __init__(self) -> None:
        channels = 32
        self.features = Sequential([conv_norm(3, channels, 3, Tensor.silu, 2)])
        for expansion, kernel, stride, out, blocks in STAGES:
            first = MBConv(channels, out, expansion, kernel, stride)
            rest = [MBConv(out, out, expansion, kernel, 1) for _ in range(blocks - 1)]
            self.features.append(Sequential([first, *rest]))
            channels = out
        self.features.append(conv_norm(channels, 1280, 1, Tensor.silu))
        self.classifier = Sequential([identity, Linear(1280, 1000)])  # identity: dropout's place

    def __call__(self, x: Tensor) -> Tensor:
        return self.classifier(global_average(self.features(x)))
