"""The tensors of a GGUF file, as they are stored and as numbers."""

import numpy as np
from gguf.quants import dequantize as _dequantize
from numpy.typing import NDArray

from orin_nn.gguf.header import Header


def read_tensor(header: Header, name: str) -> NDArray[np.uint8]:
    """The bytes of a tensor, (rows, bytes of a row), mapped from the file and read when used."""
    tensor = header.tensors[name]
    shape = tensor.nbytes // tensor.row_bytes, tensor.row_bytes
    mapped = np.memmap(header.path, np.uint8, "r", header.start + tensor.offset, shape)
    return np.asarray(mapped)  # tinygrad takes no other class of arrays


def dequantize(header: Header, name: str) -> NDArray[np.float32]:
    """The numbers of a tensor in float32, by gguf's reference of every format."""
    tensor = header.tensors[name]
    data = np.ascontiguousarray(read_tensor(header, name))
    return _dequantize(data, tensor.quantization).astype(np.float32).reshape(tensor.shape)
