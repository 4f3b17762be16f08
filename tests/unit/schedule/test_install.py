"""What a schedule writes on a machine, and what it takes away; systemd itself is played."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from ansible.module_utils.schedule import install
from ansible.module_utils.schedule.units import MARK, Places


class Systemd(install.Systemd):
    """Remembers which timers run."""

    def __init__(self) -> None:
        self.system = False
        self.timers: set[str] = set()
        self.asked: list[tuple[str, ...]] = []

    def control(self, *arguments: str, check: bool = True) -> bytes:
        self.asked.append(arguments)
        if arguments[0] == "enable":
            self.timers.update(arguments[2:])
        elif arguments[0] == "disable":
            self.timers.discard(arguments[2])
        return b""

    def running(self, timer: str) -> bool:
        return timer in self.timers


@pytest.fixture
def where(tmp_path: Path) -> Places:
    for name in ("units", "state", "run", "stamps"):
        (tmp_path / name).mkdir()
    return Places(
        False, tmp_path / "units", tmp_path / "etc", tmp_path / "state", tmp_path / "run", tmp_path / "stamps"
    )


def files(where: Places, at: str = "daily", *names: str) -> dict[Path, str]:
    units = {where.units / f"x-{name}.timer": f"{MARK}\n{at}\n" for name in names or ("health",)}
    return {where.configuration: "{}\n", **units}


def bring(systemd: Systemd, where: Places, wanted: dict[Path, str], **secrets: str) -> install.Changes:
    changes = install.compare(systemd, where, "x", wanted, secrets)
    install.apply(systemd, where, changes)
    return changes


def test_what_is_asked_is_there_and_a_second_time_nothing_is_to_do(where: Places) -> None:
    systemd = Systemd()
    assert bring(systemd, where, files(where), webhook="a secret")
    assert systemd.timers == {"x-health.timer"}
    kept = where.credentials / "webhook"
    assert (kept.read_text(), kept.stat().st_mode & 0o777) == ("a secret", 0o600)
    assert kept.parent.stat().st_mode & 0o777 == 0o700
    assert (where.units / "x-health.timer").stat().st_mode & 0o777 == 0o644
    assert not bring(systemd, where, files(where), webhook="a secret")


def test_a_timer_that_runs_is_told_its_new_time(where: Places) -> None:
    systemd = Systemd()
    bring(systemd, where, files(where))
    bring(systemd, where, files(where, "hourly"))
    assert ("restart", "x-health.timer") in systemd.asked


def test_what_is_no_longer_asked_goes_and_what_is_not_ours_stays(where: Places) -> None:
    systemd = Systemd()
    (where.units / "x-foreign.timer").write_text("[Timer]\n")
    bring(systemd, where, files(where, "daily", "health", "drift"), webhook="1")
    bring(systemd, where, files(where))
    assert systemd.timers == {"x-health.timer"}
    assert sorted(path.name for path in where.units.iterdir()) == ["x-foreign.timer", "x-health.timer"]
    assert list(where.credentials.iterdir()) == []


def test_another_schedule_whose_name_begins_the_same_stays(where: Places, tmp_path: Path) -> None:
    systemd, other = Systemd(), replace(where, settings=tmp_path / "x-asia")
    unit = where.units / "x-asia-health.service"
    service = {unit: f"{MARK}\nExecStart=python run_job.py {other.configuration} health\n"}
    changes = install.compare(
        systemd, other, "x-asia", {**service, unit.with_suffix(".timer"): f"{MARK}\n"}, {}
    )
    install.apply(systemd, other, changes)
    bring(systemd, replace(where, settings=tmp_path / "x"), files(where))
    install.apply(systemd, where, install.removal(replace(where, settings=tmp_path / "x"), "x", ""))
    assert systemd.timers == {"x-asia-health.timer"}
    assert unit.exists()


def test_removal_leaves_nothing(where: Places, tmp_path: Path) -> None:
    systemd = Systemd()
    metrics = tmp_path / "schedule.prom"
    metrics.touch()
    bring(systemd, where, files(where), webhook="1")
    install.apply(systemd, where, install.removal(where, "x", str(metrics)))
    assert systemd.timers == set()
    assert [path.name for path in tmp_path.iterdir() if path.name != "units"] == ["stamps"]
    assert list(where.units.iterdir()) == []


def test_removal_finds_the_units_of_an_earlier_release(where: Places) -> None:
    old = where.units / "x-health.timer"
    old.write_text("# Written by the role schedule; playbooks/schedule.yml writes it anew.\n[Timer]\n")
    changes = install.removal(where, "x", "")
    assert (list(changes.files), changes.gone) == ([old], ["x-health.timer"])


def test_a_difference_shows_texts_and_hides_secrets(where: Places) -> None:
    changes = install.compare(Systemd(), where, "x", files(where), {"webhook": "hidden"})
    shown = install.diff(changes)
    assert "hidden" not in str(shown)
    assert {each["after"] for each in shown} == {"{}\n", f"{MARK}\ndaily\n", "a secret\n"}
