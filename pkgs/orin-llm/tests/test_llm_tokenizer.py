"""Text becomes tokens by the rules of llama.cpp, comes back unharmed, and bad files are refused."""

import random
import time
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from gguf import GGUFReader
from hypothesis import given
from hypothesis import strategies as st

import made_vocabularies as made
from orin_core.cli import UserError
from orin_llm.text.pretokenizers import STYLES
from orin_llm.text.tokenizer import Decoder, Tokenizer
from orin_nn.gguf.parse import parse

MAKERS: dict[str, Callable[[Path], Path]] = {
    "tiny": made.tiny,
    "byte level": made.byte_level,
    "sentence piece": made.sentence_piece,
}
LOADED: dict[str, Tokenizer] = {}
SIZE = len(made.trained()[0]) + 6


@pytest.fixture(scope="module", autouse=True)
def tokenizers(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Tokenizer]:
    folder = tmp_path_factory.mktemp("vocabularies")
    LOADED.update({name: Tokenizer.load(make(folder / name)) for name, make in MAKERS.items()})
    return LOADED


def refusal(path: Path) -> str:
    with pytest.raises(UserError) as caught:
        Tokenizer.load(path)
    text = str(caught.value)
    assert text.startswith(f"{path}: ")
    assert "\n" not in text
    return text.removeprefix(f"{path}: ")


# As llama.cpp splits it; a bar stands between words.
@pytest.mark.parametrize(
    ("style", "words"),
    [
        (
            "llama-bpe",
            "It|'S| I|'ll| | |3| x|123|45| don|'t|\n\n| |\tfooBar| café|-中文a|1| ",
        ),
        (
            "qwen2",
            "It|'S| I|'ll| | |3| x|1|2|3|4|5| don|'t|\n\n| |\tfooBar| café|-中文a|1| ",
        ),
        ("gpt-2", "It|'|S| I|'ll| | 3| x|12345| don|'t|\n\n |\t|fooBar| café|-|中文a|1| "),
        (
            "smollm",
            "It|'|S| I|'ll|  |3| x|1|2|3|4|5| don|'t|\n\n |\t|fooBar| café|-|中文a|1| ",
        ),
        (
            "default",
            "It|'|S| I|'|ll| | |3| x|123|45| don|'|t|\n\n |\t|fooBar| café|-|中文a|1| ",
        ),
        (
            "tekken",
            "It|'S| I|'ll| | |3| x|1|2|3|4|5| don|'t|\n\n| |\tfoo|Bar| café|-中文a|1| ",
        ),
        ("gpt-4o", "It'S| I'll| | |3| x|123|45| don't|\n\n| |\tfoo|Bar| café|-中文a|1| "),
        (
            "deepseek-v3",
            "It|'S| I|'ll|  |3| x|123|45| don|'t|\n\n| |\tfooBar| café|-|中文|a|1| ",
        ),
    ],
)
def test_words_are_split_as_the_style_says(style: str, words: str) -> None:
    text = words.replace("|", "")
    found = STYLES[style].pre_tokenizer().pre_tokenize_str(text)
    assert [text[start:end] for _, (start, end) in found] == words.split("|")


def merged(word: list[str], ranks: dict[tuple[str, str], int]) -> list[str]:
    """BPE as its paper has it: the best pair first, again and again."""
    while pairs := [pair for pair in pairwise(word) if pair in ranks]:
        best = min(pairs, key=ranks.__getitem__)
        at = list(pairwise(word)).index(best)
        word = [*word[:at], word[at] + word[at + 1], *word[at + 2 :]]
    return word


@given(st.text('kalomiternd{}": 019é中\n', max_size=60))
def test_byte_level_words_are_merged_by_rank(text: str) -> None:
    tokens, merges = made.trained()
    ids, ranks = {token: index for index, token in enumerate(tokens)}, {}
    for rank, merge in enumerate(merges):
        ranks[merge] = rank
    words = STYLES["qwen2"].pre_tokenizer().pre_tokenize_str(text)
    expected = [ids[piece] for word, _ in words for piece in merged(list(word), ranks)]
    assert LOADED["byte level"].encode(text) == expected


@given(st.text("abcdeft é中ß", max_size=40))
def test_sentence_pieces_are_merged_by_score(text: str) -> None:
    tokenizer = LOADED["sentence piece"]
    pieces = {tokenizer.token_bytes(token).decode(): token for token in range(259, tokenizer.vocab)}
    word = list(" " + text) if text else []
    while True:
        joined = [left + right for left, right in pairwise(word)]
        known = [piece for piece in joined if piece in pieces]
        if not known:
            break
        at = joined.index(min(known, key=pieces.__getitem__))
        word = [*word[:at], joined[at], *word[at + 2 :]]
    expected = []
    for piece in word:
        single = [3 + byte for byte in piece.encode()]
        expected += [pieces[piece]] if piece in pieces else single
    assert tokenizer.encode(text) == expected


