"""The simulator's model: repeatable, coupled as physics has it, and within a board's figures."""

from dataclasses import replace
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from orin_telemetry.sim import fan, governor, power, silicon, thermal
from orin_telemetry.sim.board import TICK_S, Board
from orin_telemetry.sim.overcurrent import LIMITS_MA, OverCurrent
from orin_telemetry.sim.scenario import (
    IDLE,
    LLM_DECODE,
    SCENARIOS,
    TRAINING,
    Scenario,
    Scene,
    Workload,
)
from orin_telemetry.sim.thermal import Thermal, sink_to_air
from sim_tree import texts


def held(scene: Scene) -> Board:
    """A board that has settled in one scene."""
    return Board(Scenario("", (scene,)))


@settings(max_examples=10, deadline=None)
@given(st.lists(st.floats(0, 1.5), max_size=8), st.integers(0, 9))
def test_how_time_is_cut_does_not_matter(parts: list[float], seed: int) -> None:
    whole, cut = Board("llm-decode", seed), Board("llm-decode", seed)
    for part in parts:
        cut.step(part)
    whole.step(sum(parts))
    assert cut.time == whole.time == pytest.approx(sum(parts), abs=0.11)
    assert texts(cut) == texts(whole)


def test_ten_steps_are_one() -> None:
    whole, cut = Board("brown-out", 5), Board("brown-out", 5)
    whole.step(30)
    for _ in range(300):
        cut.step(0.1)
    assert cut.time == whole.time == 30.0
    assert texts(cut) == texts(whole)


def test_the_seed_decides() -> None:
    boards = [Board("training", seed) for seed in (1, 1, 2)]
    for board in boards:
        board.step(5)
    same, again, other = map(texts, boards)
    assert same == again
    assert same != other


def test_every_joule_is_stored_or_in_the_air() -> None:
    """Summed up from outside: the air takes what its two conductances let through."""
    board = Board("fan-stall")
    drawn = lost = 0.0
    before = stored_joules(board.thermal)
    for _ in range(600):
        board.step(0.05)  # half a step: nothing moves yet, and the second half is the step
        sink, plate = board.thermal.sink, board.thermal.board
        board.step(0.05)
        drawn += board.module_watts * TICK_S
        ambient = board.scene.ambient_celsius
        to_air = sink_to_air(board.fan.rpm, board.scene.airflow)
        lost += (to_air * (sink - ambient) + thermal._BOARD_TO_AIR * (plate - ambient)) * TICK_S
    kept = stored_joules(board.thermal) - before
    assert drawn == pytest.approx(kept + lost, rel=1e-9)
    assert kept > 300


def stored_joules(heat: Thermal) -> float:
    return (
        thermal._DIE_J_PER_K * sum(heat.die.values())
        + thermal._SINK_J_PER_K * heat.sink
        + thermal._BOARD_J_PER_K * heat.board
    )


def test_more_power_is_hotter() -> None:
    boards = [held(Scene(0, "", work)) for work in (IDLE, LLM_DECODE, TRAINING)]
    watts = [board.module_watts for board in boards]
    celsius = [board.thermal.zones()["tj"] for board in boards]
    assert all(low + 10 < high for low, high in pairwise(watts))
    assert all(low + 5 < high for low, high in pairwise(celsius))
    assert 10 < watts[0] < 18
    assert 40 < watts[2] < 60


def test_a_steady_state_loses_what_it_draws() -> None:
    """Without leakage in play: constant watts, and the sink's excess is watts over conductance."""
    heat = Thermal(25.0)
    watts = {"cpu": 5.0, "gpu": 20.0, "soc": 4.0, "cv": 1.0}
    for _ in range(20_000):
        heat.step(0.1, watts, 2.0, 3.0, 1.5, 25.0)
    lost = 1.5 * (heat.sink - 25.0) + thermal._BOARD_TO_AIR * (heat.board - 25.0)
    assert lost == pytest.approx(35.0, rel=1e-6)
    assert 25.0 < heat.sink < 25.0 + 35.0 / 1.5
    assert max(heat.die, key=heat.die.__getitem__) == "gpu"


@pytest.mark.parametrize("work", [IDLE, LLM_DECODE, TRAINING], ids=lambda work: str(work.process))
def test_the_board_is_cooler_than_the_junction(work: Workload) -> None:
    board = held(Scene(0, "", work))
    for _ in range(60):
        board.step(5)
        zones = board.thermal.zones()
        assert zones["tboard"] < zones["tj"] - 1


