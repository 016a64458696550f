{
  callPackage,
  llguidance,
  orin-core,
  orin-nn,
  python3Packages,
  tinygrad,
}:
callPackage ../python-project.nix { } {
  folder = ./.;

  dependencies = [
    llguidance
    orin-core
    orin-nn
    python3Packages.aiohttp
    python3Packages.fastapi
    python3Packages.gguf
    python3Packages.httpx
    python3Packages.huggingface-hub
    python3Packages.jinja2
    python3Packages.matplotlib
    python3Packages.numpy
    python3Packages.prometheus-client
    python3Packages.pydantic
    python3Packages.rich
    python3Packages.tokenizers
    python3Packages.typer
    python3Packages.uvicorn
    tinygrad
  ];

  nativeCheckInputs = [
    python3Packages.openai
    python3Packages.pillow
  ];

  env.DEV = "CPU"; # a build has no GPU, and tinygrad would look for one
}
