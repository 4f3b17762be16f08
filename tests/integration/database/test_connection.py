"""What holds in every session of ours, whatever the server and the database are set to."""

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
from ansible.module_utils.database.errors import Unreachable, explain

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.engines import Database


@pytest.mark.parametrize(
    ("setting", "theirs", "ours"),
    [
        ("timezone", "America/New_York", "UTC0"),
        ("jit", "on", "off"),
        ("intervalstyle", "iso_8601", "postgres"),  # of others, psycopg2 reads none
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
    """What passes on everything but a session's settings, as PgBouncer does when it is told to ignore them."""

    class Pass(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            length = self.request.recv(4)
            if not length:
                return  # somebody looked whether a port is open
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


# The second is the usual zone of a server, which must not be taken for ours.
@pytest.mark.parametrize("zone", ["America/New_York", "Etc/UTC", "UTC"])
def test_a_pooler_that_keeps_back_our_settings_is_named(
    database: Database, pooler: Database, zone: str
) -> None:
    database.run(f"ALTER DATABASE \"{database.database}\" SET timezone TO '{zone}'")
    with pytest.raises(Unreachable) as caught:
        connection.connect(pooler, 10)
    assert "PgBouncer" in explain(caught.value, pooler)
