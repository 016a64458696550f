# The benchmarks, of tinygrad and of servers: docker run bench /bin/bench-cnn --quick.
{
  callPackage,
  orin-bench,
  orin-llm,
}:
callPackage ../container-image.nix { } {
  name = "bench";
  inherit (orin-bench.meta) description;
  packages = [
    orin-bench
    orin-llm
  ];

  config.Cmd = [
    "/bin/bench-comprehensive"
    "--help"
  ];
}
