"""API keys: who may ask."""

import hmac
from collections.abc import Collection
from pathlib import Path

from orin_core.cli import UserError


def read_keys(path: Path) -> list[bytes]:
    """The keys in the file `path`, one a line; empty lines and those that begin with # are none.

    Raises UserError if the file cannot be read or has no key.
    """
    try:
        lines = [line.strip() for line in path.read_bytes().splitlines()]
    except OSError as error:
        raise UserError(f"--api-key-file {path}: {error.strerror}") from None
    keys = [line for line in lines if line and not line.startswith(b"#")]
    if not keys:
        raise UserError(f"--api-key-file {path}: no key in it; write one a line")
    return keys


def known(authorization: bytes, keys: Collection[bytes]) -> bool:
    """Whether an Authorization header bears one of `keys`; the time it takes tells nothing of
    them but their number and lengths."""
    scheme, _, token = authorization.partition(b" ")
    matches = [hmac.compare_digest(token.strip(), key) for key in keys]
    return scheme.lower() == b"bearer" and any(matches)
