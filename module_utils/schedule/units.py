"""A schedule's files, credentials and timers: renders them, and compares, installs or removes them on this machine."""

from __future__ import annotations

import contextlib
import os
import pwd
import re
import shutil
import subprocess
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

from ansible.module_utils.prometheus import replace
from ansible.module_utils.reporting import Problem
from ansible.module_utils.schedule.jobs import AGAIN, VAULT, Config, Job

MARK = "# Written by the role schedule; playbooks/schedule.yml rewrites it."
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
        paths = "/etc/systemd/system /etc /var/lib /run /var/lib/systemd/timers"
    else:
        paths = f".config/systemd/user .config .local/state /run/user/{uid} .local/share/systemd/timers"
    units, settings, state, spare, stamps = (Path(home or "/", path) for path in paths.split())
    return Places(home is None, units, settings / name, state / name, spare / name, stamps)


def render(config: Config, where: Places) -> dict[Path, str]:
    """Return the files of the schedule by path, except credentials."""
    files = {where.configuration: config.text()}
    jobs = config.jobs.values()
    seconds = max((job.seconds for job in jobs), default=3600) * max(1, len(jobs))
    memory = max((job.memory for job in jobs), key=_bytes, default="2G")
    again = Job(AGAIN, "", "*:0/30", seconds=seconds, memory=memory)
    for job in [*jobs, again]:
        name = f"{config.name}-{job.name}"
        longest = job.seconds * (1 + len(config.retries)) + sum(config.retries) + 120
        after = f"{config.name}-after@{job.name}.service"
        unit = f"OnSuccess={after}\nOnFailure={after}"
        bounds = f"RuntimeMaxSec={longest}\nTimeoutStopSec=90\nMemoryMax={job.memory}"
        strict = not config.sudo
        files[where.units / f"{name}.service"] = _service(
            config, where, job.name, job.name, unit, bounds, strict
        )
        persistent, delay = ("no", 0) if job is again else ("yes", config.delay)
        files[where.units / f"{name}.timer"] = f"""\
{MARK}
[Unit]
Description=When {name} runs

[Timer]
OnCalendar={job.at}
Persistent={persistent}
RandomizedDelaySec={delay}

[Install]
WantedBy=timers.target
"""
    unit, bounds = "StartLimitIntervalSec=0", "RuntimeMaxSec=300\nMemoryMax=512M"
    strict = not (config.mail or config.command)
    after = _service(config, where, "what follows %i", "after %i", unit, bounds, strict, follows=True)
    files[where.units / f"{config.name}-after@.service"] = after
    return files


def _service(
    config: Config,
    where: Places,
    what: str,
    arguments: str,
    unit: str,
    bounds: str,
    strict: bool,
    follows: bool = False,
) -> str:
    """Return a service unit; the one that follows a job gets other secrets than the vault passwords."""
    program = (config.python, f"{config.project}/tools/run_job.py", str(where.configuration))
    lines = [MARK, "[Unit]", f"Description={_literal(config.title)}: {what}", unit]
    if where.system:
        lines += ["Wants=network-online.target", "After=network-online.target"]
    lines += ["", "[Service]", "Type=exec", f"ExecStart={' '.join(map(_word, program))} {arguments}", bounds]
    lines += [f"WorkingDirectory={_literal(config.project)}", "UMask=0077", "Nice=5"]
    if config.user:
        lines.append(f"User={config.user}")
    lines += [f"RuntimeDirectory={config.name}", "RuntimeDirectoryMode=0700", "RuntimeDirectoryPreserve=yes"]
    if where.system:
        lines += [f"StateDirectory={config.name}", "StateDirectoryMode=0700"]
    kind = "LoadCredentialEncrypted" if config.encrypted else "LoadCredential"
    secrets = sorted(name for name in config.secrets if name.startswith(VAULT) != follows)
    lines += [f"{kind}={name}:{_literal(str(where.credentials / name))}" for name in secrets]
    if strict:
        lines += STRICT.splitlines()
    if where.system:
        lines += (STRICT_OF_SYSTEM if strict else LOOSE_OF_SYSTEM).splitlines()
    if where.system and strict:
        # The hyphen makes systemd ignore a missing path.
        lines += [f"ReadWritePaths={_word(f'-{path}')}" for path in (config.project, *config.writable)]
    return "\n".join(lines) + "\n"


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


