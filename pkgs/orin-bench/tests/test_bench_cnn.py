"""bench-cnn as a user runs it: a table, a file, a classified picture, and mistakes in one line."""

import json
import os
import resource
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from safetensors.numpy import save_file
from tinygrad.nn.state import get_state_dict

from orin_bench.cnn.network import randomize
from orin_bench.cnn.networks import NETWORKS

BENCH_CNN = [
    sys.executable,
    "-c",
    "import sys; sys.argv[0] = 'bench-cnn'; from orin_bench.cnn.command import main; main()",
]


def finish(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*BENCH_CNN, *arguments], capture_output=True, text=True, timeout=1200, check=False
    )


def save(name: str, file: Path, **changed: np.ndarray) -> Path:
    """Random weights of network `name`, as torchvision would name them."""
    network = NETWORKS[name]()
    randomize(network)
    tensors = {key: tensor.numpy() for key, tensor in get_state_dict(network).items()}
    tensors |= {key.replace("__", "."): value for key, value in changed.items()}
    save_file(tensors, file)
    return file


def table(text: str) -> list[str]:
    """The lines of the last Markdown table in `text`."""
    head, _, rest = text.rpartition("\n| network")
    assert head.startswith("# bench-cnn\n") or "\n# bench-cnn\n" in head
    return [line for line in ("| network" + rest).splitlines() if line.startswith("|")]


def test_prints_a_row_and_writes_it(tmp_path: Path) -> None:
    file = tmp_path / "result.json"
    arguments = ["--network", "resnet18", "--device", "cpu", "--batch", "1,2"]
    done = finish(*arguments, "--warmup", "1", "--repetitions", "3", "--json", str(file))
    assert (done.returncode, done.stderr) == (0, "")
    lines = table(done.stdout)
    assert [line.count("|") for line in lines] == [13] * 4
    result = json.loads(file.read_text())
    rows = result["rows"]
    (roof,) = result["rooflines"]
    assert [row["case"]["batch"] for row in rows] == [1, 2]
    for row, line in zip(rows, lines[2:], strict=True):
        batch = row["case"]["batch"]
        assert row["case"] == {
            "network": "resnet18",
            "device": "CPU",
            "dtype": "float32",
            "batch": batch,
        }
        assert row["engine"] == "tinygrad CPU"
        assert len(row["seconds"]) == 3
        assert row["images_per_second"] == pytest.approx(batch / row["median_seconds"])
        flops = 2 * 1.814073344e9 * batch
        assert row["flop_per_second"] == pytest.approx(flops / row["median_seconds"])
        traffic = 4 * (11_689_512 + batch * (224 * 224 * 3 + 1000))
        fastest = max(flops / roof["peaks"]["float32"], traffic / roof["bandwidth"])
        assert row["share_of_roofline"] == pytest.approx(fastest / row["median_seconds"])
        assert f"{row['images_per_second']:.1f}" in line
        # 11.7 million float32 parameters and what they compute with.
        assert 46e6 < row["memory_bytes"] < 200e6
    assert result["settings"] == {"weights": "random", "beam": 0, "warmup": 1, "repetitions": 3}
    assert result["conditions"]["after"] is not None


@pytest.mark.slow
def test_a_quick_run_is_quick(tmp_path: Path) -> None:
    """With a cache that is still empty: a minute and 4 GB on two cores."""
    start = time.monotonic()
    subprocess.run(
        [*BENCH_CNN, "--quick", "--device", "cpu"],
        env={**os.environ, "XDG_CACHE_HOME": str(tmp_path)},
        stdout=subprocess.DEVNULL,
        check=True,
    )
    assert time.monotonic() - start < 60
    assert resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * 1024 < 4e9


