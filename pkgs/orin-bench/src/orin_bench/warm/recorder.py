"""Runs inside the command that bench-warm warms up: records its kernels, or times its steps.

A copy of this file, named sitecustomize.py, is put on PYTHONPATH, so that every Python program the
command starts loads it. It imports nothing but the standard library, and waits for the program to
import tinygrad. What it saw goes to a file in the folder RECORD_FOLDER when the program ends.
"""

import atexit
import contextlib
import importlib.abc
import importlib.machinery
import importlib.util
import os
import pickle
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from importlib.metadata import version
from pathlib import Path
from types import ModuleType
from typing import Any

RECORD_FOLDER = "ORIN_WARM_RECORD"
RECORD_KIND = "ORIN_WARM_KIND"  # kernels or steps
TRIGGER = "tinygrad.engine.jit"  # the last module that is needed

# What a kernel's code depends on besides its AST: the settings in the key of tinygrad's to_program.
SETTINGS = (
    "NOOPT",
    "EMULATED_DTYPES",
    "NOLOCALS",
    "USE_TC",
    "IMAGE",
    "DISABLE_FAST_IDIV",
    "TRANSCENDENTAL",
    "ALLOW_TF32",
)


class AfterImport(importlib.abc.MetaPathFinder):
    """Calls `function` once the module `name` has been imported."""

    def __init__(self, name: str, function: Callable[[], None]) -> None:
        self.name, self.function = name, function

    def find_spec(
        self, name: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        if name != self.name:
            return None
        sys.meta_path.remove(self)
        spec = importlib.util.find_spec(name)
        if spec and spec.loader:
            execute = spec.loader.exec_module

            def execute_then_call(module: ModuleType) -> None:
                execute(module)
                self.function()

            spec.loader.exec_module = execute_then_call  # type: ignore[method-assign]
        return spec


def record_kernels() -> dict[str, Any]:
    """Record the kernels that a TinyJit replays, with each launch's seconds; search none.

    The record: `kernels`, each with its launches; `steps`, for each TinyJit the number of its
    `replays` and how often each kernel, by its index, was launched in them; and `widths`, the beams
    that TinyJits were captured with.
    """
    from tinygrad import codegen, helpers
    from tinygrad.codegen.opt.postrange import Scheduler
    from tinygrad.engine import jit, realize
    from tinygrad.uop.ops import Ops

    record: dict[str, Any] = {"kernels": [], "steps": [], "widths": set()}
    settings = [getattr(helpers, name) for name in SETTINGS]
    programs: dict[bytes, dict[str, Any]] = {}
    compiling: list[dict[str, Any]] = []

    compile_linear = realize.compile_linear

    def compile_unsearched(linear: Any, beam: int | None = None, validate: bool = False) -> Any:
        return compile_linear(linear, 0, validate)

    def compile_captured(linear: Any, beam: int) -> Any:
        record["widths"].add(beam)
        return compile_linear(linear, 0)

    realize.compile_linear, jit.compile_linear = compile_unsearched, compile_captured

    apply_opts = codegen.apply_opts

    def apply_and_describe(ast: Any, renderer: Any, beam: int = 0) -> Any:
        optimized = apply_opts(ast, renderer, beam)
        scheduler = Scheduler(ast, renderer)
        scheduler.convert_loop_to_global()
        compiling.append(
            {
                "name": optimized.arg.name,
                "ast": scheduler.ast,
                "device": renderer.target.device,
                "suffix": renderer.suffix,
                "target": repr(renderer.target),
                "architecture": renderer.target.arch,
                "baseline": tuple(optimized.arg.applied_opts),
                "fixed": ast.arg.opts_to_apply is not None,
                "settings": {setting.key: setting.value for setting in settings},
                "seconds": [],
            }
        )
        return optimized

    codegen.apply_opts = apply_and_describe

    do_to_program = codegen.do_to_program

    def compile_and_remember(ast: Any, renderer: Any) -> Any:
        compiling.clear()
        program = do_to_program(ast, renderer)
        if compiling:
            programs[program.src[0].key] = compiling[-1]
        return program

    codegen.do_to_program = compile_and_remember

    track_stats = realize.track_stats

    @contextlib.contextmanager
    def time_launch(ctx: Any, call: Any, *arguments: Any) -> Iterator[list[float | None]]:
        program = call.src[0]
        is_replay = ctx.jit and program.op is Ops.PROGRAM
        kernel = programs.get(program.src[0].key) if is_replay else None
        ctx.wait = ctx.wait or kernel is not None
        with track_stats(ctx, call, *arguments) as seconds:
            yield seconds
        if kernel and seconds[0] is not None:
            if not kernel["seconds"]:
                kernel["index"] = len(record["kernels"])
                record["kernels"].append(kernel)
            kernel["seconds"].append(seconds[0])
            replayed[-1]["launches"][kernel["index"]] += 1

    realize.track_stats = time_launch

    replay = jit.CapturedJit.__call__
    replayed: list[dict[str, Any]] = []  # the one that is running

    def count_replay(captured: Any, *arguments: Any) -> Any:
        if "step" not in vars(captured):
            captured.step = {"replays": 0, "launches": Counter()}
            record["steps"].append(captured.step)
        captured.step["replays"] += 1
        replayed[:] = [captured.step]
        return replay(captured, *arguments)

    jit.CapturedJit.__call__ = count_replay
    return record


def record_steps(width: int) -> dict[str, Any]:
    """Time every replay of every TinyJit with an idle device before and after; search no kernel.

    The TinyJits' beam is `width`, whatever the program asks for.

    The record: `steps`, a list of seconds for each TinyJit in the order of their first replays, and
    `unsearched`, how many kernels were wanted with a beam and were not in the cache.
    """
    from tinygrad import codegen
    from tinygrad.codegen.opt.postrange import Scheduler
    from tinygrad.device import Device
    from tinygrad.engine import jit
    from tinygrad.helpers import diskcache_get, getenv

    record: dict[str, Any] = {"steps": [], "unsearched": 0}
    compile_linear = jit.compile_linear
    jit.compile_linear = lambda linear, beam: compile_linear(linear, width)
    replay = jit.CapturedJit.__call__

    def synchronize() -> None:
        for device in Device._opened_devices:
            Device[device].synchronize()

    def time_replay(captured: Any, *arguments: Any) -> Any:
        if "step_seconds" not in vars(captured):
            captured.step_seconds = []
            record["steps"].append(captured.step_seconds)
        synchronize()
        start = time.perf_counter()
        result = replay(captured, *arguments)
        synchronize()
        captured.step_seconds.append(time.perf_counter() - start)
        return result

    jit.CapturedJit.__call__ = time_replay

    apply_opts = codegen.apply_opts

    def apply_cached(ast: Any, renderer: Any, beam: int = 0) -> Any:
        if beam and ast.tag is None and ast.arg.opts_to_apply is None:
            scheduler = Scheduler(ast, renderer)
            scheduler.convert_loop_to_global()
            key = {
                "ast": scheduler.ast.key,
                "amt": beam,
                "allow_test_size": bool(getenv("BEAM_ESTIMATE", 1)),
                "device": renderer.target.device,
                "suffix": renderer.suffix,
            }
            if diskcache_get("beam_search", key) is None:
                record["unsearched"] += 1
                beam = 0
        return apply_opts(ast, renderer, beam)

    codegen.apply_opts = apply_cached
    return record


def start_recording(width: int) -> None:
    record = record_kernels() if os.environ[RECORD_KIND] == "kernels" else record_steps(width)
    # In the order in which the programs start, which is the same in every run of the command.
    file = Path(os.environ[RECORD_FOLDER]) / f"{time.time_ns()}-{os.getpid()}.pickle"
    partial = file.with_suffix(".new")  # of a program that is killed while it writes

    def write() -> None:
        with partial.open("wb") as stream:
            pickle.dump(version("tinygrad"), stream)  # first: another's record may not load
            pickle.dump(record, stream)
        partial.replace(file)

    atexit.register(write)


def run_shadowed() -> None:
    """Run the sitecustomize.py that this file, being first on the path, hides."""
    folder = Path(__file__).parent
    path = [entry for entry in sys.path if Path(entry) != folder]
    spec = importlib.machinery.PathFinder.find_spec("sitecustomize", path)
    if spec and spec.loader:
        spec.loader.exec_module(importlib.util.module_from_spec(spec))


if __name__ == "sitecustomize":
    asked = int(os.environ["JITBEAM"])  # which the program may change before it imports tinygrad
    sys.meta_path.insert(0, AfterImport(TRIGGER, lambda: start_recording(asked)))
    run_shadowed()
