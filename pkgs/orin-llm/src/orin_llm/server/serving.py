"""What the server is up to: loading its model, answering, draining, or without a model."""

import asyncio
import logging
import threading
from collections.abc import Callable
from typing import Literal

from orin_core.systemd import notify
from orin_llm.server.errors import LOADING_S, ApiError
from orin_llm.server.model import Model

log = logging.getLogger(__name__)

Phase = Literal["loading", "ok", "draining", "failed"]


class Serving:
    """The model, once `load` has made it in a thread of its own, and the end of serving."""

    def __init__(self, name: str, load: Callable[[], Model]) -> None:
        self.name = name
        self.error: BaseException | None = None  # why `load` failed
        self.loader = threading.Thread(target=self._load, name="load", daemon=True)
        self._make = load
        self._model: Model | None = None
        self._draining = False

    def start(self, failed: Callable[[], None]) -> None:
        """Load, from within the event loop; `failed` is called there if that fails."""
        self._loop, self._failed = asyncio.get_running_loop(), failed
        self.expired: asyncio.Future[None] = self._loop.create_future()
        self.loader.start()

    @property
    def phase(self) -> Phase:
        if self._draining:
            return "draining"
        if self._model is None:
            return "failed" if self.error else "loading"
        return "failed" if self._model.engine.failure() else "ok"

    @property
    def loaded(self) -> Model | None:
        return self._model

    @property
    def model(self) -> Model:
        """The model. Raises ApiError while the server cannot answer."""
        if self._model is None or self.phase != "ok":
            raise unavailable(self.phase)
        return self._model

    def drain(self, grace: float) -> None:
        """Take nothing new, and after `grace` seconds break off what is still being answered."""
        self._draining = True
        _tell("STOPPING=1")
        self._loop.call_later(grace, self._expire)

    def _expire(self) -> None:
        if not self.expired.done():
            self.expired.set_result(None)

    def _load(self) -> None:
        try:
            model = self._make()
        except BaseException as error:  # whoever waits for the model has to learn of all
            self.error = error
            self._call(self._failed)
        else:
            self._call(lambda: self._ready(model))

    def _call(self, then: Callable[[], None]) -> None:
        if not self._loop.is_closed():  # stopped meanwhile
            self._loop.call_soon_threadsafe(then)

    def _ready(self, model: Model) -> None:
        self._model = model
        log.info("ready: %s, context %d", self.name, model.engine.context)
        if not self._draining:
            _tell("READY=1")


def unavailable(phase: Phase) -> ApiError:
    """Why nothing is answered in `phase`."""
    reasons = {
        "loading": "the model is still loading; try again later",
        "draining": "the server is stopping; try again later",
        "failed": "the model has failed; the server's log says why",
    }
    return ApiError(503, reasons[phase], code=f"model_{phase}", retry_after=LOADING_S)


def _tell(state: str) -> None:
    try:
        notify(state)
    except OSError as error:
        log.warning("systemd was not told %s: %s", state, error.strerror)
