"""Power modes of nvpmodel.conf by name, set with NVIDIA's nvpmodel and read back.

How nvpmodel behaves is not documented; this follows what owners of boards recorded:

- Orin cannot change the GPU's power-gating masks once the GPU has been used. nvpmodel then says
  "Golden image context is already created", "Reboot required for changing to this power mode: N"
  and asks "DO YOU WANT TO REBOOT NOW? enter YES/yes to confirm:" on stdin. At end of file it
  answers "bad input!" and exits 234; no, or end of file, cancels the change altogether, so that a
  plain reboot afterwards does not bring it (github.com/almond-bot/axol/pull/107). Only YES (or
  --force, never used here) records the mode, which the next boot then applies, and reboots.
- Too early at boot, or once the GPU is up, writing a mask can fail instead, with exit code 255
  ("Error writing 128 to .../tpc_pg_mask: 16", github.com/OE4T/meta-tegra/issues/1864). The numbers
  that end such lines are errno values; 13 means that root is needed.
- `-q` prints the recorded mode, which is not proof that it was applied, may print a fan line
  first, and without root adds "NVPM ERROR" lines (github.com/NVIDIA-AI-IOT/jetbot/issues/49).
  So a mode counts as set when `-m` exits 0 without an error line and `-q` names it.
"""

import re
import subprocess
from pathlib import Path

from orin_core.cli import UserError
from orin_core.jetson import Mode, parse_modes
from orin_tune import sysfs

_QUERY = re.compile(r"NV Power Mode:[ \t]*(\S+)(?:[ \t]*\r?\n[ \t]*([0-9]{1,4})\b)?")
_TIMEOUT_S = 60  # bringing twelve cores up takes a few seconds; a hidden question would take ever
_WORDS_CHARS = 400  # a screenful: enough for every line of the reboot question


def load_modes(conf: Path) -> list[Mode]:
    """The power modes of the file `conf`; UserError if it is missing, unreadable or has none."""
    try:
        text = sysfs.read(conf)
    except FileNotFoundError as error:
        raise UserError(
            f"{conf}: no such file; on a Jetson start nvpmodel.service once, or name this board's"
            " file with --conf"
        ) from error
    except OSError as error:
        raise UserError(f"{conf}: {error.strerror}; name a readable file with --conf") from error
    modes = parse_modes(text)
    if not modes:
        raise UserError(
            f"{conf}: no POWER_MODEL line, so not an nvpmodel.conf; name this board's file with"
            " --conf"
        )
    return modes


def resolve(name: str, modes: list[Mode], conf: Path) -> Mode:
    """The mode called `name`, in any case and with or without "MODE_".

    Ids are looked up and never assumed: 30W is 2 on the AGX Orin 64GB, not 1 as often written.
    """
    alike = [mode for mode in modes if _short(mode.name) == _short(name)]
    exact = [mode for mode in alike if mode.name.upper() == name.upper()]
    found = exact or alike
    if not found:
        known = ", ".join(mode.name for mode in modes)
        raise UserError(f"no power mode {name!r} in {conf}; it has {known}")
    if len(found) > 1:
        twins = ", ".join(map(str, found))
        raise UserError(f"power mode {name!r} is ambiguous in {conf}: {twins}; rename one there")
    return found[0]


def apply(mode: Mode, conf: Path, nvpmodel: str) -> None:
    """Set `mode` and make sure that it took; UserError, with nvpmodel's own words, if not."""
    command = [nvpmodel, "-f", str(conf)]
    by_hand = f"run `sudo {' '.join(command)} -m {mode.id}` and answer YES"
    done = _run([*command, "-m", str(mode.id)])
    # Exit code 0 with error lines has been seen too: then some of the mode's values are not set.
    if done.returncode != 0 or "NVPM ERROR" in done.stdout or "Reboot required" in done.stdout:
        if "Reboot required" in done.stdout:
            remedy = f"a reboot is needed: {by_hand}"
        elif re.search(r": 13$", done.stdout, re.MULTILINE):
            remedy = "run as root"
        elif "_pg_mask" in done.stdout:
            remedy = "a reboot is needed: the mode must be set at boot, before the GPU is used"
        else:
            remedy = f"check that {conf} is this board's file"
        raise UserError(_did_not_take(mode, remedy, done))
    answer = _run([*command, "-q"])
    match = _QUERY.search(answer.stdout)
    if match is None:
        raise UserError(_did_not_take(mode, f"`{nvpmodel} -q` names no mode; run as root", answer))
    if (match[1], int(match[2] or mode.id)) != (mode.name, mode.id):
        raise UserError(_did_not_take(mode, f"a reboot is needed: {by_hand}", answer))


def _did_not_take(mode: Mode, remedy: str, done: subprocess.CompletedProcess[str]) -> str:
    return (
        f"power mode {mode} did not take; {remedy}."
        f" nvpmodel (exit code {done.returncode}) says: {_words(done.stdout)}"
    )


def _run(command: list[str]) -> subprocess.CompletedProcess[str]:
    """Run nvpmodel without anyone to answer its questions; stderr is part of stdout."""
    try:
        return subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            encoding="utf-8",
            errors="replace",
            timeout=_TIMEOUT_S,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise UserError(
            f"{command[0]} did not end within {_TIMEOUT_S} s; run `{' '.join(command)}` by hand"
        ) from error
    except OSError as error:
        raise UserError(
            f"{command[0]}: {error.strerror}; install NVIDIA's nvpmodel (nvidia-l4t-nvpmodel) or"
            " name it with --nvpmodel"
        ) from error


def _short(name: str) -> str:
    return name.upper().removeprefix("MODE_")


def _words(output: str) -> str:
    """What nvpmodel printed, as one line fit for a terminal and the journal."""
    text = "; ".join(line.strip() for line in output.splitlines() if line.strip())
    text = "".join(char if char.isprintable() else "?" for char in text)
    return (text if len(text) <= _WORDS_CHARS else text[:_WORDS_CHARS] + "...") or "nothing"
