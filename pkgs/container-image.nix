# An image with commands of ours and what they need, and no system around them. The result is a script
# that writes it: `$(nix build --print-out-paths .#llm-server-image) | docker load`. Where the package
# set has CUDA, the programs look for the driver where NixOS has it, and a description of the GPU (CDI)
# mounts it there: docker run --device nvidia.com/gpu=all.
{
  lib,
  buildEnv,
  cacert,
  dockerTools,
}:
{
  name,
  description,
  packages,
  config,
}:
let
  nobody = "65534";
in
dockerTools.streamLayeredImage {
  inherit name;
  tag = (lib.head packages).version;

  contents = [
    dockerTools.fakeNss
    (buildEnv {
      name = "${name}-commands";
      paths = packages;
      pathsToLink = [ "/bin" ];
    })
  ];

  fakeRootCommands = ''
    mkdir -m 1777 tmp
    mkdir -p models cache
    chown ${nobody}:${nobody} cache models
  '';

  config = {
    User = "${nobody}:${nobody}";
    WorkingDir = "/models";
    Env = [
      "HOME=/cache"
      "XDG_CACHE_HOME=/cache"
      "SSL_CERT_FILE=${cacert}/etc/ssl/certs/ca-bundle.crt"
      "NVIDIA_VISIBLE_DEVICES=all"
      "NVIDIA_DRIVER_CAPABILITIES=all"
    ];
    Volumes = {
      "/cache" = { };
      "/models" = { };
    };
    Labels = {
      "org.opencontainers.image.title" = name;
      "org.opencontainers.image.description" = description;
      "org.opencontainers.image.licenses" = "MIT";
    };
  }
  // config;
}
// {
  meta = {
    inherit description;
    platforms = lib.platforms.linux;
  };
}
