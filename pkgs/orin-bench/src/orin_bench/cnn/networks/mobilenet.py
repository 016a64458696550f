"""MobileNetV2 (Sandler et al., 2018, arXiv:1801.04381), width 1.0."""

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

# Expansion, channels, blocks and stride of each stage: table 2 of the paper.
STAGES = [
    (1, 16, 1, 1),
    (6, 24, 2, 2),
    (6, 32, 3, 2),
    (6, 64, 4, 2),
    (6, 96, 3, 1),
    (6, 160, 3, 2),
    (6, 320, 1, 1),
]


class InvertedResidual:
    def __init__(self, in_channels: int, out: int, expansion: int, stride: int) -> None:
        self.residual = stride == 1 and in_channels == out
        hidden = in_channels * expansion
        self.conv = Sequential()
        if expansion > 1:
            self.conv.append(conv_norm(in_channels, hidden, 1, Tensor.relu6))
        self.conv.append(conv_norm(hidden, hidden, 3, Tensor.relu6, stride, hidden))
        self.conv += [Conv2d(hidden, out, 1), BatchNorm2d(out)]

    def __call__(self, x: Tensor) -> Tensor:
        return x + self.conv(x) if self.residual else self.conv(x)


class MobileNetV2:
    def __init__(self) -> None:
        channels = 32
        self.features = Sequential([conv_norm(3, channels, 3, Tensor.relu6, 2)])
        for expansion, out, blocks, stride in STAGES:
            for index in range(blocks):
                stride = stride if index == 0 else 1
                self.features.append(InvertedResidual(channels, out, expansion, stride))
                channels = out
        self.features.append(conv_norm(channels, 1280, 1, Tensor.relu6))
        self.classifier = Sequential([identity, Linear(1280, 1000)])  # identity: dropout's place

    def __call__(self, x: Tensor) -> Tensor:
        return self.classifier(global_average(self.features(x)))
