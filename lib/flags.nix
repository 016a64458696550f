# The arguments of mkSystem, as functions that can be tested: what is wrong with them, and what
# they turn on.
{
  lib,
  features,
  hosts,
}:
let
  known = lib.concatStringsSep ", ";
  given =
    arguments:
    removeAttrs arguments [
      "host"
      "modules"
    ];

  flagProblem =
    flag: value:
    if !(features ? ${flag}) then
      "unknown flag '${flag}'; the flags are ${known (lib.attrNames features)}"
    else if !lib.isBool value then
      "flag '${flag}' is ${builtins.typeOf value}; write ${flag} = true or leave it out"
    else
      null;

  hostProblem =
    host:
    if lib.elem host hosts then
      null
    else
      "unknown host ${builtins.toJSON host}; the hosts are ${known hosts}";
in
{
  # attrs -> [ string ]: one line for each thing wrong, none when the arguments are right.
  problems =
    arguments:
    lib.remove null (
      [ (hostProblem arguments.host) ] ++ lib.mapAttrsToList flagProblem (given arguments)
    );

  # attrs -> [ string ]: the flags that are on, those implied by others included.
  enabled =
    arguments:
    let
      on = lib.attrNames (lib.filterAttrs (_: lib.id) (given arguments));
    in
    map (flag: flag.key) (
      lib.genericClosure {
        startSet = map (key: { inherit key; }) on;
        operator = flag: map (key: { inherit key; }) features.${flag.key}.implies;
      }
    );
}
