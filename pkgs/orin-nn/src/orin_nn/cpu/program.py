"""C functions as kernels of tinygrad's CPU device, which compiles and captures them as its own."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from tinygrad import Device
from tinygrad.dtype import dtypes
from tinygrad.helpers import CPU_COUNT
from tinygrad.renderer import Estimates
from tinygrad.renderer.cstyle import ClangJITRenderer
from tinygrad.uop.ops import KernelInfo, Ops, ProgramInfo, UOp

FOLDER = Path(__file__).parent
# Multiplications that take about as long as waking another thread.
WAKING = 1 << 18


def runs_c(device: str | tuple[str, ...]) -> bool:
    """Whether `device` is tinygrad's CPU, with the compiler that it has unless told otherwise."""
    if not isinstance(device, str) or device.split(":")[0] != "CPU":
        return False
    return isinstance(Device[device].renderer, ClangJITRenderer)


def program(
    function: str,
    buffers: Sequence[UOp],
    defined: Mapping[str, int | str],
    multiplications: int,
    written: int = 1,
) -> UOp:
    """The kernel that is the C `function` of the file of that name, for `Tensor.custom_kernel`.

    The function takes `buffers`, of which it writes the first `written` ones, and the number of
    the thread that calls it. Its macros are `defined`, and THREADS, as many as pay.
    """
    threads = max(1, min(CPU_COUNT.value, multiplications // WAKING))
    macros = {**defined, "THREADS": threads}
    parts = [f"#define {macro} {value}" for macro, value in macros.items()]
    parts += [(FOLDER / file).read_text() for file in ("vectors.h", f"{function}.c")]
    slots = tuple(range(len(buffers)))
    nbytes = sum(int(buffer.ptrdtype.nbytes()) for buffer in buffers)
    estimates = Estimates(2 * multiplications, nbytes, nbytes)
    name = "_".join([function, *(f"{macro}{value}" for macro, value in defined.items())])
    sink = UOp.sink(*buffers, arg=KernelInfo(name=name, estimates=estimates))
    # What tinygrad calls the variable that it fills in with the thread's number.
    core = UOp.variable("core_id", 0, threads - 1, dtypes.int32)
    outs, ins = slots[:written], slots[written:]
    info = ProgramInfo(name, (threads, 1, 1), None, (core,), slots, outs, ins)
    source = UOp(Ops.SOURCE, arg="\n".join(parts))
    return UOp(
        Ops.PROGRAM, src=(sink, UOp(Ops.DEVICE, arg="CPU"), UOp(Ops.LINEAR), source), arg=info
    )
