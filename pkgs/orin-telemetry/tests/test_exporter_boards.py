"""What each board's files become: the series worth a look, complete for every metric named."""

from pathlib import Path

import pytest

from kernel_tree import BOARDS, Board, scraper, series
from orin_telemetry.collectors.board import INFO as INFO_FAMILY

# Model, module, chip, L4T, JetPack and kernel, the labels of jetson_info.
INFO = {
    "agx-orin-jp6": (
        "NVIDIA Jetson AGX Orin Developer Kit",
        "p3701-0005",
        "tegra234",
        "36.4.4",
        "6",
        "5.15.148-tegra",
    ),
    "agx-orin-jp5": (
        "Jetson AGX Orin Developer Kit",
        "p3701-0005",
        "tegra234",
        "35.4.1",
        "5",
        "5.10.120-tegra",
    ),
    "agx-orin-jp7": (
        "NVIDIA Jetson AGX Orin Developer Kit",
        "p3701-0005",
        "tegra234",
        "39.2.0",
        "7",
        "6.8.12-1021-tegra",
    ),
    "orin-nx": (
        "NVIDIA Jetson Orin NX Engineering Reference Developer Kit",
        "p3767-0000",
        "tegra234",
        "36.4.4",
        "6",
        "5.15.148-tegra",
    ),
    "orin-nano": (
        "NVIDIA Jetson Orin Nano Engineering Reference Developer Kit Super",
        "p3767-0005",
        "tegra234",
        "36.4.4",
        "6",
        "5.15.148-tegra",
    ),
    "xavier": (
        "Jetson-AGX",
        "p2888-0001",
        "tegra194",
        "35.4.1",
        "5",
        "5.10.120-tegra",
    ),
    "thor": (
        "NVIDIA Jetson AGX Thor Developer Kit",
        "p3834-0008",
        "tegra264",
        "38.4.0",
        "7",
        "6.8.12-tegra",
    ),
}

