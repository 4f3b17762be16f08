"""The checks of the token, of Redis and of the disk."""

from __future__ import annotations

import contextlib
import json
import shutil
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from ansible.module_utils.database.connection import TimedOut, within
from ansible.module_utils.health.model import Finding, Host
from ansible.module_utils.reporting import Problem, package

if TYPE_CHECKING:
    from ansible.module_utils.eodhd.api import Reply

# The token that EODHD publishes for trials; it has no account.
PUBLIC_TOKEN = "demo"  # noqa: S105 - public
_REDIS = ("REDIS_URL", "REDIS_HOST")


def check_token(host: Host) -> Iterator[Finding]:
    """EODHD accepts the token, and the account has calls left today."""
    token = host.settings.get("EODHD_API_TOKEN")
    if host.service is None or not token:
        host.token = None
        return
    from ansible.module_utils.eodhd.api import STOPS, Policy, Reply, Transport, account

    known = host.token
    if known and known["account"] == account(token):
        yield Finding("token", known["level"], known["message"])
        return
    limits = Policy(connect=host.timeout, read=host.timeout, total=host.timeout)
    transport = Transport(host.service, token, limits)
    try:
        # Name resolution has no timeout of its own.
        reply = within(host.timeout + 0.5, lambda: transport.send("user", {}))
    except TimedOut:
        reply = Reply(0, fault=f"no answer within {host.timeout:g} s")
    finding = judge_token(reply, token, host)
    host.token = None
    if reply.status in (200, 403, *STOPS):  # which says something about the account, whichever host asks
        host.token = {"level": finding.level, "message": finding.message, "account": account(token)}
    yield finding


def judge_token(reply: Reply, token: str, host: Host) -> Finding:
    """Return the finding for EODHD's answer about a token."""
    from ansible.module_utils.eodhd.api import STOPS, quota, today

    if reply.status == 403 and token == PUBLIC_TOKEN:
        return Finding("token", "ok", "the public token demo, which has no account")
    kind, message = STOPS.get(401 if reply.status == 403 else reply.status, ("", ""))
    if kind == "refused":
        message += " Then write .env again with `ansible-playbook playbooks/reset.yml --tags dotenv`."
    if kind and kind != "quota":
        return Finding("token", "fail", message)
    user, fault = None, reply.fault
    if reply.status == 200:
        fault = "the answer describes no account"
        with contextlib.suppress(ValueError):
            user = json.loads(reply.body)
    if kind != "quota" and not isinstance(user, dict):
        return Finding(
            "token",
            "warn",
            f"EODHD did not say whether the token is valid ({fault}). Check eodhd_base_url"
            " and the network, or set health_token to false.",
        )
    left = 0 if kind == "quota" else quota(user, today(host.now())).left
    if left is None:
        return Finding("token", "ok", "EODHD accepts the token, but does not say how many calls are left")
    host.measures["quota_left"] = left
    if left < host.limits["quota_warn"]:
        return Finding(
            "token",
            "warn",
            f"EODHD accepts the token, but the account has {left:,} calls left today. A backfill can continue after"
            " 00:00 GMT. The threshold is health_quota_warn.",
        )
    return Finding("token", "ok", f"EODHD accepts the token, and {left:,} calls are left today")


def check_redis(host: Host) -> Iterator[Finding]:
    """The Redis that ``.env`` names answers."""
    if not host.redis or not any(host.settings.get(name) for name in _REDIS):
        return
    names = " and ".join(name for name in _REDIS if host.settings.get(name))
    reason = ping_redis(host.settings, host.timeout)
    if reason:
        yield Finding(
            "redis",
            "warn",
            f"Redis ({names} in {host.env}) {reason}. Start it, correct {names}, or set health_redis to false.",
        )
    else:
        yield Finding("redis", "ok", "Redis answers")


def ping_redis(settings: Mapping[str, str], timeout: float) -> str:
    """Return what is wrong with Redis, without a secret; empty if it answers."""
    redis = package("redis", "redis")
    options: dict[str, Any] = {
        "socket_timeout": timeout,
        "socket_connect_timeout": timeout,
        "retry": None,
        "protocol": 2,  # Redis before 6 does not know protocol 3
    }

    def answer() -> bool:
        if settings.get("REDIS_URL"):
            client = redis.Redis.from_url(settings["REDIS_URL"], **options)
        else:
            client = redis.Redis(
                host=settings["REDIS_HOST"],
                port=int(settings.get("REDIS_PORT") or 6379),
                db=int(settings.get("REDIS_DB") or 0),
                password=settings.get("REDIS_PASSWORD") or None,
                **options,
            )
        with client:
            return bool(client.ping())

    try:
        return "" if within(timeout, answer) else "does not answer like a Redis"
    except ValueError:
        return (
            "has no usable address (REDIS_URL is redis://[:password@]host:port/db; port and db are numbers)"
        )
    except (redis.TimeoutError, TimedOut):
        return f"does not answer within {timeout:g} s"
    except (redis.AuthenticationError, redis.exceptions.NoPermissionError):
        return "refuses the password"
    except redis.ConnectionError:
        return "cannot be reached"
    except (redis.RedisError, OSError) as error:
        return f"does not answer like a Redis ({type(error).__name__})"


def check_disk(host: Host) -> Iterator[Finding]:
    """The root has enough free space for an environment and what a reset keeps."""
    root = host.env.parent
    try:
        free = shutil.disk_usage(root).free / (1 << 20)  # for users other than root
    except OSError as error:
        raise Problem(
            f"The free space of {root} cannot be read ({error.strerror}). Check project_root."
        ) from None
    host.measures["disk_free_mib"] = free
    for level in ("fail", "warn"):
        bound = host.limits[f"disk_{level}"]
        if free < bound:
            yield Finding(
                "disk",
                level,
                f"Only {free:,.0f} MiB are free at {root}, less than the {bound:,} of health_disk_{level}. Free some"
                " space, for example by a reset with project_quarantine_keep: 0, which keeps no earlier state.",
            )
            return
    yield Finding("disk", "ok", f"{free:,.0f} MiB are free at {root}")
