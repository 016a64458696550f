{
  lib,
  orin-core,
  python3Packages,
  safetensors,
  tinygrad,
  writableTmpDirAsHomeHook,
}:
let
  inherit (lib.importTOML ./pyproject.toml) project;
in
python3Packages.buildPythonApplication {
  pname = project.name;
  inherit (project) version;
  pyproject = true;

  src = lib.fileset.toSource {
    root = ./.;
    fileset = lib.fileset.unions [
      ./pyproject.toml
      ./src
      ./tests
    ];
  };

  build-system = [ python3Packages.hatchling ];

  dependencies = [
    orin-core
    python3Packages.numpy
    python3Packages.pillow
    python3Packages.typer
    safetensors
    tinygrad
  ]
  ++ orin-core.optional-dependencies.tinygrad;

  pythonImportsCheck = [ "orin_bench" ];

  nativeCheckInputs = [
    python3Packages.hypothesis
    python3Packages.pytestCheckHook
    writableTmpDirAsHomeHook # tinygrad keeps compiled kernels in ~/.cache
  ];
  env.DEV = "CPU"; # a build has no GPU, and tinygrad would look for one
  disabledTestMarks = [
    "gpu"
    "slow"
  ];

  meta = {
    inherit (project) description;
    license = lib.licenses.mit;
    platforms = lib.platforms.linux;
  };
}
