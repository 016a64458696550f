"""connect-telemetry: a board's dashboards on this machine, through SSH."""

import os
import signal
import sys
import threading
import time
import webbrowser
from collections.abc import Collection, Mapping
from typing import Annotated, NoReturn

import typer

from connect_telemetry import services
from connect_telemetry.services import Answer, Service
from connect_telemetry.tunnel import PortTakenError, Target, Tunnel
from orin_core.cli import UserError, run
from orin_core.table import Table

app = typer.Typer(add_completion=False)

PROBE_INTERVAL_SECONDS = 0.1


@app.command()
def connect(
    host: Annotated[
        str,
        typer.Argument(help="The board as ssh knows it: NAME, USER@NAME, ssh://USER@NAME:PORT."),
    ],
    user: Annotated[str | None, typer.Option("--user", help="Login name on the board.")] = None,
    port: Annotated[
        int | None, typer.Option("--port", min=1, max=services.MAX_PORT, help="SSH's port.")
    ] = None,
    browser: Annotated[
        bool, typer.Option("--browser/--no-browser", help="Open the first service when all answer.")
    ] = True,
    wait: Annotated[
        float, typer.Option("--wait", min=0, help="Seconds to wait for services to answer.")
    ] = 30,
    service: Annotated[
        list[str] | None,
        typer.Option(
            "--service",
            metavar="NAME=PORT",
            help="What the board serves on its loopback, instead of "
            f"{' '.join(map(str, services.TELEMETRY))}; repeat for more.",
        ),
    ] = None,
) -> None:
    """Bring Grafana, Prometheus and the exporters of a board to this machine, until Ctrl-C.

    It runs your own ssh: your configuration, agent, known hosts and jump hosts apply.

    Example: connect-telemetry orin.local --user ada
    """
    target = Target(host, user, port)
    wanted = [services.parse(text) for text in service] if service else services.TELEMETRY
    for number in (signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) is not signal.SIG_IGN:  # as under nohup
            signal.signal(number, _end)
    try:
        _session(target, services.local_ports(wanted), wait, browser)
    except PortTakenError as taken:
        typer.echo(f"local port {taken.port} was taken meanwhile: connecting again", err=True)
        _session(target, services.local_ports(wanted, avoid={taken.port}), wait, browser)


def _session(target: Target, ports: Mapping[Service, int], wait: float, browser: bool) -> NoReturn:
    with Tunnel(target, ports) as tunnel:
        missing = _await_answers(tunnel, target, ports, wait)
        tunnel.settle()
        _report(tunnel, target, ports, missing)
        if browser and not missing and _has_display():
            # Some browsers end only when their window is closed.
            first = services.url(next(iter(ports.values())))
            threading.Thread(target=webbrowser.open, args=[first], daemon=True).start()
        typer.echo("Ctrl-C ends it.", err=True)
        last_words = tunnel.wait()

    typer.echo(f"connection to {target.host} lost: {last_words}", err=True)
    raise typer.Exit(1)


def _await_answers(
    tunnel: Tunnel, target: Target, ports: Mapping[Service, int], wait: float
) -> list[Service]:
    """Return the services that do not answer `wait` seconds after the login.

    The login itself may take as long as the user needs for a password. Raises UserError where ssh
    ends, or where no service answers.
    """
    missing = list(ports)
    deadline = None
    while missing and (deadline is None or time.monotonic() < deadline):
        answers = {service: services.probe(ports[service]) for service in missing}
        if not tunnel.running:
            raise tunnel.failure()
        missing = [service for service in missing if answers[service] is not Answer.HTTP]
        if deadline is None and Answer.CLOSED not in answers.values():
            deadline = time.monotonic() + wait
            typer.echo(f"connected to {target.host}", err=True)
        if tunnel.prohibited and len(missing) == len(ports):
            raise UserError(
                f"{target.host}: its sshd forwards nothing: set AllowTcpForwarding to local or yes"
                " there (services.openssh.settings)"
            )
        if missing:
            time.sleep(PROBE_INTERVAL_SECONDS)
    if len(missing) == len(ports):
        raise UserError(
            f"{target.host}: none of {services.names(missing)} answers: switch the board to"
            " nixos-telemetry, or look at systemctl --failed there"
        )
    return missing


def _report(
    tunnel: Tunnel, target: Target, ports: Mapping[Service, int], missing: Collection[Service]
) -> None:
    for service, port in ports.items():
        if port != service.port:
            taken = f"local port {service.port} is taken: {service.name} comes on {port}"
            typer.echo(taken, err=True)
    for service in missing:
        remedy = (
            "sshd may forbid it (AllowTcpForwarding, PermitOpen)"
            if tunnel.prohibited
            else "see systemctl --failed there, or switch the board to nixos-telemetry"
        )
        silent = f"{service.name} does not answer on port {service.port} of {target.host}: {remedy}"
        typer.echo(silent, err=True)
    urls = {service: services.url(port) for service, port in ports.items()}
    table = Table({"Service": max(len(each.name) for each in urls), "URL": 22, "Answers": 0})
    for service, address in urls.items():
        table.row([service.name, address, "no" if service in missing else "yes"])


def _has_display() -> bool:
    return sys.platform == "darwin" or any(map(os.environ.get, ("DISPLAY", "WAYLAND_DISPLAY")))


def _end(number: int, _frame: object) -> NoReturn:
    sys.exit(128 + number)


def main() -> None:
    """Entry point of the console script."""
    run(app)


if __name__ == "__main__":
    main()