@pytest.mark.parametrize("name", MAKERS)
@given(text=st.text())
def test_every_text_comes_back(name: str, text: str) -> None:
    tokenizer = LOADED[name]
    tokens = tokenizer.encode(text)
    assert not tokenizer.controls.intersection(tokens)
    if name == "sentence piece":  # knows no U+2581 but the space
        text = text.replace("\u2581", " ")
    assert tokenizer.decode(tokens) == text


def test_half_a_surrogate_pair_is_replaced() -> None:
    for tokenizer in LOADED.values():
        assert tokenizer.decode(tokenizer.encode("a\ud83db")) == "a\ufffdb"


def test_control_tokens_are_plain_text_unless_they_are_meant() -> None:
    tokenizer = LOADED["byte level"]
    text = "<|im_start|>user\nhi<|im_end|>"
    first, last = (len(made.trained()[0]) + index for index in (1, 2))
    tokens = tokenizer.encode(text, special=True)
    assert (tokens[0], tokens[-1]) == (first, last)
    assert tokenizer.decode(tokens) == "user\nhi"
    assert not {first, last}.intersection(tokenizer.encode(text))
    assert tokenizer.decode(tokenizer.encode(text)) == text


def test_added_tokens_are_whole_and_shown() -> None:
    tokenizer = LOADED["byte level"]
    tokens = tokenizer.encode("<tool_call>")
    assert len(tokens) == 1
    assert tokenizer.decode(tokens) == "<tool_call>"


def test_tokens_of_calls_are_shown_even_where_the_file_calls_them_control(tmp_path: Path) -> None:
    kinds = [1] * len(made.trained()[0]) + [3] * 6
    tokenizer = Tokenizer.load(made.byte_level(tmp_path / "made.gguf", token_type=kinds))
    assert tokenizer.decode(tokenizer.encode("<tool_call>", special=True)) == "<tool_call>"


def test_the_beginning_is_there_once(tmp_path: Path) -> None:
    tokenizer = LOADED["tiny"]
    assert tokenizer.bos == 508
    assert tokenizer.encode("a", begin=True)[0] == 508
    text = "<|begin_of_text|>a"
    assert tokenizer.encode(text, special=True, begin=True).count(508) == 1
    assert 508 not in tokenizer.encode("a")
    without = Tokenizer.load(made.byte_level(tmp_path / "made.gguf"))
    assert without.encode("", begin=True) == []
    wanted = Tokenizer.load(made.byte_level(tmp_path / "made.gguf", add_bos_token=True))
    assert wanted.encode("", begin=True) == [wanted.bos]


def test_turns_end_at_known_tokens_and_those_the_file_names(tmp_path: Path) -> None:
    size = len(made.trained()[0])
    assert LOADED["tiny"].stop_tokens == {511}
    assert LOADED["byte level"].stop_tokens == {size + 2, size + 3}
    assert LOADED["sentence piece"].stop_tokens == {2}
    named = made.byte_level(tmp_path / "made.gguf", eot_token_id=size, eos_token_id=None)
    tokenizer = Tokenizer.load(named)
    assert tokenizer.stop_tokens == {size, size + 2, size + 3}
    assert tokenizer.stop_tokens <= tokenizer.controls


@pytest.mark.parametrize("name", MAKERS)
@given(data=st.data())
def test_a_decoder_shows_what_is_certain_and_no_more(name: str, data: st.DataObject) -> None:
    tokenizer = LOADED[name]
    tokens = data.draw(st.lists(st.integers(0, tokenizer.vocab - 1), max_size=30))
    whole = b"".join(map(tokenizer.token_bytes, tokens))
    decoder, text = Decoder(tokenizer), ""
    for count, token in enumerate(tokens, 1):
        text += decoder.add(token)
        so_far = b"".join(map(tokenizer.token_bytes, tokens[:count])).decode(errors="replace")
        assert so_far.startswith(text)
        assert len(so_far) - len(text) <= 3  # bytes of a character that is not complete
    assert text + decoder.flush() == whole.decode(errors="replace")


