"""What is asked of the board over time: each scenario is a story told in scenes.

A scene holds until the next one begins, and says only what changes. To add a scenario, add a
`_story` to SCENARIOS: its sentence, then its scenes in order of time.
"""

from dataclasses import dataclass, replace
from typing import Any


@dataclass(frozen=True)
class Workload:
    """What the programs on the board ask for.

    gpu, cpu: share of time busy at the highest clock, 0..1. intensity: how much of the GPU switches
    while it is busy, 1 for dense matrix products. traffic: share of the memory's bandwidth.
    memory_gib: what the processes hold. video: load of NVDEC and VIC; vision: of DLA and PVA.
    The GPU rests for `rest_s` in every `every_s` seconds: between requests, or at a checkpoint.
    """

    process: str
    gpu: float
    intensity: float
    cpu: float
    traffic: float
    memory_gib: float
    video: float = 0.0
    vision: float = 0.0
    every_s: float = 0.0
    rest_s: float = 0.0

    def rests(self, time: float) -> bool:
        return self.every_s > 0 and time % self.every_s >= self.every_s - self.rest_s


IDLE = Workload("Xorg", gpu=0.015, intensity=0.3, cpu=0.02, traffic=0.01, memory_gib=2.6)
ASLEEP = replace(IDLE, process="", gpu=0.0)
# Decoding reads all weights for each token: the memory is busy, the arithmetic units wait for it.
LLM_DECODE = Workload(
    "llama-server", gpu=0.96, intensity=0.5, cpu=0.1, traffic=0.8, memory_gib=21.0, video=0.3,
    every_s=20, rest_s=2,
)  # fmt: skip
TRAINING = Workload(
    "python3", gpu=0.99, intensity=1.0, cpu=0.42, traffic=0.62, memory_gib=38.0,
    every_s=30, rest_s=1,
)  # fmt: skip
CAMERAS = Workload(
    "nvargus-daemon", gpu=0.35, intensity=0.6, cpu=0.15, traffic=0.25, memory_gib=7.0, video=0.6,
    vision=0.5,
)  # fmt: skip
# More than the board has, all of it in use: every page that comes in pushes another out.
TOO_LARGE = replace(TRAINING, gpu=0.3, cpu=0.7, traffic=0.5, memory_gib=78.0)


@dataclass(frozen=True)
class Scene:
    """The board's circumstances from the time `at` (s) on.

    airflow: share of the air that reaches the heatsink's fins when they are clean. supply_ohms:
    what lies between the supply's open-circuit `supply_volts` and the board.
    """

    at: float
    caption: str
    work: Workload = IDLE
    mode: str = "MAXN"
    clocks_locked: bool = True
    ambient_celsius: float = 25.0
    airflow: float = 1.0
    fan_turns: bool = True
    supply_volts: float = 19.0
    supply_ohms: float = 0.05
    gpu_clock_stuck: bool = False
    silent_zones: frozenset[str] = frozenset()
    garbled_rails: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Scenario:
    """A story: its sentence, its scenes in order of time, and after how many seconds it repeats."""

    sentence: str
    scenes: tuple[Scene, ...]
    repeats_s: float | None = None

    def scene(self, time: float) -> Scene:
        """The scene at `time`, in s."""
        if self.repeats_s is not None:
            time %= self.repeats_s
        return next(scene for scene in reversed(self.scenes) if scene.at <= time)


def _at(at: float, caption: str, **changes: Any) -> tuple[float, str, dict[str, Any]]:
    return at, caption, changes


def _story(
    sentence: str, *parts: tuple[float, str, dict[str, Any]], repeats_s: float | None = None
) -> Scenario:
    scenes: list[Scene] = []
    for at, caption, changes in parts:
        before = scenes[-1] if scenes else Scene(at, caption)
        scenes.append(replace(before, at=at, caption=caption, **changes))
    return Scenario(sentence, tuple(scenes), repeats_s)


