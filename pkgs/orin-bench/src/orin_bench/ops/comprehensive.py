"""bench-comprehensive: the operations that models consist of, under the roofline."""

from contextlib import closing
from pathlib import Path
from typing import Annotated

import typer

from orin_bench import options
from orin_core.cli import UserError, run
from orin_core.device import select

OPERATIONS = (
    "matmul",
    "conv2d",
    "attention",
    "rms_norm",
    "rope",
    "swiglu",
    "matvec",
    "embedding",
    "block",
)
SIZES = ("small", "medium", "large")
DTYPES = ("float16", "bfloat16", "float32")

app = typer.Typer(add_completion=False)


@app.command()
def bench_comprehensive(
    operation: Annotated[
        str, typer.Option(help=f"all, or some of {', '.join(OPERATIONS)}, comma-separated.")
    ] = "all",
    size: Annotated[
        str | None,
        typer.Option(
            help=f"all, or some of {', '.join(SIZES)}, comma-separated.",
            show_default="all, on a CPU and with --quick small",
        ),
    ] = None,
    device: options.Device = "auto",
    dtype: Annotated[
        str | None,
        typer.Option(
            help=f"all, or some of {', '.join(DTYPES)}.", show_default="float16, on a CPU float32"
        ),
    ] = None,
    beam: options.Beam = None,
    warmup: options.Warmup = 1,
    repetitions: Annotated[
        int | None,
        typer.Option(min=1, help="Measured steps.", show_default="10, on a CPU 5, with --quick 3"),
    ] = None,
    quick: options.Quick = False,
    versus: Annotated[
        str | None, typer.Option(help="torch: PyTorch's speed on the same GPU beside ours.")
    ] = None,
    json: options.Json = None,
    plot: Annotated[
        Path | None,
        typer.Option(help="Draw the first device's roofline to this .svg or .png file."),
    ] = None,
) -> None:
    """Measure the operations that models consist of, each under the device's roofline.

    Example: bench-comprehensive --operation matmul,attention --size medium --device cuda

    Small, medium and large are the shapes of Qwen3 0.6B, LLaMA 3.2 3B and LLaMA 3.1 8B with 512
    tokens (a block's prompt has 128, 512, 2048); contexts of 512, 2048, 8192; squares of 1024,
    2048, 4096; ResNet-50's convolutions for 1, 8, 64 pictures. --quick leaves out whole prompts.

    A step computes an operation on up to 32 sets of inputs in turn, so that caches keep few of
    them; times are a step's divided by their number. FLOP/byte and the share of the roofline count
    the fewest bytes: each input read once, each result written once. Every engine's results are
    compared with a reference in float64 before they are timed: "error" is the relative one, and
    too large a one ends the run.
    """
    names = options.parse_names("operation", operation, OPERATIONS)
    sizes = options.parse_names("size", size, SIZES) if size else None
    dtypes = options.parse_names("dtype", dtype, DTYPES) if dtype else None
    torch = options.parse_versus(versus).torch
    width = options.set_beam(beam)
    devices = select(device)
    if torch and devices == ["CPU"]:
        raise UserError("--versus torch compares on a GPU, and there is none among the devices")
    options.check_outputs(json, plot)

    # tinygrad reads the environment when it is imported: only now.
    from orin_bench.ops.engines import Case, check_memory
    from orin_bench.ops.operations import Matvec
    from orin_bench.ops.sizes import operations
    from orin_bench.ops.support import missing
    from orin_bench.ops.throughput import COLUMNS, benchmark
    from orin_bench.plot import plot_roofline
    from orin_bench.roofline import measure_roofline
    from orin_bench.session import Session
    from orin_core.machine import facts

    cases = []
    for name in names:
        for target in devices:
            for each in sizes or (["small"] if quick or target == "CPU" else SIZES):
                for made in operations(name, each, prompts=not quick):
                    if isinstance(made, Matvec):
                        types = [made.quantization]
                    else:
                        types = dtypes or (["float32"] if target == "CPU" else ["float16"])
                    cases += [(each, Case(made, target, kind)) for kind in types]
    for _, case in cases:
        check_memory(case)
    for target in devices:
        for kind in dtypes or []:
            if reason := missing(target, kind):
                raise UserError(f"--dtype {kind} on {target}: {reason}")
    steps = repetitions or (3 if quick else 5 if devices == ["CPU"] else 10)
    rooflines = {target: measure_roofline(target, facts()) for target in devices}
    settings = {"beam": width, "warmup": warmup, "repetitions": steps}
    made_session = Session(
        "bench-comprehensive",
        COLUMNS,
        json=json,
        settings=settings,
        rooflines=list(rooflines.values()),
    )
    with closing(made_session) as session:
        points = benchmark(session, cases, rooflines, warmup, steps, versus_torch=torch)
    if plot:
        plot_roofline(plot, rooflines[devices[0]], points[devices[0]])


def main() -> None:
    run(app)


if __name__ == "__main__":
    main()
