"""A large matrix product on NVIDIA's tensor cores, written out instead of left to the optimizer.

tinygrad's optimizer gives each thread the elements of a fragment that are neighbours for the tensor
core, and those lie 16 bytes apart in memory: it loads two halves at a time and reaches 71 TFLOP/s
at 4096 on an H200, 105 after a search. A sum may take its terms in any order, so here every thread
takes eight neighbours in memory and feeds them to two instructions, in the order in which both
operands agree. With that and two such steps in flight the same product reaches 244.
"""

from dataclasses import dataclass
from itertools import count

from tinygrad import Tensor, dtypes
from tinygrad.dtype import DType
from tinygrad.uop.ops import AxisType, KernelInfo, Ops, UOp

from orin_nn.gpu import has_tensor_cores

# mma.m16n8k16 (PTX ISA, "Matrix Fragments for mma.m16n8k16"): lane l holds of A the rows l/4 and
# l/4 + 8, of B the column l/4, of the result the columns 2 (l%4) and 2 (l%4) + 1.
M, N, K = 16, 8, 16
VECTOR = 8  # halves a load takes: 16 bytes
STEP = 4 * VECTOR  # of the reduced axis, which the four lanes of a row cover with one load each


@dataclass(frozen=True)
class Tile:
    """What a warp and a block compute: fragments a warp, warps a block, loads in flight."""

    rows: int
    columns: int
    warp_rows: int
    warp_columns: int
    unroll: int

    @property
    def block(self) -> tuple[int, int]:
        """Rows and columns of the result that one block computes."""
        return M * self.rows * self.warp_rows, N * self.columns * self.warp_columns

    def fits(self, m: int, n: int, k: int) -> bool:
        return m % self.block[0] == 0 and n % self.block[1] == 0 and k % (STEP * self.unroll) == 0


# From the largest to the smallest: a small result wants more blocks, a large one fewer loads. Of
# 4096^3 an H200 computes 244 and 218 TFLOP/s with the first two, and of 512 by 3072 by 8192 it
# computes 66 with the first and 163 with the third.
TILES = (
    Tile(4, 8, 2, 1, 2),
    Tile(4, 4, 2, 2, 4),
    Tile(2, 4, 2, 2, 4),
    Tile(2, 4, 1, 1, 4),
    Tile(2, 2, 1, 1, 4),
    Tile(2, 1, 1, 1, 4),
    Tile(1, 1, 1, 1, 1),
)
# Blocks that fill the chip: by measurement on an H200, which has 132 multiprocessors. For the 16 of
# an AGX Orin fewer would do, so that small products there may get smaller tiles than best.
BLOCKS = 350
# Blocks with neighbouring rows run together, so that they share columns in the L2 cache.
GROUP = 16


def gemm(x: Tensor, weight: Tensor, dtype: DType | None = None) -> Tensor:
    """The product of `x` (M, K) and the transpose of `weight` (N, K), both float16 or bfloat16.

    (M, N) in `dtype`, by default `x`'s; sums are in float32. Raises ValueError for a shape that no
    tile divides and for a device without these tensor cores: see `choose`.
    """
    if (tile := choose(x, weight)) is None:
        raise ValueError(f"no tile for {x.shape} by {weight.shape} in {x.dtype} on {x.device}")
    out = Tensor.empty(x.shape[0], weight.shape[0], dtype=dtype or x.dtype, device=x.device)
    return out.custom_kernel(x, weight, fxn=lambda c, a, b: kernel(c, a, b, tile))[0]


