"""Trained weights from a safetensors file."""

from pathlib import Path

from safetensors import SafetensorError, safe_open
from tinygrad import Tensor
from tinygrad.nn.state import get_state_dict

from orin_bench.cnn.layers import Layer
from orin_core.cli import UserError


def load_weights(network: Layer, path: Path) -> None:
    """Load torchvision's parameters from `path` into `network`, which must not be folded yet.

    Raises UserError if `path` is no safetensors file or holds another network's parameters.
    """
    parameters = get_state_dict(network)
    if path.exists() and not path.is_file():
        raise UserError(f"{path}: not a file; give a safetensors file")
    try:
        with safe_open(path, framework="numpy") as file:
            # BatchNorm's count of training batches has no use in inference.
            names = [n for n in file.keys() if not n.endswith(".num_batches_tracked")]  # noqa: SIM118
            shapes = {name: tuple(file.get_slice(name).get_shape()) for name in names}
            _check(path, shapes, {name: tensor.shape for name, tensor in parameters.items()})
            for name, tensor in parameters.items():
                if (kind := file.get_slice(name).get_dtype()) not in ("F16", "F32", "F64"):
                    raise UserError(f"{path}: {name} is {kind}: save the weights as float32")
                tensor.replace(Tensor(file.get_tensor(name)).float())
    except FileNotFoundError:
        raise UserError(f"{path}: no such weights file") from None
    except (SafetensorError, OSError) as error:
        raise UserError(f"{path}: not a readable safetensors file: {error}") from None


def _check(
    path: Path, found: dict[str, tuple[int, ...]], expected: dict[str, tuple[int, ...]]
) -> None:
    mismatches = [
        *(f"lacks {name}" for name in expected if name not in found),
        *(f"has {name} besides" for name in found if name not in expected),
        *(
            f"has {name} of shape {found[name]} instead of {expected[name]}"
            for name in expected
            if name in found and found[name] != expected[name]
        ),
    ]
    if mismatches:
        more = f" (and {len(mismatches) - 1} more)" if len(mismatches) > 1 else ""
        raise UserError(f"{path}: another network's weights: {mismatches[0]}{more}")