# Of each metric that appears here, these are all of the board's series.
EXPECTED = {
    "agx-orin-jp6": """
jetson_gpu_frequency_hertz{gpu="17000000.gpu"} 510e6
jetson_gpu_frequency_min_hertz{gpu="17000000.gpu"} 306e6
jetson_gpu_frequency_max_hertz{gpu="17000000.gpu"} 612e6
jetson_gpu_frequency_available_min_hertz{gpu="17000000.gpu"} 306e6
jetson_gpu_frequency_available_max_hertz{gpu="17000000.gpu"} 1300.5e6
jetson_gpu_load_ratio{gpu="17000000.gpu"} 0.437
jetson_gpu_powered{gpu="17000000.gpu"} 1
jetson_gpu_railgated{gpu="17000000.gpu"} 0
jetson_gpu_railgating_enabled{gpu="17000000.gpu"} 1
jetson_gpu_railgate_delay_seconds{gpu="17000000.gpu"} 0.5
jetson_gpu_clocks_locked{gpu="17000000.gpu"} 0
jetson_gpu_powergated_units{gpu="17000000.gpu",unit="gpc"} 0
jetson_gpu_powergated_units{gpu="17000000.gpu",unit="tpc"} 4
jetson_gpu_governor_info{gpu="17000000.gpu",governor="nvhost_podgov"} 1
jetson_cpu_frequency_hertz{cpu="0"} 1728e6
jetson_cpu_frequency_hertz{cpu="1"} 1728e6
jetson_cpu_frequency_hertz{cpu="2"} 1728e6
jetson_cpu_frequency_hertz{cpu="3"} 1728e6
jetson_cpu_frequency_hertz{cpu="4"} 729.6e6
jetson_cpu_frequency_hertz{cpu="5"} 729.6e6
jetson_cpu_frequency_hertz{cpu="6"} 729.6e6
jetson_cpu_frequency_hertz{cpu="7"} 729.6e6
jetson_cpu_busy_seconds_total{cpu="0"} 1.31
jetson_cpu_busy_seconds_total{cpu="1"} 1.21
jetson_cpu_busy_seconds_total{cpu="2"} 0
jetson_memory_total_bytes 65893937152
jetson_memory_available_bytes 53248000000
jetson_swap_free_bytes 32946176000
jetson_swap_in_bytes_total 40960
jetson_swap_out_bytes_total 81920
jetson_cma_total_bytes 268435456
jetson_zram_disksize_bytes{device="zram0"} 2745671680
jetson_zram_original_bytes{device="zram0"} 786432
jetson_zram_compressed_bytes{device="zram0"} 65536
jetson_zram_used_bytes{device="zram0"} 131072
jetson_nvmap_bytes 5380243456
jetson_nvmap_client_bytes{process="llama-server",pid="2100"} 5369757696
jetson_nvmap_client_bytes{process="gnome shell worker",pid="900"} 10485760
jetson_emc_frequency_cap_hertz 3199e6
jetson_emc_frequency_hertz 2133e6
jetson_emc_utilization_ratio 0.25
jetson_engine_active{engine="vic"} 0
jetson_engine_active{engine="nvjpg"} 0
jetson_engine_active{engine="nvdec"} 1
jetson_engine_active{engine="nvenc"} 0
jetson_engine_active{engine="nvjpg1"} 0
jetson_engine_active{engine="ofa"} 0
jetson_engine_active{engine="nvdla0"} 0
jetson_engine_active{engine="nvdla1"} 0
jetson_engine_load_ratio{engine="vic"} 0.125
jetson_engine_load_ratio{engine="nvdec"} 0.125
jetson_thermal_zone_celsius{zone="cpu"} 51.25
jetson_thermal_zone_celsius{zone="gpu"} 47.5
jetson_thermal_zone_celsius{zone="soc0"} 48.031
jetson_thermal_zone_celsius{zone="soc1"} 47
jetson_thermal_zone_celsius{zone="soc2"} 46.781
jetson_thermal_zone_celsius{zone="tj"} 51.25
jetson_thermal_zone_celsius{zone="tboard"} 38.5
jetson_thermal_zone_celsius{zone="tdiode"} 40.125
jetson_thermal_zone_available{zone="cpu"} 1
jetson_thermal_zone_available{zone="gpu"} 1
jetson_thermal_zone_available{zone="cv0"} 0
jetson_thermal_zone_available{zone="cv1"} 0
jetson_thermal_zone_available{zone="cv2"} 0
jetson_thermal_zone_available{zone="soc0"} 1
jetson_thermal_zone_available{zone="soc1"} 1
jetson_thermal_zone_available{zone="soc2"} 1
jetson_thermal_zone_available{zone="tj"} 1
jetson_thermal_zone_available{zone="tboard"} 1
jetson_thermal_zone_available{zone="tdiode"} 1
jetson_thermal_headroom_celsius{zone="cpu",type="passive"} 47.75
jetson_thermal_headroom_celsius{zone="cpu",type="critical"} 53.25
jetson_thermal_headroom_celsius{zone="gpu",type="passive"} 51.5
jetson_thermal_headroom_celsius{zone="gpu",type="critical"} 57
jetson_thermal_headroom_celsius{zone="soc0",type="passive"} 50.969
jetson_thermal_headroom_celsius{zone="soc0",type="critical"} 56.469
jetson_thermal_headroom_celsius{zone="soc1",type="passive"} 52
jetson_thermal_headroom_celsius{zone="soc1",type="critical"} 57.5
jetson_thermal_headroom_celsius{zone="soc2",type="passive"} 52.219
jetson_thermal_headroom_celsius{zone="soc2",type="critical"} 57.719
jetson_thermal_headroom_celsius{zone="tj",type="critical"} 53.25
jetson_throttling{unit="cpu"} 0
jetson_throttling{unit="gpu"} 1
jetson_throttling{unit="cv0"} 0
jetson_throttling{unit="cv1"} 0
jetson_throttling{unit="cv2"} 0
jetson_throttling{unit="soc0"} 0
jetson_throttling{unit="soc1"} 0
jetson_throttling{unit="soc2"} 0
jetson_hot_surface 0
jetson_rail_volts{rail="VDD_GPU_SOC"} 19
jetson_rail_volts{rail="VDD_CPU_CV"} 19
jetson_rail_volts{rail="VIN_SYS_5V0"} 5.04
jetson_rail_volts{rail="VDDQ_VDD2_1V8AO"} 5.04
jetson_rail_amperes{rail="VDD_GPU_SOC"} 0.4
jetson_rail_amperes{rail="VDD_CPU_CV"} 0.1
jetson_rail_amperes{rail="VIN_SYS_5V0"} 0.8
jetson_rail_amperes{rail="VDDQ_VDD2_1V8AO"} 0.25
jetson_rail_watts{rail="VDD_GPU_SOC"} 7.6
jetson_rail_watts{rail="VDD_CPU_CV"} 1.9
jetson_rail_watts{rail="VIN_SYS_5V0"} 4.032
jetson_rail_watts{rail="VDDQ_VDD2_1V8AO"} 1.26
jetson_module_power_watts{method="sum"} 13.532
jetson_rail_limit_amperes{rail="VDD_GPU_SOC",level="max"} 2.5
jetson_rail_limit_amperes{rail="VDD_CPU_CV",level="max"} 0.08
jetson_rail_limit_amperes{rail="VIN_SYS_5V0",level="max"} 2.5
jetson_rail_limit_amperes{rail="VDD_GPU_SOC+VDD_CPU_CV+VIN_SYS_5V0",level="crit"} 3.38
jetson_rail_amperes{rail="VDD_GPU_SOC+VDD_CPU_CV+VIN_SYS_5V0"} 1.3
jetson_rail_alarm{rail="VDD_GPU_SOC",level="max"} 0
jetson_rail_alarm{rail="VDD_GPU_SOC",level="crit"} 0
jetson_rail_alarm{rail="VDD_CPU_CV",level="max"} 1
jetson_rail_alarm{rail="VDD_CPU_CV",level="crit"} 0
jetson_rail_alarm{rail="VIN_SYS_5V0",level="max"} 0
jetson_rail_alarm{rail="VIN_SYS_5V0",level="crit"} 0
jetson_rail_alarm{rail="VDD_GPU_SOC+VDD_CPU_CV+VIN_SYS_5V0",level="crit"} 0
jetson_rail_alarm{rail="VDDQ_VDD2_1V8AO",level="crit"} 0
jetson_energy_joules_total{rail="VDD_GPU_SOC"} 0
jetson_energy_joules_total{rail="VDD_CPU_CV"} 0
jetson_energy_joules_total{rail="VIN_SYS_5V0"} 0
jetson_energy_joules_total{rail="VDDQ_VDD2_1V8AO"} 0
jetson_module_energy_joules_total{method="sum"} 0
jetson_overcurrent_events_total{oc="oc1",reason="under_voltage"} 0
jetson_overcurrent_events_total{oc="oc2",reason="average"} 0
jetson_overcurrent_events_total{oc="oc3",reason="instantaneous"} 31
jetson_overcurrent_throttle_enabled{oc="oc1",reason="under_voltage"} 1
jetson_overcurrent_throttle_enabled{oc="oc2",reason="average"} 1
jetson_overcurrent_throttle_enabled{oc="oc3",reason="instantaneous"} 1
jetson_fan_pwm_ratio{fan="0"} 0.4
jetson_fan_speed_rpm{fan="0"} 2140
jetson_nvme_celsius{device="nvme0",sensor="Composite"} 41.85
jetson_nvme_celsius{device="nvme0",sensor="Sensor 1"} 47.85
jetson_nvme_limit_celsius{device="nvme0",sensor="Composite",level="max"} 82.85
jetson_nvme_limit_celsius{device="nvme0",sensor="Composite",level="crit"} 84.85
jetson_power_mode_id 2
jetson_power_mode_info{id="2",mode="MODE_30W"} 1
""",
    "agx-orin-jp5": """
jetson_gpu_frequency_hertz{gpu="17000000.ga10b"} 1300.5e6
jetson_gpu_frequency_available_min_hertz{gpu="17000000.ga10b"} 114.75e6
jetson_gpu_clocks_locked{gpu="17000000.ga10b"} 1
jetson_gpu_load_ratio{gpu="17000000.ga10b"} 0.998
jetson_emc_frequency_cap_hertz 3199e6
jetson_engine_frequency_hertz{engine="vic"} 729.6e6
jetson_engine_frequency_hertz{engine="nvdec"} 729.6e6
jetson_thermal_zone_celsius{zone="cpu"} 48.75
jetson_thermal_zone_celsius{zone="gpu"} 45
jetson_thermal_zone_celsius{zone="tboard"} 38
jetson_thermal_zone_celsius{zone="tj"} 49
jetson_thermal_zone_available{zone="cpu"} 1
jetson_thermal_zone_available{zone="gpu"} 1
jetson_thermal_zone_available{zone="cv1"} 0
jetson_thermal_zone_available{zone="tboard"} 1
jetson_thermal_zone_available{zone="tj"} 1
jetson_thermal_headroom_celsius{zone="cpu",type="critical"} 55.75
jetson_module_power_watts{method="sum"} 15
jetson_power_mode_info{id="0",mode="MAXN"} 1
""",
    "agx-orin-jp7": """
jetson_gpu_frequency_hertz{gpu="17000000.gpu"} 306e6
jetson_gpu_load_ratio{gpu="17000000.gpu"} 0
jetson_gpu_powered{gpu="17000000.gpu"} 0
jetson_gpu_railgated{gpu="17000000.gpu"} 1
jetson_thermal_zone_celsius{zone="cpu"} 41
jetson_thermal_zone_available{zone="cpu"} 1
jetson_thermal_zone_available{zone="gpu"} 0
jetson_thermal_headroom_celsius{zone="cpu",type="passive"} 58
""",
    "orin-nx": """
jetson_gpu_load_ratio{gpu="17000000.gpu"} 0
jetson_gpu_frequency_available_max_hertz{gpu="17000000.gpu"} 918e6
jetson_cpu_online{cpu="0"} 1
jetson_cpu_online{cpu="1"} 1
jetson_cpu_online{cpu="2"} 1
jetson_cpu_online{cpu="3"} 1
jetson_cpu_online{cpu="4"} 0
jetson_cpu_online{cpu="5"} 0
jetson_cpu_online{cpu="6"} 1
jetson_cpu_online{cpu="7"} 1
jetson_thermal_zone_celsius{zone="cpu"} 47.093
jetson_thermal_zone_celsius{zone="gpu"} 47.093
jetson_thermal_zone_celsius{zone="soc0"} 47.093
jetson_thermal_zone_celsius{zone="soc1"} 47.093
jetson_thermal_zone_celsius{zone="soc2"} 47.093
jetson_thermal_zone_celsius{zone="tj"} 47.093
jetson_rail_watts{rail="VDD_IN"} 7.5
jetson_rail_watts{rail="VDD_CPU_GPU_CV"} 1.5
jetson_rail_watts{rail="VDD_SOC"} 2
jetson_rail_limit_amperes{rail="VDD_IN",level="max"} 7.784
jetson_rail_limit_amperes{rail="VDD_IN",level="crit"} 7.784
jetson_module_power_watts{method="measured"} 7.5
jetson_module_energy_joules_total{method="measured"} 0
jetson_power_mode_info{id="3",mode="25W"} 1
""",
    "orin-nano": """
jetson_gpu_load_ratio{gpu="17000000.gpu"} 1
jetson_engine_frequency_hertz{engine="vic"} 435.2e6
jetson_engine_frequency_hertz{engine="nvjpg"} 524.8e6
jetson_engine_frequency_hertz{engine="nvjpg1"} 435.2e6
jetson_engine_frequency_hertz{engine="nvdec"} 435.2e6
jetson_engine_frequency_hertz{engine="ofa"} 435.2e6
jetson_fan_speed_rpm{fan="0"} 5400
jetson_fan_pwm_ratio{fan="0"} 1
jetson_rail_watts{rail="VDD_IN"} 9.5
jetson_rail_watts{rail="VDD_CPU_GPU_CV"} 9.5
jetson_rail_watts{rail="VDD_SOC"} 9.5
jetson_module_power_watts{method="measured"} 9.5
""",
    "xavier": """
jetson_gpu_frequency_hertz{gpu="17000000.gv11b"} 114.75e6
jetson_gpu_frequency_max_hertz{gpu="17000000.gv11b"} 1377e6
jetson_gpu_load_ratio{gpu="17000000.gv11b"} 0.765
jetson_emc_frequency_cap_hertz 2133e6
jetson_engine_frequency_hertz{engine="nvdec"} 115.2e6
jetson_engine_frequency_hertz{engine="nvdec1"} 460.8e6
jetson_engine_frequency_hertz{engine="nvenc"} 115.2e6
jetson_engine_frequency_hertz{engine="nvenc1"} 460.8e6
jetson_engine_active{engine="nvdla0"} 0
jetson_engine_active{engine="nvdla1"} 0
jetson_engine_active{engine="pva0"} 0
jetson_engine_active{engine="pva1"} 0
jetson_thermal_zone_celsius{zone="cpu"} 31.5
jetson_thermal_zone_celsius{zone="gpu"} 30.5
jetson_thermal_zone_celsius{zone="aux"} 30.5
jetson_thermal_zone_celsius{zone="ao"} 30
jetson_thermal_zone_celsius{zone="tboard"} 31
jetson_thermal_zone_celsius{zone="tdiode"} 32
jetson_thermal_zone_celsius{zone="thermal-fan-est"} 30.8
jetson_rail_watts{rail="GPU"} 0.4632
jetson_rail_watts{rail="CPU"} 0.6176
jetson_rail_watts{rail="SOC"} 2.9336
jetson_rail_watts{rail="CV"} 0
jetson_rail_watts{rail="VDDRQ"} 0.3088
jetson_rail_watts{rail="SYS5V"} 3.3003
""",
    "thor": """
jetson_gpu_frequency_hertz{gpu="gpu-gpc-0"} 1575e6
jetson_gpu_clocks_locked{gpu="gpu-gpc-0"} 1
jetson_engine_frequency_hertz{engine="nvd"} 315e6
jetson_engine_frequency_max_hertz{engine="nvd"} 1692e6
jetson_engine_active{engine="nvd"} 1
jetson_emc_frequency_hertz 4266e6
jetson_thermal_zone_celsius{zone="cpu"} 53.7
jetson_thermal_zone_celsius{zone="tj"} 55.1
jetson_thermal_zone_celsius{zone="soc012"} 55.1
jetson_thermal_zone_celsius{zone="soc345"} 53.7
jetson_thermal_headroom_celsius{zone="cpu",type="critical"} 60.8
jetson_thermal_headroom_celsius{zone="tj",type="critical"} 59.4
jetson_thermal_headroom_celsius{zone="soc012",type="critical"} 59.4
jetson_thermal_headroom_celsius{zone="soc345",type="critical"} 60.8
jetson_cooling_device_state{device="cooling_device0",type="devfreq-gpu-gpc-0"} 18
jetson_cooling_device_state{device="cooling_device1",type="gpu-throttle-alert"} 1
jetson_cooling_device_state{device="cooling_device2",type="soc012-throttle-alert"} 0
jetson_throttling{unit="gpu"} 1
jetson_throttling{unit="soc012"} 0
jetson_rail_amperes{rail="VDD_GPU"} -0.039
jetson_rail_amperes{rail="VDD_CPU_SOC_MSS"} 0.65
jetson_rail_amperes{rail="VIN_SYS_5V0"} 0.65
jetson_fan_speed_rpm{fan="0"} 1786
jetson_fan_pwm_ratio{fan="0"} 0.2
jetson_power_mode_info{id="1",mode="120W"} 1
""",
}

