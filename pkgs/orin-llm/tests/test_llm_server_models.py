"""/v1/models, /v1/embeddings and /health, asked by OpenAI's own client."""

import base64
from collections.abc import Iterator

import numpy as np
import openai
import pytest

from fake_engine import FakeEngine
from served import Served, serve


@pytest.fixture(scope="module")
def served() -> Iterator[Served]:
    with serve(FakeEngine(context=100, dim=6)) as served:
        yield served


def expected(tokens: list[int]) -> np.ndarray:
    vector = np.random.default_rng(tokens).normal(size=6).astype(np.float32)
    return np.asarray(vector / np.linalg.norm(vector))


def test_the_model(served: Served) -> None:
    (model,) = served.openai.models.list().data
    assert (model.id, model.object) == ("tiny", "model")
    assert model.model_dump()["max_model_len"] == 100
    assert served.openai.models.retrieve("tiny") == model


def test_health(served: Served) -> None:
    answer = served.http.get("/health")
    assert (answer.status_code, answer.json()) == (200, {"status": "ok"})


def test_embeddings_in_every_form(served: Served) -> None:
    one, two = (
        served.tokenizer.encode("one", begin=True),
        served.tokenizer.encode("two", begin=True),
    )
    create = served.openai.embeddings.create
    for given, tokens in [("one", [one]), (["one", "two"], [one, two]), (one, [one])]:
        answer = create(model="tiny", input=given)  # type: ignore[arg-type]
        found = np.array([item.embedding for item in answer.data])
        np.testing.assert_allclose(found, [expected(prompt) for prompt in tokens], atol=1e-6)
        np.testing.assert_allclose(np.linalg.norm(found, axis=1), 1, atol=1e-6)
        assert [item.index for item in answer.data] == list(range(len(tokens)))
        assert answer.usage.prompt_tokens == sum(map(len, tokens))


def test_more_texts_than_may_wait(served: Served) -> None:
    texts = [[number, 7] for number in range(100)]
    data = served.openai.embeddings.create(model="tiny", input=texts).data
    found = np.array([item.embedding for item in data])
    np.testing.assert_allclose(found, [expected(text) for text in texts], atol=1e-6)


def test_base64_is_float32(served: Served) -> None:
    body = {"input": [[1, 2], [3]], "encoding_format": "base64"}
    data = served.http.post("/v1/embeddings", json=body).json()["data"]
    for item, tokens in zip(data, [[1, 2], [3]], strict=True):
        found = np.frombuffer(base64.b64decode(item["embedding"]), "<f4")
        np.testing.assert_allclose(found, expected(tokens), atol=1e-6)
    listed = served.openai.embeddings.create(model="tiny", input=[3], encoding_format="float")
    np.testing.assert_allclose(listed.data[0].embedding, expected([3]), atol=1e-6)


def test_dimensions_are_the_models(served: Served) -> None:
    create = served.openai.embeddings.create
    assert len(create(model="tiny", input="a", dimensions=6).data[0].embedding) == 6
    with pytest.raises(openai.BadRequestError, match="have 6") as raised:
        create(model="tiny", input="a", dimensions=3)
    assert raised.value.param == "dimensions"


@pytest.mark.parametrize("given", ["", [], [[]], [512], ["a", 1], {"a": 1}, ["a"] * 2049])
def test_inputs_that_cannot_be(served: Served, given: object) -> None:
    answer = served.http.post("/v1/embeddings", json={"input": given})
    assert answer.status_code == 400
    assert answer.json()["error"]["param"] == "input"


def test_inputs_that_are_too_long(served: Served) -> None:
    create = served.openai.embeddings.create
    create(model="tiny", input=[5] * 100)
    for given in ([5] * 101, "x" * 50_000):
        with pytest.raises(openai.BadRequestError) as raised:
            create(model="tiny", input=given)
        assert raised.value.code == "context_length_exceeded"
