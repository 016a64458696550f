# vLLM and MLC by hand, in containers: the commands, and the files that the NixOS modules share with
# them. They are plain shell and work from a checkout just as well.
{
  lib,
  shellcheck,
  stdenvNoCC,
}:
stdenvNoCC.mkDerivation {
  name = "vllm-jetson";

  src = lib.fileset.toSource {
    root = ./.;
    fileset = lib.fileset.difference ./. ./package.nix;
  };

  nativeCheckInputs = [ shellcheck ];
  doCheck = true;
  checkPhase = ''
    shellcheck --external-sources --source-path=SCRIPTDIR run* serve-*
  '';

  installPhase = ''
    mkdir -p $out/share $out/bin
    cp --recursive . $out/share/vllm-jetson
    ln -s ../share/vllm-jetson/run-{vllm,mlc}-docker $out/bin
  '';

  # The scripts of the images run with the images' own shell.
  dontPatchShebangs = true;
  postFixup = ''
    patchShebangs $out/share/vllm-jetson/run-*
  '';

  passthru.commands = [
    "run-vllm-docker"
    "run-mlc-docker"
  ];

  meta = {
    description = "vLLM and MLC LLM in containers on a Jetson AGX Orin";
    license = lib.licenses.mit;
    platforms = lib.platforms.linux;
    mainProgram = "run-vllm-docker";
  };
}
