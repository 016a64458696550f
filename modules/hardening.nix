# systemd sandboxes, as serviceConfig. `base` denies what a service of ours never needs; `gpu` is what
# remains of it for a program that uses the GPU of a Jetson.
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

    # No list of devices: systemd reads one when a service starts, and nvgpu makes its nodes when the
    # GPU is first powered, so that a list would shut out what comes later, and a server would fall
    # back to the CPU without a word. The nodes' groups decide. ProtectClock= brings such a list along;
    # the system calls that set clocks stay denied.
    PrivateDevices = false;
    ProtectClock = false;
    SupplementaryGroups = [
      "render"
      "video"
    ];
  };
}
