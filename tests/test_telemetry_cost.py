"""What measuring costs: CPU time of a scrape and resident memory, beside node_exporter's.

`./orin test -m slow -s -k cost` prints the figures; it takes five minutes.
"""

import shutil
import statistics
import time
import urllib.request
from pathlib import Path

import pytest

from orin_demo.stack import Stack

RULES = Path(__file__).parent.parent / "modules/telemetry/rules"
SCRAPES = 1000
PAUSE_S = 0.25  # a little more than the exporter keeps an answer for
AT_REST_S = 60
HOUR_S = 3600


def cpu_seconds(pid: int) -> float:
    """CPU time of another process, in user mode and in the kernel, of ended threads too."""
    return time.clock_gettime((~pid << 3) | 2)  # clock_getcpuclockid(3) of Linux


def resident_bytes(pid: int) -> int:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmRSS"))


def scrape_cost(pid: int, url: str) -> float:
    """CPU milliseconds of one scrape, as Prometheus asks for it."""
    request = urllib.request.Request(f"{url}/metrics", headers={"Accept-Encoding": "gzip"})
    before = cpu_seconds(pid)
    with urllib.request.urlopen(request) as answer:
        answer.read()
    time.sleep(0.01)  # what it tidies up after the answer counts
    return 1000 * (cpu_seconds(pid) - before)


@pytest.mark.slow
def test_cost_of_a_scrape() -> None:
    if not shutil.which("prometheus-node-exporter") and not shutil.which("node_exporter"):
        pytest.skip("no node_exporter to compare with")
    # Prometheus stays out of the way: its next scrape is in an hour.
    with Stack({"orin": "tour"}, RULES, scrape_s=HOUR_S) as stack:
        assert stack.node is not None
        targets = {
            "jetson-exporter": (stack.processes["orin-exporter"].pid, stack.exporters["orin"]),
            "node_exporter": (stack.processes["node_exporter"].pid, stack.node),
        }
        costs: dict[str, list[float]] = {name: [] for name in targets}
        for _ in range(SCRAPES):
            for name, (pid, url) in targets.items():
                costs[name].append(scrape_cost(pid, url))
            time.sleep(PAUSE_S)
        shares = {}
        before = {name: (time.monotonic(), cpu_seconds(pid)) for name, (pid, _) in targets.items()}
        for _ in range(AT_REST_S // 5):
            for pid, url in targets.values():
                scrape_cost(pid, url)
            time.sleep(5)
        for name, (pid, _) in targets.items():
            since, cpu = before[name]
            shares[name] = 100 * (cpu_seconds(pid) - cpu) / (time.monotonic() - since)
        print()
        for name, (pid, _) in targets.items():
            quantiles = statistics.quantiles(costs[name], n=100)
            print(
                f"{name}: {quantiles[49]:.1f} ms median, {quantiles[98]:.1f} ms p99 of CPU a"
                f" scrape; {resident_bytes(pid) / 1e6:.0f} MB; {shares[name]:.2f} % of a core at"
                " one scrape in 5 s"
            )
        quantiles = statistics.quantiles(costs["jetson-exporter"], n=100)
        assert quantiles[49] <= 8
        assert quantiles[98] <= 25
        assert shares["jetson-exporter"] < 0.5
        assert resident_bytes(targets["jetson-exporter"][0]) <= 45e6
