# For compiling models and kernels with TVM outside of MLC's image: nix develop .#mlc. CUDA comes
# along where the package set has it, on the board.
{
  lib,
  config,
  cmake,
  cudaPackages,
  llvmPackages,
  mkShell,
  ninja,
  python3,
  tvm,
}:
mkShell {
  packages = [
    cmake
    llvmPackages.clang
    llvmPackages.llvm
    ninja
    python3
    tvm
  ]
  ++ lib.optionals config.cudaSupport [
    cudaPackages.cuda_cudart
    cudaPackages.cuda_nvcc
    cudaPackages.cuda_nvrtc
    cudaPackages.libcublas
  ];
}
