# Addresses as the services here write them.
{ lib }:
{
  # An address alone, since ports are options of their own.
  type = lib.types.strMatching "[0-9.]+|[0-9a-fA-F:]+" // {
    description = "IPv4 or IPv6 address, without a port";
  };

  # string -> bool: whether only this machine reaches what listens there.
  isLoopback =
    address:
    lib.hasPrefix "127." address
    || lib.elem address [
      "::1"
      "[::1]"
      "localhost"
    ];

  # string -> port -> string: IPv6 goes in brackets.
  withPort =
    address: port:
    let
      host = if lib.hasInfix ":" address && !lib.hasPrefix "[" address then "[${address}]" else address;
    in
    "${host}:${toString port}";

  # string -> string: where this machine reaches what listens there.
  local =
    address:
    {
      "0.0.0.0" = "127.0.0.1";
      "::" = "::1";
      "[::]" = "::1";
    }
    .${address} or address;
}
