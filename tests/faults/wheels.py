"""A package index on loopback with tiny wheels, which misbehaves on demand."""

from __future__ import annotations

import ssl
import threading
import time
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

MODES = ("sound", "stalls", "garbage", "lacks", "refuses")


def make_wheel(folder: Path, name: str, code: str, script: str = "") -> Path:
    """Write a wheel with one module and one console script, by default ``NAME-hello``."""
    info = f"{name}-1.0.dist-info"
    path = folder / f"{name}-1.0-py3-none-any.whl"
    files = {
        f"{name}.py": code,
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n",
        f"{info}/WHEEL": "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        f"{info}/entry_points.txt": f"[console_scripts]\n{script or f'{name}-hello'} = {name}:main\n",
    }
    record = "".join(f"{file},,\n" for file in [*files, f"{info}/RECORD"])
    with zipfile.ZipFile(path, "w") as wheel:
        for file, content in {**files, f"{info}/RECORD": record}.items():
            wheel.writestr(file, content)
    return path


@contextmanager
def index(folder: Path, certificate: Path | None = None) -> Iterator[Index]:
    """Serve ``sound``, ``broken`` (does not import), ``large`` (4 MiB) and a ``pip`` that installs nothing."""
    folder.mkdir(exist_ok=True)
    make_wheel(folder, "sound", "def main():\n    print('hello')\n")
    make_wheel(folder, "broken", "raise ImportError('libgone.so.1: cannot open shared object file')\n")
    make_wheel(folder, "large", f"# {'x' * (4 << 20)}\n")
    make_wheel(folder, "pip", "def main():\n    print('pip 1.0')\n", "pip")
    server = Index(("127.0.0.1", 0), _Handler)
    server.folder = folder
    if certificate:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate)
        server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
        server.scheme = "https"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.stopped.set()
        server.shutdown()
        server.server_close()


class Index(ThreadingHTTPServer):
    """The server; each mode has its own ``url``."""

    daemon_threads = True
    folder: Path
    scheme = "http"

    def __init__(self, *args: object) -> None:
        self.stopped = threading.Event()
        super().__init__(*args)  # type: ignore[arg-type]

    def url(self, mode: str = "sound", userinfo: str = "") -> str:
        """Return the URL of the index in this mode."""
        assert mode in MODES
        return f"{self.scheme}://{userinfo}127.0.0.1:{self.server_port}/{mode}/simple"


class _Handler(BaseHTTPRequestHandler):
    server: Index

    def do_GET(self) -> None:
        mode, _, *rest = self.path.strip("/").split("/")
        name = rest[0] if rest else ""
        if name == "files":
            self._send((self.server.folder / rest[1]).read_bytes(), "application/octet-stream")
            return
        wheels = sorted(self.server.folder.glob(f"{name}-*.whl"))
        if mode == "refuses":
            self.send_error(503)
        elif mode == "garbage" and name != "pip":
            self._send(b"<html>Welcome to the hotel network", "text/html")
        elif not wheels or (mode == "lacks" and name == "sound"):
            self.send_error(404)
        elif mode == "stalls" and name != "pip":
            deadline = time.monotonic() + 60
            while not self.server.stopped.wait(0.1) and time.monotonic() < deadline:
                pass
        else:
            links = "".join(
                f'<a href="/{mode}/simple/files/{path.name}">{path.name}</a>\n' for path in wheels
            )
            self._send(f"<!DOCTYPE html><html><body>{links}</body></html>".encode(), "text/html")

    do_HEAD = do_GET

    def _send(self, body: bytes, kind: str) -> None:
        self.send_response(200)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Log nothing."""
