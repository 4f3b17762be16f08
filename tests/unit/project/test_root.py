"""Operations stay in the open directory and do not follow links."""

from __future__ import annotations

import os
import threading
import time
from pathlib import Path

import pytest
from ansible.module_utils.project import root as module
from ansible.module_utils.project.root import Directory


def test_link_is_described_as_a_link_even_when_it_dangles(polluted: Path) -> None:
    with Directory.open(str(polluted)) as root:
        item = root.item("include")
    assert item is not None
    assert (item.kind, item.target) == ("link", "nowhere")


def test_folder_is_described_with_all_that_is_in_it(polluted: Path) -> None:
    with Directory.open(str(polluted)) as root:
        item = root.item("lib")
    assert item is not None
    assert (item.kind, item.files, item.bytes) == ("directory", 1, 3000)


def test_remove_does_not_follow_links(polluted: Path) -> None:
    (polluted / "bin/out").symlink_to(polluted / "src")
    with Directory.open(str(polluted)) as root:
        root.remove("bin")
    assert not (polluted / "bin").exists()
    assert (polluted / "src/app.py").exists()


def test_remove_takes_read_only_folders(polluted: Path) -> None:
    (polluted / "lib/deep").chmod(0o555)
    with Directory.open(str(polluted)) as root:
        root.remove("lib")
    assert not (polluted / "lib").exists()


def test_remove_takes_folders_that_their_owner_may_not_open(polluted: Path) -> None:
    (polluted / "lib/deep").chmod(0)
    with Directory.open(str(polluted)) as root:
        if os.getuid() == 0:  # who may open everything
            for name in ("", "lib", "lib/deep", "lib/deep/data"):
                os.chown(polluted / name, 65534, 65534)
            os.seteuid(65534)
        try:
            root.remove("lib")
        finally:
            os.seteuid(os.getuid())
    assert not (polluted / "lib").exists()


def test_move_never_replaces(polluted: Path) -> None:
    with Directory.open(str(polluted)) as root, root.enter("src") as src:
        (polluted / "src/bin").mkdir()
        with pytest.raises(FileExistsError):
            root.move("bin", src)


def test_move_never_replaces_where_the_system_cannot_promise_it(
    polluted: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_renameat2", lambda *_: False)
    test_move_never_replaces(polluted)


def test_exchange_swaps_folder_and_link(polluted: Path) -> None:
    with Directory.open(str(polluted)) as root:
        assert root.exchange("bin", root, "lib64")
    assert (polluted / "bin").is_symlink()
    assert (polluted / "lib64/deploy.sh").exists()


def test_write_replaces_at_once_and_keeps_the_mode(polluted: Path) -> None:
    with Directory.open(str(polluted)) as root:
        root.write(".env", b"NEW=1\n")
    assert (polluted / ".env").read_bytes() == b"NEW=1\n"
    assert (polluted / ".env").stat().st_mode & 0o777 == 0o600


def test_read_refuses_a_link(polluted: Path) -> None:
    (polluted / "link").symlink_to("src/app.py")
    with Directory.open(str(polluted)) as root, pytest.raises(OSError, match="symbolic"):
        root.read("link")


def test_open_refuses_a_link(polluted: Path) -> None:
    (polluted / "link").symlink_to("src")
    with Directory.open(str(polluted)) as root, pytest.raises(OSError):  # noqa: PT011
        root.enter("link")


def test_swapping_folders_for_links_leads_nowhere(tmp_path: Path) -> None:
    """A thread keeps exchanging a folder and a link to a victim while the folder is removed."""
    victim = tmp_path / "victim"
    victim.mkdir()
    for number in range(20):
        (victim / f"file{number}").write_text("precious")
    base = tmp_path / "base"
    base.mkdir()
    (tmp_path / "link").symlink_to(victim)
    stop = threading.Event()
    swaps = 0

    def swap() -> None:
        nonlocal swaps
        with Directory.open(str(tmp_path)) as outer, Directory.open(str(base)) as inner:
            while not stop.is_set():
                try:
                    outer.exchange("link", inner, "prey")
                    swaps += 1
                except OSError:
                    continue

    racer = threading.Thread(target=swap)
    racer.start()
    try:
        with Directory.open(str(base)) as opened:
            deadline = time.monotonic() + 20
            turns = 0
            while turns < 100 or (not swaps and time.monotonic() < deadline):
                turns += 1
                prey = base / "prey"
                if not os.path.lexists(prey):
                    prey.mkdir()
                try:
                    for number in range(5):
                        (prey / f"mine{number}").touch()
                    opened.remove("prey")
                except OSError:
                    continue  # the link was refused and not followed
    finally:
        stop.set()
        racer.join()
    assert swaps > 0
    assert {path.read_text() for path in victim.glob("file*")} == {"precious"}
    assert len(list(victim.glob("file*"))) == 20
