"""bench-report: verdicts that hold, and hostile files refused in one line."""

import json
import math
import subprocess
import sys
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from scipy.stats import bootstrap, permutation_test

from orin_bench.compare.command import bench_report, main
from orin_bench.compare.comparison import Comparison, Verdict, compare
from orin_bench.compare.result_file import Result, Row
from orin_bench.compare.significance import compare_runs, compare_steps, holm
from orin_core.cli import UserError

ALPHA = 0.01


def row(seconds: Sequence[float], engine: str = "tinygrad CPU", **case: Any) -> dict[str, Any]:
    return {"case": case or {"op": "matmul"}, "engine": engine, "seconds": list(seconds)}


def write(path: Path, entries: Iterable[Any], **changed: Any) -> Path:
    document = {
        "schema": 1,
        "benchmark": "bench-cnn",
        "machine": {"cpu": "Xeon", "tinygrad": "0.13.0"},
        "settings": {"warmup": 2},
        "rooflines": [{"device": "CPU", "bandwidth": 1e10, "floor": 1e-5, "peaks": {}}],
        "conditions": {
            "before": {"power_mode": "MAXN", "gpu_clock_hz": 1.3e9},
            "after": {"power_mode": "MAXN", "gpu_clock_hz": 1.3e9},
            "warnings": [],
        },
        "rows": list(entries),
    }
    path.write_text(json.dumps(document | changed))
    return path


def steps(seed: int, count: int, median: float = 1e-3, noise: float = 0.01) -> list[float]:
    """Log-normal, as durations are: never below zero, with a tail of slow steps."""
    rng = np.random.default_rng(seed)
    return list(median * np.exp(noise * rng.standard_normal(count)))


@dataclass(frozen=True)
class Done:
    code: int
    out: str
    err: str


Call = Callable[..., Done]


