"""Log probabilities in the forms of chat completions and of completions."""

from collections.abc import Sequence
from typing import Any

from orin_llm.server.answer import ShownToken
from orin_llm.text.tokenizer import Tokenizer

_LEAST = -9999.0  # OpenAI's; JSON has no infinity


def chat_logprobs(
    tokenizer: Tokenizer, tokens: Sequence[ShownToken], top: int
) -> dict[str, list[dict[str, Any]]]:
    """`top` alternatives a token; the bytes tell what half a character stands for."""

    def one(id: int, logprob: float | None) -> dict[str, Any]:
        content = tokenizer.token_bytes(id)
        return {
            "token": content.decode(errors="replace"),
            "logprob": _finite(logprob),
            "bytes": list(content),
        }

    return {
        "content": [
            {
                **one(shown.token.id, shown.token.logprob),
                "top_logprobs": [one(id, value) for id, value in shown.token.top[:top]],
            }
            for shown in tokens
        ]
    }


def completion_logprobs(
    tokenizer: Tokenizer, tokens: Sequence[ShownToken], top: int
) -> dict[str, list[Any]]:
    def text(id: int) -> str:
        return tokenizer.token_bytes(id).decode(errors="replace")

    return {
        "tokens": [text(shown.token.id) for shown in tokens],
        "token_logprobs": [_finite(shown.token.logprob) for shown in tokens],
        "top_logprobs": [
            {text(id): _finite(value) for id, value in shown.token.top[:top]} for shown in tokens
        ],
        "text_offset": [shown.start for shown in tokens],
    }


def _finite(logprob: float | None) -> float:
    return max(_LEAST, _LEAST if logprob is None else logprob)
