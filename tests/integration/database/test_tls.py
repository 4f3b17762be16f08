"""Connections to a real server that requires TLS, with a certificate of the test's own authority.

They need the PostgreSQL of ``ENGINES``, because the embedded one is built without TLS.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import health_check
import pytest
from ansible.module_utils.audit import data
from ansible.module_utils.coverage.expected import Markets, Window
from ansible.module_utils.database.schema import Schema
from ansible.module_utils.eodhd import backfill
from ansible.module_utils.eodhd.model import Request
from ansible.module_utils.project import managed
from ansible.module_utils.reporting import Problem
from ansible.module_utils.sandbox import postgres
from ansible.module_utils.testing import patch_module_args
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from standin.process import StandIn

from tests import engines
from tests.engines import FAST, Database

NOW = datetime.now(timezone.utc)


class Authority:
    """Signs certificates; clients trust its ``certificate``."""

    def __init__(self) -> None:
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "An authority")])
        extension = x509.BasicConstraints(ca=True, path_length=None)
        self.certificate = self._signed(self._name, self._key.public_key(), extension)

    def _signed(self, name: x509.Name, key: Any, extension: Any) -> bytes:
        built = x509.CertificateBuilder(self._name, name, key, x509.random_serial_number())
        built = built.not_valid_before(NOW - timedelta(days=1)).not_valid_after(NOW + timedelta(days=1))
        signed = built.add_extension(extension, critical=False).sign(self._key, hashes.SHA256())
        return signed.public_bytes(serialization.Encoding.PEM)

    def issue(self, host: str) -> tuple[bytes, bytes]:
        """Return certificate and key of a server."""
        key = ec.generate_private_key(ec.SECP256R1())
        plain = serialization.NoEncryption(), serialization.PrivateFormat.PKCS8
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, host)])
        names = x509.SubjectAlternativeName([x509.DNSName(host)])
        return (
            self._signed(name, key.public_key(), names),
            key.private_bytes(serialization.Encoding.PEM, plain[1], plain[0]),
        )


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Database]:
    """A server on localhost that requires TLS; its clients verify it."""
    if "ENGINES" not in os.environ:
        pytest.skip("needs the PostgreSQL of ENGINES")
    folder = tmp_path_factory.mktemp("tls")
    folder.chmod(0o755)
    authority, cluster = Authority(), postgres.Cluster(folder / "cluster", engines.programs())
    (folder / "root.crt").write_bytes(authority.certificate)
    made = Database("localhost", postgres.free_port(), "postgres", "s3cret/with'odd", "market")
    made = replace(made, sslmode="verify-full", sslrootcert=str(folder / "root.crt"))
    try:
        cluster.initialise(made.user, made.password)
        owner = cluster.data.stat()
        for name, content in zip(("server.crt", "server.key"), authority.issue("localhost")):
            file = cluster.data / name
            file.write_bytes(content)
            file.chmod(0o600)
            os.chown(file, owner.st_uid, owner.st_gid)
        (cluster.data / "pg_hba.conf").write_text("hostssl all all all scram-sha-256\n")
        cluster.start(made.port, {**FAST, "ssl": "on"})
        yield made
    finally:
        cluster.remove()


def test_every_job_verifies_the_server(
    server: Database, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    Schema(server, 5, check=False).ensure()
    with StandIn() as standin:
        request = Request("history", server, standin.url, "token", ["AAPL.US"], spool=str(tmp_path / "spool"))
        assert "SUCCESS" in backfill.run(request)["report"]
    (tmp_path / ".env").write_bytes(
        managed.edited(None, managed.sections(vars(server), {"EODHD_API_TOKEN": "demo"}, {}, {})).content
    )
    arguments = {"root": str(tmp_path), "interpreter": sys.executable, "token": False, "redis": False}
    with patch_module_args(arguments), pytest.raises(SystemExit):
        health_check.main()
    checks = json.loads(capsys.readouterr().out)["checks"]
    assert [found for found in checks if found["level"] == "fail"] == []
    found = data.look(server, Markets(Window.of(3, NOW.date()), NOW, timedelta(hours=6)), 10, 5, 20)
    assert found["coverage"]["symbols"] == 1
    # The application connects like this: it knows only the URL.
    with server.connect() as session, session.cursor() as cursor:
        cursor.execute("SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()")
        assert cursor.fetchone() == (True,)


@pytest.mark.parametrize("changed", ["authority", "name", "plain"])
def test_what_does_not_verify_is_told_with_the_setting(
    server: Database, tmp_path: Path, changed: str
) -> None:
    other = tmp_path / "other.crt"
    other.write_bytes(Authority().certificate)
    wrong: dict[str, dict[str, Any]] = {
        "authority": {"sslrootcert": str(other)},
        "name": {"host": "127.0.0.1"},
        "plain": {"sslmode": "disable"},
    }
    with pytest.raises(Problem, match=r"postgres_sslmode"):
        Schema(replace(server, **wrong[changed]), 5, check=False).ensure()