@pytest.fixture
def call(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Call:
    """bench-report in this process."""

    def call(*arguments: str | Path) -> Done:
        monkeypatch.setattr(sys, "argv", ["bench-report", *map(str, arguments)])
        with pytest.raises(SystemExit) as ended:
            main()
        said = capsys.readouterr()
        assert isinstance(ended.value.code, int)
        return Done(ended.value.code, said.out, said.err)

    return call


def result(*samples: Sequence[float], name: str = "a.json") -> Result:
    """A run whose rows are numbered from 0."""
    rows = [Row({"number": i}, "tinygrad CPU", list(each)) for i, each in enumerate(samples)]
    return Result(Path(name), "bench-cnn", {}, {row.identity: row for row in rows})


def judged(
    before: Result, after: Result, threshold: float = 0.05, alpha: float = ALPHA
) -> Comparison:
    return compare([before], [after], threshold=threshold, alpha=alpha)


def verdicts(comparison: Comparison) -> list[Verdict]:
    return [finding.verdict for finding in comparison.findings]


# What the user sees.


def test_a_regression_is_told_and_exits_with_3(tmp_path: Path) -> None:
    names = ["resnet18", "resnet50", "vgg16"]
    before = [row(steps(i, 20), network=name, batch=8) for i, name in enumerate(names)]
    factors = [1.0, 1.3, 0.5]
    after = [
        row(steps(10 + i, 20, 1e-3 * factors[i]), network=name, batch=8)
        for i, name in enumerate(names)
    ]
    file = tmp_path / "report.json"
    write(tmp_path / "a.json", before)
    write(tmp_path / "b.json", reversed(after))
    done = subprocess.run(
        [sys.executable, "-m", "orin_bench.compare.command", "a.json", "b.json", "--json", file],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert (done.returncode, done.stderr) == (3, "")
    lines = {line.split(" | ")[0].strip("| "): line for line in done.stdout.splitlines()}
    assert lines["resnet18 batch 8"].endswith("| same    |")
    assert lines["resnet50 batch 8"].endswith("| slower  |")
    assert lines["vgg16 batch 8"].endswith("| faster  |")
    assert "+30." in lines["resnet50 batch 8"] or "+29." in lines["resnet50 batch 8"]
    assert done.stdout.splitlines()[-1] == "Regression: 1 slower, 1 faster, 1 same"
    table = [line for line in done.stdout.splitlines() if line.startswith("|")]
    assert len({len(line) for line in table}) == 1  # aligned
    report = json.loads(file.read_text())
    assert report["regressed"] is True
    assert [finding["verdict"] for finding in report["findings"]] == ["same", "slower", "faster"]
    assert report["findings"][1]["evidence"]["ratio"] == pytest.approx(1.3, rel=0.02)


def test_a_lost_row_is_a_regression(tmp_path: Path, call: Call) -> None:
    a = write(tmp_path / "a.json", [row(steps(0, 10), n=1), row(steps(1, 10), n=2)])
    b = write(tmp_path / "b.json", [row(steps(0, 10), n=1), row(steps(2, 10), n=3)])
    done = call(a, b)
    assert done.code == 3
    assert [line[:7] for line in done.out.splitlines() if "| lost " in line] == ["| n 2  "]
    assert [line[:7] for line in done.out.splitlines() if "| new " in line] == ["| n 3  "]
    assert done.out.endswith("Regression: 1 same, 1 lost, 1 new\n")


def test_what_differs_is_told(tmp_path: Path, call: Call) -> None:
    rows = [row(steps(0, 10))]
    a = write(tmp_path / "a.json", rows)
    b = write(
        tmp_path / "b.json",
        rows,
        machine={"cpu": "Xeon", "gpu": "Orin|\x1b[2J", "tinygrad": "0.14.0"},
        settings={"warmup": 2, "beam": 4},
        rooflines=[{"device": "CPU", "bandwidth": 2e10}],
        conditions={
            "before": {"power_mode": "15W", "gpu_clock_hz": 1.31e9},
            "after": {"power_mode": "MAXN", "gpu_clock_hz": 0.6e9},
            "warnings": ["the GPU was throttled"],
        },
    )
    out = call(a, b).out
    facts = [
        [cell.strip() for cell in line.split(" | ")][1:]
        for line in out.splitlines()
        if line.startswith(("| machine", "| settings", "| conditions"))
    ]
    facts = [[name, before, after.rstrip(" |")] for name, before, after in facts]
    assert facts == [
        ["tinygrad", "0.13.0", "0.14.0"],
        ["gpu", "-", '"Orin\\|\\u001b[2J"'],
        ["beam", "-", "4"],
        ["power_mode at start", "MAXN", "15W"],
        ["gpu_clock_hz at end", "1.3 G", "600 M"],
        ["bytes/s of copies on CPU", "10 G", "20 G"],
    ]
    assert '- Warning: gpu - before, "Orin|\\u001b[2J" after: this compares machines' in out
    assert "- Warning: bytes/s of copies on CPU 10 G before, 20 G after: the machine" in out
    assert "- Warning, after: the GPU was throttled" in out
    assert "What differs" not in call(a, a).out


def test_help_shows_an_example_and_the_exit_code(call: Call) -> None:
    done = call("--help")
    assert done.code == 0
    assert "bench-report old1.json,old2.json" in done.out
    assert "exit with 3" in done.out


# Verdicts.


@given(
    st.lists(
        st.builds(
            steps, st.integers(0, 999), st.integers(1, 60), noise=st.sampled_from([0, 1e-4, 0.1])
        ),
        min_size=1,
        max_size=5,
    )
)
@settings(max_examples=30, deadline=None)
def test_a_run_is_never_slower_than_itself(samples: list[list[float]]) -> None:
    run = result(*samples)
    for threshold in (0.0, 0.05):
        found = set(verdicts(judged(run, run, threshold)))
        assert found <= {Verdict.SAME, Verdict.UNCLEAR, Verdict.TOO_FEW}


@given(st.integers(0, 10**6), st.integers(10, 60), st.sampled_from([1e-4, 0.01, 0.03]))
@settings(max_examples=30, deadline=None)
def test_half_as_slow_again_is_always_slower(seed: int, count: int, noise: float) -> None:
    quick = result(*(steps(seed + i, count, noise=noise) for i in range(4)))
    slow = result(*(steps(seed + 9 + i, count, 1.5e-3, noise) for i in range(4)))
    assert set(verdicts(judged(quick, slow))) == {Verdict.SLOWER}
    assert judged(quick, slow).regressed
    assert set(verdicts(judged(slow, quick))) == {Verdict.FASTER}
    assert not judged(slow, quick).regressed


@given(st.permutations(range(6)), st.permutations(range(6)))
@settings(max_examples=20, deadline=None)
def test_the_order_of_rows_does_not_matter(first: list[int], second: list[int]) -> None:
    factors = [1.0, 1.02, 1.07, 1.5, 0.7, 0.97]
    a = result(*(steps(i, 12) for i in range(6)))
    b = result(*(steps(10 + i, 12, 1e-3 * factors[i]) for i in range(6)))
    plain, other = judged(a, b), judged(shuffled(a, first), shuffled(b, second))
    assert sorted(plain.findings, key=str) == sorted(other.findings, key=str)


def test_the_order_of_a_cases_names_does_not_matter() -> None:
    one = Row({"network": "vgg16", "batch": 1}, "torch eager", [1.0])
    other = Row({"batch": 1, "network": "vgg16"}, "torch eager", [2.0])
    assert one.identity == other.identity
    assert one.identity != replace(one, engine="torch graph").identity
    assert one.identity != replace(one, case={"network": "vgg16", "batch": "1"}).identity


def shuffled(run: Result, order: list[int]) -> Result:
    rows = list(run.rows.items())
    return replace(run, rows=dict(rows[i] for i in order))


def false_verdicts(make: Callable[[int], tuple[Any, Any]], method: Any, tables: int) -> int:
    """In how many of `tables` equal pairs a significant difference is found."""
    return sum(method(*make(seed), 0.05).p <= 0.05 for seed in range(tables))


def test_equal_steps_are_rarely_called_different() -> None:
    """A binomial bound: 5% of 300, and three standard deviations more."""
    found = false_verdicts(
        lambda seed: (steps(seed, 10), steps(seed + 10**6, 10)), compare_steps, 300
    )
    assert 5 <= found <= 15 + 3 * math.sqrt(300 * 0.05 * 0.95)


def test_processes_that_differ_need_several_runs() -> None:
    """Every process with a speed of its own: its steps alone claim differences that are none."""

    def process(seed: int) -> list[float]:
        own = float(np.exp(0.02 * np.random.default_rng(seed).standard_normal()))
        return steps(seed, 20, 1e-3 * own, noise=0.005)

    def medians(first: int) -> list[float]:
        return [float(np.median(process(first + i))) for i in range(4)]

    tables, bound = 300, 15 + 3 * math.sqrt(300 * 0.05 * 0.95)
    one = false_verdicts(lambda s: (process(s), process(s + 10**6)), compare_steps, tables)
    several = false_verdicts(lambda s: (medians(8 * s), medians(8 * s + 4)), compare_runs, tables)
    assert one > 200
    assert several <= bound


def test_few_noisy_runs_against_many_quiet_ones() -> None:
    """Where a t test that pools the variances would be wrong every other time."""
    tables, bound = 300, 15 + 3 * math.sqrt(300 * 0.05 * 0.95)
    found = false_verdicts(
        lambda seed: (steps(seed, 3, noise=0.1), steps(seed + 10**6, 12, noise=0.005)),
        compare_runs,
        tables,
    )
    assert found <= bound


def test_a_table_of_equal_rows_is_rarely_wrong() -> None:
    """Over the whole table, without a threshold's help: Holm's correction."""
    wrong = 0
    for seed in range(40):
        sides = [
            result(*(steps(1000 * seed + first + i, 10) for i in range(10))) for first in (0, 500)
        ]
        found = set(verdicts(judged(sides[0], sides[1], 0.0, 0.05)))
        wrong += bool(found & {Verdict.SLOWER, Verdict.FASTER})
    assert wrong <= 2 + 3 * math.sqrt(40 * 0.05 * 0.95)


@pytest.mark.parametrize(
    ("factor", "count", "noise", "verdict"),
    [
        (9.0, 1, 0.01, Verdict.TOO_FEW),
        (9.0, 3, 0.01, Verdict.TOO_FEW),
        (9.0, 4, 0.01, Verdict.TOO_FEW),  # 2 of 70 orders of 8 steps: p is at least 0.029
        (1.2, 5, 0.01, Verdict.SLOWER),  # 2 of 252: 0.008
        (1.03, 40, 0.01, Verdict.SAME),  # surely slower, but not beyond the threshold
        (1.0, 40, 0.01, Verdict.SAME),
        (1.0, 10, 0.3, Verdict.UNCLEAR),
    ],
)
def test_the_verdict(factor: float, count: int, noise: float, verdict: Verdict) -> None:
    before = result(steps(0, count, noise=noise))
    after = result(steps(1, count, 1e-3 * factor, noise))
    assert verdicts(judged(before, after)) == [verdict]


def test_three_steps_are_too_few_for_any_alpha() -> None:
    before, after = result(steps(0, 3)), result(steps(1, 3, 9e-3))
    assert verdicts(judged(before, after, alpha=0.5)) == [Verdict.TOO_FEW]


def test_too_many_rows_for_five_steps() -> None:
    """Rows that alone would be slower cannot be so among twenty."""
    before = result(*(steps(i, 5) for i in range(20)))
    after = result(*(steps(i, 5, 2e-3) for i in range(20)))
    assert set(verdicts(judged(before, after))) == {Verdict.TOO_FEW}


@pytest.mark.parametrize("count", [1, 10])
def test_several_runs_a_side_however_few_their_steps(count: int) -> None:
    factors = [1.0, 1.01, 0.99, 1.0, 1.1, 1.11, 1.09, 1.1]
    runs = [
        result(steps(i, count, 1e-3 * factor, noise=0.002), name=f"{i}.json")
        for i, factor in enumerate(factors)
    ]
    for before, after, verdict in (
        (runs[:4], runs[4:], Verdict.SLOWER),
        (runs[4:], runs[:4], Verdict.FASTER),
        (runs[:4], runs[:4], Verdict.SAME),
    ):
        assert verdicts(compare(before, after, threshold=0.05, alpha=ALPHA)) == [verdict]


def test_runs_without_any_spread() -> None:
    same = compare_runs([1.0] * 3, [1.0] * 3, ALPHA)
    assert (same.ratio, same.low, same.high, same.p) == (1, 1, 1, 1)
    other = compare_runs([1.0] * 3, [2.0] * 3, ALPHA)
    assert other.ratio == pytest.approx(2)
    assert other.p == 0


def test_wild_runs_have_a_bounded_interval() -> None:
    found = compare_runs([1e-12, 1.0, 1e9], [1e9, 1e-12, 1.0], 1e-9)
    assert 0 < found.low < 1 < found.high < math.inf


# The arithmetic, against other ways to it.


@pytest.mark.parametrize(("n", "m"), [(7, 11), (10, 10), (25, 8), (60, 60)])
def test_the_interval_is_that_of_a_bootstrap(n: int, m: int) -> None:
    before, after = steps(n, n, noise=0.1), steps(100 + m, m, 1.2e-3, noise=0.1)
    found = compare_steps(before, after, 0.05)
    reference = bootstrap(
        (after, before),
        lambda a, b, axis: np.median(a, axis) / np.median(b, axis),
        method="percentile",
        n_resamples=20_000,
        rng=np.random.default_rng(1),
    ).confidence_interval
    assert found.low == pytest.approx(reference.low, rel=0.02)
    assert found.high == pytest.approx(reference.high, rel=0.02)


def test_p_is_that_of_all_permutations() -> None:
    before, after = steps(1, 6, noise=0.1), steps(2, 5, 1.1e-3, noise=0.1)
    exact = permutation_test(
        (before, after), lambda a, b: sum((x > y) for x in a for y in b), n_resamples=np.inf
    )
    assert compare_steps(before, after, ALPHA).p == pytest.approx(exact.pvalue)


def test_very_many_steps() -> None:
    before, after = steps(0, 10**5), steps(1, 10**5, 1.01e-3)
    found = compare_steps(before, after, ALPHA)
    assert (found.p, found.least_p) == (0, 0)
    assert found.low < 1.01 < found.high < found.low + 2e-3


def test_the_smallest_p_is_that_of_complete_separation() -> None:
    found = compare_steps([1.0, 2.0, 3.0], [4.0, 5.0, 6.0, 7.0], ALPHA)
    assert found.p == pytest.approx(found.least_p) == pytest.approx(2 / 35)


def test_holm() -> None:
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.9, 0.8]) == pytest.approx([1, 1])
    assert holm([]) == []


