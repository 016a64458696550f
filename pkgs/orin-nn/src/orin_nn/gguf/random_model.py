"""Models of random weights: the shape, size and speed of a real one, without one.

For "llama" a real file keeps the rows of attn_q and attn_k in an order of its own, the two halves
of each head interleaved; of random rows one order is as good as another.
"""

import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from gguf import GGUF_DEFAULT_ALIGNMENT, GGMLQuantizationType, GGUFWriter, LlamaFileType
from gguf.constants import GGML_QUANT_VERSION
from numpy.typing import NDArray

from orin_core.cli import UserError
from orin_nn.gguf.model import Model, TensorInfo, place, quantization
from orin_nn.gguf.shapes import Shape
from orin_nn.gguf.vocabulary import add_tokenizer
from orin_nn.gguf.weights import random_matrix

# The names of llama.cpp: its K-quants without a mixture end in S.
_FILE_TYPES = {
    "F32": LlamaFileType.ALL_F32,
    "F16": LlamaFileType.MOSTLY_F16,
    "BF16": LlamaFileType.MOSTLY_BF16,
    "Q8_0": LlamaFileType.MOSTLY_Q8_0,
    "Q4_0": LlamaFileType.MOSTLY_Q4_0,
    "Q4_K": LlamaFileType.MOSTLY_Q4_K_S,
    "Q5_K": LlamaFileType.MOSTLY_Q5_K_S,
    "Q6_K": LlamaFileType.MOSTLY_Q6_K,
}


def random_model(shape: Shape, quantized: str) -> Model:
    """The model that `write_random` would write: every matrix in the quantization `quantized`, the
    embedding too, every norm in float32. Raises UserError for a quantization not supported."""
    kind = quantization(quantized)
    stored = (
        (name, size, GGMLQuantizationType.F32 if len(size) == 1 else kind)
        for name, size in shape.tensors().items()
    )
    name = f"random weights, {shape.architecture} {shape.parameters / 1e9:.2f}B {kind.name}"
    return Model(name, shape, place(stored, GGUF_DEFAULT_ALIGNMENT))


def random_tensors(model: Model, seed: int = 0) -> Iterator[tuple[TensorInfo, NDArray[np.uint8]]]:
    """Every tensor of `model` with its bytes, in the file's order, one at a time."""
    for tensor in model.tensors.values():
        yield tensor, random_tensor(model, tensor, seed)


def random_tensor(model: Model, tensor: TensorInfo, seed: int = 0) -> NDArray[np.uint8]:
    """A tensor of `model` as the bytes (rows, bytes of a row) that its file holds. Equal seeds give
    equal weights."""
    generator = np.random.default_rng([seed, list(model.tensors).index(tensor.name)])
    if len(tensor.shape) > 1:
        return random_matrix(tensor.shape, tensor.quantization, generator)
    if tensor.name == "rope_freqs.weight":
        values = np.array(model.shape.rope_factors, "<f4")
    else:
        values = (1 + 0.1 * generator.standard_normal(tensor.shape)).astype("<f4")
    return values.view(np.uint8)[np.newaxis]


def write_random(path: Path, shape: Shape, quantized: str, seed: int = 0) -> None:
    """Write a GGUF file of random weights that llama.cpp and tinygrad.llm load as well, whole or
    not at all.

    Raises UserError for a quantization not supported, a disk without room, and a path that cannot
    be written.
    """
    model = random_model(shape, quantized)
    partial = path.with_name(path.name + ".new")
    try:
        free = shutil.disk_usage(path.parent).free
        if model.nbytes > free:
            raise UserError(
                f"{path}: needs {model.nbytes / 1e9:.1f} GB of disk, and {free / 1e9:.1f} GB are "
                "free: choose another folder"
            )
        _write(partial, model, seed)
        partial.replace(path)
    except OSError as error:
        raise UserError(f"{path}: cannot be written: {error.strerror or error}") from None
    finally:
        partial.unlink(missing_ok=True)


def _write(path: Path, model: Model, seed: int) -> None:
    shape = model.shape
    writer = GGUFWriter(path, shape.architecture)
    writer.add_name(model.name)
    writer.add_file_type(_FILE_TYPES[model.quantization])
    writer.add_quantization_version(GGML_QUANT_VERSION)
    writer.add_block_count(shape.blocks)
    writer.add_context_length(shape.context)
    writer.add_embedding_length(shape.dim)
    writer.add_feed_forward_length(shape.hidden_dim)
    writer.add_head_count(shape.heads)
    writer.add_head_count_kv(shape.kv_heads)
    writer.add_key_length(shape.head_dim)
    writer.add_value_length(shape.head_dim)
    writer.add_rope_dimension_count(shape.head_dim)
    writer.add_rope_freq_base(shape.rope_theta)
    writer.add_layer_norm_rms_eps(shape.norm_eps)
    writer.add_vocab_size(shape.vocab)
    add_tokenizer(writer, shape)
    for tensor in model.tensors.values():
        stored = (*tensor.shape[:-1], tensor.row_bytes)
        writer.add_tensor_info(
            tensor.name, stored, np.dtype(np.uint8), tensor.nbytes, tensor.quantization
        )
    try:
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_ti_data_to_file()
        for _, data in random_tensors(model, seed):
            writer.write_tensor_data(data)
    finally:
        writer.close()
