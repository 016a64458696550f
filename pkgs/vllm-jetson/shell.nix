# For working on containers: nix develop .#vllm.
{
  docker-buildx,
  docker-client,
  docker-compose,
  mkShell,
  shellcheck,
  skopeo,
  vllm-jetson,
}:
mkShell {
  packages = [
    docker-buildx
    docker-client
    docker-compose
    shellcheck
    skopeo # reads a registry without pulling: which tags an image has, and their digests
    vllm-jetson
  ];
}
