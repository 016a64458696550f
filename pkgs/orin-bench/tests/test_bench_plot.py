"""Pictures: what is drawn is true, legible, and the same file every time."""

import logging
import math
import os
import subprocess
import sys
from collections.abc import Iterator
from itertools import combinations, pairwise
from pathlib import Path
from xml.etree import ElementTree

import matplotlib
import numpy as np
import pytest
from matplotlib import style
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.text import Text
from PIL import Image

from orin_bench.drawing.roofline import GREY, draw_roofline
from orin_bench.drawing.style import COLOURS, STYLE
from orin_bench.drawing.sweep import draw_sweep
from orin_bench.plot import Point, check_plot, plot_roofline, plot_sweep
from orin_bench.roofline import Roofline
from orin_core.cli import UserError

ROOFLINE = Roofline("CUDA", 4e12, 4e-6, {"float16": 1e15, "bfloat16": 1e15, "float32": 6e13})
POINT = Point("matmul 4096", "tinygrad CUDA", "float16", 683.0, 2e14)
SWEEP = {"tinygrad": [(1.0, 2.0, 4.0), (3.0, 5.0, 6.0)], "torch": [(7.0, 8.0, 9.0)] * 2}

# A program that draws both, for a process of its own.
DRAW = """
import sys
from pathlib import Path
from orin_bench.plot import Point, plot_roofline, plot_sweep
from orin_bench.roofline import Roofline
roofline = Roofline("CUDA", 4e12, 4e-6, {"float16": 1e15})
engines = {"tinygrad", "torch eager", "torch graph"}
places = [(f"case {i}", engine, 2.0**i) for i in range(9) for engine in sorted(engines)]
points = [Point(name, engine, "float16", x, 1e12 * x) for name, engine, x in places]
plot_roofline(Path(sys.argv[1], "roofline.svg"), roofline, points)
bars = {engine: [(1, 2, 3)] * 2 for engine in sorted(engines)}
plot_sweep(Path(sys.argv[1], "sweep.svg"), "A title", [1, 8], bars, "x", "y")
assert "matplotlib.pyplot" not in sys.modules, "whose state is everyone's"
"""


@pytest.fixture
def styled() -> Iterator[None]:
    with style.context(["default", STYLE]):
        yield


def crowd(seed: int, cases: int) -> list[Point]:
    """`cases` products and sums, each by two engines, where real ones lie: under the roofs."""
    rng = np.random.default_rng(seed)
    points = []
    for case in range(cases):
        intensity = float(10 ** rng.uniform(-0.5, 3.2))
        for engine in ("tinygrad CUDA", "torch graph"):
            speed = ROOFLINE.bandwidth * intensity * rng.uniform(0.02, 0.9)
            points.append(
                Point(f"case {case} large", engine, "float16", intensity, min(speed, 9e14))
            )
    return points


def texts_of(axes: Axes) -> list[Text]:
    return [text for text in axes.texts if text.get_text()]


# Files.


@pytest.mark.parametrize("name", ["a.pdf", "a", "a.svg.gz", ".svg"])
def test_another_suffix_is_refused(name: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"ends in \.svg or \.png"):
        check_plot(tmp_path / name)
    assert not list(tmp_path.iterdir())


def test_an_unwritable_path_is_refused(tmp_path: Path) -> None:
    for name in ("none/a.svg", "directory.png"):
        (tmp_path / "directory.png").mkdir(exist_ok=True)
        with pytest.raises(UserError, match="cannot be written"):
            check_plot(tmp_path / name)
    check_plot(tmp_path / "a.SVG")
    with pytest.raises(UserError, match="cannot be written"):
        plot_roofline(tmp_path / "none/a.svg", ROOFLINE, [POINT])


def test_checking_does_not_wait_for_matplotlib() -> None:
    program = "import sys, orin_bench.plot; sys.exit('matplotlib' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0


