"""A matrix product that fills a GPU also when its result is small.

tinygrad gives one warp a tile of the result and lets it run through the whole reduced axis. A late
layer at batch 1 has few tiles and a long axis (49 by 512 over 4608), so that most of the chip
idles: here the axis is split, each part is a product of its own, and their sum is the result.
"""

from tinygrad import Tensor

from orin_nn.gpu import is_gpu

# What the default heuristic of tinygrad 0.13 gives one warp: a 64 by 32 tile on tensor cores, or,
# for matrices too thin for them, four results a thread.
TILE, THIN_TILE = 64 * 32, 4 * 32
THIN = 16
# Up to so many results tinygrad splits the axis by itself, within one block of threads.
GROUPED = 2048
# Measured on ResNet-50 at batch 1 on an H200 (132 multiprocessors): 256, 512, 1024 warps gave 1295,
# 1401, 1501 images/s. An AGX Orin has 16 multiprocessors, which fewer would fill.
WARPS = 1024
SHORTEST = 64


def matmul(x: Tensor, weight: Tensor) -> Tensor:
    """The product of `x` (M, K) and the transpose of `weight` (N, K): (M, N) in `x`'s type.

    Sums are in float32; the parts of a split product are rounded to `x`'s type in between.
    """
    (m, k), n = x.shape, weight.shape[0]
    parts = split(m, n, k) if is_gpu(x.device) else 1
    if parts == 1:
        return x @ weight.T
    left = x.reshape(m, parts, k // parts).permute(1, 0, 2)
    right = weight.reshape(n, parts, k // parts).permute(1, 2, 0)
    return (left @ right).contiguous().sum(0)


def split(m: int, n: int, k: int) -> int:
    """Into how many parts the reduced axis goes: a power of two, 1 where the result is large."""
    if m < THIN and m * n <= GROUPED:
        return 1
    warps = max(1, m * n // (THIN_TILE if m < THIN else TILE))
    parts = 1
    while warps * parts < WARPS and k % (parts * 32) == 0 and k // parts >= 2 * SHORTEST:
        parts *= 2
    return parts
