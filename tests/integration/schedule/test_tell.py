"""Every way of telling with a real receiver: an HTTP server, a program that takes mail, a command."""

from __future__ import annotations

import email
import json
import socket
import threading
from collections.abc import Iterator
from email.policy import default
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest
from ansible.module_utils.reporting import Problem
from ansible.module_utils.schedule import tell
from ansible.module_utils.schedule.jobs import Config

MESSAGE = "❌ market data: the disk is full\nSince: now"


class Server(HTTPServer):
    status = 200

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.bodies: list[bytes] = []


class Handler(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        assert isinstance(self.server, Server)
        self.server.bodies.append(self.rfile.read(int(self.headers["Content-Length"])))
        self.send_response(self.server.status)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def server() -> Iterator[Server]:
    with Server() as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server
        server.shutdown()


def program(folder: Path, text: str) -> str:
    path = folder / "program"
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o700)
    return str(path)


def test_a_webhook_gets_what_slack_mattermost_and_teams_read(server: Server) -> None:
    tell.by_webhook(f"http://127.0.0.1:{server.server_port}/x", MESSAGE)
    assert [json.loads(body) for body in server.bodies] == [{"text": MESSAGE}]


def test_a_webhook_that_refuses_is_told_without_its_address(server: Server) -> None:
    server.status = 403
    with pytest.raises(Problem) as error:
        tell.by_webhook(f"http://127.0.0.1:{server.server_port}/secret", MESSAGE)
    assert str(error.value) == "The webhook of schedule_webhook_url answered 403."


@pytest.mark.parametrize(
    "url", ["http://127.0.0.1:9/secret", "http://127.0.0.1:9/a secret", "file:///secret", "no url: secret"]
)
def test_an_address_that_is_of_no_use_is_not_shown(url: str) -> None:
    with pytest.raises(Problem) as error:
        tell.by_webhook(url, MESSAGE)
    assert "secret" not in str(error.value)


def test_what_does_not_answer_in_http_is_a_way_that_failed() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        thread = threading.Thread(target=_answer, args=(listening, b"220 mail.example ESMTP\r\n"))
        thread.start()
        with pytest.raises(Problem, match="is not reachable"):
            tell.by_webhook(f"http://127.0.0.1:{listening.getsockname()[1]}/x", MESSAGE)
        thread.join()


def _answer(listening: socket.socket, answer: bytes) -> None:
    with listening.accept()[0] as connection:
        connection.recv(1 << 16)
        connection.sendall(answer)
        connection.shutdown(socket.SHUT_WR)
        while connection.recv(1 << 16):
            pass


def test_mail_is_a_message_with_a_subject_for_every_address(tmp_path: Path) -> None:
    sendmail = program(tmp_path, f'echo "$@" > {tmp_path}/to; cat > {tmp_path}/mail')
    tell.by_mail(sendmail, ["a@example.org", "b@example.org"], MESSAGE)
    mail = email.message_from_bytes((tmp_path / "mail").read_bytes(), policy=default)
    assert (tmp_path / "to").read_text() == "-i a@example.org b@example.org\n"
    assert mail["Subject"] == "❌ market data: the disk is full"
    assert mail.get_content() == MESSAGE + "\n"


def test_a_command_gets_the_message_on_its_input(tmp_path: Path) -> None:
    tell.by_command([program(tmp_path, f"cat > {tmp_path}/got")], MESSAGE)
    assert (tmp_path / "got").read_text() == MESSAGE


def test_a_command_that_fails_is_a_way_that_failed(tmp_path: Path) -> None:
    with pytest.raises(Problem, match="exited with 3"):
        tell.by_command([program(tmp_path, "exit 3")], MESSAGE)


def test_all_configured_ways_are_used(server: Server, tmp_path: Path) -> None:
    (tmp_path / "webhook").write_text(f"http://127.0.0.1:{server.server_port}/x\n")
    config = Config("/p", [], {}, "/s", "/r", command=[program(tmp_path, f"cat > {tmp_path}/got")])
    for way in tell.ways(config, tmp_path):
        way(MESSAGE)
    assert len(server.bodies) == 1
    assert (tmp_path / "got").exists()
