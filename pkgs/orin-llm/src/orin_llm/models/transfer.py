"""Bytes of a file on the Hub, from any place on, over connections that break."""

import time
from collections.abc import Iterator

import httpx

from orin_core.cli import UserError
from orin_llm.models.hub import (
    PASSING,
    PAUSES,
    TIMEOUT,
    RemoteFile,
    asked_pause,
    headers,
    one_line,
    refusal,
)

# Bytes of one request: the address that a request is led to is valid for an hour or so, and the Hub
# gives no file of more than 50 GB whole.
PIECE = 4 << 30


class BrokenError(Exception):
    """The connection broke again and again; the text says how."""


def read(file: RemoteFile, start: int, end: int) -> Iterator[bytes]:
    """The bytes from `start` to `end`, in pieces as they come.

    A connection that breaks is made again, PAUSES after each other while nothing comes. Raises
    BrokenError after the last of them, and UserError for what the Hub refuses.
    """
    failures = 0
    # To another host the client sends no token along.
    with httpx.Client(headers=headers(), timeout=TIMEOUT, follow_redirects=True) as client:
        while start < end:
            last, asked = min(start + PIECE, end), None
            try:
                for data in _piece(client, file, start, last):
                    start, failures = start + len(data), 0
                    yield data
                if start == last:
                    continue
                problem = "it ended too early"
            except _PassingError as error:
                problem, asked = str(error), error.asked
            except httpx.HTTPError as error:
                problem = one_line(error)
            if failures == len(PAUSES):
                raise BrokenError(problem)
            time.sleep(PAUSES[failures] if asked is None else asked)
            failures += 1


class _PassingError(Exception):
    """An answer that may be another one later."""

    def __init__(self, response: httpx.Response) -> None:
        super().__init__(f"{response.url.host} answers {response.status_code}")
        self.asked = asked_pause(response.headers)


def _piece(client: httpx.Client, file: RemoteFile, start: int, end: int) -> Iterator[bytes]:
    with client.stream("GET", file.url, headers={"range": f"bytes={start}-{end - 1}"}) as response:
        status = response.status_code
        if status in PASSING:
            raise _PassingError(response)
        if status not in (200, 206):
            raise refusal(file.repo, "", status, response.headers)
        # A server that knows no ranges sends all of it.
        ahead = start if status == 200 else 0
        if status == 206 and not response.headers.get("content-range", "").startswith(
            f"bytes {start}-"
        ):
            raise UserError(f"{file.url}: another part of the file came than was asked for")
        left = end - start
        for data in response.iter_raw():  # with a size given, it would keep back what came last
            skipped = min(ahead, len(data))
            ahead -= skipped
            if wanted := data[skipped : skipped + left]:
                left -= len(wanted)
                yield wanted
            if not left:
                return
