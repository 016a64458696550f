"""What a reader of figures should know before believing them."""

from orin_llm.load.figures import Figures
from orin_llm.load.overhead import BUSY, LATE


def doubts(made: Figures, prompt: int | None, output: int) -> list[str]:
    """A line for each, with the remedy. `prompt` and `output` are the tokens asked for."""
    failures = [
        f"{number} x {kind}{': ' if made.details[kind] else ''}{made.details[kind]}"
        for kind, number in made.errors.items()
    ]
    if not made.requests:
        return failures
    return [*failures, *_count(made), *_length(made, prompt, output), *_client(made)]


def _count(made: Figures) -> list[str]:
    if made.uncounted:
        return ["answers came without usage; their chunks count as tokens"]
    if made.chunks > made.output_tokens:
        return [
            f"{made.chunks} chunks for the {made.output_tokens} tokens of its usage; it counts "
            "otherwise than it sends"
        ]
    # A token that ends the answer or half a letter may come without a chunk of its own.
    if 0 < made.chunks < 0.9 * made.output_tokens:
        return [
            f"{made.output_tokens / made.chunks:.1f} tokens a chunk; inter-token latency is "
            "between chunks, time per output token between tokens"
        ]
    return []


def _length(made: Figures, prompt: int | None, output: int) -> list[str]:
    found = []
    mean = made.prompt_tokens / made.requests
    if prompt and made.prompt_tokens and abs(mean - prompt) > max(4, 0.02 * prompt):
        found.append(f"prompts of {mean:.0f} tokens where {prompt} were asked for")
    if made.output_tokens < 0.98 * output * made.requests:
        found.append(
            f"answers shorter than the {output} tokens asked for; --ignore-eos makes servers that "
            "know it go on"
        )
    return found


def _client(made: Figures) -> list[str]:
    if made.overhead.busy > BUSY or made.overhead.lag > LATE:
        return [
            "the client itself was late (its columns say how much); give it a machine of its own"
        ]
    return []
