"""Renders the files of a schedule, such as systemd units, and decides their paths. Writes nothing."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from ansible.module_utils.schedule.jobs import AGAIN, Config, Job

MARK = "# Written by the role schedule; playbooks/schedule.yml rewrites it."
EVERY = "*:0/30"
# Restrictions of a job, as measured by `systemd-analyze security`. Each also prevents programs from gaining
# privileges, which sudo and most mail programs need.
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
# More restrictions for system units. Not RemoveIPC: when a job ends, it would remove the shared memory of a PostgreSQL
# that runs as the same user.
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
# Prefix of credentials that are vault passwords, for the jobs. The others are for the units that send messages.
VAULT = "vault."


@dataclass(frozen=True)
class Places:
    """Folders of a schedule: ``spare`` is in memory; in ``stamps``, systemd records when a timer last fired."""

    system: bool
    units: Path
    settings: Path
    state: Path
    spare: Path
    stamps: Path

    @property
    def configuration(self) -> Path:
        """Path of the configuration file."""
        return self.settings / "schedule.json"

    @property
    def credentials(self) -> Path:
        """Folder of the credentials."""
        return self.settings / "credentials"


def places(name: str, home: Path | None, uid: int) -> Places:
    """Return the folders of a schedule for the system, or for the user with ``home`` and ``uid``."""
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


def render(config: Config, where: Places) -> dict[Path, str]:
    """Return the files of the schedule by path, except credentials."""
    files = {where.configuration: config.text()}
    again = Job(
        AGAIN,
        "",
        EVERY,
        seconds=max((job.seconds for job in config.jobs.values()), default=3600) * max(1, len(config.jobs)),
        memory=max((job.memory for job in config.jobs.values()), key=_bytes, default="2G"),
    )
    for job in [*config.jobs.values(), again]:
        unit = where.units / f"{config.name}-{job.name}"
        files[unit.with_name(unit.name + ".service")] = _job(config, where, job)
        files[unit.with_name(unit.name + ".timer")] = _timer(config, job)
    files[where.units / f"{config.name}-after@.service"] = _after(config, where)
    return files


def _job(config: Config, where: Places, job: Job) -> str:
    longest = job.seconds * (1 + len(config.retries)) + sum(config.retries) + 120
    after = f"{config.name}-after@{job.name}.service"
    unit = f"OnSuccess={after}\nOnFailure={after}"
    bounds = f"RuntimeMaxSec={longest}\nTimeoutStopSec=90\nMemoryMax={job.memory}"
    return _service(config, where, job.name, job.name, unit, bounds, vault=True, strict=not config.sudo)


def _after(config: Config, where: Places) -> str:
    strict = not (config.mail or config.command)
    bounds = "RuntimeMaxSec=300\nMemoryMax=512M"
    unit = "StartLimitIntervalSec=0"
    return _service(config, where, "what follows %i", "after %i", unit, bounds, vault=False, strict=strict)


def _service(
    config: Config,
    where: Places,
    what: str,
    arguments: str,
    unit: str,
    bounds: str,
    vault: bool,
    strict: bool,
) -> str:
    """Return a service unit with the vault passwords or the other secrets, and with strict or loose restrictions."""
    program = (config.python, f"{config.project}/tools/run_job.py", str(where.configuration))
    lines = [MARK, "[Unit]", f"Description={_literal(config.title)}: {what}", unit]
    if where.system:
        lines += ["Wants=network-online.target", "After=network-online.target"]
    lines += ["", "[Service]", "Type=exec", f"ExecStart={' '.join(map(_word, program))} {arguments}", bounds]
    lines += [f"WorkingDirectory={_literal(config.project)}", "UMask=0077", "Nice=5"]
    if config.user:
        lines.append(f"User={config.user}")
    folder = f"RuntimeDirectory={config.name}"
    lines += [folder, "RuntimeDirectoryMode=0700", "RuntimeDirectoryPreserve=yes"]
    if where.system:
        lines += [f"StateDirectory={config.name}", "StateDirectoryMode=0700"]
    kind = "LoadCredentialEncrypted" if config.encrypted else "LoadCredential"
    secrets = sorted(name for name in config.secrets if name.startswith(VAULT) == vault)
    lines += [f"{kind}={name}:{_literal(str(where.credentials / name))}" for name in secrets]
    if strict:
        lines += STRICT.splitlines()
    if where.system:
        lines += (STRICT_OF_SYSTEM if strict else LOOSE_OF_SYSTEM).splitlines()
    if where.system and strict:
        # The hyphen makes systemd ignore a missing path.
        lines += [f"ReadWritePaths={_word(f'-{path}')}" for path in (config.project, *config.writable)]
    return "\n".join(lines) + "\n"


def _timer(config: Config, job: Job) -> str:
    again = job.name == AGAIN
    return f"""\
{MARK}
[Unit]
Description=When {config.name}-{job.name} runs

[Timer]
OnCalendar={job.at}
Persistent={"no" if again else "yes"}
RandomizedDelaySec={0 if again else config.delay}

[Install]
WantedBy=timers.target
"""


def _literal(text: str) -> str:
    """Escape a text so that systemd expands nothing in it."""
    return text.replace("%", "%%")


def _word(path: str) -> str:
    """Quote a path as one word of a list; systemd does not run a program whose path contains quotes."""
    return f'"{_literal(path)}"' if " " in path else _literal(path)


def _bytes(text: str) -> float:
    units: Mapping[str, int] = {"K": 1, "M": 2, "G": 3, "T": 4}
    number = text.rstrip("KMGT")
    return float(number) * 1024 ** units.get(text[-1:], 0) if number.isdigit() else 0.0
