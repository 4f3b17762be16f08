"""Which answers the spool keeps, and which of them it returns."""

from __future__ import annotations

import os
import stat
import threading
import time
from pathlib import Path

import pytest
from ansible.module_utils.eodhd.api import Policy, Reply
from ansible.module_utils.eodhd.courier import TIMEOUT, Spool, Unusable

URL = "http://service/api"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "spool"


@pytest.fixture
def spool(folder: Path) -> Spool:
    return Spool(str(folder), URL, hours=12)


def keep(spool: Spool, reply: Reply, path: str = "eod/A.US") -> str:
    name = spool.name(path, {"from": "2024-01-01"})
    spool.keeping(name, lambda: reply)
    return name


@pytest.mark.parametrize("reply", [Reply(200, b'[{"a": 1}]\n\n'), Reply(200, b""), Reply(404, b"Ticker")])
def test_a_paid_answer_is_returned_unchanged(spool: Spool, reply: Reply) -> None:
    assert spool.take(keep(spool, reply)) == reply


def test_a_new_answer_replaces_a_longer_one(spool: Spool) -> None:
    keep(spool, Reply(200, b"[1, 2, 3]"))
    assert spool.take(keep(spool, Reply(200, b"[1]"))) == Reply(200, b"[1]")


@pytest.mark.parametrize("status", [0, 401, 402, 429, 500])
def test_a_free_answer_is_not_kept(spool: Spool, folder: Path, status: int) -> None:
    name = keep(spool, Reply(status, b"sorry"))
    assert spool.take(name) is None
    assert not (folder / name).exists()


def test_range_service_and_path_identify_an_answer(spool: Spool, folder: Path) -> None:
    other = Spool(str(folder), "https://elsewhere/api", hours=12)
    names = {
        spool.name("eod/A.US", {"from": "2024-01-01"}),
        spool.name("eod/A.US", {"from": "2024-01-02"}),
        spool.name("eod/B.US", {"from": "2024-01-01"}),
        other.name("eod/A.US", {"from": "2024-01-01"}),
    }
    assert len(names) == 4


@pytest.mark.parametrize("cut", [0, 1, 30, 100])
def test_a_truncated_answer_is_removed_and_not_used(spool: Spool, folder: Path, cut: int) -> None:
    name = keep(spool, Reply(200, b"[1, 2, 3]" * 20))
    os.truncate(folder / name, cut)
    assert spool.take(name) is None
    assert not (folder / name).exists()


def test_a_changed_answer_is_not_used(spool: Spool, folder: Path) -> None:
    name = keep(spool, Reply(200, b"[1, 2, 3]"))
    content = (folder / name).read_bytes()
    (folder / name).write_bytes(content.replace(b"[1,", b"[9,"))
    assert spool.take(name) is None


def test_an_old_answer_is_not_used_and_is_removed(spool: Spool, folder: Path) -> None:
    name, fresh = keep(spool, Reply(200, b"[]")), keep(spool, Reply(200, b"[]"), "eod/B.US")
    os.utime(folder / name, (0, time.time() - 13 * 3600))
    Spool(str(folder), URL, hours=12)
    assert sorted(path.name for path in folder.iterdir()) == sorted([".gitignore", fresh])
    os.utime(folder / fresh, (0, time.time() - 13 * 3600))
    assert spool.take(fresh) is None


def test_an_answer_in_flight_is_waited_for(spool: Spool, folder: Path) -> None:
    name = spool.name("eod/A.US", {})
    begun, go = threading.Event(), threading.Event()

    def send() -> Reply:
        begun.set()
        go.wait(10)
        return Reply(200, b"[7]")

    asking = threading.Thread(target=Spool(str(folder), URL, 12).keeping, args=(name, send))
    asking.start()
    begun.wait(10)
    threading.Timer(0.2, go.set).start()
    assert spool.take(name) == Reply(200, b"[7]")
    asking.join()


def test_a_stopped_run_does_not_wait_for_an_answer_in_flight(spool: Spool) -> None:
    name, stop = spool.name("eod/A.US", {}), threading.Event()
    stop.set()
    taken: list[Reply | None] = [Reply(0)]

    def send() -> Reply:
        taken[0] = spool.take(name, stop)
        return Reply(500)

    spool.keeping(name, send)
    assert taken == [None]


def test_two_equal_requests_do_not_disturb_each_other(spool: Spool) -> None:
    name = spool.name("eod/A.US", {})

    def send() -> Reply:
        assert spool.keeping(name, lambda: Reply(200, b"[2]")) == Reply(200, b"[2]")
        return Reply(200, b"[1]")

    assert spool.keeping(name, send) == Reply(200, b"[1]")
    assert spool.take(name) == Reply(200, b"[1]")


def test_the_folder_is_private_and_ignored_by_git(spool: Spool, folder: Path) -> None:
    name = keep(spool, Reply(200, b"[]"))
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert stat.S_IMODE((folder / name).stat().st_mode) == 0o600
    assert (folder / ".gitignore").read_text() == "*\n"


@pytest.mark.parametrize("trouble", ["open to others", "a link", "a file", "no parent"])
def test_a_folder_that_is_not_private_is_refused(folder: Path, tmp_path: Path, trouble: str) -> None:
    if trouble == "open to others":
        folder.mkdir()
        folder.chmod(0o755)
    elif trouble == "a link":
        (tmp_path / "elsewhere").mkdir(mode=0o700)
        folder.symlink_to(tmp_path / "elsewhere")
    elif trouble == "a file":
        folder.write_text("")
    else:
        folder = tmp_path / "missing/spool"
    with pytest.raises(Unusable, match="spool"):
        Spool(str(folder), URL, 12)


def test_nobody_requests_again_what_is_still_in_flight() -> None:
    """A slow answer may take its whole time, and then wait once more for data."""
    policy = Policy()
    assert policy.connect + policy.total + policy.read < TIMEOUT
