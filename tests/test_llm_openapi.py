"""llm-server does what its OpenAPI document says, whatever it is sent."""

from collections.abc import Iterator
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from schemathesis import Case, GenerationMode
from schemathesis.specs.openapi.checks import positive_data_acceptance
from schemathesis.specs.openapi.schemas import OpenApiSchema

from fake_engine import FakeEngine
from orin_llm.server.settings import Settings
from served import serve

# Fewer where each costs more: a grammar is made, answers are waited for.
EXAMPLES = {
    "POST /v1/chat/completions": 60,
    "POST /v1/completions": 80,
    "POST /v1/embeddings": 40,
    "GET /v1/models": 3,
    "GET /v1/models/{name}": 15,
    "GET /health": 3,
    "GET /metrics": 3,
}


@pytest.fixture(scope="module")
def document() -> Iterator[OpenApiSchema]:
    with serve(FakeEngine(context=256), Settings(body_limit=10**6)) as served:
        served.says("Hello, world")
        yield schemathesis.openapi.from_url(f"{served.url}/openapi.json")
        assert served.idle()
        assert served.http.get("/health").json() == {"status": "ok"}


def test_every_operation_is_tried(document: OpenApiSchema) -> None:
    paths: dict[str, dict[str, object]] = document.raw_schema["paths"]
    operations = {f"{method.upper()} {path}" for path in paths for method in paths[path]}
    assert operations == EXAMPLES.keys()


@pytest.mark.parametrize("label", EXAMPLES)
def test_answers_are_as_documented(document: OpenApiSchema, label: str) -> None:
    method, path = label.split(" ")
    operation = document[path][method]
    # What the document admits may still be wrong: a choice among tools that are not given, a token
    # that is not in the vocabulary.
    excluded: list[Any] = [positive_data_acceptance]

    @given(st.one_of([operation.as_strategy(generation_mode=mode) for mode in GenerationMode]))
    @settings(
        max_examples=EXAMPLES[label],
        deadline=None,
        database=None,
        derandomize=True,
        suppress_health_check=list(HealthCheck),
    )
    def check(case: Case[Any]) -> None:
        case.call_and_validate(excluded_checks=excluded)

    check()
