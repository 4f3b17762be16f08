"""Claims on symbols: advisory locks of the database, which end with the connection that holds them."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from typing import Any

from ansible.module_utils.eodhd.store.database import Database


def key(name: str) -> int:
    """Return the number of the advisory lock for a name."""
    digest = hashlib.blake2b(name.encode(), digest_size=8, person=b"backfill").digest()
    return int.from_bytes(digest, "big", signed=True)


class Claims:
    """Claims that a database connection holds; they are taken again on a new connection."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._held: set[int] = set()
        database.opened = self._reclaim

    def hold(self, name: str) -> None:
        """Note a lock that this connection already has."""
        self._held.add(key(name))

    def claim(self, names: Iterable[str]) -> set[str]:
        """Claim names for this run and return those that no other run holds."""
        wanted = list(names)
        rows = self._database.execute(
            "SELECT name FROM unnest(%s::text[], %s::bigint[]) AS k (name, key) WHERE pg_try_advisory_lock(key)",
            (wanted, [key(name) for name in wanted]),
        )
        locked = {name for (name,) in rows}
        self._held.update(map(key, locked))
        return locked

    def release(self, names: Iterable[str]) -> None:
        """Release claims."""
        keys = [key(name) for name in names]
        self._held.difference_update(keys)
        self._database.execute("SELECT pg_advisory_unlock(key) FROM unnest(%s::bigint[]) AS key", (keys,))

    def _reclaim(self, cursor: Any) -> None:
        """Take the claims again on a new connection; those that another run got meanwhile are lost."""
        cursor.execute(
            "SELECT pg_try_advisory_lock(key) FROM unnest(%s::bigint[]) AS key", (list(self._held),)
        )
