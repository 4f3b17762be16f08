"""The files of a schedule as text: systemd's units, and where everything belongs. Decides, writes nothing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from ansible.module_utils.schedule.jobs import AGAIN, Config, Job

MARK = "# Written by the role schedule; playbooks/schedule.yml rewrites it."
EVERY = "*:0/30"
# What a job may not do, as `systemd-analyze security` measures it. Each of these lines also keeps programs from
# gaining rights, which sudo and most mail programs live on.
STRICT = """\
NoNewPrivileges=yes
LockPersonality=yes
MemoryDenyWriteExecute=yes
RestrictRealtime=yes
RestrictSUIDSGID=yes
RestrictNamespaces=yes
RestrictAddressFamilies=AF_UNIX AF_INET AF_INET6 AF_NETLINK
SystemCallArchitectures=native
SystemCallFilter=@system-service
SystemCallFilter=~@privileged @resources
SystemCallErrorNumber=EPERM
"""
# The same of the system's manager alone. Not RemoveIPC: at a job's end, it would take the shared memory away from a
# PostgreSQL of the same user.
STRICT_OF_SYSTEM = """\
CapabilityBoundingSet=
AmbientCapabilities=
ProtectSystem=strict
ProtectHome=read-only
ProtectProc=invisible
ProtectClock=yes
ProtectHostname=yes
ProtectKernelLogs=yes
ProtectKernelModules=yes
ProtectKernelTunables=yes
ProtectControlGroups=yes
PrivateDevices=yes
PrivateTmp=yes
KeyringMode=private
DevicePolicy=closed
"""
LOOSE_OF_SYSTEM = "PrivateTmp=yes\nKeyringMode=private\n"
# Credentials that are vault passwords: for the jobs. The others are for what tells people.
VAULT = "vault."


@dataclass(frozen=True)
class Places:
    """Where a schedule lies on a machine.

    Attributes:
        system: whether the units are the system's, or those of a user.
        units: folder of the units.
        settings: folder of the configuration and the credentials.
        state: folder of history and logs.
        spare: folder in memory.
        stamps: where systemd remembers when a timer last fired.
    """

    system: bool
    units: Path
    settings: Path
    state: Path
    spare: Path
    stamps: Path

    @property
    def configuration(self) -> Path:
        """The configuration's file."""
        return self.settings / "schedule.json"

    @property
    def credentials(self) -> Path:
        """Folder of the credentials."""
        return self.settings / "credentials"


def places(name: str, home: Path | None, uid: int) -> Places:
    """Return the places of a schedule: of the system, or of the user with ``home`` and ``uid``."""
    if home is None:
        return Places(
            True,
            Path("/etc/systemd/system"),
            Path("/etc") / name,
            Path("/var/lib") / name,
            Path("/run") / name,
            Path("/var/lib/systemd/timers"),
        )
    return Places(
        False,
        home / ".config/systemd/user",
        home / ".config" / name,
        home / ".local/state" / name,
        Path(f"/run/user/{uid}") / name,
        home / ".local/share/systemd/timers",
    )


@dataclass(frozen=True)
class UnitSettings:
    """What the units are made of.

    Attributes:
        name: what the names of all units begin with.
        python: interpreter of the control node's environment.
        user: who runs the jobs; empty in units of a user.
        delay: seconds; a timer fires at a random moment of as many.
        sudo: whether jobs may gain rights on this machine.
        writable: paths that jobs write to besides the project and the state.
        secrets: names of the credentials.
        encrypted: whether they are kept encrypted.
    """

    name: str
    python: str
    user: str
    delay: int
    sudo: bool = False
    writable: Sequence[str] = field(default_factory=list)
    secrets: Sequence[str] = field(default_factory=list)
    encrypted: bool = True


def render(settings: UnitSettings, config: Config, where: Places) -> dict[Path, str]:
    """Return every file of the schedule but the credentials, by path."""
    files = {where.configuration: config.text()}
    again = Job(
        AGAIN,
        "",
        EVERY,
        seconds=max((job.seconds for job in config.jobs.values()), default=3600) * max(1, len(config.jobs)),
        memory=max((job.memory for job in config.jobs.values()), key=_bytes, default="2G"),
    )
    for job in [*config.jobs.values(), again]:
        unit = where.units / f"{settings.name}-{job.name}"
        files[unit.with_name(unit.name + ".service")] = _job(settings, config, where, job)
        files[unit.with_name(unit.name + ".timer")] = _timer(settings, job)
    files[where.units / f"{settings.name}-after@.service"] = _after(settings, config, where)
    return files


