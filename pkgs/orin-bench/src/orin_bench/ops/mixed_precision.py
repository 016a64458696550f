"""bench-mixed-precision: what a narrower type wins in speed and loses in accuracy."""

from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Annotated

import typer

from orin_bench import options
from orin_core.cli import UserError, run
from orin_core.device import select

OPERATIONS = ("matmul", "conv2d")
DTYPES = ("float32", "tf32", "float16", "bfloat16", "int8")
LARGEST = 65536


@dataclass(frozen=True)
class Defaults:
    """Sizes of square products, and pictures of a convolution."""

    squares: Sequence[int]
    images: int


DEFAULTS = {
    "GPU": Defaults((1024, 2048, 4096), 64),
    "CPU": Defaults((512, 1024), 1),
    "quick": Defaults((512,), 1),
}

app = typer.Typer(add_completion=False)


@app.command()
def bench_mixed_precision(
    operation: Annotated[str, typer.Option(help="all, matmul or conv2d.")] = "all",
    size: Annotated[
        str | None,
        typer.Option(
            help="Sizes of square products, comma-separated.",
            show_default="1024,2048,4096, on a CPU 512,1024, with --quick 512",
        ),
    ] = None,
    device: options.Device = "auto",
    dtype: Annotated[
        str, typer.Option(help=f"all, or some of {', '.join(DTYPES)}, comma-separated.")
    ] = "all",
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
    """Measure matrix products and convolutions in every type, and how far they are from float64.

    Example: bench-mixed-precision --operation matmul --size 4096 --dtype float32,float16

    Inputs are standard normal numbers in float32, which a narrower type rounds first; int8 scales
    the largest to 127, and sums in int32. "error" is ||result - reference|| / ||reference||,
    "largest error" the largest difference, both over 256 results; their reference is computed in
    float64 from the inputs before any rounding. tf32 is float32 on tensor cores, which round its
    factors. tinygrad 0.13 puts no int8 on tensor cores: its int8 is plain integer arithmetic.
    """
    names = options.parse_names("operation", operation, OPERATIONS)
    sizes = options.parse_sizes("--size", size, LARGEST) if size else None
    dtypes = options.parse_names("dtype", dtype, DTYPES)
    torch = options.parse_versus(versus).torch
    width = options.set_beam(beam)
    devices = select(device)
    if torch and devices == ["CPU"]:
        raise UserError("--versus torch compares on a GPU, and there is none among the devices")
    options.check_outputs(json, plot)

    # tinygrad reads the environment when it is imported: only now.
    from orin_bench.ops.engines import Case, check_memory
    from orin_bench.ops.operation import Operation
    from orin_bench.ops.precision import COLUMNS, benchmark, convolutions, matmuls
    from orin_bench.ops.support import missing
    from orin_bench.plot import plot_roofline
    from orin_bench.roofline import measure_roofline
    from orin_bench.session import Session
    from orin_core.machine import facts

    lacking: list[str] = []
    groups: dict[Operation, list[Case]] = {}
    for target in devices:
        defaults = DEFAULTS["quick" if quick else "CPU" if target == "CPU" else "GPU"]
        operations = matmuls(sizes or defaults.squares) if "matmul" in names else []
        operations += convolutions(defaults.images) if "conv2d" in names else []
        for kind in dtypes:
            if reason := missing(target, kind):
                lacking.append(f"{kind} on {target} ({reason})")
                continue
            for made in operations:
                groups.setdefault(made, []).append(Case(made, target, kind))
    if not groups:
        raise UserError(f"--dtype {dtype}: missing here: {', '.join(lacking)}")
    for case in chain(*groups.values()):
        check_memory(case)
    steps = repetitions or (3 if quick else 5 if devices == ["CPU"] else 10)
    rooflines = {target: measure_roofline(target, facts()) for target in devices}
    settings = {
        "beam": width,
        "warmup": warmup,
        "repetitions": steps,
        "missing": ", ".join(lacking) or "none",
    }
    made_session = Session(
        "bench-mixed-precision",
        COLUMNS,
        json=json,
        settings=settings,
        rooflines=list(rooflines.values()),
    )
    with closing(made_session) as session:
        points = benchmark(
            session, list(groups.values()), rooflines, warmup, steps, versus_torch=torch
        )
    if plot:
        plot_roofline(plot, rooflines[devices[0]], points[devices[0]])


def main() -> None:
    run(app)


if __name__ == "__main__":
    main()