# --- installing ------------------------------------------------------------------------------------------

# Where systemd records that a user's units run without a login.
LINGER = Path("/var/lib/systemd/linger")


@dataclass
class Changes:
    """Changes to make: contents by path (None deletes), timers to start, folders to delete."""

    files: Mapping[Path, str | None]
    secrets: Mapping[Path, str | None] = field(default_factory=dict)
    timers: Sequence[str] = ()
    folders: Sequence[Path] = ()

    def __bool__(self) -> bool:
        return bool(self.files or self.secrets or self.timers or self.folders)


class Systemd:
    """Runs systemd's programs for the system's units or a user's; raises ``Problem`` if systemd does not answer."""

    def __init__(self, system: bool) -> None:
        self.system = system
        runtime = {} if system else {"XDG_RUNTIME_DIR": f"/run/user/{os.getuid()}"}
        self._environment = {**runtime, **os.environ, "LC_ALL": "C.UTF-8"}
        if not self.control("show", "--property=Version", "--value", check=False).strip():
            raise Problem(
                "systemd does not answer here. A schedule needs a machine that systemd has booted."
                + ("" if self.system else " User units need a session: log in as this user, not with su.")
            )

    def __call__(self, program: str, *arguments: str, given: bytes = b"", check: bool = True) -> bytes:
        """Run a program and return its output; raise ``Problem`` if it fails and ``check`` is set."""
        try:
            done = subprocess.run(
                [program, *arguments],
                input=given, capture_output=True, timeout=120, env=self._environment, check=False,
            )  # fmt: skip
        except (OSError, subprocess.TimeoutExpired) as error:
            raise Problem(
                f"{program} cannot be run ({type(error).__name__}). A schedule needs systemd on this machine."
            ) from None
        if check and done.returncode:
            said = done.stderr.decode(errors="replace").strip().splitlines()
            raise Problem(f"{program} {' '.join(arguments[:3])}: {said[-1] if said else done.returncode}")
        return done.stdout if not done.returncode else b""

    def control(self, *arguments: str, check: bool = True) -> bytes:
        """Run ``systemctl`` for the system or the user."""
        return self("systemctl", *([] if self.system else ["--user"]), "--no-pager", *arguments, check=check)

    def has_creds(self) -> bool:
        """Whether credentials can be encrypted: system units, and systemd 250 or newer."""
        return self.system and shutil.which("systemd-creds") is not None

    def interval(self, text: str) -> int:
        """Return the longest time between two occurrences of a calendar event, in seconds; 0 if there is only one."""
        said = self("systemd-analyze", "calendar", "--iterations=12", text, check=False).decode()
        found = re.findall(r"(?:elapse|#\d+|in UTC\)): \w+ ([\d-]+ [\d:]+) UTC", said)
        if not found:
            raise Problem(f"schedule_jobs: systemd does not understand the time {text!r} (man systemd.time).")
        moments = [datetime.strptime(each, "%Y-%m-%d %H:%M:%S") for each in found]
        return max(
            (int((later - one).total_seconds()) for one, later in zip(moments, moments[1:])), default=0
        )

    def running(self, timer: str) -> bool:
        """Whether a timer is enabled and active."""
        states = self.control("show", "--property=ActiveState,UnitFileState", "--value", timer, check=False)
        return states.split() == [b"active", b"enabled"]


def compare(
    systemd: Systemd, where: Places, name: str, files: Mapping[Path, str], secrets: Mapping[str, str]
) -> Changes:
    """Return the changes that leave exactly these files, secrets and timers."""
    left = dict.fromkeys(path for path in _ours(where, name) if path not in files)
    wanted = {where.credentials / key: value for key, value in secrets.items()}
    revoked = dict.fromkeys(path for path in where.credentials.glob("*") if path not in wanted)
    return Changes(
        {**{path: text for path, text in files.items() if _read(path) != text}, **left},
        {**{path: value for path, value in wanted.items() if _secret(systemd, path) != value}, **revoked},
        [timer for timer in _timers(files) if not systemd.running(timer)],
    )