# Mistakes.


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("files")
    good = [row(steps(0, 5))]
    for name in ("good", "good2", "good3"):
        write(folder / name, good)
    write(folder / "schema", good, schema=2)
    write(folder / "true", good, schema=True)
    write(folder / "nameless", good, benchmark=None)
    write(folder / "other", good, benchmark="bench-llama-3b")
    write(folder / "elsewhere", [row(steps(0, 5), engine="torch eager")])
    write(folder / "more", [*good, row(steps(0, 5), engine="torch eager")])
    write(folder / "none", [])
    write(folder / "twice", good * 2)
    write(folder / "loose", ["row"])
    (folder / "list").write_text("[]")
    (folder / "text").write_text("network, engine")
    (folder / "binary").write_bytes(b"\x80\x81")
    (folder / "deep").write_text("[" * 200_000)
    (folder / "digits").write_text("1" * 5000)
    with (folder / "huge").open("wb") as file:
        file.truncate((64 << 20) + 1)
    hostile = {
        "nan": row([1e-3, math.nan]),
        "infinite": row([1e-3, math.inf]),
        "negative": row([1e-3, -1e-3]),
        "zero": row([1e-3, 0]),
        "bool": row([1e-3, True]),
        "string": row([1e-3, "1e-3"]),  # type: ignore[list-item]
        "empty": row([]),
        "dict": row([]) | {"seconds": {"0": 1}},
        "engineless": {"case": {"n": 1}, "seconds": [1.0]},
        "engine": row([1.0]) | {"engine": "a\nb"},
        "surrogate": row([1.0]) | {"engine": "\ud800"},
        "caseless": {"engine": "x", "seconds": [1.0]},
        "case": row([1.0], n=[1]),
        "casenan": row([1.0], n=math.nan),
        "casehuge": row([1.0], n=10**400),
    }
    for name, entry in hostile.items():
        write(folder / name, [row([1.0]), entry])
    return folder


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ("", "Missing argument"),
        ("{0}/good", "Missing argument"),
        ("{0}/good {0}/absent", "absent: no such file"),
        ("{0}/good {0}", "cannot be read: Is a directory"),
        ("{0}/good ,", "',': give a file"),
        ("{0}/good {0}/huge", "huge: larger than 64 MiB"),
        ("{0}/good {0}/text", "text: not JSON"),
        ("{0}/good {0}/binary", "binary: not JSON"),
        ("{0}/good {0}/deep", "deep: not JSON"),
        ("{0}/good {0}/digits", "digits: not JSON"),
        ("{0}/good {0}/list", "list: not a benchmark's result"),
        ("{0}/good {0}/schema", "schema: schema 2, not 1"),
        ("{0}/good {0}/true", "true: schema true, not 1"),
        ("{0}/good {0}/nameless", "nameless: names no benchmark"),
        ("{0}/good {0}/other", "other: a result of bench-llama-3b, while"),
        ("{0}/good {0}/elsewhere", "no row in common"),
        ("{0}/good {0}/none", "none: no rows"),
        ("{0}/good {0}/twice", "twice: row 2 repeats"),
        ("{0}/good {0}/loose", "loose: row 1 is no object"),
        ("{0}/good {0}/nan", "nan: row 2: step 2 took NaN, which is no time"),
        ("{0}/good {0}/infinite", "infinite: row 2: step 2 took Infinity"),
        ("{0}/good {0}/negative", "negative: row 2: step 2 took -0.001"),
        ("{0}/good {0}/zero", "zero: row 2: step 2 took 0"),
        ("{0}/good {0}/bool", "bool: row 2: step 2 took true"),
        ("{0}/good {0}/string", 'string: row 2: step 2 took "1e-3"'),
        ("{0}/good {0}/empty", "empty: row 2: seconds is no list of measured steps"),
        ("{0}/good {0}/dict", "dict: row 2: seconds is no list of measured steps"),
        ("{0}/good {0}/engineless", "engineless: row 2: engine is no name"),
        ("{0}/good {0}/engine", "engine: row 2: engine is no name"),
        ("{0}/good {0}/surrogate", "surrogate: row 2: engine is no name"),
        ("{0}/good {0}/caseless", "caseless: row 2: case is no object"),
        ("{0}/good {0}/case", "case: row 2: case 'n' is no name and plain value"),
        ("{0}/good {0}/casenan", "casenan: row 2: case 'n' is no name"),
        ("{0}/good {0}/casehuge", "casehuge: row 2: case 'n' is no name"),
        ("{0}/good {0}/good,{0}/good2,{0}/good3", "1 runs before and 3 after: give one file"),
        ("{0}/good {0}/good,{0}/good,{0}/good", "a file is given twice"),
        ("{0}/good {0}/good,{0}/good2,{0}/more", "only one has matmul, torch eager"),
        ("{0}/good {0}/good --threshold 5", "--threshold '5': give a percentage"),
        ("{0}/good {0}/good --threshold=-5%", "--threshold '-5%': give a percentage"),
        ("{0}/good {0}/good --alpha 0", "--alpha 0.0: give a probability"),
        ("{0}/good {0}/good --alpha nan", "--alpha nan: give a probability"),
        ("{0}/good {0}/good2 --json {0}/no/such", "such: cannot be written"),
        ("{0}/good {0}/good2 --json {0}/good", "this is one of the results"),
    ],
)
def test_a_mistake_is_one_line(arguments: str, words: str, files: Path, call: Call) -> None:
    done = call(*arguments.format(files).split())
    assert (done.code, done.out) == (2, "")
    assert words in done.err
    assert done.err.startswith("bench-report: ")
    assert done.err.count("\n") == 1


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda children: (
        st.lists(children, max_size=3)
        | st.dictionaries(
            st.sampled_from(["case", "engine", "seconds", "before", "warnings", "device", "x"]),
            children,
        )
    ),
    max_leaves=8,
)


@given(
    st.dictionaries(
        st.sampled_from(["schema", "machine", "settings", "conditions", "rooflines", "rows"]),
        json_values,
    ),
)
@settings(
    max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_any_json_is_compared_or_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], changed: dict[str, Any]
) -> None:
    good = write(tmp_path / "good", [row(steps(0, 5))])
    path = write(tmp_path / "changed", [row(steps(0, 5))], **changed)
    try:
        bench_report(str(good), str(path), "5%", 0.01, None)
    except UserError as error:
        assert str(path) in str(error)
    out = capsys.readouterr().out
    assert all(char.isprintable() or char == "\n" for char in out)