def choose(x: Tensor, weight: Tensor) -> Tile | None:
    """The largest tile that still fills the chip, else the smallest that divides the shape.

    None where none does, and for a type or a device that has no such instruction.
    """
    (m, k), n = x.shape, weight.shape[0]
    if not has_tensor_cores(x.device) or x.dtype != weight.dtype:
        return None
    if x.dtype not in (dtypes.float16, dtypes.bfloat16):
        return None
    fitting = [tile for tile in TILES if tile.fits(m, n, k)]
    filling = [t for t in fitting if m // t.block[0] * (n // t.block[1]) >= BLOCKS]
    candidates = filling or fitting[-1:]
    return candidates[0] if candidates else None


def kernel(c: UOp, a: UOp, b: UOp, tile: Tile) -> UOp:
    """The kernel of c (M, N) = a (M, K) times the transpose of b (N, K), one `tile` a block."""
    (m, k), n, dtype = a.shape, b.shape[0], a.dtype.base
    # tinygrad joins loads of float16, not of bfloat16: the same 16 bits, until they are used.
    a, b = (UOp.placeholder(x.shape, dtypes.float16, slot) for slot, x in ((1, a), (2, b)))
    ids = count()

    def axis(size: int, kind: AxisType) -> UOp:
        return UOp.range(size, next(ids), kind)

    block_m, block_n = tile.block
    blocks_m, blocks_n = m // block_m, n // block_n
    group = GROUP if blocks_m % GROUP == 0 else 1
    block = axis(blocks_m * blocks_n, AxisType.GLOBAL)
    band, within = block // (group * blocks_n), block % (group * blocks_n)
    warp_m = axis(tile.warp_rows, AxisType.LOCAL)
    warp_n = axis(tile.warp_columns, AxisType.LOCAL)
    lane = UOp.range(32, -1, AxisType.WARP)
    fragment_m = axis(tile.rows, AxisType.UPCAST)
    fragment_n = axis(tile.columns, AxisType.UPCAST)
    step = axis(k // (STEP * tile.unroll), AxisType.REDUCE)
    load = axis(tile.unroll, AxisType.UNROLL)
    half = axis(2, AxisType.UNROLL)  # which of the two instructions that a load feeds

    row = (band * group + within % group) * block_m + (warp_m * tile.rows + fragment_m) * M
    column = within // group * block_n + (warp_n * tile.columns + fragment_n) * N
    # The eight neighbours of a lane: (half, high, pair) by bits; high is the instruction's k + 8.
    start = (step * tile.unroll + load) * STEP + lane % 4 * VECTOR + half * 4
    a_high, a_row, a_pair = (axis(2, AxisType.UPCAST) for _ in range(3))
    b_high, b_pair = (axis(2, AxisType.UPCAST) for _ in range(2))
    c_row, c_pair = (axis(2, AxisType.UPCAST) for _ in range(2))
    a_fragment = a[row + a_row * 8 + lane // 4, start + a_high * 2 + a_pair].bitcast(dtype)
    b_fragment = b[column + lane // 4, start + b_high * 2 + b_pair].bitcast(dtype)

    fragments = tuple(
        tuple((bit.arg[0], 2) for bit in bits)
        for bits in ((a_high, a_row, a_pair), (b_high, b_pair), (c_row, c_pair))
    )
    sums = dtypes.float32.vec(4)
    name = f"WMMA_{N}_{M}_{K}_{dtype.name}_float"
    product = UOp(
        Ops.WMMA,
        sums,
        (
            a_fragment.contract(a_high, a_row, a_pair),
            b_fragment.contract(b_high, b_pair),
            UOp.const(sums, 0.0),
        ),
        arg=(name, (N, M, K), dtype, dtypes.float32, "CUDA", 32, fragments, ()),
        tag=1,
    )
    total = UOp(Ops.UNROLL, dtypes.float32, (product,), arg=fragments[2], tag=1)
    total = total.reduce(step, load, half, arg=Ops.ADD).cast(c.dtype.base)
    stored = c[row + c_row * 8 + lane // 4, column + lane % 4 * 2 + c_pair].store(total)
    axes = block, warp_m, warp_n, lane, fragment_m, fragment_n, c_row, c_pair
    return stored.end(*axes).sink(arg=KernelInfo(name=f"gemm_{m}_{n}_{k}", opts_to_apply=()))