@pytest.mark.parametrize("ambient", [25.0, 50.0])
def test_an_idle_board_settles_under_a_cover(ambient: float) -> None:
    board = held(Scene(0, "", IDLE, ambient_celsius=ambient, airflow=0.0))
    board.step(1800)
    before = board.thermal.zones()["tj"]
    board.step(600)
    assert board.thermal.zones()["tj"] == pytest.approx(before, abs=0.5)
    assert ambient + 10 < before < governor.PASSIVE_CELSIUS


def test_air_cools() -> None:
    assert sink_to_air(2900, 1.0) > sink_to_air(1000, 1.0) > sink_to_air(0, 1.0) > 0
    assert 0 < sink_to_air(2900, 0.0) < sink_to_air(2900, 0.1) < sink_to_air(2900, 1.0)


def test_warm_silicon_leaks_and_slow_silicon_saves() -> None:
    def total(celsius: float, hz: int, pulses: float = 1.0) -> float:
        activity = power.Activity(
            True, hz, 1.0, 8, silicon.CPU_KHZ[-1], [0.4] * 12, silicon.EMC_HZ[-1], 0.5, 0.0, 0.0
        )
        parts = power.watts(activity, dict.fromkeys(("cpu", "gpu", "soc", "cv"), celsius), pulses)
        return sum(parts.rails()[rail] for rail in power.MODULE_RAILS)

    top = silicon.GPU_HZ[-1]
    assert total(99, top) > total(40, top) + 3
    # Voltage falls with the clock: less than half the clock is far less than half the power.
    assert total(40, silicon.GPU_HZ[0]) < total(40, top) - 12
    assert total(40, top, pulses=0.5) < total(40, top) - 8


def test_a_weak_supply_sags() -> None:
    volts = power.input_volts(19.0, 0.5, 50.0)
    assert volts * (19.0 - volts) / 0.5 == pytest.approx(50.0)
    assert power.input_volts(12.0, 2.0, 50.0) == 6.0  # more than it can give


@pytest.mark.parametrize("name", SCENARIOS)
def test_every_scenario_keeps_to_the_boards_figures(name: str) -> None:
    board = Board(name, seed=3)
    limit = governor.CRITICAL_CELSIUS
    for _ in range(200):
        board.step(1)
        clocks = board.clocks
        assert {clocks.gpu_hz, clocks.gpu_min_hz, clocks.gpu_max_hz} <= set(silicon.GPU_HZ)
        assert {clocks.cpu_khz, clocks.cpu_max_khz} <= set(silicon.CPU_KHZ)
        assert clocks.emc_hz in silicon.EMC_HZ
        assert 8 < board.module_watts < 80
        assert all(20 < celsius < limit for celsius in board.thermal.zones().values())
        assert 0 <= board.gpu_load <= 1
        assert all(0 <= load <= 1 for load in board.core_load)
        assert 0 <= board.memory.free <= board.memory.available
        assert board.memory.available < board.memory.free + board.memory.cached


def test_the_tour_is_the_same_the_second_time() -> None:
    board = Board("tour")
    hottest = []
    for _ in range(2):
        readings = []
        for _ in range(420):
            board.step(1)
            readings.append(board.readings["tj"] / 1000)
        hottest.append(max(readings))
    assert max(hottest) - min(hottest) < 1
    assert max(hottest) < governor.CRITICAL_CELSIUS


def test_throttling_slows_saves_and_cools() -> None:
    blocked = Scene(0, "", TRAINING, ambient_celsius=50.0, airflow=0.0)
    board = held(replace(blocked, airflow=1.0))
    start = board.clocks, board.module_watts
    board._scenario = Scenario("", (blocked,))
    celsius = []
    for _ in range(300):
        board.step(1)
        celsius.append(board.thermal.zones()["tj"])
    assert board.throttle.gpu_steps > 0
    assert board.clocks.gpu_hz < start[0].gpu_hz
    assert board.module_watts < start[1] - 5
    assert 99 < max(celsius) < 101
    assert max(celsius[-60:]) < 101, "the throttle holds the trip"


def test_step_wise_follows_trip_and_trend() -> None:
    throttle = governor.Throttle()
    for celsius in (98.0, 99.0, 99.5, 99.4):
        throttle.poll({"gpu": celsius})
    assert (throttle.gpu_steps, throttle.alerts["gpu"], throttle.alerts["cpu"]) == (2, 1, 0)
    throttle.poll({"gpu": 98.5})
    assert (throttle.gpu_steps, throttle.alerts["gpu"]) == (1, 0)
    throttle.poll({})
    assert throttle.gpu_steps == 0, "a silent zone asks for nothing"
    for celsius in range(99, 140):
        throttle.poll({"cpu": float(celsius)})
    assert (throttle.gpu_steps, throttle.cpu_steps) == (governor.GPU_STEPS, governor.CPU_STEPS)


