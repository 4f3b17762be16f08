"""What holds in every session of ours, whatever the server and the database are set to."""

from __future__ import annotations

from contextlib import closing
from typing import TYPE_CHECKING

import pytest
from ansible.module_utils.database import connection

if TYPE_CHECKING:
    from tests.engines import Database


@pytest.mark.parametrize(
    ("setting", "theirs", "ours"), [("timezone", "America/New_York", "UTC"), ("jit", "on", "off")]
)
def test_our_sessions_have_settings_of_their_own(
    database: Database, setting: str, theirs: str, ours: str
) -> None:
    database.run(f"ALTER DATABASE \"{database.database}\" SET {setting} TO '{theirs}'")
    with closing(connection.connect(database, 10)) as session, session.cursor() as cursor:
        cursor.execute(f"SHOW {setting}")
        assert cursor.fetchall() == [(ours,)]