def test_classifies_a_picture(tmp_path: Path) -> None:
    """A network whose last bias favours one class must name that class, and surely."""
    bias = np.zeros(1000, np.float32)
    bias[207] = 1000.0  # ImageNet's class 207
    weights = save("resnet18", tmp_path / "weights.safetensors", fc__bias=bias)
    picture = tmp_path / "picture.png"
    Image.effect_noise((300, 400), 80).save(picture)
    done = finish(
        "--network", "resnet18", "--device", "cpu", "--repetitions", "1",
        "--weights", str(weights), "--image", str(picture),
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    first = done.stdout.splitlines()[2]
    assert "golden retriever" in first
    assert "100.0%" in first


def test_damaged_weights_name_no_class(tmp_path: Path, files: Path) -> None:
    bias = np.full(1000, np.nan, np.float32)
    weights = save("resnet18", tmp_path / "weights.safetensors", fc__bias=bias)
    arguments = ["--weights", str(weights), "--image", str(files / "picture.png")]
    done = finish("--network", "resnet18", "--device", "cpu", *arguments)
    assert done.returncode == 2
    assert "give scores that are no numbers" in done.stderr


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("files")
    resnet18 = save("resnet18", folder / "resnet18.safetensors")
    save("resnet18", folder / "extra.safetensors", another=np.zeros(1, np.float32))
    int8 = np.zeros((64, 3, 7, 7), np.int8)
    save("resnet18", folder / "int8.safetensors", conv1__weight=int8)
    (folder / "cut.safetensors").write_bytes(resnet18.read_bytes()[:5000])
    (folder / "text.jpg").write_text("no picture")
    Image.new("RGB", (8, 8)).save(folder / "picture.png")
    return folder


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ("--bogus", "No such option"),
        ("--network alexnet", "unknown network 'alexnet': choose all, resnet18, resnet50"),
        ("--device tpu", "unknown device 'tpu': choose auto, nv, cuda, cpu"),
        ("--dtype int8", "unknown dtype 'int8': choose all, float16, float32"),
        ("--batch 0", "--batch '0': give whole numbers up to 4096"),
        ("--batch 99999999999999999999", "give whole numbers up to 4096"),
        ("--batch 1,x", "--batch '1,x'"),
        ("--repetitions 0", "--repetitions"),
        (
            "--network vgg16 --batch 4096",
            "vgg16 float32 batch 4096 needs about 526.7 GB, and CPU has ",
        ),
        ("--versus jax", "unknown --versus 'jax': choose torch"),
        ("--image {}/picture.png", "--image needs trained --weights"),
        ("--weights {}/resnet18.safetensors", "name it with --network"),
        ("--network vgg16 --weights {}/none", "none: no such weights file"),
        ("--network vgg16 --weights {}/cut.safetensors", "cut.safetensors: not a readable"),
        ("--network vgg16 --weights {}/text.jpg", "text.jpg: not a readable safetensors file"),
        ("--network vgg16 --weights {}", "not a file; give a safetensors file"),
        (
            "--network resnet18 --weights {}/int8.safetensors",
            "conv1.weight is I8: save the weights",
        ),
        (
            "--network resnet50 --weights {}/resnet18.safetensors",
            "resnet18.safetensors: another network's weights: lacks layer1.0.conv3.weight (and ",
        ),
        (
            "--network resnet18 --weights {}/extra.safetensors",
            "extra.safetensors: another network's weights: has another besides",
        ),
        (
            "--network resnet18 --weights {0}/resnet18.safetensors --image {0}/none.png",
            "none.png: no such picture",
        ),
        (
            "--network resnet18 --weights {0}/resnet18.safetensors --image {0}/text.jpg",
            "text.jpg: not a picture",
        ),
        ("--network resnet18 --repetitions 1 --json {}/no/such.json", "cannot be written"),
    ],
)
def test_a_mistake_is_one_line(arguments: str, words: str, files: Path) -> None:
    done = finish("--device", "cpu", *arguments.format(files).split())
    assert done.returncode == 2, done.stderr
    assert words in done.stderr
    assert done.stderr.startswith("bench-cnn: ")
    assert done.stderr.count("\n") == 1


def test_ctrl_c_ends_cleanly() -> None:
    with subprocess.Popen(
        [*BENCH_CNN, "--device", "cpu", "--repetitions", "100000"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout
        assert any(line.startswith("| network") for line in process.stdout)
        os.kill(process.pid, signal.SIGINT)
        _, errors = process.communicate(timeout=60)
    assert process.returncode == 130
    assert errors == "bench-cnn: stopped\n"
