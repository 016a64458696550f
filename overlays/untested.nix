# Python packages as ours use them. Their own tests need torch, onnxruntime and OpenCV, which with
# CUDA for Jetson exist in no cache: hours of compiling for packages that are then thrown away.
final: _prev:
let
  untested =
    package:
    if final.config.cudaSupport then package.overridePythonAttrs { doCheck = false; } else package;
in
{
  llguidance = untested final.python3Packages.llguidance;
  safetensors = untested final.python3Packages.safetensors;
  tinygrad = untested (import ./tinygrad.nix final);
}
