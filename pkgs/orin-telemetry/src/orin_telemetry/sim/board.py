"""The coupled model of one board: load, clocks, power, heat, throttling, fan and memory."""

from dataclasses import replace
from random import Random

from orin_telemetry.sim import governor, power, sensors, silicon
from orin_telemetry.sim.fan import Fan
from orin_telemetry.sim.memory import Memory
from orin_telemetry.sim.overcurrent import OverCurrent
from orin_telemetry.sim.power import Activity
from orin_telemetry.sim.scenario import SCENARIOS, Scenario, Scene
from orin_telemetry.sim.thermal import Thermal, sink_to_air

TICK_S = 0.1
TICKS_PER_S = 10
_WARM_UP_TICKS = 350
_WARM_UP_HASTE = 10.0
_UPTIME_S = 86_400.0  # the board has been up for a day when a scenario begins

_RAILGATE_TICKS = 5  # railgate_delay, 500 ms without work
_STUCK_HZ = silicon.GPU_HZ[0]
_CV_POWERED = 0.01  # below this load of DLA and PVA their domain is off

# Engines' clocks in Hz: lowest and highest, as jetson_clocks --show prints them (rounded).
ENGINES = {
    "vic": (115_200_000, 729_600_000),
    "nvdec": (115_200_000, 998_400_000),
    "nvenc": (115_200_000, 793_600_000),
    "nvjpg": (115_200_000, 499_200_000),
    "nvjpg1": (115_200_000, 499_200_000),
    "ofa": (115_200_000, 844_800_000),
}


