"""bench-cnn: the speed of five convolutional networks, or what one of them sees in a picture."""

import os
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated

import typer

from orin_core.cli import UserError, run
from orin_core.device import select
from orin_core.result import check_writable, write_json

NETWORK_NAMES = ("resnet18", "resnet50", "mobilenet_v2", "efficientnet_b0", "vgg16")
DTYPES = ("float16", "float32")
LARGEST_BATCH = 4096

app = typer.Typer(add_completion=False)


@app.command()
def bench_cnn(
    network: Annotated[
        str, typer.Option(help=f"all, or some of {', '.join(NETWORK_NAMES)}, comma-separated.")
    ] = "all",
    device: Annotated[
        str, typer.Option(help="auto, or some of nv, cuda and cpu, comma-separated.")
    ] = "auto",
    dtype: Annotated[
        str | None,
        typer.Option(help="float16, float32 or all.", show_default="float16, on a CPU float32"),
    ] = None,
    batch: Annotated[
        str | None,
        typer.Option(help="Batch sizes, comma-separated.", show_default="1,64, on a CPU 1"),
    ] = None,
    beam: Annotated[
        int | None,
        typer.Option(
            min=0,
            envvar="JITBEAM",
            help="Width of tinygrad's kernel search: minutes to hours, kept in its cache.",
            show_default="0",
        ),
    ] = None,
    warmup: Annotated[int, typer.Option(min=0, help="Steps before the measured ones.")] = 2,
    repetitions: Annotated[int, typer.Option(min=1, help="Measured steps.")] = 10,
    weights: Annotated[
        Path | None, typer.Option(help="torchvision's weights in a safetensors file.")
    ] = None,
    image: Annotated[Path | None, typer.Option(help="A picture to classify.")] = None,
    versus: Annotated[
        str | None, typer.Option(help="torch: PyTorch's speed on the same GPU beside ours.")
    ] = None,
    json: Annotated[Path | None, typer.Option(help="Write rows and machine to this file.")] = None,
) -> None:
    """Measure ResNet-18, ResNet-50, MobileNetV2, EfficientNet-B0 and VGG-16 in tinygrad.

    Example: bench-cnn --network resnet50 --batch 1,8 --dtype float16 --device cuda,cpu

    Pictures of 224 by 224 stay on the device; without --weights the networks are random. FLOP/s
    count two operations for each multiply-accumulate of convolutions and linear layers.
    """
    networks = _chosen("network", network, NETWORK_NAMES)
    dtypes = _chosen("dtype", dtype, DTYPES) if dtype else None
    batches = _sizes(batch) if batch else None
    if weights and len(networks) > 1:
        raise UserError("--weights fit one network: name it with --network")
    if image and not weights:
        raise UserError("--image needs trained --weights: a random network sees nothing")
    if versus not in (None, "torch"):
        raise UserError(f"unknown --versus {versus!r}: choose torch")
    if versus and not (find_spec("torch") and find_spec("torchvision")):
        raise UserError("--versus torch: install torch and torchvision beside bench-cnn")
    if beam is not None:
        os.environ["JITBEAM"] = str(beam)
    devices = select(device)
    if versus and devices == ["CPU"]:
        raise UserError("--versus torch compares on a GPU, and there is none among the devices")
    if json:
        check_writable(json)

    # tinygrad reads the environment when it is imported: only now.
    from orin_bench.cnn.classify import classify
    from orin_bench.cnn.networks import NETWORKS
    from orin_bench.cnn.throughput import Case, benchmark
    from orin_bench.cnn.weights import load_weights

    if weights and image:
        classify(networks[0], weights, image, devices[0], (dtypes or ["float32"])[0])
    elif weights:
        load_weights(NETWORKS[networks[0]](), weights)  # refused before the table begins
    cases = [
        Case(name, target, kind, size)
        for name in networks
        for target in devices
        for kind in dtypes or (["float32"] if target == "CPU" else ["float16"])
        for size in batches or ([1] if target == "CPU" else [1, 64])
    ]
    rows = []
    for row in benchmark(cases, weights, warmup, repetitions, versus_torch=versus == "torch"):
        rows.append(row)
        if json:  # after every row, so that Ctrl-C loses none
            write_json(json, rows)


def _chosen(what: str, option: str, known: Sequence[str]) -> list[str]:
    if option == "all":
        return list(known)
    names = [name.strip() for name in option.split(",")]
    for name in names:
        if name not in known:
            raise UserError(f"unknown {what} {name!r}: choose all, {', '.join(known)}")
    return names


def _sizes(option: str) -> list[int]:
    sizes = option.split(",")
    if not all(size.strip().isdecimal() and 0 < int(size) <= LARGEST_BATCH for size in sizes):
        raise UserError(f"--batch {option!r}: give whole numbers up to {LARGEST_BATCH}, as 1,64")
    return [int(size) for size in sizes]


def main() -> None:
    run(app)


if __name__ == "__main__":
    main()
