"""Random answers under a schema are valid by an independent validator, not by our reading of it."""

import json
import random
from typing import Any

import jsonschema_rs
import numpy as np
import pytest

from orin_llm.text.grammar import Grammars
from orin_llm.text.tokenizer import Tokenizer
from orin_nn.gguf.random_model import write_random
from orin_nn.gguf.shapes import TINY_QWEN3

SCHEMAS: dict[str, dict[str, Any]] = {
    "event": {
        "type": "object",
        "properties": {
            "name": {"type": "string", "minLength": 2, "maxLength": 6},
            "date": {"type": "string", "format": "date"},
            "seats": {"type": "integer", "exclusiveMinimum": 0, "maximum": 500},
            "price": {"type": "number", "minimum": -1.5, "maximum": 99.25},
            "kind": {"enum": ["talk", "walk", None, 3]},
        },
        "required": ["name", "date", "seats", "price", "kind"],
        "additionalProperties": False,
    },
    "tree": {
        "$defs": {
            "node": {
                "type": "object",
                "properties": {
                    "value": {"type": "integer"},
                    "children": {
                        "type": "array",
                        "items": {"$ref": "#/$defs/node"},
                        "maxItems": 2,
                    },
                },
                "required": ["value", "children"],
                "additionalProperties": False,
            }
        },
        "$ref": "#/$defs/node",
    },
    "choice": {
        "anyOf": [
            {
                "type": "object",
                "properties": {"type": {"const": "a"}, "size": {"multipleOf": 5}},
                "required": ["type", "size"],
                "additionalProperties": False,
            },
            {
                "type": "object",
                "properties": {"type": {"const": "b"}, "code": {"pattern": "^[a-f]{3}-\\d+$"}},
                "required": ["type"],
                "additionalProperties": False,
            },
        ]
    },
    "lists": {
        "type": "array",
        "prefixItems": [{"type": "boolean"}, {"type": "string", "maxLength": 3}],
        "items": {"type": ["integer", "null"]},
        "minItems": 3,
        "maxItems": 6,
    },
    "map": {
        "type": "object",
        "patternProperties": {"^x[0-9]$": {"type": "integer"}},
        "additionalProperties": False,
    },
    "joined": {
        "allOf": [
            {"type": "object", "properties": {"a": {"type": "integer"}}, "required": ["a"]},
            {"properties": {"a": {"minimum": 7}, "b": {"type": "boolean"}}, "required": ["b"]},
        ],
    },
    "formats": {
        "type": "array",
        "prefixItems": [
            {"type": "string", "format": name} for name in ("uuid", "ipv4", "date", "hostname")
        ],
        "minItems": 4,
        "maxItems": 4,
    },
}


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory: pytest.TempPathFactory) -> Tokenizer:
    path = tmp_path_factory.mktemp("model") / "tiny.gguf"
    write_random(path, TINY_QWEN3, "F16")
    return Tokenizer.load(path)


@pytest.fixture(scope="module")
def grammars(tokenizer: Tokenizer) -> Grammars:
    return Grammars(tokenizer)


@pytest.mark.parametrize("name", SCHEMAS)
def test_random_answers_are_valid(name: str, grammars: Grammars, tokenizer: Tokenizer) -> None:
    validator = jsonschema_rs.validator_for(SCHEMAS[name], validate_formats=True)
    enders = [tokenizer.encode(text)[0] for text in '"}]']
    for seed in range(10):
        generator, constraint = random.Random(seed), grammars.json_schema(SCHEMAS[name])
        tokens: list[int] = []
        while not constraint.finished:
            allowed = constraint.allowed()
            likely = [token for token in enders if allowed[token]]
            others: list[int] = np.flatnonzero(allowed).tolist()
            choice = likely if likely and generator.random() < 0.5 else others
            tokens.append(generator.choice(choice))
            constraint.accept(tokens[-1])
            assert len(tokens) < 20_000
        answer = json.loads(tokenizer.decode(tokens))
        assert validator.is_valid(answer), answer
