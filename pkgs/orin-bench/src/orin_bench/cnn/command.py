"""bench-cnn: the speed of five convolutional networks, or what one of them sees in a picture."""

from contextlib import closing
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated

import typer

from orin_bench import options
from orin_core.cli import UserError, run
from orin_core.device import select

NETWORK_NAMES = ("resnet18", "resnet50", "mobilenet_v2", "efficientnet_b0", "vgg16")
DTYPES = ("float16", "float32")
LARGEST_BATCH = 4096
# Of the five the cheapest to compile of either kind, with whole convolutions and depthwise ones.
QUICK_NETWORKS = "resnet18,mobilenet_v2"

app = typer.Typer(add_completion=False)


@app.command()
def bench_cnn(
    network: Annotated[
        str | None,
        typer.Option(
            help=f"all, or some of {', '.join(NETWORK_NAMES)}, comma-separated.",
            show_default=f"all, with --quick {QUICK_NETWORKS}",
        ),
    ] = None,
    device: options.Device = "auto",
    dtype: Annotated[
        str | None,
        typer.Option(help="float16, float32 or all.", show_default="float16, on a CPU float32"),
    ] = None,
    batch: Annotated[
        str | None,
        typer.Option(
            help="Batch sizes, comma-separated.",
            show_default="1,64, on a CPU and with --quick 1",
        ),
    ] = None,
    beam: options.Beam = None,
    warmup: options.Warmup = 2,
    repetitions: options.Repetitions = 10,
    quick: options.Quick = False,
    weights: Annotated[
        Path | None, typer.Option(help="torchvision's weights in a safetensors file.")
    ] = None,
    image: Annotated[Path | None, typer.Option(help="A picture to classify.")] = None,
    versus: Annotated[
        str | None, typer.Option(help="torch: PyTorch's speed on the same GPU beside ours.")
    ] = None,
    json: options.Json = None,
    plot: options.Plot = None,
) -> None:
    """Measure ResNet-18, ResNet-50, MobileNetV2, EfficientNet-B0 and VGG-16 in tinygrad.

    Example: bench-cnn --network resnet50 --batch 1,8 --dtype float16 --device cuda,cpu

    Pictures of 224 by 224 stay on the device: copies are not measured. Without --weights the
    networks are random. FLOP/s count two operations for each multiply-accumulate of convolutions
    and linear layers.
    """
    chosen = network or (QUICK_NETWORKS if quick else "all")
    networks = options.parse_names("network", chosen, NETWORK_NAMES)
    dtypes = options.parse_names("dtype", dtype, DTYPES) if dtype else None
    batches = options.parse_sizes("--batch", batch, LARGEST_BATCH) if batch else None
    if weights and len(networks) > 1:
        raise UserError("--weights fit one network: name it with --network")
    if image and not weights:
        raise UserError("--image needs trained --weights: a random network sees nothing")
    torch = options.parse_versus(versus).torch
    if torch and not find_spec("torchvision"):
        raise UserError("--versus torch: install torchvision beside bench-cnn")
    width = options.set_beam(beam)
    devices = select(device)
    if torch and devices == ["CPU"]:
        raise UserError("--versus torch compares on a GPU, and there is none among the devices")
    options.check_outputs(json, plot)

    # tinygrad reads the environment when it is imported: only now.
    from orin_bench.cnn.classify import classify
    from orin_bench.cnn.networks import NETWORKS
    from orin_bench.cnn.throughput import COLUMNS, Case, benchmark, measure_sizes
    from orin_bench.cnn.weights import load_weights
    from orin_bench.plot import plot_roofline
    from orin_bench.roofline import measure_roofline
    from orin_bench.session import Session
    from orin_core.machine import facts

    if weights and image:
        classify(networks[0], weights, image, devices[0], (dtypes or ["float32"])[0])
    elif weights:
        load_weights(NETWORKS[networks[0]](), weights)  # refused before anything is measured
    cases = [
        Case(name, target, kind, size)
        for name in networks
        for target in devices
        for kind in dtypes or (["float32"] if target == "CPU" else ["float16"])
        for size in batches or ([1] if quick or target == "CPU" else [1, 64])
    ]
    sizes = measure_sizes(cases)
    rooflines = {target: measure_roofline(target, facts()) for target in devices}
    settings = {
        "weights": str(weights) if weights else "random",
        "beam": width,
        "warmup": warmup,
        "repetitions": repetitions,
    }
    made = Session(
        "bench-cnn", COLUMNS, json=json, settings=settings, rooflines=list(rooflines.values())
    )
    with closing(made) as session:
        points = benchmark(
            session,
            cases,
            sizes,
            rooflines,
            weights,
            warmup,
            repetitions,
            versus_torch=torch,
        )
    if plot:
        plot_roofline(plot, rooflines[devices[0]], points[devices[0]])


def main() -> None:
    run(app)


if __name__ == "__main__":
    main()
