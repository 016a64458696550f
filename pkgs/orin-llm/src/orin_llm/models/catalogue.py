"""The models of catalogue.toml."""

import tomllib
from dataclasses import dataclass
from importlib.resources import files

from orin_llm.models.fit import STEP
from orin_llm.models.hub import RemoteFile, url_of
from orin_nn.gguf.header import ARCHITECTURES

# GB that the list leaves to the system, and to the rest of what a server computes.
RESERVE = 6
# Positions below which a model is of little use.
SHORTEST = 2048


@dataclass(frozen=True)
class Listed:
    """A model of the list. `context` is the positions that it was made for."""

    name: str
    repo: str
    file: str
    bytes: int
    sha256: str
    parameters: str
    licence: str
    architecture: str
    context: int
    blocks: int
    heads: int
    kv_heads: int
    head_dim: int

    @property
    def server(self) -> str:
        """Which of the servers here runs it."""
        return "llm-server" if self.architecture in ARCHITECTURES else "llama.cpp"

    def as_remote(self) -> RemoteFile:
        """The file as the list knows it."""
        url = url_of(self.repo, self.file, "main")
        return RemoteFile(self.repo, self.file, self.bytes, self.sha256, url)

    def fitting_context(self, memory: float) -> int:
        """Positions that fit `memory` GB beside the model and RESERVE, 0 where it is too large."""
        # Keys and values in float16, and in llm-server two copies of a step's scores in float32.
        position = self.blocks * 2 * self.kv_heads * self.head_dim * 2
        if self.server == "llm-server":
            position += STEP * 2 * self.heads * 4
        room = int((memory - RESERVE) * 1e9) - self.bytes
        positions = min(self.context, room // position)
        return positions if positions >= SHORTEST else 0


def catalogue() -> dict[str, Listed]:
    """The models by name, in the order of the file."""
    text = files("orin_llm.models").joinpath("catalogue.toml").read_text()
    return {entry["name"]: Listed(**entry) for entry in tomllib.loads(text)["model"]}
