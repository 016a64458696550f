"""tinygrad's own cache of searched kernels, and beside it what is known about each of them.

A table of ours in the same SQLite file tells the kernels that were searched from those for which
tinygrad's own choice was stored as if it had been found: these keep a program that asks for a beam
from searching them. Both tables change in one transaction, so that a kill leaves none half done.
"""

import json
import pickle
import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from typing import Any

from tinygrad.codegen.opt import Opt
from tinygrad.helpers import CACHEDB, CACHELEVEL, IGNORE_BEAM_CACHE, VERSION, db_connection

from orin_bench.warm.kernel import Key
from orin_core.cli import UserError

FOUND = f"beam_search_{VERSION}"
KNOWN = f"orin_warm_{VERSION}"
COLUMNS = ("ast", "amt", "allow_test_size", "device", "suffix")
KEY_TYPES = "ast blob, amt integer, allow_test_size integer, device text, suffix text"

WAITING, BEGUN, FASTER, KEPT, FAILED = "waiting", "begun", "faster", "kept", "failed"
STATES = (WAITING, BEGUN, FASTER, KEPT, FAILED)


@dataclass(frozen=True)
class Outcome:
    """How far a kernel is, and the seconds it took before and after; None where not measured.

    States: waiting, not searched yet or not to the end; begun, searched from tinygrad's own choice
    alone; faster; kept, as nothing faster was found; failed, as the search crashed or found only
    wrong kernels, for which `reason` has the words.
    """

    state: str
    name: str
    architecture: str
    before: float | None = None
    after: float | None = None
    reason: str | None = None


@dataclass(frozen=True)
class Entry:
    """A kernel of the cache. `outcome` is None for one that tinygrad searched by itself."""

    key: Key
    opts: tuple[Opt, ...]
    outcome: Outcome | None


def is_finished(entry: Entry | None) -> bool:
    """Whether bench-warm need not search it again."""
    return bool(entry and entry.outcome and entry.outcome.state not in (WAITING, BEGUN))


def is_of(entry: Entry, architecture: str) -> bool:
    """Whether it was found on this architecture, which tinygrad's key does not tell.

    What tinygrad stored by itself is taken to be.
    """
    return entry.outcome is None or entry.outcome.architecture == architecture


class Cache:
    """The cache that tinygrad uses in this environment.

    Raises UserError where it cannot be written or is damaged, here and later.
    """

    def __init__(self) -> None:
        for setting, wrong in (
            (f"CACHELEVEL={CACHELEVEL.value}", CACHELEVEL.value < 1),
            (f"IGNORE_BEAM_CACHE={IGNORE_BEAM_CACHE.value}", bool(IGNORE_BEAM_CACHE.value)),
        ):
            if wrong:
                raise UserError(f"{setting}: tinygrad would not use what is found: unset it")
        with _explained():
            self._database = db_connection()
            with self._database:
                for table in (FOUND, KNOWN):
                    self._database.execute(
                        f"CREATE TABLE IF NOT EXISTS '{table}'"
                        f" ({KEY_TYPES}, val blob, PRIMARY KEY ({', '.join(COLUMNS)}))"
                    )
                # An open that only reads would not notice what a write will run into.
                self._database.execute(f"DELETE FROM '{KNOWN}' WHERE ast IS NULL")

    def entries(self) -> Iterator[Entry]:
        """All kernels of the cache."""
        with _explained():
            known = {tuple(row[:-1]): row[-1] for row in self._rows(KNOWN)}
            for *columns, opts in self._rows(FOUND):
                key = dict(zip(COLUMNS, columns, strict=True))
                yield _decode(key, opts, known.get(tuple(columns)))

    def get(self, key: Key) -> Entry | None:
        """The kernel with this key."""
        condition = " AND ".join(f"{column} = ?" for column in COLUMNS)
        values = tuple(key[column] for column in COLUMNS)
        with _explained():
            found, known = (
                self._database.execute(
                    f"SELECT val FROM '{table}' WHERE {condition}", values
                ).fetchone()
                for table in (FOUND, KNOWN)
            )
            return _decode(key, found[0], known[0] if known else None) if found else None

    def put(self, entries: Iterable[Entry]) -> None:
        """Store all of them or none."""
        entries = list(entries)
        with _explained(), self._database:
            self._replace(FOUND, [(e.key, pickle.dumps(list(e.opts))) for e in entries])
            self._replace(
                KNOWN, [(e.key, json.dumps(asdict(e.outcome))) for e in entries if e.outcome]
            )

    def _rows(self, table: str) -> list[tuple[Any, ...]]:
        columns = ", ".join([*COLUMNS, "val"])
        rows: list[tuple[Any, ...]] = self._database.execute(
            f"SELECT {columns} FROM '{table}'"
        ).fetchall()
        return rows

    def _replace(self, table: str, rows: Sequence[tuple[Key, bytes | str]]) -> None:
        places = ", ".join("?" * (len(COLUMNS) + 1))
        self._database.executemany(
            f"REPLACE INTO '{table}' ({', '.join(COLUMNS)}, val) VALUES ({places})",
            [(*(key[column] for column in COLUMNS), value) for key, value in rows],
        )


def _decode(key: Key, opts: bytes, outcome: str | None) -> Entry:
    try:
        known = Outcome(**json.loads(outcome)) if outcome else None
        return Entry(key, tuple(pickle.loads(opts)), known)
    except Exception as error:  # bytes that are no pickle raise anything
        raise ValueError(f"an entry is {error!r}") from None


@contextmanager
def _explained() -> Iterator[None]:
    """What is wrong with the file, in one line."""
    try:
        yield
    except (OSError, sqlite3.OperationalError) as error:
        raise UserError(
            f"{CACHEDB}: cannot be written: {error}; set CACHEDB or XDG_CACHE_HOME"
        ) from None
    except (sqlite3.DatabaseError, ValueError) as error:
        raise UserError(
            f"{CACHEDB}: damaged: {error}; move it away, tinygrad makes a new one"
        ) from None
