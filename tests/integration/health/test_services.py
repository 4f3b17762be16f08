"""Connection, token, Redis, disk and metrics: cause each problem, then repair it."""

from __future__ import annotations

import re
import shutil
import socket
import socketserver
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
from standin.process import StandIn

if TYPE_CHECKING:
    from tests.integration.health.conftest import Host


# --- connection, settings ----------------------------------------------------------------------------------


def test_a_slow_answer_is_a_warning(host: Host) -> None:
    level, message = host.finding("connection", limits={"latency_warn": 0.000001})
    assert level == "warn"
    assert re.search(r"took \d+ ms to answer a query\. .* raise health_latency_warn", message)
    assert host.finding("connection")[0] == "ok"


def test_a_key_removed_and_written_again(host: Host) -> None:
    file = host.root / ".env"
    whole = file.read_text()
    file.write_text(whole.replace("EODHD_API_TOKEN=", "EODHD_API_TOKEN_OLD="))
    level, message = host.finding("settings")
    assert level == "fail"
    assert "has no value for EODHD_API_TOKEN. Write it with `ansible-playbook" in message
    # An alias of the application serves as well.
    file.write_text(whole.replace("EODHD_API_TOKEN=", "EODHD_API_KEY="))
    assert host.finding("settings")[0] == "ok"


# --- token -------------------------------------------------------------------------------------------------


def test_a_token_broken_and_fixed(host: Host, standin: StandIn) -> None:
    options = {"token": True, "base_url": standin.url}
    assert host.finding("token", **options) == (
        "ok",
        "EODHD accepts the token, and 100,000 calls are left today",
    )
    standin.control(token="another")
    level, message = host.finding("token", **options)
    assert level == "fail"
    assert message == (
        "EODHD refuses the token. Set eodhd_api_token (vault_eodhd_api_token in the vault) to a valid one."
        " Then write .env again with `ansible-playbook playbooks/reset.yml --tags dotenv`."
    )
    standin.control(token=host.token)
    assert host.finding("token", **options)[0] == "ok"


def test_a_quota_that_is_spent_today(host: Host, standin: StandIn) -> None:
    options = {"token": True, "base_url": standin.url}
    standin.control(used=99_995)
    level, message = host.finding("token", **options)
    assert level == "warn"
    assert "the account has 5 calls left today" in message
    assert host.finding("token", **options, limits={"quota_warn": 5})[0] == "ok"
    # The count is from another day.
    standin.control(requests_date="2020-01-01")
    assert host.finding("token", **options)[0] == "ok"


@pytest.mark.parametrize("answer", ["bad_gateway", "page", "too_many", "reset", "cut"])
def test_trouble_at_the_service_is_a_warning(host: Host, standin: StandIn, answer: str) -> None:
    standin.control(answers={"*": [answer]})
    level, message = host.finding("token", token=True, base_url=standin.url)
    assert level == "warn"
    assert message.startswith("EODHD did not say whether the token is valid (")


def test_a_service_out_of_reach_is_a_warning_in_bounded_time(host: Host, standin: StandIn) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        started = time.monotonic()
        level, message = host.finding(
            "token", token=True, timeout=0.5, base_url=f"http://127.0.0.1:{silent.getsockname()[1]}/api"
        )
        assert time.monotonic() - started < 5
    assert level == "warn"
    assert "set health_token to false" in message


def test_a_forbidden_account_is_a_refusal_but_for_the_public_token(host: Host, standin: StandIn) -> None:
    options = {"token": True, "base_url": standin.url}
    standin.control(answers={"*": ["forbidden"]}, sticky=True)
    assert host.finding("token", **options)[0] == "fail"
    host.token = "demo"
    host.write_env()
    standin.control(token="")
    assert host.finding("token", **options)[0] == "ok"


def test_the_token_is_asked_about_once_a_run_and_not_where_it_is_switched_off(
    host: Host, standin: StandIn
) -> None:
    first = host.check(token=True, base_url=standin.url)
    again = host.check(token=True, base_url=standin.url, token_known=first["token"])
    assert again["token"] == first["token"]
    assert "token" not in [found["check"] for found in host.check(base_url=standin.url)["checks"]]
    assert standin.counts()["requests"] == 1


def test_what_another_host_was_told_holds_for_the_same_token_alone(host: Host, standin: StandIn) -> None:
    other = host.check(token=True, base_url=standin.url)["token"]
    host.token = "another token"
    host.write_env()
    standin.control(reset=True)
    assert host.finding("token", token=True, base_url=standin.url, token_known=other)[0] == "fail"
    assert standin.counts()["requests"] == 1


def test_that_a_host_does_not_reach_eodhd_says_nothing_of_others(host: Host) -> None:
    result = host.check(token=True, timeout=0.5, base_url="http://127.0.0.1:9/api")
    assert result["token"] is None


# --- redis -------------------------------------------------------------------------------------------------


class Redis(socketserver.StreamRequestHandler):
    """Speak as much of the Redis protocol (RESP) as a ping needs; the server has the password."""

    def handle(self) -> None:
        allowed = not self.server.password  # type: ignore[attr-defined]
        while words := self._command():
            name = words[0].upper()
            if name == "AUTH":
                allowed = words[-1] == self.server.password  # type: ignore[attr-defined]
                self._say("+OK" if allowed else "-WRONGPASS invalid username-password pair")
            elif name == "HELLO":
                self._say("-ERR unknown command 'HELLO'")
            elif name == "PING":
                self._say("+PONG" if allowed else "-NOAUTH Authentication required.")
            else:
                self._say("+OK")

    def _command(self) -> list[str]:
        head = self.rfile.readline()
        words = []
        for _ in range(int(head[1:]) if head else 0):
            size = int(self.rfile.readline()[1:])
            words.append(self.rfile.read(size + 2)[:-2].decode())
        return words

    def _say(self, line: str) -> None:
        self.wfile.write(f"{line}\r\n".encode())


