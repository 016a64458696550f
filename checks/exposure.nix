# systemd's own judgement of every service of ours: at most 4.5 of 10 with the GPU, 2.5 without,
# and 2.0 for telemetry, which only looks on.
# nvpmodel.service is jetpack-nixos' and stays as it is: it switches cores and writes what it likes.
{ pkgs, tools }:
let
  inherit (tools) configure unit;
  limits = {
    grafana-secrets = 20;
    jetson-exporter = 20;
    llama-cpp-main = 45;
    llm-server-main = 45;
    orin-gpu-clock = 25;
    opentelemetry-collector = 20;
    tabbyapi = 45;
    vllm-main = 25; # Docker's client: the GPU is the container's
  };
  config = configure {
    llama = true;
    llm = true;
    tabby = true;
    telemetry = true;
    vllm = true;
  } { orin.telemetry.otlp.enable = true; };
in
pkgs.runCommand "exposure" { nativeBuildInputs = [ pkgs.systemd ]; } (
  pkgs.lib.concatMapAttrsStringSep "\n" (name: limit: ''
    cp ${pkgs.writeText "unit" (unit config "${name}.service")} ${name}.service
    systemd-analyze security --offline=yes --no-pager --threshold=${toString limit} ./${name}.service
  '') limits
  + "touch $out"
)
