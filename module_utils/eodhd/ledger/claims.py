"""Who works on which symbol: advisory locks of the database, which go with the connection that holds them."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from typing import Any

from ansible.module_utils.eodhd.store.database import Database


def key(name: str) -> int:
    """Return the number of an advisory lock."""
    digest = hashlib.blake2b(name.encode(), digest_size=8, person=b"backfill").digest()
    return int.from_bytes(digest, "big", signed=True)


class Claims:
    """Claims that the connection of a session holds, taken up again if it was lost."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._held: set[int] = set()
        database.opened = self._again

    def hold(self, name: str) -> None:
        """Note a lock that was taken on this connection by other means."""
        self._held.add(key(name))

    def claim(self, names: Iterable[str]) -> set[str]:
        """Claim names for this run and return those that no other run is at."""
        wanted = list(names)
        rows = self._database.execute(
            "SELECT name FROM unnest(%s::text[], %s::bigint[]) AS k (name, key) WHERE pg_try_advisory_lock(key)",
            (wanted, [key(name) for name in wanted]),
        )
        locked = {name for (name,) in rows}
        self._held.update(map(key, locked))
        return locked

    def release(self, names: Iterable[str]) -> None:
        """Give claims back."""
        keys = [key(name) for name in names]
        self._held.difference_update(keys)
        self._database.execute("SELECT pg_advisory_unlock(key) FROM unnest(%s::bigint[]) AS key", (keys,))

    def _again(self, cursor: Any) -> None:
        """Take them up on a new connection; one that another run got meanwhile stays with it."""
        cursor.execute(
            "SELECT pg_try_advisory_lock(key) FROM unnest(%s::bigint[]) AS key", (list(self._held),)
        )
