# TabbyAPI for a Jetson. Only TabbyAPI sees these changes, so that every other Python package stays
# the one in nixpkgs.
_final: prev:
let
  inherit (prev) lib;

  # nixpkgs names x86_64 alone; these are Python, and CUDA source that builds for any capability.
  onAarch64 =
    package:
    package.overridePythonAttrs (previous: {
      meta = previous.meta // {
        platforms = previous.meta.platforms ++ [ "aarch64-linux" ];
      };
    });

  # What serves discrete GPUs and clusters, storage or peers that write into a GPU's own memory, has
  # nothing to do where the GPU shares the CPU's, and would bring the InfiniBand stack along.
  withoutRdma =
    torch:
    torch.overridePythonAttrs (previous: {
      buildInputs = lib.filter (
        input:
        !lib.elem (lib.getName input) [
          "libcufile"
          "libnvshmem"
        ]
      ) previous.buildInputs;
      env = previous.env // {
        USE_CUFILE = "0";
        USE_NVSHMEM = "0";
      };
    });

  python3Packages = prev.python3Packages.overrideScope (
    _: python: {
      exllamav2 = onAarch64 python.exllamav2;
      exllamav3 = onAarch64 python.exllamav3;
      torch = withoutRdma python.torch;
    }
  );
in
lib.optionalAttrs prev.stdenv.hostPlatform.isAarch64 {
  tabbyapi = onAarch64 (prev.tabbyapi.override { inherit python3Packages; });
}