def test_long_texts_take_linear_time() -> None:
    generator = random.Random(0)
    for tokenizer in LOADED.values():
        texts = ("a" * 100_000, " " * 100_000, "\n " * 50_000, "é<|" * 30_000)
        for text in (*texts, "".join(generator.choices("ab \n1{}é", k=100_000))):
            start = time.perf_counter()
            tokens = tokenizer.encode(text, special=True)
            assert time.perf_counter() - start < 2
            decoder, start = Decoder(tokenizer), time.perf_counter()
            shown = "".join(map(decoder.add, tokens)) + decoder.flush()
            assert time.perf_counter() - start < 2
            assert shown.endswith(text)
            assert tokenizer.decode(tokens) == text


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"model": "bert"}, "tokenizer.ggml.model is 'bert', only gpt2 and llama"),
        ({"model": None}, "tokenizer.ggml.model is None"),
        ({"model": 5}, "tokenizer.ggml.model is 5"),
        ({"pre": "kimi-k2"}, "tokenizer.ggml.pre is 'kimi-k2', a way to split words"),
        ({"pre": 7}, "tokenizer.ggml.pre is 7"),
        ({"tokens": None}, "tokenizer.ggml.tokens is missing"),
        ({"tokens": "a"}, "tokenizer.ggml.tokens is missing"),
        ({"tokens": [1, 2]}, "tokenizer.ggml.tokens is missing or no list of texts"),
        ({"tokens": ["a", "b"]}, "tokenizer.ggml.token_type is not one number for each of 2"),
        ({"tokens": made.LETTERS, "token_type": None}, "tokenizer.ggml.bos_token_id is"),
        ({"token_type": [99]}, "tokenizer.ggml.token_type is not one number"),
        ({"token_type": ["x"]}, "tokenizer.ggml.token_type is not one number"),
        ({"token_type": [7] * SIZE}, "tokenizer.ggml.token_type has 7 for token 0"),
        ({"token_type": [3] * SIZE}, "tokenizer.ggml.tokens has none for the byte 0x09"),
        ({"merges": None}, "tokenizer.ggml.merges is missing"),
        ({"merges": ["ab"]}, "tokenizer.ggml.merges has 'ab' at 0"),
        ({"merges": [" a"]}, "tokenizer.ggml.merges has ' a' at 0"),
        ({"merges": ["a b c"]}, "tokenizer.ggml.merges has 'a b c' at 0"),
        (
            {"bos_token_id": 1 << 30},
            f"bos_token_id is 1073741824, not one of {SIZE}",
        ),
        ({"eos_token_id": "x"}, "tokenizer.ggml.eos_token_id is 'x'"),
        ({"eot_token_id": True}, "tokenizer.ggml.eot_token_id is True"),
        ({"add_bos_token": 1}, "tokenizer.ggml.add_bos_token is 1 instead of true or false"),
    ],
)
def test_damaged_metadata_are_refused(changes: dict[str, Any], words: str, tmp_path: Path) -> None:
    assert words in refusal(made.byte_level(tmp_path / "made.gguf", **changes))


def test_twins_and_wrong_scores_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "made.gguf"
    tokens = [*made.trained()[0], *"1234", "Ġ1", "Ġ1"]
    assert "twice" in refusal(made.byte_level(path, tokens=tokens))
    assert "scores is not one number" in refusal(made.sentence_piece(path, scores=[1.0]))
    nan = [float("nan")] * 659
    assert "scores has some that are no numbers" in refusal(made.sentence_piece(path, scores=nan))
    assert "none for the byte" in refusal(made.sentence_piece(path, token_type=[1] * 659))
    path.write_bytes(b"GGUF")
    refusal(path)
    refusal(tmp_path / "none.gguf")


@pytest.mark.parametrize("make", [made.tiny, made.sentence_piece])
def test_no_damaged_byte_does_more_than_refuse(
    make: Callable[[Path], Path], tmp_path: Path
) -> None:
    path = make(tmp_path / "made.gguf")
    good, generator = path.read_bytes(), random.Random(3)
    outcomes = set()
    for _ in range(150):
        data = bytearray(good)
        for _ in range(generator.randint(1, 4)):
            data[generator.randrange(4, len(data))] = generator.randrange(256)
        path.write_bytes(data[: generator.choice([len(data), generator.randrange(len(data))])])
        try:
            tokenizer = Tokenizer.load(path)
        except UserError:
            outcomes.add("refused")
        else:
            outcomes.add("loaded")
            text = "Hello, world 123 é"
            assert tokenizer.decode(tokenizer.encode(text, special=True)).strip()
    assert outcomes == {"refused", "loaded"}


def test_arrays_are_read_as_gguf_reads_them(tmp_path: Path) -> None:
    path = made.sentence_piece(tmp_path / "made.gguf")
    names = [f"tokenizer.ggml.{name}" for name in ("tokens", "token_type", "scores", "merges")]
    arrays, reader = parse(path, names).arrays, GGUFReader(path)
    assert set(arrays) == set(names[:3])
    for name, array in arrays.items():
        np.testing.assert_array_equal(array, reader.fields[name].contents())
    assert not parse(path).arrays
