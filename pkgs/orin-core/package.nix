{
  lib,
  python3Packages,
  tinygrad,
  writableTmpDirAsHomeHook,
}:
let
  inherit (lib.importTOML ./pyproject.toml) project;
in
python3Packages.buildPythonPackage (finalAttrs: {
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
    python3Packages.rich
    python3Packages.typer
  ];

  optional-dependencies.tinygrad = [
    python3Packages.numpy
    python3Packages.pillow
    tinygrad
  ];

  pythonImportsCheck = [ "orin_core" ];

  nativeCheckInputs = [
    python3Packages.hypothesis
    python3Packages.pytestCheckHook
    writableTmpDirAsHomeHook # tinygrad keeps compiled kernels in ~/.cache
  ]
  ++ finalAttrs.passthru.optional-dependencies.tinygrad;
  disabledTestMarks = [
    "gpu"
    "slow"
  ];

  meta = {
    inherit (project) description;
    license = lib.licenses.mit;
    platforms = lib.platforms.linux;
  };
})
