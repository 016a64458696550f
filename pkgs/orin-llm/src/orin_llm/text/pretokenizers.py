"""How byte-level BPE vocabularies split a text into words, by the names that llama.cpp gives them.

The patterns are those of llm_tokenizer_bpe in llama.cpp's src/llama-vocab.cpp, the names those of
llama_vocab::impl::load there. Each pattern splits what the one before it left.
"""

from dataclasses import dataclass

from tokenizers import Regex
from tokenizers.pre_tokenizers import ByteLevel, PreTokenizer, Sequence, Split

_CONTRACTIONS = r"(?:'[sS]|'[tT]|'[rR][eE]|'[vV][eE]|'[mM]|'[lL][lL]|'[dD])"
_SPACES = r"\s*[\r\n]+|\s+(?!\S)|\s+"
_GPT2 = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)"


def _words(numbers: str, *, letters: str = r"\p{L}", others: str = r"\s\p{L}\p{N}") -> str:
    """The pattern that began with GPT-4's tokenizer, of which models differ in few places."""
    return (
        rf"{_CONTRACTIONS}|[^\r\n\p{{L}}\p{{N}}]?{letters}+|{numbers}|"
        rf" ?[^{others}]+[\r\n]*|{_SPACES}"
    )


def _cased(ending: str, numbers: str) -> str:
    """As `_words`, but a word ends where small letters are followed by capitals."""
    upper, lower = r"[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]", r"[\p{Ll}\p{Lm}\p{Lo}\p{M}]"
    before = r"[^\r\n\p{L}\p{N}]?"
    return (
        rf"{before}{upper}*{lower}+{ending}|{before}{upper}+{lower}*{ending}|{numbers}|"
        rf" ?[^\s\p{{L}}\p{{N}}]+[\r\n/]*|{_SPACES}"
    )


@dataclass(frozen=True)
class Style:
    """How a vocabulary is meant to be used, where the file does not say so."""

    patterns: tuple[str, ...]
    ignore_merges: bool = False  # a word that is a token becomes that token
    begins: bool = False  # with the beginning-of-text token

    def pre_tokenizer(self) -> PreTokenizer:
        splits = [Split(Regex(pattern), "isolated") for pattern in self.patterns]
        return Sequence([*splits, ByteLevel(add_prefix_space=False, use_regex=False)])


_LLAMA3 = Style((_words(r"\p{N}{1,3}"),), ignore_merges=True, begins=True)
_QWEN2 = Style((_words(r"\p{N}"),))
_DIGITS = Style((r"\p{N}", _GPT2))
_PLAIN = Style((_GPT2,))
_GPT4O = Style((_cased(f"{_CONTRACTIONS}?", r"\p{N}{1,3}"),))
_DEEPSEEK3 = Style(
    (
        r"\p{N}{1,3}",
        "[\u4e00-\u9fa5\u3040-\u309f\u30a0-\u30ff]+",
        r"[!\"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+"
        r"|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+| ?[\p{P}\p{S}]+[\r\n]*|" + _SPACES,
    )
)

STYLES = {
    "default": Style((r"[\p{P}\$\+<=>\^~\|]+", _GPT2, r"\p{N}+", "[0-9][0-9][0-9]")),
    "gpt-2": _PLAIN,
    "phi-2": _PLAIN,
    "mpt": _PLAIN,
    "olmo": _PLAIN,
    "jais": _PLAIN,
    "trillion": _PLAIN,
    "exaone4": _PLAIN,
    "granite-docling": _PLAIN,
    "starcoder": _DIGITS,
    "refact": _DIGITS,
    "command-r": _DIGITS,
    "smollm": _DIGITS,
    "codeshell": _DIGITS,
    "exaone": _DIGITS,
    "minerva-7b": _DIGITS,
    "falcon": Style((r"[\p{P}\$\+<=>\^~\|`]+", _GPT2, "[0-9][0-9][0-9]")),
    "llama3": _LLAMA3,
    "llama-v3": _LLAMA3,
    "llama-bpe": _LLAMA3,
    "falcon3": _LLAMA3,
    "falcon-h1": _LLAMA3,
    "pixtral": _LLAMA3,
    "lfm2": _LLAMA3,
    "dbrx": Style(_LLAMA3.patterns),
    "smaug-bpe": Style(_LLAMA3.patterns),
    "chatglm-bpe": Style(_LLAMA3.patterns),
    "glm4": Style(_LLAMA3.patterns, ignore_merges=True),
    "qwen2": _QWEN2,
    "deepseek-r1-qwen": _QWEN2,
    "megrez": _QWEN2,
    "stablelm2": _QWEN2,
    "hunyuan": _QWEN2,
    "qwen35": Style((_words(r"\p{N}", letters=r"[\p{L}\p{M}]", others=r"\s\p{L}\p{M}\p{N}"),)),
    "tekken": Style((_cased("", r"\p{N}"),), ignore_merges=True, begins=True),
    "gpt-4o": _GPT4O,
    "llama4": _GPT4O,
    "kanana2": _GPT4O,
    "deepseek-coder": Style(
        (
            "[\r\n]",
            r"\s?\p{L}+",
            r"\s?\p{P}+",
            "[\u4e00-\u9fa5\u0800-\u4e00\uac00-\ud7ff]+",
            r"\p{N}",
        )
    ),
    "deepseek-v3": _DEEPSEEK3,
    "hunyuan-dense": _DEEPSEEK3,
}
