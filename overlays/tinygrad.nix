# tinygrad as our packages use it. Its own tests need torch, onnxruntime and OpenCV, which with CUDA
# for Jetson exist in no cache: hours of compiling for packages that are then thrown away.
final: _prev: {
  tinygrad =
    if final.config.cudaSupport then
      final.python3Packages.tinygrad.overridePythonAttrs { doCheck = false; }
    else
      final.python3Packages.tinygrad;
}