SCENARIOS: dict[str, Scenario] = {
    "idle": _story(
        "Nothing to do in MAXN; the GPU loses its power now and then, as railgating has it.",
        _at(0, "a desktop", work=IDLE),
        _at(40, "nothing uses the GPU", work=ASLEEP),
        repeats_s=60,
    ),
    "llm-decode": _story(
        "A language model answers request after request: memory-bound, GPU load near 1.",
        _at(0, "decoding", work=LLM_DECODE),
    ),
    "training": _story(
        "A network trains in a warm room: near 47 W and 69 C, hot but healthy.",
        _at(0, "training", work=TRAINING, ambient_celsius=35.0),
    ),
    "thermal-runaway": _story(
        "Training on a hot day until a bag over the intake, in the sun, drives the board into"
        " throttling and near its shutdown; freed at 110 s.",
        _at(0, "training on a hot day", work=TRAINING, ambient_celsius=45.0),
        _at(5, "a plastic bag covers the intake", airflow=0.0),
        # In shade the throttled board would hold its passive trip.
        _at(20, "the sun heats the bag", ambient_celsius=85.0),
        _at(110, "somebody takes it away", airflow=1.0, ambient_celsius=45.0),
        _at(130, "and pauses the training", work=IDLE),
    ),
    "fan-stall": _story(
        "A cable stops the fan at 15 s: PWM rises, nothing turns, and training heats the board.",
        _at(0, "training", work=TRAINING, ambient_celsius=35.0),
        _at(15, "a cable stops the fan", fan_turns=False),
    ),
    "sensor-loss": _story(
        "The GPU's sensor stops answering at 15 s, and VDD_CPU_CV reads garbage from 30 s on.",
        _at(0, "decoding", work=LLM_DECODE),
        _at(15, "the GPU's sensor is silent", silent_zones=frozenset({"gpu"})),
        _at(30, "VDD_CPU_CV reads garbage", garbled_rails=frozenset({"VDD_CPU_CV"})),
    ),
    "brown-out": _story(
        "Training on a weak battery from 15 s on: over-current events, rail alarms, lost clocks;"
        " from 45 s on a better one, near the rails' limits.",
        _at(0, "training", work=TRAINING),
        _at(15, "on a weak battery", supply_volts=14.6, supply_ohms=0.62),
        _at(45, "on a battery of 15 V", supply_volts=15.0, supply_ohms=0.05),
    ),
    "swap-thrash": _story(
        "From 10 s on the programs want more memory than there is: zram fills, pages race.",
        _at(0, "training", work=TRAINING),
        _at(10, "a batch too large", work=TOO_LARGE),
    ),
    "gpu-stuck": _story(
        "At 15 s the GPU's clock falls to 306 MHz and stays there, at full load.",
        _at(0, "training", work=TRAINING),
        _at(15, "the GPU's clock is stuck", gpu_clock_stuck=True),
    ),
    "mode-change": _story(
        "At 30 s someone sets MODE_15W: four cores, slow clocks, and the GPU no longer locked.",
        _at(0, "decoding in MAXN", work=LLM_DECODE),
        _at(30, "decoding in 15 W", mode="MODE_15W", clocks_locked=False),
    ),
    "tour": _story(
        "Idle, decoding, training, throttling, a 15 W mode and recovery: 180 s, again every 420 s.",
        _at(0, "idle in a hot cabinet", work=IDLE, ambient_celsius=43.0),
        _at(10, "decoding", work=LLM_DECODE),
        _at(20, "training", work=TRAINING),
        _at(22, "a plastic bag covers the intake", airflow=0.0),
        _at(30, "the sun heats the bag", ambient_celsius=85.0),
        _at(140, "set to 15 W", mode="MODE_15W", clocks_locked=False),
        _at(150, "the bag is gone", airflow=1.0, ambient_celsius=43.0),
        _at(165, "MAXN again, for cameras", mode="MAXN", clocks_locked=True, work=CAMERAS),
        _at(180, "idle again", work=IDLE),  # cools down to where it began
        repeats_s=420,
    ),
}
