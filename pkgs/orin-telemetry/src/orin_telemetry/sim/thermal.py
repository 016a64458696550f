"""Where the heat goes: a network of heat capacities and conductances, stepped by Euler's method.

Four parts of the die sit on one heatsink and beside each other; the rest of the module is the
board. The constants are chosen so that 50 W at 25 C ambient settle near 65 C at the junction with
the fan at two thirds, as owners of developer kits report. The heatsink weighs less than the real
one, so that warming up takes one minute and not five.
"""

import math
from dataclasses import dataclass, field

DIE = ("cpu", "gpu", "soc", "cv")
_DIE_J_PER_K = 6.0
_SINK_J_PER_K = 50.0
_BOARD_J_PER_K = 40.0
_DIE_TO_SINK = {"cpu": 2.4, "gpu": 4.5, "soc": 3.0, "cv": 1.5}  # W/K
_DIE_TO_SOC = 1.5  # W/K: cpu, gpu and cv lie around the rest of the chip
_BOARD_TO_SINK = 0.6  # W/K
_BOARD_TO_AIR = 0.4  # W/K: in use, tboard is the coolest of a real board's zones

_COVERED = 0.2  # W/K of the heatsink through whatever covers its intake, and by radiation
_STILL_AIR = 0.2  # W/K more by free convection, with the fan stopped
_FAN_AIR = 1.2  # W/K more at full speed; forced convection grows with flow to the power 0.8
FULL_SPEED_RPM = 2900.0


def sink_to_air(rpm: float, airflow: float) -> float:
    """Conductance of the heatsink in W/K at the fan's `rpm`, of which `airflow` reaches the fins.

    Never 0: without any loss even an idle board would heat up without end.
    """
    forced = _FAN_AIR * math.pow(rpm / FULL_SPEED_RPM, 0.8)
    return _COVERED + (_STILL_AIR + forced) * airflow


@dataclass
class Thermal:
    """Temperatures in C by part of the die, of the heatsink and of the board.

    haste divides the large heat capacities: a board can start warm without minutes of steps.
    """

    start_celsius: float
    haste: float = 1.0
    die: dict[str, float] = field(init=False)
    sink: float = field(init=False)
    board: float = field(init=False)

    def __post_init__(self) -> None:
        self.die = dict.fromkeys(DIE, self.start_celsius)
        self.sink = self.board = self.start_celsius

    def step(
        self,
        seconds: float,
        die_watts: dict[str, float],
        sink_watts: float,
        board_watts: float,
        air_watts_per_kelvin: float,
        ambient: float,
    ) -> None:
        """Advance by `seconds`. The heatsink covers the memory too: its power is `sink_watts`."""
        flow = dict(die_watts)
        to_sink = 0.0
        for part in DIE:
            down = _DIE_TO_SINK[part] * (self.die[part] - self.sink)
            flow[part] -= down
            to_sink += down
            if part != "soc":
                aside = _DIE_TO_SOC * (self.die[part] - self.die["soc"])
                flow[part] -= aside
                flow["soc"] += aside
        from_board = _BOARD_TO_SINK * (self.board - self.sink)
        sink_to_air = air_watts_per_kelvin * (self.sink - ambient)
        board_to_air = _BOARD_TO_AIR * (self.board - ambient)
        for part in DIE:
            self.die[part] += flow[part] * seconds / _DIE_J_PER_K
        slow = seconds * self.haste
        self.sink += (sink_watts + to_sink + from_board - sink_to_air) * slow / _SINK_J_PER_K
        self.board += (board_watts - from_board - board_to_air) * slow / _BOARD_J_PER_K

    def zones(self) -> dict[str, float]:
        """True temperatures in C of the kernel's zones; tj is the hottest spot of the die."""
        soc, cv = self.die["soc"], self.die["cv"]
        zones = {
            "cpu": self.die["cpu"],
            "gpu": self.die["gpu"],
            **{"cv0": cv, "cv1": cv - 0.3, "cv2": cv - 0.6},
            **{"soc0": soc, "soc1": soc + 0.6, "soc2": soc - 0.5},
        }
        zones["tj"] = max(zones.values())
        zones["tboard"] = self.board
        zones["tdiode"] = zones["tj"] - 1.5
        return zones
