# systemd sandboxes, as serviceConfig. `base` denies what a service of ours never needs; `gpu` is what
# remains of it for a program that uses the GPU of a Jetson.
{ lib }:
let
  # nvgpu's device nodes, which L4T r36 has under a new name and the one of earlier releases.
  nodes = [
    "as"
    "ctrl"
    "ctxsw"
    "dbg"
    "nvsched"
    "nvsched_ctrl_fifo"
    "power"
    "prof"
    "prof-ctx"
    "prof-dev"
    "sched"
    "tsg"
  ];
in
rec {
  base = {
    AmbientCapabilities = "";
    CapabilityBoundingSet = "";
    LockPersonality = true;
    MemoryDenyWriteExecute = true;
    NoNewPrivileges = true;
    PrivateDevices = true;
    PrivateMounts = true;
    PrivateTmp = true;
    ProcSubset = "pid";
    ProtectClock = true;
    ProtectControlGroups = true;
    ProtectHome = true;
    ProtectHostname = true;
    ProtectKernelLogs = true;
    ProtectKernelModules = true;
    ProtectKernelTunables = true;
    ProtectProc = "invisible";
    ProtectSystem = "strict";
    RemoveIPC = true;
    RestrictNamespaces = true;
    RestrictRealtime = true;
    RestrictSUIDSGID = true;
    SystemCallArchitectures = "native";
    SystemCallErrorNumber = "EPERM";
    SystemCallFilter = [
      "@system-service"
      "~@privileged"
    ];
    UMask = "0077";
  };

  gpu = base // {
    # CUDA's driver maps memory writable and executable, and reads /proc/meminfo to size the memory
    # that CPU and GPU share. The nodes' group would not apply in a user namespace of its own.
    MemoryDenyWriteExecute = false;
    ProcSubset = "all";
    PrivateUsers = false;

    # No device but the GPU's. Opening CUDA on L4T r36 takes all of these: without the render node
    # and host1x-fence, say, cuInit answers 801 and a server falls back to the CPU without a word.
    PrivateDevices = false;
    DevicePolicy = "closed";
    DeviceAllow = [
      "char-drm rw"
      "char-nvidia* rw"
      "/dev/host1x-fence rw"
      "/dev/nvmap rw"
      "/dev/nvgpu/igpu0/channel rw"
      "/dev/nvhost-gpu rw"
    ]
    ++ lib.concatMap (node: [
      "/dev/nvgpu/igpu0/${node} rw"
      "/dev/nvhost-${node}-gpu rw"
    ]) nodes;
    SupplementaryGroups = [
      "render"
      "video"
    ];
  };
}
