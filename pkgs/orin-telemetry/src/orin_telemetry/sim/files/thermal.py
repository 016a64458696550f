"""Thermal zones with their trips, and the cooling devices that these drive."""

from orin_telemetry.sim.board import Board
from orin_telemetry.sim.fan import COOLING_LEVELS
from orin_telemetry.sim.files import Files
from orin_telemetry.sim.governor import (
    BOARD_CRITICAL_CELSIUS,
    CPU_STEPS,
    CRITICAL_CELSIUS,
    GPU_STEPS,
    HOT_SURFACE_CELSIUS,
    HOT_SURFACE_HYSTERESIS,
    PASSIVE_CELSIUS,
    THROTTLED,
)

_ROOT = "sys/devices/virtual/thermal"

ZONES = ("cpu", "gpu", "cv0", "cv1", "cv2", "soc0", "soc1", "soc2", "tj", "tboard", "tdiode")
_CLUSTERS = ("cpufreq-cpu0", "cpufreq-cpu4", "cpufreq-cpu8")
_GPU = "devfreq-17000000.gpu"
_ALERTS = tuple(f"{zone}-throttle-alert" for zone in THROTTLED)
_HOT_SURFACE = "hot-surface-alert"
DEVICES = ("pwm-fan", *_CLUSTERS, _GPU, *_ALERTS, _HOT_SURFACE)

# (type, C, hysteresis) by trip. The trip that throttles is number 0, the hot surface's number 2.
_PART_TRIPS = (
    ("passive", PASSIVE_CELSIUS, 0.0),
    ("critical", CRITICAL_CELSIUS, 0.0),
    ("passive", HOT_SURFACE_CELSIUS, HOT_SURFACE_HYSTERESIS),
)
_TRIPS = {
    **dict.fromkeys(THROTTLED, _PART_TRIPS),
    "tj": (("critical", CRITICAL_CELSIUS, 0.0),),
    "tboard": (("critical", BOARD_CRITICAL_CELSIUS, 0.0),),
    "tdiode": (("critical", BOARD_CRITICAL_CELSIUS, 0.0),),
}


def _bound(zone: str) -> list[tuple[str, int]]:
    """The cooling devices bound to the zone's trips, each with its trip."""
    if zone not in THROTTLED:
        return []
    throttling = [*_CLUSTERS, _GPU, f"{zone}-throttle-alert"]
    return [*((device, 0) for device in throttling), (_HOT_SURFACE, 2)]


def _zone(zone: str) -> str:
    return f"{_ROOT}/thermal_zone{ZONES.index(zone)}"


def _device(device: str) -> str:
    return f"{_ROOT}/cooling_device{DEVICES.index(device)}"


LINKS = {
    path.replace(_ROOT, "sys/class/thermal"): path
    for path in (*map(_zone, ZONES), *map(_device, DEVICES))
}
for _name in ZONES:
    for _number, (_cooler, _) in enumerate(_bound(_name)):
        LINKS[f"{_zone(_name)}/cdev{_number}"] = _device(_cooler)


def files(board: Board) -> Files:
    """Temperatures in m C; a zone without a reading answers EAGAIN."""
    for zone in ZONES:
        path = _zone(zone)
        reading = board.readings.get(zone)
        yield f"{path}/temp", None if reading is None else f"{reading}\n"
        yield f"{path}/type", f"{zone}-thermal\n"
        yield f"{path}/mode", "enabled\n"
        yield f"{path}/policy", "step_wise\n"
        yield f"{path}/available_policies", "step_wise user_space\n"
        for number, (kind, celsius, hysteresis) in enumerate(_TRIPS[zone]):
            yield f"{path}/trip_point_{number}_type", f"{kind}\n"
            yield f"{path}/trip_point_{number}_temp", f"{round(celsius * 1000)}\n"
            yield f"{path}/trip_point_{number}_hyst", f"{round(hysteresis * 1000)}\n"
        for number, (_, trip) in enumerate(_bound(zone)):
            yield f"{path}/cdev{number}_trip_point", f"{trip}\n"
            yield f"{path}/cdev{number}_weight", "0\n"
    throttle = board.throttle
    states = {
        "pwm-fan": (board.fan.level(), len(COOLING_LEVELS) - 1),
        **dict.fromkeys(_CLUSTERS, (throttle.cpu_steps, CPU_STEPS)),
        _GPU: (throttle.gpu_steps, GPU_STEPS),
        **{f"{zone}-throttle-alert": (state, 1) for zone, state in throttle.alerts.items()},
        _HOT_SURFACE: (throttle.hot_surface, 1),
    }
    for device in DEVICES:
        path = _device(device)
        state, highest = states[device]
        yield f"{path}/type", f"{device}\n"
        yield f"{path}/cur_state", f"{state}\n"
        yield f"{path}/max_state", f"{highest}\n"
