"""What ends an answer before its time: the client leaves, a deadline passes, the server stops."""

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

from starlette.types import Receive

from orin_llm.server.errors import ApiError, ClientGoneError
from orin_llm.server.serving import Serving, unavailable

T = TypeVar("T")


async def guarded(
    work: Coroutine[Any, Any, T], receive: Receive, serving: Serving, seconds: float | None
) -> T:
    """What `work` returns; it is cancelled, and has ended, when this raises.

    The body behind `receive` must have been read. Raises ClientGoneError, ApiError with status 504
    after `seconds`, and ApiError with status 503 when the server's time to stop is over.
    """
    task = asyncio.ensure_future(work)
    gone = asyncio.ensure_future(_disconnect(receive))
    try:
        done, _ = await asyncio.wait(
            (task, gone, serving.expired), timeout=seconds, return_when=asyncio.FIRST_COMPLETED
        )
    finally:
        unfinished = [one for one in (task, gone) if one.cancel()]
        await asyncio.gather(*unfinished, return_exceptions=True)
    if task in done:
        return task.result()
    if gone in done:
        raise ClientGoneError
    if serving.expired in done:
        raise unavailable("draining")
    raise ApiError(504, "the answer takes longer than it may here", code="deadline_exceeded")


async def _disconnect(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
