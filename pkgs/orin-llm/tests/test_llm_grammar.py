"""Whatever tokens a model chooses among those allowed, its answer follows the schema."""

import json
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import made_vocabularies as made
from orin_llm.text import grammar, schema_limits
from orin_llm.text.grammar import Grammars
from orin_llm.text.schema_limits import GrammarError
from orin_llm.text.tokenizer import Tokenizer
from random_answers import follow, walk

PERSON: dict[str, Any] = {
    "title": "Person",
    "description": "somebody",
    "type": "object",
    "properties": {
        "name": {"type": "string", "minLength": 1, "maxLength": 5},
        "age": {"type": "integer", "minimum": 0, "maximum": 150},
        "mood": {"enum": ["good", "bad", None]},
        "tags": {"type": "array", "items": {"type": "boolean"}, "maxItems": 3},
    },
    "required": ["name", "age", "mood", "tags"],
    "additionalProperties": False,
}
TREE: dict[str, Any] = {
    "type": "object",
    "properties": {
        "value": {"type": "integer"},
        "left": {"anyOf": [{"$ref": "#"}, {"type": "null"}]},
    },
    "required": ["value", "left"],
    "additionalProperties": False,
}


@pytest.fixture(scope="module", params=[made.tiny, made.byte_level, made.sentence_piece])
def tokenizer(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Tokenizer:
    path: Path = request.param(tmp_path_factory.mktemp("made") / "made.gguf")
    return Tokenizer.load(path)


@pytest.fixture(scope="module")
def grammars(tokenizer: Tokenizer) -> Grammars:
    return Grammars(tokenizer)


def answer(grammars: Grammars, tokenizer: Tokenizer, schema: dict[str, Any], seed: int) -> Any:
    text, ended = walk(grammars.json_schema(schema), tokenizer, seed)
    assert ended
    return json.loads(text)


@pytest.mark.parametrize("seed", range(5))
def test_random_answers_follow_a_schema(
    grammars: Grammars, tokenizer: Tokenizer, seed: int
) -> None:
    person = answer(grammars, tokenizer, PERSON, seed)
    assert list(person) == ["name", "age", "mood", "tags"]
    assert 1 <= len(person["name"]) <= 5
    assert type(person["age"]) is int
    assert 0 <= person["age"] <= 150
    assert person["mood"] in ("good", "bad", None)
    assert len(person["tags"]) <= 3
    assert all(isinstance(tag, bool) for tag in person["tags"])


def test_schemas_may_call_themselves(grammars: Grammars, tokenizer: Tokenizer) -> None:
    tree = answer(grammars, tokenizer, TREE, 1)
    while tree is not None:
        assert set(tree) == {"value", "left"}
        assert isinstance(tree["value"], int)
        tree = tree["left"]


@pytest.mark.parametrize("seed", range(3))
def test_any_object_is_an_object(grammars: Grammars, tokenizer: Tokenizer, seed: int) -> None:
    text, ended = walk(grammars.json_object(), tokenizer, seed)
    assert ended
    assert isinstance(json.loads(text), dict)


@pytest.mark.parametrize(
    ("schema", "good", "bad"),
    [
        ({"type": "string", "pattern": "^a+b$"}, '"aab"', '"aac"'),
        ({"type": "string", "format": "date"}, '"2024-02-28"', '"2024-13-01"'),
        ({"type": "number", "multipleOf": 0.5}, "1.5", "1.4"),
        ({"const": {"a": [1]}}, '{"a": [1]}', '{"a": [2]}'),
        ({"type": ["integer", "null"]}, "null", "nil"),
        ({"oneOf": [{"type": "integer"}, {"type": "string"}]}, '"x"', "[]"),
        ({"allOf": [{"minimum": 3}, {"type": "integer"}, {"maximum": 5}]}, "4", "6"),
        ({"type": "array", "prefixItems": [{"const": 1}], "items": False}, "[1]", "[1, 1]"),
        ({"$defs": {"a": {"const": 7}}, "$ref": "#/$defs/a"}, "7", "8"),
        ({"type": "object", "additionalProperties": {"const": 1}}, '{"q":1}', '{"q":2}'),
    ],
)
def test_keywords_mean_what_they_say(
    grammars: Grammars, tokenizer: Tokenizer, schema: dict[str, Any], good: str, bad: str
) -> None:
    assert follow(grammars.json_schema(schema), tokenizer, good) == (good, True)
    assert follow(grammars.json_schema(schema), tokenizer, bad) != (bad, True)


def test_stop_tokens_are_allowed_only_at_the_end(grammars: Grammars, tokenizer: Tokenizer) -> None:
    stops = sorted(tokenizer.stop_tokens)
    constraint = grammars.json_schema({"type": "integer"})
    assert not constraint.allowed()[stops].any()
    constraint.accept(tokenizer.encode("1", continues=True)[0])
    assert constraint.allowed()[stops].all()
    assert not constraint.finished  # more digits may come
    constraint.accept(stops[-1])
    assert constraint.finished
    constraint = grammars.json_schema({"const": True})
    assert follow(constraint, tokenizer, "true") == ("true", True)
    assert constraint.finished
    assert set(np.flatnonzero(constraint.allowed())) == set(stops)


def test_answers_do_not_disturb_each_other(grammars: Grammars, tokenizer: Tokenizer) -> None:
    first, second = grammars.json_object(), grammars.json_object()
    before = second.allowed().copy()
    assert follow(first, tokenizer, '{"a": 1}') == ('{"a": 1}', True)
    np.testing.assert_array_equal(second.allowed(), before)


def test_a_grammar_too_complex_on_the_way_ends_its_answer(
    tokenizer: Tokenizer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(grammar, "_MOST_ITEMS", 200)
    properties = {f"p{index}": {"type": "integer"} for index in range(100)}
    constraint = Grammars(tokenizer).json_schema({"type": "object", "properties": properties})
    assert constraint.failure is None
    walk(constraint, tokenizer, 0, longest=3)
    assert constraint.failure is not None
    assert constraint.failure.startswith("the schema cannot be followed any further: ")
    assert "\n" not in constraint.failure
    assert set(np.flatnonzero(constraint.allowed())) == tokenizer.stop_tokens
    constraint.accept(5)
    assert constraint.finished


def nested(kind: str, depth: int) -> dict[str, Any]:
    schema: dict[str, Any] = {"type": "integer"}
    for _ in range(depth):
        schema = {"type": kind, "items": schema, "properties": {"a": schema}}
        schema.pop("properties" if kind == "array" else "items")
    return schema


HOSTILE: list[tuple[Any, str]] = [
    ([], "a schema is an object, not list"),
    ({"type": "banana"}, "Invalid type: banana"),
    ({"type": 5}, "type must be"),
    ({"type": "object", "properties": [1]}, "properties must be an object"),
    ({"$ref": "https://example.com/a.json"}, "example.com"),
    ({"$ref": "file:///etc/passwd"}, "passwd"),
    ({"$ref": "#/$defs/none"}, "none"),
    ({"not": {"type": "string"}}, 'Unimplemented keys: ["not"]'),
    ({"type": "array", "uniqueItems": True}, "uniqueItems"),
    ({"type": "string", "format": "banana"}, "Unknown format"),
    ({"type": "string", "pattern": "("}, "unclosed group"),
    ({"type": "string", "pattern": "(?=a)b"}, "look-around"),
    ({"enum": []}, "nsatisfiable"),
    ({"type": "integer", "minimum": 2, "maximum": 1}, "nsatisfiable"),
    ({"type": "object", "properties": {"a": False}, "required": ["a"]}, "nsatisfiable"),
    ({"type": "string", "pattern": "^((a{1000}){1000}){1000}$"}, "repeats too much"),
    ({"type": "string", "pattern": "a{999999999999999999999}"}, "repeats too much"),
    ({"patternProperties": {"(a{300}){300}": {}}}, "repeats too much"),
    ({"anyOf": [{"multipleOf": 997 - step} for step in range(3)]}, "multipleOf"),
    ({"type": "integer", "multipleOf": 10**15}, "multipleOf"),
    ({"enum": ["x" * 99] * 1000}, "characters, more than"),
    ({"properties": {f"p{index}": {} for index in range(1001)}}, "more than 1000 keys"),
    (nested("array", 70), "nested more than"),
    (nested("object", 5000), "nested too deeply"),
    ({"const": float("nan")}, "no JSON"),
    ({"const": object()}, "no JSON"),
    ({"const": "\ud800"}, "hex escape"),
    ({"allOf": [{"pattern": "^(.*a.{25})$"}, {"pattern": "^(.*b.{26})$"}]}, "regex"),
]


@pytest.mark.parametrize(("schema", "words"), HOSTILE, ids=[words for _, words in HOSTILE])
def test_schemas_that_cannot_be_followed_are_refused_at_once(
    grammars: Grammars, schema: Any, words: str
) -> None:
    start = time.perf_counter()
    with pytest.raises(GrammarError) as caught:
        grammars.json_schema(schema)
    assert time.perf_counter() - start < 2
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) <= 300


@pytest.mark.parametrize(
    "schema",
    [
        {"type": "string", "minLength": 10**9},
        {"type": "array", "items": {"type": "integer"}, "minItems": 10**8},
        {
            "type": "string",
            "pattern": "^(([a-f]{1,4}:){7}|::|" + "[0-9]{1,3}" * 9 + ")$",
        },
        {"type": "string", "pattern": r"^[({\[\]})\\{3}]{1,64}\(x{2,}$"},
        {"type": "string", "pattern": "a{40000}"},
        {"type": "string", "pattern": "^(.*a.{25})$"},
        {"enum": [f"x{index}" for index in range(5000)]},
        {"type": "object", "properties": {f"p{index}": {} for index in range(1000)}},
        {"const": "a" * 60_000},
        nested("object", 30),
        {"type": "object", "properties": {"a": {"$ref": "#"}}, "required": ["a"]},
        {"type": "integer", "multipleOf": 10_000},
        {"type": "number", "multipleOf": 0.01},
        {"x-guidance": {"whitespace_pattern": "(a{1000}){1000}"}, "type": "object"},
        {},
    ],
)
def test_large_schemas_are_followed_in_time(
    grammars: Grammars, tokenizer: Tokenizer, schema: dict[str, Any]
) -> None:
    start = time.perf_counter()
    constraint = grammars.json_schema(schema)
    for _ in range(5):
        constraint.accept(int(np.flatnonzero(constraint.allowed())[0]))
        if constraint.finished:
            break
    assert time.perf_counter() - start < 5


@pytest.mark.parametrize(
    ("pattern", "fits"),
    [
        ("(a{200}){200}", True),
        ("((a{200}){20}){20}", False),
        ("(a{200}b{200}){200}", False),
        ("[(]{200}[)]{200}x{200}", True),
        (r"\({300}\){300}", True),
        ("(a{300}|b){300}", False),
        ("a{50001}", False),
        ("a{50000,}", True),
        ("x" * 50_001, False),
    ],
)
def test_repetitions_are_multiplied_where_they_are_nested(pattern: str, fits: bool) -> None:
    if fits:
        schema_limits.checked_json({"pattern": pattern})
    else:
        with pytest.raises(GrammarError):
            schema_limits.checked_json({"pattern": pattern})
