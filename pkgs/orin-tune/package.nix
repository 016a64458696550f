{
  lib,
  orin-core,
  python3Packages,
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
    python3Packages.typer
  ];

  pythonImportsCheck = [ "orin_tune" ];

  nativeCheckInputs = [
    python3Packages.hypothesis
    python3Packages.pytestCheckHook
  ];
  disabledTestMarks = [
    "gpu"
    "slow"
  ];

  meta = {
    inherit (project) description;
    license = lib.licenses.mit;
    mainProgram = "orin-tune";
    platforms = lib.platforms.linux;
  };
}
