"""The product on tensor cores is right in every tile, and the tile is the one that fits."""

import numpy as np
import pytest
from tinygrad import Tensor, dtypes
from tinygrad.dtype import DType

from emulated_gpu import emulated_gpu
from orin_nn import gemm as module
from orin_nn.gemm import BLOCKS, TILES, Tile, choose, gemm
from orin_nn.gpu import has_tensor_cores, is_gpu


@pytest.fixture
def device(monkeypatch: pytest.MonkeyPatch) -> str:
    return emulated_gpu(monkeypatch)


def chosen(m: int, n: int, k: int, device: str, dtype: DType = dtypes.float16) -> Tile | None:
    left, right = (Tensor.empty(rows, k, dtype=dtype, device=device) for rows in (m, n))
    return choose(left, right)


@pytest.mark.parametrize(
    ("m", "n", "k", "tile"),
    [
        (4096, 4096, 4096, TILES[0]),
        (512, 3072, 8192, TILES[2]),  # 8 by 24 blocks of the first fill no chip
        (512, 3072, 64, TILES[-1]),  # too short for four loads in flight
        (16, 8, 32, TILES[-1]),
        (17, 8, 32, None),
        (16, 9, 32, None),
        (16, 8, 48, None),
    ],
)
def test_the_largest_tile_that_fills_the_chip(
    m: int, n: int, k: int, tile: Tile | None, device: str
) -> None:
    assert chosen(m, n, k, device) == tile


def test_what_fills_no_chip_gets_the_smallest_tile_that_fits(device: str) -> None:
    m, n, k = 64, 64, 512
    assert all(m // t.block[0] * (n // t.block[1]) < BLOCKS for t in TILES)
    assert chosen(m, n, k, device) == TILES[-1]


def test_types_and_devices_without_the_instruction(device: str) -> None:
    assert chosen(64, 64, 64, device, dtypes.bfloat16)
    assert not chosen(64, 64, 64, device, dtypes.float32)
    assert not chosen(64, 64, 64, "CPU")
    half, other = Tensor.empty(64, 64, dtype=dtypes.half, device=device), dtypes.bfloat16
    assert not choose(half, Tensor.empty(64, 64, dtype=other, device=device))
    assert has_tensor_cores(device) and not has_tensor_cores("CPU")
    assert not is_gpu(("CUDA:0", "CUDA:1"))  # a tensor in parts
    with pytest.raises(ValueError, match=r"no tile for \(17, 64\) by \(64, 64\)"):
        gemm(Tensor.empty(17, 64, dtype=dtypes.half, device=device), half)


@pytest.mark.parametrize("dtype", [dtypes.float16, dtypes.bfloat16])
@pytest.mark.parametrize("tile", [Tile(1, 1, 1, 1, 1), Tile(2, 1, 1, 2, 2)])
def test_the_product_by_the_emulator(
    tile: Tile, dtype: DType, device: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "TILES", (tile,))
    monkeypatch.setattr(module, "GROUP", 2)
    (m, n), k = tile.block, 64
    rng = np.random.default_rng(0)
    left, right = (
        Tensor(rng.standard_normal((rows, k), np.float32), device=device)
        .cast(dtype)
        .contiguous()
        .realize()
        for rows in (4 * m, 2 * n)
    )
    product = gemm(left, right, dtypes.float32).numpy()
    expected = left.float().numpy() @ right.float().numpy().T
    np.testing.assert_allclose(product, expected, rtol=1e-4, atol=1e-4)