def removal(where: Places, name: str, metrics: str) -> Changes:
    """Return the changes that remove a schedule completely."""
    exported = [Path(metrics)] if metrics and Path(metrics).exists() else []
    folders = [path for path in (where.settings, where.state, where.spare) if path.exists()]
    return Changes(dict.fromkeys([*_ours(where, name), *exported]), folders=folders)


def _timers(units: Iterable[Path]) -> list[str]:
    return [path.name for path in units if path.suffix == ".timer"]


def apply(systemd: Systemd, where: Places, changes: Changes) -> None:
    """Make the changes."""
    gone = _timers(path for path, text in changes.files.items() if text is None)
    for timer in gone:
        systemd.control("disable", "--now", timer, check=False)
        systemd.control("stop", timer.replace(".timer", ".service"), check=False)
        (where.stamps / f"stamp-{timer}").unlink(missing_ok=True)
    for path, text in [*changes.files.items(), *changes.secrets.items()]:
        if text is None:
            path.unlink(missing_ok=True)
            continue
        secret, content = path in changes.secrets, text.encode()
        if secret and systemd.has_creds():
            content = systemd("systemd-creds", "encrypt", f"--name={path.name}", "-", "-", given=content)
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700 if secret else 0o777)
        replace(path, content, 0o600 if secret else 0o644)
    if changes.files:
        systemd.control("daemon-reload")
    if changes.timers:
        systemd.control("enable", "--now", *changes.timers)
    # A running timer reads its new time only after a restart.
    if moved := [timer for timer in _timers(changes.files) if timer not in {*gone, *changes.timers}]:
        systemd.control("restart", *moved)
    for folder in changes.folders:
        shutil.rmtree(folder, ignore_errors=True)
    if changes.folders:
        systemd.control("reset-failed", check=False)


def linger(systemd: Systemd, where: Places, wanted: bool, check: bool) -> bool:
    """Let a user's units run without a login, or undo that if we enabled it; return whether this changes anything."""
    if where.system:
        return False
    user = pwd.getpwuid(os.getuid()).pw_name
    note = where.settings / "linger"  # that we enabled it
    if (LINGER / user).exists() == wanted or not (wanted or note.exists()):
        return False
    if not check:
        systemd("loginctl", "enable-linger" if wanted else "disable-linger", user)
        if wanted:
            note.parent.mkdir(parents=True, exist_ok=True)
            note.touch()
    return True


def diff(changes: Changes) -> list[dict[str, Any]]:
    """Return the changes as an Ansible diff, which shows only the names of secrets."""
    shown = [(path, _read(path) or "", text or "") for path, text in sorted(changes.files.items())]
    shown += [
        (path, "another secret\n" if path.exists() else "", "" if secret is None else "a secret\n")
        for path, secret in sorted(changes.secrets.items())
    ]
    shown += [(folder, "a folder\n", "") for folder in changes.folders]
    return [
        {"before_header": str(path), "after_header": str(path), "before": before, "after": after}
        for path, before, after in shown
    ]


def _ours(where: Places, name: str) -> list[Path]:
    """Return the installed units of a schedule, also those of earlier releases.

    The name of another schedule may begin with this name and a hyphen; only the services name their configuration.
    """
    mark, configuration = MARK.partition(";")[0], f"/{where.settings.name}/{where.configuration.name}"
    found = []
    for path in [*where.units.glob(f"{name}-*.service"), *where.units.glob(f"{name}-*.timer")]:
        service = _read(path.with_suffix(".service"))
        if (_read(path) or "").startswith(mark) and (service is None or configuration in service):
            found.append(path)
    return sorted(found)


def _read(path: Path) -> str | None:
    with contextlib.suppress(OSError):
        return path.read_text(encoding="utf-8")
    return None


def _secret(systemd: Systemd, path: Path) -> str | None:
    """Return a stored credential; None if it is missing or this machine cannot read it."""
    if not path.exists() or not systemd.has_creds():
        return _read(path)
    return systemd("systemd-creds", "decrypt", f"--name={path.name}", str(path), "-", check=False).decode()
