from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from ansible.module_utils.schedule import jobs, units

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