# Metrics that a board must not have: the hardware, the driver or the release lacks them.
ABSENT = {
    "agx-orin-jp6": ["jetson_power_mode_expected_id"],
    "agx-orin-jp5": ["jetson_nvme_celsius", "jetson_fan_speed_rpm", "jetson_zram_disksize_bytes"],
    "agx-orin-jp7": [
        "jetson_gpu_railgating_enabled",
        "jetson_power_mode_id",
        "jetson_cpu_frequency_hertz",
        "jetson_rail_volts",
    ],
    "orin-nx": ["jetson_overcurrent_events_total"],
    "orin-nano": ["jetson_power_mode_id", "jetson_power_mode_info", "jetson_engine_active"],
    "xavier": ["jetson_module_power_watts", "jetson_module_energy_joules_total"],
    "thor": [
        "jetson_gpu_load_ratio",
        "jetson_gpu_powered",
        "jetson_emc_frequency_cap_hertz",
        "jetson_module_power_watts",
    ],
}


@pytest.mark.parametrize("name", BOARDS)
def test_a_boards_series(name: str, tmp_path: Path) -> None:
    with Board(name, tmp_path) as board:
        scrape = scraper(board.kernel()).scrape()
    found = series(scrape)
    expected = {
        head: float(value)
        for head, _, value in (line.rpartition(" ") for line in EXPECTED[name].split("\n") if line)
    }
    metrics = {head.partition("{")[0] for head in expected}
    same = {head: value for head, value in found.items() if head.partition("{")[0] in metrics}
    assert same == pytest.approx(expected)
    (info,) = (sample for sample in scrape.samples if sample.family is INFO_FAMILY)
    assert info.labels == INFO[name]
    assert not [head for head in found if head.partition("{")[0] in ABSENT[name]]
    # What only root sees is missing in most of the files; all else answered.
    assert scrape.failures.keys() <= {"nvmap", "actmon", "bpmp"}


def test_every_board_is_tested() -> None:
    assert BOARDS == sorted(INFO) == sorted(EXPECTED) == sorted(ABSENT)


def test_a_machine_that_is_no_jetson(tmp_path: Path) -> None:
    """The exporter serves what there is, and no series of hardware that is missing."""
    board = Board("orin-nano", tmp_path)
    for folder in ("sys/class", "sys/devices/platform"):
        (tmp_path / folder).rename(tmp_path / folder.replace("/", "-"))
    for file in ("proc/device-tree/model", "proc/device-tree/compatible", "etc/nv_tegra_release"):
        (tmp_path / file).unlink()
    found = series(scraper(board.kernel()).scrape())
    empty = 'model="",module="",soc="",l4t="",jetpack="",kernel="5.15.148-tegra"'
    assert found[f"jetson_info{{{empty}}}"] == 1
    heads = ("jetson_gpu", "jetson_thermal", "jetson_rail", "jetson_engine", "jetson_fan")
    assert not [head for head in found if head.startswith(heads)]
    assert 'jetson_cpu_online{cpu="0"}' in found
