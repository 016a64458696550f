# How the owner gets in, and that nobody else does.
{
  lib,
  configure,
  contains,
  refuses,
  unit,
  ...
}:
let
  getty = "serial-getty@ttyTCU0.service";
  bare = configure { } { };
  withKey = configure { } { orin.owner.keys = [ "ssh-ed25519 AAAA test" ]; };
  withPassword = configure { } { users.users.orin.hashedPasswordFile = "/run/secrets/owner"; };
  renamed = configure { } {
    orin.owner.name = "ada";
    orin.owner.keys = [ "ssh-ed25519 AAAA test" ];
  };
in
{
  "the distribution has no key and no password" =
    bare.users.users.orin.openssh.authorizedKeys.keys == [ ]
    && lib.all (
      user:
      user.hashedPassword == null
      && user.password == null
      && user.initialPassword == null
      && user.initialHashedPassword == null
    ) [ bare.users.users.orin ];
  "SSH takes keys only, and never root" =
    let
      inherit (bare.services.openssh) settings;
    in
    !settings.PasswordAuthentication
    && !settings.KbdInteractiveAuthentication
    && settings.PermitRootLogin == "no";

  "without a key, a warning says how to add one" =
    lib.any (contains "orin.owner.keys = [ \"ssh-ed25519") bare.warnings;
  "without a key, the serial console logs in" = contains "--keep-baud $TERM --autologin orin" (
    unit bare getty
  );
  "no other terminal logs in by itself" =
    bare.services.getty.autologinUser == null
    && !contains "--autologin" (unit bare "serial-getty@.service");
  "without a password, sudo asks for none" = !bare.security.sudo.wheelNeedsPassword;

  "with a key, the warning is gone" = withKey.warnings == [ ];
  "with a key, the serial console asks who is there" = !(withKey.systemd.units ? ${getty});
  "with a password, the serial console asks for it" = !(withPassword.systemd.units ? ${getty});
  "with a password, sudo asks for it" = withPassword.security.sudo.wheelNeedsPassword;

  "the name is set in one place" =
    renamed.users.users.ada.isNormalUser && !(renamed.users.users ? orin);
  "what is no key is refused" = refuses [ "/home/me/id.pub" "the line that" ] (
    configure { } { orin.owner.keys = [ "/home/me/id.pub" ]; }
  );
  "the owner may use the GPU" = lib.all (group: lib.elem group bare.users.users.orin.extraGroups) [
    "video"
    "render"
    "wheel"
  ];
  "root is no owner" = refuses [ "orin.owner.name" "choose another name" ] (
    configure { } { orin.owner.name = lib.mkForce "root"; }
  );
}