@contextmanager
def redis_server(port: int = 0, password: str = "") -> Iterator[int]:
    class Server(socketserver.ThreadingTCPServer):
        allow_reuse_address = True
        daemon_threads = True

    with Server(("127.0.0.1", port), Redis) as server:
        server.password = password  # type: ignore[attr-defined]
        thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
        thread.start()
        yield server.server_address[1]
        server.shutdown()
        thread.join()


def test_a_redis_that_stops_and_comes_back(host: Host) -> None:
    with redis_server() as port:
        host.write_env(REDIS_HOST="127.0.0.1", REDIS_PORT=str(port))
        assert host.finding("redis", redis=True) == ("ok", "Redis answers")
    level, message = host.finding("redis", redis=True)
    assert level == "warn"
    assert message == (
        f"Redis (REDIS_HOST in {host.root / '.env'}) cannot be reached. Start it, correct REDIS_HOST, or set"
        " health_redis to false."
    )
    with redis_server(port):
        assert host.finding("redis", redis=True)[0] == "ok"


def test_a_redis_that_refuses_the_password(host: Host) -> None:
    with redis_server(password="r3dis/pass") as port:
        host.write_env(REDIS_URL=f"redis://:r3dis%2Fpass@127.0.0.1:{port}/0")
        assert host.finding("redis", redis=True)[0] == "ok"
        host.write_env(REDIS_HOST="127.0.0.1", REDIS_PORT=str(port), REDIS_PASSWORD="Wr0ng")
        level, message = host.finding("redis", redis=True)
    assert level == "warn"
    assert "refuses the password" in message
    assert "Wr0ng" not in message


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"REDIS_URL": "nonsense"}, "has no usable address"),
        ({"REDIS_HOST": "127.0.0.1", "REDIS_PORT": "many"}, "has no usable address"),
    ],
)
def test_a_redis_that_is_named_wrongly(host: Host, settings: dict[str, str], words: str) -> None:
    host.write_env(None, **settings)
    level, message = host.finding("redis", redis=True)
    assert level == "warn"
    assert words in message


def test_a_silent_redis_is_given_up(host: Host) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        host.write_env(REDIS_HOST="127.0.0.1", REDIS_PORT=str(silent.getsockname()[1]))
        started = time.monotonic()
        _, message = host.finding("redis", redis=True, timeout=0.5)
        assert time.monotonic() - started < 5
    assert "does not answer within 0.5 s" in message


def test_without_a_redis_in_the_settings_nothing_is_asked(host: Host) -> None:
    assert "redis" not in [found["check"] for found in host.check(redis=True)["checks"]]


# --- disk --------------------------------------------------------------------------------------------------


def test_a_disk_that_fills_up(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    assert host.finding("disk")[0] == "ok"
    free = [1000.4, 10.0]
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=free.pop(0) * (1 << 20)))
    level, message = host.finding("disk")
    assert level == "warn"
    assert message.startswith(
        f"Only 1,000 MiB are free at {host.root}, less than the 2,048 of health_disk_warn."
    )
    level, message = host.finding("disk")
    assert level == "fail"
    assert "less than the 256 of health_disk_fail" in message


# --- metrics -----------------------------------------------------------------------------------------------


def metrics(path: Path) -> dict[str, str]:
    lines = path.read_text().splitlines()
    return dict(line.rsplit(" ", 1) for line in lines if not line.startswith("#"))


def test_metrics_say_what_the_result_says(host: Host, tmp_path: Path) -> None:
    path = tmp_path / "health.prom"
    host.check(metrics_path=str(path))
    assert path.stat().st_mode & 0o777 == 0o644
    found = metrics(path)
    assert found["project_health_healthy"] == "1"
    assert found['project_health_table_rows{table="market_data",estimated="0"}'] == "21"
    assert found['project_health_level{check="freshness"}'] == "0"
    assert found["project_health_gap_sessions"] == "0"
    assert abs(float(found["project_health_timestamp_seconds"]) - time.time()) < 60
    host.run("DROP TABLE assets")
    assert not host.check(metrics_path=str(path))["changed"]
    found = metrics(path)
    assert found["project_health_healthy"] == "0"
    assert found['project_health_level{check="tables"}'] == "2"
    assert sorted(entry.name for entry in tmp_path.iterdir()) == [".env", "health.prom"]


def test_metrics_tell_of_a_host_without_an_environment(host: Host, tmp_path: Path) -> None:
    path = tmp_path / "health.prom"
    host.check(metrics_path=str(path), interpreter="/nowhere/bin/python")
    assert metrics(path)["project_health_healthy"] == "0"


def test_metrics_are_not_written_in_check_mode(host: Host, tmp_path: Path) -> None:
    assert host.check(metrics_path=str(tmp_path / "health.prom"), _ansible_check_mode=True)["healthy"]
    assert not (tmp_path / "health.prom").exists()


def test_metrics_that_cannot_be_written_are_a_problem(host: Host) -> None:
    result: dict[str, Any] = host.check(metrics_path="/nowhere/health.prom")
    assert result["failed"]
    assert result["msg"].startswith(
        "health_metrics_path /nowhere/health.prom cannot be written (No such file"
    )
