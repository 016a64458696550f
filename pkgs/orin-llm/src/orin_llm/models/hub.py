"""Hugging Face's Hub: which GGUF files a repository has, and what it means when it refuses.

Addresses, tokens and requests for metadata are huggingface_hub's. Its downloads are not used: since
version 1.18 they begin anew after a kill (its issue 4196), and they never verified what came.
"""

import re
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import PurePosixPath
from urllib.parse import quote

from huggingface_hub import HfApi, ModelInfo, constants, get_token
from huggingface_hub.errors import HfHubHTTPError, HFValidationError

from orin_core.cli import UserError

# What the library's client raises when there is no answer: of httpx, in newer versions of httpx2.
_TransportError: type[Exception] = HfHubHTTPError.__mro__[1]

TIMEOUT = 20  # seconds without a byte
# Seconds to wait before the next try, when a try brought nothing.
PAUSES = (1, 2, 4, 8, 16)
LONGEST_PAUSE = 60
# A later try may succeed: too many requests, and what is wrong with the server.
PASSING = (408, 429, 500, 502, 503, 504)

_PART = re.compile(r"-(\d{5})-of-(\d{5})\.gguf$")
_DIGEST = re.compile(r"[0-9a-f]{64}|[0-9a-f]{40}")


class UnreachableError(Exception):
    """The Hub gives no answer, or what answers is not the Hub. The text says why."""


@dataclass(frozen=True)
class RemoteFile:
    """A file in a repository. `digest` is its SHA-256, or git's SHA-1 for a file outside LFS."""

    repo: str
    name: str
    size: int
    digest: str
    url: str

    @property
    def local_name(self) -> str:
        return PurePosixPath(self.name).name


def url_of(repo: str, name: str, revision: str) -> str:
    """Where a file is, quoted: names may hold anything."""
    return f"{constants.ENDPOINT}/{repo}/resolve/{quote(revision, safe='')}/{quote(name)}"


def headers() -> dict[str, str]:
    """What requests carry: the token, if there is one, and no compression, which has no ranges."""
    token = get_token()
    extra = {"authorization": f"Bearer {token}"} if token else {}
    return {"accept-encoding": "identity", "user-agent": "orinix", **extra}


def part_names(name: str) -> list[str]:
    """All parts of a file that is split as llama.cpp splits them, else the file itself.

    Raises UserError for a part beyond the number of parts.
    """
    if not (found := _PART.search(name)):
        return [name]
    part, count = int(found[1]), int(found[2])
    if not 1 <= part <= count:
        raise UserError(f"{name}: there is no part {part} of {count}")
    stem = name[: found.start()]
    return [f"{stem}-{index:05}-of-{count:05}.gguf" for index in range(1, count + 1)]


def find_files(repo: str, name: str | None, revision: str) -> list[RemoteFile]:
    """The file `name` of a repository, with all its parts if it is split, at the commit that
    `revision` is now.

    Raises UserError, which lists the GGUF files there are, for a name that is none of them, and
    for whatever the Hub refuses; UnreachableError where it does not answer.
    """
    commit, found = _list_files(repo, revision)
    files = {
        path: RemoteFile(repo, path, size, digest, url_of(repo, path, commit))
        for path, size, digest in found
    }
    if name is None or name not in files:
        what = "name a file" if name is None else f"has no {name}"
        raise UserError(f"{repo}: {what}; its GGUF files: {', '.join(files) or 'none'}")
    missing = [part for part in part_names(name) if part not in files]
    if missing:
        raise UserError(f"{repo}: {name} is one of several parts, and {missing[0]} is missing")
    return [files[part] for part in part_names(name)]


def _list_files(repo: str, revision: str) -> tuple[str, list[tuple[str, int, str]]]:
    """The commit, and name, size and digest of each GGUF file."""
    info = _info(repo, revision)
    found = []
    for file in info.siblings or []:
        digest = (file.lfs.sha256 if file.lfs else file.blob_id) or ""
        known = file.size is not None and _DIGEST.fullmatch(digest)
        if known and _is_name(file.rfilename):
            found.append((file.rfilename, int(file.size or 0), digest))
    return info.sha or revision, found


def _is_name(name: str) -> bool:
    """Of a GGUF file, and none that leads elsewhere or that a terminal would obey."""
    return name.endswith(".gguf") and name.isprintable() and ".." not in PurePosixPath(name).parts


def _info(repo: str, revision: str) -> ModelInfo:
    failures = 0
    while True:
        try:
            return HfApi().model_info(
                repo, revision=revision, files_metadata=True, timeout=TIMEOUT, token=get_token()
            )
        except HFValidationError:
            raise UserError(f"{repo}: not a repository's name, which is OWNER/NAME") from None
        except HfHubHTTPError as error:
            status, answered = error.response.status_code, error.response.headers
            if failures == len(PAUSES) or status not in PASSING:
                raise refusal(repo, revision, status, answered) from None
            asked = asked_pause(answered)
            time.sleep(PAUSES[failures] if asked is None else asked)
            failures += 1
        except (_TransportError, OSError) as error:
            raise UnreachableError(one_line(error)) from None
        except (ValueError, KeyError, TypeError, AttributeError):  # some other site's page
            raise UnreachableError("what answers there is not Hugging Face") from None


def asked_pause(answered: Mapping[str, str]) -> int | None:
    """Seconds that the server asks to wait before the next try."""
    asked = answered.get("retry-after", "")
    return min(int(asked), LONGEST_PAUSE) if asked.isdecimal() else None


def refusal(repo: str, revision: str, status: int, answered: Mapping[str, str]) -> UserError:
    """What an answer of the Hub means, and the remedy."""
    code, message = answered.get("x-error-code", ""), answered.get("x-error-message", "")
    hub = constants.ENDPOINT
    if code == "GatedRepo":
        text = (
            f"gated: accept its licence at {hub}/{repo}, and set HF_TOKEN to a token of that "
            f"account ({hub}/settings/tokens)"
        )
    elif code == "RevisionNotFound":
        text = f"has no revision {revision!r}"
    elif "Invalid credentials" in message:
        text = f"the token in HF_TOKEN is not valid: make one at {hub}/settings/tokens"
    elif status in (401, 404):
        text = (
            f"no such repository at {hub}, or a private one: check the name, or set HF_TOKEN to a "
            "token that may read it"
        )
    elif status == 403:
        text = f"{hub} forbids it to this token: set HF_TOKEN to one that may read it"
    elif status == 429:
        text = f"{hub} has had too many requests: try again in some minutes, or set HF_TOKEN"
    else:
        text = f"{hub} answers {status}: try again later"
    return UserError(f"{repo}: {text}")


def one_line(error: Exception) -> str:
    """The first line of an error's text, or its kind where it has none."""
    return next(iter(str(error).splitlines()), "") or type(error).__name__
