"""VGG-16 (Simonyan and Zisserman, 2014, arXiv:1409.1556), configuration D without BatchNorm."""

from tinygrad import Tensor

from orin_bench.cnn.layers import Conv2d, Linear, Sequential, identity, max_pool

STAGES = [[64] * 2, [128] * 2, [256] * 3, [512] * 3, [512] * 3]


class VGG16:
    def __init__(self) -> None:
        self.features = Sequential()
        channels = 3
        for stage in STAGES:
            for width in stage:
                self.features += [Conv2d(channels, width, 3, padding=1, bias=True), Tensor.relu]
                channels = width
            self.features.append(lambda x: max_pool(x, 2, 2))
        # Where training has dropout, inference has the identity; the names count it.
        self.classifier = Sequential()
        self.classifier += [Linear(channels * 7 * 7, 4096), Tensor.relu, identity]
        self.classifier += [Linear(4096, 4096), Tensor.relu, identity]
        self.classifier += [Linear(4096, 1000)]

    def __call__(self, x: Tensor) -> Tensor:
        # The first Linear's weight counts channels before rows and columns.
        return self.classifier(self.features(x).permute(0, 3, 1, 2).flatten(1).contiguous())
