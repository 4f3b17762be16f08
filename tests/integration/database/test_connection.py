"""Our sessions have their own settings, whatever the settings of the server and the database."""

from __future__ import annotations

import re
import select
import socket
import socketserver
import struct
import threading
from contextlib import closing
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from ansible.module_utils.database import connection
from ansible.module_utils.database.connection import Unreachable, explain

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.engines import Database


@pytest.mark.parametrize(
    ("setting", "theirs", "ours"),
    [
        ("timezone", "America/New_York", "UTC0"),
        ("jit", "on", "off"),
        ("intervalstyle", "iso_8601", "postgres"),  # psycopg2 reads no other
        ("quote_all_identifiers", "on", "off"),  # it changes the names of types and keys
    ],
)
def test_our_sessions_have_settings_of_their_own(
    database: Database, setting: str, theirs: str, ours: str
) -> None:
    database.run(f"ALTER DATABASE \"{database.database}\" SET {setting} TO '{theirs}'")
    with closing(connection.connect(database, 10)) as session, session.cursor() as cursor:
        cursor.execute(f"SHOW {setting}")
        assert cursor.fetchall() == [(ours,)]


@pytest.fixture
def pooler(database: Database) -> Iterator[Database]:
    """A proxy that drops a session's settings, like PgBouncer if it is configured to ignore them."""

    class Pass(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            length = self.request.recv(4)
            if not length:
                return  # only a check whether the port is open
            start = self.request.recv(struct.unpack("!I", length)[0] - 4)
            start = re.sub(rb"options\0[^\0]*\0", b"", start)
            with socket.create_connection((database.host, database.port), timeout=30) as server:
                server.sendall(struct.pack("!I", len(start) + 4) + start)
                ends = {self.request: server, server: self.request}
                while True:
                    for ready in select.select(ends, [], [], 30)[0]:
                        data = ready.recv(65536)
                        if not data:
                            return
                        ends[ready].sendall(data)

    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Pass) as listener:
        threading.Thread(target=listener.serve_forever, daemon=True).start()
        yield replace(database, host="127.0.0.1", port=listener.server_address[1], sslmode="disable")
        listener.shutdown()


# The second is the usual zone of a server, which must not be mistaken for ours.
@pytest.mark.parametrize("zone", ["America/New_York", "Etc/UTC", "UTC"])
def test_a_pooler_that_keeps_back_our_settings_is_named(
    database: Database, pooler: Database, zone: str
) -> None:
    database.run(f"ALTER DATABASE \"{database.database}\" SET timezone TO '{zone}'")
    with pytest.raises(Unreachable) as caught:
        connection.connect(pooler, 10)
    assert "PgBouncer" in explain(caught.value, pooler)