def test_hot_surface_has_hysteresis() -> None:
    throttle = governor.Throttle()
    seen = []
    for celsius in (69.0, 70.0, 63.0, 61.0, 69.0):
        throttle.poll({"soc0": celsius})
        seen.append(throttle.hot_surface)
    assert seen == [0, 1, 1, 0, 0]


def test_unlocked_clocks_follow_demand() -> None:
    mode = silicon.MODE["MAXN"]
    demands = (0.0, 0.3, 0.6, 1.0)
    hz = [governor.clocks(mode, False, 0, 0, demand, 0.1).gpu_hz for demand in demands]
    assert hz == sorted(set(hz)) and hz[0] == silicon.GPU_HZ[0] and hz[-1] == silicon.GPU_HZ[-1]
    assert governor.clocks(mode, True, 0, 0, 0.0, 0.0).gpu_hz == silicon.GPU_HZ[-1]


@pytest.mark.parametrize("mode", silicon.MODES, ids=lambda mode: str(mode.name))
def test_each_power_mode_draws_about_what_it_is_called(mode: silicon.PowerMode) -> None:
    board = held(Scene(0, "", TRAINING, mode=mode.name, clocks_locked=mode.id == 0))
    assert board.clocks.gpu_hz == mode.gpu_hz
    budget = {"MAXN": 60, "MODE_15W": 15, "MODE_30W": 30, "MODE_50W": 50}[mode.name]
    assert 0.4 * budget < board.module_watts <= budget


def test_fan_curve_and_hysteresis() -> None:
    curve = [fan.wanted_pwm(float(celsius))[0] for celsius in range(0, 110)]
    assert curve == sorted(curve) and curve[0] == 0 and curve[-1] == 255
    rotor = fan.Fan()
    for _ in range(20):
        rotor.poll(75.0)
    fast = rotor.pwm
    rotor.poll(70.0)
    assert rotor.pwm == fast, "less than the hysteresis cooler"
    for _ in range(20):
        rotor.poll(50.0)
    assert rotor.pwm < fast


def test_the_rotor_takes_time() -> None:
    rotor = fan.Fan()
    rotor.pwm = 255
    rotor.step(0.1, turns=True)
    assert 1000 < rotor.rpm < 1200
    for _ in range(50):
        rotor.step(0.1, turns=False)
    assert rotor.rpm < 1


def test_over_current_counts_latches_and_skips() -> None:
    guard = OverCurrent()
    calm = dict.fromkeys(LIMITS_MA, 0.5)
    guard.step(19.0, calm)
    assert (guard.pulses, sum(guard.events.values())) == (1.0, 0)
    guard.step(12.0, calm | {"VDD_GPU_SOC": 9.0})
    assert guard.events == {"oc1": 1, "oc2": 0, "oc3": 1}
    assert guard.pulses < 1
    assert guard.alarm("VDD_GPU_SOC", "crit") and not guard.alarm("VDD_CPU_CV", "max")
    for _ in range(20):
        guard.step(19.0, calm)
    assert guard.pulses == 1
    assert not guard.alarm("VDD_GPU_SOC", "crit")
    for _ in range(60):
        guard.step(19.0, calm | {"VDD_GPU_SOC": 2.2})
    assert guard.events["oc2"] > 0, "the average is over, no single value is"
    assert guard.events["oc3"] == 1


def test_too_much_memory_swaps_and_comes_back() -> None:
    board = Board("swap-thrash")
    board.step(60)
    memory = board.memory
    assert memory.swapped > 10 * 2**30
    assert memory.available < 2**30
    out = memory.swapped_out
    board.step(5)
    assert memory.swapped_out - out > 5 * 0.3 * 500 * 2**20 / 4096
    for _ in range(600):
        memory.step(0.1, 10.0, 0.0)
    assert memory.swapped == 0
    assert memory.available > 40 * 2**30


def test_scenes_come_in_order_and_the_tour_repeats() -> None:
    for name, story in SCENARIOS.items():
        times = [scene.at for scene in story.scenes]
        assert times == sorted(set(times)) and times[0] == 0, name
        assert story.scene(1e6) in story.scenes
    tour = SCENARIOS["tour"]
    assert tour.scene(425.0) is tour.scene(5.0)
