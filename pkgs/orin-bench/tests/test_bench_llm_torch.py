"""The transformer in PyTorch computes what ours does, and is measured as ours is."""

from typing import Any

import numpy as np
import pytest

from orin_bench.engine import interleave
from orin_bench.llm.source import Source
from orin_bench.torch_worker import TorchWorker
from orin_core.cli import UserError
from orin_nn.gguf.shapes import TINY_LLAMA, TINY_QWEN3, Shape
from orin_nn.transformer import Transformer

PROMPT = np.random.default_rng(0).integers(0, 512, 70).tolist()
# float16 throughout, of logits with a deviation of about 1.
TOLERANCE = 0.06


def module() -> Any:
    pytest.importorskip("torch")
    from orin_bench.llm import torch_llm

    return torch_llm


@pytest.mark.slow
@pytest.mark.parametrize("quantization", ["F16", "Q6_K"])
@pytest.mark.parametrize("shape", [TINY_LLAMA, TINY_QWEN3])
def test_the_same_logits(shape: Shape, quantization: str) -> None:
    torch_llm = module()
    import torch

    source = Source.random(shape, quantization)
    ours = Transformer(source.model, source.read, "CPU", 128)
    with torch.inference_mode():
        theirs = torch_llm.Model(source, "cpu", 128)
        positions = torch.arange(128)
        logits = theirs(torch.tensor(PROMPT), positions[:70], 70, None)
        pages = [list(range(1, ours.pages))]
        expected = ours.step(PROMPT, range(70), pages).logits.numpy()[0]
        np.testing.assert_allclose(logits.float(), expected, atol=TOLERANCE)
        for end, token in ((71, 5), (72, 6)):
            place = positions[end - 1 : end]
            expected = ours.step([token], [end - 1], pages).logits.numpy()[0]
            # Looking at what there is, or at everything through a mask.
            for seen, mask in ((end, None), (128, (positions <= place).view(1, 1, 1, -1))):
                logits = theirs(torch.tensor([token]), place, seen, mask)
                np.testing.assert_allclose(logits.float(), expected, atol=TOLERANCE)


@pytest.mark.slow
def test_tokens_come_again_and_again() -> None:
    torch_llm = module()
    import torch

    with torch.inference_mode():
        model = torch_llm.Model(Source.random(TINY_LLAMA, "F16"), "cpu", 75)
        steps = torch_llm.Steps(model, PROMPT, 5)
        tokens = [steps.generate() for _ in range(12)]
        again = torch_llm.Steps(model, [*PROMPT, steps.first, *tokens[:2]], 2)
    assert tokens[:5] == tokens[5:10]
    assert tokens[:2] == tokens[10:]
    assert again.first == tokens[2]


@pytest.mark.slow
def test_without_a_gpu() -> None:
    module()
    import torch

    if torch.cuda.is_available():
        pytest.skip("there is one")
    worker = TorchWorker()
    source = Source.random(TINY_LLAMA, "F16")
    with pytest.raises(UserError, match="this PyTorch finds no CUDA device"):
        worker.start("orin_bench.llm.torch_llm:engines", source=source, prompt=PROMPT, generated=5)
    worker.close()


@pytest.mark.gpu
def test_it_is_measured_eagerly_and_as_a_graph() -> None:
    module()
    worker = TorchWorker()
    source = Source.random(TINY_LLAMA, "F16")
    reading, eager, graph = worker.start(
        "orin_bench.llm.torch_llm:engines", source=source, prompt=PROMPT, generated=20
    )
    assert [each.name for each in (reading, eager, graph)] == [
        "torch eager",
        "torch eager",
        "torch graph",
    ]
    (prompts,) = interleave([reading], warmup=1, repetitions=3)
    slow, fast = interleave([eager, graph], warmup=1, repetitions=60, rounds=3)
    assert prompts.median < 1
    assert 1e-5 < fast.median < slow.median < 1
    assert graph.memory > 2 * TINY_LLAMA.parameters
    worker.close()
