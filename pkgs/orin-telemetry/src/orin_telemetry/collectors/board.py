"""Which board this is: model, module, chip, L4T release and kernel."""

import re

from orin_telemetry.collectors.collector import Collector
from orin_telemetry.metric import Family, Reading

INFO = Family(
    "jetson_info",
    "The board: device tree model, module part number, chip, L4T and JetPack release, kernel.",
    ("model", "module", "soc", "l4t", "jetpack", "kernel"),
)

JETPACK = {"32": "4", "34": "5", "35": "5", "36": "6", "38": "7", "39": "7"}  # by L4T's major


class BoardCollector(Collector):
    """Facts that change with a reboot at most; one that is not known is an empty label."""

    name = "board"
    lifetime_s = 60.0

    def discover(self, reading: Reading) -> None:
        """Nothing: the files have fixed names."""

    def collect(self, reading: Reading) -> None:
        """Read the device tree, the release file and the kernel's version."""
        # /proc/device-tree is an absolute link to the former, which a container may not see
        tree = self.kernel.sysfs / "firmware/devicetree/base"
        if not reading.exists(tree):
            tree = self.kernel.procfs / "device-tree"
        release_file = self.kernel.below_root("etc/nv_tegra_release")
        model = reading.word(tree / "model") if reading.exists(tree / "model") else None
        compatible, release = (
            reading.text(file) if reading.exists(file) else None
            for file in (tree / "compatible", release_file)
        )
        kernel = reading.word(self.kernel.procfs / "sys/kernel/osrelease")

        # "nvidia,p3737-0000+p3701-0005": the carrier board, then the module
        module = re.search(r"nvidia,[^\0]*\b(p\d{4}-\d{4})", compatible or "")
        soc = re.search(r"nvidia,(tegra\d{1,4})", compatible or "")
        # "# R36 (release), REVISION: 4.4, GCID: ..."
        l4t = re.search(r"R([0-9]{1,3}) \(release\), REVISION: ([0-9.]{1,16})", release or "")
        reading.add(
            INFO,
            1,
            model or "",
            module[1] if module else "",
            soc[1] if soc else "",
            f"{l4t[1]}.{l4t[2]}" if l4t else "",
            JETPACK.get(l4t[1], "") if l4t else "",
            kernel or "",
        )
