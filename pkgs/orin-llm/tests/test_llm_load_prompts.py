"""Prompts are as long as wanted by the server's count, different, and the same with one seed."""

import asyncio
import random
from itertools import islice
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from orin_core.cli import UserError
from orin_llm.load.prompts import PROBES, WORDS, Recipe, calibrate, random_prompts, read_prompts


def calibrated(tokens: int, shared: int, a_word: float, template: int) -> tuple[Recipe, list[str]]:
    probes: list[str] = []

    async def count(text: str) -> int:
        probes.append(text)
        return template + round(a_word * len(text.split()))

    return asyncio.run(calibrate(count, tokens, shared, random.Random(1))), probes


@settings(max_examples=50, deadline=None)
@given(st.integers(32, 8000), st.sampled_from([1.0, 1.3, 2.0, 5.0]), st.integers(0, 40))
def test_few_probes_find_the_length(tokens: int, a_word: float, template: int) -> None:
    if tokens < template + a_word:
        return
    recipe, probes = calibrated(tokens, 0, a_word, template)
    assert abs(template + a_word * recipe.words - tokens) <= max(0.01 * tokens, a_word)
    assert len(probes) <= PROBES
    assert max(len(probe.split()) for probe in probes) <= max(9, 1.02 * tokens / a_word + 1)


def test_a_prompt_shorter_than_the_template_is_refused() -> None:
    with pytest.raises(UserError, match=r"--prompt-tokens 5: the shortest prompt here has 31"):
        calibrated(5, 0, 1.0, 30)


def test_all_words_are_alike() -> None:
    assert {len(word) for word in WORDS} == {4}
    assert len(set(WORDS)) == len(WORDS)


def test_no_two_prompts_begin_alike() -> None:
    prompts = list(islice(random_prompts(Recipe(100, 0), "3"), 200))
    assert {len(prompt.split()) for prompt in prompts} == {100}
    assert len({tuple(prompt.split()[:5]) for prompt in prompts}) == 200
    assert prompts == list(islice(random_prompts(Recipe(100, 0), "3"), 200))
    assert prompts[0] != next(random_prompts(Recipe(100, 0), "4"))


def test_a_shared_prefix_is_shared_and_no_more() -> None:
    recipe, _ = calibrated(500, 300, 2.0, 10)
    assert recipe.shared == 150
    prompts = [prompt.split() for prompt in islice(random_prompts(recipe, "3"), 50)]
    assert len({tuple(prompt[:150]) for prompt in prompts}) == 1
    assert len({tuple(prompt[150:154]) for prompt in prompts}) == 50
    assert {len(prompt) for prompt in prompts} == {recipe.words}


def test_prompts_from_a_file(tmp_path: Path) -> None:
    file = tmp_path / "p.jsonl"
    file.write_text('{"prompt": "one"}\n\n{"messages": [{"role": "system", "content": "two"}]}\n')
    assert read_prompts(file, "chat") == [
        {"messages": [{"role": "user", "content": "one"}]},
        {"messages": [{"role": "system", "content": "two"}]},
    ]
    with pytest.raises(UserError, match="line 3 has messages, which are for --endpoint chat"):
        read_prompts(file, "completions")


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "has no line"),
        (b"hello\n", "line 1 is not"),
        (b'{"prompt": 3}\n', "line 1 is not"),
        (b"[1]\n", "line 1 is not"),
        (b"\xff\n", "no UTF-8"),
        (None, "No such file"),
    ],
)
def test_a_file_without_prompts_is_refused(
    tmp_path: Path, content: bytes | None, said: str
) -> None:
    file = tmp_path / "p.jsonl"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(UserError, match=said) as caught:
        read_prompts(file, "chat")
    assert str(file) in str(caught.value)
