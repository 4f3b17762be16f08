"""What a schedule writes on a machine, and what it takes away; systemd itself is played."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from ansible.module_utils.schedule import jobs, units
from ansible.module_utils.schedule.units import MARK, Places

JOBS = jobs.parse(
    {"health": {"playbook": "reset", "at": "*-*-* 05:30:00", "seconds": 60, "memory": "512M"}}, []
)
CONFIG = jobs.Config(
    "/p", ["hosts"], JOBS, "/var/lib/md", "/run/md", retries=[10], name="md", user="trader", writable=["/data"],
    secrets=["webhook", "vault.default"],
)  # fmt: skip
SYSTEM = units.places("md", None, 0)
USER = units.places("md", Path("/home/trader"), 1000)


def file(name: str, config: jobs.Config = CONFIG, where: units.Places = SYSTEM) -> list[str]:
    return units.render(config, where)[where.units / name].splitlines()


def test_a_job_is_a_service_and_a_timer_and_something_follows_it() -> None:
    assert {path.name for path in units.render(CONFIG, SYSTEM)} == {
        "schedule.json", "md-health.service", "md-health.timer", "md-again.service", "md-again.timer",
        "md-after@.service",
    }  # fmt: skip
    after = "md-after@health.service"
    assert {f"OnFailure={after}", f"OnSuccess={after}"} <= set(file("md-health.service"))


def test_a_timer_makes_up_for_what_it_missed_and_does_not_meet_all_others() -> None:
    timer = file("md-health.timer")
    assert {"OnCalendar=*-*-* 05:30:00", "Persistent=yes", "RandomizedDelaySec=300"} <= set(timer)


def test_a_run_is_bound_in_time_with_its_attempts_and_in_memory() -> None:
    assert {"RuntimeMaxSec=250", "MemoryMax=512M"} <= set(file("md-health.service"))


def test_secrets_are_credentials() -> None:
    service = file("md-health.service")
    assert "LoadCredentialEncrypted=vault.default:/etc/md/credentials/vault.default" in service
    open_ones = file("md-after@.service", replace(CONFIG, encrypted=False, user=""), USER)
    assert "LoadCredential=webhook:/home/trader/.config/md/credentials/webhook" in open_ones


def test_only_jobs_get_vault_passwords_and_only_what_follows_them_the_addresses() -> None:
    kept = {
        name: [line for line in file(name) if "Credential" in line]
        for name in ("md-health.service", "md-after@.service")
    }
    assert [("vault." in line, "webhook" in line) for lines in kept.values() for line in lines] == [
        (True, False), (False, True),
    ]  # fmt: skip


def test_a_mail_program_may_gain_the_rights_that_it_needs() -> None:
    assert "NoNewPrivileges=yes" in file("md-after@.service")
    config = replace(CONFIG, mail=["a@example.org"])
    units_of = units.render(config, SYSTEM)
    assert "NoNewPrivileges" not in units_of[SYSTEM.units / "md-after@.service"]
    assert "NoNewPrivileges" in units_of[SYSTEM.units / "md-health.service"]


def test_jobs_of_the_system_run_as_a_user_that_may_write_little() -> None:
    service = file("md-health.service")
    assert {"User=trader", "ProtectSystem=strict", "ReadWritePaths=-/p", "ReadWritePaths=-/data"} <= set(
        service
    )


def test_the_end_of_a_job_takes_no_memory_from_other_programs_of_its_user() -> None:
    assert "RemoveIPC=yes" not in file("md-health.service")


def test_what_tells_people_is_never_refused_for_coming_too_often() -> None:
    assert "StartLimitIntervalSec=0" in file("md-after@.service")


def test_sudo_needs_rights_that_others_do_not_get() -> None:
    assert "NoNewPrivileges=yes" in file("md-health.service")
    assert "NoNewPrivileges=yes" not in file("md-health.service", replace(CONFIG, sudo=True))


def test_units_of_a_user_want_nothing_of_the_system() -> None:
    service = file("md-health.service", replace(CONFIG, user=""), USER)
    assert not [line for line in service if line.startswith(("User=", "ProtectSystem=", "StateDirectory="))]


class Systemd(units.Systemd):
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


def bring(systemd: Systemd, where: Places, wanted: dict[Path, str], **secrets: str) -> units.Changes:
    changes = units.compare(systemd, where, "x", wanted, secrets)
    units.apply(systemd, where, changes)
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
    changes = units.compare(
        systemd, other, "x-asia", {**service, unit.with_suffix(".timer"): f"{MARK}\n"}, {}
    )
    units.apply(systemd, other, changes)
    bring(systemd, replace(where, settings=tmp_path / "x"), files(where))
    units.apply(systemd, where, units.removal(replace(where, settings=tmp_path / "x"), "x", ""))
    assert systemd.timers == {"x-asia-health.timer"}
    assert unit.exists()


def test_removal_leaves_nothing(where: Places, tmp_path: Path) -> None:
    systemd = Systemd()
    metrics = tmp_path / "schedule.prom"
    metrics.touch()
    bring(systemd, where, files(where), webhook="1")
    units.apply(systemd, where, units.removal(where, "x", str(metrics)))
    assert systemd.timers == set()
    assert [path.name for path in tmp_path.iterdir() if path.name != "units"] == ["stamps"]
    assert list(where.units.iterdir()) == []


def test_removal_finds_the_units_of_an_earlier_release(where: Places) -> None:
    old = where.units / "x-health.timer"
    old.write_text("# Written by the role schedule; playbooks/schedule.yml writes it anew.\n[Timer]\n")
    changes = units.removal(where, "x", "")
    assert changes.files == {old: None}


def test_a_difference_shows_texts_and_hides_secrets(where: Places) -> None:
    changes = units.compare(Systemd(), where, "x", files(where), {"webhook": "hidden"})
    shown = units.diff(changes)
    assert "hidden" not in str(shown)
    assert {each["after"] for each in shown} == {"{}\n", f"{MARK}\ndaily\n", "a secret\n"}
