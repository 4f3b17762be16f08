"""Decisions about the embedded PostgreSQL: its user, its configuration and its pid file."""

from __future__ import annotations

from ansible.module_utils.sandbox.postgres import (
    Process,
    Way,
    configuration,
    free_port,
    parse_pid_file,
    ways,
)

NOBODY = (65534, 65533)


def test_an_ordinary_user_runs_it_as_itself() -> None:
    assert ways(1000, 100, NOBODY) == [Way((), 1000, 100)]


def test_root_prefers_nobody_and_has_ways_where_folders_are_closed() -> None:
    plain, namespace, capable = ways(0, 0, NOBODY)
    assert plain == Way(("setpriv", "--reuid=65534", "--regid=65533", "--clear-groups"), 65534, 65533)
    assert namespace == Way(("unshare", "--user", "--map-user=1000"), 0, 0)
    assert capable.prefix[:4] == plain.prefix
    assert (capable.uid, capable.gid) == NOBODY


def test_the_configuration_is_loopback_only_and_takes_further_settings() -> None:
    text = configuration(54329, ["127.0.0.1", "::1"], {"shared_buffers": "1GB", "timezone": "Asia/Tokyo"})
    assert text.splitlines()[1:] == [
        "listen_addresses = '127.0.0.1,::1'",
        "port = '54329'",
        "unix_socket_directories = ''",
        "timezone = 'Asia/Tokyo'",
        "shared_buffers = '1GB'",
    ]


def test_a_setting_cannot_break_out_of_its_line() -> None:
    text = configuration(1, ["127.0.0.1"], {"search_path": r"it's \ a"})
    assert text.splitlines()[-1] == r"search_path = 'it''s \\ a'"


def test_the_pid_file_is_read_once_it_is_complete() -> None:
    assert parse_pid_file("4711\n/data\n1700000000\n54329\n\nlocalhost\n") == Process(4711, 54329)
    assert parse_pid_file("4711\n/data\n1700000000\n") is None
    assert parse_pid_file("") is None
    assert parse_pid_file("garbage\n/data\n0\n54329\n") is None


def test_free_ports_are_none_of_outgoing_connections() -> None:
    assert all(free_port() < 32768 for _ in range(20))
