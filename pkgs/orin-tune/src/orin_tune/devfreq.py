"""Pinning the GPU's clock: devfreq's min_freq raised to max_freq, and put back.

Values are Hz, as in Documentation/ABI/testing/sysfs-class-devfreq.
"""

from pathlib import Path

from orin_core.cli import UserError
from orin_core.jetson import find_gpu
from orin_tune import state, sysfs


def mhz(hz: int) -> str:
    """`hz` for people: 1300500000 is "1300.5 MHz"."""
    return f"{hz / 1e6:g} MHz"


def pin(root: Path, state_file: Path) -> str:
    """Lock the GPU at its present maximum, remembering its minimum first; says what it did.

    The first remembered value stays: a second pin must not take the pinned value for the former
    one. A clock that another program locked is left as it is, with nothing to remember. A pin that
    fails leaves the state behind, so that `restore` puts everything right.
    Raises UserError without a GPU, when the kernel refuses or ignores the value, and for a
    state file that is garbage or of another device.
    """
    gpu = _gpu(root)
    try:
        remembered = state.load(state_file)
    except state.GarbageStateError as error:
        raise UserError(
            f"{state_file}: not a state of orin-tune; run `orin-tune restore` first"
        ) from error
    if remembered:
        _same_device(gpu, remembered, state_file)
    low, high = _hz(gpu / "min_freq"), _hz(gpu / "max_freq")
    if high == 0:
        raise UserError(f"{gpu / 'max_freq'} is 0; set a power mode first")
    if low == high:
        return f"{gpu.name}: already pinned at {mhz(high)}"
    if not remembered:
        remembered = state.State(gpu.name, low)
        state.save(state_file, remembered)
    _set_minimum(gpu, high)
    return f"{gpu.name}: pinned at {mhz(high)} (minimum was {mhz(remembered.min_freq_hz)})"


def restore(root: Path, state_file: Path) -> str:
    """Put the remembered minimum back and forget it; says what it did.

    Without a state there is nothing to do. With a garbage state the former value is lost, but
    unlocking matters more than the exact value: the lowest available frequency, which is a
    Jetson's minimum at boot, takes its place. A state of a device that is gone is kept and
    reported: its pin went with it, unless the wrong --path.sysfs was given.
    """
    note = ""
    try:
        remembered = state.load(state_file)
    except state.GarbageStateError:
        gpu = _gpu(root)
        remembered = state.State(gpu.name, _lowest_hz(gpu, state_file))
        note = f" (the lowest: {state_file} was not a state of orin-tune)"
    if remembered is None:
        return f"nothing to restore: no {state_file}"
    gpu = _gpu(root)
    _same_device(gpu, remembered, state_file)
    _set_minimum(gpu, remembered.min_freq_hz)
    state.remove(state_file)
    return f"{gpu.name}: minimum back at {mhz(remembered.min_freq_hz)}{note}"


def _gpu(root: Path) -> Path:
    gpu = find_gpu(root)
    if gpu is None:
        raise UserError(
            f"no Jetson GPU in {root / 'class/devfreq'}; run on a Jetson with its GPU driver loaded"
        )
    return gpu


def _same_device(gpu: Path, remembered: state.State, state_file: Path) -> None:
    if remembered.device != gpu.name:
        raise UserError(
            f"{state_file} is of {remembered.device!r}, which is not in {gpu.parent}; check"
            " --path.sysfs, or delete that file if the device is gone for good"
        )


def _hz(path: Path) -> int:
    try:
        hz = sysfs.number(sysfs.read(path))
    except OSError as error:
        raise sysfs.refusal(path, error) from error
    if hz is None:
        raise UserError(f"{path}: not a frequency in Hz; is the GPU driver loaded whole?")
    return hz


def _lowest_hz(gpu: Path, state_file: Path) -> int:
    path = gpu / "available_frequencies"
    try:
        values = [hz for word in sysfs.read(path).split() if (hz := sysfs.number(word))]
    except OSError as error:
        raise sysfs.refusal(path, error) from error
    if not values:
        raise UserError(
            f"{state_file} is not a state of orin-tune and {path} is empty; write the wanted"
            f" minimum to {gpu / 'min_freq'} and delete the state"
        )
    return min(values)


def _set_minimum(gpu: Path, hz: int) -> None:
    path = gpu / "min_freq"
    sysfs.write(path, hz)
    # devfreq keeps whole kHz, and shows no minimum above the maximum (drivers/devfreq/devfreq.c).
    wanted = min(hz, _hz(gpu / "max_freq"))
    kept = _hz(path)
    if kept // 1000 != wanted // 1000:
        raise UserError(
            f"{path}: the kernel kept {mhz(kept)} instead of {mhz(wanted)}; run"
            " `orin-tune status`, and see whether another service sets the clocks"
        )
