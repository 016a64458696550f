"""A language model in numpy and float32, from a GGUF file and nothing of ours: what the engine and
the server should answer."""

from pathlib import Path

import numpy as np
from gguf import GGUFReader
from gguf.quants import dequantize
from numpy.typing import NDArray

Floats = NDArray[np.float32]


class Reference:
    """LLaMA (arXiv:2407.21783) or Qwen3 (arXiv:2505.09388), every token computed from the start."""

    def __init__(self, path: Path) -> None:
        reader = GGUFReader(path)
        self.weights = {
            tensor.name.removesuffix(".weight"): dequantize(tensor.data, tensor.tensor_type)
            .astype(np.float32)
            .reshape(tuple(reversed(tensor.shape.tolist())))
            for tensor in reader.tensors
        }
        self.architecture = str(reader.fields["general.architecture"].contents())

        def value(name: str) -> float:
            return float(reader.fields[f"{self.architecture}.{name}"].contents())

        self.blocks, self.head_dim = int(value("block_count")), int(value("attention.key_length"))
        self.theta = value("rope.freq_base")
        self.eps = np.float32(value("attention.layer_norm_rms_epsilon"))

    def logits(self, tokens: list[int]) -> Floats:
        """(T, vocab) after each of `tokens`."""
        weights = self.weights
        h = weights["token_embd"][tokens]
        for block in range(self.blocks):
            h = h + self._attention(self._norm(h, f"blk.{block}.attn_norm"), f"blk.{block}.")
            x = self._norm(h, f"blk.{block}.ffn_norm")
            gate = x @ weights[f"blk.{block}.ffn_gate"].T
            up = x @ weights[f"blk.{block}.ffn_up"].T
            h = h + (gate / (1 + np.exp(-gate)) * up) @ weights[f"blk.{block}.ffn_down"].T
        answer: Floats = (
            self._norm(h, "output_norm") @ weights.get("output", weights["token_embd"]).T
        )
        return answer

    def continuation(self, prompt: list[int], count: int) -> list[int]:
        """The likeliest token, `count` times."""
        tokens = list(prompt)
        for _ in range(count):
            tokens.append(int(self.logits(tokens)[-1].argmax()))
        return tokens[len(prompt) :]

    def log_probabilities(self, tokens: list[int]) -> Floats:
        """(T, vocab): those of the token that follows each of `tokens`."""
        logits = self.logits(tokens)
        shifted = logits - logits.max(-1, keepdims=True)
        answer: Floats = shifted - np.log(np.exp(shifted).sum(-1, keepdims=True))
        return answer

    def _attention(self, x: Floats, prefix: str) -> Floats:
        count = len(x)
        q, k, v = (
            (x @ self.weights[f"{prefix}attn_{name}"].T).reshape(count, -1, self.head_dim)
            for name in "qkv"
        )
        if self.architecture == "qwen3":
            q = self._norm(q, f"{prefix}attn_q_norm")
            k = self._norm(k, f"{prefix}attn_k_norm")
        q, k = self._rotated(q), self._rotated(k)
        k, v = (np.repeat(part, q.shape[1] // part.shape[1], 1) for part in (k, v))
        scores = np.einsum("thd,shd->hts", q, k) / np.sqrt(np.float32(self.head_dim))
        scores = np.where(np.tri(count, dtype=bool), scores, -np.inf)
        chances = np.exp(scores - scores.max(-1, keepdims=True))
        chances /= chances.sum(-1, keepdims=True)
        out = np.einsum("hts,shd->thd", chances, v).reshape(count, -1)
        answer: Floats = out @ self.weights[f"{prefix}attn_output"].T
        return answer

    def _rotated(self, x: Floats) -> Floats:
        half = self.head_dim // 2
        frequencies = self.theta ** (-np.arange(half) / half)
        if "rope_freqs" in self.weights:
            frequencies = frequencies / self.weights["rope_freqs"]
        angles = np.outer(np.arange(len(x)), frequencies)[:, np.newaxis]
        cosine, sine = (f(angles).astype(np.float32) for f in (np.cos, np.sin))
        if self.architecture == "llama":  # neighbours turn together
            a, b = x[..., ::2], x[..., 1::2]
            turned = np.stack([a * cosine - b * sine, b * cosine + a * sine], -1)
            return turned.reshape(x.shape)
        a, b = x[..., :half], x[..., half:]
        return np.concatenate([a * cosine - b * sine, b * cosine + a * sine], -1)

    def _norm(self, x: Floats, name: str) -> Floats:
        scale = 1 / np.sqrt(np.square(x).mean(-1, keepdims=True) + self.eps)
        scaled: Floats = x * scale * self.weights[name]
        return scaled
