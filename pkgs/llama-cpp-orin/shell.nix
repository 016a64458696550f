# A shell to build llama.cpp from its own repository, with OpenSSL for downloads and, on the board,
# CUDA for its GPU alone:
#
#   nix develop path:/where/orinix/is#llama-cpp
#   cmake -B build $cmakeFlags && cmake --build build --parallel
{
  lib,
  addDriverRunpath,
  cmake,
  config,
  cudaPackages,
  git,
  mkShell,
  ninja,
  openssl,
  pkg-config,
  stdenv,
}:
let
  cuda = config.cudaSupport;
in
# CUDA bounds the version of the compiler.
mkShell.override { stdenv = if cuda then cudaPackages.backendStdenv else stdenv; } {
  packages = [
    cmake
    git
    ninja
    pkg-config
    openssl
  ]
  ++ lib.optionals cuda [
    cudaPackages.cccl
    cudaPackages.cuda_cudart
    cudaPackages.cuda_nvcc
    cudaPackages.libcublas
  ];

  cmakeFlags = [
    "-GNinja"
    "-DCMAKE_BUILD_TYPE=Release"
    "-DLLAMA_OPENSSL=ON"
    "-DGGML_CUDA=${if cuda then "ON" else "OFF"}"
  ]
  ++ lib.optional cuda "-DCMAKE_CUDA_ARCHITECTURES=${cudaPackages.flags.cmakeCudaArchitecturesString}";

  # What is built here finds the GPU's driver.
  LD_LIBRARY_PATH = lib.optionalString cuda "${addDriverRunpath.driverLink}/lib";
}
