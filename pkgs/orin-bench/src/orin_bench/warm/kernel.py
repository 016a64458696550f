"""A kernel as tinygrad searches it."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from tinygrad.codegen.opt import Opt
from tinygrad.codegen.opt.postrange import Scheduler
from tinygrad.device import Device
from tinygrad.helpers import DEV, getenv
from tinygrad.renderer import Renderer
from tinygrad.uop.ops import UOp

Key = dict[str, Any]  # columns and values of tinygrad's table beam_search


@dataclass(frozen=True, eq=False)
class Kernel:
    """One kernel of a command, and what it costs there.

    `ast` is what tinygrad's search starts from. `baseline` are the optimizations that tinygrad
    chooses without a search. A `fixed` kernel has its optimizations from its author, and is never
    searched. `settings` are tinygrad's context variables that the code depends on.
    """

    name: str
    ast: UOp
    device: str
    suffix: str
    target: str
    architecture: str
    baseline: tuple[Opt, ...]
    fixed: bool
    settings: dict[str, Any]
    launches: int
    seconds: float

    @property
    def total(self) -> float:
        """Seconds of all launches."""
        return self.launches * self.seconds

    def key(self, width: int) -> Key:
        """Under which tinygrad's beam_search looks for the optimizations found with this beam."""
        searched = self.ast.replace(arg=replace(self.ast.arg, beam=width))
        return {
            "ast": searched.key,
            "amt": width,
            "allow_test_size": bool(getenv("BEAM_ESTIMATE", 1)),
            "device": self.device,
            "suffix": self.suffix,
        }

    def renderer(self) -> Renderer:
        """The device's code generator, after opening the device as the command did."""
        DEV.value = self.target
        return Device[self.device].renderer

    def scheduled(self, opts: Sequence[Opt]) -> Scheduler:
        """The kernel with these optimizations; raises KernelOptError where one does not apply."""
        scheduler = Scheduler(self.ast, self.renderer())
        for opt in opts:
            scheduler.apply_opt(opt)
        return scheduler

    def variables(self) -> dict[str, int]:
        """Its symbolic sizes, each in the middle of its range, as tinygrad's search has them."""
        return {v.expr: int(v.vmax + v.vmin) // 2 for v in self.ast.variables()}
