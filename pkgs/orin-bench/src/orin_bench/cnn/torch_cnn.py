"""torchvision's networks in PyTorch, to stand beside tinygrad's; see `torch_worker`."""

from functools import partial

from orin_bench.torch_worker import TorchStep, eager_and_graph
from orin_core.cli import UserError


def engines(network: str, dtype: str, batch: int) -> list[TorchStep]:
    """Random weights, channels last, cuDNN's own choice of algorithms; eager and as a CUDA graph.

    Raises UserError without a GPU that PyTorch can use, ImportError without torchvision.
    """
    import torch
    import torchvision

    if not torch.cuda.is_available():
        raise UserError("--versus torch: this PyTorch finds no CUDA device")
    torch.backends.cudnn.benchmark = True
    torch.backends.cudnn.allow_tf32 = False  # float32 is float32, as in tinygrad
    layout = {"dtype": getattr(torch, dtype), "memory_format": torch.channels_last}
    model = getattr(torchvision.models, network)(weights=None).eval().to("cuda", **layout)
    pictures = torch.randn(batch, 3, 224, 224).to("cuda", **layout)
    return eager_and_graph(partial(model, pictures))
