"""What the tests of rules and of dashboards share: the exporter's metrics, and promtool."""

import importlib
import os
import pkgutil
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from orin_telemetry import collectors, scrape
from orin_telemetry.metric import Family


def families() -> Iterator[Family]:
    """Every description of a metric that a module of the exporter holds; some more than once."""
    modules = [scrape] + [
        importlib.import_module(f"{collectors.__name__}.{module.name}")
        for module in pkgutil.iter_modules(collectors.__path__)
    ]
    for module in modules:
        for value in vars(module).values():
            for item in value.values() if isinstance(value, dict) else [value]:
                if isinstance(item, Family):
                    yield item


def exported() -> frozenset[str]:
    """The name of every metric of jetson-exporter's own."""
    # The exporter describes its version itself, without a collector.
    return frozenset({family.name for family in families()} | {"jetson_exporter_build_info"})


def promtool(*arguments: str | Path) -> str:
    """What promtool prints; fails with it unless promtool succeeds."""
    program = shutil.which("promtool")
    if program is None:
        missing = "promtool is missing; on Debian it is in the package prometheus"
        if "CI" in os.environ:
            pytest.fail(missing)
        pytest.skip(missing)
    done: subprocess.CompletedProcess[str] = subprocess.run(
        [program, *arguments], capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout
