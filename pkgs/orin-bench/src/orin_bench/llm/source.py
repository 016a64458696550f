"""The model that is measured: a GGUF file's, or one of the same shape with random weights."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from orin_core.cli import UserError
from orin_nn.gguf.header import Header, read_header
from orin_nn.gguf.model import Model, TensorInfo
from orin_nn.gguf.random_model import random_model, random_tensor
from orin_nn.gguf.shapes import Shape
from orin_nn.gguf.tensors import read_tensor

LONGEST_NAME = 40  # of a file's own name, which may be anything


@dataclass(frozen=True)
class Source:
    """A model, or its first blocks, whose tensors can be read; the whole one has `blocks`."""

    model: Model
    blocks: int

    @classmethod
    def open(cls, path: Path, architecture: str) -> Source:
        """The model in a GGUF file. Raises UserError for one that cannot be run, or of another
        architecture."""
        header = read_header(path)
        if header.shape.architecture != architecture:
            raise UserError(
                f"{path}: a {header.shape.architecture} model, and this benchmark is of "
                f"{architecture}: choose another file"
            )
        return cls(header, header.shape.blocks)

    @classmethod
    def random(cls, shape: Shape, quantization: str) -> Source:
        """Random weights. Raises UserError for a quantization that is not supported."""
        return cls(random_model(shape, quantization), shape.blocks)

    def first(self, blocks: int) -> Source:
        """The same model without its later blocks. Raises UserError for more than it has."""
        if blocks > self.blocks:
            raise UserError(f"--blocks {blocks}: {self.label} has {self.blocks}")
        shape = replace(self.model.shape, blocks=blocks)
        tensors = {name: self.model.tensors[name] for name in shape.tensors()}
        return Source(replace(self.model, shape=shape, tensors=tensors), self.blocks)

    @property
    def file(self) -> Path | None:
        return self.model.path if isinstance(self.model, Header) else None

    @property
    def is_whole(self) -> bool:
        return self.model.shape.blocks == self.blocks

    @property
    def label(self) -> str:
        """What a row says of it: that weights are random, and blocks are missing."""
        shape = replace(self.model.shape, blocks=self.blocks)
        if self.file:
            letters = (letter if letter.isprintable() else " " for letter in self.model.name)
            name = " ".join("".join(letters).split())[:LONGEST_NAME] or self.file.name
        else:
            name = f"random weights, {shape.architecture} {shape.parameters / 1e9:.2f}B"
        if self.is_whole:
            return name
        return f"{name}, {self.model.shape.blocks} of {self.blocks} blocks: not comparable"

    def read(self, tensor: TensorInfo) -> NDArray[np.uint8]:
        """The tensor's bytes as GGUF stores them, (rows, bytes of a row)."""
        if isinstance(self.model, Header):
            return read_tensor(self.model, tensor.name)
        return random_tensor(self.model, tensor)
