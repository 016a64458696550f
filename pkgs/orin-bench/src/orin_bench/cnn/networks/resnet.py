"""ResNet (He et al., 2015, arXiv:1512.03385), version 1.5: the stride is the 3x3 convolution's."""

from tinygrad import Tensor

from orin_bench.cnn.layers import BatchNorm2d, Conv2d, Linear, Sequential, global_average, max_pool


class BasicBlock:
    expansion = 1

    def __init__(self, in_channels: int, width: int, stride: int) -> None:
        self.conv1, self.bn1 = Conv2d(in_channels, width, 3, stride, 1), BatchNorm2d(width)
        self.conv2, self.bn2 = Conv2d(width, width, 3, 1, 1), BatchNorm2d(width)
        self.downsample = downsample(in_channels, width, stride)

    def __call__(self, x: Tensor) -> Tensor:
        y = self.bn1(self.conv1(x)).relu()
        y = self.bn2(self.conv2(y))
        return (y + self.downsample(x)).relu()


class Bottleneck:
    expansion = 4

    def __init__(self, in_channels: int, width: int, stride: int) -> None:
        out = width * self.expansion
        self.conv1, self.bn1 = Conv2d(in_channels, width, 1), BatchNorm2d(width)
        self.conv2, self.bn2 = Conv2d(width, width, 3, stride, 1), BatchNorm2d(width)
        self.conv3, self.bn3 = Conv2d(width, out, 1), BatchNorm2d(out)
        self.downsample = downsample(in_channels, out, stride)

    def __call__(self, x: Tensor) -> Tensor:
        y = self.bn1(self.conv1(x)).relu()
        y = self.bn2(self.conv2(y)).relu()
        y = self.bn3(self.conv3(y))
        return (y + self.downsample(x)).relu()


def downsample(in_channels: int, out: int, stride: int) -> Sequential:
    """The shortcut: the identity wherever the block keeps its input's shape."""
    if stride == 1 and in_channels == out:
        return Sequential()
    # Contiguous, or tinygrad computes it inside the kernel of the block's last convolution.
    return Sequential([Conv2d(in_channels, out, 1, stride), BatchNorm2d(out), Tensor.contiguous])


class ResNet:
    def __init__(self, block: type[BasicBlock] | type[Bottleneck], depths: list[int]) -> None:
        self.conv1, self.bn1 = Conv2d(3, 64, 7, 2, 3), BatchNorm2d(64)
        self.layer1 = stage(block, 64, 64, depths[0], 1)
        self.layer2 = stage(block, 64 * block.expansion, 128, depths[1], 2)
        self.layer3 = stage(block, 128 * block.expansion, 256, depths[2], 2)
        self.layer4 = stage(block, 256 * block.expansion, 512, depths[3], 2)
        self.fc = Linear(512 * block.expansion, 1000)

    def __call__(self, x: Tensor) -> Tensor:
        x = max_pool(self.bn1(self.conv1(x)).relu(), 3, 2, 1)
        x = self.layer4(self.layer3(self.layer2(self.layer1(x))))
        return self.fc(global_average(x))


def stage(
    block: type[BasicBlock] | type[Bottleneck], channels: int, width: int, depth: int, stride: int
) -> Sequential:
    rest = [block(width * block.expansion, width, 1) for _ in range(depth - 1)]
    return Sequential([block(channels, width, stride), *rest])


def resnet18() -> ResNet:
    return ResNet(BasicBlock, [2, 2, 2, 2])


def resnet50() -> ResNet:
    return ResNet(Bottleneck, [3, 4, 6, 3])
