"""An index whose certificate authority is only in the system's store."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from ansible.module_utils.project import probe

from tests.faults.estate import RESET, Estate, environment
from tests.faults.wheels import Index, index, make_wheel

pytestmark = pytest.mark.safety
STORE = "/etc/ssl/certs/ca-certificates.crt"
# A mount namespace replaces the store for this process only.
WITH_STORE = ["unshare", "--mount", "sh", "-c", f'mount --bind "$0" {STORE} && exec "$@"']


def openssl(folder: Path, *arguments: str) -> None:
    subprocess.run(["openssl", *arguments], cwd=folder, check=True, capture_output=True, timeout=60)


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with ``ca.pem``, ``server.pem`` for 127.0.0.1, and ``store.crt``, the system's store with ``ca.pem``."""
    if os.geteuid() != 0 or not os.path.isfile(STORE) or not shutil.which("openssl"):
        pytest.skip("needs root, openssl and a store in Debian's place")
    folder = tmp_path_factory.mktemp("authority")
    if subprocess.run(["unshare", "--mount", "true"], capture_output=True, check=False).returncode:
        pytest.skip("needs mount namespaces")
    key = ["-newkey", "rsa:2048", "-nodes", "-keyout"]
    openssl(
        folder, "req", "-x509", *key, "ca.key", "-out", "ca.pem", "-days", "2", "-subj", "/CN=Test authority",
        "-addext", "keyUsage=critical,keyCertSign,cRLSign",
    )  # fmt: skip
    openssl(folder, "req", *key, "server.key", "-out", "server.csr", "-subj", "/CN=127.0.0.1")
    (folder / "extensions").write_text("subjectAltName=IP:127.0.0.1\nbasicConstraints=CA:FALSE\n")
    openssl(
        folder, "x509", "-req", "-in", "server.csr", "-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial",
        "-days", "2", "-extfile", "extensions", "-out", "server.crt",
    )  # fmt: skip
    (folder / "server.pem").write_bytes(
        (folder / "server.key").read_bytes() + (folder / "server.crt").read_bytes()
    )
    (folder / "store.crt").write_bytes(Path(STORE).read_bytes() + b"\n" + (folder / "ca.pem").read_bytes())
    return folder


@pytest.fixture
def secure(authority: Path, tmp_path: Path) -> Iterator[Index]:
    """The index, over TLS with a certificate of that authority."""
    with index(tmp_path / "wheels", authority / "server.pem") as server:
        yield server


@pytest.fixture
def estate(tmp_path: Path, secure: Index) -> Estate:
    made = Estate(tmp_path / "project", secure)
    made.pollute()
    return made


@pytest.fixture
def store(authority: Path) -> list[str]:
    """Return the prefix of a command that runs with the authority in its store."""
    return [*WITH_STORE, str(authority / "store.crt")]


def test_authority_that_is_in_no_store_is_not_trusted(estate: Estate) -> None:
    assert "CERTIFICATE_VERIFY_FAILED" in str(estate.run(RESET).problem)


def test_uv_trusts_what_the_system_trusts(estate: Estate, store: list[str]) -> None:
    outcome = estate.run(RESET, prefix=store)
    assert outcome.problem is None
    assert "built by uv from https://127.0.0.1" in outcome.report
    assert estate.works()


def test_pip_trusts_what_the_system_trusts(
    estate: Estate, store: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    bare = os.path.realpath(sys.executable)
    monkeypatch.setenv("PATH", "/usr/bin:/bin:/usr/sbin:/sbin")
    estate.params["python"] = bare
    outcome = estate.run(RESET, prefix=store, interpreter=bare)
    assert outcome.problem is None
    assert "built by pip from https://127.0.0.1" in outcome.report
    assert estate.works()


FETCH = """
import json, sys
import ansible.module_utils
ansible.module_utils.__path__.append(sys.argv[1])
from ansible.module_utils.project import wheels
platform, url, folder = json.loads(sys.argv[2])
print(wheels.kit(wheels.Target(**platform), ["sound"], [url], folder))
"""


def test_control_node_fetches_wheels_with_what_its_system_trusts(
    secure: Index, store: list[str], tmp_path: Path
) -> None:
    with zipfile.ZipFile(make_wheel(secure.folder, "uv", ""), "a") as wheel:
        wheel.writestr("uv-1.0.data/scripts/uv", "#!/bin/sh\n")
    platform = probe.interpreter()["platform"]
    platform["libc"] = platform["libc"] or "glibc 2.36"
    asked = json.dumps([platform, secure.url(), str(tmp_path / "kits")])
    utils = str(Path(probe.__file__).parent.parent)
    done = subprocess.run(
        [*store, sys.executable, "-c", FETCH, utils, asked], env=environment(tmp_path), capture_output=True, text=True,
        check=False, timeout=100,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    with tarfile.open(done.stdout.strip()) as kit:
        assert "sound-1.0-py3-none-any.whl" in kit.getnames()
