# modules/containers: Docker, the GPU in it, and who may use it.
{
  lib,
  configure,
  hasLines,
  refuses,
  unit,
  ...
}:
let
  containers = configure { containers = true; };
  default = containers { };
  generator = "nvidia-container-toolkit-cdi-generator.service";
  groups = config: config.users.users.orin.extraGroups;
in
{
  "Docker runs, and prunes what is unused" =
    default.virtualisation.docker.enable && default.virtualisation.docker.autoPrune.enable;
  "the GPU is described to it as JetPack lists it" =
    default.hardware.nvidia-container-toolkit.discovery-mode == "csv"
    && default.virtualisation.docker.daemon.settings.features.cdi
    && default.hardware.nvidia-container-toolkit.csv-files != [ ];
  "and before it starts, with the parts that the power mode leaves on" =
    hasLines [
      "Before=docker.service"
      "After=nvpmodel.service"
    ] (unit default generator)
    && lib.elem "docker.service" default.systemd.services.nvidia-container-toolkit-cdi-generator.requiredBy;
  "the owner is not in Docker's group, which is root" = !lib.elem "docker" (groups default);
  "the owner may ask for it" = lib.elem "docker" (
    groups (containers {
      orin.containers.ownerMayUseDocker = true;
    })
  );
  "no server of models comes along" = default.virtualisation.oci-containers.containers == { };
  "no owner, no group" = refuses [ "ownerMayUseDocker" "orin.owner.enable" ] (containers {
    orin.owner.enable = lib.mkForce false;
    orin.containers.ownerMayUseDocker = true;
  });
}