def _job(settings: UnitSettings, config: Config, where: Places, job: Job) -> str:
    attempts = 1 + len(config.retries)
    longest = job.seconds * attempts + sum(config.retries) + 120
    after = f"{settings.name}-after@{job.name}.service"
    secrets = [name for name in settings.secrets if name.startswith(VAULT)]
    return f"""\
{MARK}
[Unit]
Description={_literal(config.title)}: {job.name}
OnSuccess={after}
OnFailure={after}
{_online(where)}
[Service]
Type=exec
ExecStart={_command(settings, config, where)} {job.name}
RuntimeMaxSec={longest}
TimeoutStopSec=90
MemoryMax={job.memory}
{_surroundings(settings, config, where, secrets, strict=not settings.sudo)}"""


def _after(settings: UnitSettings, config: Config, where: Places) -> str:
    secrets = [name for name in settings.secrets if not name.startswith(VAULT)]
    strict = not (config.mail or config.command)
    return f"""\
{MARK}
[Unit]
Description={_literal(config.title)}: what follows %i
StartLimitIntervalSec=0
{_online(where)}
[Service]
Type=exec
ExecStart={_command(settings, config, where)} after %i
RuntimeMaxSec=300
MemoryMax=512M
{_surroundings(settings, config, where, secrets, strict)}"""


def _timer(settings: UnitSettings, job: Job) -> str:
    again = job.name == AGAIN
    return f"""\
{MARK}
[Unit]
Description=When {settings.name}-{job.name} runs

[Timer]
OnCalendar={job.at}
Persistent={"no" if again else "yes"}
RandomizedDelaySec={0 if again else settings.delay}

[Install]
WantedBy=timers.target
"""


def _online(where: Places) -> str:
    return "Wants=network-online.target\nAfter=network-online.target\n" if where.system else ""


def _command(settings: UnitSettings, config: Config, where: Places) -> str:
    program = (settings.python, f"{config.project}/tools/run_job.py", where.configuration)
    return " ".join(_word(str(path)) for path in program)


def _literal(text: str) -> str:
    """Return a text in which systemd looks for nothing to replace."""
    return text.replace("%", "%%")


def _word(path: str) -> str:
    """Return a path as one word of a list; one with quotes is none that systemd starts."""
    return f'"{_literal(path)}"' if " " in path else _literal(path)


def _surroundings(
    settings: UnitSettings, config: Config, where: Places, secrets: Sequence[str], strict: bool
) -> str:
    lines = [f"WorkingDirectory={_literal(config.project)}", "UMask=0077", "Nice=5"]
    if settings.user:
        lines.append(f"User={settings.user}")
    lines += [
        f"RuntimeDirectory={settings.name}",
        "RuntimeDirectoryMode=0700",
        "RuntimeDirectoryPreserve=yes",
    ]
    if where.system:
        lines += [f"StateDirectory={settings.name}", "StateDirectoryMode=0700"]
    kind = "LoadCredentialEncrypted" if settings.encrypted else "LoadCredential"
    lines += [f"{kind}={name}:{_literal(str(where.credentials / name))}" for name in sorted(secrets)]
    if strict:
        lines += STRICT.splitlines()
    if where.system:
        lines += (STRICT_OF_SYSTEM if strict else LOOSE_OF_SYSTEM).splitlines()
        # A path that is not there is passed over.
        lines += [
            f"ReadWritePaths={_word(f'-{path}')}" for path in (config.project, *settings.writable) if strict
        ]
    return "\n".join(lines) + "\n"


def _bytes(text: str) -> float:
    units: Mapping[str, int] = {"K": 1, "M": 2, "G": 3, "T": 4}
    number = text.rstrip("KMGT")
    return float(number) * 1024 ** units.get(text[-1:], 0) if number.isdigit() else 0.0
