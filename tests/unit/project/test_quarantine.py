"""What leaves the root is in quarantine exactly once, comes back unchanged, and survives a kill at any point."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from ansible.module_utils.project.quarantine import Manifest, Quarantine, expired
from ansible.module_utils.project.restore import choose
from ansible.module_utils.project.root import Directory
from ansible.module_utils.reporting import Problem

from tests.unit.project.conftest import picture


@pytest.fixture
def quarantine(polluted: Path) -> Iterator[Quarantine]:
    with Directory.open(str(polluted)) as root, Quarantine.make(root) as made:
        made.prepare()
        yield made


def restore(quarantine: Quarantine, run: Manifest) -> Manifest:
    undo = quarantine.begin("restore")
    names = [entry.name for entry in quarantine.kept(run)]
    with quarantine.state.enter("runs") as runs, runs.enter(run.name) as folder, folder.enter("kept") as kept:
        undo = quarantine.displace(undo, names, put=kept, source=run.name)
    quarantine.close(undo)
    return undo


def reset(quarantine: Quarantine, polluted: Path) -> Manifest:
    """Move two artifacts, exchange the venv and make something new."""
    run = quarantine.begin("reset")
    run = quarantine.displace(run, ["bin", "include"])
    with quarantine.state.enter("build") as build:
        (polluted / ".reset/build/venv").mkdir()
        (polluted / ".reset/build/venv/new").write_text("new")
        (polluted / ".reset/build/made").write_text("made")
        run = quarantine.displace(run, ["venv", "made"], put=build)
    quarantine.close(run)
    return run


def test_private_folder_is_private_and_unseen_by_git(quarantine: Quarantine, polluted: Path) -> None:
    assert (polluted / ".reset").stat().st_mode & 0o777 == 0o700
    assert (polluted / ".reset/.gitignore").read_text() == "*\n"


def test_displaced_things_are_kept_under_their_names(quarantine: Quarantine, polluted: Path) -> None:
    run = reset(quarantine, polluted)
    kept = Path(quarantine.state.path, "runs", run.name, "kept")
    assert sorted(path.name for path in kept.iterdir()) == ["bin", "include", "venv"]
    assert (kept / "include").is_symlink()
    assert (polluted / "venv/new").exists()


def test_manifest_survives_its_json(quarantine: Quarantine, polluted: Path) -> None:
    run = reset(quarantine, polluted)
    assert quarantine.runs() == [run]


def test_restore_gives_the_tree_back(quarantine: Quarantine, polluted: Path) -> None:
    before = picture(polluted)
    restore(quarantine, reset(quarantine, polluted))
    assert picture(polluted) == before


def test_restore_can_be_undone(quarantine: Quarantine, polluted: Path) -> None:
    run = reset(quarantine, polluted)
    after = picture(polluted)
    restore(quarantine, restore(quarantine, run))
    assert picture(polluted) == after


def test_restored_run_has_nothing_left(quarantine: Quarantine, polluted: Path) -> None:
    run = reset(quarantine, polluted)
    restore(quarantine, run)
    assert quarantine.kept(run) == []


def test_same_name_twice_goes_to_another_run(quarantine: Quarantine, polluted: Path) -> None:
    first = quarantine.displace(quarantine.begin("reset"), ["bin"])
    (polluted / "bin").mkdir()
    second = quarantine.displace(first, ["bin"])
    assert second.name != first.name
    assert len(quarantine.runs()) == 2


def test_killed_reset_is_continued_as_one_run(quarantine: Quarantine, polluted: Path) -> None:
    first = quarantine.displace(quarantine.begin("reset"), ["bin"])
    again = quarantine.begin("reset")
    assert again.name == first.name


def test_killed_restore_is_not_continued_by_a_reset(quarantine: Quarantine, polluted: Path) -> None:
    run = reset(quarantine, polluted)
    quarantine.begin("restore")
    following = quarantine.begin("reset")
    assert following.kind == "reset"
    assert following.name != run.name


def test_without_atomic_exchange_the_result_is_the_same(
    quarantine: Quarantine, polluted: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Directory, "exchange", lambda *_: False)
    before = picture(polluted)
    restore(quarantine, reset(quarantine, polluted))
    assert picture(polluted) == before


class Killed(BaseException):
    """Stands for SIGKILL."""


@pytest.mark.parametrize("atomic", [True, False])
@pytest.mark.parametrize("cut", range(12))
def test_cut_between_any_two_moves_is_settled(
    quarantine: Quarantine, polluted: Path, monkeypatch: pytest.MonkeyPatch, cut: int, atomic: bool
) -> None:
    """A reset and its restore are killed after ``cut`` moves; the next restores bring back the first tree."""
    before = picture(polluted)
    left = cut
    move, exchange = Directory.move, Directory.exchange

    def counted(real: Any) -> Any:
        def call(*args: Any) -> Any:
            nonlocal left
            if left == 0:
                raise Killed
            left -= 1
            return real(*args)

        return call

    monkeypatch.setattr(Directory, "move", counted(move))
    monkeypatch.setattr(Directory, "exchange", counted(exchange) if atomic else lambda *_: False)
    with contextlib.suppress(Killed):
        restore(quarantine, reset(quarantine, polluted))
    left = -1
    quarantine.close(quarantine.begin("restore"))
    for name in ("bin", "include", "venv"):
        places = [
            polluted / name,
            *(folder / "kept" / name for folder in (polluted / ".reset/runs").iterdir()),
        ]
        old = [
            path for path in places if path.is_symlink() or (path.exists() and not (path / "new").exists())
        ]
        assert len(old) == 1, name
    while run := choose(quarantine, "")[0]:
        restore(quarantine, run)
    assert picture(polluted) == before


def test_failed_move_is_settled_at_once(
    quarantine: Quarantine, polluted: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = Directory.move

    def refuse(self: Directory, name: str, *args: Any) -> None:
        if name == "include":
            raise PermissionError(13, "Permission denied", name)
        real(self, name, *args)

    monkeypatch.setattr(Directory, "move", refuse)
    run = quarantine.begin("reset")
    with pytest.raises(PermissionError):
        quarantine.displace(run, ["bin", "include"])
    assert [entry.name for entry in quarantine.runs()[0].entries] == ["bin"]
    assert (polluted / "include").is_symlink()


def test_damaged_manifest_is_named(quarantine: Quarantine, polluted: Path) -> None:
    run = reset(quarantine, polluted)
    Path(quarantine.state.path, "runs", run.name, "manifest.json").write_text("{")
    with pytest.raises(Problem, match="is damaged"):
        quarantine.runs()


# Written by the previous release, with other inodes.
OLD_MANIFEST = """{
 "name": "20261126T055231Z", "kind": "reset", "started": 1795672351.1110864, "state": "closed", "entries": [
  {"name": "bin", "before": {"kind": "directory", "mode": 493, "identity": [65024, 2285644], "files": 1, "bytes": 20,
    "target": null}, "after": null, "source": null},
  {"name": "include", "before": {"kind": "link", "mode": 511, "identity": [65024, 2285646], "files": 0, "bytes": 0,
    "target": "nowhere"}, "after": null, "source": null}],
 "by": {"user": "ops", "controller": "control/0242ac110002", "pid": 4711}, "version": 1
}
"""


def write_manifest(quarantine: Quarantine, polluted: Path, text: str) -> None:
    """Write a run of another release, with ``bin`` and ``include`` in quarantine."""
    kept = polluted / ".reset/runs/20261126T055231Z/kept"
    kept.mkdir(parents=True)
    for name, inode in (("bin", "2285644"), ("include", "2285646")):
        (polluted / name).rename(kept / name)
        found = (kept / name).lstat()
        text = text.replace(f"[65024, {inode}]", f"[{found.st_dev}, {found.st_ino}]")
    (kept.parent / "manifest.json").write_text(text)


def test_manifest_of_the_release_before_is_restored(quarantine: Quarantine, polluted: Path) -> None:
    before = picture(polluted)
    write_manifest(quarantine, polluted, OLD_MANIFEST)
    run, _ = choose(quarantine, "")
    assert run is not None
    restore(quarantine, run)
    assert picture(polluted) == before


def test_manifest_of_a_newer_release_is_refused(quarantine: Quarantine, polluted: Path) -> None:
    write_manifest(
        quarantine, polluted, OLD_MANIFEST.replace('"version": 1', '"version": 2, "novelty": true')
    )
    with pytest.raises(Problem, match="its version is 2, but this release reads at most version 1"):
        quarantine.runs()


DAY = 86400.0


def history(*ages: float) -> list[Manifest]:
    return [Manifest(f"run{index}", "reset", -age * DAY, "closed") for index, age in enumerate(ages)]


@pytest.mark.parametrize(
    ("keep", "days", "gone"),
    [
        (5, 90, []),
        (2, 90, ["run0"]),
        (5, 25, []),
        (5, 5, ["run0"]),
        (5, 0.5, ["run0", "run1"]),
        (1, 0, ["run0", "run1"]),
        (0, 90, ["run0", "run1", "run2"]),
    ],
)
def test_retention(keep: int, days: float, gone: list[str]) -> None:
    assert [run.name for run in expired(history(30, 20, 1), keep, days, 0.0)] == gone


def test_run_of_a_clock_that_was_years_behind_is_young() -> None:
    assert expired(history(2000, 1), 5, 90, 0.0) == []


def test_run_after_a_clock_that_was_ahead_is_still_the_newest(
    quarantine: Quarantine, polluted: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ahead = time.time() + DAY
    with monkeypatch.context() as patch:
        patch.setattr(time, "time", lambda: ahead)
        early = reset(quarantine, polluted)
    late = quarantine.displace(quarantine.begin("reset"), ["lib"])
    quarantine.close(late)
    assert late.name > early.name
    assert choose(quarantine, "")[0] == late
    assert quarantine.expire(1, 0) == [early.name]


def test_open_run_never_expires() -> None:
    assert expired([Manifest("now", "reset", 0.0)], 0, 1, DAY * 9) == []


def test_expired_run_is_gone_from_the_disk(quarantine: Quarantine, polluted: Path) -> None:
    reset(quarantine, polluted)
    quarantine.expire(0, 0)
    assert list((polluted / ".reset/runs").iterdir()) == []
    assert list((polluted / ".reset/build").iterdir()) == []


def test_unknown_run_is_refused_with_the_known_ones(quarantine: Quarantine, polluted: Path) -> None:
    run = reset(quarantine, polluted)
    with pytest.raises(Problem, match=run.name):
        choose(quarantine, "yesterday")


def test_last_reset_is_chosen_and_not_a_restore(quarantine: Quarantine, polluted: Path) -> None:
    run = reset(quarantine, polluted)
    restore(quarantine, run)
    assert choose(quarantine, "") == (None, [])


def test_what_a_kill_left_of_a_build_goes_with_the_next_run(quarantine: Quarantine, polluted: Path) -> None:
    (polluted / ".reset/build/half").mkdir()
    quarantine.begin("reset")
    assert list((polluted / ".reset/build").iterdir()) == []
