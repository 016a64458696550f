"""Stop strings and thoughts, however the text is cut."""

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from orin_llm.server.reasoning import ReasoningParser, begun_by
from orin_llm.server.stop import StopStrings

PIECES = st.lists(st.text("ab ", max_size=4))
STOPS = st.lists(st.text("ab ", min_size=1, max_size=4), min_size=1, max_size=3)


@given(PIECES, STOPS)
def test_text_ends_at_the_first_stop_string(pieces: list[str], stops: list[str]) -> None:
    parser, shown = StopStrings(stops), ""
    read = ""
    for piece in pieces:
        read += piece
        shown += parser.add(piece)
        assert parser.hit == any(stop in read for stop in stops)
        if parser.hit:
            break
    else:
        shown += parser.flush()
    cut = min((read.find(stop) for stop in stops if stop in read), default=len(read))
    if not parser.hit:
        assert shown == read
    else:
        # A stop string that began earlier, but was not complete yet, does not matter.
        assert shown == read[:cut]


@given(st.lists(st.integers(0, 40)), st.booleans())
def test_thoughts_however_they_are_cut(cuts: list[int], begun: bool) -> None:
    text = "\n a < b </ thin\n\n</think>\n\nanswer <think> "
    text = text if begun else "\n<think>" + text
    places = sorted({0, *cuts, len(text)})
    parser, thoughts, answer = ReasoningParser(begun), "", ""
    for start, end in pairwise(places):
        thought, said = parser.add(text[start:end])
        thoughts, answer = thoughts + thought, answer + said
    thought, said = parser.flush()
    assert thoughts + thought == "a < b </ thin"
    assert answer + said == "answer <think> "


@given(
    st.text("<think> a/", max_size=30).filter(lambda text: not text.strip().startswith("<think>"))
)
def test_an_answer_without_thoughts_stays_as_it_is(text: str) -> None:
    parser, answer = ReasoningParser(False), ""
    for letter in text:
        thoughts, said = parser.add(letter)
        assert thoughts == ""
        answer += said
    assert answer + parser.flush()[1] == text


def test_thoughts_that_never_end() -> None:
    parser = ReasoningParser(True)
    assert parser.add("hm </thi") == ("hm", "")
    assert parser.flush() == (" </thi", "")


def test_prompts_that_begin_the_thoughts() -> None:
    assert begun_by("<|im_start|>assistant\n<think>\n")
    assert not begun_by("<|im_start|>assistant\n<think>\n\n</think>\n\n")
