# For a server whose model may not have been copied yet: one line in the journal that says what is
# missing, and another look every half minute, instead of a crash loop. Returns a systemd service.
{
  pkgs,
  utils,
  model,
  remedy,
}:
let
  requireModel = pkgs.writeShellScript "require-model" ''
    if [[ ! -r $1 ]]; then
      echo "no readable model at $1: $2. Next look in 30 s." >&2
      exit 66 # EX_NOINPUT
    fi
  '';
in
{
  startLimitIntervalSec = 0;
  serviceConfig = {
    ExecStartPre = utils.escapeSystemdExecArgs [
      requireModel
      model
      remedy
    ];
    Restart = "on-failure";
    RestartSec = 30;
  };
}
