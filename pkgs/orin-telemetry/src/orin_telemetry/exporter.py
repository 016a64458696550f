"""jetson-exporter: a Jetson's clocks, temperatures, power and throttling for Prometheus."""

import gc
import logging
import platform
import re
import signal
from collections.abc import Iterable
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from types import FrameType
from typing import Annotated, NoReturn

import typer
from prometheus_client import CollectorRegistry, Info, ProcessCollector, make_wsgi_app

from orin_core import cli
from orin_core.cli import UserError
from orin_core.systemd import notify
from orin_telemetry import collectors, page, web
from orin_telemetry.collectors.board import INFO
from orin_telemetry.collectors.energy import EnergyCollector
from orin_telemetry.kernel import Kernel
from orin_telemetry.scrape import Scraper
from orin_telemetry.view import View

LISTEN = "127.0.0.1:9460"

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


def _release() -> str:
    try:
        return version("orin-telemetry")
    except PackageNotFoundError:
        return "source"  # run from a source tree


def _show_version(asked: bool) -> None:
    if asked:
        typer.echo(f"jetson-exporter {_release()}")
        raise typer.Exit


@app.command(context_settings={"ignore_unknown_options": True, "allow_extra_args": True})
def export(
    context: typer.Context,
    listen: Annotated[
        str, typer.Option("--web.listen-address", help="Address and port to serve.")
    ] = LISTEN,
    web_config: Annotated[
        Path | None,
        typer.Option("--web.config.file", help="YAML file with tls_server_config, for TLS."),
    ] = None,
    sysfs: Annotated[Path, typer.Option("--path.sysfs", help="Where sysfs is mounted.")] = Path(
        "/sys"
    ),
    procfs: Annotated[Path, typer.Option("--path.procfs", help="Where procfs is mounted.")] = Path(
        "/proc"
    ),
    rootfs: Annotated[
        Path, typer.Option("--path.rootfs", help="Where the root file system is mounted.")
    ] = Path("/"),
    expected_mode: Annotated[
        str | None,
        typer.Option("--power-mode.expected", help="Power mode that the board should have."),
    ] = None,
    nvmap_top: Annotated[
        int, typer.Option("--collector.nvmap.top", min=1, help="How many processes to list.")
    ] = 10,
    show_version: Annotated[
        bool,
        typer.Option(
            "--version", help="Show the version and exit.", is_eager=True, callback=_show_version
        ),
    ] = False,
) -> None:
    """Serve a Jetson's readings to Prometheus at /metrics, and to people at /.

    --no-collector.NAME leaves a collector out: board, gpu, cpu, memory, emc, engines, thermal,
    cooling, power, energy, overcurrent, fan, nvme, power_mode. --collector.NAME adds one that only
    root may read: nvmap (memory by process), actmon (load of the engines), bpmp (memory clock).

    Example: jetson-exporter --web.listen-address :9460 --no-collector.nvme
    """
    logging.basicConfig(format="jetson-exporter: %(message)s", level=logging.INFO)
    host, port = _address(listen)
    enabled = _enabled(context.args)
    kernel = _kernel(sysfs, procfs, rootfs)
    tls = web.tls(web_config) if web_config else None
    chosen = [
        collector
        for collector in collectors.make(kernel, expected_mode, nvmap_top)
        if collector.name in enabled
    ]
    scraper = Scraper(kernel, chosen)
    registry = CollectorRegistry()
    registry.register(scraper)
    build = Info(
        "jetson_exporter_build", "Version of the exporter and of Python.", registry=registry
    )
    build.info({"version": _release(), "python": platform.python_version()})
    ProcessCollector(registry=registry)

    server = web.Server(
        host,
        port,
        web.application(make_wsgi_app(registry), lambda: page.render(View(scraper.scrape()))),
        tls,
    )
    if not View(scraper.scrape()).labels(INFO).get("soc") and "board" in enabled:
        logging.warning(
            "no Jetson's device tree in %s: serving what this machine has; jetson-sim simulates"
            " a board",
            procfs / "device-tree",
        )
    for collector in chosen:
        if isinstance(collector, EnergyCollector):
            collector.meter.start()
    _serve(server, tls)


def _serve(server: web.Server, tls: web.Tls | None) -> None:
    signal.signal(signal.SIGTERM, _stop)
    host, port = server.server_address[:2]
    name = f"[{host!s}]" if ":" in str(host) else host
    logging.info("listening on %s://%s:%s", "https" if tls else "http", name, port)
    # A scrape makes some thousands of objects and lets go of them; looking for cycles among them in
    # its midst is a tenth of its cost, and among all that was imported, several times as much.
    gc.set_threshold(50_000)
    gc.freeze()
    notify("READY=1")
    with server:
        server.serve_forever()


def _stop(number: int, frame: FrameType | None) -> NoReturn:
    raise SystemExit(0)


def _address(listen: str) -> tuple[str, int]:
    """Host and port of `HOST:PORT`, `[IPV6]:PORT` or `:PORT`."""
    match = re.fullmatch(r"(?:\[([0-9a-fA-F:.]+)\]|([^:\[\]]*)):([0-9]{1,5})", listen)
    if match is None or int(match[3]) > 65535:
        raise UserError(f"--web.listen-address {listen!r}: write HOST:PORT, such as {LISTEN}")
    return match[1] or match[2], int(match[3])


def _enabled(arguments: Iterable[str]) -> set[str]:
    """The collectors after --collector.NAME and --no-collector.NAME; the last one said counts."""
    enabled = set(collectors.NAMES) - collectors.PRIVILEGED
    for argument in arguments:
        match = re.fullmatch(r"--(no-)?collector\.([a-z_]+)", argument)
        if match is None:
            raise UserError(f"no such option: {argument} (see jetson-exporter --help)")
        if match[2] not in collectors.NAMES:
            known = ", ".join(collectors.NAMES)
            raise UserError(f"{argument}: unknown collector; they are {known}")
        (enabled.discard if match[1] else enabled.add)(match[2])
    if not enabled:
        raise UserError("--no-collector.NAME for every collector leaves nothing to serve")
    return enabled


def _kernel(sysfs: Path, procfs: Path, rootfs: Path) -> Kernel:
    for option, path in (("sysfs", sysfs), ("procfs", procfs), ("rootfs", rootfs)):
        if not path.is_dir():
            raise UserError(f"--path.{option} {path}: no such directory")
    return Kernel(sysfs, procfs, rootfs)


def main() -> None:
    """The console script."""
    cli.run(app)


if __name__ == "__main__":
    main()