class Board:
    """A Jetson AGX Orin 64GB that lives through a scenario.

    scenario: a name of SCENARIOS, or a Scenario of one's own. The board starts warm, in the state
    that its first scene settles to. The same scenario and seed give the same readings at the same
    time, however the time is cut into steps. It has no shutdown: beyond its critical trip, which
    the scenarios here stay below, it would run on.
    """

    def __init__(self, scenario: str | Scenario = "tour", seed: int = 0) -> None:
        self._scenario = SCENARIOS[scenario] if isinstance(scenario, str) else scenario
        self._random = Random(seed)
        self._ticks = 0
        self._owed_s = 0.0
        self.scene: Scene = self._scenario.scene(0.0)
        self.thermal = Thermal(self.scene.ambient_celsius + 12.0)
        self.throttle = governor.Throttle()
        self.overcurrent = OverCurrent()
        self.fan = Fan()
        self.memory = Memory(self.scene.work.memory_gib)
        self.mode = silicon.MODE[self.scene.mode]
        self.clocks = governor.clocks(self.mode, True, 0, 0, 0.0, 0.0)
        self.gpu_powered = True
        self.gpu_load = 0.0
        self.core_load = [0.0] * silicon.CORES
        self.engine_load = dict.fromkeys(ENGINES, 0.0)
        self.vision_load = 0.0
        self.traffic = 0.0
        self.input_volts = self.scene.supply_volts
        self.busy_seconds = [0.0] * silicon.CORES
        self.idle_seconds = [_UPTIME_S] * silicon.CORES
        self.waited_seconds = [0.0] * silicon.CORES
        self.load_average = 0.0
        self.nvme_celsius = 40.0
        self.readings: dict[str, int] = {}
        self.rails: dict[str, tuple[int, int]] = {}
        self.watts: dict[str, float] = {}
        self._idle_ticks = 0
        self._wander = [0.0] * silicon.CORES
        self._warm_up()

    @property
    def time(self) -> float:
        """Simulated seconds since the scenario began."""
        return self._ticks / TICKS_PER_S

    @property
    def uptime(self) -> float:
        """Simulated seconds since the board booted."""
        return _UPTIME_S + self.time

    @property
    def module_watts(self) -> float:
        """True power of the module in W, without the noise of a sensor."""
        return sum(self.watts[rail] for rail in power.MODULE_RAILS)

    @property
    def cv_powered(self) -> bool:
        """Whether DLA and PVA have power, and with it the cv zones a reading."""
        return self.vision_load > _CV_POWERED

    def step(self, seconds: float) -> None:
        """Advance by `seconds` >= 0, in steps of 0.1 s; what is left counts for the next call."""
        self._owed_s += seconds
        ticks = int(self._owed_s * TICKS_PER_S + 1e-6)
        self._owed_s -= ticks / TICKS_PER_S
        for _ in range(ticks):
            self._tick()
            self._ticks += 1

    def _warm_up(self) -> None:
        self.thermal.haste = _WARM_UP_HASTE
        first = Scenario(self._scenario.sentence, (self._scenario.scenes[0],))
        story, self._scenario = self._scenario, first
        self.step(_WARM_UP_TICKS / TICKS_PER_S)
        self._scenario = story
        self.thermal.haste = 1.0
        self._ticks = 0

    def _tick(self) -> None:
        self.scene = self._scenario.scene(self.time)
        self.mode = silicon.MODE[self.scene.mode]
        waiting = self.memory.step(
            TICK_S, self.scene.work.memory_gib, self._random.uniform(-1.0, 1.0)
        )
        self._run_programs(waiting)
        self._draw_power()
        self._sense()
        if self._ticks % TICKS_PER_S == 0:
            self.throttle.poll({zone: mc / 1000 for zone, mc in self.readings.items()})
        if self._ticks % (2 * TICKS_PER_S) == 0:
            self.fan.poll(self.thermal.zones()["tj"])

    def _run_programs(self, waiting: float) -> None:
        work, scene = self.scene.work, self.scene
        rests = work.rests(self.time)
        demand = 0.1 * work.gpu if rests else work.gpu * (1 - 0.6 * waiting)
        self._idle_ticks = self._idle_ticks + 1 if demand == 0 else 0
        self.gpu_powered = self._idle_ticks <= _RAILGATE_TICKS
        clocks = governor.clocks(
            self.mode,
            scene.clocks_locked,
            self.throttle.gpu_steps,
            self.throttle.cpu_steps,
            demand,
            work.traffic,
        )
        gpu_hz = _STUCK_HZ if scene.gpu_clock_stuck else clocks.gpu_hz
        self.clocks = replace(clocks, gpu_hz=gpu_hz)
        speed = gpu_hz / silicon.GPU_HZ[-1] * self.mode.tpcs / silicon.TPC_COUNT
        noise = self._random.gauss(0, 0.012) if demand else 0.0
        self.gpu_load = _share(min(demand / speed, 0.995) + noise)
        # Work that the GPU gets done, relative to what it would at its highest clock.
        done = min(self.gpu_load * speed / work.gpu, 1.0) if work.gpu else 0.0
        bandwidth = clocks.emc_hz / silicon.EMC_HZ[-1]
        self.traffic = min(work.traffic * (0.1 + 0.9 * done), bandwidth)
        self.engine_load = dict.fromkeys(ENGINES, 0.0)
        video = _share(work.video * self._random.uniform(0.9, 1.1))
        self.engine_load["nvdec"], self.engine_load["vic"] = video, 0.6 * video
        self.vision_load = _share(work.vision * self._random.uniform(0.9, 1.1))
        self._run_cores(waiting)

    def _run_cores(self, waiting: float) -> None:
        speed = self.clocks.cpu_khz / silicon.CPU_KHZ[-1]
        crowd = silicon.CORES / self.mode.cores
        for core in range(silicon.CORES):
            self._wander[core] = 0.95 * self._wander[core] + self._random.gauss(0, 0.02)
            if core >= self.mode.cores:
                self.core_load[core] = 0.0
                continue
            share = 1.4 - 0.8 * core / (silicon.CORES - 1)  # the scheduler fills low cores first
            demand = self.scene.work.cpu * crowd / speed * share
            load = _share(demand * (1 + 2 * self._wander[core]) + 0.005)
            self.core_load[core] = load
            waited = (1 - load) * 0.7 * waiting
            self.busy_seconds[core] += load * TICK_S
            self.waited_seconds[core] += waited * TICK_S
            self.idle_seconds[core] += (1 - load - waited) * TICK_S
        running = sum(self.core_load) + silicon.CORES * waiting
        self.load_average += (running - self.load_average) * TICK_S / 60.0

    def _draw_power(self) -> None:
        activity = Activity(
            gpu_powered=self.gpu_powered,
            gpu_hz=self.clocks.gpu_hz,
            gpu=self.gpu_load * self.scene.work.intensity,
            tpcs=self.mode.tpcs,
            cpu_khz=self.clocks.cpu_khz,
            cores=self.core_load[: self.mode.cores],
            emc_hz=self.clocks.emc_hz,
            traffic=self.traffic,
            video=self.engine_load["nvdec"],
            vision=self.vision_load,
        )
        parts = power.watts(activity, self.thermal.die, self.overcurrent.pulses)
        self.watts = parts.rails()
        self.input_volts = power.input_volts(
            self.scene.supply_volts, self.scene.supply_ohms, self.module_watts
        )
        self.overcurrent.step(self.input_volts, self.amperes())
        die = {"gpu": parts.gpu, "soc": parts.soc, "cpu": parts.cpu, "cv": parts.cv}
        self.fan.step(TICK_S, self.scene.fan_turns)
        self.thermal.step(
            TICK_S,
            die,
            parts.memory,
            self.watts["VIN_SYS_5V0"] - parts.memory,
            sink_to_air(self.fan.rpm, self.scene.airflow),
            self.scene.ambient_celsius,
        )
        # The drive sits under the module: the board warms it half.
        warm = (self.thermal.board + self.scene.ambient_celsius) / 2 + 8.0
        self.nvme_celsius += (warm - self.nvme_celsius) * TICK_S / 30.0

    def amperes(self) -> dict[str, float]:
        """True currents in A by rail."""
        return {
            rail: watts / power.rail_volts(rail, self.input_volts)
            for rail, watts in self.watts.items()
        }

    def _sense(self) -> None:
        self.rails = sensors.rails(self.input_volts, self.amperes(), self._random)
        readings = {
            zone: sensors.zone_mc(celsius, self._random)
            for zone, celsius in self.thermal.zones().items()
        }
        silent = set(self.scene.silent_zones)
        if not self.gpu_powered:
            silent.add("gpu")
        if not self.cv_powered:
            silent |= {"cv0", "cv1", "cv2"}
        self.readings = {zone: mc for zone, mc in readings.items() if zone not in silent}


def _share(value: float) -> float:
    return min(max(value, 0.0), 1.0)
