"""The controller's environment comes from an index whose authority only the system's store knows.

The authority, the index and its two packages are the test's own. One of them is uv: as it is, or one that fails.
"""

from __future__ import annotations

import functools
import hashlib
import http.server
import os
import shutil
import ssl
import subprocess
import sys
import threading
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]
UV = Path(sys.executable).parent / "uv"
# A mount of our own over the system's store; ordinary users need a user namespace for it, and not every system has one.
PRIVATE = ["unshare", "--mount", *([] if os.geteuid() == 0 else ["--user", "--map-root-user"])]


def works(*argv: str) -> bool:
    try:
        return subprocess.run(argv, capture_output=True, timeout=10, check=False).returncode == 0
    except OSError:
        return False


pytestmark = pytest.mark.skipif(
    not (
        works("openssl", "version") and works(*PRIVATE, "mount", "--bind", "/etc/ssl/certs", "/etc/ssl/certs")
    ),
    reason="no openssl, or no mounts of one's own",
)


@dataclass
class Machine:
    """A clone with nothing but what set-up reads, and an index that it is configured with."""

    clone: Path
    store: Path
    environment: dict[str, str]

    def install(self, trusted: bool = True) -> subprocess.CompletedProcess[str]:
        command = [str(self.clone / ".venv/bin/python"), "tools/install.py", "controller"]
        if trusted:
            script = 'mount --bind "$0" /etc/ssl/certs && exec "$@"'
            command = [*PRIVATE, "sh", "-c", script, str(self.store), *command]
        return subprocess.run(
            command,
            cwd=self.clone,
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=100,
            check=False,
        )

    def holds(self, name: str) -> bool:
        return works(str(self.clone / ".venv/bin/python"), "-c", f"import {name}")


def openssl(folder: Path, *arguments: str) -> str:
    return subprocess.run(
        ["openssl", *arguments], cwd=folder, capture_output=True, text=True, timeout=30, check=True
    ).stdout.strip()


def authority(folder: Path, store: Path) -> ssl.SSLContext:
    """Make an authority, put it alone into ``store``, and let it vouch for localhost."""
    new = ["req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=The test's own"]
    openssl(folder, *new, "-keyout", "ca.key", "-out", "ca.pem", "-addext", "keyUsage=critical,keyCertSign")
    openssl(
        folder,
        "req",
        "-newkey",
        "rsa:2048",
        "-nodes",
        "-subj",
        "/CN=localhost",
        "-keyout",
        "key.pem",
        "-out",
        "csr",
    )
    (folder / "names").write_text("subjectAltName=DNS:localhost\n")
    sign = [
        "x509",
        "-req",
        "-in",
        "csr",
        "-CA",
        "ca.pem",
        "-CAkey",
        "ca.key",
        "-CAcreateserial",
        "-days",
        "2",
    ]
    openssl(folder, *sign, "-extfile", "names", "-out", "cert.pem")
    store.mkdir()
    known = openssl(folder, "x509", "-hash", "-noout", "-in", "ca.pem")
    for name in ("ca-certificates.crt", f"{known}.0"):
        shutil.copyfile(folder / "ca.pem", store / name)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "cert.pem", folder / "key.pem")
    return context


def offer(site: Path, name: str, version: str, files: dict[str, bytes]) -> str:
    """Put a wheel into the index; its line for a lock."""
    info = f"{name}-{version}.dist-info"
    content = files | {
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n".encode(),
        f"{info}/WHEEL": b"Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    content[f"{info}/RECORD"] = "".join(f"{path},,\n" for path in [*content, f"{info}/RECORD"]).encode()
    folder = site / "simple" / name
    folder.mkdir(parents=True)
    wheel = folder / f"{name}-{version}-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        for path, data in content.items():
            entry = zipfile.ZipInfo(path)
            entry.external_attr = 0o100755 << 16
            archive.writestr(entry, data)
    (folder / "index.html").write_text(
        f'<!DOCTYPE html><html><body><a href="{wheel.name}">{wheel.name}</a></body></html>'
    )
    return f"{name}=={version} \\\n    --hash=sha256:{hashlib.sha256(wheel.read_bytes()).hexdigest()}\n"


class Quiet(http.server.SimpleHTTPRequestHandler):
    """Serves the index."""

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@dataclass
class Index:
    """An index that is being served, and the store that alone knows its authority."""

    url: str
    store: Path
    lock: str


@pytest.fixture(scope="module")
def index(tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> Iterator[Index]:
    """The program ``uv`` is the parameter."""
    version = metadata.version("uv")
    folder = tmp_path_factory.mktemp("index")
    site, store = folder / "site", folder / "store"
    program = UV.read_bytes() if request.param == "real" else b"#!/bin/sh\nexit 2\n"
    lock = offer(site, "tiny", "1.0", {"tiny.py": b""})
    lock += offer(site, "uv", version, {f"uv-{version}.data/scripts/uv": program})
    handler = functools.partial(Quiet, directory=str(site))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        server.socket = authority(folder, store).wrap_socket(server.socket, server_side=True)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield Index(f"https://localhost:{server.server_address[1]}/simple", store, lock)
        server.shutdown()


@pytest.fixture
def machine(tmp_path: Path, index: Index) -> Machine:
    clone = tmp_path / "clone"
    for name in ("tools/install.py", "module_utils/project/indexes.py"):
        (clone / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(ROOT / name, clone / name)
    (clone / "requirements").mkdir()
    (clone / "requirements/controller.txt").write_text(index.lock)
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", clone / ".venv"], timeout=60, check=True)
    own = {
        "PIP_CONFIG_FILE": os.devnull,
        "PIP_INDEX_URL": index.url,
        "PIP_RETRIES": "0",
        "UV_HTTP_RETRIES": "0",
    }
    environment = {"PATH": os.environ["PATH"], "HOME": str(tmp_path), "LC_ALL": "C.UTF-8", **own}
    return Machine(clone, index.store, environment)


@pytest.mark.parametrize("index", ["real"], indirect=True)
def test_uv_trusts_what_the_systems_store_holds(machine: Machine) -> None:
    done = machine.install()
    assert done.returncode == 0, done.stdout + done.stderr
    assert "uv could not" not in done.stdout
    assert machine.holds("tiny")
    assert (machine.clone / ".venv/.controller.lock").exists()


@pytest.mark.parametrize("index", ["real"], indirect=True)
def test_an_authority_that_the_store_does_not_hold_is_refused(machine: Machine) -> None:
    done = machine.install(trusted=False)
    assert done.returncode != 0
    assert "pip could not" in done.stderr
    assert not (machine.clone / ".venv/.controller.lock").exists()


@pytest.mark.parametrize("index", ["fails"], indirect=True)
def test_pip_installs_what_uv_cannot(machine: Machine) -> None:
    done = machine.install()
    assert done.returncode == 0, done.stdout + done.stderr
    assert "uv could not" in done.stdout
    assert machine.holds("tiny")
