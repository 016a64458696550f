"""orin-tune: power mode by name, GPU clocks pinned and given back, and what a Jetson is set to."""

from pathlib import Path
from typing import Annotated

import typer

from orin_core.cli import run
from orin_tune import devfreq, nvpmodel, status

app = typer.Typer(
    help="Power mode by name, pinned GPU clocks, and what the machine is tuned to (status).",
    add_completion=False,
)

Conf = Annotated[Path, typer.Option("--conf", help="nvpmodel's table of power modes.")]
Sysfs = Annotated[Path, typer.Option("--path.sysfs", help="Where sysfs is mounted.")]
Procfs = Annotated[Path, typer.Option("--path.procfs", help="Where procfs is mounted.")]
Rootfs = Annotated[Path, typer.Option("--path.rootfs", help="Where the root file system is.")]
StateFile = Annotated[Path, typer.Option("--state", help="Remembers the former minimum clock.")]

CONF = Path("/etc/nvpmodel.conf")
SYSFS = Path("/sys")
PROCFS = Path("/proc")
ROOTFS = Path("/")
STATE = Path("/run/orin-tune/gpu.json")


@app.callback(invoke_without_command=True)
def _default(context: typer.Context) -> None:
    if context.invoked_subcommand is None:
        show()


@app.command("power-mode")
def power_mode(
    name: Annotated[str, typer.Argument(help="MAXN, 15W, 30W, 50W, or as the file says.")],
    conf: Conf = CONF,
    tool: Annotated[str, typer.Option("--nvpmodel", help="NVIDIA's program.")] = "nvpmodel",
) -> None:
    """Set the power mode by its NAME and make sure that it took.

    Example: sudo orin-tune power-mode 30W
    """
    mode = nvpmodel.resolve(name, nvpmodel.load_modes(conf), conf)
    nvpmodel.apply(mode, conf, tool)
    typer.echo(f"power mode {mode}")


@app.command()
def pin(sysfs: Sysfs = SYSFS, state: StateFile = STATE) -> None:
    """Lock the GPU's clock at the maximum of its power mode.

    Example: sudo orin-tune pin
    """
    typer.echo(devfreq.pin(sysfs, state))


@app.command()
def restore(sysfs: Sysfs = SYSFS, state: StateFile = STATE) -> None:
    """Unlock the GPU's clock: its minimum as before pin.

    Example: sudo orin-tune restore
    """
    typer.echo(devfreq.restore(sysfs, state))


@app.command("status")
def show(
    sysfs: Sysfs = SYSFS, procfs: Procfs = PROCFS, rootfs: Rootfs = ROOTFS, conf: Conf = CONF
) -> None:
    """Show power mode, GPU and CPU clocks, and memory settings, on any Linux machine.

    Example: orin-tune status
    """
    typer.echo(status.table(status.rows(sysfs, procfs, rootfs, conf)))


def main() -> None:
    """Entry point of the console script."""
    run(app)


if __name__ == "__main__":
    main()
