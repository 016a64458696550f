"""The hwmon devices: power monitors, over-current counters, fan and the NVMe drive."""

from orin_telemetry.sim import sensors
from orin_telemetry.sim.board import Board
from orin_telemetry.sim.files import BUS, Files
from orin_telemetry.sim.overcurrent import LIMITS_MA, OC

_I2C = f"{BUS}/c240000.i2c/i2c-1"
_NVME = f"{BUS}/14160000.pcie/pci0004:00/0004:00:00.0/0004:01:00.0/nvme/nvme0"

_PWM_FAN = "sys/devices/platform/pwm-fan/hwmon/hwmon0"
_TACH = f"{BUS}/39c0000.tachometer/hwmon/hwmon1"
_DRIVE = f"{_NVME}/hwmon2"
_SOCTHERM = "sys/devices/platform/soctherm-oc-event/hwmon/hwmon3"
_INA_40 = f"{_I2C}/1-0040/hwmon/hwmon4"
_INA_41 = f"{_I2C}/1-0041/hwmon/hwmon5"
_HWMON = (_PWM_FAN, _TACH, _DRIVE, _SOCTHERM, _INA_40, _INA_41)

# Channels 1 and 3 of the second monitor are disabled in the device tree.
_CHANNELS = {
    _INA_40: {1: "VDD_GPU_SOC", 2: "VDD_CPU_CV", 3: "VIN_SYS_5V0"},
    _INA_41: {2: "VDDQ_VDD2_1V8AO"},
}
_FULL_SCALE_MA = 0x7FF8 // 8 * sensors.SHUNT_UV * 1000 // sensors.SHUNT_UOHM

# Limits of a common drive in m C: warning, critical (NVMe specification, WCTEMP and CCTEMP).
_DRIVE_MAX, _DRIVE_CRIT, _DRIVE_MIN = 82_850, 84_850, -273_150

LINKS = {f"sys/class/hwmon/{path.rpartition('/')[2]}": path for path in _HWMON}
for _path in _HWMON:
    LINKS[f"{_path}/device"] = _path.rpartition("/")[0].removesuffix("/hwmon")
for _chip in ("1-0040", "1-0041"):
    LINKS[f"sys/bus/i2c/devices/{_chip}"] = f"{_I2C}/{_chip}"
    LINKS[f"sys/bus/i2c/drivers/ina3221/{_chip}"] = f"{_I2C}/{_chip}"
LINKS["sys/class/nvme/nvme0"] = _NVME
LINKS[f"{_NVME}/device"] = _NVME.removesuffix("/nvme/nvme0")

_GARBAGE = "\xff\xff\xfe?\n"  # what a wedged bus leaves: not a number, not even UTF-8


def files(board: Board) -> Files:
    """Voltages in mV, currents in mA, temperatures in m C, PWM 0..255, speed in RPM."""
    for path in _CHANNELS:
        yield from _ina3221(board, path)
    yield f"{_SOCTHERM}/name", "soctherm_oc\n"
    for name in OC:
        yield f"{_SOCTHERM}/{name}_event_cnt", f"{board.overcurrent.events[name]}\n"
        yield f"{_SOCTHERM}/{name}_throt_en", "1\n"
    yield f"{_PWM_FAN}/name", "pwmfan\n"
    yield f"{_PWM_FAN}/pwm1", f"{board.fan.pwm}\n"
    yield f"{_PWM_FAN}/pwm1_enable", "1\n"
    yield f"{_TACH}/name", "pwm_tach\n"
    yield f"{_TACH}/rpm", f"{round(board.fan.rpm)}\n"
    yield f"{_DRIVE}/name", "nvme\n"
    for number, (label, offset) in enumerate((("Composite", 0.0), ("Sensor 1", 6.0)), start=1):
        yield f"{_DRIVE}/temp{number}_label", f"{label}\n"
        celsius = sensors.nvme_mc(board.nvme_celsius + offset)
        yield f"{_DRIVE}/temp{number}_input", f"{celsius}\n"
    yield f"{_DRIVE}/temp1_max", f"{_DRIVE_MAX}\n"
    yield f"{_DRIVE}/temp1_min", f"{_DRIVE_MIN}\n"
    yield f"{_DRIVE}/temp1_crit", f"{_DRIVE_CRIT}\n"
    yield f"{_DRIVE}/temp1_alarm", "0\n"


def _ina3221(board: Board, path: str) -> Files:
    yield f"{path}/name", "ina3221\n"
    yield f"{path}/update_interval", "4\n"
    yield f"{path}/samples", "4\n"
    shunts = 0.0
    for channel, rail in _CHANNELS[path].items():
        mv, ma = board.rails[rail]
        microvolts = ma * sensors.SHUNT_UOHM / 1000
        shunts += microvolts
        garbled = rail in board.scene.garbled_rails
        yield f"{path}/in{channel}_label", f"{rail}\n"
        yield f"{path}/in{channel}_enable", "1\n"
        yield f"{path}/in{channel}_input", f"{mv}\n"
        yield f"{path}/in{channel + 3}_input", f"{round(microvolts / 1000)}\n"
        yield f"{path}/shunt{channel}_resistor", f"{sensors.SHUNT_UOHM}\n"
        yield f"{path}/curr{channel}_input", _GARBAGE if garbled else f"{ma}\n"
        limit, critical = LIMITS_MA[rail]
        yield f"{path}/curr{channel}_max", f"{limit}\n"
        yield f"{path}/curr{channel}_crit", f"{critical}\n"
        for level in ("max", "crit"):
            alarm = int(board.overcurrent.alarm(rail, level))
            yield f"{path}/curr{channel}_{level}_alarm", f"{alarm}\n"
    yield f"{path}/in7_label", "sum of shunt voltages\n"
    yield f"{path}/in7_input", f"{round(shunts / 1000)}\n"
    yield f"{path}/curr4_input", f"{round(shunts * 1000 / sensors.SHUNT_UOHM)}\n"
    yield f"{path}/curr4_crit", f"{_FULL_SCALE_MA}\n"
    yield f"{path}/curr4_crit_alarm", "0\n"