def test_the_suffix_chooses_the_format(tmp_path: Path) -> None:
    plot_roofline(tmp_path / "a.png", ROOFLINE, [POINT])
    with Image.open(tmp_path / "a.png") as picture:
        assert (picture.format, picture.width) == ("PNG", 1400)  # 7 inches
    plot_sweep(tmp_path / "a.SVG", "A title", [1, 2], SWEEP, "x", "y")
    assert ElementTree.parse(tmp_path / "a.SVG").getroot().tag.endswith("svg")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.SVG", "a.png"]


def test_the_same_file_in_any_process(tmp_path: Path) -> None:
    """Whatever the seed of hashes, with no HOME, and with settings of the user's own."""
    (tmp_path / "matplotlibrc").write_text("font.size: 30\nsvg.hashsalt: other\ntext.usetex: True")
    surroundings = [
        {"HOME": str(tmp_path), "MPLCONFIGDIR": str(tmp_path), "PYTHONHASHSEED": "1"},
        {"HOME": "/dev/null/none", "PYTHONHASHSEED": "2"},
    ]
    files = []
    for index, surrounding in enumerate(surroundings):
        folder = tmp_path / str(index)
        folder.mkdir()
        kept = {k: v for k, v in os.environ.items() if not k.startswith(("XDG_", "MPL"))}
        done = subprocess.run(
            [sys.executable, "-c", DRAW, folder],
            env=kept | surrounding, capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
        files.append({path.name: path.read_bytes() for path in folder.iterdir()})
    assert set(files[0]) == {"roofline.svg", "sweep.svg"}
    assert files[0] == files[1]


def test_matplotlib_is_left_as_it_was(tmp_path: Path) -> None:
    before = dict(matplotlib.rcParams), logging.getLogger("matplotlib").level
    plot_roofline(tmp_path / "a.svg", ROOFLINE, [POINT])
    plot_sweep(tmp_path / "b.png", "A title", [1, 2], SWEEP, "x", "y")
    assert before == (dict(matplotlib.rcParams), logging.getLogger("matplotlib").level)


# What is drawn.


def test_the_roof_is_the_smaller_bound(styled: None) -> None:
    axes = draw_roofline(ROOFLINE, [POINT]).axes[0]
    ends = [line.get_xydata() for line in axes.lines if len(np.asarray(line.get_xdata())) == 2]
    roofs = [np.asarray(each) for each in ends if np.ptp(np.asarray(each)[:, 0])]
    assert len(roofs) == 4  # the slope, and a level line for each dtype
    for intensity in np.geomspace(1, 600, 20):
        heights = [
            math.exp(np.interp(math.log(intensity), *np.log(roof).T))
            for roof in roofs
            if roof[0, 0] <= intensity <= roof[1, 0]
        ]
        bounds = {min(peak, intensity * ROOFLINE.bandwidth) for peak in ROOFLINE.peaks.values()}
        assert all(any(h == pytest.approx(bound) for h in heights) for bound in bounds)
    names = [text.get_text() for text in texts_of(axes)]
    assert "float16, bfloat16  1000 TFLOP/s" in names
    assert "float32  60 TFLOP/s" in names
    assert "copy  4000 GB/s" in names
    assert "matmul 4096" in names
    marker = [line for line in axes.lines if line.get_marker() == "o"]
    assert [tuple(np.asarray(line.get_xydata())[0]) for line in marker] == [(683.0, 2e14)]


def test_points_without_a_place_are_left_out(styled: None, tmp_path: Path) -> None:
    without = [
        Point("embedding", "tinygrad CUDA", "float16", x, y)
        for x, y in ((0.0, 0.0), (math.inf, 1e12), (1.0, math.inf), (math.nan, 1e12))
    ]
    plot_roofline(tmp_path / "a.svg", ROOFLINE, [POINT, *without])
    text = (tmp_path / "a.svg").read_text()
    assert "<!-- matmul 4096 -->" in text
    assert "embedding" not in text
    plot_roofline(tmp_path / "b.svg", Roofline("NV", 2e11, 1e-6, {}), [])
    assert "<!-- copy  200 GB/s -->" in (tmp_path / "b.svg").read_text()


def test_a_name_is_no_formula(tmp_path: Path) -> None:
    name = r"a_$\frac$_model"
    plot_roofline(tmp_path / "a.svg", ROOFLINE, [Point(name, "torch", "float16", 1.0, 1e12)])
    assert f"<!-- {name} -->" in (tmp_path / "a.svg").read_text()


@pytest.mark.parametrize("seed", range(4))
def test_no_text_covers_another(seed: int, styled: None) -> None:
    figure = draw_roofline(ROOFLINE, crowd(seed, 15))
    figure.draw_without_rendering()
    axes = figure.axes[0]
    texts = [text for text in texts_of(axes) if not text.get_rotation()]
    boxes = [Text.get_window_extent(text) for text in texts]
    assert len(boxes) == 15 + 2  # all cases, two roofs
    for one, other in combinations(boxes, 2):
        assert not one.padded(-0.5).overlaps(other)
    for line in axes.lines:
        if line.get_marker() != "None":
            (x, y) = axes.transData.transform(line.get_xydata())[0]
            assert not any(box.contains(x, y) for box in boxes)
    labels = [box for text, box in zip(texts, boxes, strict=True) if "FLOP" not in text.get_text()]
    assert len(labels) == 15
    for line in axes.lines:
        if line.get_color() == GREY:
            roof = axes.transData.transform_path(line.get_path())
            assert not any(roof.intersects_bbox(box, filled=False) for box in labels)
    for box in boxes:
        assert axes.bbox.x0 <= box.x0 and box.x1 <= axes.bbox.x1 + 1


def test_too_many_labels_become_numbers_with_a_key(styled: None) -> None:
    figure = draw_roofline(ROOFLINE, crowd(0, 40))
    figure.draw_without_rendering()
    axes, below = figure.axes
    names = {text.get_text() for text in axes.texts}
    assert {str(number) for number in range(1, 41)} <= names
    key = texts_of(below)
    assert [text.get_text() for text in key[:2]] == ["1  case 0 large", "2  case 1 large"]
    boxes = [text.get_window_extent() for text in key]
    assert not any(one.padded(-0.5).overlaps(other) for one, other in combinations(boxes, 2))
    assert all(box.x0 >= 0 and box.x1 <= figure.bbox.x1 and box.y0 >= 0 for box in boxes)


def test_a_sweep_shows_low_middle_and_high(styled: None) -> None:
    axes = draw_sweep("A title", [1, 64], SWEEP, "batch", "images/s").axes[0]
    assert (axes.get_xlabel(), axes.get_ylabel(), axes.get_xscale()) == ("batch", "images/s", "log")
    assert axes.get_ylim()[0] == 0
    for container, bars in zip(axes.containers, SWEEP.values(), strict=True):
        line, _, (spread,) = container
        assert list(line.get_ydata()) == [middle for _, middle, _ in bars]
        assert [list(s[:, 1]) for s in spread.get_segments()] == [[lo, hi] for lo, _, hi in bars]
    assert axes.get_legend_handles_labels()[1] == list(SWEEP)
    assert [tick.get_text() for tick in axes.get_xticklabels()] == ["1", "64"]


def test_a_sweep_over_names_and_with_a_gap(styled: None) -> None:
    gap = (math.nan,) * 3
    bars = {"tinygrad": [(1.0, 2.0, 3.0), gap, (100.0, 200.0, 300.0)]}
    axes = draw_sweep("A title", ["resnet18", "resnet50", "vgg16"], bars, "network", "y").axes[0]
    assert [t.get_text() for t in axes.get_xticklabels()] == ["resnet18", "resnet50", "vgg16"]
    assert axes.get_yscale() == "log"  # or resnet18 would lie on the axis
    assert list(np.isnan(np.asarray(axes.lines[0].get_ydata(), float))) == [False, True, False]


def test_colours_differ_in_greyscale() -> None:
    """By luminance, of which a step of a tenth is plain to see; the four that occur together."""
    grey = sorted(np.dot(to_rgb(colour), (0.299, 0.587, 0.114)) for colour in COLOURS[:4])
    assert all(after - before > 0.1 for before, after in pairwise(grey))
