"""The cache as a file for machines of the same kind.

tinygrad stores pickles, which run what they hold. The file is JSON: each kernel's key, its
optimizations by name, and what was measured; everything in it is checked before it is stored.
"""

import json
import math
from collections.abc import Iterable
from importlib.metadata import version
from pathlib import Path
from typing import Any

from tinygrad.codegen.opt import Opt, OptOps
from tinygrad.device import Device
from tinygrad.helpers import VERSION

from orin_bench.warm.cache import STATES, Cache, Entry, Outcome, is_finished, is_of
from orin_bench.warm.kernel import Key
from orin_core.cli import UserError
from orin_core.device import select
from orin_core.machine import facts
from orin_core.result import write_json

FORMAT, SCHEMA = "orinix beam cache", 1
LARGEST = 64 * 2**20  # bytes; a thousand kernels are half a megabyte
LONGEST = 100  # letters of what is wrong in a file


def export_cache(cache: Cache, file: Path) -> int:
    """Write the kernels that bench-warm knows to `file`, whole or not at all; how many they are."""
    kernels = [_describe(entry, entry.outcome) for entry in cache.entries() if entry.outcome]
    if not kernels:
        raise UserError("nothing to export: run bench-warm with a command first")
    document = {
        "format": FORMAT,
        "schema": SCHEMA,
        "tinygrad": version("tinygrad"),
        "cache": VERSION,
        "machine": facts(),
        "kernels": sorted(kernels, key=lambda kernel: (kernel["device"], kernel["ast"])),
    }
    write_json(file, document)
    return len(kernels)


def import_cache(cache: Cache, file: Path, *, trust: bool) -> tuple[int, int]:
    """Store the kernels of `file`; how many, and how many the cache already had.

    Unless `trust`, the devices are opened to compare architectures. Raises UserError for a file of
    another architecture, of another tinygrad, or that is none of `export_cache`.
    """
    entries = read(file)
    if not trust:
        _check_architectures(file, entries)
    wanted = [entry for entry in entries if _is_better(entry, cache.get(entry.key))]
    cache.put(wanted)
    return len(wanted), len(entries) - len(wanted)


def _is_better(entry: Entry, ours: Entry | None) -> bool:
    if ours is None or (entry.outcome and not is_of(ours, entry.outcome.architecture)):
        return True
    return is_finished(entry) and not is_finished(ours)


def read(file: Path) -> list[Entry]:
    """The kernels in `file`."""
    try:
        with file.open("rb") as stream:
            data = stream.read(LARGEST + 1)
    except OSError as error:
        raise UserError(f"{file}: cannot be read: {error.strerror}") from None
    if len(data) > LARGEST:
        raise UserError(f"{file}: larger than {LARGEST >> 20} MiB, which no export is")
    try:
        content = json.loads(data)
    except (ValueError, RecursionError):
        content = None
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        raise UserError(f"{file}: is no file of bench-warm export")
    if content.get("schema") != SCHEMA:
        raise UserError(f"{file}: has schema {_short(content.get('schema'))}, this reads {SCHEMA}")
    theirs, ours = content.get("tinygrad"), version("tinygrad")
    if theirs != ours or content.get("cache") != VERSION:
        raise UserError(
            f"{file}: is of tinygrad {_short(theirs)}, here is {ours!r}: search again with it"
        )
    kernels = content.get("kernels")
    if not isinstance(kernels, list):
        raise UserError(f"{file}: has no list of kernels")
    entries = []
    for index, kernel in enumerate(kernels):
        try:
            entries.append(_entry(kernel))
        except (KeyError, TypeError, ValueError) as error:
            raise UserError(f"{file}: kernel {index}: {error}") from None
    return entries


def _check_architectures(file: Path, entries: Iterable[Entry]) -> None:
    wanted = {(e.key["device"], e.outcome.architecture) for e in entries if e.outcome}
    for device, architecture in sorted(wanted):
        try:
            if select(device.lower()) != [device]:
                raise UserError(f"{device!r} is no device")
        except UserError as error:
            raise UserError(f"{file}: {error}; --trust takes it all the same") from None
        here = Device[device].renderer.target.arch
        if here != architecture:
            raise UserError(f"{file}: is of {device} {architecture}, and here {device} is {here}")


def _describe(entry: Entry, outcome: Outcome) -> dict[str, Any]:
    return {
        "name": outcome.name,
        "device": entry.key["device"],
        "architecture": outcome.architecture,
        "suffix": entry.key["suffix"],
        "ast": entry.key["ast"].hex(),
        "beam": entry.key["amt"],
        "estimate": bool(entry.key["allow_test_size"]),
        "opts": [[opt.op.name, opt.axis, opt.arg] for opt in entry.opts],
        "state": outcome.state,
        "before": outcome.before,
        "after": outcome.after,
        "reason": outcome.reason,
    }


def _entry(kernel: Any) -> Entry:
    """Raises KeyError, TypeError or ValueError where `kernel` is not what `_describe` makes."""
    key: Key = {
        "ast": bytes.fromhex(_text(kernel["ast"])),
        "amt": _whole(kernel["beam"]),
        "allow_test_size": bool(kernel["estimate"]),
        "device": _text(kernel["device"]),
        "suffix": _text(kernel["suffix"]),
    }
    if len(key["ast"]) != 32:
        raise ValueError("ast is no SHA-256")
    if key["amt"] < 1:
        raise ValueError(f"{key['amt']} is no beam")
    state, reason = kernel["state"], kernel["reason"]
    if state not in STATES:
        raise ValueError(f"unknown state {_short(state)}")
    outcome = Outcome(
        state,
        _text(kernel["name"]),
        _text(kernel["architecture"]),
        _seconds(kernel["before"]),
        _seconds(kernel["after"]),
        None if reason is None else _text(reason),
    )
    return Entry(key, tuple(map(_opt, kernel["opts"])), outcome)


def _opt(parts: Any) -> Opt:
    name, axis, argument = parts
    if name not in OptOps.__members__:
        raise ValueError(f"unknown optimization {_short(name)}")
    if isinstance(argument, list):
        argument = tuple(map(_whole, argument))
    elif argument is not None:
        argument = _whole(argument)
    return Opt(OptOps[name], None if axis is None else _whole(axis), argument)


def _text(value: Any) -> str:
    if not isinstance(value, str) or not value.isprintable():
        raise ValueError(f"{_short(value)} is no text")
    return value


def _whole(value: Any) -> int:
    if type(value) is not int or abs(value) > 2**31:
        raise ValueError(f"{_short(value)} is no whole number")
    return value


def _seconds(value: Any) -> float | None:
    if value is None:
        return None
    if type(value) not in (int, float) or not 0 < value < math.inf:
        raise ValueError(f"{_short(value)} is no duration")
    return float(value)


def _short(value: Any) -> str:
    return repr(value)[:LONGEST]
