"""A tokenizer made up to go with random weights: any text has tokens, but none that mean words."""

from gguf import GGUFWriter, TokenType

from orin_nn.gguf.shapes import Shape
from orin_nn.gguf.templates import CHAT_TEMPLATES

# By architecture how text is split into words, whether texts begin with a token of their own, and
# the control tokens: that token is the first, and the last ends an answer.
_STYLES = {
    "llama": (
        "llama-bpe",
        True,
        ("<|begin_of_text|>", "<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>"),
    ),
    "qwen3": ("qwen2", False, ("<|endoftext|>", "<|im_start|>", "<|im_end|>")),
}


def add_tokenizer(writer: GGUFWriter, shape: Shape) -> None:
    """Give the file a byte-level BPE tokenizer of `shape.vocab` tokens: the 256 bytes, numbered
    tokens, and at the end the control tokens; and a chat template that uses them."""
    style, begins, controls = _STYLES[shape.architecture]
    numbered = [f"t{index}" for index in range(256, shape.vocab - len(controls))]
    tokens = [*map(_letter, range(256)), *numbered, *controls]
    kinds = [TokenType.NORMAL] * (shape.vocab - len(controls)) + [TokenType.CONTROL] * len(controls)
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre(style)
    writer.add_token_list(tokens)
    writer.add_token_types(kinds)
    # llama.cpp wants merges: these lead from bytes to the first numbered token.
    writer.add_token_merges(["2 5", "25 6", "t 256"])
    writer.add_bos_token_id(shape.vocab - len(controls))
    writer.add_eos_token_id(shape.vocab - 1)
    writer.add_add_bos_token(begins)
    writer.add_chat_template(CHAT_TEMPLATES[shape.architecture])


def _letter(byte: int) -> str:
    """The character that stands for a byte in byte-level BPE, as in GPT-2's bytes_to_unicode."""
    printable = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    if byte in printable:
        return chr(byte)
    return chr(256 + [other for other in range(256) if other not in printable].index(byte))
