# The one account of a personal board, and how its owner comes in: SSH by key, sudo, the serial
# console.
{ config, lib, ... }:
let
  cfg = config.orin.owner;
  user = config.users.users.${cfg.name};

  hasKey = user.openssh.authorizedKeys.keys != [ ] || user.openssh.authorizedKeys.keyFiles != [ ];
  hasPassword = lib.any (value: value != null) [
    user.hashedPassword
    user.hashedPasswordFile
    user.initialHashedPassword
    user.initialPassword
    user.password
  ];
in
{
  options.orin.owner = {
    enable = lib.mkEnableOption "the owner's account, with SSH by key and sudo";

    name = lib.mkOption {
      type = lib.types.str;
      default = "orin";
      example = "ada";
      description = ''
        Login name of the owner. The default names the machine rather than a person, since it has
        one user.
      '';
    };

    keys = lib.mkOption {
      type = lib.types.listOf lib.types.singleLineStr;
      default = [ ];
      example = [ "ssh-ed25519 AAAA... ada@laptop" ];
      description = ''
        SSH public keys that log in as the owner. None by default: a key that came with the
        distribution would open every board that runs it, so until there is one the serial console
        logs in by itself. From then on it asks for a password, which `sudo passwd NAME` over SSH
        sets, as a second way in should the network fail.
      '';
    };
  };

  config = lib.mkIf cfg.enable {
    users.users.${cfg.name} = {
      isNormalUser = true;
      description = "Owner";
      extraGroups = [
        "wheel"
        # The GPU, memory and camera device nodes of a Jetson belong to these two.
        "video"
        "render"
      ];
      openssh.authorizedKeys.keys = cfg.keys;
    };

    services.openssh = {
      enable = true;
      settings = {
        PasswordAuthentication = false;
        KbdInteractiveAuthentication = false;
        PermitRootLogin = "no";
      };
    };

    # An owner who comes in by key has no password for sudo to ask for. Setting one, with
    # users.users.<name>.hashedPasswordFile, brings the question back.
    security.sudo.wheelNeedsPassword = lib.mkDefault hasPassword;

    # With neither key nor password nothing else lets the owner in, so ttyTCU0 logs in by itself:
    # the debug port, and no other terminal. That gives nothing away, since whoever can plug into it
    # can press the recovery button beside it and rewrite the board. The first key or password in the
    # configuration ends it, from the next login on.
    systemd.services."serial-getty@ttyTCU0" = lib.mkIf (!hasKey && !hasPassword) {
      overrideStrategy = "asDropin";
      restartIfChanged = false; # the owner may be switching from that very terminal
      serviceConfig.ExecStart = [
        "" # replaces the template's command with the same one and this option
        "${
          lib.last config.systemd.services."serial-getty@".serviceConfig.ExecStart
        } --autologin ${cfg.name}"
      ];
    };

    assertions = [
      {
        assertion = cfg.name != "root";
        message = "orin.owner.name is root, whom SSH refuses here: choose another name, which sudo makes root.";
      }
    ]
    ++ map (key: {
      # A key that sshd cannot read would lock the owner out without a word.
      assertion = builtins.match "(ssh-|ecdsa-|sk-)[^ ]+ [^ ]+.*" key != null;
      message = "orin.owner.keys has \"${key}\", which is no public key: give the line that ~/.ssh/id_ed25519.pub holds.";
    }) cfg.keys;

    warnings = lib.optional (!hasKey) (
      ''orin.owner: no SSH key, so nobody can log in over the network. Add yours: orin.owner.keys = [ "ssh-ed25519 AAAA... you@laptop" ];''
      + lib.optionalString (
        !hasPassword
      ) " Until then the serial console (ttyTCU0) logs in as ${cfg.name} by itself."
    );
  };
}
