# Commands over llama.cpp. They are plain shell and work from a checkout, too, where llama.cpp is
# installed.
{
  lib,
  llama-cpp,
  makeBinaryWrapper,
  shellcheck,
  stdenvNoCC,
}:
let
  commands = [
    "llama-benchmark"
    "qwen3-coder"
    "qwen3-server"
  ];
in
stdenvNoCC.mkDerivation {
  name = "llama-cpp-orin";

  src = lib.fileset.toSource {
    root = ./.;
    fileset = lib.fileset.difference ./. ./package.nix;
  };

  nativeBuildInputs = [ makeBinaryWrapper ];

  nativeCheckInputs = [ shellcheck ];
  doCheck = true;
  checkPhase = ''
    shellcheck --external-sources ${toString commands}
  '';

  installPhase = ''
    mkdir -p $out/share
    cp --recursive . $out/share/llama-cpp-orin
    for command in ${toString commands}; do
      makeWrapper $out/share/llama-cpp-orin/$command $out/bin/$command \
        --prefix PATH : ${lib.makeBinPath [ llama-cpp ]}
    done
  '';

  passthru = { inherit commands; };

  meta = {
    description = "llama.cpp for a Jetson AGX Orin: a Qwen3 server, a Qwen3-Coder to talk to, a benchmark";
    license = lib.licenses.mit;
    platforms = lib.platforms.linux;
  };
}
