"""The networks bench-cnn runs, with torchvision's parameter names.

Each takes (N, 224, 224, 3) normalized pictures and gives (N, 1000) ImageNet scores.
"""

from collections.abc import Callable

from orin_bench.cnn.layers import Layer
from orin_bench.cnn.networks.efficientnet import EfficientNetB0
from orin_bench.cnn.networks.mobilenet import MobileNetV2
from orin_bench.cnn.networks.resnet import resnet18, resnet50
from orin_bench.cnn.networks.vgg import VGG16

NETWORKS: dict[str, Callable[[], Layer]] = {
    "resnet18": resnet18,
    "resnet50": resnet50,
    "mobilenet_v2": MobileNetV2,
    "efficientnet_b0": EfficientNetB0,
    "vgg16": VGG16,
}
