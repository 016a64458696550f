# A Python package of ours from its folder: name, version, description and commands are what its
# pyproject.toml says, and its tests run in the build. A project without commands is a library.
{
  lib,
  python3Packages,
  writableTmpDirAsHomeHook,
}:
{
  folder,
  nativeCheckInputs ? [ ],
  ...
}@arguments:
let
  inherit (lib.importTOML (folder + "/pyproject.toml")) project;
  commands = lib.attrNames (project.scripts or { });
  build =
    if commands == [ ] then
      python3Packages.buildPythonPackage
    else
      python3Packages.buildPythonApplication;
in
build (
  removeAttrs arguments [ "folder" ]
  // {
    pname = project.name;
    inherit (project) version;
    pyproject = true;

    src = lib.fileset.toSource {
      root = folder;
      fileset = lib.fileset.unions [
        (folder + "/pyproject.toml")
        (folder + "/src")
        (folder + "/tests")
      ];
    };

    build-system = [ python3Packages.hatchling ];

    pythonImportsCheck = [ (lib.replaceStrings [ "-" ] [ "_" ] project.name) ];

    nativeCheckInputs = [
      python3Packages.hypothesis
      python3Packages.pytestCheckHook
      writableTmpDirAsHomeHook # tinygrad keeps compiled kernels in ~/.cache
    ]
    ++ nativeCheckInputs;
    # Deselected in the root pyproject.toml too, which a build does not see.
    disabledTestMarks = [
      "gpu"
      "slow"
    ];

    meta = {
      inherit (project) description;
      license = lib.licenses.mit;
      platforms = lib.platforms.linux;
    }
    // lib.optionalAttrs (lib.length commands == 1) { mainProgram = lib.head commands; };
  }
)
