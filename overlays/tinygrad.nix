# tinygrad for a Jetson. It hands PTX to the driver, which refuses that of a newer CUDA than its own
# (CUDA_ERROR_UNSUPPORTED_PTX_VERSION), and nixpkgs' default is newer than JetPack's driver. So its
# compiler of kernels is that of JetPack's own CUDA.
final:
let
  inherit (final.python3Packages) tinygrad;
  isJetson =
    final.stdenv.hostPlatform.isAarch64 && final.config.cudaSupport && final ? nvidia-jetpack;
in
if isJetson then
  tinygrad.override { cudaPackages = final.nvidia-jetpack.cudaPackages; }
else
  tinygrad
