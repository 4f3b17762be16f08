"""Sends messages by webhook, by the host's mail program, or by a user's command; and the heartbeat."""

from __future__ import annotations

import json
import subprocess
import urllib.error
import urllib.request
from collections.abc import Callable, Sequence
from email.message import EmailMessage
from http.client import HTTPException
from pathlib import Path

from ansible.module_utils.schedule.jobs import Config

SECONDS = 20.0
# Names of systemd credentials.
WEBHOOK, HEARTBEAT = "webhook", "heartbeat"


class Untold(Exception):
    """A message could not be sent; the text says how and why, without the secret."""


def by_webhook(url: str, message: str) -> None:
    """Send a message as the JSON that Slack, Mattermost and Teams read."""
    body = json.dumps({"text": message}).encode()
    request = urllib.request.Request(url, body, {"Content-Type": "application/json"})  # noqa: S310
    _open("The webhook of schedule_webhook_url", request)


def heartbeat(url: str) -> None:
    """Report a successful run to the watchdog; raise ``Untold`` if that fails."""
    _open("The URL of schedule_heartbeat_url", urllib.request.Request(url))  # noqa: S310


def _open(name: str, request: urllib.request.Request) -> None:
    try:
        if request.type not in ("http", "https"):
            raise Untold(f"{name} is not an http or https URL.")
        with urllib.request.urlopen(request, timeout=SECONDS):  # noqa: S310 - checked above
            return
    except urllib.error.HTTPError as error:
        raise Untold(f"{name} answered {error.code}.") from None
    except (OSError, ValueError, HTTPException) as error:
        # Their messages quote the address, which is secret.
        raise Untold(f"{name} is not reachable ({type(error).__name__}).") from None


def by_mail(program: str, addresses: Sequence[str], message: str) -> None:
    """Send a message by the host's sendmail."""
    mail = EmailMessage()
    mail["To"] = ", ".join(addresses)
    mail["Subject"] = message.splitlines()[0]
    mail.set_content(message)
    _run("schedule_sendmail", [program, "-i", *addresses], bytes(mail))


def by_command(command: Sequence[str], message: str) -> None:
    """Send a message to the standard input of a user's command."""
    _run("schedule_command", command, message.encode())


def _run(name: str, command: Sequence[str], given: bytes) -> None:
    try:
        done = subprocess.run(command, input=given, capture_output=True, timeout=SECONDS, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise Untold(f"{name}: {command[0]} cannot be run ({type(error).__name__}).") from None
    if done.returncode:
        raise Untold(f"{name}: {command[0]} exited with {done.returncode}.")


def ways(config: Config, credentials: Path | None) -> list[Callable[[str], None]]:
    """Return the configured ways to send a message; each raises ``Untold`` if it fails."""
    found: list[Callable[[str], None]] = []
    url = secret(credentials, WEBHOOK)
    if url:
        found.append(lambda message: by_webhook(url, message))
    if config.mail:
        found.append(lambda message: by_mail(config.sendmail, config.mail, message))
    if config.command:
        found.append(lambda message: by_command(config.command, message))
    return found


def secret(credentials: Path | None, name: str) -> str:
    """Return a systemd credential; empty if there is none."""
    path = credentials / name if credentials else None
    return path.read_text(encoding="utf-8").strip() if path and path.exists() else ""
