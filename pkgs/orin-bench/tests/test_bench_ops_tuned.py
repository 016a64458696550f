"""The kernels of orin_nn on inputs as the benchmarks make them, in tinygrad's emulator of a GPU."""

import os
import subprocess
import sys

import pytest

# The emulator knows no subnormal float16, which the scales of these matrices would be: they are
# multiplied. And it does not keep the bits of a NaN, which four bytes of values may be.
EMULATE = """
import sys
from dataclasses import replace
import numpy as np
from tinygrad import Context
import orin_nn.gpu
orin_nn.gpu.GPUS = ("PYTHON",)
from orin_bench.ops import operation as base, tuned
from orin_bench.ops.accuracy import check_error, measure_error
from orin_bench.ops.block import Block
from orin_bench.ops.operations import Attention, Conv2d, Matmul, Matvec
from orin_bench.ops.upload import Upload
from orin_nn.gguf.shapes import TINY_LLAMA, TINY_QWEN3

# Of a block its bytes, those of the scales, and those of the values.
LAYOUTS = {
    "Q8_0": (34, slice(0, 2), slice(2, 34)),
    "Q6_K": (210, slice(208, 210), slice(0, 208)),
    "Q4_K": (144, slice(0, 4), slice(16, 144)),
}
small = {"dim": 256, "hidden_dim": 256, "heads": 2, "kv_heads": 1, "head_dim": 64}
operation, dtype = eval(sys.argv[1])
(inputs, *_), at = base.draw(operation)
if operation.name == "matvec":
    size, scales, values = LAYOUTS[dtype]
    blocks = inputs[0].reshape(-1, size)
    halves = np.ascontiguousarray(blocks[:, scales]).view(np.float16)
    blocks[:, scales] = (halves * 1024).astype(np.float16).view(np.uint8)
    blocks[:, values][:, 3::4] &= 0xBF
step = tuned.build(operation, inputs, Upload("PYTHON", dtype, []))
with Context(TC_OPT=2):
    results = step().float().numpy().ravel()[tuned.places(operation, at)]
check_error(str(operation), measure_error(results, operation.reference(inputs, at)), dtype)
"""


@pytest.mark.parametrize(
    "case",
    [
        'Matmul(32, 16, 64), "float16"',
        'Conv2d(1, 16, 16, 4), "float16"',
        'Matvec(16, 1024, "Q6_K"), "Q6_K"',
        *(
            pytest.param(case, marks=pytest.mark.slow)
            for case in (
                'Matmul(32, 16, 64), "bfloat16"',
                'Matvec(16, 1024, "Q8_0"), "Q8_0"',
                'Matvec(16, 1024, "Q4_K"), "Q4_K"',
                'Attention(4, 2, 64, 1, 128), "float16"',
                'Attention(2, 1, 64, 16, 64), "float16"',
                'Block(replace(TINY_LLAMA, **small), 1, 128), "float16"',
                'Block(replace(TINY_QWEN3, **small), 1, 128), "float16"',
                'Block(replace(TINY_LLAMA, **small), 16, 64), "float16"',
            )
        ),
    ],
)
def test_kernels_agree_with_the_reference(case: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", EMULATE, case],
        env={**os.environ, "DEV": "PYTHON::sm_89"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
